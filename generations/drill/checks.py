"""What must be true once it is quiet, each a rule by name with what breaks it. Reads database, storage and sandbox.

A finding is a sentence; a rule with none is kept. Nothing here is believed because another table says so: clips are
opened and their sums taken anew, POSTs are counted at the other end of the wire, money is added up from the entries.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db.models import Count

from accounts.models import Entry, Hold, Wallet
from generations import media
from generations.drill.fal_books import FalBooks
from generations.drill.plan import Plan
from generations.models import Attempt, Delivery, Generation, Output
from generations.states import SETTLED, AttemptState, State

MOST_SAID = 20
CENT = Decimal("0.01")


@dataclass
class Evidence:
    """Everything the rules look at, read once when it is quiet."""

    plan: Plan
    wishes: set[str]
    books: FalBooks
    generations: list[Generation] = field(init=False)
    attempts: dict[int, Attempt] = field(init=False)
    jobs: dict[str, dict[str, Any]] = field(init=False)
    posts: list[dict[str, Any]] = field(init=False)
    bills: dict[str, Decimal] = field(init=False)

    def __post_init__(self) -> None:
        self.generations = list(Generation.objects.select_related("hold", "output").order_by("created_at"))
        self.attempts = {each.pk: each for each in Attempt.objects.select_related("generation")}
        self.jobs = {job["request_id"]: job for job in self.books.jobs()}
        self.posts = self.books.posts()
        self.bills = self.books.bills_usd()

    def of_job(self, job: dict[str, Any]) -> Attempt | None:
        """The attempt a job at the sandbox was tagged with."""
        tag = job["tags"].get("attempt", "")
        return self.attempts.get(int(tag)) if tag.isdigit() else None

    @cached_property
    def bill(self) -> Bill:
        return Bill.sorted_from(self)


@dataclass
class Bill:
    """fal's bill in US dollars, by what became of each billed request here."""

    captured: Decimal = Decimal(0)
    failed: Decimal = Decimal(0)
    late: Decimal = Decimal(0)
    unexplained: list[str] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        return self.captured + self.failed + self.late

    @classmethod
    def sorted_from(cls, evidence: Evidence) -> Bill:
        bill = cls()
        for request_id, cost in evidence.bills.items():
            kind = _kind_of(evidence, request_id)
            if hasattr(bill, kind):
                setattr(bill, kind, getattr(bill, kind) + cost)
            else:
                bill.unexplained.append(f"{cost} $ for request {request_id}: {kind}")
        return bill


def _kind_of(evidence: Evidence, request_id: str) -> str:
    """`captured`; `failed`, billed, not charged and listed so; `late`, after we had given it up; else what is wrong."""
    attempt = evidence.of_job(evidence.jobs[request_id])
    if attempt is None:
        return "no attempt of ours"
    about = f"attempt {attempt.pk} is {attempt.state}, {attempt.error_type or 'no error'}"
    if attempt.state == AttemptState.DONE:
        is_ours = attempt.request_id == request_id and attempt.generation.state == State.SUCCEEDED
        return "captured" if is_ours else f"{about}, with request {attempt.request_id or 'unknown'}"
    job = evidence.jobs[request_id]
    if not attempt.is_maybe_billed:
        told = f"told {attempt.http_status} {attempt.error_detail[:80]!r}, asked as {attempt.request_id or 'unknown'}"
        return f"{about}, and not listed as billed: {told}; the job ended with {job['status_code']}, {_faults(job)}"
    is_success = job["status_code"] == 200
    return "late" if is_success and attempt.error_type == "submit_lost" else "failed"


def _faults(job: dict[str, Any]) -> str:
    """What was ordered to go wrong with it."""
    return str(job.get("prompt", "")).partition("[[")[2].partition("]]")[0] or "nothing ordered"


def one_generation_per_form(evidence: Evidence) -> Iterable[str]:
    found = Counter(str(each.form_token) for each in evidence.generations)
    wanted = {order.form_token for order in evidence.plan.orders}
    for token in wanted ^ found.keys():
        yield f"form {token}: {found[token]} generations"
    yield from (f"form {token}: {n} generations" for token, n in found.items() if n > 1)


def everything_is_settled(evidence: Evidence) -> Iterable[str]:
    for each in evidence.generations:
        if each.state not in SETTLED:
            yield f"generation {each.pk} is {each.state}"
    for attempt in evidence.attempts.values():
        if attempt.is_open:
            yield f"attempt {attempt.pk} of generation {attempt.generation_id} is {attempt.state}"


def captured_is_clips_that_play(evidence: Evidence) -> Iterable[str]:
    for each in evidence.generations:
        if each.state == State.SUCCEEDED:
            yield from (f"generation {each.pk}: {problem}" for problem in _clip_problems(each))


def _clip_problems(generation: Generation) -> Iterable[str]:
    hold = generation.hold
    if (hold.state, hold.captured) != (Hold.State.CAPTURED, generation.quote_credits):
        yield f"succeeded and its hold is {hold.state} with {hold.captured} of {generation.quote_credits}"
    output = Output.objects.filter(generation=generation).first()
    if output is None:
        yield "succeeded without an output"
        return
    with tempfile.NamedTemporaryFile(suffix=".mp4") as copy:
        try:
            with default_storage.open(output.file) as stored:
                shutil.copyfileobj(stored, copy)
            copy.flush()
            if hashlib.sha256(Path(copy.name).read_bytes()).hexdigest() != output.sha256:
                yield "its clip is not the file that was stored"
            media.probe(Path(copy.name))
        except (OSError, BotoCoreError, ClientError, media.ClipError) as error:
            yield f"its clip does not open: {error}"


def the_rest_is_released(evidence: Evidence) -> Iterable[str]:
    for each in evidence.generations:
        if each.state in SETTLED - {State.SUCCEEDED}:
            if each.hold.state != Hold.State.RELEASED or each.hold.captured:
                yield f"generation {each.pk} is {each.state} and its hold {each.hold.state}"
            if hasattr(each, "output"):
                yield f"generation {each.pk} is {each.state} and has an output"


def nothing_is_held(_evidence: Evidence) -> Iterable[str]:
    yield from (f"hold {each.reference} is open" for each in Hold.objects.filter(state=Hold.State.HELD))
    yield from (f"wallet {each.pk} holds {each.held}" for each in Wallet.objects.exclude(held=0))


def books_balance(_evidence: Evidence) -> Iterable[str]:
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            call_command("check_ledger", stdout=said)
    except SystemExit:
        yield said.getvalue()


def one_capture_per_success(evidence: Evidence) -> Iterable[str]:
    captures = Entry.objects.filter(kind="capture").values("reference").annotate(n=Count("pk"))
    found = {row["reference"]: row["n"] for row in captures}
    due = {each.reference for each in evidence.generations if each.state == State.SUCCEEDED}
    for reference in due | found.keys():
        if found.get(reference, 0) != (reference in due):
            yield f"{reference} has {found.get(reference, 0)} captures"


def one_post_per_attempt(evidence: Evidence) -> Iterable[str]:
    """Counted at the sandbox. An attempt may have none (it died before, or never reached fal), never two."""
    wire = Counter(str(post["tags"].get("attempt")) for post in evidence.posts)
    yield from (f"attempt {tag} was posted {n} times" for tag, n in wire.items() if n > 1)
    jobs = Counter(str(job["tags"].get("attempt")) for job in evidence.jobs.values())
    yield from (f"attempt {tag} has {n} jobs at fal" for tag, n in jobs.items() if n > 1)
    known = {str(pk) for pk in evidence.attempts}
    yield from (f"attempt {tag} is at fal and not in our books" for tag in (wire | jobs).keys() - known)


def requests_are_their_own(evidence: Evidence) -> Iterable[str]:
    """The request id in our row is the job that was tagged with this very attempt."""
    for attempt in evidence.attempts.values():
        if not attempt.request_id:
            continue
        job = evidence.jobs.get(attempt.request_id)
        owner = evidence.of_job(job) if job else None
        if owner is None or owner.pk != attempt.pk:
            yield f"attempt {attempt.pk} claims request {attempt.request_id} of attempt {owner and owner.pk}"


def bill_is_explained(evidence: Evidence) -> Iterable[str]:
    bill, spent = evidence.bill, evidence.books.spent_usd()
    yield from bill.unexplained
    if not bill.unexplained and abs(bill.total - spent) >= CENT / 2:
        yield f"explained {bill.total} $ of {spent} $"


def costs_are_written_beside(evidence: Evidence) -> Iterable[str]:
    """What fal took for a captured clip is in its attempt's row."""
    for request_id, cost in evidence.bills.items():
        attempt = evidence.of_job(evidence.jobs[request_id])
        if attempt is None or attempt.state != AttemptState.DONE or attempt.fal_cost_usd is None:
            continue
        if abs(attempt.fal_cost_usd - cost) > Decimal("0.00001"):
            yield f"attempt {attempt.pk} says {attempt.fal_cost_usd} $, fal took {cost} $"


def webhooks_are_believed_when_true(evidence: Evidence) -> Iterable[str]:
    """One that names another request may be kept while ours has no receipt yet; it must not have found anything."""
    for each in Delivery.objects.select_related("attempt"):
        job = evidence.jobs.get(each.request_id)
        owner = evidence.of_job(job) if job else None
        is_ours = owner is not None and each.attempt_id == owner.pk
        if not is_ours and "found" in each.outcome:
            yield f"delivery {each.pk} of request {each.request_id} was believed: {each.outcome}"
        if each.processed_at is None:
            yield f"delivery {each.pk} was never acted upon"


def canceled_was_wished(evidence: Evidence) -> Iterable[str]:
    for each in evidence.generations:
        if each.state == State.CANCELED and str(each.form_token) not in evidence.wishes:
            yield f"generation {each.pk} was cancelled and nobody asked for it"


RULES: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    one_generation_per_form,
    everything_is_settled,
    captured_is_clips_that_play,
    the_rest_is_released,
    nothing_is_held,
    books_balance,
    one_capture_per_success,
    one_post_per_attempt,
    requests_are_their_own,
    bill_is_explained,
    costs_are_written_beside,
    webhooks_are_believed_when_true,
    canceled_was_wished,
)


def findings(evidence: Evidence) -> dict[str, list[str]]:
    """Every rule by its name, with the first sentences about what breaks it."""
    return {rule.__name__: [str(each) for each in rule(evidence)][:MOST_SAID] for rule in RULES}
