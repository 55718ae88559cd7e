from django.urls import path

from webhooks import api

SUBSCRIPTION = "webhooks/subscriptions/<str:public_id>/"
DELIVERY = "webhooks/deliveries/<str:public_id>/"

urlpatterns = [
    path("webhooks/subscriptions/", api.SubscriptionsView.as_view(), name="subscriptions"),
    path(SUBSCRIPTION, api.SubscriptionView.as_view(), name="subscription"),
    path(f"{SUBSCRIPTION}test/", api.SendTestView.as_view(), name="subscription-test"),
    path(f"{SUBSCRIPTION}doctor/", api.DoctorView.as_view(), name="subscription-doctor"),
    path(f"{SUBSCRIPTION}rotate-secret/", api.RotateSecretView.as_view(), name="subscription-rotate-secret"),
    path(
        f"{SUBSCRIPTION}revoke-old-secrets/",
        api.RevokeOldSecretsView.as_view(),
        name="subscription-revoke-old-secrets",
    ),
    path(f"{SUBSCRIPTION}pause/", api.PauseView.as_view(), name="subscription-pause"),
    path(f"{SUBSCRIPTION}recover/", api.RecoverView.as_view(), name="subscription-recover"),
    path(
        f"{SUBSCRIPTION}recover/<str:replay_id>/cancel/",
        api.CancelRecoveryView.as_view(),
        name="subscription-recover-cancel",
    ),
    path(f"{SUBSCRIPTION}resume/", api.ResumeView.as_view(), name="subscription-resume"),
    path("events/", api.EventsView.as_view(), name="events"),
    path("events/stream", api.EventsStreamView.as_view(), name="events-stream"),
    path("webhooks/event-types/", api.EventTypesView.as_view(), name="event-types"),
    path("webhooks/deliveries/", api.DeliveriesView.as_view(), name="deliveries"),
    path(DELIVERY, api.DeliveryView.as_view(), name="delivery"),
    path(f"{DELIVERY}resend/", api.ResendView.as_view(), name="delivery-resend"),
]
