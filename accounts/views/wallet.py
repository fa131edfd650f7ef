"""The wallet page: what is available, held and captured, grants, budgets and the entries with running balance."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import clock, ledger
from accounts.models import Entry, Membership, User, Wallet
from accounts.permissions import member_required

PAGE_SIZE = 30
GRANTS_SHOWN = 20


@require_safe
@member_required
def wallet(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Admins see every entry of the team's wallet; members see those of their own work."""
    book = ledger.open_wallet(membership.team)
    before = request.GET.get("before", "")
    entries, next_seq = _page(_visible_entries(book, membership), before=before)
    listing: dict[str, object] = {
        "entries": entries,
        "next_seq": next_seq,
        "is_later_page": before.isdecimal(),
    }
    if request.headers.get("HX-Request") and before:
        return render(request, "accounts/wallet.html#entries", {**listing, "is_fragment": True})
    return _whole_page(request, book, membership, listing)


def _whole_page(
    request: HttpRequest, book: Wallet, membership: Membership, listing: dict[str, object]
) -> HttpResponse:
    now = clock.now()
    context = {
        "book": book,
        "balance": ledger.balance(book, now=now),
        "grants": list(
            book.grants.filter(Q(is_open=True) | Q(held__gt=0)).order_by(
                F("expires_at").asc(nulls_last=True), "pk"
            )[:GRANTS_SHOWN]
        )
        if membership.is_admin
        else [],
        "budgets": ledger.budget_status(book, membership.user, now=now),
        "members": _members_with_budgets(book, membership, now=now) if membership.is_admin else [],
        **listing,
    }
    return render(request, "accounts/wallet.html", context)


def _members_with_budgets(
    book: Wallet, admin: Membership, *, now: datetime
) -> list[tuple[User, list[ledger.BudgetStatus]]]:
    """The other members who have budgets, with their meters."""
    others = admin.team.memberships.filter(is_active=True).exclude(pk=admin.pk).select_related("user")
    users = [other.user for other in others.order_by("user__name", "pk")]
    found = ledger.budget_statuses(book, users, now=now)
    return [(user, found[user.pk]) for user in users if found[user.pk]]


def _visible_entries(book: Wallet, membership: Membership) -> QuerySet[Entry]:
    entries = book.entries.select_related("user", "actor").order_by("-seq")
    return entries if membership.is_admin else entries.filter(user=membership.user)


def _page(entries: QuerySet[Entry], *, before: str) -> tuple[list[Entry], int | None]:
    """One page and the `seq` to ask the next one with; keyset, so that page 10,000 costs what page 1 does."""
    if before.isdecimal():
        entries = entries.filter(seq__lt=int(before[:18]))
    rows = list(entries[: PAGE_SIZE + 1])
    return rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].seq if len(rows) > PAGE_SIZE else None
