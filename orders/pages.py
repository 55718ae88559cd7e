"""The page on which a shopper watches an order, for whoever has its address. It is the shop's face.

No cookie is read or set: the token in the address is all the authority there is, so there is nothing that a page of
somebody else could forge.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from orders import checkout, returns, story
from orders.models import Order, OrderLine
from orders.reading import read
from orders.returns import Wish
from orders.transitions import InvalidTransition
from webhooks import streams

View = Callable[..., HttpResponse]


class ReturnForm(forms.Form):
    """How many of each line come back, and why."""

    REASONS = (
        "I changed my mind",
        "It does not fit",
        "It is damaged or does not work",
        "It is not what I ordered",
        "Another reason",
    )

    reason = forms.ChoiceField(label="Why?", choices=[(words, words) for words in REASONS])

    def __init__(self, data: QueryDict | None, *, units: Mapping[OrderLine, int]) -> None:
        super().__init__(data, use_required_attribute=False)
        self.lines = {line.public_id: line for line, left in units.items() if left}
        for line, left in units.items():
            if left:
                choices = [(count, str(count)) for count in range(left + 1)]
                self.fields[line.public_id] = forms.TypedChoiceField(label=line.name, choices=choices, coerce=int)

    @property
    def quantities(self) -> list[forms.BoundField]:
        return [self[line_id] for line_id in self.lines]

    @property
    def wishes(self) -> list[Wish]:
        chosen = ((line_id, self.cleaned_data[line_id]) for line_id in self.lines)
        return [Wish(line_id, quantity) for line_id, quantity in chosen if quantity]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not self.errors and not self.wishes:
            raise ValidationError("Choose at least one item to send back.")
        return given


def _private(view: View) -> View:
    """Kept in no cache, found by no search engine, and its address told to no site it links to."""

    @wraps(view)
    def private(request: HttpRequest, token: str) -> HttpResponse:
        order_id = Order.objects.filter(tracking_token=token).values_list("public_id", flat=True).first()
        if order_id is None:
            response = render(request, "orders/track/unknown.html", status=HTTPStatus.NOT_FOUND)
        else:
            response = view(request, token, order_id)
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return csrf_exempt(never_cache(private))


@require_safe
@_private
def track(request: HttpRequest, token: str, order_id: str) -> HttpResponse:
    return _show(request, token, order_id)


@require_http_methods(["GET", "HEAD", "POST"])
@_private
def cancel(request: HttpRequest, token: str, order_id: str) -> HttpResponse:
    """Asks, and on a POST does it. Too late: back to the page, which says so."""
    if request.method != "POST":
        return _show(request, token, order_id, template="cancel")
    try:
        checkout.cancel_by_customer(token, now=timezone.now())
    except InvalidTransition:
        notice = "It is too late to cancel this order here."
        return _show(request, token, order_id, notice=notice, status=HTTPStatus.CONFLICT)
    return redirect("track-page", token, permanent=False)


@require_http_methods(["GET", "HEAD", "POST"])
@_private
def send_back(request: HttpRequest, token: str, order_id: str) -> HttpResponse:
    """Asks what comes back and why, and on a POST opens the return."""
    order = Order.objects.get(public_id=order_id)
    form = ReturnForm(request.POST or None, units=returns.returnable(order))
    if form.is_valid():
        try:
            returns.open_by_customer(token, wishes=form.wishes, reason=form.cleaned_data["reason"], now=timezone.now())
        except InvalidTransition:
            form.add_error(None, "This can no longer be sent back here.")
        else:
            return redirect("track-page", token, permanent=False)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
    return _show(request, token, order_id, template="send_back", form=form, status=status)


def _show(request: HttpRequest, token: str, order_id: str, *, template: str = "page", **context: Any) -> HttpResponse:
    status = context.pop("status", HTTPStatus.OK)
    # Read first, so that what is shown is never older than it says.
    version = streams.version(order_id)
    order = read(story.PARTS, public_id=order_id)
    told = story.tell(order, now=timezone.now())
    context |= {"token": token, "version": version, "story": told}
    return render(request, f"orders/track/{template}.html", context, status=status)
