"""Subscriptions and the delivery log for programs, scope `webhooks`; the feed of events, scope `events`."""

import json
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet, Subquery
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.decorators import method_decorator
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from webhooks import catalogue, doctor, feed, lookups, replay, streams, subscriptions
from webhooks.bodies import MomentFilter, refuse_unknown
from webhooks.models import Delivery, Replay, Subscription
from webhooks.serializers import (
    DeliveryDetailSerializer,
    DeliverySerializer,
    EventTypesSerializer,
    ExaminationSerializer,
    FeedPageSerializer,
    FeedQuery,
    NewSubscriptionSerializer,
    RecoverBody,
    ReplaySerializer,
    ReplaysSerializer,
    ResumeBody,
    RotationSerializer,
    StreamQuery,
    SubscriptionSerializer,
)
from webhooks.signing import Scheme

SCOPES = ("webhooks",)
REPLAYS_SHOWN = 20


def saved_subscriptions() -> QuerySet[Subscription]:
    """A draft belongs to the admin's four steps, and messages to shoppers to the admin alone."""
    webhooks = Subscription.objects.filter(channel=Subscription.Channel.WEBHOOK)
    return webhooks.exclude(state=Subscription.State.DRAFT)


def logged_deliveries() -> QuerySet[Delivery]:
    return Delivery.objects.select_related("event", "subscription")


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    """`since` is included, `until` is not."""

    subscription = filters.CharFilter(method="of_subscription")
    state = filters.ChoiceFilter(choices=Delivery.State.choices, method="in_state")
    event_type = filters.CharFilter(method="of_type")
    subject = filters.CharFilter()
    since = MomentFilter(method="made_since")
    until = MomentFilter(method="made_until")

    def of_subscription(self, deliveries: QuerySet[Delivery], name: str, public_id: str) -> QuerySet[Delivery]:
        chosen = Subscription.objects.filter(public_id=public_id).values("pk")[:1]
        return lookups.told_to(deliveries, Subquery(chosen))

    def of_type(self, deliveries: QuerySet[Delivery], name: str, event_type: str) -> QuerySet[Delivery]:
        return lookups.of_type(deliveries, event_type)

    def in_state(self, deliveries: QuerySet[Delivery], name: str, state: str) -> QuerySet[Delivery]:
        return deliveries.filter(lookups.literally(Q(state=state)))

    def made_since(self, deliveries: QuerySet[Delivery], name: str, moment: datetime) -> QuerySet[Delivery]:
        return lookups.made_since(deliveries, moment)

    def made_until(self, deliveries: QuerySet[Delivery], name: str, moment: datetime) -> QuerySet[Delivery]:
        return lookups.made_until(deliveries, moment)


class SubscriptionsView(generics.ListCreateAPIView[Subscription]):
    required_scopes = SCOPES

    def get_queryset(self) -> QuerySet[Subscription]:
        return saved_subscriptions()

    def get_serializer_class(self) -> type[BaseSerializer[Subscription]]:
        return NewSubscriptionSerializer if self.request.method == "POST" else SubscriptionSerializer


class SubscriptionView(generics.RetrieveUpdateDestroyAPIView[Subscription]):
    required_scopes = SCOPES
    http_method_names = ("get", "patch", "delete", "head", "options")
    serializer_class = SubscriptionSerializer
    lookup_field = "public_id"

    def get_queryset(self) -> QuerySet[Subscription]:
        return saved_subscriptions()

    def perform_destroy(self, instance: Subscription) -> None:
        subscriptions.delete(instance, by=str(self.request.user), now=timezone.now())


class SubscriptionVerbView(APIView):
    """One POST on a subscription."""

    required_scopes = SCOPES

    def subscription(self, public_id: str) -> Subscription:
        return get_object_or_404(saved_subscriptions(), public_id=public_id)


class PauseView(SubscriptionVerbView):
    @extend_schema(request=None, responses=SubscriptionSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        subscription = self.subscription(public_id)
        subscriptions.pause(subscription, by=str(request.user), now=timezone.now())
        return Response(SubscriptionSerializer(subscription).data)


class ResumeView(SubscriptionVerbView):
    @extend_schema(request=ResumeBody, responses=SubscriptionSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        """What has waited goes out; one that was disabled is then sent what was skipped, each subject in order."""
        subscription = self.subscription(public_id)
        recover = ResumeBody.read(request)["recover"]
        subscriptions.resume(subscription, by=str(request.user), now=timezone.now(), recover=recover)
        return Response(SubscriptionSerializer(subscription).data)


class RotateSecretView(SubscriptionVerbView):
    @extend_schema(request=RotationSerializer, responses=NewSubscriptionSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        """A new secret; the old one signs beside it for 24 hours."""
        subscription = self.subscription(public_id)
        signature = RotationSerializer.read(request).get("signature")
        subscriptions.rotate_secret(subscription, now=timezone.now(), signature=signature and Scheme(signature))
        return Response(NewSubscriptionSerializer(subscription).data)


class RevokeOldSecretsView(SubscriptionVerbView):
    @extend_schema(request=None, responses=SubscriptionSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        """From now on only the newest secret signs; a conflict if there is no other."""
        subscription = self.subscription(public_id)
        subscriptions.revoke_old_secrets(subscription, now=timezone.now())
        return Response(SubscriptionSerializer(subscription).data)


# An Idempotency-Key must not open a transaction around a request of our own.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class SendTestView(SubscriptionVerbView):
    @extend_schema(request=None, responses=DeliveryDetailSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        """Sends `webhook.test` at once and answers with the delivery and what came of it."""
        subscription = self.subscription(public_id)
        delivery = subscriptions.send_test(subscription, by=str(request.user), now=timezone.now())
        return Response(DeliveryDetailSerializer(delivery).data)


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class DoctorView(SubscriptionVerbView):
    @extend_schema(request=None, responses=ExaminationSerializer)
    def post(self, request: Request, public_id: str) -> Response:
        """Looks at the receiver and sends it test events, good, forged, old and repeated; says what to mend."""
        findings = doctor.examine(self.subscription(public_id), by=str(request.user), now=timezone.now())
        return Response(ExaminationSerializer({"ok": all(each.ok for each in findings), "findings": findings}).data)


class RecoverView(SubscriptionVerbView):
    @extend_schema(responses=ReplaysSerializer)
    def get(self, request: Request, public_id: str) -> Response:
        """Its latest recoveries, newest first, and how far they have come."""
        refuse_unknown(request.query_params, ())
        latest = Replay.objects.filter(subscription=self.subscription(public_id)).order_by("-id")[:REPLAYS_SHOWN]
        return Response(ReplaysSerializer({"results": latest}).data)

    @extend_schema(request=RecoverBody, responses={200: ReplaySerializer, 202: ReplaySerializer})
    def post(self, request: Request, public_id: str) -> Response:
        """Sends again what failed, or what it never had, of a time: behind live traffic, nothing twice."""
        subscription = self.subscription(public_id)
        body = RecoverBody.read(request)
        kind, span = body["kind"], {"since": body["since"], "until": body.get("until")}
        if body["dry_run"]:
            return Response(ReplaySerializer(replay.plan(kind, subscription, **span)).data)
        started = replay.start(kind, subscription, **span, by=str(request.user), now=timezone.now())
        return Response(ReplaySerializer(started).data, status=202)


class CancelRecoveryView(SubscriptionVerbView):
    @extend_schema(request=None, responses=ReplaySerializer)
    def post(self, request: Request, public_id: str, replay_id: str) -> Response:
        """Ends it: what it has put on its way goes out, what is left is not sent. A conflict once it has ended."""
        running = get_object_or_404(Replay, subscription=self.subscription(public_id), public_id=replay_id)
        replay.cancel(running, by=str(request.user), now=timezone.now())
        running.refresh_from_db()
        return Response(ReplaySerializer(running).data)


class EventTypesView(APIView):
    required_scopes = SCOPES

    @extend_schema(responses=EventTypesSerializer)
    def get(self, request: Request) -> Response:
        """Every event there is, with the schema and an example of its body."""
        refuse_unknown(request.query_params, ())
        return Response(EventTypesSerializer({"results": catalogue.all_types()}).data)


class DeliveriesView(generics.ListAPIView[Delivery]):
    required_scopes = SCOPES
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter

    def get_queryset(self) -> QuerySet[Delivery]:
        return logged_deliveries()


class DeliveryView(generics.RetrieveAPIView[Delivery]):
    required_scopes = SCOPES
    serializer_class = DeliveryDetailSerializer
    lookup_field = "public_id"

    def get_queryset(self) -> QuerySet[Delivery]:
        return logged_deliveries()


class ResendView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=None, responses={202: DeliveryDetailSerializer})
    def post(self, request: Request, public_id: str) -> Response:
        """Puts it back: the same id and bytes, marked as a redelivery."""
        delivery = get_object_or_404(logged_deliveries(), public_id=public_id)
        replay.resend(delivery, by=str(request.user), now=timezone.now())
        delivery.refresh_from_db()
        return Response(DeliveryDetailSerializer(delivery).data, status=202)


class EventsView(APIView):
    required_scopes = ("events",)

    @extend_schema(parameters=[FeedQuery], responses=FeedPageSerializer)
    def get(self, request: Request) -> HttpResponse:
        """Everything that has happened, oldest first, each body as it was sent: no late commit is ever skipped.

        Go on with `next`; where that is null, ask again later with the last `id` as `after`.
        """
        query = FeedQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wish = query.validated_data
        events = feed.after(wish["after"], types=wish["type"], subject=wish["subject"], limit=wish["page_size"])
        following = None
        if len(events) == wish["page_size"]:
            following = replace_query_param(request.build_absolute_uri(), "after", events[-1].public_id)
        bodies = ",".join(event.body for event in events)
        page = f'{{"next":{json.dumps(following)},"previous":null,"results":[{bodies}]}}'
        return HttpResponse(page, content_type="application/json")


class EventsStreamView(APIView):
    required_scopes = ("events",)
    renderer_classes = (streams.EventStreamRenderer, JSONRenderer)

    @extend_schema(parameters=[StreamQuery], responses={(200, streams.CONTENT_TYPE): str})
    def get(self, request: Request) -> HttpResponseBase:
        """Server-sent events: the bodies of the feed as they happen. `Last-Event-ID` resumes, as does `after`."""
        query = StreamQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wish = query.validated_data
        position = streams.resumed_at(request) or wish["after"] or feed.newest()
        # So that one that is gone is refused at once.
        feed.after(position, limit=0)
        return streams.Opened(streams.Feed(types=tuple(wish["type"]), about=wish["subject"]), position)
