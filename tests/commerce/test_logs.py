import json
import logging
from typing import Any

from commerce.logs import JsonFormatter


def formatted(**values: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "webhooks", "levelname": "WARNING", "created": 1_780_000_000.5, **values})
    result: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return result


class TestJsonFormatter:
    def test_writes_one_object(self) -> None:
        assert formatted(msg="%d left", args=(3,)) == {
            "at": "2026-05-28T20:26:40.500+00:00",
            "level": "warning",
            "logger": "webhooks",
            "message": "3 left",
        }

    def test_keeps_what_the_caller_added(self) -> None:
        assert formatted(msg="sent", subscription="sub_1")["subscription"] == "sub_1"

    def test_keeps_a_traceback_on_its_one_line(self) -> None:
        try:
            raise ValueError("no")
        except ValueError as error:
            line = formatted(msg="failed", exc_info=(ValueError, error, error.__traceback__))

        assert line["exception"].endswith("ValueError: no")

    def test_survives_what_json_does_not_know(self) -> None:
        assert formatted(msg="sent", request=object())["request"].startswith("<object")
