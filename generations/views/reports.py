"""Where the credits went: for team admins. The address says what is shown, and the same address gives the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from accounts import audit, clock, ledger
from accounts.ledger.check import snapshot
from accounts.models import Membership, User, Wallet
from accounts.permissions import team_admin_required
from accounts.sheets import Cell, csv_chunks
from generations import spend
from generations.spend import exports, files
from generations.spend.periods import DEFAULT, FIRST_DAY
from generations.views.report_tables import lines, timeline

OUTCOMES = {
    "succeeded": "Ready",
    "failed": "Failed, not charged",
    "canceled": "Canceled, not charged",
    "": "Other",
}
Rows = Callable[..., Iterator[list[Cell]]]
EXPORTS: dict[str, tuple[tuple[str, ...], Rows]] = {
    "entries": (exports.ENTRY_HEADER, exports.entry_rows),
    "spend": (exports.SPEND_HEADER, exports.spend_rows),
    "focus": (exports.FOCUS_HEADER, exports.focus_rows),
}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@require_safe
@team_admin_required
def reports(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    wallet = ledger.open_wallet(membership.team)
    zone = spend.zone_of(wallet)
    wanted = _filter(request.GET, zone)
    with snapshot():
        context = _context(request.GET, wallet, wanted, zone)
    return render(request, "generations/reports.html", context)


def _context(asked: QueryDict, wallet: Wallet, wanted: spend.Filter, zone: ZoneInfo) -> dict[str, Any]:
    """Everything on the page is of one moment."""
    today = clock.now().astimezone(zone).date()
    report = spend.report(wallet, wanted, zone=zone)
    people = _people(wallet)
    name_of_member = _name_of(people)
    first = wanted.period.first
    carried = _carried(asked)
    return {
        "wanted": wanted,
        "periods": spend.PERIODS.items(),
        "is_all_time": first == FIRST_DAY,
        "zone": zone.key,
        "total": report.total,
        "timeline": timeline(report, first=first, last=wanted.period.last, today=today, name=name_of_member),
        "by_engine": lines(report.by_engine, _engine_name),
        "cuts": [
            ("Member", lines(report.by_member, name_of_member)),
            ("Project tag", lines(report.by_tag, lambda tag: tag or "no tag")),
            ("Outcome", lines(report.by_outcome, lambda outcome: OUTCOMES.get(outcome, outcome))),
        ],
        "burn": spend.burn_down(wallet, first=first, today=today, zone=zone),
        "choices": _choices(wallet, people),
        "query": f"?{carried.urlencode()}" if carried else "",
        "carried": carried.items(),
        "past": _past(wallet, asked.get("at", ""), zone),
        "asked": asked,
    }


@require_safe
@team_admin_required
def reports_file(request: HttpRequest, *, membership: Membership, what: str, kind: str) -> HttpResponseBase:
    """The rows of the page's own filter; CSV leaves as it is read, XLSX once its file is whole."""
    if what not in EXPORTS or kind not in {"csv", "xlsx"}:
        raise Http404
    wallet = ledger.open_wallet(membership.team)
    zone = spend.zone_of(wallet)
    header, rows_of = EXPORTS[what]
    rows = rows_of(wallet, _filter(request.GET, zone), zone=zone)
    said = {"file": f"{what}.{kind}", "filter": _carried(request.GET).dict()}
    audit.record("export.made", team=membership.team, actor=membership.user, after=said)
    name = f"{membership.team.slug}-{what}.{kind}"
    if kind == "xlsx":
        file = files.xlsx_file(what.capitalize(), header, rows)
        return FileResponse(file, as_attachment=True, filename=name, content_type=XLSX)
    response = StreamingHttpResponse(csv_chunks(header, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _filter(asked: QueryDict, zone: ZoneInfo) -> spend.Filter:
    """What is not asked for, or cannot be, is left open."""
    today = clock.now().astimezone(zone).date()
    period = spend.chosen(
        asked.get("period", DEFAULT), today=today, first=asked.get("first", ""), last=asked.get("last", "")
    )
    member = asked.get("member", "")
    return spend.Filter(
        period=period,
        member=int(member[:18]) if member.isascii() and member.isdecimal() else None,
        engine=_word(asked, "engine"),
        tag=_word(asked, "tag"),
    )


def _word(asked: QueryDict, name: str) -> str | None:
    """ "-" stands for what has none; an empty one is left open."""
    word = asked.get(name, "").replace("\0", "")
    return None if not word else "" if word == "-" else word


def _people(wallet: Wallet) -> dict[int, User]:
    return {
        user.pk: user
        for user in User.objects.filter(memberships__team=wallet.team_id).order_by("name", "email")
    }


def _name_of(people: dict[int, User]) -> Callable[[int], str]:
    """Two of one name are told apart by their address."""
    names = [str(user) for user in people.values()]

    def name(key: int) -> str:
        user = people.get(key)
        if user is None:
            return f"User {key}" if key else "The team"
        return f"{user} ({user.email})" if names.count(str(user)) > 1 else str(user)

    return name


def _engine_name(engine: str) -> str:
    return exports.engine_title(engine) if engine else "Other work"


def _choices(wallet: Wallet, people: dict[int, User]) -> dict[str, list[tuple[str, str]]]:
    """What can be filtered by: everybody of the team, and the engines and tags that were ever paid for."""
    name = _name_of(people)
    used = spend.used(wallet)
    return {
        "member": [(str(key), name(key)) for key in people],
        "engine": [(engine, _engine_name(engine)) for engine in used.engines],
        "tag": [(tag, tag) for tag in used.tags],
    }


def _carried(asked: QueryDict) -> QueryDict:
    """The filter as it was asked, for the links to the files and the form beside it."""
    query = QueryDict(mutable=True)
    names = ("period", "first", "last", "member", "engine", "tag")
    query.update({name: asked.get(name, "") for name in names if asked.get(name)})
    return query


def _past(wallet: Wallet, at: str, zone: ZoneInfo) -> dict[str, Any] | None:
    """The books as of a moment in the team's zone, or a word on what is wrong with it."""
    if not at:
        return None
    try:
        moment = parse_datetime(at)
    except ValueError:
        moment = None
    if moment is None:
        return {"error": "Give a day and a time."}
    moment = _in_zone(moment, zone)
    budgets = wallet.budgets.filter(created_at__lte=moment).select_related("user")
    taken = [
        (budget.user, ledger.budget_at(wallet, budget.user, budget.period, moment)) for budget in budgets
    ]
    return {
        "moment": moment,
        "balance": ledger.balance_at(wallet, moment),
        "budgets": [(user, budget) for user, budget in taken if budget.rule],
    }


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
