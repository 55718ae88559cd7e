"""/metrics: the reading in the words of Prometheus, made at each scrape.

Names of systems and how much they are told are nobody else's business: it takes a token with the scope `metrics`. A
subscription is labelled by its id; `commerce_subscription_info` knows its name.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from rest_framework.exceptions import AuthenticationFailed

from commerce import VERSION, problems
from commerce.metrics import EVENTS_COUNTED_TO, Reading, read
from commerce.models import Alarm
from commerce.tokens import read_token
from webhooks.models import Subscription
from webhooks.standing import COUNTED_TO, Standing
from webhooks.tallies import BOUNDS, Outcomes

SCOPE = "metrics"
# So many subscriptions have a label of their own, the oldest first; the others are one.
LABELLED = 200
OTHERS = "others"
STATES = [state for state in Subscription.State.values if state != Subscription.State.DRAFT]


@csrf_exempt
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    if refusal := _refuse(request):
        return refusal
    registry = CollectorRegistry()
    try:
        registry.register(Told(read(now=timezone.now())))
    except DatabaseError:
        return problems.respond(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The database does not answer.")
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _refuse(request: HttpRequest) -> HttpResponse | None:
    try:
        token = read_token(request)
    except AuthenticationFailed as error:
        return _challenge(str(error.detail))
    except DatabaseError:
        return problems.respond(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The database does not answer.")
    if token is None:
        return _challenge(f"Send a token with the scope {SCOPE}: Authorization: Bearer …")
    if SCOPE not in token.scopes:
        return problems.respond(
            HTTPStatus.FORBIDDEN, "permission_denied", f"This needs a token with the scope {SCOPE}."
        )
    return None


def _challenge(detail: str) -> HttpResponse:
    answer = problems.respond(HTTPStatus.UNAUTHORIZED, "not_authenticated", detail)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="Commerce Engine"'
    return answer


class Told(Collector):
    """One reading, as families of metrics."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.labelled = reading.standings[:LABELLED]
        self.others = reading.standings[LABELLED:]

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("commerce_build", "The program that answers.", {"version": VERSION})
        yield from self._engine()
        yield from self._queues()
        yield from self._attempts()
        yield from self._subscriptions()

    def _engine(self) -> Iterator[Metric]:
        reading, gauge = self.reading, GaugeMetricFamily
        if reading.heartbeat_at:
            words = "When a queue cluster was last heard of."
            yield gauge("commerce_cluster_heartbeat_timestamp_seconds", words, reading.heartbeat_at.timestamp())
        words = "How long something has been due that no receiver keeps from going out; /readyz fails by it."
        yield gauge("commerce_delivery_lag_seconds", words, reading.lag.total_seconds())
        words = f"Events that happened within an hour, counted up to {EVENTS_COUNTED_TO}."
        yield gauge("commerce_events_last_hour", words, reading.events_last_hour)
        if audit := reading.audit:
            words = "When the latest audit began."
            yield gauge("commerce_audit_timestamp_seconds", words, audit.started_at.timestamp())
            words = "What the latest audit has found: 0 is well."
            yield gauge("commerce_audit_findings", words, audit.finding_count or 0)
        alarms = gauge("commerce_alarms", "Lines that are crossed now.", labels=["kind"])
        for kind in Alarm.Kind.values:
            alarms.add_metric([kind], sum(alarm.kind == kind for alarm in reading.alarms))
        yield alarms

    def _queues(self) -> Iterator[Metric]:
        words = f"Deliveries that have not arrived, counted up to {COUNTED_TO} of each subscription and state."
        counts = GaugeMetricFamily("commerce_deliveries", words, labels=["subscription", "state"])
        for label, standings in self._by_label():
            for state in ("due", "waiting", "sending", "parked"):
                counts.add_metric([label, state], sum(getattr(each, state) for each in standings))
        yield counts
        words = "How long the oldest delivery that is due has been; 0 where nothing is."
        ages = GaugeMetricFamily("commerce_oldest_due_seconds", words, labels=["subscription"])
        for label, standings in self._by_label():
            lags = [each.lag(now=self.reading.at) for each in standings]
            ages.add_metric([label], max(lags, default=timedelta(0)).total_seconds())
        yield ages

    def _attempts(self) -> Iterator[Metric]:
        words = "Attempts that have ended, by why they failed; delivered: they have not."
        attempts = CounterMetricFamily("commerce_delivery_attempts", words, labels=["subscription", "outcome"])
        words = "From commit to receipt, of live events that arrived at the first attempt."
        latency = HistogramMetricFamily("commerce_delivery_latency_seconds", words, labels=["subscription"])
        for label, standings in self._by_label():
            ever = sum((each.outcomes.ever for each in standings), Outcomes())
            for reason, count in sorted(ever.by_reason.items()):
                attempts.add_metric([label, reason or "delivered"], count)
            latency.add_metric([label], _buckets(ever), ever.milliseconds / 1000)
        yield attempts
        yield latency

    def _subscriptions(self) -> Iterator[Metric]:
        info = InfoMetricFamily("commerce_subscription", "What a label stands for.", labels=["subscription"])
        words = "1 for the state it is in."
        states = GaugeMetricFamily("commerce_subscription_state", words, labels=["subscription", "state"])
        for subscription in (each.subscription for each in self.labelled):
            info.add_metric([subscription.public_id], {"name": subscription.name})
            for state in STATES:
                states.add_metric([subscription.public_id, state], float(subscription.state == state))
        yield info
        yield states
        yield self._of_each("resting", "1 while its circuit is open.", lambda one: one.resting_until is not None)
        yield self._of_each("throttled", "1 after a 429 or 503, until a success.", lambda one: one.throttled)
        yield self._of_each("consecutive_failures", "Since its last success.", lambda one: one.consecutive_failures)

    def _of_each(self, name: str, words: str, value: Callable[[Subscription], float]) -> Metric:
        family = GaugeMetricFamily(f"commerce_subscription_{name}", words, labels=["subscription"])
        for each in self.labelled:
            family.add_metric([each.subscription.public_id], float(value(each.subscription)))
        return family

    def _by_label(self) -> Iterator[tuple[str, list[Standing]]]:
        for each in self.labelled:
            yield each.subscription.public_id, [each]
        if self.others:
            yield OTHERS, self.others


def _buckets(outcomes: Outcomes) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    total, buckets = 0, []
    for place, bound in enumerate([*map(str, map(float, BOUNDS)), "+Inf"]):
        total += outcomes.by_latency[place]
        buckets.append((bound, float(total)))
    return buckets
