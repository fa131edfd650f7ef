"""Receipts: what was asked for, what it was quoted, what moved in the book and what fal took, signed as one document.

A receipt is JSON: `{"receipt": ..., "key": ..., "signature": ...}`. What is signed, with Ed25519, is the text of
`receipt` with sorted keys and no spaces (`heads.compact`), in UTF-8. It carries the entries whole, each with the digest
of the one before it, so that `verify.py` of any bundle proves them without us, and against a bundle of the same days.
Amounts of dollars and lengths are text: a float would have no one way to be written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from django.db.models import Prefetch

from accounts import clock
from accounts.ledger import chain, heads
from accounts.ledger.check import snapshot
from accounts.models import Entry
from generations import catalogue
from generations.models import Attempt, Delivery, Generation, Output

DOCUMENT = "clipledger receipt"


class NotSettled(Exception):
    """What still runs has no receipt yet."""


def signed(generation: Generation) -> dict[str, Any]:
    """The receipt of a settled generation as it stands now, with our key and signature. Raises `NotSettled`."""
    if not generation.is_settled:
        raise NotSettled
    with snapshot():
        content = _content(generation)
    signer = heads.Signer.ours()
    return {"receipt": content, "key": signer.public_hex, "signature": signer.sign(heads.compact(content))}


def problems(document: object) -> list[str]:
    """What is wrong with a receipt that somebody shows us, held against our key and our book; empty if nothing is."""
    try:
        content, signature = document["receipt"], document["signature"]  # type: ignore[index]
        entries = [(each["entry"], each["sha256"]) for each in content["entries"]]
        heads.Signer.ours().key.public_key().verify(bytes.fromhex(signature), heads.compact(content).encode())
    except (KeyError, TypeError, ValueError):
        return ["This is no receipt of ours."]
    except InvalidSignature:
        return ["It is not signed with our key, or was changed since."]
    if content.get("document") != DOCUMENT:
        return ["This is no receipt of ours."]
    wrong = [row["seq"] for row, digest in entries if not _is_in_book(row, digest)]
    found = [f"Entry #{seq} is not in the book as the receipt has it." for seq in wrong]
    output = Output.objects.filter(generation=content["generation"]).first()
    if content["output"] and (output is None or output.sha256 != content["output"]["sha256"]):
        found.append("The clip that is stored is not the one the receipt names.")
    return found


def _is_in_book(row: Mapping[str, Any], digest: str) -> bool:
    return Entry.objects.filter(wallet=row["wallet"], seq=row["seq"], sha256=digest).exists()


def _content(generation: Generation) -> dict[str, Any]:
    output: Output | None = getattr(generation, "output", None)
    hold = generation.hold
    return {
        "document": DOCUMENT,
        "version": 1,
        "issued_at": chain.moment(clock.now()),
        "generation": str(generation.pk),
        "team": generation.team.name,
        "member": {"id": generation.user_id, "name": str(generation.user)},
        "engine": generation.engine,
        "prompt": generation.prompt,
        "tag": generation.tag,
        "state": str(generation.state),
        "is_simulated": generation.is_simulated,
        "asked_at": chain.moment(generation.created_at),
        "settled_at": _moment(generation.settled_at),
        "inputs": generation.inputs,
        "pictures": [
            {"field": link.field, "sha256": link.picture.sha256}
            for link in generation.picture_links.select_related("picture").order_by("field", "position")
        ],
        "price": _price(generation),
        "credits": {
            "quote": generation.quote_credits,
            "held": hold.amount,
            "captured": hold.captured,
            "refunded": hold.refunded,
        },
        "attempts": [_attempt(each) for each in _attempts(generation)],
        "output": _output(output) if output else None,
        "entries": list(_entries(generation)),
    }


def _price(generation: Generation) -> dict[str, Any]:
    version = generation.price_version
    names = catalogue.rule_params(version.rule)
    engine = generation.catalogue_entry
    facts = catalogue.quote_params(engine, generation.inputs) if engine else generation.inputs
    try:
        usd = f"{catalogue.price_usd(version.rule, facts).normalize():f}"
    except catalogue.PriceError:
        usd = ""
    return {
        "version": version.pk,
        "valid_from": chain.moment(version.valid_from),
        "reason": version.reason,
        "rule": version.rule,
        "depends_on": {name: facts[name] for name in sorted(names) if name in facts},
        "usd": usd,
    }


def _attempts(generation: Generation) -> list[Attempt]:
    deliveries = Prefetch("deliveries", queryset=Delivery.objects.order_by("pk"))
    return list(generation.attempts.order_by("number").prefetch_related(deliveries))


def _attempt(attempt: Attempt) -> dict[str, Any]:
    units, cost = attempt.billable_units, attempt.fal_cost_usd
    return {
        "number": attempt.number,
        "request_id": attempt.request_id,
        "state": str(attempt.state),
        "http_status": attempt.http_status,
        "sent_at": chain.moment(attempt.sent_at),
        "ended_at": _moment(attempt.ended_at),
        "billable_units": None if units is None else f"{units.normalize():f}",
        "fal_took_usd": None if cost is None else f"{cost.normalize():f}",
        "webhooks": [
            {
                "received_at": chain.moment(each.received_at),
                "signed_at": chain.moment(each.signed_at),
                "body_sha256": each.body_sha256,
            }
            for each in attempt.deliveries.all()
        ],
    }


def _output(output: Output) -> dict[str, Any]:
    return {
        "sha256": output.sha256,
        "size_bytes": output.size_bytes,
        "content_type": output.content_type,
        "width": output.width,
        "height": output.height,
        "duration_seconds": str(output.duration_seconds),
        "stored_at": chain.moment(output.created_at),
    }


def _entries(generation: Generation) -> Iterator[dict[str, Any]]:
    """Every entry of its hold, as it was hashed, with the digest it was hashed over."""
    rows = Entry.objects.filter(hold=generation.hold_id).order_by("seq").prefetch_related("draws")
    for row in rows:
        before = Entry.objects.filter(wallet=row.wallet_id, seq=row.seq - 1).values_list("sha256", flat=True)
        draws = sorted(row.draws.all(), key=lambda draw: draw.pk)
        parts = [(draw.grant_id, draw.source, draw.target, draw.amount) for draw in draws]
        yield {
            "entry": json.loads(chain.canonical(row, parts)),
            "previous_sha256": before.first() or chain.GENESIS,
            "sha256": row.sha256,
        }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else chain.moment(at)
