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
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import clock, ledger, people
from accounts.errors import LedgerError
from accounts.forms import BudgetForm, BudgetRemovalForm, DefaultBudgetForm, InvitationForm, RoleForm
from accounts.models import Invitation, Membership, Team
from accounts.models.money import Period
from accounts.models.people import Role
from accounts.permissions import member_required, team_admin_required
from accounts.workspace import SESSION_KEY, memberships


@dataclass(frozen=True)
class MemberRow:
    membership: Membership
    budgets: list[ledger.BudgetStatus]


@require_safe
@team_admin_required
def team(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    return _page(request, membership, InvitationForm())


@require_POST
@team_admin_required
def invite(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Show the link in the answer itself: kept for a redirect, the token would lie in a session, readable."""
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
    return _page(
        request, membership, InvitationForm(), new_link=link, invited=invitation, is_mailed=is_mailed
    )


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
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"{other.user} keeps the role: choose one of the list.")
        return redirect("accounts:team")
    role = Role(form.cleaned_data["role"])
    try:
        people.set_role(other, role=role)
        messages.success(request, f"{other.user} is now {role.label.lower()}.")
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
    form = BudgetForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _budget_page(request, other, form)
    wallet = ledger.open_wallet(membership.team)
    try:
        ledger.set_budget(wallet, user=other.user, actor=membership.user, **form.rule)
    except LedgerError as error:
        form.add_error(None, str(error))
        return _budget_page(request, other, form)
    messages.success(request, f"{other.user} may now take {_limit_words(**form.rule)}.")
    return redirect("accounts:team")


@require_POST
@team_admin_required
def budget_remove(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    other = _member(pk, membership)
    form = BudgetRemovalForm(request.POST)
    if not form.is_valid():
        return _budget_page(request, other, BudgetForm(), removal=form)
    wallet = ledger.open_wallet(membership.team)
    try:
        ledger.remove_budget(wallet, user=other.user, actor=membership.user, **form.cleaned_data)
    except LedgerError as error:
        messages.error(request, str(error))
        return redirect("accounts:budget", pk=pk)
    messages.success(request, f"The budget of {other.user} is removed.")
    return redirect("accounts:budget", pk=pk)


@require_POST
@team_admin_required
def default_budget(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """The budget of whoever joins from now on without one of their own."""
    form = DefaultBudgetForm(request.POST)
    if not form.is_valid():
        return _page(request, membership, InvitationForm(), status=422, default_form=form)
    ledger.set_default_budget(ledger.open_wallet(membership.team), actor=membership.user, **form.rule)
    messages.success(request, "Saved for those who join from now on; members keep what they have.")
    return redirect("accounts:team")


@require_POST
@member_required
def switch_team(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    mine = {str(m.team_id): m.team_id for m in memberships(membership.user)}
    wanted = mine.get(request.POST.get("team", ""))
    if wanted is None:
        raise Http404
    request.session[SESSION_KEY] = wanted
    return redirect(settings.LOGIN_REDIRECT_URL)


def _limit_words(*, limit_credits: int, period: str, **_: Any) -> str:
    unit = "credit" if limit_credits == 1 else "credits"
    return f"{limit_credits:,} {unit} {Period(period).per}"


def _budget_page(
    request: HttpRequest, other: Membership, form: BudgetForm, *, removal: BudgetRemovalForm | None = None
) -> HttpResponse:
    wallet, now = ledger.open_wallet(other.team), clock.now()
    context = {
        "form": form,
        "removal": removal,
        "other": other,
        "budgets": ledger.budget_status(wallet, other.user, now=now),
        "taken": ledger.taken_so_far(wallet, other.user, now=now),
    }
    is_wrong = form.is_bound or removal is not None
    return render(request, "accounts/budget.html", context, status=422 if is_wrong else 200)


def _member(pk: int, admin: Membership) -> Membership:
    return get_object_or_404(
        Membership.objects.select_related("user", "team"), pk=pk, team=admin.team, is_active=True
    )


def _page(
    request: HttpRequest, membership: Membership, form: InvitationForm, *, status: int = 200, **extra: Any
) -> HttpResponse:
    rows = (
        Membership.objects.filter(team=membership.team, is_active=True).select_related("user").order_by("pk")
    )
    book = ledger.open_wallet(membership.team)
    budgets = ledger.budget_statuses(book, [row.user for row in rows], now=clock.now())
    context = {
        "form": form,
        "rows": [MemberRow(row, budgets[row.user_id]) for row in rows],
        "invitations": people.open_invitations(membership.team),
        "invitation_days": settings.INVITATION_DAYS,
        "roles": Role.choices,
        "default_form": DefaultBudgetForm(initial=_default_of(membership.team)),
        **extra,
    }
    return render(request, "accounts/team.html", context, status=status)


def _default_of(team: Team) -> dict[str, Any]:
    return {
        "limit_credits": team.default_budget_credits,
        "period": team.default_budget_period or Period.MONTH,
        "strength": "hard" if team.default_budget_is_hard else "soft",
    }


def _mail(invitation: Invitation, link: str) -> bool:
    """Whether the mail left; the link is shown to the admin in any case. Printing to a console is not mailing."""
    if settings.EMAIL_BACKEND.endswith("console.EmailBackend"):
        return False
    body = render_to_string("accounts/invitation_mail.txt", {"invitation": invitation, "link": link})
    subject = " ".join(f"{invitation.invited_by} invites you to {invitation.team} on Clipledger".split())
    try:
        return bool(send_mail(subject, body, None, [invitation.email]))
    except OSError:
        return False
