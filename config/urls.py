"""Every address of the application."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path

from accounts.urls import entrance
from config import health

admin.site.site_header = "Clipledger"
admin.site.site_title = "Clipledger"
admin.site.index_title = "Books and generations"
# One door: the admin's own sign-in page would know nothing of the limits on failed attempts.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


def favicon(_request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(static("favicon.svg"))


urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    # Where a page names no icon (the admin, a picture, JSON), browsers ask here.
    path("favicon.ico", favicon, name="favicon"),
    path("admin/", admin.site.urls),
    path("accounts/", include(entrance)),
    path("", include("accounts.urls")),
    path("", include("generations.urls")),
]
