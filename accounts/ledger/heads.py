"""Signed heads: what the chains came to on a day, signed, kept, and sent out of the house.

An administrator of the database can rewrite a chain from any entry on, digests and all. They cannot rewrite the heads
that were mailed or written elsewhere before; and without the signing key they cannot make new ones that fit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection

from accounts import clock
from accounts.ledger import chain
from accounts.models import SignedHead, Wallet

log = logging.getLogger(__name__)


class Mismatch(NamedTuple):
    """An entry that is not the one a signed head names, or a head that is not signed as it says."""

    head_id: int
    subject: str
    stored: str
    proven: str


@dataclass(frozen=True)
class Signer:
    """The key that signs heads: LEDGER_SIGNING_KEY, or one that follows from SECRET_KEY."""

    key: Ed25519PrivateKey

    @classmethod
    def ours(cls) -> Signer:
        seed = settings.LEDGER_SIGNING_KEY or HKDF(
            algorithm=SHA256(), length=32, salt=None, info=b"clipledger ledger heads"
        ).derive(settings.SECRET_KEY.encode())
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public_hex(self) -> str:
        return self.key.public_key().public_bytes_raw().hex()

    def sign(self, text: str) -> str:
        return self.key.sign(text.encode()).hex()


def seal(*, now: datetime | None = None) -> SignedHead | None:
    """Sign the heads of all chains, keep them, and send them out of the house. None while there is no entry.

    Writing and mailing may fail; the signed row is kept all the same, and the failure is logged.
    """
    now = now or clock.now()
    found = list(_heads())
    if not found:
        return None
    signer = Signer.ours()
    content = {"at": chain.moment(now), "heads": [leaf(head) for head in found], "version": 1}
    text = compact(content)
    made = SignedHead.objects.create(
        content=text,
        heads=compact(found),
        key=signer.public_hex,
        signature=signer.sign(text),
        created_at=now,
    )
    for send in (_write_file, _mail):
        try:
            send(made)
        except OSError:
            log.exception("the signed heads of %s could not leave the house", content["at"])
    return made


def leaf(head: dict[str, Any]) -> str:
    """What is signed of one head. The salt in it keeps whoever sees the digest from guessing another team's."""
    return hashlib.sha256(compact(head).encode()).hexdigest()


def compact(content: Any) -> str:
    """The bytes that are signed, as text: JSON with sorted keys and no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _heads() -> Iterator[dict[str, Any]]:
    wallets = dict(Wallet.objects.values_list("pk", "team__slug"))
    for head in chain.heads():
        yield {
            "salt": secrets.token_hex(16),
            "seq": head.seq,
            "sha256": head.sha256,
            "team": wallets[head.wallet_id],
            "wallet": head.wallet_id,
        }


def statement(head: SignedHead, *, wallet_id: int | None = None) -> str:
    """One line of JSON that a verifier needs nothing else for; of one wallet, it names no other."""
    shown = [each for each in json.loads(head.heads) if wallet_id in {each["wallet"], None}]
    content = {"content": json.loads(head.content), "heads": shown, "key": head.key}
    return compact({**content, "signature": head.signature})


def _write_file(head: SignedHead) -> None:
    """Append to a file a month, so that what is copied elsewhere every night are few and growing files."""
    if not settings.LEDGER_HEADS_DIRECTORY:
        return
    directory = Path(settings.LEDGER_HEADS_DIRECTORY)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"heads-{head.created_at:%Y-%m}.jsonl").open("a", encoding="utf-8") as file:
        file.write(statement(head) + "\n")


def _mail(head: SignedHead) -> None:
    if not settings.LEDGER_HEADS_MAIL:
        return
    EmailMessage(
        subject=f"Signed ledger heads of {head.created_at:%Y-%m-%d}",
        body=(
            "Keep this message: it shows, whatever happens to the database, what the books said on this day.\n"
            f"Public key: {head.key}\n\n{statement(head)}\n"
        ),
        to=settings.LEDGER_HEADS_MAIL,
    ).send()


_HEADS_AND_ENTRIES = """
SELECT s.id, h.wallet, h.seq, coalesce(e.sha256, 'missing'), h.sha256
FROM accounts_signedhead s
CROSS JOIN LATERAL jsonb_to_recordset(s.heads::jsonb)
    AS h (wallet bigint, seq bigint, sha256 text)
LEFT JOIN accounts_entry e ON e.wallet_id = h.wallet AND e.seq = h.seq
WHERE e.sha256 IS DISTINCT FROM h.sha256 AND (%(wallet)s::bigint IS NULL OR h.wallet = %(wallet)s)
ORDER BY s.id, h.wallet
"""


def mismatches(*, wallet_id: int | None = None) -> Iterator[Mismatch]:
    """Entries that are not what was signed, and heads that are not what was signed, or not by the key they name."""
    with connection.cursor() as cursor:
        cursor.execute(_HEADS_AND_ENTRIES, {"wallet": wallet_id})
        for head_id, wallet, seq, stored, signed in cursor.fetchall():
            yield Mismatch(
                head_id, f"entry #{seq} of wallet {wallet}, signed as head {head_id}", stored, signed
            )
    for head in SignedHead.objects.order_by("pk").iterator():
        if not is_signed(head):
            yield Mismatch(head.pk, f"signed head {head.pk}", "not signed with its key", "signed")


def is_signed(head: SignedHead) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        key.verify(bytes.fromhex(head.signature), head.content.encode())
        signed = json.loads(head.content)["heads"]
        return bool(signed == [leaf(each) for each in json.loads(head.heads)])
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
