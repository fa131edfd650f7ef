"""What if: the last weeks' orders replayed under a draft of prices and caps. Reads only, and of one moment.

Every order of the period is asked again at the moment it was made: first what its engine's draft price makes of its
inputs, then whether the wallet and the hard budgets of its member would have had that much left. An order that would
have been stopped takes nothing; what it would have paid is missing from the sum after. Budgets are those of today, with
the draft's caps in the place of those of the same period, and what was taken before the period counts as it was paid.

Near the truth, not the truth: nobody orders again what was refused, credits expire as they really did, and a refund
counts from the moment of the capture.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Sum

from accounts import clock, ledger
from accounts.ledger.check import snapshot
from accounts.ledger.windows import window
from accounts.models import Budget, Entry, Hold, Team, Wallet
from accounts.models.money import Period
from generations import catalogue
from generations.models import Generation, PriceProposal

# The longest period that ends is a month: what was taken in one that was running when the replay begins counts.
RUN_UP = timedelta(days=31)
MOST_STOPS = 500
BATCH = 5000
Member = tuple[int, int]  # keys of a team and of a user
OF_WORK = (Entry.Kind.HOLD, Entry.Kind.CAPTURE, Entry.Kind.RELEASE, Entry.Kind.REFUND)


@dataclass(frozen=True)
class Cap:
    """A hard limit in credits per period; of one member, or of everyone."""

    limit_credits: int
    period: Period
    user_id: int | None = None


@dataclass(frozen=True)
class Draft:
    """Rules by engine, and caps; what is not named stays as it is."""

    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    caps: Sequence[Cap] = ()

    @classmethod
    def of_proposals(cls) -> dict[str, dict[str, Any]]:
        """The rules of all open proposals; fal's list goes before the catalogue."""
        found = PriceProposal.objects.filter(state=PriceProposal.State.OPEN).order_by("source")
        return {each.engine: each.rule for each in reversed(found)}


@dataclass(frozen=True)
class Stop:
    """An order that would have been refused: by what, with how many credits left there."""

    at: datetime
    team_id: int
    user_id: int
    engine: str
    credits: int
    by: str
    left: int
    resets_at: datetime | None


@dataclass
class Sums:
    """Credits kept in the end (captured, net of refunds), before and after; orders, and those stopped."""

    before: int = 0
    after: int = 0
    orders: int = 0
    stopped: int = 0
    first_stop_at: datetime | None = None


@dataclass
class Outcome:
    """`stops` holds the first `MOST_STOPS`; `unpriced` counts orders the draft has no price for, taken as paid."""

    starts_at: datetime
    ends_at: datetime
    total: Sums = field(default_factory=Sums)
    by_member: dict[Member, Sums] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    unpriced: int = 0

    def sums_of(self, order: Order) -> tuple[Sums, Sums]:
        return self.total, self.by_member.setdefault((order.team_id, order.user_id), Sums())


@dataclass(frozen=True, slots=True)
class Order:
    """One generation as it was: what it held, what was kept of that, and until when it was open."""

    at: datetime
    team_id: int
    user_id: int
    engine: str
    inputs: Mapping[str, Any]
    held: int
    captured: int
    refunded: int
    resolved_at: datetime | None

    @property
    def kept(self) -> int:
        """Of an order that is still open, all."""
        return self.held if self.resolved_at is None else self.captured - self.refunded

    def kept_of(self, amount: int) -> int:
        """The same share of another hold, rounded up."""
        return -(-amount * self.kept // self.held)


@dataclass
class _Counter:
    """A budget of one member with the window it is in; refuses beyond its limit."""

    period: Period
    limit: int
    zone: ZoneInfo
    anchor: datetime
    taken: list[int]  # of the window that runs; a hold keeps the list it was counted in
    ends_at: datetime | None = None
    is_begun: bool = False

    def at(self, moment: datetime) -> _Counter:
        if not self.is_begun or (self.ends_at is not None and moment >= self.ends_at):
            first = self.taken[0] if not self.is_begun else 0
            found = window(self.period, at=moment, zone=self.zone, anchor=self.anchor)
            self.is_begun, self.ends_at, self.taken = True, found.ends_at, [first]
        return self


@dataclass
class _Purse:
    """A team's wallet as the replay goes on."""

    available: int
    changes: list[tuple[datetime, int]]  # credits that came in or went out otherwise, the last first

    def at(self, moment: datetime) -> int:
        while self.changes and self.changes[-1][0] <= moment:
            self.available = max(0, self.available + self.changes.pop()[1])
        return self.available


def simulate(draft: Draft, *, days: int = 90, team: Team | None = None) -> Outcome:
    """Replay the last `days` of one team or of all. Raises `catalogue.BadRule` for a rule that cannot be evaluated."""
    for rule in draft.rules.values():
        catalogue.check_rule(rule)
    now = clock.now()
    outcome = Outcome(starts_at=now - timedelta(days=days), ends_at=now)
    with snapshot():
        replay = _Replay(draft, outcome, team)
        for order in _orders(outcome.starts_at - RUN_UP, now, team):
            replay.ask(order)
    return outcome


class _Replay:
    """The state of the replay between two orders: counters, purses, and holds that are still open."""

    def __init__(self, draft: Draft, outcome: Outcome, team: Team | None) -> None:
        self.draft, self.outcome = draft, outcome
        self.begins_at = outcome.starts_at - RUN_UP
        self.prices = _Prices(draft.rules)
        self.earlier = _paid_before(self.begins_at, team)
        self.counters = self._budgets(team)
        self.zones = {pk: ZoneInfo(zone) for pk, zone in Team.objects.values_list("pk", "time_zone")}
        self.purses: dict[int, _Purse] = {}
        self.returns: list[tuple[datetime, int, int, int, list[list[int]]]] = []

    def ask(self, order: Order) -> None:
        self._settle(order.at)
        is_counted = order.at >= self.outcome.starts_at
        price = self.prices.of(order) if is_counted else order.held
        if price is None:
            self.outcome.unpriced += 1
            price = order.held
        purse, counters = self._purse(order.team_id), self._of(order)
        stop = self._refusal(order, price, purse, counters) if is_counted else None
        if is_counted:
            self._count(order, price, stop)
        if stop is None:
            self._take(order, price, purse, counters)

    def _settle(self, moment: datetime) -> None:
        """What came back by then, to the purse and to the windows it was counted in."""
        while self.returns and self.returns[0][0] <= moment:
            _, _, team_id, amount, windows = heapq.heappop(self.returns)
            self.purses[team_id].available += amount
            for taken in windows:
                taken[0] -= amount

    def _refusal(self, order: Order, price: int, purse: _Purse, counters: list[_Counter]) -> Stop | None:
        found = [(f"budget {each.period.per}", each.limit - each.taken[0], each.ends_at) for each in counters]
        found.append(("wallet", purse.at(order.at), None))
        for by, left, resets_at in found:
            if left < price:
                return Stop(
                    order.at, order.team_id, order.user_id, order.engine, price, by, max(0, left), resets_at
                )
        return None

    def _count(self, order: Order, price: int, stop: Stop | None) -> None:
        for sums in self.outcome.sums_of(order):
            sums.orders += 1
            sums.before += order.kept
            if stop is None:
                sums.after += order.kept_of(price)
                continue
            sums.stopped += 1
            sums.first_stop_at = sums.first_stop_at or stop.at
        if stop is not None and len(self.outcome.stops) < MOST_STOPS:
            self.outcome.stops.append(stop)

    def _take(self, order: Order, price: int, purse: _Purse, counters: list[_Counter]) -> None:
        purse.available = purse.at(order.at) - price
        windows = [each.taken for each in counters]
        for taken in windows:
            taken[0] += price
        back = price - order.kept_of(price)
        if order.resolved_at is not None and back:
            entry = (order.resolved_at, len(self.returns), order.team_id, back, windows)
            heapq.heappush(self.returns, entry)

    def _of(self, order: Order) -> list[_Counter]:
        key = (order.team_id, order.user_id)
        if key not in self.counters:
            self.counters[key] = self._caps(key, zone=self.zones[order.team_id], anchor=order.at)
        return [each.at(order.at) for each in self.counters[key]]

    def _budgets(self, team: Team | None) -> dict[Member, list[_Counter]]:
        """Today's hard budgets of each member, with the draft's caps in the place of those of the same period."""
        found: dict[Member, list[_Counter]] = {}
        budgets = Budget.objects.filter(is_active=True).select_related("wallet__team")
        for budget in budgets.filter(wallet__team=team) if team else budgets:
            key = (budget.wallet.team_id, budget.user_id)
            zone, anchor = ZoneInfo(budget.wallet.team.time_zone), budget.created_at
            counters = found.setdefault(key, self._caps(key, zone=zone, anchor=anchor))
            period = Period(budget.period)
            capped = {cap.period for cap in self.draft.caps if cap.user_id in {None, budget.user_id}}
            if budget.is_hard and period not in capped:
                counters.append(self._counter(key, period, budget.limit_credits, zone, anchor))
        return found

    def _caps(self, key: Member, *, zone: ZoneInfo, anchor: datetime) -> list[_Counter]:
        caps = [cap for cap in self.draft.caps if cap.user_id in {None, key[1]}]
        return [self._counter(key, cap.period, cap.limit_credits, zone, anchor) for cap in caps]

    def _counter(self, key: Member, period: Period, limit: int, zone: ZoneInfo, anchor: datetime) -> _Counter:
        """A budget that never starts again has all in it that was paid before the replay."""
        paid = self.earlier.get(key, 0) if period == Period.NEVER else 0
        return _Counter(period, limit, zone, anchor, [paid])

    def _purse(self, team_id: int) -> _Purse:
        if team_id not in self.purses:
            wallet = Wallet.objects.get(team=team_id)
            entries = Entry.objects.filter(wallet=wallet, created_at__gt=self.begins_at)
            moved = (
                entries.exclude(kind__in=OF_WORK).exclude(available_delta=0).order_by("-created_at", "-seq")
            )
            opening = ledger.balance_at(wallet, self.begins_at).available
            self.purses[team_id] = _Purse(opening, list(moved.values_list("created_at", "available_delta")))
        return self.purses[team_id]


class _Prices:
    """Draft prices, each combination of the inputs that a rule reads worked out once."""

    def __init__(self, rules: Mapping[str, Mapping[str, Any]]) -> None:
        self.rules = rules
        self.read = {engine: sorted(catalogue.rule_params(rule)) for engine, rule in rules.items()}
        self.known: dict[tuple[str, str], int | None] = {}

    def of(self, order: Order) -> int | None:
        """Credits; as it was for an engine without a draft, None where the draft has no price."""
        rule = self.rules.get(order.engine)
        if rule is None:
            return order.held
        facts = order.inputs
        derived = [facts.get("voice_ids")] if "voice_control" in self.read[order.engine] else []
        key = (order.engine, json.dumps([*(facts.get(name) for name in self.read[order.engine]), *derived]))
        if key not in self.known:
            self.known[key] = _credits(order, rule)
        return self.known[key]


def _credits(order: Order, rule: Mapping[str, Any]) -> int | None:
    try:
        facts = catalogue.quote_params(catalogue.get(order.engine), order.inputs)
        return catalogue.quote_credits(rule, facts, credits_per_usd=settings.CREDITS_PER_USD)
    except catalogue.CatalogueError:
        return None


def _orders(start: datetime, end: datetime, team: Team | None) -> Iterator[Order]:
    """In the order in which they came, streamed."""
    rows = Generation.objects.filter(created_at__gte=start, created_at__lt=end)
    if team is not None:
        rows = rows.filter(team=team)
    names = ("created_at", "team_id", "user_id", "engine", "inputs")
    of_hold = ("hold__amount", "hold__captured", "hold__refunded", "hold__resolved_at")
    ordered = rows.order_by("created_at", "id").values_list(*names, *of_hold)
    for row in ordered.iterator(chunk_size=BATCH):
        yield Order(*row)


def _paid_before(start: datetime, team: Team | None) -> dict[Member, int]:
    holds = Hold.objects.filter(created_at__lt=start)
    if team is not None:
        holds = holds.filter(wallet__team=team)
    sums = holds.values_list("wallet__team", "user").annotate(paid=Sum("captured") - Sum("refunded"))
    return {(team_id, user_id): paid for team_id, user_id, paid in sums}
