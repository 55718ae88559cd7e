"""Subscriptions in the admin: who is told, whether they are, and the switches."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Greatest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from webhooks import doctor, lookups, standing, subscriptions
from webhooks.admin import health, wording
from webhooks.admin.forms import OPTIONS, SubscriptionForm, folded
from webhooks.admin.message_fields import MessagesForm
from webhooks.admin.recovery import RecoveryAdmin
from webhooks.admin.setup import furthest, step_url
from webhooks.advice import advice
from webhooks.conditions import in_words
from webhooks.errors import DomainError
from webhooks.messages import DERIVED
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.signing import Scheme
from webhooks.standing import Health

State = Subscription.State
Channel = Subscription.Channel
ARRIVED = Q(state="delivered")
EVENTS_SHOWN = 3


def _pause(subscription: Subscription, request: HttpRequest) -> str:
    subscriptions.pause(subscription, by=request.user.get_username(), now=timezone.now())
    return "Paused. Its deliveries wait until you resume it."


def _resume(subscription: Subscription, request: HttpRequest) -> str:
    disabled_at = subscription.state_changed_at if subscription.state == State.DISABLED else None
    recover, by = "leave_skipped" not in request.POST, request.user.get_username()
    subscriptions.resume(subscription, by=by, now=timezone.now(), recover=recover)
    if disabled_at is None:
        return "Resumed. What has waited is on its way."
    skipped = f"what was skipped while it was disabled, since {disabled_at:%Y-%m-%d %H:%M} UTC,"
    if recover:
        return f"Resumed. What has waited is on its way, and then {skipped} each subject in order."
    return f"Resumed. What has waited is on its way; {skipped} is not: recover it if it is wanted."


def _disable(subscription: Subscription, request: HttpRequest) -> str:
    reason = request.POST.get("reason", "").strip()[:300]
    subscriptions.disable(subscription, by=request.user.get_username(), now=timezone.now(), reason=reason)
    return "Disabled. From now on its events are recorded as skipped."


def _rotate_secret(subscription: Subscription, request: HttpRequest) -> str:
    chosen = request.POST.get("signature")
    signature = Scheme(chosen) if chosen in Scheme.values else None
    subscriptions.rotate_secret(subscription, now=timezone.now(), signature=signature)
    return "A new secret signs from now on; the old one signs beside it for 24 hours, so that nothing fails meanwhile."


def _revoke_old_secrets(subscription: Subscription, request: HttpRequest) -> str:
    subscriptions.revoke_old_secrets(subscription, now=timezone.now())
    return "Revoked. Only the newest secret signs now."


VERBS: dict[str, Callable[[Subscription, HttpRequest], str]] = {
    "pause": _pause,
    "resume": _resume,
    "disable": _disable,
    "rotate-secret": _rotate_secret,
    "revoke-old-secrets": _revoke_old_secrets,
}
_SHOWN_AFTER = {"rotate-secret": "admin:webhooks_subscription_ready"}


@admin.register(Subscription)
class SubscriptionAdmin(RecoveryAdmin):
    form = SubscriptionForm
    list_display = ("system", "events", "status", "last_answer", "backlog")
    list_display_links = None
    list_filter = ("state",)
    list_per_page = 50
    search_fields = ("name", "url", "public_id")
    search_help_text = "A part of the name or of the URL."
    ordering = ("-id",)
    actions = None
    show_facets = admin.ShowFacets.NEVER

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        prefix = "webhooks_subscription"
        verb = wrap(require_POST(self.verb_view))
        return [
            path("<int:pk>/ready/", wrap(self.ready_view), name=f"{prefix}_ready"),
            path("<int:pk>/test/", wrap(require_POST(self.test_view)), name=f"{prefix}_test"),
            path("messages/", wrap(require_POST(self.messages_view)), name=f"{prefix}_messages"),
            path("<int:pk>/doctor/", wrap(require_POST(self.doctor_view)), name=f"{prefix}_doctor"),
            *(path(f"<int:pk>/{name}/", verb, {"name": name}, name=f"{prefix}_{name}") for name in VERBS),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        """Drafts are their owner's alone."""
        drafts = Q(state=State.DRAFT)
        visible = Q() if request.user.is_superuser else ~drafts | Q(created_by=request.user.pk)
        return super().get_queryset(request).filter(visible)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        changes.result_list = _with_health(changes.result_list, now=timezone.now())
        return changes

    @admin.display(description="System", ordering="name")
    def system(self, subscription: Subscription) -> SafeString:
        return format_html(
            '<a class="row-title" href="{}">{}</a><span class="sub">{}</span>',
            reverse("admin:webhooks_subscription_change", args=[subscription.pk]),
            subscription.name or "Unnamed",
            subscription.get_channel_display() if subscription.channel == Channel.EMAIL else subscription.url,
        )

    @admin.display(description="Events")
    def events(self, subscription: Subscription) -> SafeString:
        chosen = subscription.event_types
        shown = format_html_join(" ", "<code>{}</code>", ((pattern,) for pattern in chosen[:EVENTS_SHOWN]))
        more = len(chosen) - EVENTS_SHOWN
        if more > 0:
            shown = format_html('{} <span title="{}">and {} more</span>', shown, ", ".join(chosen), more)
        if subscription.channel == Channel.EMAIL:
            return shown
        only_if = " and ".join(map(in_words, subscription.conditions))
        return format_html('{} <span class="sub">if {}</span>', shown, only_if) if only_if else shown

    @admin.display(description="State", ordering="state")
    def status(self, subscription: Subscription) -> SafeString:
        mark = wording.badge(subscription.state, subscription.get_state_display())
        if subscription.state == State.ACTIVE and standing.health(subscription) != Health.WELL:
            return format_html("{} {}", mark, health.mark(subscription))
        if subscription.state != State.DRAFT:
            return mark
        return format_html('{} <a href="{}">Continue set-up</a>', mark, step_url(subscription, furthest(subscription)))

    @admin.display(description="Last answer")
    def last_answer(self, subscription: Any) -> SafeString:
        tried = subscription.tried
        if tried is None:
            return format_html("{}", wording.NOTHING)
        said = wording.answer(tried.last_status_code, tried.last_reason)
        return format_html('{} <span class="sub">{}</span>', said, wording.moment(tried.tried_at, now=timezone.now()))

    @admin.display(description="Backlog")
    def backlog(self, subscription: Any) -> SafeString | str:
        if subscription.queue is None or not subscription.queue.open:
            return "0"
        url = f"{_log_url(subscription)}&state=open"
        return format_html('<a href="{}">{}</a>', url, health.counted(subscription.queue.open))

    # The change page

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and obj.channel == Channel.EMAIL:
            kwargs["form"] = MessagesForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Who may only look sees the headers' names: the admin would show a read-only field in clear."""
        if obj is not None and obj.channel == Channel.EMAIL:
            return (
                ("Messages", {"fields": ("name", "messages")}),
                ("Delivery", {"fields": ("retry_schedule", "max_in_flight", "max_per_second")}),
            )
        headers = "headers" if self.has_change_permission(request, obj) else "header_names"
        return (
            ("Callback URL", {"fields": ("name", "url")}),
            ("Events", {"fields": ("event_types",)}),
            folded(*OPTIONS, obj),
            ("Authentication headers", {"fields": (headers,)}),
            ("Delivery", {"fields": ("ordering", "retry_schedule", "max_in_flight", "max_per_second")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> tuple[str, ...]:
        return () if self.has_change_permission(request, obj) else ("header_names",)

    @admin.display(description="Headers")
    def header_names(self, subscription: Subscription) -> str:
        return ", ".join(subscription.headers) or wording.NOTHING

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        subscription = self.get_object(request, object_id)
        if subscription is not None and subscription.state == State.DRAFT and self.has_add_permission(request):
            return redirect(step_url(subscription, furthest(subscription)))
        extra = self._overview(request, subscription) if subscription is not None else {}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | extra)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        """Only what was changed here: its state may change meanwhile, by itself or by a colleague."""
        obj.save(update_fields=[*form.changed_data, *(DERIVED if "messages" in form.changed_data else ())])

    def _overview(self, request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
        now = timezone.now()
        arrived = lookups.told_to(Delivery.objects.filter(lookups.literally(ARRIVED)), Value(subscription.pk))
        last_success_at = arrived.order_by("-id").values_list("delivered_at", flat=True).first()
        return {
            "title": subscription.name,
            "subtitle": None,
            "show_save_and_add_another": False,
            "subscription": subscription,
            "status": self.status(subscription),
            "sentence": health.sentence(subscription, now=now),
            "state_changed": wording.moment(subscription.state_changed_at, now=now),
            "facts": health.facts(standing.read_one(subscription, now=now), last_success_at, now=now),
            "keys": [
                (key, wording.moment(key.created_at, now=now), wording.moment(key.expires_at, now=now))
                for key in subscriptions.keys_in_use(subscription, now=now)
            ],
            "schemes": Scheme.choices,
            "log_url": _log_url(subscription),
            "test": self._test_answer(request, subscription),
        }

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its log goes with it; told in one line, as there may be millions of rows."""
        return [f"{each} and its delivery log" for each in objs], {self.opts.verbose_name_plural: len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        subscriptions.delete(obj, by=request.user.get_username(), now=timezone.now())

    # After saving, and the switches

    def messages_view(self, request: HttpRequest) -> HttpResponse:
        """New ones, to be read and changed on their page before they are switched on."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        by = request.user.get_username()
        subscription = subscriptions.start_messages(by=by, now=timezone.now())
        self.log_addition(request, subscription, [{"added": {}}])
        messages.info(request, "Nothing is sent yet. Change the messages to your taste, save them, and resume.")
        return redirect("admin:webhooks_subscription_change", subscription.pk)

    def ready_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        subscription = self._get(request, pk)
        if subscription.channel != Channel.WEBHOOK:
            raise Http404("It has no secret.")
        if subscription.state == State.DRAFT:
            return redirect(step_url(subscription, furthest(subscription)))
        now = timezone.now()
        newest, *older = subscriptions.keys_in_use(subscription, now=now)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{subscription} has a new secret" if older else f"{subscription} is connected",
            "opts": self.opts,
            "subscription": subscription,
            "secret": newest.public_key or subscription.live_secrets(now=now)[0],
            "is_public": newest.public_key is not None,
            "older_count": len(older),
            "test": self._test_answer(request, subscription),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/setup/ready.html", context)

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        subscription = self._get(request, pk)
        page = "ready" if request.POST.get("from") == "ready" else "change"
        url = reverse(f"admin:webhooks_subscription_{page}", args=[pk])
        try:
            delivery = subscriptions.send_test(subscription, by=request.user.get_username(), now=timezone.now())
        except DomainError as error:
            messages.error(request, str(error))
            return redirect(url)
        self.log_change(request, subscription, "Sent a test event.")
        return redirect(f"{url}?test={delivery.public_id}#answer")

    def doctor_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Shown in answer to the POST itself: what was found is kept nowhere."""
        subscription = self._get(request, pk)
        try:
            findings = doctor.examine(subscription, by=request.user.get_username(), now=timezone.now())
        except DomainError as error:
            messages.error(request, str(error))
            return redirect("admin:webhooks_subscription_change", pk)
        self.log_change(request, subscription, "Checked the receiver.")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Check of {subscription}",
            "opts": self.opts,
            "subscription": subscription,
            "findings": [(finding, wording.duration(finding.duration_ms)) for finding in findings],
            "faults": sum(not finding.ok for finding in findings),
            "is_complete": findings[-1].check == doctor.Check.REPEATED,
        }
        return TemplateResponse(request, "admin/webhooks/subscription/doctor.html", context)

    def verb_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        subscription = self._get(request, pk)
        try:
            done = VERBS[name](subscription, request)
        except DomainError as error:
            messages.error(request, str(error))
            return redirect("admin:webhooks_subscription_change", pk)
        self.log_change(request, subscription, done)
        messages.success(request, done)
        return redirect(_SHOWN_AFTER.get(name, "admin:webhooks_subscription_change"), pk)

    def _test_answer(self, request: HttpRequest, subscription: Subscription) -> dict[str, Any] | None:
        """What a test event was answered; `?test=` names its delivery."""
        public_id = request.GET.get("test")
        if public_id is None:
            return None
        attempt = (
            Attempt.objects.filter(delivery__public_id=public_id, delivery__subscription=subscription)
            .select_related("delivery")
            .order_by("-number")
            .first()
        )
        if attempt is None:
            return None
        return {
            "attempt": attempt,
            "advice": advice(attempt.reason),
            "duration": wording.duration(attempt.duration_ms),
            "url": reverse("admin:webhooks_delivery_change", args=[attempt.delivery_id]),
        }


def _log_url(subscription: Subscription) -> str:
    return f"{reverse('admin:webhooks_delivery_changelist')}?subscription={subscription.public_id}"


def _with_health(found: QuerySet[Subscription], *, now: datetime) -> list[Any]:
    """Each with `queue`, its Standing, and with `tried`: the latest that arrived or fails, and when it was tried."""
    listed: list[Any] = list(found.annotate(tried_id=Greatest(_newest(ARRIVED), _newest(lookups.FAILING))))
    last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-number").values("started_at")[:1]
    chosen = Delivery.objects.filter(pk__in=[subscription.tried_id for subscription in listed])
    tried = {delivery.pk: delivery for delivery in chosen.annotate(tried_at=Subquery(last))}
    queues = {queue.subscription.pk: queue for queue in standing.read_queues(now=now)}
    for subscription in listed:
        subscription.tried, subscription.queue = tried.get(subscription.tried_id), queues.get(subscription.pk)
    return listed


def _newest(which: Q) -> Coalesce:
    """The key of a subscription's newest delivery of those: 0 if there is none."""
    log = lookups.told_to(Delivery.objects.filter(lookups.literally(which)), OuterRef("pk"))
    return Coalesce(Subquery(log.order_by("-id").values("pk")[:1]), 0)
