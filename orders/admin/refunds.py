"""Refunds in the admin: asked for on an order's page, and marked by hand where no gateway tells what came of them."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory.money import display, to_text
from orders import refunds, returns
from orders.admin.forms import RefundForm, SettleForm
from orders.admin.lists import AskingAdmin
from orders.admin.steps import REFUND, SETTLE
from orders.admin.verbs import back_to, chosen, named, page_of, require, take_each
from orders.models import Order, Refund
from webhooks.wording import badge, moment


def _request(order: Order, *, wish: Mapping[str, Any], actor: str, now: datetime) -> None:
    refunds.request(order.public_id, **wish, currency=order.currency, actor=actor, now=now)


def _settle(refund: Refund, *, answers: Mapping[Refund, Mapping[str, Any]], actor: str, now: datetime) -> None:
    told = dict(answers[refund])
    if told.pop("result") == Refund.State.FAILED:
        refunds.failed(refund.public_id, **told, actor=actor, now=now)
    else:
        reference = told["gateway_reference"]
        refunds.processed(refund.public_id, gateway_reference=reference, actor=actor, now=now)


@admin.register(Refund)
class RefundAdmin(AskingAdmin):
    list_display = ("refund", "state_badge", "order_link", "reason", "of_payment", "requested", "settled")
    list_filter = ("state",)
    list_select_related = ("order", "payment", "goods_return")
    search_help_text = "Exactly: an order number, a gateway's reference or a refund id (rfd_…)."
    actions = ("settle",)
    fieldsets = (
        (None, {"fields": ("order_link", "state_badge", "amount", "reason", "of_payment", "goods_return")}),
        ("Requested", {"fields": ("requested_at", "requested_by")}),
        (
            "What came of it",
            {"fields": ("settled_at", "settled_by", "gateway_reference", "failure_message", "next_step")},
        ),
    )
    readonly_fields = ("order_link", "state_badge", "amount", "of_payment", "next_step")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("ask/", wrap(self.ask_view), name="orders_order_refund"),
            path("settle/", wrap(self.settle_view), name="orders_refund_settle"),
            *super().get_urls(),
        ]

    def search(self, queryset: QuerySet[Refund], term: str) -> QuerySet[Refund]:
        if term.startswith("rfd_"):
            return super().search(queryset, term)
        found = queryset.filter(gateway_reference=term)
        return found if found.exists() else queryset.filter(order__number=term)

    @admin.display(description="Refund")
    def refund(self, refund: Refund) -> SafeString:
        url = reverse("admin:orders_refund_change", args=[refund.pk])
        return format_html('<a class="row-title" href="{}">{}</a>', url, self.amount(refund))

    @admin.display(description="State")
    def state_badge(self, refund: Refund) -> SafeString:
        return badge(refund.state, refund.get_state_display())

    @admin.display(description="Order")
    def order_link(self, refund: Refund) -> SafeString:
        return format_html('<a href="{}">{}</a>', page_of(refund.order), refund.order)

    @admin.display(description="Amount")
    def amount(self, refund: Refund) -> str:
        return display(refund.amount_minor, refund.order.currency)

    @admin.display(description="Of the payment")
    def of_payment(self, refund: Refund) -> SafeString:
        payment = refund.payment
        return format_html('{}<span class="sub">{}</span>', payment.gateway, payment.gateway_reference)

    @admin.display(description="Requested")
    def requested(self, refund: Refund) -> SafeString:
        return format_html("{} by {}", moment(refund.requested_at), refund.requested_by)

    @admin.display(description="Settled")
    def settled(self, refund: Refund) -> SafeString | str:
        return moment(refund.settled_at)

    @admin.display(description="Next step")
    def next_step(self, refund: Refund) -> SafeString | str:
        if refund.state != Refund.State.REQUESTED:
            return "Nothing is left to do."
        address = reverse("admin:orders_refund_settle", query={"refund": refund.pk})
        return format_html('<a class="button" href="{}">{}…</a>', address, SETTLE.label)

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return SETTLE.is_allowed(request.user)

    @admin.action(description="Tell what came of them…", permissions=["settle"])
    def settle(self, request: HttpRequest, queryset: QuerySet[Refund]) -> HttpResponseBase | None:
        keys = [refund.pk for refund in chosen(request, queryset)]
        return redirect(reverse("admin:orders_refund_settle", query={"refund": keys})) if keys else None

    def ask_view(self, request: HttpRequest) -> HttpResponseBase:
        """How much of what was paid for `?order=…` is given back, and why."""
        require(request, REFUND)
        order = named(request, Order.objects.all(), "order")[0]
        answer = request.POST if request.method == "POST" else None
        form = RefundForm(answer, order=order, initial=_prefilled(order))
        if form.is_valid():
            wish = {"amount_minor": form.cleaned_data.pop("amount"), **form.cleaned_data}
            take_each(request, REFUND, [order], partial(_request, wish=wish))
            return redirect(page_of(order))
        context = {"title": REFUND.label, "order": order, "orders": [order], "form": form}
        return self.render(request, "refund.html", context)

    def settle_view(self, request: HttpRequest) -> HttpResponseBase:
        """What came of each refund of `?refund=…`. One without an answer stays requested."""
        require(request, SETTLE)
        asked = named(request, Refund.objects.select_related("order", "payment"), "refund")
        answer = request.POST if request.method == "POST" else None
        forms = [SettleForm(answer, refund=refund) for refund in asked]
        if all(form.is_valid() for form in forms):
            if answers := {form.refund: form.cleaned_data for form in forms if form.cleaned_data["result"]}:
                take_each(request, SETTLE, answers, partial(_settle, answers=answers))
                return redirect(back_to((refund.order for refund in asked), "admin:orders_refund_changelist"))
            messages.error(request, "Nothing was recorded: say of at least one refund what came of it.")
        context = {"title": SETTLE.label, "orders": [refund.order for refund in asked], "forms": forms}
        return self.render(request, "settle.html", context)


def _prefilled(order: Order) -> dict[str, Any]:
    """What is to be given back anyhow, or is expected for a return that came; else all there is."""
    waiting = returns.unrefunded().filter(order=order).order_by("pk").first()
    amount_minor = order.overpaid_minor or (waiting.expected_refund_minor if waiting else 0) or order.refundable_minor
    initial = {"amount": to_text(min(amount_minor, order.refundable_minor), order.currency)}
    if waiting is None or order.overpaid_minor:
        return initial
    return initial | {"return_id": waiting.public_id, "reason": waiting.reason}
