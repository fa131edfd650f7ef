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
from accounts.models import Invitation, User
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
        return _page(request, found, form=None)
    try:
        membership = people.accept(token, user=user)
    except people.PeopleError as error:
        return _page(request, found, form=None, error=error, status=409)
    return _welcome(request, membership.team_id, str(found.team))


def _join_anew(request: HttpRequest, found: Invitation, token: str) -> HttpResponse:
    form = AcceptForm(request.POST or None, email=found.email)
    if request.method != "POST" or not form.is_valid():
        return _page(request, found, form=form, status=422 if form.errors else 200)
    try:
        data = form.cleaned_data
        membership = people.accept(token, name=data["name"], password=data["password"])
    except people.PeopleError as error:
        return _page(request, found, form=form, error=error, status=409)
    login(request, membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return _welcome(request, membership.team_id, str(found.team))


def _page(
    request: HttpRequest, found: Invitation, *, form: Any, error: Exception | None = None, status: int = 200
) -> HttpResponse:
    context = {"invitation": found, "form": form, "error": error}
    return render(request, "accounts/invitation.html", context, status=status)


def _welcome(request: HttpRequest, team_id: int, team: str) -> HttpResponse:
    request.session[SESSION_KEY] = team_id
    messages.success(request, f"Welcome to {team}.")
    return redirect("generations:studio")
