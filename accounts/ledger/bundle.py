"""A bundle that proves a stretch of one wallet's book away from here: a zip, with the program that checks it inside.

about.json      which team and period, the entry before the first, the last, and the digest of every other file
about.sig       its signature: nothing can be left out of a bundle, or put into it, by somebody without the key
entries.jsonl   the entries with their draws, as they were hashed, each with its digest
heads.jsonl     the signed heads that name one of these entries
grants.jsonl    the grants that these entries drew on
*.jsonl         what the caller adds (the price versions)
verify.py       `python3 verify.py bundle.zip [public key]`; README.txt says so
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.db.models import Max, Min

from accounts.errors import LedgerError
from accounts.ledger import chain, check, heads
from accounts.models import Entry, Grant, SignedHead, Wallet

VERIFIER = Path(__file__).parent / "verifier.py"
README = """The book of {team} from {start} to {end}, as its entries prove it.

    python3 verify.py THIS.zip PUBLIC-KEY [HEADS ...]

needs nothing but Python 3.10. It hashes every entry again over the one before it, adds up every balance, and holds what
was signed against what is there. Take verify.py from a bundle you trust, the public key from where you were given it,
and as HEADS the files with the signed heads that were mailed to you: whoever has the signing key can make a new bundle,
and cannot change what you have.
"""


class NothingToProve(LedgerError):
    """The wallet has no entry in the period."""


@dataclass(frozen=True)
class Stretch:
    """The entries of a period: its first and last number, in one wallet."""

    wallet: Wallet
    start: datetime
    end: datetime
    first_seq: int = field(init=False)
    last_seq: int = field(init=False)

    def __post_init__(self) -> None:
        rows = Entry.objects.filter(wallet=self.wallet, created_at__gte=self.start, created_at__lt=self.end)
        found = rows.aggregate(first=Min("seq"), last=Max("seq"))
        if found["first"] is None:
            raise NothingToProve("The wallet has no entry in this period.")
        object.__setattr__(self, "first_seq", found["first"])
        object.__setattr__(self, "last_seq", found["last"])

    def before(self) -> dict[str, Any]:
        """The entry that the chain goes on from; number 0 where this is the beginning."""
        entry = Entry.objects.filter(wallet=self.wallet, seq=self.first_seq - 1).first()
        if entry is None:
            return {"seq": 0, "sha256": chain.GENESIS, "after": [0, 0, 0]}
        after = [getattr(entry, f"{name}_after") for name in chain.AFTERS]
        return {"seq": entry.seq, "sha256": entry.sha256, "after": after}


def write(
    out: BinaryIO,
    wallet: Wallet,
    *,
    start: datetime,
    end: datetime,
    extra: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Write the bundle of a wallet for [start, end) and answer with its `about.json`. Raises `NothingToProve`.

    `extra` are more files by name, each a row a line. Memory does not grow with the period.
    """
    with check.snapshot(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        stretch = Stretch(wallet, start, end)
        files = {
            "entries.jsonl": _entries(stretch),
            "heads.jsonl": _heads(stretch),
            "grants.jsonl": _grants(stretch),
            **{name: map(_line, rows) for name, rows in (extra or {}).items()},
        }
        digests = {name: _write_lines(bundle, name, lines) for name, lines in files.items()}
        about = {
            "team": wallet.team.slug,
            "wallet": wallet.pk,
            "from": chain.moment(start),
            "to": chain.moment(end),
            "before": stretch.before(),
            "last_seq": stretch.last_seq,
            "public_key": heads.Signer.ours().public_hex,
            "files": digests,
        }
        text = heads.compact(about)
        bundle.writestr("about.json", text)
        bundle.writestr("about.sig", heads.Signer.ours().sign(text))
        bundle.writestr("verify.py", VERIFIER.read_text())
        bundle.writestr(
            "README.txt", README.format(team=wallet.team.name, start=about["from"], end=about["to"])
        )
    return about


def _write_lines(bundle: zipfile.ZipFile, name: str, lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    with bundle.open(name, "w") as file:
        for line in lines:
            data = line.encode() + b"\n"
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _entries(stretch: Stretch) -> Iterator[str]:
    walk = chain.walked(stretch.wallet.pk, first_seq=stretch.first_seq, last_seq=stretch.last_seq)
    for row, draws in walk:
        yield heads.compact({**json.loads(chain.text_of(row, draws)), "sha256": row["sha256"]})


def _heads(stretch: Stretch) -> Iterator[str]:
    """Heads may be signed after the period's end and still name its last entry."""
    for head in SignedHead.objects.filter(created_at__gte=stretch.start).order_by("pk").iterator():
        named = [each for each in json.loads(head.heads) if each["wallet"] == stretch.wallet.pk]
        if any(stretch.first_seq <= each["seq"] <= stretch.last_seq for each in named):
            yield heads.statement(head, wallet_id=stretch.wallet.pk)


def _grants(stretch: Stretch) -> Iterator[str]:
    """As they are now: what was left of them at any moment follows from the draws."""
    entries = Entry.objects.filter(
        wallet=stretch.wallet, seq__gte=stretch.first_seq, seq__lte=stretch.last_seq
    )
    rows = Grant.objects.filter(draws__entry__in=entries).distinct().order_by("pk")
    names = ("id", "source", "amount", "remaining", "held", "captured", "expired", "adjusted_out")
    more = ("original_expires_at", "expires_at", "note", "reference", "created_at")
    for row in rows.values(*names, *more).iterator():
        yield _line(row)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    return chain.moment(value) if isinstance(value, datetime) else str(value)
