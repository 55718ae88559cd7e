"""The ways in which something happens to customers, products and stock."""

from collections.abc import Callable
from typing import Any

from inventory.models import Product
from orders import checkout
from orders.models import Customer
from tests.bodies import CART
from tests.factories import make_cart, make_product
from tests.inbound.senders import load
from tests.journeys.faces import Act, Faces, way
from tests.journeys.ways_of_orders import expire

BOB = {"email": "bob@example.com", "name": "Bob", "phone": "", "locale": "en"}


@way("customer.created", "api")
def _register(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.api("customers/", BOB), ""


@way("customer.created", "api (order)")
def _order_as_guest(faces: Faces) -> tuple[Act, str]:
    make_product("MUG")
    return lambda: faces.api("orders/", CART), ""


@way("customer.created", "admin")
def _add_customer(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.admin("orders/customer/add/", BOB), ""


@way("customer.updated", "api")
def _change_customer(faces: Faces) -> tuple[Act, str]:
    customer = Customer.objects.create(**BOB)
    return lambda: faces.api(f"customers/{customer.public_id}/", {"name": "Robert"}, method="patch"), customer.public_id


@way("customer.updated", "admin")
def _edit_customer(faces: Faces) -> tuple[Act, str]:
    customer = Customer.objects.create(**BOB)
    form = BOB | {"name": "Robert"}
    return lambda: faces.admin(f"orders/customer/{customer.pk}/change/", form), customer.public_id


CUP = {"sku": "CUP", "name": "Cup", "price_amount": "5.00", "currency": "EUR"}
CUP_FORM = {"sku": "CUP", "name": "Big cup", "price": "5.00", "currency": "EUR", "is_active": "on"}
COLUMNS = "sku,name,price_amount,currency"


def cup() -> Product:
    return make_product("CUP", name="Cup", price_minor=500)


@way("product.created", "api")
def _post_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.api("products/", CUP), ""


@way("product.created", "admin")
def _add_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.admin("inventory/product/add/", CUP_FORM), ""


@way("product.created", "import")
def _import_new_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.table("product", COLUMNS, "CUP,Cup,5.00,EUR"), ""


@way("product.updated", "api")
def _patch_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.api("products/CUP/", {"name": "Big cup"}, method="patch"), product.public_id


@way("product.updated", "admin")
def _edit_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.admin(f"inventory/product/{product.pk}/change/", CUP_FORM), product.public_id


@way("product.updated", "import")
def _import_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.table("product", COLUMNS, "CUP,Big cup,5.00,EUR"), product.public_id


def moved(face: str, act: Callable[[Faces, Any], object]) -> None:
    def prepare(faces: Faces) -> tuple[Act, str]:
        level = make_product("MUG", on_hand=10).levels.get()
        return lambda: act(faces, level), f"{level.product.public_id}:BER"

    way("inventory.updated", face)(prepare)


ADJUSTMENT = {"sku": "MUG", "warehouse": "BER", "reason": "recounted"}
SALE = {"warehouse": "BER", "reference": "T1", "lines": [{"sku": "MUG", "quantity": 1}]}


def adjust_in_admin(faces: Faces, level: Any) -> None:
    form = {"action": "adjust", "_selected_action": [level.pk], "apply": "1", "reason": "damaged"}
    faces.admin("inventory/stocklevel/", form | {f"delta_{level.pk}": "-1"})


moved("api", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"delta": -1}))
moved("api (count)", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"on_hand": 9, "expected_on_hand": 10}))
moved("api (sale)", lambda f, _: f.api("inventory/sales/", SALE))
moved("api (order)", lambda f, _: f.api("orders/", CART))
moved("admin", adjust_in_admin)
moved("import", lambda f, _: f.table("stocklevel", "sku,warehouse,on_hand,expected_on_hand", "MUG,BER,9,10"))
moved("inbound", lambda f, _: f.message("standard", load("standard_stock_counted")))


def crossed(event: str, face: str, act: Callable[[Faces, Any], object], *, on_hand: int) -> None:
    """Of a product with so many units, in one warehouse where one unit is few."""

    def prepare(faces: Faces) -> tuple[Act, str]:
        level = make_product("MUG", on_hand=on_hand).levels.get()
        level.low_stock_threshold = 1
        level.save(update_fields=["low_stock_threshold"])
        place = "BER" if event == "inventory.low" else "*"
        return lambda: act(faces, level), f"{level.product.public_id}:{place}"

    way(event, face)(prepare)


COUNT_COLUMNS = "sku,warehouse,on_hand,expected_on_hand"
for event, units in (("inventory.low", 2), ("inventory.out_of_stock", 1)):
    crossed(event, "api (order)", lambda f, _: f.api("orders/", CART), on_hand=units)
    crossed(event, "api (sale)", lambda f, _: f.api("inventory/sales/", SALE), on_hand=units)
    crossed(event, "import", lambda f, _: f.table("stocklevel", COUNT_COLUMNS, "MUG,BER,0,2"), on_hand=2)
crossed(
    "inventory.low",
    "admin",
    lambda f, level: f.admin(
        f"inventory/stocklevel/{level.pk}/change/", {"safety_stock": "1", "low_stock_threshold": "1"}
    ),
    on_hand=2,
)
crossed("inventory.out_of_stock", "admin", adjust_in_admin, on_hand=1)
crossed(
    "inventory.back_in_stock", "api", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"delta": 4}), on_hand=0
)
crossed(
    "inventory.back_in_stock", "import", lambda f, _: f.table("stocklevel", COUNT_COLUMNS, "MUG,BER,4,0"), on_hand=0
)


@way("inventory.back_in_stock", "timer")
def _give_back_the_last(faces: Faces) -> tuple[Act, str]:
    product = make_product("MUG", on_hand=2)
    order = checkout.place(make_cart(("MUG", 2)), actor="storefront", now=faces.now)
    return lambda: expire(faces, order), f"{product.public_id}:*"


@way("inventory.updated", "timer")
def _give_back(faces: Faces) -> tuple[Act, str]:
    level = make_product("MUG", on_hand=10).levels.get()
    order = checkout.place(make_cart(("MUG", 2)), actor="storefront", now=faces.now)
    return lambda: expire(faces, order), f"{level.product.public_id}:BER"
