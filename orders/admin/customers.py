"""Customers in the admin: the one thing of orders that people edit."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.admin.forms import CustomerForm
from orders.admin.lists import ListAdmin
from orders.models import Customer
from webhooks.wording import moment

ORDERS_SHOWN = 20


@admin.register(Customer)
class CustomerAdmin(ListAdmin):
    form = CustomerForm
    fields = ("email", "name", "phone", "locale", "accepts_marketing", "public_id", "version", "updated_at")
    readonly_fields = ("public_id", "version", "updated_at")
    list_display = ("mailbox", "name", "phone", "accepts_marketing", "known")
    list_filter = ("accepts_marketing",)
    search_help_text = "A whole e-mail address or customer id (cus_…), or the beginning of a name."

    def search(self, queryset: QuerySet[Customer], term: str) -> QuerySet[Customer]:
        if "@" in term:
            return queryset.filter(email=term.lower())
        if term.startswith("cus_"):
            return super().search(queryset, term)
        return queryset.filter(name__istartswith=term)

    @admin.display(description="E-mail")
    def mailbox(self, customer: Customer) -> SafeString:
        url = reverse("admin:orders_customer_change", args=[customer.pk])
        return format_html('<a class="row-title" href="{}">{}</a>', url, customer.email)

    @admin.display(description="Known")
    def known(self, customer: Customer) -> SafeString | str:
        return moment(customer.created_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        customer = self.get_object(request, object_id)
        orders = list(customer.orders.order_by("-pk")[: ORDERS_SHOWN + 1]) if customer else []
        extra = {"orders": orders[:ORDERS_SHOWN], "has_more_orders": len(orders) > ORDERS_SHOWN}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | extra)
