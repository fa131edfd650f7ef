"""The daily roll-up of the book that reports read: derived, and made anew from entries and attempts at any time.

`generations.spend` is its only writer. It stays right without a clock: each wallet's cursor says up to which entry it
was rolled up, and reports add the entries behind it as they stand.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import Wallet
from generations.models.traffic import Attempt


class SpendCursor(models.Model):
    """How far one wallet's book is rolled up, and by which calendar."""

    wallet = models.OneToOneField(
        Wallet, primary_key=True, on_delete=models.CASCADE, related_name="spend_cursor"
    )
    rolled_seq = models.BigIntegerField(default=0, help_text="The last entry that is in the daily rows.")
    time_zone = models.CharField(max_length=64, help_text="The team's zone when its days were cut.")

    def __str__(self) -> str:
        return f"wallet {self.wallet_id} up to #{self.rolled_seq}"


class DailySpend(models.Model):
    """One day of one member with one engine, tag and outcome: sums of entries, in credits, and what fal took.

    `member_id` 0 is the team itself (grants, corrections, expiry); `engine` and `outcome` are empty where an entry
    belongs to no settled work. The deltas are those of the wallet: all its rows sum up to its counters.
    """

    # What is added up; the key is everything else.
    SUMS: ClassVar[tuple[str, ...]] = (
        "settled",
        "succeeded",
        "failed",
        "spent",
        "refunded",
        "seconds",
        "fal_cost_usd",
        "granted_delta",
        "available_delta",
        "held_delta",
        "captured_delta",
        "expired_delta",
        "adjusted_out_delta",
    )

    wallet = models.ForeignKey(Wallet, on_delete=models.CASCADE, related_name="daily_spend", db_index=False)
    day = models.DateField(help_text="In the zone of the cursor.")
    member_id = models.BigIntegerField(help_text="Of the user; 0 for the team itself.")
    engine = models.CharField(max_length=200, blank=True)
    tag = models.CharField(max_length=60, blank=True)
    outcome = models.CharField(max_length=10, blank=True)
    settled = models.BigIntegerField(default=0, help_text="Generations that ended.")
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0, help_text="Captured, in credits, before refunds.")
    refunded = models.BigIntegerField(default=0, help_text="Credits.")
    seconds = models.FloatField(default=0, help_text="Of stored clips, without those refunded whole.")
    fal_cost_usd = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    granted_delta = models.BigIntegerField(default=0)
    available_delta = models.BigIntegerField(default=0)
    held_delta = models.BigIntegerField(default=0)
    captured_delta = models.BigIntegerField(default=0)
    expired_delta = models.BigIntegerField(default=0)
    adjusted_out_delta = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "daily spend"
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "day", "member_id", "engine", "tag", "outcome"], name="daily_spend_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.captured_delta} credits"


class CostNote(models.Model):
    """What fal's price of one attempt changed by, not yet in the daily rows. A trigger writes it.

    Costs come hours after the work, from several places, and may be corrected: entries do not tell of them.
    """

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="cost_notes", db_index=False)
    delta_usd = models.DecimalField(max_digits=14, decimal_places=6)

    def __str__(self) -> str:
        return f"{self.delta_usd} for attempt {self.attempt_id}"
