"""A small shop to try things with: loaded by `manage.py seed`, and on the first `make up`."""

import os
import secrets
from collections.abc import Sequence
from datetime import time

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.utils import timezone

from commerce.inbound import sources
from commerce.models import InboundSource
from inventory import stock
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from orders.models import Customer
from webhooks import subscriptions
from webhooks.models import Subscription

PASSWORD = "commerce-demo"  # noqa: S105
ACTOR = "demo store"
LOOPBACK = ("127.0.0.0/8", "::1/128")
INBOX_NAME = "Demo receiver"
# The source that the payments of the demo shop come from.
GATEWAY = "test-gateway"

WAREHOUSES = {
    "BER": {"name": "Berlin", "country": "DE", "priority": 10, "handling_days": 1, "cutoff": time(15)},
    "RTM": {"name": "Rotterdam", "country": "NL", "priority": 20, "handling_days": 2, "cutoff": time(12)},
}
# SKU: name, price in cents, grams, units in Berlin, units in Rotterdam.
PRODUCTS = {
    "MUG-BLUE": ("Stoneware mug, blue", 1490, 380, 120, 80),
    "MUG-SAND": ("Stoneware mug, sand", 1490, 380, 90, 60),
    "TEA-SENCHA": ("Sencha green tea, 100 g", 890, 130, 200, 0),
    "POT-CAST": ("Cast-iron teapot, 0.8 l", 5900, 1650, 25, 15),
    "TRAY-OAK": ("Oak serving tray", 3450, 900, 40, 0),
    "LAMP-PAPER": ("Paper lamp, 45 cm", 7900, 620, 0, 30),
    "BLANKET-WOOL": ("Wool blanket, 130 × 180 cm", 12900, 1400, 18, 12),
    "VASE-MINI": ("Bud vase", 2200, 210, 3, 0),
}
CUSTOMERS = {
    "ada@example.com": ("Ada Lindqvist", "+4915112345678", "de"),
    "bruno@example.com": ("Bruno Marchetti", "+393401234567", "it"),
    "chloe@example.com": ("Chloé Dubois", "+33612345678", "fr"),
}
STAFF = {"wanda": ("Warehouse", ["orders", "inventory"]), "sam": ("Support", ["orders", "webhooks"])}


@transaction.atomic
def load() -> None:
    """Add what is missing; what is there stays as it is, so that running it twice changes nothing."""
    warehouses = {
        code: Warehouse.objects.get_or_create(code=code, defaults=values)[0] for code, values in WAREHOUSES.items()
    }
    for sku, (name, cents, grams, *units) in PRODUCTS.items():
        product, _ = Product.objects.get_or_create(
            sku=sku, defaults={"name": name, "price_minor": cents, "currency": "EUR", "weight_grams": grams}
        )
        for warehouse, count in zip(warehouses.values(), units, strict=True):
            _stock_up(product, warehouse, count)
    for email, (name, phone, locale) in CUSTOMERS.items():
        Customer.objects.get_or_create(email=email, defaults={"name": name, "phone": phone, "locale": locale})
    _hire()
    _write_to_shoppers()
    if settings.DEBUG:
        _connect_gateway()


def _stock_up(product: Product, warehouse: Warehouse, units: int) -> None:
    if units and not StockLevel.objects.filter(product=product, warehouse=warehouse).exists():
        stock.adjust(
            product=product,
            warehouse=warehouse,
            delta=units,
            reason=StockMovement.Reason.RECEIVED,
            reference="first delivery",
            actor=ACTOR,
            now=timezone.now(),
        )


def _hire() -> None:
    """The users `admin` (may do everything), `wanda` in the warehouse and `sam` in support."""
    password = PASSWORD if settings.DEBUG else None
    if not User.objects.filter(username="admin").exists():
        User.objects.create_superuser("admin", "admin@example.com", password)
    for username, (group_name, app_labels) in STAFF.items():
        if not User.objects.filter(username=username).exists():
            user = User.objects.create_user(username, f"{username}@example.com", password, is_staff=True)
            user.groups.add(_group(group_name, app_labels))


def _group(name: str, app_labels: Sequence[str]) -> Group:
    group, is_new = Group.objects.get_or_create(name=name)
    if is_new:
        permissions = Permission.objects.filter(content_type__app_label__in=app_labels)
        group.permissions.set(permissions.exclude(codename__startswith="delete_"))
    return group


def _write_to_shoppers() -> None:
    if not Subscription.objects.filter(channel=Subscription.Channel.EMAIL).exists():
        messages = subscriptions.start_messages(by=ACTOR, now=timezone.now())
        subscriptions.resume(messages, by=ACTOR, now=timezone.now())


def _connect_gateway() -> None:
    """Whoever sees the demo shop can read its secret."""
    if not InboundSource.objects.filter(name=GATEWAY).exists():
        secret = f"whsec_{secrets.token_urlsafe(24)}"
        sources.create(GATEWAY, scheme=InboundSource.Scheme.STRIPE, secrets=[secret], now=timezone.now())


def login_hint() -> str:
    if settings.DEBUG:
        return f"admin, password {PASSWORD}"
    return "admin, after manage.py changepassword admin"


def allow_loopback() -> None:
    """Let receivers on this machine be called, by this process and those that it starts."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [*dict.fromkeys([*settings.WEBHOOK_ALLOWED_NETWORKS, *LOOPBACK])]
    os.environ["WEBHOOK_ALLOWED_NETWORKS"] = ",".join(settings.WEBHOOK_ALLOWED_NETWORKS)


def subscribe_inbox(url: str) -> str:
    """Tell everything to the demo receiver at `url`; the same subscription on every start. Returns its secret."""
    now = timezone.now()
    subscription = Subscription.objects.filter(name=INBOX_NAME, created_by=None).first()
    if subscription is None:
        subscription = subscriptions.create(name=INBOX_NAME, url=url, event_types=["*"], headers={}, by=ACTOR, now=now)
    elif subscription.url != url:
        subscription.url = url
        subscription.save(update_fields=["url"])
    return subscription.live_secrets(now=now)[0]
