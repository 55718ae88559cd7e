from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from commerce import replaying
from tests.factories import place_order
from tests.receiver import Receiver
from tests.webhooks.factories import crank, happen, happen_often, make_subscription
from tests.webhooks.test_replay import advance
from webhooks import claims, replay, subscriptions
from webhooks.models import Delivery, Replay, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


class TestCommands:
    def test_recover_counts_first_and_then_sends(self, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
        make_subscription()
        happen()
        Delivery.objects.update(state="parked", next_attempt_at=None)

        call_command("recover", "ERP", "--since", "2026-01-01", "--dry-run")
        call_command("recover", "ERP", "--since", "2026-01-01")

        assert capsys.readouterr().out.splitlines() == [
            "1 would be sent to ERP.",
            "1 are sent to ERP, behind live traffic, by the queue cluster.",
        ]
        assert Replay.objects.get().kind == "failed"

    def test_shows_how_far_it_has_come_when_asked_to(
        self, now: datetime, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "BATCH", 2)
        subscription = make_subscription()
        happen_often(5, subjects=5)
        Delivery.objects.update(state="parked", next_attempt_at=None)
        looks = count()

        def meanwhile(_: float) -> None:
            """What the cluster does, once somebody has resumed the subscription."""
            look = next(looks)
            state = "paused" if look < 2 else "active"
            Subscription.objects.filter(pk=subscription.pk).update(state=state)
            Delivery.objects.filter(state="pending").update(state="delivered", next_attempt_at=None)
            advance(now + look * replay.PACE)

        monkeypatch.setattr(replaying, "time", SimpleNamespace(sleep=meanwhile))

        call_command("recover", "ERP", "--since", "2026-01-01", "--wait")

        assert capsys.readouterr().out.splitlines()[1:] == ["0 of 5 (ERP is paused)", "2 of 5", "4 of 5", "5 of 5"]

    def test_resend_sends_once_more_what_it_is_given(
        self, receiver: Receiver, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_subscription(receiver.url)
        happen_often(3, subjects=3)
        crank()
        ids = list(Delivery.objects.order_by("id").values_list("public_id", flat=True))

        call_command("resend", *ids[:2])
        crank()

        assert capsys.readouterr().out == "Sent again by the queue cluster: 2.\n"
        again = Delivery.objects.filter(resent_by="manage.py").order_by("id")
        assert [row.public_id for row in again] == ids[:2]
        assert [row.headers.get("webhook-redelivery") for row in receiver.received] == [None] * 3 + ["true"] * 2

    def test_resend_says_what_it_cannot_send(self, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
        make_subscription()
        happen_often(2, subjects=2)
        taken, free = Delivery.objects.order_by("id")
        claims.claim(1, owner="w1", now=now + timedelta(minutes=1))

        with pytest.raises(CommandError, match=r"There is no delivery dlv_x\."):
            call_command("resend", free.public_id, "dlv_x")
        assert not Delivery.objects.exclude(resent_by="").exists()

        with pytest.raises(CommandError, match=f"{taken.public_id}: It is being sent at this very moment"):
            call_command("resend", taken.public_id, free.public_id)
        assert capsys.readouterr().out == "Sent again by the queue cluster: 1.\n"
        assert Delivery.objects.get(resent_by="manage.py") == free

    def test_replay_takes_the_id_as_well(self, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
        place_order(now=now)
        subscription = make_subscription(event_types=["order.created"])

        call_command("replay", subscription.public_id, "--since", "2026-01-01T00:00")

        assert capsys.readouterr().out.startswith("1 are sent to ERP")
        assert Replay.objects.get().kind == "missing"

    def test_take_until(self, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
        make_subscription()
        happen()
        Delivery.objects.update(state="parked", next_attempt_at=None)

        call_command("recover", "ERP", "--since", "2026-01-01", "--until", f"{now:%Y-%m-%d}", "--dry-run")

        assert capsys.readouterr().out == "0 would be sent to ERP.\n"
        with pytest.raises(CommandError, match="It would end before it begins"):
            call_command("recover", "ERP", "--since", "2026-01-02", "--until", "2026-01-01")

    def test_say_what_they_leave_out(self, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
        make_subscription()
        Subscription.objects.update(pruned_from=now, pruned_until=now)

        call_command("replay", "ERP", "--since", "2026-01-01", "--dry-run")

        counted, caveat = capsys.readouterr().out.splitlines()
        assert counted == "0 would be sent to ERP."
        assert caveat.startswith(f"Events from {now:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC are left out")

    def test_refuses_in_words(self, now: datetime) -> None:
        for _ in range(2):
            subscription = make_subscription()
        subscriptions.disable(subscription, by="ann", now=now, reason="x")

        with pytest.raises(CommandError, match="There is no subscription OMS"):
            call_command("recover", "OMS", "--since", "2026-01-01")
        with pytest.raises(CommandError, match="2 subscriptions are called ERP"):
            call_command("recover", "ERP", "--since", "2026-01-01")
        with pytest.raises(CommandError, match="ERP is disabled"):
            call_command("recover", subscription.public_id, "--since", "2026-01-01")
        with pytest.raises(CommandError, match="'today' is not a moment"):
            call_command("recover", "ERP", "--since", "today")
