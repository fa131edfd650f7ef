"""The book itself: what happened to every credit, written once.

An `Entry` is one immutable row per operation with its effect on each bucket of the wallet and the balance after it;
its `Draw` rows say which grants it took from or gave back to.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from accounts import clock
from accounts.models.money import APPEND_ONLY, Grant, Hold, Wallet


class Written(models.Model):
    """A row that is written once: the ORM refuses to change it, and so do triggers in the database."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            self._refuse()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValidationError(
            f"{self._meta.verbose_name} rows are written once; correct them with a new row."
        )


class Entry(Written):
    """One immutable row of the ledger: what happened, by whom, why, its effect and the balance after it."""

    class Kind(models.TextChoices):
        GRANT = "grant", "Grant"
        HOLD = "hold", "Hold"
        CAPTURE = "capture", "Capture"
        RELEASE = "release", "Release"
        REFUND = "refund", "Refund"
        ADJUSTMENT = "adjustment", "Adjustment"
        EXPIRY = "expiry", "Expiry"
        VOID = "void", "Void"
        # These move no credits: they keep who changed the rules, and when, in the same numbered book.
        EXTENSION = "extension", "Extension"
        RULE = "rule", "Rule"
        BUDGET = "budget", "Budget"
        FREEZE = "freeze", "Freeze"
        UNFREEZE = "unfreeze", "Unfreeze"

    # The indexes below begin with these columns; Django's own would be second copies on the busiest table.
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries", db_index=False)
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=12, choices=Kind)
    hold = models.ForeignKey(Hold, null=True, blank=True, on_delete=models.PROTECT, related_name="entries")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="entries",
        help_text="Whose work it was; empty for what concerns the whole team.",
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="+",
        help_text="Who did it; empty when the application did.",
    )
    reason = models.CharField(max_length=300)
    reference = models.CharField(max_length=120, blank=True)
    note = models.CharField(max_length=300, blank=True)
    idempotency_key = models.CharField(max_length=160, unique=True)
    parameters_sha256 = models.CharField(max_length=64)
    granted_delta = models.BigIntegerField(default=0)
    available_delta = models.BigIntegerField(default=0)
    held_delta = models.BigIntegerField(default=0)
    captured_delta = models.BigIntegerField(default=0)
    expired_delta = models.BigIntegerField(default=0)
    adjusted_out_delta = models.BigIntegerField(default=0)
    available_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    captured_after = models.BigIntegerField()
    created_at = models.DateTimeField(default=clock.now)
    sha256 = models.CharField(
        max_length=64,
        help_text="Over this row and the digest of the one before it: see accounts/ledger/chain.py.",
    )

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(fields=["wallet", "seq"], name="entry_seq_once"),
            # The second lock on "each hold is resolved exactly once"; the first is the hold's own state.
            models.UniqueConstraint(
                fields=["hold"], name="hold_resolved_once", condition=Q(kind__in=["capture", "release"])
            ),
            models.CheckConstraint(
                name="entry_balances",
                condition=Q(
                    granted_delta=F("available_delta")
                    + F("held_delta")
                    + F("captured_delta")
                    + F("expired_delta")
                    + F("adjusted_out_delta")
                ),
            ),
            models.CheckConstraint(
                name="entry_after_not_negative",
                condition=Q(seq__gt=0, available_after__gte=0, held_after__gte=0, captured_after__gte=0),
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="entry_all_by_time"),
            models.Index(fields=["wallet", "-created_at"], name="entry_by_time"),
            models.Index(fields=["user", "wallet", "-seq"], name="entry_by_user"),
            models.Index(fields=["actor"], name="entry_by_actor", condition=Q(actor__isnull=False)),
            models.Index(fields=["reference"], name="entry_by_reference"),
            # Few among many: what came in and what was taken out by hand, and changes of budgets.
            models.Index(
                fields=["wallet", "seq"],
                name="entry_in_or_out",
                condition=Q(granted_delta__gt=0) | Q(adjusted_out_delta__gt=0),
            ),
            models.Index(
                fields=["wallet", "user", "-seq"], name="entry_of_budgets", condition=Q(kind="budget")
            ),
        ]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"#{self.seq} {self.kind}"


class Draw(Written):
    """The part of one entry that concerns one grant: `amount` credits moved from one bucket of it to another."""

    class Bucket(models.TextChoices):
        OUTSIDE = "outside", "outside"
        REMAINING = "remaining", "remaining"
        HELD = "held", "held"
        CAPTURED = "captured", "captured"
        EXPIRED = "expired", "expired"
        ADJUSTED_OUT = "adjusted_out", "adjusted out"

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="draws")
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="draws")
    source = models.CharField(max_length=12, choices=Bucket)
    target = models.CharField(max_length=12, choices=Bucket)
    amount = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="draw_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="draw_moves", condition=~Q(source=F("target"))),
        ]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.amount} of grant {self.grant_id}: {self.source} to {self.target}"


class SignedHead(Written):
    """The heads of all chains at one moment, signed. Also mailed or written elsewhere: see accounts/ledger/heads.py."""

    content = models.TextField(
        help_text="JSON, byte for byte as it was signed: the moment, and a digest of each head."
    )
    heads = models.TextField(help_text="JSON: the heads themselves, salted, so that a digest tells nothing.")
    key = models.CharField(max_length=64, help_text="Ed25519 public key, hexadecimal.")
    signature = models.CharField(max_length=128)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"heads of {self.created_at:%Y-%m-%d %H:%M}"
