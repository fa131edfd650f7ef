"""fal's bills as they were read, and what each of them is by our books. `generations.reconciliation` writes both.

What was read is kept for ever, row by row; what it means is derived from it and made anew at any time.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts import clock
from accounts.models.entries import Written
from accounts.models.money import APPEND_ONLY
from generations.models.traffic import Attempt


class Bill(Written):
    """One billing event of fal's as it first read. A corrected one is another row, and the last one counts."""

    request_id = models.CharField(max_length=120)
    endpoint_id = models.CharField(max_length=200)
    billed_at = models.DateTimeField(help_text="By fal's clock.")
    output_units = models.DecimalField(max_digits=20, decimal_places=9, null=True, blank=True)
    unit_price_usd = models.DecimalField(max_digits=20, decimal_places=9, null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=20, decimal_places=9, help_text="After fal's discount.")
    seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [models.Index(fields=["request_id", "billed_at", "id"], name="bill_by_request")]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.cost_usd} for {self.request_id}"


class BillMatch(models.Model):
    """What one request is, by fal's books and ours together. Derived: `generations.reconciliation.classes`."""

    class Kind(models.TextChoices):
        EXACT = "exact", "exact"
        PRICE_DRIFT = "price_drift", "price drift"
        BILLED_FAILED = "billed_failed", "billed but failed"
        NOT_BILLED = "not_billed", "captured but not billed"
        UNKNOWN = "unknown", "billed with no generation of ours"
        # No verdict yet: the work goes on, or the bill may still come.
        OPEN = "open", "too early to say"

    # Kinds that a later run may find to be another, with no new bill.
    UNDECIDED: ClassVar[tuple[str, ...]] = (Kind.BILLED_FAILED, Kind.NOT_BILLED, Kind.UNKNOWN, Kind.OPEN)

    request_id = models.CharField(max_length=120, unique=True)
    attempt = models.OneToOneField(
        Attempt, null=True, blank=True, on_delete=models.PROTECT, related_name="bill_match"
    )
    endpoint_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=14, choices=Kind)
    fal_usd = models.DecimalField(
        max_digits=20, decimal_places=9, null=True, blank=True, help_text="Billed; empty where nothing was."
    )
    our_usd = models.DecimalField(
        max_digits=20, decimal_places=9, default=0, help_text="What our books have it cost fal's customer."
    )
    unexplained_usd = models.DecimalField(
        max_digits=20, decimal_places=9, default=0, help_text="Negative where fal took less than we expected."
    )
    happened_at = models.DateTimeField(help_text="Billed, or ended where it was not billed.")
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text="When fal was last asked for the bill of this request by its id."
    )
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural = "bill matches"
        indexes = [
            models.Index(fields=["-happened_at", "-id"], name="bill_match_by_time"),
            models.Index(fields=["kind", "-happened_at", "-id"], name="bill_match_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.get_kind_display()}"


class BillCursor(models.Model):
    """How far fal's bills were read without a gap. One row, `pk` 1, which each written page locks."""

    read_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(
        null=True, blank=True, help_text="End of the last run that came through."
    )
    error = models.CharField(
        max_length=300, blank=True, help_text="Why the last run broke off; empty if it did not."
    )
    tried_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"fal's bills up to {self.read_until}"
