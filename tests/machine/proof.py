"""When it is quiet: paper against books, stored clips, and the sandbox's own bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Sum

from accounts import alerts, clock, ledger
from accounts.models import Alert, AuditRecord, Entry, Grant, Notice
from generations import reconciliation
from generations.drill import checks
from generations.drill.checks import Evidence
from generations.models import BillMatch, CreditRequest, Generation, PriceVersion
from generations.states import AttemptState, State
from tests.machine.paper import Paper, Town

CENT = Decimal("0.01")
NOTHING = Decimal(0)
MOST_SAID = 20
PERCENTS = (50, 80, 100)


@dataclass(frozen=True)
class Case:
    town: Town
    paper: Paper
    evidence: Evidence


def what_was_ordered_is_there_once(case: Case) -> Iterator[str]:
    found = Counter(each.form_token for each in case.evidence.generations)
    for token in case.paper.ordered ^ found.keys():
        yield f"form {token}: {found[token]} generations, ordered on paper: {token in case.paper.ordered}"


def requests_went_as_was_said(case: Case) -> Iterator[str]:
    rows = {row.pk: row for row in CreditRequest.objects.all()}
    if rows.keys() != set(case.paper.requests):
        yield f"{len(rows)} requests, on paper {len(case.paper.requests)}"
    for pk, word in case.paper.decided.items():
        if rows[pk].state != word:
            yield f"request {pk} is {rows[pk].state}, on paper {word}"
        if (rows[pk].generation_id is not None) != (word == "approved"):
            yield f"request {pk} was {word} and has generation {rows[pk].generation_id}"
    for pk in set(rows) - case.paper.decided.keys():
        # The sweep closes what its member has ordered meanwhile, with the same form.
        is_ordered = rows[pk].form_token in case.paper.ordered and rows[pk].state == "withdrawn"
        if rows[pk].state != CreditRequest.State.OPEN and not is_ordered:
            yield f"request {pk} is {rows[pk].state} and nobody did it"


def wallets_are_as_on_paper(case: Case) -> Iterator[str]:
    for team in case.town.teams:
        wallet, balance = team.wallet, ledger.balance(team.wallet)
        done = Generation.objects.filter(team=team, state=State.SUCCEEDED)
        charged = done.aggregate(n=Sum("quote_credits"))["n"] or 0
        came, refunded = case.paper.came[wallet.pk], case.paper.refunded[wallet.pk]
        if balance.granted != came:
            yield f"{team}: {balance.granted} came in, on paper {came}"
        if balance.captured != charged - refunded:
            yield f"{team}: {balance.captured} captured, on paper {charged} less {refunded}"
        taken = case.paper.corrected[wallet.pk] + case.paper.voided[wallet.pk]
        back = _went_out_on_its_way_back(wallet.pk)
        if balance.adjusted_out != taken + back:
            yield f"{team}: {balance.adjusted_out} went out, on paper {taken}, and {back} on their way back"
        left = came - charged + refunded - balance.adjusted_out - balance.expired
        if (balance.available, balance.held) != (left, 0):
            yield f"{team}: {balance.available} left and {balance.held} held, on paper {left} and 0"


def _went_out_on_its_way_back(wallet_id: int) -> int:
    entries = Entry.objects.filter(wallet=wallet_id, kind__in=["release", "capture", "refund"])
    return int(entries.aggregate(n=Sum("adjusted_out_delta"))["n"] or 0)


def what_expired_was_due(_case: Case) -> Iterator[str]:
    """By the date it came in with: what returns after that, or is extended, only ever moves the other one on."""
    now = clock.now()
    for grant in Grant.objects.filter(expired__gt=0):
        if grant.original_expires_at is None or grant.original_expires_at > now:
            yield f"grant {grant.pk} lost {grant.expired} before its time"


def prices_changed_as_often_as_was_said(case: Case) -> Iterator[str]:
    made = PriceVersion.objects.filter(actor__isnull=False).count()
    if made != case.paper.did["change price"]:
        yield f"{made} price versions, on paper {case.paper.did['change price']}"


def what_was_decided_is_in_the_audit_log(case: Case) -> Iterator[str]:
    actions = dict(AuditRecord.objects.order_by().values_list("action").annotate(n=Count("pk")))
    said = Counter(case.paper.decided.values())
    expected = {
        "request.approved": said["approved"],
        "request.declined": said["declined"],
        "price.changed": case.paper.did["change price"],
    }
    for action, times in expected.items():
        if actions.get(action, 0) != times:
            yield f"{action}: {actions.get(action, 0)} in the log, on paper {times}"


def each_crossing_is_told_once(case: Case) -> Iterator[str]:
    alerts.look()
    if again := alerts.look():
        yield f"a second look told {again} once more"
    for team in case.town.teams:
        last = team.wallet.entries.filter(granted_delta__gt=0).latest("seq")
        left = ledger.balance(team.wallet).available
        told = Alert.objects.filter(team=team, kind=Alert.Kind.WALLET, window=f"entry:{last.seq}")
        due = {percent for percent in PERCENTS if left * 100 <= last.available_after * (100 - percent)}
        if missing := due - set(told.values_list("threshold", flat=True)):
            yield f"{team} has {left} of {last.available_after} left and was not told of {missing} %"
    doubled = Notice.objects.values("alert", "channel", "user").annotate(n=Count("pk")).filter(n__gt=1)
    yield from (f"alert {row['alert']} goes out {row['n']} times by {row['channel']}" for row in doubled)


def the_bill_is_reconciled_to_the_cent(case: Case) -> Iterator[str]:
    """Each row by the naive rule, from the sandbox's bill and the ratio on paper; then the sums."""
    reconciliation.reconcile()
    rows = {row.request_id: row for row in BillMatch.objects.all()}
    expected = {request_id: _unexplained(case, request_id) for request_id in case.evidence.bills}
    for request_id, usd in expected.items():
        row = rows.get(request_id)
        if row is None:
            yield f"request {request_id} was billed and is in no row"
        elif abs(row.unexplained_usd - usd) >= CENT / 100:
            yield f"request {request_id} ({row.kind}): {row.unexplained_usd} $ unexplained, on paper {usd}"
    summary = reconciliation.summary()
    sums = {
        "billed": (summary.fal_usd, case.evidence.books.spent_usd()),
        "unexplained": (summary.unexplained_usd, sum(map(abs, expected.values()), NOTHING)),
    }
    for name, (ours, theirs) in sums.items():
        if abs(ours - theirs) >= CENT / 2:
            yield f"{name}: {ours} $, on paper {theirs} $"


def _unexplained(case: Case, request_id: str) -> Decimal:
    billed, attempt = case.evidence.bills[request_id], case.evidence.of_job(case.evidence.jobs[request_id])
    if attempt is None:
        return billed
    ours = billed * case.paper.ratios.get(attempt.generation.price_version_id, Decimal(1))
    is_done = attempt.state == AttemptState.DONE
    if is_done and attempt.generation.state == State.SUCCEEDED:
        return billed - ours
    is_listed = is_done or attempt.is_maybe_billed or attempt.cancel_sent_at is not None
    return billed - min(billed, ours) if is_listed else billed


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    what_was_ordered_is_there_once,
    requests_went_as_was_said,
    wallets_are_as_on_paper,
    what_expired_was_due,
    prices_changed_as_often_as_was_said,
    what_was_decided_is_in_the_audit_log,
    each_crossing_is_told_once,
    the_bill_is_reconciled_to_the_cent,
)


def findings(case: Case) -> dict[str, list[str]]:
    """The drill's rules and these, by name, with the first sentences about what breaks each."""
    found = {rule.__name__: list(rule(case))[:MOST_SAID] for rule in RULES}
    # Who ordered what is in the drill's plan, and here on paper.
    theirs = checks.findings(case.evidence)
    del theirs["one_generation_per_form"]
    return found | theirs


def entries() -> int:
    return Entry.objects.count()


def bill() -> dict[str, str]:
    """What was reconciled, in US dollars."""
    summary = reconciliation.summary()
    lines = {line.kind: f"{line.count}: {line.fal_usd} billed" for line in summary.lines if line.count}
    return lines | {"fal": str(summary.fal_usd), "unexplained": str(summary.unexplained_usd)}
