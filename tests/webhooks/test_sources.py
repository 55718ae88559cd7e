import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core import serializers
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.models import Product, StockLevel, StockMovement
from tests.factories import make_product
from webhooks import timers
from webhooks.models import Event, EventSequence
from webhooks.sources import every, together

# Django sends on-commit functions, and so forgets a transaction's changes, only where transactions are real.
pytestmark = pytest.mark.django_db(transaction=True)


class Rollback(Exception):
    """Ends a transaction."""


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction that fails at its very end."""
    with suppress(Rollback), transaction.atomic():
        yield
        raise Rollback


def movement(level: StockLevel, **fields: Any) -> StockMovement:
    level.refresh_from_db()
    return StockMovement(
        level=level,
        on_hand_delta=1,
        on_hand_after=level.on_hand,
        reserved_after=0,
        safety_stock_after=0,
        version=level.version + 1,
        reason="received",
        actor="ann",
        **fields,
    )


def bodies(event_type: str) -> list[dict[str, Any]]:
    return [json.loads(event.body) for event in Event.objects.filter(type=event_type).order_by("id")]


class TestFact:
    @pytest.fixture
    def level(self) -> StockLevel:
        return make_product("MUG").levels.get()

    def test_that_comes_with_others_becomes_an_event_as_well(self, level: StockLevel) -> None:
        first, second = movement(level), movement(make_product("CUP").levels.get())
        unlucky = movement(make_product("PAN").levels.get())
        kept, told = StockMovement.objects.count(), Event.objects.count()

        with CaptureQueriesContext(connection) as asked, together():
            StockMovement.add_all([first, second])

        assert sum('INTO "inventory_stockmovement"' in query["sql"] for query in asked) == 1
        assert StockMovement.objects.filter(pk__in=[first.pk, second.pk]).count() == 2
        subjects = list(Event.objects.order_by("pk").values_list("label", flat=True))[told:]
        assert subjects == ["MUG", "CUP"]
        with pytest.raises(TypeError, match="cannot be changed"):
            first.save()
        with rolled_back():
            StockMovement.add_all([unlucky])
        assert (StockMovement.objects.count(), Event.objects.count()) == (kept + 2, told + 2)

    def test_becomes_an_event_in_the_transaction_that_saves_it(self, level: StockLevel) -> None:
        before = Event.objects.count()

        with rolled_back():
            movement(level).save()
            assert Event.objects.count() == before + 1

        assert (Event.objects.count(), StockMovement.objects.count()) == (before, 1)

    def test_saved_in_autocommit_is_not_kept_without_its_event(
        self, level: StockLevel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise Rollback

        monkeypatch.setattr("inventory.signals.emit", fail)

        with pytest.raises(Rollback):
            movement(level).save()

        assert StockMovement.objects.count() == 1

    def test_of_a_savepoint_that_was_rolled_back_is_not_told(self, level: StockLevel) -> None:
        before = Event.objects.count()

        with transaction.atomic():
            with rolled_back():
                movement(level).save()
            movement(level).save()

        assert (Event.objects.count(), StockMovement.objects.count()) == (before + 1, 2)

    def test_is_never_changed_or_deleted(self, level: StockLevel) -> None:
        fact = level.movements.get()
        fact.actor = "eve"

        for refused in (
            fact.save,
            fact.delete,
            lambda: StockMovement.objects.update(actor="eve"),
            lambda: StockMovement.objects.filter(pk=fact.pk).delete(),
            lambda: StockMovement.objects.bulk_create([movement(level)]),
            lambda: StockMovement.objects.bulk_update([fact], ["actor"]),
            lambda: level.movements.update(actor="eve"),
        ):
            with pytest.raises(TypeError, match="fact"):
                refused()

        assert list(StockMovement.objects.values_list("pk", "actor")) == [(fact.pk, "test")]

    def test_does_not_take_the_place_of_another(self, level: StockLevel) -> None:
        fact = level.movements.get()

        with pytest.raises(Exception, match=r"(?i)unique"):
            movement(level, pk=fact.pk).save()

        assert StockMovement.objects.get().actor == "test"

    def test_that_a_fixture_loads_is_not_told_again(self, level: StockLevel) -> None:
        text = serializers.serialize("json", StockMovement.objects.all())
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM inventory_stockmovement")
        before = Event.objects.count()

        for loaded in serializers.deserialize("json", text):
            loaded.save()

        assert (StockMovement.objects.count(), Event.objects.count()) == (1, before)


class TestWatchedModel:
    @pytest.fixture
    def product(self) -> Product:
        return make_product("MUG", name="Mug")

    def changes(self) -> list[tuple[list[str], str, int]]:
        return [
            (body["data"]["changed_fields"], body["data"]["name"], body["sequence"])
            for body in bodies("product.updated")
        ]

    def test_tells_that_it_was_created(self, product: Product) -> None:
        [body] = bodies("product.created")

        assert (body["subject"], body["sequence"]) == (product.public_id, 1)

    def test_tells_what_changed(self, product: Product) -> None:
        product.name = "Cup"
        product.price_minor = 100
        product.save()

        assert self.changes() == [(["name", "price_amount"], "Cup", 2)]
        product.refresh_from_db()
        assert product.version == 2

    def test_says_nothing_of_a_save_that_changes_nothing(self, product: Product) -> None:
        product.save()
        Product.objects.get().save()

        assert self.changes() == []
        product.refresh_from_db()
        assert product.version == 1

    def test_tells_several_saves_of_one_transaction_once_as_they_ended(self, product: Product) -> None:
        with transaction.atomic():
            product.name = "Cup"
            product.save()
            other = Product.objects.get()
            other.price_minor = 100
            other.save()
            other.name = "Bowl"
            other.save()

        assert self.changes() == [(["name", "price_amount"], "Bowl", 2)]

    def test_takes_the_event_back_when_the_change_is_undone(self, product: Product) -> None:
        with transaction.atomic():
            product.name = "Cup"
            product.save()
            product.name = "Mug"
            product.save()

        assert self.changes() == []
        assert EventSequence.objects.get(subject=product.public_id).last == 1

    def test_leaves_no_gap_after_an_event_that_was_taken_back(self, product: Product) -> None:
        with transaction.atomic():
            for name in ("Cup", "Mug", "Bowl"):
                product.name = name
                product.save()

        assert self.changes() == [(["name"], "Bowl", 2)]

    def test_tells_changes_of_two_transactions_twice(self, product: Product) -> None:
        for name in ("Cup", "Bowl"):
            product.name = name
            product.save()

        assert self.changes() == [(["name"], "Cup", 2), (["name"], "Bowl", 3)]

    def test_says_nothing_of_a_change_that_was_rolled_back(self, product: Product) -> None:
        with rolled_back():
            product.name = "Cup"
            product.save()

        assert self.changes() == []
        assert EventSequence.objects.get(subject=product.public_id).last == 1

    def test_tells_a_save_that_is_tried_again_after_a_rollback(self, product: Product) -> None:
        product.name = "Cup"
        with rolled_back():
            product.save()

        product.save()

        assert Product.objects.get().name == "Cup"
        assert self.changes() == [(["name"], "Cup", 2)]

    def test_tells_what_stayed_of_a_change_when_a_savepoint_is_rolled_back(self, product: Product) -> None:
        with transaction.atomic():
            with rolled_back():
                product.name = "Cup"
                product.save()
            product.refresh_from_db()
            product.price_minor = 100
            product.save()

        assert self.changes() == [(["price_amount"], "Mug", 2)]

    def test_compares_with_what_it_was_refreshed_to(self, product: Product) -> None:
        other = Product.objects.get()
        other.name = "Cup"
        other.save()

        product.refresh_from_db()
        product.save()
        product.name = "Mug"
        product.save()

        assert self.changes() == [(["name"], "Cup", 2), (["name"], "Mug", 3)]

    def test_compares_a_field_that_was_loaded_late(self, product: Product) -> None:
        partly = Product.objects.only("sku", "version").get()
        assert partly.name == "Mug"
        partly.save()
        assert self.changes() == []

        partly.name = "Cup"
        partly.save()

        assert self.changes() == [(["name"], "Cup", 2)]

    def test_counts_its_version_when_only_some_fields_are_saved(self, product: Product) -> None:
        product.name = "Cup"
        product.save(update_fields=["name"])

        assert self.changes() == [(["name"], "Cup", 2)]
        assert Product.objects.get().version == 2

    def test_still_tells_a_change_that_only_a_later_save_writes(self, product: Product) -> None:
        product.name = "Cup"
        product.weight_grams = 5
        product.save(update_fields=["weight_grams"])
        product.save()

        assert Product.objects.get().name == "Cup"
        assert "name" in self.changes()[-1][0]

    def test_that_a_fixture_loads_is_not_told(self, product: Product) -> None:
        text = serializers.serialize("json", [product]).replace('"Mug"', '"Cup"')

        for loaded in serializers.deserialize("json", text):
            loaded.save()

        assert Product.objects.get().name == "Cup"
        assert self.changes() == []


class TestEvery:
    def test_registers_a_function_by_its_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(timers, "registered", [])

        every(30)(make_nothing)

        assert timers.registered == [timers.Timer("tests.webhooks.test_sources.make_nothing", 30)]


def make_nothing() -> None:
    """A timer's function."""
