"""From a cart to an order that is confirmed, or given up."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from inventory import allocation, stock
from inventory.allocation import Pick
from inventory.models import Product, StockLevel
from inventory.stock import Demand, InsufficientStock
from orders import refunds, risk
from orders.acceptance import accept
from orders.models import Allocation, Customer, Order, OrderLine, OrderTransition
from orders.promises import promise
from orders.transitions import ALLOWED_FROM, InvalidTransition, Kind, lock, record, require, unpacked_units
from webhooks.adding import add
from webhooks.prepared import Prepared
from webhooks.sources import DomainError, every, together

logger = logging.getLogger(__name__)

UNPAID_HOLD = timedelta(minutes=15)
CUSTOMER_CANCEL_WINDOW = timedelta(minutes=30)
EXPIRIES_PER_RUN = 200


class InvalidCart(DomainError):
    """The cart cannot be sold as it is; `errors` holds `{"sku", "detail"}` for each line at fault."""

    code = "invalid_cart"


class _CustomerIsKnown(Exception):
    """A customer that was new when the order began has been made by somebody else meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    email: str
    name: str = ""
    phone: str = ""
    locale: str = "en"


@dataclass(frozen=True, kw_only=True)
class Address:
    name: str
    line1: str
    line2: str = ""
    city: str
    region: str = ""
    postal_code: str = ""
    country: str
    phone: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentChoice:
    """How the customer means to pay; `reference` is what the gateway calls this checkout."""

    method: str
    gateway: str = ""
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Cart:
    """`lines` are SKU and quantity."""

    customer: Contact
    lines: Sequence[tuple[str, int]]
    shipping_address: Address
    payment: PaymentChoice
    channel: str = "web"


@dataclass(frozen=True)
class _Route:
    """A product of the cart, how many of it, and the levels they come from."""

    product: Product
    quantity: int
    picks: Sequence[Pick]


def place(cart: Cart, *, actor: str, now: datetime) -> Order:
    """Make an order with stock held for every line. Raises InvalidCart or InsufficientStock, and keeps nothing then.

    Prices are the products' own. What can be read beforehand is, so that the transaction is short.
    """
    basket = _read_basket(cart.lines)
    while True:
        picks = allocation.plan(basket, country=cart.shipping_address.country, now=now)
        routes = [_Route(product, quantity, taken) for (product, quantity), taken in zip(basket, picks, strict=True)]
        # Somebody else may take the stock between the plan and the write. The next plan finds it elsewhere, or refuses.
        with suppress(InsufficientStock), _another_look_for(cart.customer):
            return _write(cart, routes, actor=actor, now=now)


@contextmanager
def _another_look_for(contact: Contact) -> Iterator[None]:
    """Where somebody else has made the new customer meanwhile, what is done within is to be done again."""
    try:
        yield
    except _CustomerIsKnown as meanwhile:
        if not _known_by(contact.email.lower()):
            raise cast("IntegrityError", meanwhile.__cause__) from None


@together()
def confirm(order_id: str, *, actor: str, now: datetime) -> OrderTransition:
    """Accept an order for fulfilment: one that is paid, authorised, or to be paid in cash on delivery."""
    return accept(lock(order_id), actor=actor, now=now)


@together()
def cancel(
    order_id: str, *, reason: str, actor: str, now: datetime, quantities: Mapping[str, int] | None = None
) -> OrderTransition:
    """Give up all of an order, or `quantities` of its lines (by their public ids): units that are not packed yet."""
    return _cancel(lock(order_id), reason=reason, actor=actor, now=now, quantities=quantities)


@together()
def cancel_by_customer(token: str, *, now: datetime) -> OrderTransition:
    """Give up all of an order, by its tracking token: while nothing is packed, within CUSTOMER_CANCEL_WINDOW."""
    order = lock(Order.objects.values_list("public_id", flat=True).get(tracking_token=token))
    until = order.placed_at + CUSTOMER_CANCEL_WINDOW
    if now > until:
        raise InvalidTransition(f"Order {order} is {order.status}, and could be cancelled until {until:%H:%M} UTC.")
    return _cancel(order, reason="customer_request", actor="customer", now=now)


def cancellable_until(order: Order, *, now: datetime) -> datetime | None:
    """Up to when its customer can still cancel it as things stand; None: not any more."""
    until = order.placed_at + CUSTOMER_CANCEL_WINDOW
    is_open = order.state in ALLOWED_FROM[Kind.CANCELLED] and not any(line.packed for line in order.items)
    return until if is_open and now <= until else None


@together()
def expire(order_id: str, *, now: datetime) -> OrderTransition:
    """Give up an order that was not paid in time. Raises InvalidTransition while it is not due."""
    return lapse(lock(order_id), now=now)


def lapse(order: Order, *, now: datetime) -> OrderTransition:
    """`expire`, for a caller that has the order's lock."""
    if order.state != Order.State.PENDING or order.hold_expires_at is None or order.hold_expires_at > now:
        raise InvalidTransition(f"Order {order} is {order.state} and not past its time to pay.")
    return _cancel(order, reason="payment_expired", actor="system", now=now)


@every(seconds=5)
def expire_due() -> None:
    now = timezone.now()
    due = Order.objects.filter(state=Order.State.PENDING, hold_expires_at__lte=now).order_by("hold_expires_at")
    for order_id in due.values_list("public_id", flat=True)[:EXPIRIES_PER_RUN]:
        try:
            expire(order_id, now=now)
        except InvalidTransition:
            # It has been paid or cancelled since it was listed.
            continue
        except (OperationalError, InterfaceError):
            # Of the database, not of this order: the clock says so, and comes again.
            raise
        except Exception:
            # The next run begins with it again: the others must not wait for it.
            logger.exception("The order %s could not be expired", order_id)


def _read_basket(lines: Iterable[tuple[str, int]]) -> list[tuple[Product, int]]:
    """The products with how many of each; a SKU that is named twice is one line. One query."""
    units: Counter[str] = Counter()
    for sku, quantity in lines:
        if quantity < 1:
            raise _refuse([sku], "The quantity must be at least 1.")
        units[sku] += quantity
    products = {product.sku: product for product in _on_sale(list(units))}
    if unknown := [sku for sku in units if sku not in products]:
        raise _refuse(unknown, "There is no such product on sale.")
    if not units or len({product.currency for product in products.values()}) > 1:
        raise InvalidCart("A cart needs at least one product, and all of them priced in one currency.")
    return [(products[sku], quantity) for sku, quantity in units.items()]


_on_sale = Prepared(lambda skus: Product.objects.filter(sku__in=skus, is_active=True))


def _refuse(skus: Sequence[str], detail: str) -> InvalidCart:
    return InvalidCart(f"{', '.join(skus)}: {detail}", errors=[{"sku": sku, "detail": detail} for sku in skus])


@together()
def _write(cart: Cart, routes: Sequence[_Route], *, actor: str, now: datetime) -> Order:
    order = _new_order(cart, routes, now=now)
    order.save(force_insert=True)
    order.payment = None
    order.items = [_new_line(order, route) for route in routes]
    add(order.items)
    allocations = [
        Allocation(line=line, level=level, quantity=quantity, expires_at=order.hold_expires_at)
        for line, route in zip(order.items, routes, strict=True)
        for level, quantity in route.picks
    ]
    add(allocations)
    OrderTransition.objects.create(order=order, kind=Kind.CREATED, to_status=order.status, actor=actor, at=now)
    risk.screen_order(order, now=now)
    # Free: there is no payment to wait for.
    if order.is_covered and order.can_be_confirmed:
        accept(order, actor=actor, now=now)
    # Last, so that the levels that all buyers compete for are locked for the shortest time.
    demands = [Demand(held.level_id, held.quantity) for held in allocations]
    reserve = stock.reserve_free if _is_free(routes) else stock.reserve
    reserve(demands, reference=order.public_id, actor=actor, now=now)
    return order


def _is_free(routes: Iterable[_Route]) -> bool:
    """Whether nobody held the units when they were planned: none has to be taken back from an unpaid order."""
    units: Counter[StockLevel] = Counter()
    for route in routes:
        units.update(dict(route.picks))
    return all(units[level] <= level.unreserved for level in units)


def _new_order(cart: Cart, routes: Sequence[_Route], *, now: datetime) -> Order:
    subtotal_minor = sum(route.product.price_minor * route.quantity for route in routes)
    warehouses = {level.warehouse for route in routes for level, _ in route.picks}
    promised = promise(warehouses, country=cart.shipping_address.country, now=now)
    order = Order(
        customer=_find_or_create_customer(cart.customer),
        channel=cart.channel,
        currency=routes[0].product.currency,
        subtotal_minor=subtotal_minor,
        total_minor=subtotal_minor,
        item_count=sum(route.quantity for route in routes),
        warehouse_code=_only_code(pick for route in routes for pick in route.picks),
        placed_at=now,
        updated_at=now,
        ship_by_at=promised.ship_by_at,
        promised_from=promised.delivery_from,
        promised_to=promised.delivery_to,
        **_snapshot(cart),
    )
    order.settle()
    if not (order.is_covered or order.is_cash_on_delivery):
        order.hold_expires_at = now + UNPAID_HOLD
    return order


def _snapshot(cart: Cart) -> dict[str, Any]:
    """The fields that keep the cart as the customer filled it in."""
    return {
        "contact_name": cart.customer.name,
        "contact_email": cart.customer.email.lower(),
        "contact_phone": cart.customer.phone,
        "locale": cart.customer.locale,
        **{f"address_{name}": value for name, value in asdict(cart.shipping_address).items()},
        **{f"payment_{name}": value for name, value in asdict(cart.payment).items()},
    }


def _new_line(order: Order, route: _Route) -> OrderLine:
    return OrderLine(
        order=order,
        product=route.product,
        sku=route.product.sku,
        name=route.product.name,
        unit_minor=route.product.price_minor,
        quantity=route.quantity,
        warehouse_code=_only_code(route.picks),
    )


def _only_code(picks: Iterable[Pick]) -> str:
    """The code of the one warehouse of all picks; empty when they are shared by several."""
    codes = {level.warehouse.code for level, _ in picks}
    return codes.pop() if len(codes) == 1 else ""


def _find_or_create_customer(contact: Contact) -> Customer:
    """A known customer's own data stay as they are: what was typed at the checkout is kept with the order.

    Raises _CustomerIsKnown where somebody else was quicker to make them: the next time they are found.
    """
    email = contact.email.lower()
    for customer in _known_by(email):
        return customer
    try:
        return Customer.objects.create(email=email, name=contact.name, phone=contact.phone, locale=contact.locale)
    except IntegrityError as error:
        # Were this undone by itself, each new customer would cost two statements more.
        raise _CustomerIsKnown from error


_known_by = Prepared(lambda email: Customer.objects.filter(email=email))


def _cancel(
    order: Order, *, reason: str, actor: str, now: datetime, quantities: Mapping[str, int] | None = None
) -> OrderTransition:
    require(order, Kind.CANCELLED)
    if quantities is None and any(line.packed for line in order.items):
        raise InvalidTransition(
            f"Order {order} is {order.fulfilment_status}: only lines not packed yet can be cancelled."
        )
    units = unpacked_units(order, quantities)
    for line, quantity in units.items():
        line.cancelled += quantity
    OrderLine.objects.bulk_update(units, ["cancelled"])
    released = _give_up(units)
    write_off(order, units, actor=actor, now=now)
    details = {"units": {line.public_id: quantity for line, quantity in units.items()}}
    fact = record(order, Kind.CANCELLED, actor=actor, now=now, reason=reason, details=details)
    refunds.give_back(order, units=details["units"], reason=reason or "cancelled", actor=actor, now=now)
    stock.release(released, reference=order.public_id, actor=actor, now=now)
    return fact


def _give_up(units: Mapping[OrderLine, int]) -> list[Demand]:
    """Take the units off the lines' allocations, and say which levels held them."""
    still = {line.pk: quantity for line, quantity in units.items()}
    allocations = list(Allocation.objects.filter(line__in=list(units)).order_by("-pk"))
    demands = []
    for held in allocations:
        if quantity := min(still[held.line_id], held.unpacked):
            still[held.line_id] -= quantity
            held.quantity -= quantity
            demands.append(Demand(held.level_id, quantity))
    Allocation.objects.bulk_update(allocations, ["quantity"])
    return demands


def write_off(order: Order, units: Mapping[OrderLine, int], *, actor: str, now: datetime) -> None:
    """Take cancelled units off what is owed; when none are left, the order is cancelled and nothing is owed at all."""
    if any(line.wanted for line in order.items):
        worth_minor = sum(line.unit_minor * quantity for line, quantity in units.items())
        order.cancelled_minor += min(worth_minor, order.due_minor)
    else:
        order.state = Order.State.CANCELLED
        order.cancelled_minor += order.due_minor
        order.hold_expires_at = None
        order.end_holds(actor=actor, now=now)
