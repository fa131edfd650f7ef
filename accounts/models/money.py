"""Wallets, grants, holds and budgets. `accounts.ledger` is the only writer; `entries.py` has the rows that prove them.

One row per wallet and per grant carries the materialised buckets, so that reading a balance costs the same with ten
entries or ten million. CHECK constraints repeat, row by row, what `check_ledger` proves over the whole book:

    granted = available + held + captured + expired + adjusted_out
"""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts import clock
from accounts.models.people import Team

NEVER = "never"

# pgtrigger copies nothing of these: one object may serve several tables.
KEPT = pgtrigger.Protect(name="kept", operation=pgtrigger.Delete)
APPEND_ONLY = pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)


class Period(models.TextChoices):
    """How long a budget lasts before it starts again; `never` is for ever.

    `month` is that of the calendar; `rolling` runs from the day of the month the budget was first set, 17th to 17th.
    """

    DAY = "day", "day"
    WEEK = "week", "week"
    MONTH = "month", "month"
    ROLLING = "rolling", "rolling month"
    NEVER = NEVER, "ever"

    @property
    def per(self) -> str:
        """ "per week", "in all": behind an amount."""
        return "in all" if self == Period.NEVER else f"per {self.label}"


class Source(models.TextChoices):
    PURCHASE = "purchase", "Purchase"
    PROMOTIONAL = "promotional", "Promotional"
    ADJUSTMENT = "adjustment", "Adjustment"


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
    budgets_made = models.BigIntegerField(
        default=0,
        help_text="Grows whenever a budget begins to bind: work that was counted before counts again.",
    )
    next_expiry_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Never later than the first expiry among the open grants; settled then.",
    )
    created_at = models.DateTimeField(default=clock.now)

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
        return f"wallet of {self.team}"


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
    voided_at = models.DateTimeField(
        null=True, blank=True, help_text="From then on nothing stays in it: what comes back goes out."
    )
    created_at = models.DateTimeField(default=clock.now)
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
            models.CheckConstraint(
                name="grant_voided_is_empty", condition=Q(voided_at__isnull=True) | Q(remaining=0)
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
    created_at = models.DateTimeField(default=clock.now)

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

    @property
    def per(self) -> str:
        return Period(self.period).per


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
        indexes = [models.Index(fields=["starts_at"], name="budget_period_by_time")]
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
    created_at = models.DateTimeField(default=clock.now)
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
