"""What belongs to no page: the theme, and the address of the live stream where only WSGI is served."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

YEAR_SECONDS = 365 * 24 * 3600


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember light, dark or as the system, in a cookie that the server reads: no flash of the other one."""
    to = request.POST.get("next", "/")
    is_ours = url_has_allowed_host_and_scheme(to, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(to if is_ours else "/")
    wanted = request.POST.get("theme", "")
    if wanted in {"auto", "light", "dark"}:
        response.set_cookie("theme", wanted, max_age=YEAR_SECONDS, samesite="Lax")
    return response


@require_safe
def stream(_request: HttpRequest) -> HttpResponse:
    """`config.asgi` answers this address itself; where it does not, pages fall back to asking again."""
    return HttpResponse("Live streams need config.asgi.", status=503, content_type="text/plain")
