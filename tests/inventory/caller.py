"""A program that calls the API of stock and products."""

from typing import Any

from django.test import Client

from commerce import tokens


class Caller:
    """A program with a token."""

    def __init__(self, *scopes: str, warehouse: str = "", channel: str = "") -> None:
        secret = tokens.issue("ERP", scopes=scopes, warehouse=warehouse, channel=channel)
        self.client = Client(headers={"Authorization": f"Bearer {secret}"})

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(f"/api/v1/{path}", query)

    def post(self, path: str, body: object) -> Any:
        return self.client.post(f"/api/v1/{path}", body, content_type="application/json")

    def patch(self, path: str, body: object) -> Any:
        return self.client.patch(f"/api/v1/{path}", body, content_type="application/json")


def fields_at_fault(answer: Any) -> list[str | None]:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "validation_error"), problem
    return list(dict.fromkeys(error["field"] for error in problem["errors"]))
