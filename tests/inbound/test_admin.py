"""Sources and messages in the admin, as a shop person uses them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from commerce.models import InboundMessage, InboundSource
from orders.models import Order
from tests.factories import make_warehouse, ship_order
from tests.inbound.conftest import make_source, only_message, take_in
from tests.inbound.senders import SECRETS, Sender, load
from tests.webhooks.admin.conftest import log_in_with

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]
ADD = "/admin/commerce/inboundsource/add/"
MESSAGES = "/admin/commerce/inboundmessage/"
HMAC = {
    "header": "X-Signature",
    "algorithm": "sha256",
    "encoding": "hex",
    "prefix": "",
    "paths": "tracking_number = a.b\r\nstatus = events.-1.code\r\noccurred_at=at",
    "words": "ZUGESTELLT = delivered\r\nA=B = in_transit",
}
PLAIN = {"algorithm": "sha256", "encoding": "hex"}


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))
    return client


def change_url(source: InboundSource) -> str:
    return f"/admin/commerce/inboundsource/{source.pk}/change/"


class TestAddSource:
    def test_asks_for_the_one_secret(self, staff: Client) -> None:
        text = staff.get(ADD).content.decode()

        assert "Signing secret:" in text
        assert "Another secret" not in text

    @pytest.mark.parametrize("scheme", ["aftership", "easypost", "stripe"])
    def test_leads_to_its_address_and_what_to_do_with_it(self, scheme: str, staff: Client) -> None:
        page = staff.post(
            ADD, PLAIN | {"scheme": scheme, "name": scheme, "new_secret": "s3cret-of-20-letters"}, follow=True
        )

        source = InboundSource.objects.get()
        text = page.content.decode()
        assert page.redirect_chain == [(change_url(source), 302)]
        assert (source.name, source.live_secrets, source.is_active) == (scheme, ["s3cret-of-20-letters"], True)
        assert f'value="http://localhost:8000/api/v1/inbound/{scheme}/"' in text
        assert "s3cret-of-20-letters" not in text
        assert source.get_scheme_display().split(":")[0] in text.split("Tell the sender")[1]

    def test_makes_the_secret_of_a_3pl_and_shows_it_once(self, staff: Client) -> None:
        warehouse = make_warehouse("MUC")

        page = staff.post(
            ADD, PLAIN | {"scheme": "standard", "name": "muc-3pl", "warehouse": warehouse.code}, follow=True
        )

        source = InboundSource.objects.get()
        [secret] = source.live_secrets
        assert secret.startswith("whsec_")
        assert secret in page.content.decode()
        assert secret not in staff.get(change_url(source)).content.decode()
        assert source.warehouse == "MUC"

    def test_takes_paths_and_words_of_any_other_courier_in_lines(self, staff: Client) -> None:
        staff.post(ADD, HMAC | {"scheme": "hmac", "name": "gls", "new_secret": "hush"})

        source = InboundSource.objects.get()
        assert source.paths == {"tracking_number": "a.b", "status": "events.-1.code", "occurred_at": "at"}
        assert source.words == {"ZUGESTELLT": "delivered", "A=B": "in_transit"}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"new_secret": ""}, "needs the secret"),
            ({"scheme": "pigeon"}, "Select a valid choice"),
            ({"name": "two words"}, "valid “slug”"),
            ({"scheme": "standard", "new_secret": "short"}, "at least 16 random bytes"),
            ({"scheme": "hmac", "header": ""}, "Name the header"),
            ({"scheme": "hmac", "header": "X-S", "paths": "status = s"}, "Without tracking_number and occurred_at"),
            ({"scheme": "hmac", "header": "X-S", "paths": "colour = s"}, "is not understood"),
            ({"scheme": "hmac", "header": "X-S", "paths": "status"}, "is not understood"),
            ({"scheme": "hmac", "header": "X-S", "words": "A = teleported"}, "is not understood"),
            ({"scheme": "hmac", "header": "X-S", "words": "= delivered"}, "is not understood"),
            ({"scheme": "hmac", "header": "X-S", "words": "x" * 300 + " = delivered"}, "is not understood"),
            ({"warehouse": "GONE"}, "Select a valid choice"),
            ({"new_secret": "x" * 501}, "at most 500 characters"),
        ],
    )
    def test_refuses_in_words(self, fields: dict[str, str], words: str, staff: Client) -> None:
        page = staff.post(ADD, PLAIN | {"scheme": "stripe", "name": "x", "new_secret": "s"} | fields)

        assert words in page.content.decode()
        assert not InboundSource.objects.exists()

    def test_is_for_those_who_may(self) -> None:
        reader = log_in_with("view_inboundsource")

        assert reader.get(ADD).status_code == 403
        assert reader.get("/admin/commerce/inboundsource/").status_code == 200


class TestChangeSource:
    @pytest.fixture
    def source(self) -> InboundSource:
        return make_source("stripe")

    def test_adds_a_secret_beside_the_old_one_and_then_removes_that(self, source: InboundSource, staff: Client) -> None:
        staff.post(change_url(source), {"new_secret": "the-new-one", "is_active": "on"})
        source.refresh_from_db()
        assert source.live_secrets == ["the-new-one", SECRETS["stripe"]]

        staff.post(change_url(source), {"removed": "1", "is_active": "on"})
        source.refresh_from_db()
        assert source.live_secrets == ["the-new-one"]

    def test_keeps_its_last_secret(self, source: InboundSource, staff: Client) -> None:
        page = staff.post(change_url(source), {"removed": "0", "is_active": "on"})

        source.refresh_from_db()
        assert "before you remove the last one" in page.content.decode()
        assert source.live_secrets == [SECRETS["stripe"]]

    def test_switches_it_off(self, source: InboundSource, staff: Client) -> None:
        staff.post(change_url(source), {})

        source.refresh_from_db()
        assert not source.is_active
        assert "Off" in staff.get("/admin/commerce/inboundsource/").content.decode()

    def test_changes_neither_its_name_nor_its_sender(self, source: InboundSource, staff: Client) -> None:
        staff.post(change_url(source), {"name": "other", "scheme": "easypost", "is_active": "on"})

        source.refresh_from_db()
        assert (source.name, source.scheme) == ("stripe", "stripe")

    def test_cannot_delete_it(self, source: InboundSource, staff: Client) -> None:
        assert staff.post(f"/admin/commerce/inboundsource/{source.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_says_when_and_why_a_message_was_refused(self, connect: Connect, staff: Client) -> None:
        sender = connect("easypost")
        sender.post(b"{}", {"X-Hmac-Signature": "hmac-sha256-hex=00"})

        for url in (change_url(InboundSource.objects.get()), "/admin/commerce/inboundsource/"):
            assert "The signature is not that of any secret of this source." in staff.get(url).content.decode()


class TestMessages:
    @pytest.fixture
    def message(self, connect: Connect) -> InboundMessage:
        """One that did something."""
        ship_order()
        body = load("standard_tracking_updated")
        body["data"]["tracking_number"] = "JD01"
        connect("standard").send(body, message_id="msg_42", Authorization="Basic c2VjcmV0")
        take_in()
        return only_message()

    def test_lists_what_each_did_with_a_link_to_the_order(self, message: InboundMessage, staff: Client) -> None:
        text = staff.get(MESSAGES).content.decode()

        order = Order.objects.get()
        assert message.effect in text
        assert f'<a href="{reverse("admin:orders_order_change", args=[order.pk])}">{order}</a>' in text

    def test_shows_body_headers_and_state_but_no_secret(self, message: InboundMessage, staff: Client) -> None:
        text = staff.get(f"{MESSAGES}{message.pk}/change/").content.decode()

        assert "Left the depot" in text
        assert "Webhook-Signature" in text
        assert "msg_42" in text
        assert "c2VjcmV0" not in text
        assert "v1," not in text
        assert "Reprocess</button>" not in text

    @pytest.mark.parametrize("term", ["msg_42", "$number", "$subject", "$id"])
    def test_finds_by_order_and_by_id(self, term: str, message: InboundMessage, staff: Client) -> None:
        known = {"$number": str(Order.objects.get()), "$subject": message.subject, "$id": message.public_id}

        found = staff.get(MESSAGES, {"q": known.get(term, term)}).context["cl"].result_list

        assert [each.pk for each in found] == [message.pk]

    @pytest.mark.parametrize(
        "query",
        ["q=nothing", "q=a%00b", "state=parked", "state=nonsense", "source=gone", "older_than=x", "subject=ord_x"],
    )
    def test_answers_every_address(self, query: str, message: InboundMessage, staff: Client) -> None:
        answer = staff.get(f"{MESSAGES}?{query}")

        assert answer.status_code in (200, 400)

    def test_of_a_body_that_is_no_text_is_shown_all_the_same(self, connect: Connect, staff: Client) -> None:
        connect("stripe").send(b"\xff\x00<script>" + b"x" * 200_000)
        take_in()

        page = staff.get(f"{MESSAGES}{only_message().pk}/change/")

        assert page.status_code == 200
        assert "\\xff" in page.content.decode()
        assert "<script>x" not in page.content.decode()
        assert "Only the beginning is shown." in page.content.decode()

    def test_takes_the_same_number_of_queries_however_long_it_is(
        self, connect: Connect, staff: Client, django_assert_max_num_queries: Any
    ) -> None:
        sender = connect("standard")
        for n in range(12):
            sender.send({"n": n})

        with django_assert_max_num_queries(8):
            staff.get(MESSAGES)


class TestFrontPage:
    def test_shows_that_something_is_parked_and_only_then(self, connect: Connect, staff: Client) -> None:
        assert "Messages parked" not in staff.get("/admin/").content.decode()
        connect("stripe").send(b"junk")
        take_in()

        text = staff.get("/admin/").content.decode()

        assert "Messages parked" in text
        assert f"{MESSAGES}?state=parked" in text


class TestReprocess:
    @pytest.fixture
    def parked(self, connect: Connect) -> InboundMessage:
        connect("standard").send({"type": "tracking.updated", "data": {}})
        take_in()
        return only_message()

    def test_puts_it_back_on_the_queue_with_the_name_of_who_did(self, parked: InboundMessage, staff: Client) -> None:
        page = staff.post(f"{MESSAGES}{parked.pk}/reprocess/", follow=True)

        parked.refresh_from_db()
        assert "being processed again" in page.content.decode()
        assert (parked.state, parked.reprocessed_by) == ("received", "ann")

    def test_of_several_leaves_what_was_processed(self, parked: InboundMessage, staff: Client) -> None:
        done = InboundMessage.objects.create(
            source=parked.source, sender_id="done", state="processed", next_attempt_at=None, body=b"{}"
        )

        page = staff.post(
            MESSAGES, {"action": "reprocess_selected", "_selected_action": [parked.pk, done.pk]}, follow=True
        )

        text = page.content.decode()
        assert "1 is being processed again." in text
        assert "1 had been processed already" in text
        parked.refresh_from_db()
        done.refresh_from_db()
        assert (parked.state, done.state) == ("received", "processed")

    def test_is_for_those_who_may(self, parked: InboundMessage) -> None:
        reader = log_in_with("view_inboundmessage")

        assert reader.post(f"{MESSAGES}{parked.pk}/reprocess/").status_code == 403
        assert "Reprocess</button>" not in reader.get(f"{MESSAGES}{parked.pk}/change/").content.decode()
        parked.refresh_from_db()
        assert parked.state == "parked"

    def test_is_done_by_post_alone(self, parked: InboundMessage, staff: Client) -> None:
        assert staff.get(f"{MESSAGES}{parked.pk}/reprocess/").status_code == 405
