from base64 import b64encode

import pytest
from django.test import Client

from inventory.models import Warehouse

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.commerce.urls")]

URL = "/api/v1/warehouses/"


@pytest.fixture(autouse=True)
def five_warehouses() -> None:
    for number in range(5):
        Warehouse.objects.create(code=f"W{number}", name="any", country="DE")


def codes(page: dict[str, list[dict[str, str]]]) -> list[str]:
    return [row["code"] for row in page["results"]]


class TestNewestFirst:
    def test_walks_to_the_end_and_back(self, client: Client) -> None:
        first = client.get(f"{URL}?page_size=2").json()
        second = client.get(first["next"]).json()
        last = client.get(second["next"]).json()

        assert [codes(page) for page in (first, second, last)] == [["W4", "W3"], ["W2", "W1"], ["W0"]]
        assert (first["previous"], last["next"]) == (None, None)
        assert codes(client.get(last["previous"]).json()) == ["W2", "W1"]

    def test_counts_nothing(self, client: Client) -> None:
        assert set(client.get(URL).json()) == {"next", "previous", "results"}

    def test_a_row_added_meanwhile_moves_nobody_to_the_next_page(self, client: Client) -> None:
        first = client.get(f"{URL}?page_size=2").json()
        Warehouse.objects.create(code="W5", name="any", country="DE")

        assert codes(client.get(first["next"]).json()) == ["W2", "W1"]

    @pytest.mark.parametrize("position", ["p=abc", "p=%00", "p=99999999999999999999999", "p=2001-01-01", "o=-1", "o=x"])
    def test_a_forged_cursor_is_never_a_server_error(self, client: Client, position: str) -> None:
        answer = client.get(URL, {"cursor": b64encode(position.encode()).decode()})

        assert answer.status_code in {200, 404}

    @pytest.mark.parametrize("cursor", ["é", "%00", "a"])
    def test_junk_in_its_place_is_not_found(self, client: Client, cursor: str) -> None:
        answer = client.get(f"{URL}?cursor={cursor}")

        assert answer.status_code in {400, 404}

    @pytest.mark.parametrize("size", ["0", "-1", "x", "", "1.5", "٣", "201", "9" * 5000])
    def test_refuses_a_senseless_page_size(self, client: Client, size: str) -> None:
        answer = client.get(URL, {"page_size": size})

        assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
        assert answer.json()["errors"] == [
            {"field": "page_size", "code": "invalid", "detail": "This has to be a number from 1 to 200."}
        ]


class TestKnownFilters:
    def test_refuse_a_parameter_that_nobody_reads_and_name_those_that_exist(self, client: Client) -> None:
        answer = client.get(URL, {"code": "W1", "codes": "W1"})

        assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
        assert answer.json()["errors"] == [
            {
                "field": "codes",
                "code": "unknown_parameter",
                "detail": "There is no such parameter. There are: code, cursor, page_size.",
            }
        ]

    def test_take_those_that_exist(self, client: Client) -> None:
        assert codes(client.get(URL, {"code": "W1", "page_size": "200"}).json()) == ["W1"]
