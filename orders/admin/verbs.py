"""How the admin takes a verb: with each row by itself, done or refused with the reason."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone

from orders.admin.steps import Verb
from orders.models import Order
from webhooks.errors import DomainError

AT_ONCE = 100
REFUSALS_TOLD = 10


def require(request: HttpRequest, verb: Verb) -> None:
    """Raises PermissionDenied."""
    if not verb.is_allowed(request.user):
        raise PermissionDenied


def take_each(request: HttpRequest, verb: Verb, things: Iterable[Any], take: Callable[..., object]) -> None:
    """Take a step with each by itself, and tell which were done and why the others were not."""
    done, refused = [], []
    for thing in things:
        try:
            take(thing, actor=request.user.get_username(), now=timezone.now())
        except DomainError as error:
            refused.append(str(error))
        else:
            done.append(str(thing))
    if done:
        messages.success(request, f"{verb.done}: {', '.join(done)}.")
    for words in refused[:REFUSALS_TOLD]:
        messages.error(request, words)
    if len(refused) > REFUSALS_TOLD:
        messages.error(request, f"… and {len(refused) - REFUSALS_TOLD} more were refused.")


def chosen(request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
    """The rows of a list that an action is for; none, and a message, when they are too many."""
    rows = list(queryset.order_by("pk")[: AT_ONCE + 1])
    if len(rows) <= AT_ONCE:
        return rows
    words = queryset.model._meta.verbose_name_plural
    messages.error(request, f"Choose {AT_ONCE} {words} at most. Nothing was done.")
    return []


def named(request: HttpRequest, queryset: QuerySet[Any], parameter: str) -> list[Any]:
    """The rows that the address names, such as `?order=1&order=2`. Raises Http404 when there are none."""
    keys = [int(key) for key in request.GET.getlist(parameter) if key.isascii() and key.isdecimal() and len(key) < 19]
    rows = list(queryset.filter(pk__in=keys[:AT_ONCE]).order_by("pk"))
    if not rows:
        raise Http404(f"There are no such {queryset.model._meta.verbose_name_plural}.")
    return rows


def page_of(order: Order) -> str:
    return reverse("admin:orders_order_change", args=[order.pk])


def back_to(orders: Iterable[Order], changelist: str = "admin:orders_order_changelist") -> str:
    """The page of the only order, or the list."""
    first, *others = set(orders)
    return reverse(changelist) if others else page_of(first)
