import pytest
from rest_framework import serializers

from webhooks import catalogue
from webhooks.catalogue import EventType, Subject


class NothingSerializer(serializers.Serializer[object]):
    """No fields."""


def event_type(name: str) -> EventType:
    subject = Subject(kind="order", example="ord_1", id=str, label=str)
    return EventType(name=name, summary="", subject=subject, serializer=NothingSerializer, example={})


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[EventType]:
    monkeypatch.setattr(catalogue, "_declared", {})
    types = [
        event_type(name) for name in ("order.created", "order.return.initiated", "orders.merged", "payment.failed")
    ]
    catalogue.declare(*types)
    return types


class TestDeclare:
    def test_keeps_the_order(self, declared: list[EventType]) -> None:
        assert catalogue.all_types() == declared

    def test_refuses_a_name_twice(self, declared: list[EventType]) -> None:
        with pytest.raises(ValueError, match=r"order\.created is declared twice"):
            catalogue.declare(event_type("order.created"))

        assert catalogue.get("order.created") is declared[0]

    def test_takes_the_very_same_one_again(self, declared: list[EventType]) -> None:
        catalogue.declare(declared[0])

        assert catalogue.all_types() == declared

    @pytest.mark.usefixtures("declared")
    def test_names_what_was_never_declared(self) -> None:
        with pytest.raises(catalogue.UnknownEventType, match=r"order\.lost"):
            catalogue.get("order.lost")

    def test_groups_by_the_first_word(self, declared: list[EventType]) -> None:
        assert catalogue.groups() == {"order": declared[:2], "orders": [declared[2]], "payment": [declared[3]]}


class TestMatches:
    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("order.created", "order.created"),
            ("order.*", "order.created"),
            ("order.*", "order.return.initiated"),
            ("order.return.*", "order.return.initiated"),
            ("*", "order.created"),
        ],
    )
    def test_covers(self, pattern: str, name: str) -> None:
        assert catalogue.matches([pattern], name)
        assert catalogue.matches(["payment.failed", pattern], name)

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("order.created", "order.created.twice"),
            ("order.*", "orders.merged"),
            ("order.*", "order"),
            ("order.return.*", "order.returned"),
            ("order", "order.created"),
            ("*.created", "order.created"),
            ("", "order.created"),
            (".*", "order.created"),
            ("ORDER.*", "order.created"),
        ],
    )
    def test_covers_no_more(self, pattern: str, name: str) -> None:
        assert not catalogue.matches([pattern], name)

    def test_nothing_covers_nothing(self) -> None:
        assert not catalogue.matches([], "order.created")


class TestUnknown:
    @pytest.mark.usefixtures("declared")
    def test_names_the_choices_that_cover_nothing(self) -> None:
        choices = ["order.created", "order.*", "*", "order.lost", "customer.*", "order.created.*", ""]

        assert catalogue.unknown(choices) == ["order.lost", "customer.*", "order.created.*", ""]
