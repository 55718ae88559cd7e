"""What the queue cluster does for the project now and then."""

from django.utils import timezone

from commerce import alarms, night
from commerce.inbound import processing
from commerce.models import Alarm, Heartbeat, IdempotencyRecord
from webhooks.sources import every


@every(5)
def beat() -> None:
    Heartbeat.objects.update_or_create(pk=Heartbeat.THE_ONE, defaults={"at": timezone.now()})


@every(3600)
def forget_old_answers() -> None:
    IdempotencyRecord.objects.filter(started_at__lt=timezone.now() - IdempotencyRecord.KEPT_FOR).delete()


@every(alarms.LOOK_EVERY_S)
def look_for_alarms() -> None:
    alarms.check(now=timezone.now())


@every(3600)
def forget_old_alarms() -> None:
    Alarm.objects.filter(ended_at__lt=timezone.now() - Alarm.KEPT_FOR).delete()


@every(300)
def audit() -> None:
    night.look(now=timezone.now())


@every(processing.TICK_S)
def take_in() -> None:
    """Rung for when a message was kept; the clock finds what a lost ring has missed, and what is due again."""
    processing.work_off()


@every(300)
def forget_old_messages() -> None:
    processing.forget(now=timezone.now())
