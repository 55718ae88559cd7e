"""Packing or giving up some units of an order: how many of each product, and what else the verb asks."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from orders import checkout, fulfilment
from orders.admin.forms import CancelForm, LineForm, PackForm
from orders.admin.lists import AskingAdmin
from orders.admin.steps import CANCEL, PACK, Verb
from orders.admin.verbs import named, page_of, require, take_each
from orders.models import Order

# Each takes the id of the order, `quantities`, and the answers of its form.
VERBS: Mapping[Verb, tuple[type[Form], Callable[..., object]]] = {
    PACK: (PackForm, fulfilment.pack),
    CANCEL: (CancelForm, checkout.cancel),
}


def addresses(order: Any) -> list[tuple[Verb, str]]:
    """Where these verbs are taken for some units of an order of `steps.with_work`; none where there is no choice."""
    unpacked = sum(line.unpacked for line in order.items)
    is_open = order.state in {Order.State.PENDING, Order.State.CONFIRMED}
    conditions = {
        PACK: unpacked > 1 and order.state == Order.State.CONFIRMED and not order.on_hold,
        CANCEL: is_open and (unpacked > 1 or (unpacked and order.fulfilment_status != Order.Fulfilment.UNFULFILLED)),
    }
    possible = (verb for verb, condition in conditions.items() if condition)
    return [(verb, reverse(f"admin:orders_order_{verb.name}_units", query={"order": order.pk})) for verb in possible]


class UnitsAdmin(AskingAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.units_view)
        own = [
            path(f"{verb.name}/units/", view, {"verb": verb}, name=f"orders_order_{verb.name}_units") for verb in VERBS
        ]
        return [*own, *super().get_urls()]

    def units_view(self, request: HttpRequest, verb: Verb) -> HttpResponseBase:
        """How many units of each line of `?order=…`."""
        require(request, verb)
        order = named(request, Order.objects.all(), "order")[0]
        form_class, take = VERBS[verb]
        answer = request.POST if request.method == "POST" else None
        form = form_class(answer, use_required_attribute=False)
        lines = [LineForm(answer, line=line, left=line.unpacked) for line in order.items if line.unpacked]
        if form.is_valid() and all(line.is_valid() for line in lines):
            if quantities := {line.line.public_id: units for line in lines if (units := line.cleaned_data["quantity"])}:
                take_each(request, verb, [order], partial(_take, take, quantities=quantities, **form.cleaned_data))
                return redirect(page_of(order))
            messages.error(request, "Nothing was done: say of at least one product how many units.")
        title = f"{verb.label}: some units"
        context = {"title": title, "order": order, "orders": [order], "form": form, "lines": lines, "verb": verb}
        return self.render(request, "units.html", context)


def _take(take: Callable[..., object], order: Order, *, actor: str, now: datetime, **asked: Any) -> None:
    take(order.public_id, **asked, actor=actor, now=now)
