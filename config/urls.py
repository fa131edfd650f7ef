"""Every address of the application."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = "Clipledger"
admin.site.site_title = "Clipledger"
admin.site.index_title = "Books and generations"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
    path("", include("accounts.urls")),
    path("", include("generations.urls")),
]
