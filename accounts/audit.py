"""The audit log: every action of a person on rules, people, prices and books, in the transaction of the action itself.

`record` is called where the change is written, so that no page, correction or command can pass it by: the ledger's own
`book.write` calls `of_entry` for every entry that a person caused. Where the change came from (address, browser,
request id, who is signed in) is known from the request, which the middleware binds for its length.

Prompts, passwords and tokens never stand in it: a field with such a name is kept as the word "changed".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from allauth.account.adapter import get_adapter
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import models
from django.http import HttpRequest

from accounts.models import AuditRecord, Entry, Team, User

Values = Mapping[str, Any]
SECRET = re.compile(r"password|token|secret|prompt|session|_key\b", re.IGNORECASE)
LONGEST_VALUE_CHARS = 500

# What of the book is an action on its rules; holds, captures and cancellations are work, and have their own entries.
OF_ENTRIES = {
    Entry.Kind.GRANT: "grant.added",
    Entry.Kind.ADJUSTMENT: "wallet.adjusted",
    Entry.Kind.VOID: "grant.voided",
    Entry.Kind.EXTENSION: "grant.extended",
    Entry.Kind.REFUND: "hold.refunded",
    Entry.Kind.BUDGET: "budget.changed",
    Entry.Kind.RULE: "team.rule_changed",
    Entry.Kind.FREEZE: "wallet.frozen",
    Entry.Kind.UNFREEZE: "wallet.unfrozen",
}


@dataclass(frozen=True)
class Origin:
    """The request that is being answered."""

    request: HttpRequest
    request_id: str


_origin: ContextVar[Origin | None] = ContextVar("clipledger_audit_origin", default=None)


@contextmanager
def bound(request: HttpRequest, request_id: str) -> Iterator[None]:
    """What is recorded inside comes from this request."""
    token = _origin.set(Origin(request, request_id))
    try:
        yield
    finally:
        _origin.reset(token)


def record(
    action: str,
    *,
    subject: models.Model | None = None,
    team: Team | int | None = None,
    actor: User | None = None,
    before: Values | None = None,
    after: Values | None = None,
    reason: str = "",
    entry: Entry | None = None,
    request: HttpRequest | None = None,
) -> AuditRecord:
    """Write one row; of `before` and `after` only what differs is kept.

    Without an `actor` it is whoever is signed in. Call it in the transaction of the change.
    """
    origin = _origin.get()
    asked = request or (origin.request if origin else None)
    was, is_now = differing(before or {}, after or {})
    address, user_agent = _where(asked)
    return AuditRecord.objects.create(
        action=action,
        actor_id=actor.pk if actor else _signed_in(asked),
        team_id=team.pk if isinstance(team, Team) else team,
        subject_type=subject._meta.label_lower if subject else "",
        subject_id=str(subject.pk) if subject else "",
        subject=_clean(subject)[:200] if subject else "",
        entry=entry,
        reason=reason[:300],
        before=was,
        after=is_now,
        address=address,
        user_agent=user_agent[:300],
        request_id=origin.request_id if origin else "",
    )


def of_entry(entry: Entry, change: tuple[Values, Values] | None = None) -> None:
    """Record an entry of the book if a person caused it; `change` says what moved, unless credits did."""
    action = OF_ENTRIES.get(Entry.Kind(entry.kind))
    if action is None or (entry.actor_id is None and entry.kind != Entry.Kind.GRANT):
        return
    before, after = change or _moved(entry)
    record(
        action,
        subject=_subject(entry),
        team=entry.wallet.team_id,
        actor=entry.actor,
        before=before,
        after={**after, **({"note": entry.note} if entry.note else {})},
        reason=entry.reason,
        entry=entry,
    )


def differing(before: Values, after: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as JSON, without what is the same in both."""
    was = {name: _json(name, value) for name, value in before.items()}
    is_now = {name: _json(name, value) for name, value in after.items()}
    changed = {name for name in was.keys() | is_now.keys() if before.get(name) != after.get(name)}
    return (
        {name: value for name, value in was.items() if name in changed},
        {name: value for name, value in is_now.items() if name in changed},
    )


def _moved(entry: Entry) -> tuple[dict[str, int], dict[str, int]]:
    names = [name for name in ("available", "captured") if getattr(entry, f"{name}_delta")]
    after = {name: getattr(entry, f"{name}_after") for name in names}
    return {name: after[name] - getattr(entry, f"{name}_delta") for name in names}, after


def _subject(entry: Entry) -> models.Model:
    if entry.kind == Entry.Kind.BUDGET and entry.user:
        return entry.user
    if entry.kind == Entry.Kind.REFUND and entry.hold:
        return entry.hold
    return entry.wallet.team if entry.kind == Entry.Kind.RULE else entry.wallet


def _signed_in(request: HttpRequest | None) -> int | None:
    user = getattr(request, "user", None)
    return user.pk if user is not None and user.is_authenticated else None


def _where(request: HttpRequest | None) -> tuple[str | None, str]:
    """The address as the rules on proxies in the settings have it, and what the browser calls itself."""
    if request is None:
        return None, ""
    try:
        address = get_adapter().get_client_ip(request)
    except (PermissionDenied, ImproperlyConfigured):
        address = None  # behind a proxy that does not say: the action is recorded all the same
    return address or None, _clean(request.META.get("HTTP_USER_AGENT", ""))


def _json(name: str, value: Any) -> Any:
    if SECRET.search(name):
        return "changed"
    match value:
        case None | bool() | int() | float():
            return value
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case models.Model():
            return value.pk
        case Mapping():
            return {str(key): _json(str(key), each) for key, each in value.items()}
        case list() | tuple() | set():
            return [_json(name, each) for each in value]
    return _clean(value)[:LONGEST_VALUE_CHARS]


def _clean(value: object) -> str:
    """PostgreSQL knows no NUL."""
    return str(value).replace("\0", "")


def as_text(values: Values) -> str:
    """For a cell of a file."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False) if values else ""
