"""The page behind an invitation link: the only way to a login of one's own."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import people
from accounts.forms import AcceptForm
from accounts.models import Invitation, Membership, User
from accounts.workspace import SESSION_KEY


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    try:
        found = people.find_invitation(token)
    except people.InvitationNotOpen as error:
        return render(request, "accounts/invitation_closed.html", {"error": error}, status=410)
    if isinstance(request.user, User):
        return _join_as(request, found, token, request.user)
    return _join_anew(request, found, token)


def _join_as(request: HttpRequest, found: Invitation, token: str, user: User) -> HttpResponse:
    if request.method != "POST":
        return _page(request, found)
    try:
        membership = people.accept(token, user=user)
    except people.PeopleError as error:
        return _page(request, found, error=error, status=409)
    return _welcome(request, membership)


def _join_anew(request: HttpRequest, found: Invitation, token: str) -> HttpResponse:
    if people.has_login(found):
        return _page(request, found, has_login=True, status=200 if request.method != "POST" else 409)
    form = AcceptForm(request.POST if request.method == "POST" else None, email=found.email)
    if not form.is_valid():
        return _page(request, found, form=form, status=422 if form.is_bound else 200)
    try:
        data = form.cleaned_data
        membership = people.accept(token, name=data["name"], password=data["password"])
    except people.PeopleError as error:
        return _page(request, found, form=form, error=error, status=409)
    login(request, membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return _welcome(request, membership)


def _page(request: HttpRequest, found: Invitation, *, status: int = 200, **context: Any) -> HttpResponse:
    is_theirs = isinstance(request.user, User) and request.user.email.lower() == found.email.lower()
    return render(
        request,
        "accounts/invitation.html",
        {"invitation": found, "is_theirs": is_theirs, **context},
        status=status,
    )


def _welcome(request: HttpRequest, membership: Membership) -> HttpResponse:
    request.session[SESSION_KEY] = membership.team_id
    messages.success(request, f"Welcome to {membership.team}.")
    return redirect("generations:studio")
