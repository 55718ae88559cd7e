from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory import stock
from inventory.lists import CappedPaginator
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from inventory.stock import Demand
from tests.factories import NOW
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Balance = Callable[[StockLevel], tuple[int, int, int]]


def url(model: str, page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:inventory_{model}_{page}", args=args)


class TestLists:
    @pytest.mark.parametrize(
        ("model", "name"),
        [("product", "Products"), ("stocklevel", "Stock levels"), ("stockmovement", "Stock movements")],
    )
    def test_are_named_for_what_they_list_and_tell_times_as_times_ago(
        self, admin_client: Client, level: StockLevel, model: str, name: str
    ) -> None:
        page = admin_client.get(url(model)).content.decode()

        assert f"<h1>{name}</h1>" in page
        assert "<title>" + name in page.replace("\n", "")
        assert page.count("<time datetime=") == 1


class TestProducts:
    FORM = {"sku": "CUP", "name": "Cup", "price": "12.50", "currency": "EUR", "weight_grams": "", "is_active": "on"}

    def test_adds_one_with_a_price_as_people_write_it(self, admin_client: Client) -> None:
        answer = admin_client.post(url("product", "add"), self.FORM)

        assert answer.status_code == 302
        product = Product.objects.get()
        assert (product.sku, product.price_minor, product.weight_grams) == ("CUP", 1250, None)
        assert list(Event.objects.values_list("type", flat=True)) == ["product.created"]

    @pytest.mark.parametrize(
        ("wrong", "at_fault"),
        [
            ({"price": "12,50"}, "price"),
            ({"price": "12.505"}, "price"),
            ({"price": ""}, "price"),
            ({"currency": "JPY"}, "price"),
            ({"currency": "XXX"}, "currency"),
            ({"sku": "a b"}, "sku"),
            ({"weight_grams": "-1"}, "weight_grams"),
        ],
    )
    def test_refuses_what_is_no_product(self, admin_client: Client, wrong: dict[str, str], at_fault: str) -> None:
        answer = admin_client.post(url("product", "add"), self.FORM | wrong)

        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [at_fault]
        assert not Product.objects.exists()

    def test_shows_the_price_to_be_changed_and_tells_the_change(self, admin_client: Client, level: StockLevel) -> None:
        page = url("product", "change", level.product_id)
        assert 'value="24.95"' in admin_client.get(page).content.decode()

        admin_client.post(page, self.FORM | {"sku": "MUG", "name": "Mug", "price": "20"})

        assert Product.objects.get().price_minor == 2000
        assert Event.objects.filter(type="product.updated").count() == 1

    def test_lists_price_and_what_is_available(
        self, admin_client: Client, level: StockLevel, elsewhere: StockLevel
    ) -> None:
        page = admin_client.get(url("product"), {"q": "mug"}).content.decode()

        assert "€24.95" in page
        assert '<td class="field-available">13</td>' in page

    def test_deletes_none(self, admin_client: Client, level: StockLevel) -> None:
        assert admin_client.post(url("product", "delete", level.product_id), {"post": "yes"}).status_code == 403


class TestWarehouses:
    FORM = {
        "code": "MUC",
        "name": "Munich",
        "country": "DE",
        "priority": "1",
        "handling_days": "2",
        "cutoff": "12:00",
        "ships_to": "de, AT ,",
        "is_active": "on",
    }

    def test_takes_countries_as_people_write_them(self, admin_client: Client) -> None:
        answer = admin_client.post(url("warehouse", "add"), self.FORM)

        assert answer.status_code == 302
        assert Warehouse.objects.get().ships_to == ["DE", "AT"]

    def test_shows_them_so_again(self, admin_client: Client) -> None:
        admin_client.post(url("warehouse", "add"), self.FORM)

        page = admin_client.get(url("warehouse", "change", Warehouse.objects.get().pk)).content.decode()

        assert 'value="DE, AT"' in page

    def test_keep_the_code_that_others_know_them_by(self, admin_client: Client) -> None:
        admin_client.post(url("warehouse", "add"), self.FORM)

        changed = self.FORM | {"code": "XXX", "name": "Munich South"}
        answer = admin_client.post(url("warehouse", "change", Warehouse.objects.get().pk), changed)

        assert answer.status_code == 302
        assert (Warehouse.objects.get().code, Warehouse.objects.get().name) == ("MUC", "Munich South")

    def test_that_are_closed_and_opened_tell_what_that_changes(self, admin_client: Client, level: StockLevel) -> None:
        change = url("warehouse", "change", level.warehouse_id)
        form = self.FORM | {"name": "Berlin"}

        admin_client.post(change, {name: value for name, value in form.items() if name != "is_active"})
        assert Warehouse.objects.get().is_active is False
        admin_client.post(change, form)

        assert (Warehouse.objects.get().is_active, Warehouse.objects.get().name) == (True, "Berlin")
        movements = StockMovement.objects.order_by("-pk").values_list("reason", "actor")[:2]
        assert list(movements) == [("warehouse_opened", "admin"), ("warehouse_closed", "admin")]

    @pytest.mark.parametrize("countries", ["Germany", "D1", "DE AT"])
    def test_refuses_what_is_no_country(self, admin_client: Client, countries: str) -> None:
        answer = admin_client.post(url("warehouse", "add"), self.FORM | {"ships_to": countries})

        assert list(answer.context["adminform"].form.errors) == ["ships_to"]


class TestStockLevels:
    def test_begins_one_empty(self, admin_client: Client, level: StockLevel, lamps: StockLevel) -> None:
        form = {"product": level.product.sku, "warehouse": lamps.warehouse_id, "on_hand": 99, "reserved": 9}

        admin_client.post(url("stocklevel", "add"), form)

        made = StockLevel.objects.latest("pk")
        assert (made.product, made.warehouse, made.on_hand, made.reserved) == (level.product, lamps.warehouse, 0, 0)

    def test_sets_the_safety_stock_alone_and_as_a_movement(
        self, admin_client: Client, level: StockLevel, balance: Balance
    ) -> None:
        page = url("stocklevel", "change", level.pk)

        admin_client.post(page, {"safety_stock": "3", "on_hand": "99", "reserved": "9", "product": "7"})

        level.refresh_from_db()
        assert (level.safety_stock, balance(level)) == (3, (10, 0, 2))
        assert StockMovement.objects.latest("pk").actor == "admin"

    @pytest.mark.parametrize(("typed", "kept"), [("4", 4), ("0", 0), ("", None)])
    def test_sets_the_threshold_of_low_stock_without_a_movement(
        self, admin_client: Client, level: StockLevel, balance: Balance, typed: str, kept: int | None
    ) -> None:
        page = url("stocklevel", "change", level.pk)
        admin_client.post(page, {"safety_stock": "0", "low_stock_threshold": "7"})

        admin_client.post(page, {"safety_stock": "0", "low_stock_threshold": typed})

        level.refresh_from_db()
        assert (level.low_stock_threshold, balance(level)) == (kept, (10, 0, 1))

    @pytest.mark.parametrize("threshold", ["-1", "x", "1" + "0" * 30])
    def test_refuses_a_threshold_that_is_none(self, admin_client: Client, level: StockLevel, threshold: str) -> None:
        form = {"safety_stock": "3", "low_stock_threshold": threshold}

        answer = admin_client.post(url("stocklevel", "change", level.pk), form)

        assert list(answer.context["adminform"].form.errors) == ["low_stock_threshold"]
        level.refresh_from_db()
        assert (level.low_stock_threshold, level.safety_stock) == (None, 0)

    def test_an_unchanged_safety_stock_is_no_movement(
        self, admin_client: Client, level: StockLevel, balance: Balance
    ) -> None:
        admin_client.post(url("stocklevel", "change", level.pk), {"safety_stock": "0"})

        assert balance(level) == (10, 0, 1)

    @pytest.mark.parametrize("safety_stock", ["-1", "", "x", "1" + "0" * 30])
    def test_refuses_a_safety_stock_that_is_none(
        self, admin_client: Client, level: StockLevel, balance: Balance, safety_stock: str
    ) -> None:
        answer = admin_client.post(url("stocklevel", "change", level.pk), {"safety_stock": safety_stock})

        assert list(answer.context["adminform"].form.errors) == ["safety_stock"]
        assert balance(level) == (10, 0, 1)

    def test_lists_in_as_many_queries_however_many_there_are(
        self,
        admin_client: Client,
        level: StockLevel,
        lamps: StockLevel,
        elsewhere: StockLevel,
        django_assert_max_num_queries: Any,
    ) -> None:
        with django_assert_max_num_queries(6):
            admin_client.get(url("stocklevel"))


class TestAdjusting:
    def adjust(self, client: Client, *levels: StockLevel, **form: object) -> Any:
        """Without a form: what the list's action asks."""
        body = {"action": "adjust", "_selected_action": [level.pk for level in levels]}
        return client.post(url("stocklevel"), body | form, follow=True)

    def messages(self, answer: Any) -> list[tuple[str, str]]:
        return [(message.level_tag, message.message) for message in answer.context["messages"]]

    def test_asks_for_units_and_a_reason_on_a_page_of_its_own(
        self, admin_client: Client, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        page = self.adjust(admin_client, level, lamps).content.decode()

        assert "MUG in BER" in page
        assert "LAMP in HAM" in page
        assert "10 on hand, 0 reserved" in page
        assert "Damaged or lost" in page
        assert (balance(level), balance(lamps)) == ((10, 0, 1), (4, 0, 1))

    def test_adjusts_and_says_what_became_of_it(
        self, admin_client: Client, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        deltas = {f"delta_{level.pk}": "5", f"delta_{lamps.pk}": ""}

        answer = self.adjust(admin_client, level, lamps, apply="Adjust", reason="received", reference="DN 7", **deltas)

        assert self.messages(answer) == [("success", "MUG in BER: +5, now 15 on hand.")]
        assert (balance(level), balance(lamps)) == ((15, 0, 2), (4, 0, 1))
        movement = StockMovement.objects.latest("pk")
        assert (movement.reason, movement.reference, movement.actor) == ("received", "DN 7", "admin")

    def test_does_or_refuses_each_row_by_itself(
        self, admin_client: Client, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        stock.reserve([Demand(lamps.pk, 3)], reference="o", actor="ann", now=NOW)
        deltas = {f"delta_{level.pk}": "-1", f"delta_{lamps.pk}": "-2"}

        answer = self.adjust(admin_client, level, lamps, apply="Adjust", reason="damaged", **deltas)

        assert sorted(self.messages(answer)) == [
            ("error", "LAMP in HAM: Not enough stock: LAMP (2 asked for, 1 not reserved)."),
            ("success", "MUG in BER: -1, now 9 on hand."),
        ]
        assert (balance(level), balance(lamps)) == ((9, 0, 2), (4, 3, 2))

    @pytest.mark.parametrize(
        ("delta", "reason"),
        [("", "received"), ("0", "received"), ("x", "received"), ("1", ""), ("1", "shipped"), ("1.5", "received")],
    )
    def test_asks_again_where_something_is_missing_or_wrong(
        self, admin_client: Client, level: StockLevel, balance: Balance, delta: str, reason: str
    ) -> None:
        form = {f"delta_{level.pk}": delta, "reason": reason}

        page = self.adjust(admin_client, level, apply="Adjust", **form).content.decode()

        assert "Nothing was changed." in page
        assert balance(level) == (10, 0, 1)

    def test_is_not_offered_to_who_may_only_look(self, client: Client, level: StockLevel, balance: Balance) -> None:
        viewer = User.objects.create_user("vera", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_stocklevel"))
        client.force_login(viewer)

        self.adjust(client, level, apply="Adjust", reason="received", **{f"delta_{level.pk}": "5"})

        assert balance(level) == (10, 0, 1)


class TestMovements:
    def test_lists_the_newest_first(self, admin_client: Client, level: StockLevel) -> None:
        stock.reserve([Demand(level.pk, 2)], reference="ord_1", actor="ann", now=NOW)

        rows = admin_client.get(url("stockmovement")).context["cl"].result_list

        assert [row.reason for row in rows] == ["reserved", "received"]

    @pytest.mark.parametrize(
        ("term", "found"), [("MUG", 2), ("LAMP", 1), ("ord_1", 1), (" ord_1 ", 1), ("ord", 0), ("mug", 0), ("", 3)]
    )
    def test_finds_a_whole_sku_or_reference(
        self, admin_client: Client, level: StockLevel, lamps: StockLevel, term: str, found: int
    ) -> None:
        stock.reserve([Demand(level.pk, 2)], reference="ord_1", actor="ann", now=NOW)

        changes = admin_client.get(url("stockmovement"), {"q": term}).context["cl"]

        assert changes.result_count == found

    def test_cannot_be_added_to_changed_or_deleted(self, admin_client: Client, level: StockLevel) -> None:
        movement = StockMovement.objects.get()

        assert admin_client.get(url("stockmovement", "add")).status_code == 403
        assert admin_client.post(url("stockmovement", "change", movement.pk), {"reason": "sold"}).status_code == 403
        assert admin_client.post(url("stockmovement", "delete", movement.pk), {"post": "yes"}).status_code == 403
        assert admin_client.get(url("stockmovement", "change", movement.pk)).status_code == 200

    def test_takes_as_many_queries_however_long_it_is(
        self, admin_client: Client, level: StockLevel, django_assert_num_queries: Any
    ) -> None:
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(url("stockmovement"))
        for number in range(5):
            stock.reserve([Demand(level.pk, 1)], reference=f"ord_{number}", actor="ann", now=NOW)

        with django_assert_num_queries(len(queries)):
            admin_client.get(url("stockmovement"))

    def test_counts_no_further_than_it_says(self, level: StockLevel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inventory.lists.MOST_COUNTED", 2)
        for number in range(5):
            stock.reserve([Demand(level.pk, 1)], reference=f"ord_{number}", actor="ann", now=NOW)

        assert CappedPaginator(StockMovement.objects.order_by("-id"), 100).count == 2
