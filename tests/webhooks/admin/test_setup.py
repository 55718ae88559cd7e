"""The four steps, from nothing to a verified test event (issue 2, part 5)."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from tests.receiver import Answer, Receiver
from tests.webhooks.admin.conftest import log_in_with
from tests.webhooks.admin.steps import ADD, NO_HEADERS, begin, draft_at, walk_to
from webhooks import subscriptions
from webhooks.admin.setup import purge_drafts
from webhooks.models import Subscription
from webhooks.signing import public_key

pytestmark = pytest.mark.django_db


class TestTheWalk:
    def test_ends_with_an_active_subscription_its_secret_and_a_log_entry(
        self, staff: Client, receiver: Receiver
    ) -> None:
        address = begin(staff)
        first = staff.post(f"{address}1/", {"name": "OMS", "url": receiver.url})
        second = staff.post(f"{address}2/", {"event_types": ["order.*", "order.created", "product.updated"]})
        third = staff.post(f"{address}3/", NO_HEADERS | {"headers-scheme": "bearer", "headers-bearer_token": "s3cret"})
        last = staff.post(f"{address}4/")

        made = Subscription.objects.get()
        assert [answer["Location"] for answer in (first, second, third)] == [f"{address}{n}/" for n in (2, 3, 4)]
        assert last["Location"] == f"/admin/webhooks/subscription/{made.pk}/ready/"
        assert (made.state, made.name, made.url) == ("active", "OMS", receiver.url)
        assert made.event_types == ["order.*", "product.updated"]
        assert made.headers == {"Authorization": "Bearer s3cret"}
        assert made.secrets[0]["secret"] in staff.get(last["Location"]).content.decode()
        assert LogEntry.objects.get().action_flag == ADDITION

    def test_asks_an_expert_for_conditions_latest_wins_and_the_kind_of_signature(
        self, staff: Client, receiver: Receiver
    ) -> None:
        address = walk_to(2, staff, receiver.url)
        folded = staff.get(f"{address}2/").content.decode()
        condition = {"conditions-field": "channel", "conditions-operator": "eq", "conditions-value": "pos"}
        staff.post(f"{address}2/", {"event_types": ["order.*"], "compact": "on"} | condition)
        staff.post(f"{address}3/", NO_HEADERS)
        opened = staff.get(f"{address}2/").content.decode()
        summary = staff.get(f"{address}4/").content.decode()

        last = staff.post(f"{address}4/", {"signature": "v1a"}, follow=True)

        made = Subscription.objects.get()
        assert folded.count('<fieldset class="module aligned collapse"') == 1
        assert "module aligned collapse" not in opened
        assert "channel is &quot;pos&quot;" in summary
        assert made.conditions == [{"field": "channel", "operator": "eq", "value": "pos"}]
        assert made.compact
        assert str(public_key(made.secrets[0]["secret"])) in last.content.decode()

    def test_a_condition_that_fits_no_chosen_event_is_refused_where_it_stands(
        self, staff: Client, receiver: Receiver
    ) -> None:
        address = walk_to(2, staff, receiver.url)
        condition = {"conditions-field": "channel", "conditions-operator": "eq", "conditions-value": "pos"}

        refused = staff.post(f"{address}2/", {"event_types": ["product.*"]} | condition)

        assert refused.status_code == 200
        assert "none of the chosen events has a field &#x27;channel&#x27;" in refused.content.decode()
        assert draft_at(address).event_types == []

    def test_nothing_is_told_before_it_is_saved(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(4, staff, receiver.url)

        assert draft_at(address).state == "draft"
        assert draft_at(address).secrets == []

    def test_shows_where_one_is_and_links_what_is_done(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(2, staff, receiver.url)

        page = staff.get(f"{address}2/").content.decode()

        assert '<span aria-current="step">Events</span>' in page
        assert f'<a href="{address}1/">Callback URL</a>' in page
        assert f"{address}3/" not in page

    @pytest.mark.parametrize("step", [0, 3, 4, 5, 99])
    def test_a_step_that_is_not_reached_leads_back(self, staff: Client, receiver: Receiver, step: int) -> None:
        address = walk_to(2, staff, receiver.url)

        assert staff.get(f"{address}{step}/")["Location"] == f"{address}2/"
        assert staff.post(f"{address}{step}/", {"event_types": ["*"]})["Location"] == f"{address}2/"
        assert draft_at(address).event_types == []

    def test_back_shows_what_was_given_and_can_change_it(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(4, staff, receiver.url)

        page = staff.get(f"{address}1/").content.decode()
        staff.post(f"{address}1/", {"name": "Other", "url": receiver.url})

        assert f'value="{receiver.url}"' in page
        assert (draft_at(address).name, draft_at(address).event_types) == ("Other", ["order.*"])

    def test_two_tabs_are_two_drafts(self, staff: Client, receiver: Receiver) -> None:
        one, other = begin(staff), begin(staff)
        staff.post(f"{one}1/", {"name": "One", "url": f"{receiver.url}/one"})
        staff.post(f"{other}1/", {"name": "Other", "url": f"{receiver.url}/other"})
        for address in (one, other):
            staff.post(f"{address}2/", {"event_types": ["*"]})
        staff.post(f"{one}4/")

        assert (draft_at(one).state, draft_at(one).url) == ("active", f"{receiver.url}/one")
        assert (draft_at(other).state, draft_at(other).url) == ("draft", f"{receiver.url}/other")

    def test_back_after_saving_leads_to_the_subscription(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(4, staff, receiver.url)
        staff.post(f"{address}4/")
        saved = draft_at(address)

        again = staff.post(f"{address}4/")

        assert again["Location"] == f"/admin/webhooks/subscription/{saved.pk}/change/"
        assert draft_at(address).secrets == saved.secrets

    def test_an_address_that_has_gone_bad_meanwhile_leads_back_to_its_step(self, staff: Client, ann: User) -> None:
        draft = subscriptions.start_draft(ann)
        Subscription.objects.filter(pk=draft.pk).update(name="X", url="http://10.0.0.1/", event_types=["*"])

        refused = staff.post(f"{ADD}{draft.public_id}/4/", follow=True)

        assert refused.redirect_chain == [(f"{ADD}{draft.public_id}/1/", 302)]
        assert "not a public address" in refused.content.decode()
        assert draft_at(f"{ADD}{draft.public_id}/").state == "draft"

    def test_has_nothing_inline(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(4, staff, receiver.url)

        pages = [staff.get(f"{address}{step}/").content.decode() for step in (1, 2, 3, 4)]

        assert not any("<style" in page or " style=" in page or " onclick=" in page for page in pages)


class TestEvents:
    def test_offers_every_group_with_a_sentence_and_an_example(self, staff: Client, receiver: Receiver) -> None:
        page = staff.get(f"{walk_to(2, staff, receiver.url)}2/").content.decode()

        assert 'value="order.*"' in page
        assert "A parcel has left its warehouse" in page
        assert "&quot;tracking_number&quot;" in page

    def test_everything_swallows_the_rest(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(2, staff, receiver.url)

        staff.post(f"{address}2/", {"event_types": ["order.created", "*", "payment.*"]})

        assert draft_at(address).event_types == ["*"]


WRONG_ADDRESSES = [
    ({"name": "", "url": "OK"}, "name", "required"),
    ({"name": "x" * 101, "url": "OK"}, "name", "at most 100"),
    ({"name": "a\x00b", "url": "OK"}, "name", "Null characters"),
    ({"name": "X", "url": ""}, "url", "required"),
    ({"name": "X", "url": "example"}, "url", "begins with https"),
    ({"name": "X", "url": "ftp://127.0.0.1/"}, "url", "begins with https"),
    ({"name": "X", "url": "javascript:alert(1)"}, "url", "begins with https"),
    ({"name": "X", "url": "https://ann:pw@127.0.0.1/"}, "url", "in a header"),
    ({"name": "X", "url": "http://127.0.0.1/#part"}, "url", "after #"),
    ({"name": "X", "url": "http://[::1"}, "url", "cannot be read"),
    ({"name": "X", "url": "http://127.0.0.1:99999/"}, "url", "cannot be read"),
    ({"name": "X", "url": "http://10.0.0.1/"}, "url", "not a public address"),
    ({"name": "X", "url": "http://169.254.169.254/latest/"}, "url", "not a public address"),
    ({"name": "X", "url": f"http://127.0.0.1/{'x' * 2000}"}, "url", "at most 2000"),
    ({"name": "X", "url": "http://no-such-host.invalid/"}, "url", "cannot be found"),
]
WRONG_EVENTS = [[], ["order.eaten"], ["nonsense.*"], ["**"], [""], ["order.created", "x' OR 1=1"]]
WRONG_HEADERS: list[dict[str, Any]] = [
    {"headers-scheme": "bearer"},
    {"headers-scheme": "basic", "headers-basic_username": "a:b", "headers-basic_password": "x"},
    {"headers-scheme": "basic", "headers-basic_username": "ann"},
    {"headers-scheme": "api_key", "headers-api_key_name": "", "headers-api_key_value": "k"},
    {"headers-scheme": "digest"},
    {"headers-name": ["X A"], "headers-value": ["1"]},
    {"headers-name": ["X-A"], "headers-value": [""]},
    {"headers-name": [""], "headers-value": ["1"]},
    {"headers-name": ["X-A", "x-a"], "headers-value": ["1", "2"]},
    {"headers-name": ["webhook-signature"], "headers-value": ["forged"]},
    {"headers-name": ["Host"], "headers-value": ["evil.example"]},
    {"headers-name": ["X-A"], "headers-value": ["1\r\nX-B: 2"]},
    {"headers-name": ["X-A"], "headers-value": ["smörgås"]},
    {"headers-name": ["X-A"], "headers-value": ["x" * 5000]},
    {"headers-name": [f"X-{n}" for n in range(21)], "headers-value": ["1"] * 21},
    {
        "headers-scheme": "bearer",
        "headers-bearer_token": "t",
        "headers-name": ["authorization"],
        "headers-value": ["t"],
    },
]


class TestRefusals:
    @pytest.mark.parametrize(("typed", "field", "words"), WRONG_ADDRESSES)
    def test_of_an_address_in_words(
        self, staff: Client, receiver: Receiver, typed: dict[str, str], field: str, words: str
    ) -> None:
        address = begin(staff)

        page = staff.post(f"{address}1/", {name: text.replace("OK", receiver.url) for name, text in typed.items()})

        assert page.status_code == 200
        assert words in str(page.context["errors"][field])
        assert (draft_at(address).name, draft_at(address).url) == ("", "")

    @pytest.mark.parametrize("chosen", WRONG_EVENTS)
    def test_of_events_that_do_not_exist(self, staff: Client, receiver: Receiver, chosen: list[str]) -> None:
        address = walk_to(2, staff, receiver.url)

        page = staff.post(f"{address}2/", {"event_types": chosen})

        assert list(page.context["errors"]) == ["event_types"]
        assert draft_at(address).event_types == []

    @pytest.mark.parametrize("typed", WRONG_HEADERS)
    def test_of_headers_that_cannot_be_sent(self, staff: Client, receiver: Receiver, typed: dict[str, Any]) -> None:
        address = walk_to(3, staff, receiver.url)

        page = staff.post(f"{address}3/", NO_HEADERS | typed)

        assert list(page.context["errors"]) == ["headers"]
        assert draft_at(address).headers == {}

    def test_what_was_typed_is_not_lost(self, staff: Client) -> None:
        page = staff.post(f"{begin(staff)}1/", {"name": "OMS", "url": "ftp://x"}).content.decode()

        assert 'value="OMS"' in page
        assert 'value="ftp://x"' in page


class TestWhoMay:
    def test_a_draft_is_its_owners(self, staff: Client, receiver: Receiver) -> None:
        colleague = log_in_with("add_subscription", "view_subscription", "change_subscription")
        address = walk_to(2, staff, receiver.url)

        assert colleague.get(f"{address}2/").status_code == 404
        assert colleague.post(f"{address}2/", {"event_types": ["*"]}).status_code == 404
        assert draft_at(address).event_types == []

    def test_a_superuser_may_finish_a_colleagues_draft(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(2, log_in_with("add_subscription"), receiver.url)

        assert staff.get(f"{address}2/").status_code == 200

    def test_needs_the_permission_to_add(self) -> None:
        onlooker = log_in_with("view_subscription")

        assert onlooker.get(ADD).status_code == 403
        assert Subscription.objects.count() == 0

    def test_who_may_add_only_sees_the_secret_of_their_own(
        self, receiver: Receiver, subscription: Subscription
    ) -> None:
        adder = log_in_with("add_subscription", "view_subscription")
        address = walk_to(4, adder, receiver.url)

        own = adder.post(f"{address}4/", follow=True)
        other = adder.get(f"/admin/webhooks/subscription/{subscription.pk}/ready/")

        assert "whsec_" in own.content.decode()
        assert other.status_code == 403


class TestTheTestEvent:
    def send(self, staff: Client, subscription: Subscription) -> Any:
        return staff.post(f"/admin/webhooks/subscription/{subscription.pk}/test/", {"from": "ready"}, follow=True)

    def test_arrives_signed_and_its_answer_is_shown_in_place(
        self, staff: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        receiver.answers = [Answer(201, b"welcome aboard")]

        page = self.send(staff, subscription)

        (received,) = receiver.received
        secret = subscription.secrets[0]["secret"]
        assert Webhook(secret).verify(received.body, received.headers)["type"] == "webhook.test"
        assert page.redirect_chain[0][0].startswith(f"/admin/webhooks/subscription/{subscription.pk}/ready/?test=dlv_")
        assert "<strong>It answered 201</strong>" in page.content.decode()
        assert "welcome aboard" in page.content.decode()

    def test_a_failure_is_told_in_words(self, staff: Client, receiver: Receiver, subscription: Subscription) -> None:
        receiver.answers = [Answer(302, headers={"location": "https://elsewhere.example/"})]

        page = self.send(staff, subscription).content.decode()

        assert "redirects to https://elsewhere.example/" in page
        assert "Put the final address into the callback URL" in page

    def test_of_a_paused_subscription_is_refused(
        self, staff: Client, subscription: Subscription, now: datetime
    ) -> None:
        subscriptions.pause(subscription, by="ann", now=now)

        assert "is paused, not active" in self.send(staff, subscription).content.decode()

    def test_of_another_subscription_is_not_shown(
        self, staff: Client, subscription: Subscription, receiver: Receiver, now: datetime
    ) -> None:
        other = subscriptions.create(name="Other", url=receiver.url, event_types=["*"], headers={}, by="ann", now=now)
        delivery = subscriptions.send_test(other, by="ann", now=now)

        page = staff.get(f"/admin/webhooks/subscription/{subscription.pk}/ready/?test={delivery.public_id}")

        assert page.context["test"] is None

    def test_cannot_be_asked_for_by_a_link(self, staff: Client, subscription: Subscription) -> None:
        assert staff.get(f"/admin/webhooks/subscription/{subscription.pk}/test/").status_code == 405


class TestPurge:
    def test_takes_drafts_of_more_than_a_day_and_nothing_else(self, ann: User, subscription: Subscription) -> None:
        old, fresh = subscriptions.start_draft(ann), subscriptions.start_draft(ann)
        long_ago = timezone.now() - timedelta(hours=25)
        Subscription.objects.filter(pk__in=[old.pk, subscription.pk]).update(created_at=long_ago)

        purge_drafts()

        assert set(Subscription.objects.values_list("pk", flat=True)) == {fresh.pk, subscription.pk}


def test_the_draft_keeps_its_secrets_encrypted(staff: Client, receiver: Receiver, ann: User) -> None:
    address = walk_to(3, staff, receiver.url)
    staff.post(f"{address}3/", NO_HEADERS | {"headers-scheme": "bearer", "headers-bearer_token": "s3cret"})

    with connection.cursor() as cursor:
        cursor.execute("SELECT headers FROM webhooks_subscription")
        (stored,) = cursor.fetchone()

    assert "s3cret" not in stored
    assert "s3cret" not in json.dumps(dict(staff.session))
