from django.urls import path

from orders.api import customers, fulfilment, holds, orders, refunds, returns, tracking

ORDER = "orders/<slug:order_id>/"
SHIPMENT = "fulfilment/shipments/<slug:shipment_id>/"

urlpatterns = [
    path("orders/", orders.OrdersView.as_view(), name="orders"),
    path(ORDER, orders.OrderView.as_view(), name="order"),
    path(f"{ORDER}confirm/", orders.ConfirmView.as_view(), name="order-confirm"),
    path(f"{ORDER}cancel/", orders.CancelView.as_view(), name="order-cancel"),
    path(f"{ORDER}hold/", holds.HoldView.as_view(), name="order-hold"),
    path(f"{ORDER}release/", holds.ReleaseView.as_view(), name="order-release"),
    path(f"{ORDER}verdict/", holds.VerdictView.as_view(), name="order-verdict"),
    path(f"{ORDER}payments/", orders.PaymentsView.as_view(), name="order-payments"),
    path(f"{ORDER}returns/", returns.OpenReturnView.as_view(), name="order-returns"),
    path("returns/<slug:return_id>/receive/", returns.ReceiveView.as_view(), name="return-receive"),
    path("returns/<slug:return_id>/close/", returns.CloseView.as_view(), name="return-close"),
    path(f"{ORDER}refunds/", refunds.RefundsView.as_view(), name="order-refunds"),
    path("refunds/<slug:refund_id>/result/", refunds.ResultView.as_view(), name="refund-result"),
    path("fulfilment/orders/", fulfilment.OrdersToFulfilView.as_view(), name="orders-to-fulfil"),
    path("fulfilment/orders/<slug:order_id>/pack/", fulfilment.PackView.as_view(), name="order-pack"),
    path(f"{SHIPMENT}unpack/", fulfilment.UnpackView.as_view(), name="shipment-unpack"),
    path(f"{SHIPMENT}ship/", fulfilment.ShipView.as_view(), name="shipment-ship"),
    path(f"{SHIPMENT}tracking/", fulfilment.TrackingView.as_view(), name="shipment-tracking"),
    path(f"{SHIPMENT}deliver/", fulfilment.DeliverView.as_view(), name="shipment-deliver"),
    path(f"{SHIPMENT}bring-back/", fulfilment.BringBackView.as_view(), name="shipment-bring-back"),
    path("track/<slug:token>/", tracking.TrackView.as_view(), name="track"),
    path("track/<slug:token>/stream", tracking.TrackStreamView.as_view(), name="track-stream"),
    path("track/<slug:token>/cancel/", tracking.CancelByCustomerView.as_view(), name="track-cancel"),
    path("track/<slug:token>/returns/", returns.OpenReturnByCustomerView.as_view(), name="track-returns"),
    path("customers/", customers.CustomersView.as_view(), name="customers"),
    path("customers/<slug:customer_id>/", customers.CustomerView.as_view(), name="customer"),
]
