"""The book: wallets, grants, holds, budgets and the entries that prove them. `accounts.ledger` is the only writer.

One row per wallet and per grant carries the materialised buckets, so that reading a balance costs the same with ten
entries or ten million. An `Entry` is one immutable row per operation with its effect on each bucket and the balance
after it; its `Draw` rows say which grants it took from or gave back to. CHECK constraints repeat, row by row, what
`check_ledger` proves over the whole book:

    granted = available + held + captured + expired + adjusted_out
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models.people import Team

NEVER = "never"

# pgtrigger copies nothing of these: one object may serve several tables.
KEPT = pgtrigger.Protect(name="kept", operation=pgtrigger.Delete)
APPEND_ONLY = pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)


class Period(models.TextChoices):
    """How long a budget lasts before it starts again; `never` is for ever."""

    DAY = "day", "day"
    WEEK = "week", "week"
    MONTH = "month", "month"
    NEVER = NEVER, "ever"


class Source(models.TextChoices):
    PURCHASE = "purchase", "Purchase"
    PROMOTIONAL = "promotional", "Promotional"
    ADJUSTMENT = "adjustment", "Adjustment"


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


class Wallet(models.Model):
    """One team's spendable total, in whole credits. `seq` numbers its entries without a gap."""

    class Status(models.TextChoices):
        ACTIVE = "active", "active"
        FROZEN = "frozen", "frozen"

    team = models.OneToOneField(Team, on_delete=models.PROTECT, related_name="wallet")
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    granted = models.BigIntegerField(default=0)
    available = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    adjusted_out = models.BigIntegerField(default=0)
    seq = models.BigIntegerField(default=0)
    next_expiry_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Never later than the first expiry among the open grants; settled then.",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="wallet_balances",
                condition=Q(
                    granted=F("available") + F("held") + F("captured") + F("expired") + F("adjusted_out")
                ),
            ),
            models.CheckConstraint(
                name="wallet_never_negative",
                condition=Q(
                    available__gte=0,
                    held__gte=0,
                    captured__gte=0,
                    expired__gte=0,
                    adjusted_out__gte=0,
                    seq__gte=0,
                ),
            ),
        ]
        triggers = [KEPT, pgtrigger.ReadOnly(name="unchanging", fields=["team", "created_at"])]

    def __str__(self) -> str:
        return f"wallet of {self.team_id}"


class Grant(models.Model):
    """A lot of credits that came in, burnt earliest expiry first. `expires_at` null means never.

    `expires_at` may move forward (the grace of a release, a refund into an expired lot); what it was when the
    credits came in stays in `original_expires_at`.
    """

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="grants")
    source = models.CharField(max_length=12, choices=Source)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    held = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    adjusted_out = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    original_expires_at = models.DateTimeField(null=True, blank=True)
    is_grace_used = models.BooleanField(
        default=False, help_text="A release after the expiry lengthens it once."
    )
    note = models.CharField(max_length=300, blank=True)
    reference = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    # A plain `remaining > 0` in the partial index would make every burn a non-HOT update; a generated column does not.
    is_open = models.GeneratedField(
        expression=Q(remaining__gt=0),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_balances",
                condition=Q(
                    amount=F("remaining") + F("held") + F("captured") + F("expired") + F("adjusted_out")
                ),
            ),
            models.CheckConstraint(
                name="grant_never_negative",
                condition=Q(
                    amount__gt=0,
                    remaining__gte=0,
                    held__gte=0,
                    captured__gte=0,
                    expired__gte=0,
                    adjusted_out__gte=0,
                ),
            ),
        ]
        indexes = [
            models.Index(
                F("wallet"),
                F("expires_at").asc(nulls_last=True),
                F("id"),
                name="grant_burn",
                condition=Q(is_open=True),
            ),
            models.Index(fields=["created_at"], name="grant_by_time"),
        ]
        triggers = [
            KEPT,
            pgtrigger.ReadOnly(
                name="unchanging",
                fields=[
                    "wallet",
                    "source",
                    "amount",
                    "original_expires_at",
                    "note",
                    "reference",
                    "created_at",
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"grant {self.pk}: {self.remaining} of {self.amount}"


class Budget(models.Model):
    """What one member may take from the wallet in one kind of period; several kinds may bind at once."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="budgets")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="budgets")
    period = models.CharField(max_length=10, choices=Period, default=Period.MONTH)
    limit_credits = models.BigIntegerField()
    is_hard = models.BooleanField(default=True, help_text="Hard budgets refuse; soft ones only warn.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["wallet", "user", "period"], name="budget_once_per_period"),
            models.CheckConstraint(name="budget_limit_not_negative", condition=Q(limit_credits__gte=0)),
        ]
        triggers = [
            KEPT,
            pgtrigger.ReadOnly(name="unchanging", fields=["wallet", "user", "period", "created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.limit_credits} credits per {self.period} for {self.user_id}"


class BudgetPeriod(models.Model):
    """One window of one budget with its counters. A reset is a new row, never an update to zero."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    held = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["budget", "starts_at"], name="budget_period_once"),
            models.CheckConstraint(
                name="budget_period_not_negative", condition=Q(held__gte=0, captured__gte=0)
            ),
            models.CheckConstraint(
                name="budget_period_forward",
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
            ),
        ]
        triggers = [KEPT, pgtrigger.ReadOnly(name="unchanging", fields=["budget", "starts_at", "ends_at"])]

    def __str__(self) -> str:
        return f"budget {self.budget_id} from {self.starts_at:%Y-%m-%d}"


class Hold(models.Model):
    """Credits set aside for one piece of work, resolved exactly once. `reference` names it ("generation:<id>")."""

    class State(models.TextChoices):
        HELD = "held", "held"
        CAPTURED = "captured", "captured"
        RELEASED = "released", "released"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="holds")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="holds")
    reference = models.CharField(max_length=120, unique=True)
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.HELD)
    created_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="hold_within_bounds",
                condition=Q(
                    amount__gt=0,
                    captured__gte=0,
                    refunded__gte=0,
                    captured__lte=F("amount"),
                    refunded__lte=F("captured"),
                ),
            ),
            models.CheckConstraint(
                name="hold_resolved_consistently",
                condition=Q(state="held", resolved_at__isnull=True, captured=0)
                | Q(state="captured", resolved_at__isnull=False, captured__gt=0)
                | Q(state="released", resolved_at__isnull=False, captured=0),
            ),
        ]
        indexes = [
            models.Index(fields=["wallet", "created_at"], name="hold_open", condition=Q(state="held")),
            models.Index(fields=["created_at"], name="hold_by_time"),
        ]
        triggers = [
            KEPT,
            pgtrigger.ReadOnly(
                name="unchanging", fields=["wallet", "user", "reference", "amount", "created_at"]
            ),
            pgtrigger.Protect(
                name="resolved_once",
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="held")
                & (
                    pgtrigger.Q(old__state__df=pgtrigger.F("new__state"))
                    | pgtrigger.Q(old__captured__df=pgtrigger.F("new__captured"))
                    | pgtrigger.Q(old__resolved_at__df=pgtrigger.F("new__resolved_at"))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.amount} for {self.reference}"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.HELD


class HoldBudget(models.Model):
    """Which budget windows a hold counts in: the windows of the moment it was made, however late it resolves."""

    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="budget_links")
    budget_period = models.ForeignKey(BudgetPeriod, on_delete=models.PROTECT, related_name="hold_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["hold", "budget_period"], name="hold_budget_once")]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.hold_id} in {self.budget_period_id}"


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
        # These three move no credits: they keep who changed the rules, and when, in the same numbered book.
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
    created_at = models.DateTimeField(default=timezone.now)

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
