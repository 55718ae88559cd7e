"""A steady stream of requests over HTTP, by callers who try again until they are answered."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import requests

ANSWER_S = 15.0
PAUSE_S = 0.2
RESEND_EVERY_S = 0.3
SKUS = [f"SKU-{n}" for n in range(12)]
CASH_SHARE = 0.2
DECLINED_SHARE = 0.2
ADDRESS = {"name": "Ann Lee", "line1": "Torstrasse 1", "city": "Berlin", "postal_code": "10119", "country": "DE"}
MONEY = {"kind": "capture", "method": "card", "gateway": "stripe"}


class Refused(Exception):
    """The product said no; `code` says why."""

    def __init__(self, path: str, answer: requests.Response) -> None:
        super().__init__(f"{path}: {answer.status_code} {answer.text}")
        self.code = answer.json().get("code")


class Caller(threading.Thread):
    """Does what it is there for, again and again, until it is told to stop; what was begun is finished."""

    def __init__(self, name: str, *, ports: Sequence[int], token: str, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.ports, self.token = ports, token
        self.random = random.Random(f"{seed} {name}")
        self.stopping = threading.Event()
        self.repeated = 0
        self.failure = ""

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.act()
        except Refused as refused:
            self.failure = str(refused)

    def act(self) -> None:
        raise NotImplementedError

    def get(self, path: str) -> Any:
        return self._ask("GET", path, {}, None)

    def post(self, path: str, **body: Any) -> Any:
        """The answer, however often it takes to ask, and whom: each time with the same key."""
        return self._ask("POST", path, {"idempotency-key": f"{self.random.getrandbits(128):x}"}, body)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}", **headers}
        while True:
            url = f"http://127.0.0.1:{self.random.choice(self.ports)}/api/v1/{path}"
            try:
                answer = requests.request(method, url, json=body, headers=headers, timeout=ANSWER_S)
            except requests.RequestException:
                self._pause()
                continue
            if answer.ok:
                return answer.json()
            if answer.status_code < 500 and answer.json().get("code") != "request_in_progress":
                raise Refused(path, answer)
            self._pause()

    def _pause(self) -> None:
        self.repeated += 1
        time.sleep(PAUSE_S)


class Shopper(Caller):
    """Walks one order after the other from the cart to the door."""

    def __init__(self, name: str, *, ports: Sequence[int], token: str, seed: str) -> None:
        super().__init__(name, ports=ports, token=token, seed=seed)
        self.sold: Counter[str] = Counter()
        self.order_ids: list[str] = []

    def act(self) -> None:
        is_cash = self.random.random() < CASH_SHARE
        basket = Counter(self.random.choices(SKUS, k=self.random.randint(1, 3)))
        order = self.post(
            "orders/",
            customer={"email": f"customer{self.random.randrange(20)}@example.com", "name": "Ann Lee"},
            lines=[{"sku": sku, "quantity": quantity} for sku, quantity in basket.items()],
            shipping_address=ADDRESS,
            payment={"method": "cod" if is_cash else "card"},
        )
        self.order_ids.append(order["order_id"])
        self.sold += basket
        if is_cash:
            self.post(f"orders/{order['order_id']}/confirm/")
        else:
            self._pay(order)
        for parcel in self.post(f"fulfilment/orders/{order['order_id']}/pack/")["shipments"]:
            self._bring(parcel["shipment_id"])

    def _pay(self, order: dict[str, Any]) -> None:
        path = f"orders/{order['order_id']}/payments/"
        money = MONEY | {"amount": order["total_amount"], "currency": order["currency"]}
        reference = f"ch_{order['order_number']}"
        if self.random.random() < DECLINED_SHARE:
            self.post(path, result="failed", gateway_reference=f"{reference}_0", failure_code="declined", **money)
        self.post(path, result="success", gateway_reference=reference, **money)

    def _bring(self, shipment_id: str) -> None:
        path = f"fulfilment/shipments/{shipment_id}"
        self.post(f"{path}/ship/", carrier="DHL", tracking_number=f"JD{self.random.randrange(10**9)}")
        for status in ("in_transit", "out_for_delivery"):
            self.post(f"{path}/tracking/", status=status, occurred_at=datetime.now(UTC).isoformat())
        self.post(f"{path}/deliver/")


class Clerk(Caller):
    """Has what arrived sent again, one delivery at a time, picked at random.

    `asked`: which, and when that was last begun; `promised`: of those, the ones it was told would go out again.
    """

    def __init__(self, name: str, *, ports: Sequence[int], token: str, seed: str) -> None:
        super().__init__(name, ports=ports, token=token, seed=seed)
        self.asked: dict[str, datetime] = {}
        self.promised: dict[str, datetime] = {}

    def act(self) -> None:
        arrived = self.get("webhooks/deliveries/?state=delivered&page_size=100")["results"]
        if arrived:
            self._resend(self.random.choice(arrived)["id"])
        time.sleep(RESEND_EVERY_S)

    def _resend(self, delivery_id: str) -> None:
        self.asked[delivery_id] = began = datetime.now(UTC)
        try:
            self.post(f"webhooks/deliveries/{delivery_id}/resend/")
        except Refused as refused:
            if refused.code != "replay_refused":
                raise
        else:
            self.promised[delivery_id] = began
