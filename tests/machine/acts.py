"""What people can do: each act takes what was drawn for it, does it through the office and notes what was answered.

Drawn are plain numbers, whatever there is to choose from at that moment is chosen by them: the drawing never depends on
what the workers have done meanwhile.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts import alerts, clock, ledger
from accounts.ledger import heads
from accounts.models import Grant, Team, Wallet
from generations import asking, catalogue, lifecycle, prices, reconciliation
from generations.drill.plan import ENGINES, FAULTS
from generations.models import CreditRequest, Generation, PriceVersion
from generations.prices import drift
from generations.states import State
from tests.machine.office import Office
from tests.machine.paper import Draft

PERIODS = ("day", "week", "month", "rolling", "never")
# fal's own price, and what an admin may have made of it.
RATIOS = ("1", "1.25", "0.8")


Draw = random.Random
Act = Callable[[Office, Draw], None]


def order(office: Office, draw: Draw) -> None:
    member = draw.choice(office.town.members)
    engine = draw.choice(ENGINES)
    fault = draw.choice((*("",) * 15, *(each for each in FAULTS if not each.startswith("stuck"))))
    prompt = f"Act {next(office.numbers)}: rain on the quay" + (f" [[sandbox: {fault}]]" if fault else "")
    fields = [field.name for field in catalogue.get(engine).picture_inputs if field.required]
    pictures = {name: [office.town.pictures[member.user_id]] for name in fields}
    _generate(office, "order", Draft(member, engine, prompt, pictures))


def press_again(office: Office, draw: Draw) -> None:
    """Generate, on a form that was refused before or that somebody is just asked about."""
    if office.paper.drafts:
        _generate(office, "press again", draw.choice(office.paper.drafts))


def _generate(office: Office, name: str, draft: Draft) -> None:
    found = office.twice(
        name,
        lambda: (
            lifecycle.request(
                user=draft.member.user,
                team=draft.member.team,
                engine=draft.engine,
                params={"prompt": draft.prompt},
                pictures=draft.pictures,
                form_token=draft.form_token,
            ).pk
        ),
    )
    if found is None:
        office.paper.note(f"{name}, refused", drafts=draft)
    else:
        office.paper.note(name, ordered=draft.form_token, generations=found)


def cancel(office: Office, draw: Draw) -> None:
    if not office.paper.generations:
        return
    generation = Generation.objects.select_related("user").get(pk=draw.choice(office.paper.generations[-20:]))
    office.paper.note("cancel", wishes=generation.form_token)
    # Two presses: only one of them can be the one that stopped it.
    office.twice("cancel", lambda: lifecycle.cancel(generation, actor=generation.user) or None)


def ask(office: Office, draw: Draw) -> None:
    if not office.paper.drafts:
        return
    draft = draw.choice(office.paper.drafts[-10:])
    found = office.twice(
        "ask",
        lambda: (
            asking.ask(
                draft.member,
                engine=draft.engine,
                params={"prompt": draft.prompt},
                pictures=draft.pictures,
                form_token=draft.form_token,
                note="It is for the harbour film.",
                site_url="https://clips.example.com",
            ).pk
        ),
    )
    if found is not None:
        office.paper.note("ask", requests=found)


def approve(office: Office, draw: Draw) -> None:
    row = _request(office, draw)
    if row is None:
        return
    limit = asking.NewLimit(draw.choice(PERIODS), draw.randint(100, 900)) if draw.random() < 0.3 else None
    actor = office.town.admin_of(row.team)
    found = office.twice(
        "approve", lambda: asking.approve(row.pk, actor=actor, note="Go on.", new_limit=limit).pk
    )
    if found is not None:
        decided = {row.pk: "approved"}
        office.paper.note("approve", ordered=row.form_token, generations=found, decided=decided)


def decline(office: Office, draw: Draw) -> None:
    row = _request(office, draw)
    if row is not None:
        actor = office.town.admin_of(row.team)
        _end(office, row, "declined", lambda: asking.decline(row.pk, actor=actor, note="Not this month."))


def withdraw(office: Office, draw: Draw) -> None:
    row = _request(office, draw)
    if row is not None:
        _end(office, row, "withdrawn", lambda: asking.withdraw(row.pk, actor=row.user))


def _request(office: Office, draw: Draw) -> CreditRequest | None:
    if not office.paper.requests:
        return None
    rows = CreditRequest.objects.select_related("team", "user")
    return rows.get(pk=draw.choice(office.paper.requests[-6:]))


def _end(office: Office, row: CreditRequest, word: str, press: Callable[[], None]) -> None:
    def pressed() -> str:
        press()
        return word

    if office.twice(word, pressed):
        office.paper.note(word, decided={row.pk: word})


def buy(office: Office, draw: Draw) -> None:
    wallet, amount, key = _wallet(office, draw), draw.randint(20, 400), f"machine:{next(office.numbers)}"
    source, days = draw.choice([("purchase", 365), ("purchase", None), ("promotional", 7)])
    entry = office.twice(
        "buy",
        lambda: ledger.add_credits(
            wallet, amount=amount, source=source, days=days, reason="Invoice 7", actor=office.town.bursar,
            idempotency_key=key,
        ),
    )  # fmt: skip
    if entry is not None:
        office.paper.note("buy", came={wallet.pk: amount})


def buy_briefly(office: Office, draw: Draw) -> None:
    """Credits that expire while we look, held or not."""
    wallet, amount, key = _wallet(office, draw), draw.randint(20, 200), f"machine:{next(office.numbers)}"
    until = clock.now() + timedelta(seconds=draw.randint(2, 40))
    entry = office.twice(
        "buy briefly",
        lambda: ledger.grant(
            wallet, amount=amount, source="promotional", reason="Today only", idempotency_key=key,
            expires_at=until, actor=office.town.bursar,
        ),
    )  # fmt: skip
    if entry is not None:
        office.paper.note("buy briefly", came={wallet.pk: amount})


def correct(office: Office, draw: Draw) -> None:
    wallet, key = _wallet(office, draw), f"machine:{next(office.numbers)}"
    amount = draw.choice([-1, 1]) * draw.randint(1, 60)
    entry = office.twice(
        "correct",
        lambda: ledger.adjust(
            wallet, amount=amount, actor=office.town.bursar, reason="Count was off", idempotency_key=key
        ),
    )
    if entry is not None:
        change = {"came": {wallet.pk: amount}} if amount > 0 else {"corrected": {wallet.pk: -amount}}
        office.paper.note("correct", **change)


def void(office: Office, draw: Draw) -> None:
    grant, key = _grant(draw), f"machine:{next(office.numbers)}"
    options: dict[str, Any] = {"actor": office.town.bursar, "reason": "Chargeback", "idempotency_key": key}
    entry = office.twice("void", lambda: ledger.void_grant(grant, **options))
    if entry is not None:
        office.paper.note("void", voided={grant.wallet_id: -entry.available_delta})


def extend(office: Office, draw: Draw) -> None:
    grant, key = _grant(draw), f"machine:{next(office.numbers)}"
    until = clock.now() + timedelta(days=draw.randint(1, 900)) if draw.random() < 0.8 else None
    options: dict[str, Any] = {"actor": office.town.bursar, "reason": "Patience", "idempotency_key": key}
    if office.twice("extend", lambda: ledger.extend_grant(grant, expires_at=until, **options)):
        office.paper.note("extend")


def refund(office: Office, draw: Draw) -> None:
    if not office.paper.generations:
        return
    generation = Generation.objects.select_related("hold").get(pk=draw.choice(office.paper.generations))
    if generation.state != State.SUCCEEDED:
        return
    amount, key = draw.randint(1, generation.quote_credits), f"machine:{next(office.numbers)}"
    options: dict[str, Any] = {"actor": office.town.bursar, "reason": "Wrong hands", "idempotency_key": key}
    entry = office.twice("refund", lambda: ledger.refund(generation.hold, amount=amount, **options))
    if entry is not None:
        office.paper.note("refund", refunded={entry.wallet_id: amount})


def set_budget(office: Office, draw: Draw) -> None:
    member = draw.choice(office.town.members)
    options = _rule(office, member.team)
    limit, period, is_hard = draw.randint(0, 900), draw.choice(PERIODS), draw.random() < 0.7
    office.twice(
        "set budget",
        lambda: ledger.set_budget(
            member.team.wallet, user=member.user, limit_credits=limit, period=period, is_hard=is_hard, **options
        ).pk,
    )  # fmt: skip
    office.paper.note("set budget")


def remove_budget(office: Office, draw: Draw) -> None:
    member, period = draw.choice(office.town.members), draw.choice(PERIODS)
    options = _rule(office, member.team)
    press = lambda: ledger.remove_budget(member.team.wallet, user=member.user, period=period, **options)  # noqa: E731
    office.twice("remove budget", press)
    office.paper.note("remove budget")


def _rule(office: Office, team: Team) -> dict[str, Any]:
    return {"actor": office.town.admin_of(team), "reason": "Plan of the month"}


def hide_or_show(office: Office, draw: Draw) -> None:
    team, endpoint = draw.choice(office.town.members).team, draw.choice(ENGINES)
    is_allowed = draw.choice([False, None, None, True])
    wallet, options = team.wallet, _rule(office, team)
    role = draw.choice(["", "member"])
    office.twice(
        "hide or show",
        lambda: ledger.set_engine_rule(
            wallet, endpoint_id=endpoint, role=role, is_allowed=is_allowed, **options
        ),
    )
    office.paper.note("hide or show")


def freeze_for_a_moment(office: Office, draw: Draw) -> None:
    """Whoever orders meanwhile is refused; what is held goes on. Each turn twice, one after the other."""
    wallet, actor = _wallet(office, draw), office.town.bursar
    for turn in (ledger.freeze, ledger.freeze, ledger.unfreeze, ledger.unfreeze):
        turn(wallet, actor=actor, reason="Audit")
        time.sleep(draw.random() / 4)
    office.paper.note("freeze for a moment")


def change_price(office: Office, draw: Draw) -> None:
    """A new version: what the catalogue said at first, or somewhat dearer or cheaper than fal."""
    engine = draw.choice(ENGINES)
    versions = list(PriceVersion.objects.filter(engine=engine).order_by("valid_from", "pk"))
    ratio = Decimal(draw.choice(RATIOS))
    rule, actor = drift.scaled(versions[0].rule, ratio), office.town.bursar
    made = office.twice(
        "change price",
        lambda: prices.publish(engine, rule, actor=actor, reason="New plan", after=versions[-1].pk).pk,
    )
    if made is not None:
        office.paper.note("change price", ratios={made: ratio})


def look_for_alerts(office: Office, _draw: Draw) -> None:
    office.twice("look for alerts", lambda: alerts.look() >= 0)
    office.paper.note("look for alerts")


def reconcile(office: Office, _draw: Draw) -> None:
    office.twice("reconcile", lambda: reconciliation.reconcile() is not None)
    office.paper.note("reconcile")


def seal(office: Office, _draw: Draw) -> None:
    office.twice("seal", lambda: heads.seal() is not None)
    office.paper.note("seal")


def _wallet(office: Office, draw: Draw) -> Wallet:
    return draw.choice(office.town.teams).wallet


def _grant(draw: Draw) -> Grant:
    return draw.choice(list(Grant.objects.order_by("-pk")[:30]))


# How often each is drawn, in a hundred acts.
OFTEN: dict[Act, int] = {
    order: 30,
    press_again: 4,
    cancel: 5,
    ask: 8,
    approve: 6,
    decline: 2,
    withdraw: 1,
    buy: 12,
    buy_briefly: 4,
    correct: 3,
    void: 2,
    extend: 3,
    refund: 3,
    set_budget: 5,
    remove_budget: 3,
    hide_or_show: 2,
    freeze_for_a_moment: 2,
    change_price: 1,
    look_for_alerts: 2,
    reconcile: 1,
    seal: 1,
}
