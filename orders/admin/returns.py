"""Returns in the admin: opened from an order's page, received by whoever unpacks them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from inventory.money import display
from orders import returns
from orders.admin.forms import OpenReturnForm, ReceiveForm, ReturnLineForm
from orders.admin.lists import AskingAdmin
from orders.admin.steps import CLOSE, RECEIVE, REFUND, RETURN
from orders.admin.verbs import back_to, chosen, named, page_of, require, take_each
from orders.models import Order, Return
from orders.returns import Receipt, Wish
from webhooks.wording import badge, moment


def _open(order: Order, *, wishes: Sequence[Wish], reason: str, actor: str, now: datetime) -> None:
    returns.open_return(order.public_id, wishes=wishes, reason=reason, actor=actor, now=now)


def _receive(goods_return: Return, *, receipts: Mapping[Return, Sequence[Receipt]], actor: str, now: datetime) -> None:
    returns.receive_return(goods_return.public_id, receipts=receipts[goods_return], actor=actor, now=now)


def _close(goods_return: Return, *, actor: str, now: datetime) -> None:
    returns.close(goods_return.public_id, actor=actor, now=now)


@admin.register(Return)
class ReturnAdmin(AskingAdmin):
    list_display = ("number_link", "state_badge", "order_link", "contents", "expected_refund", "opened", "came")
    list_filter = ("state",)
    search_help_text = "Exactly: a return's number, an order number or a return id (ret_…)."
    actions = ("receive",)
    fieldsets = (
        (None, {"fields": ("order_link", "state_badge", "contents", "expected_refund", "public_id")}),
        ("Opened", {"fields": ("initiated_at", "initiated_by", "reason")}),
        ("Received", {"fields": ("received_at", "received_by", "next_step")}),
    )
    readonly_fields = ("order_link", "state_badge", "contents", "expected_refund", "next_step")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("open/", wrap(self.open_view), name="orders_order_return"),
            path("<int:pk>/close/", wrap(require_POST(self.close_view)), name="orders_return_close"),
            path("receive/", wrap(self.receive_view), name="orders_return_receive"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Return]:
        return Return.objects.select_related("order").prefetch_related("lines__line")

    def search(self, queryset: QuerySet[Return], term: str) -> QuerySet[Return]:
        if term.startswith("ret_"):
            return super().search(queryset, term)
        return queryset.filter(number=term) if "-" in term else queryset.filter(order__number=term)

    @admin.display(description="Return")
    def number_link(self, goods_return: Return) -> SafeString:
        url = reverse("admin:orders_return_change", args=[goods_return.pk])
        return format_html('<a class="row-title" href="{}">{}</a>', url, goods_return)

    @admin.display(description="State")
    def state_badge(self, goods_return: Return) -> SafeString:
        return badge(goods_return.state, goods_return.get_state_display())

    @admin.display(description="Order")
    def order_link(self, goods_return: Return) -> SafeString:
        return format_html('<a href="{}">{}</a>', page_of(goods_return.order), goods_return.order)

    @admin.display(description="Units")
    def contents(self, goods_return: Return) -> SafeString:
        inside = ((content.quantity, content.line.sku, _came(content)) for content in goods_return.lines.all())
        return format_html_join(", ", "{} × {}{}", inside)

    @admin.display(description="Expected refund")
    def expected_refund(self, goods_return: Return) -> str:
        return display(goods_return.expected_refund_minor, goods_return.order.currency)

    @admin.display(description="Opened")
    def opened(self, goods_return: Return) -> SafeString:
        return format_html("{} by {}", moment(goods_return.initiated_at), goods_return.initiated_by)

    @admin.display(description="Received")
    def came(self, goods_return: Return) -> SafeString | str:
        return moment(goods_return.received_at)

    @admin.display(description="Next step")
    def next_step(self, goods_return: Return) -> SafeString | str:
        if goods_return.is_complete:
            return self._refund(goods_return)
        address = reverse("admin:orders_return_receive", query={"return": goods_return.pk})
        return format_html('<a class="button" href="{}">{}…</a>', address, RECEIVE.label)

    def _refund(self, goods_return: Return) -> SafeString | str:
        if not returns.unrefunded().filter(pk=goods_return.pk).exists():
            return "Nothing is left to come."
        address = reverse("admin:orders_order_refund", query={"order": goods_return.order_id})
        return format_html('<a class="button" href="{}">{}…</a>', address, REFUND.label)

    def has_receive_permission(self, request: HttpRequest) -> bool:
        return RECEIVE.is_allowed(request.user)

    @admin.action(description="Receive…", permissions=["receive"])
    def receive(self, request: HttpRequest, queryset: QuerySet[Return]) -> HttpResponseBase | None:
        keys = [goods_return.pk for goods_return in chosen(request, queryset)]
        return redirect(reverse("admin:orders_return_receive", query={"return": keys})) if keys else None

    def open_view(self, request: HttpRequest) -> HttpResponseBase:
        """Which units of `?order=…` are to come back, and why."""
        require(request, RETURN)
        order = named(request, Order.objects.all(), "order")[0]
        answer = request.POST if request.method == "POST" else None
        form = OpenReturnForm(answer, use_required_attribute=False)
        left = returns.returnable(order)
        lines = [ReturnLineForm(answer, line=line, left=units) for line, units in left.items() if units]
        if form.is_valid() and all(line.is_valid() for line in lines):
            wishes = [line.wish for line in lines if line.wish]
            take_each(request, RETURN, [order], partial(_open, wishes=wishes, reason=form.cleaned_data["reason"]))
            return redirect(page_of(order))
        context = {"title": RETURN.label, "order": order, "orders": [order], "form": form, "lines": lines}
        return self.render(request, "return.html", context)

    def receive_view(self, request: HttpRequest) -> HttpResponseBase:
        """What came of each return of `?return=…`, and in what condition."""
        require(request, RECEIVE)
        opened = named(request, self.get_queryset(request), "return")
        answer = request.POST if request.method == "POST" else None
        forms = [
            ReceiveForm(answer, content=content) for each in opened for content in each.contents if content.awaited
        ]
        orders = [each.order for each in opened]
        if not forms:
            messages.error(request, "Nothing of these returns is awaited any more.")
            return redirect(back_to(orders, "admin:orders_return_changelist"))
        if all(form.is_valid() for form in forms):
            if receipts := _receipts(forms):
                take_each(request, RECEIVE, receipts, partial(_receive, receipts=receipts))
                return redirect(back_to(orders, "admin:orders_return_changelist"))
            messages.error(request, "Nothing was received: say how many units came.")
        return self.render(request, "receive.html", {"title": "Receive returns", "orders": orders, "forms": forms})

    def close_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        require(request, CLOSE)
        goods_return = get_object_or_404(self.get_queryset(request), pk=pk)
        take_each(request, CLOSE, [goods_return], _close)
        return redirect(page_of(goods_return.order))


def _receipts(forms: Sequence[ReceiveForm]) -> dict[Return, list[Receipt]]:
    receipts: dict[Return, list[Receipt]] = {}
    for form in forms:
        if form.receipts:
            receipts.setdefault(form.content.goods_return, []).extend(form.receipts)
    return receipts


def _came(content: Any) -> str:
    if not content.received:
        return ""
    return f" ({content.sellable} sellable, {content.damaged} damaged)"
