import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from webhooks.bodies import Body


class Line(Body):
    sku = serializers.CharField()


class Basket(Body):
    name = serializers.CharField(required=False)
    lines = Line(many=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs | {"by": self.context["request"].auth, "of": self.instance}


def sent(data: Any, *, by: str = "shop") -> Any:
    return SimpleNamespace(data=data, auth=by)


def lines(*skus: str) -> list[dict[str, str]]:
    return [{"sku": sku} for sku in skus]


class TestRead:
    def test_knows_nothing_of_the_call_before(self) -> None:
        Basket.read(sent({"name": "first", "lines": lines("A", "B")}, by="first"), instance=1)

        assert Basket.read(sent({"lines": lines("C")}, by="second")) == {
            "lines": lines("C"),
            "by": "second",
            "of": None,
        }

    def test_reads_on_after_a_refusal(self) -> None:
        with pytest.raises(serializers.ValidationError) as refused:
            Basket.read(sent({"lines": [{"sku": ""}], "colour": "red"}))

        assert refused.value.get_codes() == {"colour": "unknown_field"}
        assert Basket.read(sent({"lines": lines("A")}))["lines"] == lines("A")

    @pytest.mark.parametrize("data", [None, [], "text", 1])
    def test_refuses_what_is_no_object(self, data: Any) -> None:
        with pytest.raises(serializers.ValidationError):
            Basket.read(sent(data))

    def test_threads_read_beside_each_other(self) -> None:
        both = threading.Barrier(2, timeout=10)
        found: dict[str, Any] = {}

        class Slow(Body):
            name = serializers.CharField()

            def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
                both.wait()
                return attrs | {"by": self.context["request"].auth}

        def read(name: str) -> None:
            found[name] = Slow.read(sent({"name": name}, by=name))

        threads = [threading.Thread(target=read, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == {name: {"name": name, "by": name} for name in "ab"}

    def test_may_read_another_of_its_kind_meanwhile(self) -> None:
        class Outer(Body):
            name = serializers.CharField()

            def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
                if attrs["name"] == "outer":
                    inner = Outer.read(sent({"name": "inner"}, by="inner"))
                    return attrs | {"inner": inner, "by": self.context["request"].auth}
                return attrs

        assert Outer.read(sent({"name": "outer"}, by="outer")) == {
            "name": "outer",
            "inner": {"name": "inner"},
            "by": "outer",
        }

    def test_names_the_fields_there_are(self) -> None:
        with pytest.raises(serializers.ValidationError) as refused:
            Basket.read(sent({"colour": "red"}))

        assert refused.value.detail == {"colour": "There is no such field. There are: name, lines."}

    def test_says_that_there_are_none(self) -> None:
        class Nothing(Body):
            pass

        with pytest.raises(serializers.ValidationError) as refused:
            Nothing.read(sent({"colour": "red"}))

        assert refused.value.detail == {"colour": "There is no such field. There are none here."}
