from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"

    def ready(self) -> None:
        # Declares timers and event types, registers adapters, connects.
        from inventory import lapses
        from orders import checkout, events, gateways, providers, signals, trackers  # noqa: F401
        from orders.reservations import UnpaidOrders

        lapses.register(UnpaidOrders())
