"""The look-ups that are the permission checks: they return what is asked for, or refuse."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render, resolve_url
from django.utils.cache import add_never_cache_headers
from django_htmx.http import HttpResponseClientRedirect

from accounts.models import Membership
from accounts.workspace import current_membership

View = Callable[..., HttpResponseBase]


def member_required(view: View) -> View:
    """Signed in and an active member of a team; the membership is passed as `membership`. Pages are never cached;
    media say for themselves how long they may be.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = _checked(view, request, *args, **kwargs)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    return checked


def _checked(view: View, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
    if not request.user.is_authenticated:
        return _sign_in(request)
    membership = current_membership(request)
    if membership is None:
        return render(request, "accounts/no_team.html", status=403)
    return view(request, *args, membership=membership, **kwargs)


def team_admin_required(view: View) -> View:
    """As `member_required`, and an admin of that team; to everybody else the page does not exist."""

    @member_required
    @wraps(view)
    def checked(
        request: HttpRequest, *args: object, membership: Membership, **kwargs: object
    ) -> HttpResponseBase:
        if not membership.is_admin:
            raise Http404
        return view(request, *args, membership=membership, **kwargs)

    return checked


def _sign_in(request: HttpRequest) -> HttpResponseBase:
    """A fragment asked for after the session ended sends the whole page to sign in, not the form into a card."""
    if request.headers.get("HX-Request"):
        return HttpResponseClientRedirect(resolve_url("account_login"))
    return redirect_to_login(request.get_full_path())
