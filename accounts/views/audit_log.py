"""What was done to the team and by whom, for its admins: newest first, narrowed by what, who and when, or as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_safe

from accounts import audit
from accounts.models import AuditRecord, Membership, Team, User
from accounts.permissions import team_admin_required
from accounts.sheets import Cell, csv_chunks

PAGE_SIZE = 50
HEADER = (
    *("at", "action", "actor", "subject_type", "subject_id", "subject", "entry", "before", "after", "reason"),
    *("address", "user_agent", "request_id"),
)
# The first word of an action, and what a person calls it.
KINDS = {
    "budget": "Budgets",
    "export": "Exports",
    "grant": "Grants",
    "invitation": "Invitations",
    "membership": "Roles and members",
    "operations": "Work moved by staff",
    "password": "Passwords",
    "hold": "Refunds",
    "sign_in": "Sign-ins",
    "team": "Team settings and rules",
    "wallet": "Wallet",
}
OF_PEOPLE = ("sign_in.", "password.")


@dataclass(frozen=True)
class Line:
    """One record, with the changed values side by side."""

    record: AuditRecord
    changes: list[tuple[str, str, str]]

    @property
    def title(self) -> str:
        """ "Budget changed"."""
        return self.record.action.replace(".", " ").replace("_", " ").capitalize()


@require_safe
@team_admin_required
def audit_log(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    before = request.GET.get("before", "")
    found = _asked(membership.team, request.GET)
    if before.isascii() and before.isdecimal():
        found = found.filter(pk__lt=int(before[:18]))
    rows = list(found.select_related("actor", "entry")[: PAGE_SIZE + 1])
    kept = _kept(request.GET)
    has_more = len(rows) > PAGE_SIZE
    context = {
        "lines": [Line(row, list(_changes(row))) for row in rows[:PAGE_SIZE]],
        "kinds": KINDS.items(),
        "people": _people(membership.team),
        "asked": request.GET,
        "zone": membership.team.time_zone,
        "file_query": kept.urlencode(),
        "next_query": _kept(request.GET, before=str(rows[PAGE_SIZE - 1].pk)).urlencode() if has_more else "",
        "is_later_page": bool(before),
        "newest_query": kept.urlencode(),
    }
    return render(request, "accounts/audit_log.html", context)


@require_safe
@team_admin_required
def audit_file(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Everything that the page's own filter finds."""
    filters = _kept(request.GET).dict()
    audit.record(
        "export.made",
        team=membership.team,
        actor=membership.user,
        after={"file": "audit.csv", "filter": filters},
    )
    rows = _asked(membership.team, request.GET).select_related("actor").iterator(chunk_size=1000)
    response = StreamingHttpResponse(csv_chunks(HEADER, _cells(rows)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{membership.team.slug}-audit.csv"'
    return response


def visible(team: Team) -> QuerySet[AuditRecord]:
    """What concerns the team, and the signing in of those who belong to it now."""
    members = Membership.objects.filter(team=team, is_active=True).values("user_id")
    ids = [str(pk) for pk in members.values_list("user_id", flat=True)]
    entrance = Q(team=None, subject_type="accounts.user", subject_id__in=ids) & _begins(OF_PEOPLE)
    return AuditRecord.objects.filter(Q(team=team) | entrance).order_by("-pk")


def _begins(words: tuple[str, ...]) -> Q:
    found = Q()
    for word in words:
        found |= Q(action__startswith=word)
    return found


def _asked(team: Team, query: QueryDict) -> QuerySet[AuditRecord]:
    """What cannot be asked for is left open."""
    found, zone = visible(team), ZoneInfo(team.time_zone)
    if query.get("kind") in KINDS:
        found = found.filter(action__startswith=f"{query['kind']}.")
    actor = query.get("actor", "")
    if actor.isascii() and actor.isdecimal():
        found = found.filter(actor=int(actor[:18]))
    if first := _midnight(query.get("first", ""), zone):
        found = found.filter(created_at__gte=first)
    if last := _midnight(query.get("last", ""), zone, days=1):
        found = found.filter(created_at__lt=last)
    return found


def _midnight(text: str, zone: ZoneInfo, *, days: int = 0) -> datetime | None:
    try:
        day = parse_date(text)
        return datetime.combine(day + timedelta(days=days), time.min, tzinfo=zone) if day else None
    except (ValueError, OverflowError):
        return None


def _kept(query: QueryDict, **more: str) -> QueryDict:
    kept = QueryDict(mutable=True)
    kept.update({name: query.get(name, "") for name in ("kind", "actor", "first", "last") if query.get(name)})
    kept.update(more)
    return kept


def _people(team: Team) -> list[User]:
    """Who was ever a member."""
    return list(User.objects.filter(memberships__team=team).order_by("name", "email"))


def _changes(record: AuditRecord) -> Iterator[tuple[str, str, str]]:
    for name in [*record.before, *(name for name in record.after if name not in record.before)]:
        yield name.replace("_", " "), _words(record.before.get(name)), _words(record.after.get(name))


def _words(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return (
                ", ".join(f"{name.replace('_', ' ')} {_words(each)}" for name, each in value.items()) or "-"
            )
        case list():
            return ", ".join(_words(each) for each in value) or "-"
    return str(value)


def _cells(rows: Iterator[AuditRecord]) -> Iterator[list[Cell]]:
    for row in rows:
        yield [
            *(row.created_at.isoformat(), row.action, row.actor.email if row.actor else None),
            *(row.subject_type, row.subject_id, row.subject, row.entry_id),
            *(audit.as_text(row.before), audit.as_text(row.after), row.reason),
            *(row.address, row.user_agent, row.request_id),
        ]
