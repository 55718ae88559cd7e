"""Orders in the admin: read, and moved on by the verbs alone. No field of theirs is ever edited."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from inventory.money import display, from_text
from orders import checkout, fulfilment, holds, payments, promises
from orders.admin import page, steps, units
from orders.admin.forms import CancelForm, CollectForm, HoldForm, PayForm, ShipForm
from orders.admin.lists import HoldFilter, NextStepFilter, PlacedFilter, StandingFilter, WarehouseFilter
from orders.admin.steps import (
    BRING_BACK,
    CANCEL,
    COLLECT,
    CONFIRM,
    DELIVER,
    HOLD,
    PACK,
    PAY,
    REFUND,
    RELEASE,
    RETURN,
    SHIP,
    TRACK,
    UNPACK,
    Verb,
)
from orders.admin.units import UnitsAdmin
from orders.admin.verbs import AT_ONCE, back_to, chosen, named, page_of, require, take_each
from orders.models import Order, Payment, Shipment
from orders.promises import Standing
from orders.transitions import InvalidTransition
from webhooks.wording import badge, moment


def _confirm(order: Order, *, actor: str, now: datetime) -> None:
    checkout.confirm(order.public_id, actor=actor, now=now)


def _pack(order: Order, *, actor: str, now: datetime) -> None:
    fulfilment.pack(order.public_id, actor=actor, now=now)


def _deliver(order: Order, *, actor: str, now: datetime) -> None:
    """All that is on its way. Raises InvalidTransition when nothing is."""
    on_their_way = order.shipments.filter(steps.ON_THE_ROAD).order_by("index")
    parcels = list(on_their_way.values_list("public_id", flat=True))
    if not parcels:
        raise InvalidTransition(f"Order {order} is {order.status}: no parcel of it is on its way.")
    for parcel in parcels:
        fulfilment.deliver(parcel, delivered_at=now, actor=actor, now=now)


def _ship(parcel: Shipment, *, answers: Mapping[Shipment, dict[str, Any]], actor: str, now: datetime) -> None:
    fulfilment.ship(parcel.public_id, **answers[parcel], actor=actor, now=now)


def _hold(order: Order, *, kind: str, reason: str, actor: str, now: datetime) -> None:
    holds.place(order.public_id, kind=kind, reason=reason, actor=actor, now=now)


def _release(order: Order, *, kinds: list[str] | None = None, actor: str, now: datetime) -> None:
    holds.release(order.public_id, kinds=kinds, actor=actor, now=now)


def _cancel(order: Order, *, reason: str, actor: str, now: datetime) -> None:
    checkout.cancel(order.public_id, reason=reason, actor=actor, now=now)


def _pay(order: Order, *, method: str, amount: str, reference: str, actor: str, now: datetime) -> None:
    """Raises InvalidTransition, MoneyError, PaymentMismatch."""
    if order.is_cash_on_delivery:
        raise InvalidTransition(f"Order {order} is paid in cash on delivery: record the cash that is collected.")
    if not order.outstanding_minor:
        raise InvalidTransition(f"Order {order} is {order.payment_status}: no payment is due.")
    payments.record(
        order.public_id,
        result=Payment.Result.SUCCESS,
        kind=Payment.Kind.CAPTURE,
        amount_minor=from_text(amount, order.currency) if amount else order.outstanding_minor,
        currency=order.currency,
        method=method,
        gateway=payments.BY_HAND,
        gateway_reference=f"{reference}-{order}",
        actor=actor,
        now=now,
    )


def _collect(order: Order, *, amount: str, reference: str, actor: str, now: datetime) -> None:
    """Raises InvalidTransition, MoneyError, PaymentMismatch."""
    if not (order.is_cash_on_delivery and order.outstanding_minor):
        raise InvalidTransition(f"Order {order} is {order.payment_status}: no cash is to be collected.")
    payments.collect_cash(
        order.public_id,
        amount_minor=from_text(amount, order.currency) if amount else order.outstanding_minor,
        currency=order.currency,
        reference=f"{reference}-{order}",
        actor=actor,
        now=now,
    )


# The verbs that ask nothing.
IMMEDIATE: Mapping[Verb, Callable[..., None]] = {
    CONFIRM: _confirm,
    PACK: _pack,
    DELIVER: _deliver,
    RELEASE: _release,
}
# Those that ask the same of all orders at once; the answers are the verb's arguments.
ASKING: Mapping[Verb, tuple[type[Form], Callable[..., None]]] = {
    PAY: (PayForm, _pay),
    COLLECT: (CollectForm, _collect),
    HOLD: (HoldForm, _hold),
    CANCEL: (CancelForm, _cancel),
}


@admin.register(Order)
class OrderAdmin(UnitsAdmin):
    list_display = ("order", "status_badge", "customer_name", "total", "warehouse", "next_step", "placed")
    list_filter = (
        "status",
        NextStepFilter,
        StandingFilter,
        HoldFilter,
        "payment_status",
        WarehouseFilter,
        PlacedFilter,
    )
    search_help_text = "Exactly: an order number, e-mail address, tracking number or order id (ord_…)."
    actions = (
        "confirm",
        "mark_packed",
        "mark_shipped",
        "mark_delivered",
        "pay",
        "collect",
        "hold",
        "release",
        "cancel",
    )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        verb = wrap(require_POST(self.verb_view))
        return [
            path("ship/", wrap(self.ship_view), name="orders_order_ship"),
            *(
                path(f"{each.name}/", wrap(self.ask_view), {"verb": each}, name=f"orders_order_{each.name}")
                for each in ASKING
            ),
            *(
                path(f"<int:pk>/{each.name}/", verb, {"verb": each}, name=f"orders_order_{each.name}")
                for each in IMMEDIATE
            ),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return steps.with_work(Order.objects.annotate(standing=promises.standing(timezone.now())))

    def search(self, queryset: QuerySet[Order], term: str) -> QuerySet[Order]:
        if "@" in term:
            return queryset.filter(contact_email=term.lower())
        if term.startswith("ord_"):
            return super().search(queryset, term)
        tracked = list(Shipment.objects.filter(tracking_number=term).values_list("order_id", flat=True)[:AT_ONCE])
        return queryset.filter(Q(number=term) | Q(pk__in=tracked))

    @admin.display(description="Order")
    def order(self, order: Order) -> SafeString:
        return format_html('<a class="row-title" href="{}">{}</a>', page_of(order), order)

    @admin.display(description="Status")
    def status_badge(self, order: Any) -> SafeString:
        badges = [
            badge(order.status, order.get_status_display()),
            badge(order.payment_status, order.get_payment_status_display()),
        ]
        if order.standing:
            badges.append(badge(order.standing, str(Standing(order.standing).label)))
        return format_html_join(" ", "{}", ((each,) for each in badges))

    @admin.display(description="Customer")
    def customer_name(self, order: Order) -> SafeString:
        return format_html('{}<span class="sub">{}</span>', order.contact_name, order.contact_email)

    @admin.display(description="Total")
    def total(self, order: Order) -> str:
        return display(order.total_minor, order.currency)

    @admin.display(description="Warehouse")
    def warehouse(self, order: Order) -> str:
        return order.warehouse_code or "several"

    @admin.display(description="Next step")
    def next_step(self, order: Order) -> str:
        return steps.next_step(order)

    @admin.display(description="Placed")
    def placed(self, order: Order) -> SafeString | str:
        return moment(order.placed_at)

    # An order's page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        order = page.with_everything().filter(pk=object_id).first() if object_id.isdecimal() else None
        if order is None:
            raise Http404("There is no such order.")
        allowed = [verb for verb in steps.possible(order) if verb.is_allowed(request.user)]
        primary = steps.primary(order)
        context = page.describe(order) | {
            "title": f"Order {order}",
            "buttons": [(verb, verb is primary, _address_of(verb, order)) for verb in allowed],
            "units": [(verb, address) for verb, address in units.addresses(order) if verb.is_allowed(request.user)],
            "has_next": primary in allowed,
            "may_unpack": UNPACK.is_allowed(request.user),
            "may_bring_back": BRING_BACK.is_allowed(request.user),
            "may_track": TRACK.is_allowed(request.user),
            "may_return": RETURN.is_allowed(request.user),
            "may_refund": REFUND.is_allowed(request.user),
            "release_address": _address(RELEASE, order) if RELEASE in allowed else "",
        }
        return self.render(request, "detail.html", context)

    # The verbs

    def has_confirm_permission(self, request: HttpRequest) -> bool:
        return CONFIRM.is_allowed(request.user)

    def has_pack_permission(self, request: HttpRequest) -> bool:
        return PACK.is_allowed(request.user)

    def has_ship_permission(self, request: HttpRequest) -> bool:
        return SHIP.is_allowed(request.user)

    def has_deliver_permission(self, request: HttpRequest) -> bool:
        return DELIVER.is_allowed(request.user)

    def has_pay_permission(self, request: HttpRequest) -> bool:
        return PAY.is_allowed(request.user)

    def has_collect_permission(self, request: HttpRequest) -> bool:
        return COLLECT.is_allowed(request.user)

    def has_hold_permission(self, request: HttpRequest) -> bool:
        return HOLD.is_allowed(request.user)

    def has_release_permission(self, request: HttpRequest) -> bool:
        return RELEASE.is_allowed(request.user)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return CANCEL.is_allowed(request.user)

    @admin.action(description="Confirm", permissions=["confirm"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        take_each(request, CONFIRM, chosen(request, queryset), _confirm)

    @admin.action(description="Mark packed", permissions=["pack"])
    def mark_packed(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        take_each(request, PACK, chosen(request, queryset), _pack)

    @admin.action(description="Mark shipped…", permissions=["ship"])
    def mark_shipped(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponseBase | None:
        return self._ask(SHIP, chosen(request, queryset))

    @admin.action(description="Mark delivered", permissions=["deliver"])
    def mark_delivered(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        take_each(request, DELIVER, chosen(request, queryset), _deliver)

    @admin.action(description="Record payment…", permissions=["pay"])
    def pay(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponseBase | None:
        return self._ask(PAY, chosen(request, queryset))

    @admin.action(description="Record cash collected…", permissions=["collect"])
    def collect(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponseBase | None:
        return self._ask(COLLECT, chosen(request, queryset))

    @admin.action(description="Put on hold…", permissions=["hold"])
    def hold(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponseBase | None:
        return self._ask(HOLD, chosen(request, queryset))

    @admin.action(description="Release", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        take_each(request, RELEASE, chosen(request, queryset), _release)

    @admin.action(description="Cancel…", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponseBase | None:
        return self._ask(CANCEL, chosen(request, queryset))

    def _ask(self, verb: Verb, orders: list[Order]) -> HttpResponseBase | None:
        return redirect(_address(verb, *orders)) if orders else None

    def verb_view(self, request: HttpRequest, pk: int, verb: Verb) -> HttpResponseBase:
        require(request, verb)
        order = get_object_or_404(Order, pk=pk)
        take = partial(_release, kinds=kinds) if (kinds := request.POST.getlist("kind")) else IMMEDIATE[verb]
        take_each(request, verb, [order], take)
        return redirect(page_of(order))

    def ship_view(self, request: HttpRequest) -> HttpResponseBase:
        """How each packed parcel of `?order=…` leaves. A parcel that is left empty stays, unless it is the only one."""
        require(request, SHIP)
        orders = named(request, Order.objects.all(), "order")
        parcels = _parcels_to_ship(request, orders)
        asked_about = {parcel.order for parcel in parcels}
        for order in orders:
            if order not in asked_about:
                messages.error(request, f"{order}: no parcel of it waits to be shipped, it is {order.status}.")
        if not parcels:
            return redirect(back_to(orders))
        answer = request.POST if request.method == "POST" else None
        forms = [ShipForm(answer, parcel=each, may_be_empty=len(parcels) > 1) for each in parcels]
        if all(form.is_valid() for form in forms):
            if answers := {form.parcel: form.cleaned_data for form in forms if form.has_changed()}:
                take_each(request, SHIP, answers, partial(_ship, answers=answers))
                return redirect(back_to(orders))
            messages.error(request, "Nothing was shipped: say for at least one parcel how it leaves.")
        return self.render(request, "ship.html", {"title": "Mark shipped", "orders": orders, "forms": forms})

    def ask_view(self, request: HttpRequest, verb: Verb) -> HttpResponseBase:
        """Why the orders of `?order=…` are kept back or given up."""
        require(request, verb)
        orders = named(request, Order.objects.all(), "order")
        form_class, take = ASKING[verb]
        form = form_class(request.POST or None)
        if form.is_valid():
            take_each(request, verb, orders, partial(take, **form.cleaned_data))
            return redirect(back_to(orders))
        return self.render(request, f"{verb.name}.html", {"title": verb.label, "orders": orders, "form": form})


def _parcels_to_ship(request: HttpRequest, orders: list[Order]) -> list[Shipment]:
    """To ask: those that are packed. To answer: those that were asked about, though one may have left meanwhile."""
    parcels = Shipment.objects.filter(order__in=orders).select_related("order", "warehouse").order_by("order", "index")
    if request.method == "POST":
        return list(parcels.filter(public_id__in=request.POST.getlist("parcel")))
    return list(parcels.filter(state=Shipment.State.PACKED))


def _address_of(verb: Verb, order: Any) -> str:
    """On the page of an order of `page.with_everything`: parcels are brought back one by one."""
    if verb is BRING_BACK:
        parcel = next(each for each in order.parcels if each.is_to_be_brought_back)
        return reverse("admin:orders_shipment_bring_back", query={"parcel": parcel.pk})
    return _address(verb, order)


def _address(verb: Verb, *orders: Order) -> str:
    """Where a verb is taken: at once by a POST, or after some questions."""
    if verb in IMMEDIATE:
        return reverse(f"admin:orders_order_{verb.name}", args=[orders[0].pk])
    return reverse(f"admin:orders_order_{verb.name}", query={"order": [order.pk for order in orders]})
