"""What people read of it: one number, how it comes about by class, and the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Abs

from generations.models import BillCursor, BillMatch

NOTHING = Decimal(0)


@dataclass(frozen=True)
class Line:
    """One class, in US dollars. `unexplained_usd` has no sign: what fal took too much and too little do not net."""

    kind: str
    label: str
    count: int = 0
    fal_usd: Decimal = NOTHING
    our_usd: Decimal = NOTHING
    unexplained_usd: Decimal = NOTHING


@dataclass(frozen=True)
class Summary:
    """fal_usd = explained_usd + over_usd; `under_usd` is what we expected fal to take and it did not."""

    lines: tuple[Line, ...]
    fal_usd: Decimal
    over_usd: Decimal
    under_usd: Decimal

    @property
    def unexplained_usd(self) -> Decimal:
        return self.over_usd + self.under_usd

    @property
    def explained_usd(self) -> Decimal:
        return self.fal_usd - self.over_usd

    @property
    def count(self) -> int:
        return sum(line.count for line in self.lines)


def rows(
    *, start: datetime | None = None, end: datetime | None = None, kind: str = ""
) -> QuerySet[BillMatch]:
    """Newest first; `end` is not included."""
    found = BillMatch.objects.select_related("attempt__generation__team", "attempt__generation__user")
    if start:
        found = found.filter(happened_at__gte=start)
    if end:
        found = found.filter(happened_at__lt=end)
    if kind:
        found = found.filter(kind=kind)
    return found.order_by("-happened_at", "-id")


def summary(*, start: datetime | None = None, end: datetime | None = None) -> Summary:
    """All classes, those with nothing in them too."""
    grouped = rows(start=start, end=end).order_by().values("kind")
    by_kind = {
        row["kind"]: row
        for row in grouped.annotate(
            count=Count("pk"),
            fal=Sum("fal_usd"),
            ours=Sum("our_usd"),
            unexplained=Sum(Abs("unexplained_usd")),
            over=Sum("unexplained_usd", filter=Q(unexplained_usd__gt=0)),
            under=Sum("unexplained_usd", filter=Q(unexplained_usd__lt=0)),
        )
    }
    total = {
        name: sum((row[name] or NOTHING for row in by_kind.values()), NOTHING)
        for name in ("fal", "over", "under")
    }
    lines = tuple(_line(kind, by_kind.get(kind)) for kind in BillMatch.Kind)
    return Summary(lines, total["fal"], total["over"], -total["under"])


def _line(kind: BillMatch.Kind, row: Mapping[str, Any] | None) -> Line:
    if row is None:
        return Line(kind, kind.label)
    return Line(
        kind,
        kind.label,
        row["count"],
        row["fal"] or NOTHING,
        row["ours"] or NOTHING,
        row["unexplained"] or NOTHING,
    )


def last_run() -> BillCursor | None:
    return BillCursor.objects.filter(pk=1).first()
