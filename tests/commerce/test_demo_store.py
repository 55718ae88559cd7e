import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings

from commerce import demo_store
from commerce.models import InboundSource
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from orders.models import Customer
from webhooks.models import Event, Subscription

pytestmark = pytest.mark.django_db


def counted() -> list[int]:
    models = (Product, Warehouse, StockLevel, StockMovement, Customer, User, Event, Subscription, InboundSource)
    return [model._default_manager.count() for model in models]


class TestSeed:
    def test_loads_a_shop_with_people_in_it(self) -> None:
        call_command("seed")

        assert list(Warehouse.objects.order_by("code").values_list("code", flat=True)) == ["BER", "RTM"]
        assert StockLevel.objects.get(product__sku="MUG-BLUE", warehouse__code="BER").on_hand == 120
        assert Customer.objects.filter(email="ada@example.com").exists()
        assert list(User.objects.filter(is_staff=True).order_by("username").values_list("username", flat=True)) == [
            "admin",
            "sam",
            "wanda",
        ]
        assert User.objects.get(username="wanda").has_perm("orders.change_order")
        assert not User.objects.get(username="wanda").has_perm("orders.delete_order")

    @override_settings(DEBUG=True)
    def test_run_twice_changes_nothing(self) -> None:
        call_command("seed")
        before = counted()

        call_command("seed")

        assert counted() == before

    def test_tells_of_the_stock_as_any_receipt_does(self) -> None:
        call_command("seed")

        assert Event.objects.filter(type="inventory.updated").count() == StockLevel.objects.count()

    def test_writes_to_shoppers(self) -> None:
        call_command("seed")

        subscription = Subscription.objects.get()
        assert (subscription.channel, subscription.state, len(subscription.messages)) == ("email", "active", 5)

    def test_leaves_what_the_merchant_changed(self) -> None:
        call_command("seed")
        Product.objects.filter(sku="MUG-BLUE").update(name="Mug")

        call_command("seed")

        assert Product.objects.get(sku="MUG-BLUE").name == "Mug"

    def test_opens_no_test_gateway_outside_of_debug(self) -> None:
        call_command("seed")

        assert not InboundSource.objects.exists()

    def test_gives_no_known_password_outside_of_debug(self) -> None:
        with override_settings(DEBUG=False):
            call_command("seed")

        assert not any(user.has_usable_password() for user in User.objects.all())


class TestInbox:
    def test_is_one_subscription_over_every_start(self) -> None:
        demo_store.allow_loopback()
        first = demo_store.subscribe_inbox("http://127.0.0.1:8001/")
        again = demo_store.subscribe_inbox("http://127.0.0.1:9001/")

        assert first == again
        assert Subscription.objects.get().url == "http://127.0.0.1:9001/"
        assert Subscription.objects.get().event_types == ["*"]
