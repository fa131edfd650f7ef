"""The wallet page: what is available, held and captured, grants, budgets and the entries with running balance."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import ledger
from accounts.models import Entry, Membership, Wallet
from accounts.permissions import member_required

PAGE_SIZE = 30


@require_safe
@member_required
def wallet(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Admins see every entry of the team's wallet; members see those of their own work."""
    book = get_object_or_404(Wallet.objects.select_related("team"), team=membership.team)
    entries, next_seq = _page(_visible_entries(book, membership), before=request.GET.get("before", ""))
    context = {
        "book": book,
        "entries": entries,
        "next_seq": next_seq,
        "grants": list(book.grants.filter(is_open=True).order_by("expires_at", "pk")[:20]),
        "budgets": ledger.budget_status(book, membership.user, now=timezone.now()),
    }
    template = "accounts/wallet.html#entries" if _is_more(request) else "accounts/wallet.html"
    return render(request, template, context)


def _visible_entries(book: Wallet, membership: Membership) -> QuerySet[Entry]:
    entries = book.entries.select_related("user", "actor").order_by("-seq")
    return entries if membership.is_admin else entries.filter(user=membership.user)


def _page(entries: QuerySet[Entry], *, before: str) -> tuple[list[Entry], int | None]:
    """One page and the `seq` to ask the next one with; keyset, so that page 10,000 costs what page 1 does."""
    if before.isdigit():
        entries = entries.filter(seq__lt=int(before[:18]))
    rows = list(entries[: PAGE_SIZE + 1])
    return rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].seq if len(rows) > PAGE_SIZE else None


def _is_more(request: HttpRequest) -> Any:
    return request.headers.get("HX-Request") and "before" in request.GET
