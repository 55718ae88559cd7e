from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"

    def ready(self) -> None:
        from orders import checkout, events, signals  # noqa: F401  (declares timers, event types; connects)
