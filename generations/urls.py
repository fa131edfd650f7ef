"""Addresses of generations, their files and their webhooks."""

from django.urls import path

from generations import views, webhooks

app_name = "generations"
urlpatterns = [
    path("", views.studio, name="studio"),
    path("generate/", views.generate, name="generate"),
    path("ask/", views.ask, name="ask"),
    path("requests/", views.requests, name="requests"),
    path("requests/by-mail/<str:token>/", views.request_by_mail, name="request_by_mail"),
    path("requests/<uuid:pk>/", views.request, name="request"),
    path("requests/<uuid:pk>/withdraw/", views.request_withdraw, name="request_withdraw"),
    path("fields/", views.fields, name="fields"),
    path("quote/", views.quote, name="quote"),
    path("library/", views.library, name="library"),
    path("pictures/", views.upload, name="upload"),
    path("pictures/<uuid:pk>/", views.picture, name="picture"),
    path("team/engines/", views.engines, name="engines"),
    path("generations/<uuid:pk>/", views.show, name="show"),
    path("generations/<uuid:pk>/cancel/", views.cancel, name="cancel"),
    path("generations/<uuid:pk>/keep/", views.keep, name="keep"),
    path("generations/<uuid:pk>/reorder/", views.reorder, name="reorder"),
    path("generations/<uuid:pk>/receipt/", views.receipt, name="receipt"),
    path("generations/<uuid:pk>/receipt.json", views.receipt_file, name="receipt_file"),
    path("generations/<uuid:pk>/clip.mp4", views.clip, name="clip"),
    path("generations/<uuid:pk>/poster", views.poster, name="poster"),
    path("updates/", views.updates, name="updates"),
    path("live/", views.stream, name="stream"),
    path("fal/webhook/<str:token>/", webhooks.receive, name="fal_webhook"),
    path("metrics", views.metrics, name="metrics"),
    path("operations/", views.operations, name="operations"),
    path("operations/sweep/", views.operations_sweep, name="operations_sweep"),
    path("operations/probe/", views.operations_probe, name="operations_probe"),
    path("operations/engines/probe/", views.operations_probe_engine, name="operations_probe_engine"),
    path("operations/<uuid:pk>/look/", views.operations_look, name="operations_look"),
    path("operations/<uuid:pk>/give-up/", views.operations_give_up, name="operations_give_up"),
    path("operations/bills/", views.bills, name="bills"),
    path("operations/bills.csv", views.bills_file, name="bills_file"),
    path("reports/", views.reports, name="reports"),
    path("reports/<slug:what>.<slug:kind>", views.reports_file, name="reports_file"),
    path("theme/", views.theme, name="theme"),
]
