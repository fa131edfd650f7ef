"""Grants in the hands of a team's admins: bringing credits in, letting them last longer, taking out what is left."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import ledger
from accounts.errors import LedgerError
from accounts.forms import CreditsForm, ExtensionForm, VoidForm
from accounts.models import Draw, Grant, Membership
from accounts.permissions import team_admin_required

DRAWS_SHOWN = 30


@require_http_methods(["GET", "HEAD", "POST"])
@team_admin_required
def grant_add(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    form = CreditsForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        data = dict(form.cleaned_data)
        key = f"page:{membership.team_id}:{data.pop('key')}"
        wallet = ledger.open_wallet(membership.team)
        try:
            ledger.add_credits(wallet, **data, actor=membership.user, idempotency_key=key)
        except LedgerError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{data['amount']:,} credits are in the wallet.")
            return redirect("accounts:wallet")
    return render(request, "accounts/grant_add.html", {"form": form}, status=422 if form.is_bound else 200)


@require_safe
@team_admin_required
def grant(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    return _page(request, _find(pk, membership))


@require_POST
@team_admin_required
def grant_extend(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    found, form = _find(pk, membership), ExtensionForm(request.POST)
    if not form.is_valid():
        return _page(request, found, extension=form)
    day = form.cleaned_data["last_day"]
    until = ledger.end_of(day, ZoneInfo(membership.team.time_zone)) if day else None
    try:
        ledger.extend_grant(found, expires_at=until, **_said(form, found, membership))
    except LedgerError as error:
        form.add_error(None, str(error))
        return _page(request, found, extension=form)
    messages.success(request, "The credits last longer now; the book says so.")
    return redirect("accounts:grant", pk=pk)


@require_POST
@team_admin_required
def grant_void(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:
    found, form = _find(pk, membership), VoidForm(request.POST, auto_id="void_%s")
    if not form.is_valid():
        return _page(request, found, void=form)
    try:
        entry = ledger.void_grant(found, **_said(form, found, membership))
    except LedgerError as error:
        form.add_error(None, str(error))
        return _page(request, found, void=form)
    messages.success(request, f"The grant is voided: {entry.adjusted_out_delta:,} credits are taken out.")
    return redirect("accounts:grant", pk=pk)


def _find(pk: int, membership: Membership) -> Grant:
    return get_object_or_404(
        Grant.objects.select_related("wallet__team"), pk=pk, wallet__team=membership.team
    )


def _said(form: ExtensionForm | VoidForm, found: Grant, membership: Membership) -> dict[str, Any]:
    data = form.cleaned_data
    key = f"page:{found.pk}:{data['key']}"
    return {"actor": membership.user, "reason": data["reason"], "idempotency_key": key}


def _page(
    request: HttpRequest,
    found: Grant,
    *,
    extension: ExtensionForm | None = None,
    void: VoidForm | None = None,
) -> HttpResponse:
    draws = Draw.objects.filter(grant=found).select_related("entry__user", "entry__actor")
    is_wrong = extension is not None or void is not None
    context = {
        "grant": found,
        "draws": list(draws.order_by(F("pk").desc())[:DRAWS_SHOWN]),
        "changes": list(
            found.wallet.entries.filter(reference=f"grant:{found.pk}")
            .select_related("actor")
            .order_by("-seq")
        ),
        "extension": extension or ExtensionForm(),
        "void": void or VoidForm(auto_id="void_%s"),
        "is_closed": found.voided_at is not None or not (found.remaining or found.held),
    }
    return render(request, "accounts/grant.html", context, status=422 if is_wrong else 200)
