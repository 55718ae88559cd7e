from django.urls import path

from inventory import api

urlpatterns = [
    path("products/", api.ProductsView.as_view(), name="products"),
    path("products/<str:sku>/", api.ProductView.as_view(), name="product"),
    path("inventory/", api.StockView.as_view(), name="stock"),
    path("inventory/warehouses/", api.WarehousesView.as_view(), name="warehouses"),
    path("inventory/warehouses/<str:code>/", api.WarehouseView.as_view(), name="warehouse"),
    path("inventory/adjustments/", api.AdjustmentsView.as_view(), name="adjustments"),
    path("inventory/sales/", api.SalesView.as_view(), name="sales"),
]
