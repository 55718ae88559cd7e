"""A program that calls the REST API."""

from typing import Any

from django.test import Client

from commerce import tokens


class Caller:
    """With a token of these scopes, or anybody; paths are those below /api/v1/."""

    def __init__(self, *scopes: str, **binding: Any) -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {tokens.issue('ERP', scopes=scopes, **binding)}"} if scopes else {}

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(f"/api/v1/{path}", query, headers=self.headers)

    def post(self, path: str, body: object = None) -> Any:
        body = {} if body is None else body
        return self.client.post(f"/api/v1/{path}", body, "application/json", headers=self.headers)

    def patch(self, path: str, body: object) -> Any:
        return self.client.patch(f"/api/v1/{path}", body, "application/json", headers=self.headers)


def fields_at_fault(answer: Any) -> list[str | None]:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "validation_error"), problem
    return list(dict.fromkeys(error["field"] for error in problem["errors"]))
