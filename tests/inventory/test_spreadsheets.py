"""Products and stock as tables in the admin: exported, previewed, imported, all rows or none."""

import csv
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory import spreadsheets, stock, tables
from inventory.models import Product, StockLevel, StockMovement
from inventory.spreadsheets import disarm, read_cell
from tests.factories import NOW, add_stock, make_product
from webhooks.models import Event

pytestmark = pytest.mark.django_db

PRODUCTS, STOCK = ("sku,name,price_amount,currency,weight_grams,is_active", "sku,warehouse,on_hand,expected_on_hand")
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠SUM(A1)"]


def url(model: str, verb: str) -> str:
    return reverse(f"admin:inventory_{model}_{verb}")


class Importer:
    """A clerk with a table."""

    def __init__(self, client: Client, model: str) -> None:
        self.client, self.model = client, model

    def preview(self, *rows: str) -> Any:
        file = SimpleUploadedFile("table.csv", "\r\n".join(rows).encode(), "text/csv")
        return self.client.post(url(self.model, "import"), {"import_file": file, "format": "0", "resource": "0"})

    def confirm(self, preview: Any) -> Any:
        shown = preview.context["confirm_form"].initial
        return self.client.post(url(self.model, "process_import"), {**shown, "confirm": "1"}, follow=True)


@pytest.fixture
def products(admin_client: Client) -> Importer:
    return Importer(admin_client, "product")


@pytest.fixture
def counts(admin_client: Client) -> Importer:
    return Importer(admin_client, "stocklevel")


def events() -> list[str]:
    return list(Event.objects.order_by("pk").values_list("type", flat=True))


def exported(client: Client, model: str) -> list[dict[str, str]]:
    text = client.get(url(model, "export")).content.decode()
    return list(csv.DictReader(io.StringIO(text)))


class TestProducts:
    def test_shows_what_would_change_and_changes_nothing_yet(self, products: Importer) -> None:
        make_product("MUG", name="Mug")
        told = events()

        page = products.preview(PRODUCTS, "MUG,Big mug,19,EUR,,yes", "CUP,Cup,5,EUR,120,yes")

        assert [row.import_type for row in page.context["result"].valid_rows()] == ["update", "new"]
        assert "<del>Mug</del> <ins>Big mug</ins>" in page.content.decode()
        assert "<del>24.95</del> <ins>19.00</ins>" in page.content.decode()
        assert "style=" not in page.content.decode()
        assert (Product.objects.get().name, events()) == ("Mug", told)

    def test_tells_each_new_and_each_changed_product_once(self, products: Importer) -> None:
        make_product("MUG", name="Mug")
        make_product("PEN", name="Pen")
        told = len(events())

        done = products.confirm(
            products.preview(PRODUCTS, "MUG,Big mug,24.95,EUR,,yes", "PEN,Pen,24.95,EUR,,yes", "CUP,Cup,5,eur,120,no")
        )

        assert "1 new, 1 updated, 0 deleted and 1 skipped" in done.content.decode()
        assert events()[told:] == ["product.updated", "product.created"]
        cup = Product.objects.get(sku="CUP")
        assert (cup.price_minor, cup.currency, cup.weight_grams, cup.is_active) == (500, "EUR", 120, False)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ("CUP,Cup,abc,EUR,,yes", "is not an amount such as 49.90"),
            ("CUP,Cup,1.999,EUR,,yes", "more digits than EUR has"),
            ("CUP,Cup,5,XXX,,yes", "is not a current ISO 4217 code"),
            ("C UP,Cup,5,EUR,,yes", "Letters, digits"),
            ("CUP,,5,EUR,,yes", "cannot be blank"),
            ("CUP,Cup,5,EUR,heavy,yes", "is not a whole number"),
            ("CUP,Cup,5,EUR,,perhaps", "neither yes nor no"),
        ],
    )
    def test_a_row_that_cannot_be_taken_is_told_in_words(self, products: Importer, row: str, words: str) -> None:
        page = products.preview(PRODUCTS, "PEN,Pen,5,EUR,,yes", row)

        assert words in page.content.decode()
        assert "confirm_form" not in page.context
        assert not Product.objects.exists()

    def test_a_table_without_a_column_is_refused(self, products: Importer) -> None:
        assert "has no column price_amount, currency" in products.preview("sku,name", "CUP,Cup").content.decode()

    def test_a_table_that_is_too_long_is_refused(self, products: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spreadsheets, "MOST_ROWS", 1)

        page = products.preview(PRODUCTS, "A,A,1,EUR,,yes", "B,B,1,EUR,,yes")

        assert "has 2 rows; 1 at a time" in page.content.decode()

    def test_a_file_that_is_too_large_is_not_read(self, products: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "MOST_BYTES", 10)

        assert "10 bytes long at most" in products.preview(PRODUCTS, "A,A,1,EUR,,yes").content.decode()

    @pytest.mark.parametrize("junk", [b"", b"\xff\xfe\x00", b"\x00\x01", b'"' * 100, b"sku\n" * 50])
    def test_junk_is_refused_in_words(self, products: Importer, junk: bytes) -> None:
        file = SimpleUploadedFile("table.csv", junk, "text/csv")

        page = products.client.post(url("product", "import"), {"import_file": file, "format": "0", "resource": "0"})

        assert page.status_code == 200
        assert "confirm_form" not in page.context
        assert not Product.objects.exists()

    def test_an_exported_table_comes_back_as_it_was(self, products: Importer, admin_client: Client) -> None:
        make_product("MUG", name="=HYPERLINK(1)", weight_grams=350)
        text = admin_client.get(url("product", "export")).content.decode()

        page = products.preview(*text.splitlines())

        assert [row.import_type for row in page.context["result"].valid_rows()] == ["skip"]

    @pytest.mark.parametrize("name", FORMULAS)
    def test_no_cell_is_a_formula_to_a_spreadsheet(self, admin_client: Client, name: str) -> None:
        make_product("MUG", name=name)

        [row] = exported(admin_client, "product")

        assert row["name"] == f"'{name}"

    def test_needs_the_right_to_add_and_to_change(self, client: Client, django_user_model: Any) -> None:
        client.force_login(django_user_model.objects.create_user("clerk", is_staff=True))

        for verb in ("import", "export"):
            assert client.get(url("product", verb)).status_code == 403


class TestStock:
    def test_a_count_becomes_a_movement_and_an_event(self, counts: Importer, admin_client: Client) -> None:
        make_product("MUG", on_hand=10)
        told = len(events())

        counts.confirm(counts.preview(STOCK, "MUG,BER,7,10"))

        movement = StockMovement.objects.latest("pk")
        assert (movement.reason, movement.on_hand_delta, movement.on_hand_after) == ("recounted", -3, 7)
        assert movement.actor == "admin"
        assert events()[told:] == ["inventory.updated"]

    def test_what_is_as_it_was_is_no_movement(self, counts: Importer, admin_client: Client) -> None:
        add_stock(make_product("MUG", on_hand=10), on_hand=5, warehouse="HAM")
        told = len(events())
        text = admin_client.get(url("stocklevel", "export")).content.decode()

        counts.confirm(counts.preview(*text.splitlines()))

        assert events()[told:] == []

    def test_a_new_place_begins_from_nothing(self, counts: Importer) -> None:
        make_product("MUG", on_hand=10)
        add_stock(make_product("CUP", on_hand=1), on_hand=1, warehouse="HAM")

        counts.confirm(counts.preview(STOCK, "MUG,HAM,4,0"))

        assert StockLevel.objects.get(product__sku="MUG", warehouse__code="HAM").on_hand == 4

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ("MUG,BER,7,9", "holds 10 units now, not 9: count again"),
            ("MUG,BER,-1,10", "is not a whole number"),
            ("MUG,BER,,10", "Say how many were counted"),
            ("MUG,BER,9999999999999,10", "is not a whole number"),
            ("NONE,BER,7,10", "There is no such product."),
            ("MUG,XXX,7,10", "There is no such warehouse."),
        ],
    )
    def test_a_row_that_cannot_be_taken_is_told_in_words(self, counts: Importer, row: str, words: str) -> None:
        make_product("MUG", on_hand=10)
        make_product("CUP", on_hand=10)
        told = events()

        page = counts.preview(STOCK, "CUP,BER,9,10", row)

        assert words in page.content.decode()
        assert "confirm_form" not in page.context
        assert events() == told

    def test_what_moves_after_the_preview_is_refused_with_all_the_rest(self, counts: Importer) -> None:
        mug, cup = make_product("MUG", on_hand=10), make_product("CUP", on_hand=10)
        page = counts.preview(STOCK, "CUP,BER,9,10", "MUG,BER,7,10")
        level = mug.levels.get()
        stock.adjust(product=mug, warehouse=level.warehouse, delta=5, reason="received", actor="ann", now=NOW)

        answer = counts.confirm(page)

        assert "Nothing was imported" in answer.content.decode()
        assert "holds 15 units now, not 10" in answer.content.decode()
        assert (mug.levels.get().on_hand, cup.levels.get().on_hand) == (15, 10)

    def test_a_preview_writes_and_locks_nothing(self, counts: Importer) -> None:
        add_stock(make_product("MUG", on_hand=10), on_hand=5, warehouse="HAM")
        make_product("CUP", on_hand=1)

        with CaptureQueriesContext(connection) as queries:
            page = counts.preview(STOCK, "MUG,BER,7,10", "MUG,HAM,7,5", "CUP,HAM,2,0")

        assert [row.import_type for row in page.context["result"].valid_rows()] == ["update", "update", "new"]
        sent = [query["sql"] for query in queries if "inventory_" in query["sql"]]
        assert [sql for sql in sent if not sql.startswith("SELECT") or "FOR UPDATE" in sql] == []

    def test_a_preview_tells_what_is_reserved_already(self, counts: Importer) -> None:
        level = make_product("MUG", on_hand=10).levels.get()
        stock.reserve([stock.Demand(level.pk, 4)], reference="o", actor="ann", now=NOW)

        page = counts.preview(STOCK, "MUG,BER,3,10")

        assert "MUG (7 asked for, 6 not reserved)" in page.content.decode()

    def test_a_place_that_is_counted_twice_is_refused(self, counts: Importer) -> None:
        make_product("MUG", on_hand=10)

        page = counts.preview(STOCK, "MUG,BER,7,10", " MUG,BER,6,10")

        assert "several rows of MUG in BER" in page.content.decode()
        assert "confirm_form" not in page.context

    def test_a_preview_that_is_not_there_any_more_is_asked_for_again(self, counts: Importer) -> None:
        make_product("MUG", on_hand=10)
        page = counts.preview(STOCK, "MUG,BER,7,10")
        counts.confirm(page)

        assert "choose it again" in counts.confirm(page).content.decode()


@pytest.mark.django_db(transaction=True)
class TestBesideSales:
    def test_an_order_of_the_same_things_waits_for_an_import_but_not_in_a_circle(
        self, counts: Importer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        levels = [make_product(sku, on_hand=10).levels.get() for sku in ("CUP", "MUG")]
        preview = counts.preview(STOCK, "MUG,BER,7,10", "CUP,BER,9,10")
        count, is_between_rows = stock.count, threading.Event()

        def count_slowly(**row: Any) -> StockMovement:
            movement = count(**row)
            is_between_rows.set()
            time.sleep(0.3)
            return movement

        def order() -> None:
            is_between_rows.wait(10)
            try:
                stock.reserve([stock.Demand(level.pk, 1) for level in levels], reference="o", actor="ann", now=NOW)
            finally:
                connections.close_all()

        monkeypatch.setattr(stock, "count", count_slowly)
        with ThreadPoolExecutor(1) as pool:
            ordered = pool.submit(order)
            done = counts.confirm(preview)
            ordered.result()

        assert "2 updated" in done.content.decode()
        assert list(StockLevel.objects.order_by("pk").values_list("on_hand", "reserved")) == [(9, 1), (7, 1)]


@pytest.mark.parametrize("text", [*FORMULAS, "'=1+1", "Mug", "'quoted", ""])
def test_a_cell_is_read_as_it_was_written(text: str) -> None:
    assert read_cell(disarm(text)) == text
