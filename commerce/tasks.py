"""What the queue cluster does for the project now and then."""

from django.utils import timezone

from commerce.audit import audit_tonight
from commerce.models import Heartbeat, IdempotencyRecord
from webhooks.sources import every


@every(5)
def beat() -> None:
    Heartbeat.objects.update_or_create(pk=Heartbeat.THE_ONE, defaults={"at": timezone.now()})


@every(3600)
def forget_old_answers() -> None:
    IdempotencyRecord.objects.filter(started_at__lt=timezone.now() - IdempotencyRecord.KEPT_FOR).delete()


@every(300)
def audit() -> None:
    audit_tonight(now=timezone.now())
