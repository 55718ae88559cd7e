"""Customers for CRMs and storefronts; scope `customers`."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.api.bodies import WriteCustomer
from orders.api.shapes import CustomerDetail
from orders.models import Customer
from webhooks.bodies import MomentFilter

SCOPES = ("customers",)


class CustomerFilter(filters.FilterSet):  # type: ignore[misc]
    email = filters.CharFilter(method="filter_email")
    updated_since = MomentFilter("updated_at", "gte")

    def filter_email(self, customers: QuerySet[Customer], _: str, email: str) -> QuerySet[Customer]:
        return customers.filter(email=email.lower())


class CustomersView(generics.ListAPIView[Customer]):
    required_scopes = SCOPES
    serializer_class = CustomerDetail
    filterset_class = CustomerFilter

    def get_queryset(self) -> QuerySet[Customer]:
        return Customer.objects.all()

    @extend_schema(request=WriteCustomer, responses={201: CustomerDetail})
    def post(self, request: Request) -> Response:
        return Response(_save(WriteCustomer(data=request.data)), status=201)


class CustomerView(APIView):
    required_scopes = SCOPES

    @extend_schema(responses=CustomerDetail)
    def get(self, request: Request, customer_id: str) -> Response:
        return Response(CustomerDetail(get_object_or_404(Customer, public_id=customer_id)).data)

    @extend_schema(request=WriteCustomer(partial=True), responses=CustomerDetail)
    @transaction.atomic
    def patch(self, request: Request, customer_id: str) -> Response:
        # Locked, so that of two changes neither writes back what the other replaced.
        customer = get_object_or_404(Customer.objects.select_for_update(), public_id=customer_id)
        return Response(_save(WriteCustomer(customer, data=request.data, partial=True)))


def _save(body: WriteCustomer) -> Any:
    body.is_valid(raise_exception=True)
    try:
        with transaction.atomic():
            customer = body.save()
    except IntegrityError:
        raise ValidationError({"email": "Another customer has this e-mail address."}, code="unique") from None
    return CustomerDetail(customer).data
