"""The team page of its admins: members, roles, budgets, invitations. Each verb has its own address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.mail import send_mail
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import ledger, people
from accounts.forms import BudgetForm, InvitationForm
from accounts.models import Invitation, Membership
from accounts.models.people import Role
from accounts.permissions import member_required, team_admin_required
from accounts.workspace import SESSION_KEY


@dataclass(frozen=True)
class MemberRow:
    membership: Membership
    budgets: list[Any]


@require_safe
@team_admin_required
def team(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    return _page(request, membership, InvitationForm())


@require_POST
@team_admin_required
def invite(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, membership, form, status=422)
    data = form.cleaned_data
    try:
        invitation, token = people.invite(
            membership.team,
            email=data["email"],
            role=data["role"],
            invited_by=membership.user,
            budget_credits=data["budget_credits"],
            budget_period=data["budget_period"],
        )
    except people.PeopleError as error:
        form.add_error("email", str(error))
        return _page(request, membership, form, status=422)
    link = request.build_absolute_uri(reverse("accounts:invitation", args=[token]))
    is_mailed = _mail(invitation, link)
    return _page(request, membership, InvitationForm(), new_link=link, invited=invitation, is_mailed=is_mailed)


@require_POST
@team_admin_required
def revoke_invitation(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    people.revoke(get_object_or_404(Invitation, pk=pk, team=membership.team))
    messages.success(request, "The invitation is withdrawn; its link no longer works.")
    return redirect("accounts:team")


@require_POST
@team_admin_required
def member_role(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    other = _member(pk, membership)
    role = request.POST.get("role", "")
    if role not in Role.values:
        return HttpResponse(f"role must be one of {', '.join(Role.values)}.", status=422, content_type="text/plain")
    try:
        people.set_role(other, role=role)
        messages.success(request, f"{other.user} is now {Role(role).label.lower()}.")
    except people.PeopleError as error:
        messages.error(request, str(error))
    return redirect("accounts:team")


@require_POST
@team_admin_required
def member_remove(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    other = _member(pk, membership)
    try:
        people.remove(other)
        messages.success(request, f"{other.user} has left the team. What they made stays.")
    except people.PeopleError as error:
        messages.error(request, str(error))
    return redirect("accounts:team")


@require_http_methods(["GET", "HEAD", "POST"])
@team_admin_required
def budget(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    """Set what one member may take in a period, with what is already spent shown before it is saved."""
    other = _member(pk, membership)
    book = membership.team.wallet
    form = BudgetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        ledger.set_budget(
            book,
            user=other.user,
            limit_credits=data["limit_credits"],
            period=data["period"],
            actor=membership.user,
            reason=data["reason"],
        )
        messages.success(request, f"{other.user} may now take {data['limit_credits']:,} credits per {data['period']}.")
        return redirect("accounts:team")
    context = {
        "form": form,
        "other": other,
        "budgets": ledger.budget_status(book, other.user, now=timezone.now()),
    }
    return render(request, "accounts/budget.html", context, status=422 if form.errors else 200)


@require_POST
@member_required
def switch_team(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    wanted = request.POST.get("team", "")
    mine = Membership.objects.filter(user=membership.user, is_active=True)
    if not wanted.isdigit() or not mine.filter(team_id=int(wanted[:18])).exists():
        raise Http404
    request.session[SESSION_KEY] = int(wanted)
    return redirect(settings.LOGIN_REDIRECT_URL)


def _member(pk: int, admin: Membership) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user", "team"), pk=pk, team=admin.team, is_active=True)


def _page(
    request: HttpRequest, membership: Membership, form: InvitationForm, *, status: int = 200, **extra: Any
) -> HttpResponse:
    now = timezone.now()
    rows = Membership.objects.filter(team=membership.team, is_active=True).select_related("user").order_by("pk")
    book = membership.team.wallet
    context = {
        "form": form,
        "rows": [MemberRow(row, ledger.budget_status(book, row.user, now=now)) for row in rows],
        "invitations": people.open_invitations(membership.team),
        "invitation_days": settings.INVITATION_DAYS,
        "roles": Role.choices,
        **extra,
    }
    return render(request, "accounts/team.html", context, status=status)


def _mail(invitation: Invitation, link: str) -> bool:
    """Whether the mail left; the link is shown to the admin in any case."""
    body = render_to_string("accounts/invitation_mail.txt", {"invitation": invitation, "link": link})
    subject = f"{invitation.invited_by} invites you to {invitation.team} on Clipledger"
    try:
        return bool(send_mail(subject, body, None, [invitation.email]))
    except OSError:
        return False
