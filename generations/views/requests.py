"""Requests for more: the admins' inbox, a member's own list, and one request with what may be done about it."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import clock, ledger
from accounts.errors import LedgerError
from accounts.models import Membership, User
from accounts.models.money import Period
from accounts.models.people import Role
from accounts.permissions import member_required
from generations import asking, catalogue, lifecycle
from generations.models import CreditRequest
from generations.views.show import choices

MOST_SHOWN = 50


class DecisionForm(forms.Form):
    """One form, three buttons: what each of them needs is asked for when it is pressed."""

    decision = forms.ChoiceField(choices=[(it, it) for it in ("approve", "raise", "decline")])
    note = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.Textarea({"rows": 2}),
        label="Note to the member",
        help_text="Needed to decline. Kept with the request.",
    )
    period = forms.ChoiceField(choices=Period, required=False, label="Budget")
    limit_credits = forms.IntegerField(
        required=False, min_value=1, max_value=10**12, label="New limit, in credits"
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        decision = cleaned.get("decision")
        if decision == "decline" and not cleaned.get("note", "").strip():
            self.add_error("note", str(asking.NoteRequired()))
        if decision == "raise" and "limit_credits" not in self.errors and not cleaned.get("limit_credits"):
            self.add_error("limit_credits", "Say how many credits the budget is to have.")
        return cleaned


@require_safe
@member_required
def requests(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """What is open in the team and was decided lately, for its admins; one's own, for everybody."""
    rows = CreditRequest.objects.all().select_related("user", "team")
    ours, mine = rows.filter(team=membership.team), rows.filter(user=membership.user, team=membership.team)
    inbox = list(ours.open().order_by("created_at")[:MOST_SHOWN]) if membership.is_admin else []
    decided = ours.exclude(user=membership.user).exclude(pk__in=[row.pk for row in inbox])
    context = {
        "inbox": inbox,
        "decided": list(decided.newest_first()[:MOST_SHOWN]) if membership.is_admin else [],
        "mine": list(mine.newest_first()[:MOST_SHOWN]),
        "most": MOST_SHOWN,
    }
    return render(request, "generations/requests.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required
def request(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    """One's own request, or one of a team whose admin one is; a POST decides it."""
    return _one(request, _find(membership.user, pk), membership.user)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required
def request_by_mail(request: HttpRequest, token: str, *, membership: Membership) -> HttpResponseBase:
    """The same page by the link of a mail, which is for one admin and for a time. Opening it decides nothing."""
    try:
        pk = asking.follow(token, user=membership.user)
    except asking.LinkNotGood as error:
        messages.warning(request, str(error))
        return redirect("generations:requests")
    return _one(request, _find(membership.user, pk), membership.user)


@require_POST
@member_required
def request_withdraw(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    row = get_object_or_404(CreditRequest, pk=pk, user=membership.user)
    try:
        asking.withdraw(row.pk, actor=membership.user)
        messages.success(request, "Withdrawn. Nothing was held for it.")
    except asking.AskingError as error:
        messages.warning(request, str(error))
    return redirect("generations:request", pk=pk)


def _find(user: User, pk: uuid.UUID) -> CreditRequest:
    """Raises `Http404` for what is neither their own nor theirs to decide."""
    active = Q(team__memberships__user=user, team__memberships__is_active=True)
    rows = CreditRequest.objects.filter(active & (Q(user=user) | Q(team__memberships__role=Role.ADMIN)))
    return get_object_or_404(rows.select_related("team__wallet", "user", "generation"), pk=pk)


def _one(request: HttpRequest, row: CreditRequest, user: User) -> HttpResponseBase:
    admin = row.team.memberships.filter(user=user, role=Role.ADMIN, is_active=True).exists()
    if request.method != "POST":
        return _page(request, row, user, DecisionForm(), is_admin=admin)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _page(request, row, user, form, is_admin=admin, status=422)
    try:
        said = _decided(row, user, **form.cleaned_data)
    except asking.AlreadyDecided as error:
        messages.warning(request, str(error))
        return redirect("generations:request", pk=row.pk)
    except (asking.AskingError, LedgerError) as error:
        form.add_error(None, str(error))
        return _page(request, row, user, form, is_admin=admin, status=409)
    messages.success(request, said)
    return redirect("generations:request", pk=row.pk)


def _decided(
    row: CreditRequest, user: User, *, decision: str, note: str, period: str, limit_credits: int | None
) -> str:
    if decision == "decline":
        asking.decline(row.pk, actor=user, note=note)
        return f"Declined. {row.user} is told why."
    new = asking.NewLimit(period, limit_credits) if decision == "raise" and limit_credits else None
    made = asking.approve(row.pk, actor=user, note=note, new_limit=new)
    raised = f" The budget is now {limit_credits} {Period(period).per}." if new else ""
    return f"Approved: {made.quote_credits} credits are held and it is on its way.{raised}"


def _page(
    request: HttpRequest,
    row: CreditRequest,
    user: User,
    form: DecisionForm,
    *,
    is_admin: bool,
    status: int = 200,
) -> HttpResponse:
    is_open, is_own = row.is_open, row.user_id == user.pk
    wallet = ledger.open_wallet(row.team)
    budgets = ledger.budget_status(wallet, row.user, now=clock.now())
    taken = {it.budget.period: it.spent + it.held + row.quote_credits for it in budgets}
    others = row.team.memberships.filter(role=Role.ADMIN, is_active=True, user__is_active=True)
    is_alone = is_own and is_admin and not others.exclude(user=user).exists()
    context = {
        "row": row,
        "form": form,
        "pictures": [link.picture for link in row.picture_links.select_related("picture")],
        "choices": choices(row),
        "steps": row.steps.select_related("actor").order_by("created_at", "pk"),
        "book": wallet,
        "missing": max(0, row.quote_credits - wallet.available),
        "price": _price_now(row) if is_open else None,
        "budgets": budgets,
        "raisable": [(it.budget.period, it.budget.per, it.limit, taken[it.budget.period]) for it in budgets],
        "may_decide": is_open and is_admin and (is_alone or not is_own),
        "is_alone": is_alone,
        "is_own": is_own,
        "is_admin": is_admin,
        "is_open": is_open,
    }
    return render(request, "generations/request.html", context, status=status)


def _price_now(row: CreditRequest) -> int | None:
    """What it would cost if it were asked for today; None where it cannot be."""
    try:
        return lifecycle.quote(row.engine, row.inputs).credits
    except catalogue.CatalogueError:
        return None
