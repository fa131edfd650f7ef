"""Circuit breakers: which engines fail for everybody just now, and when to try one of them again."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from accounts import clock


class BreakerQuerySet(models.QuerySet["Breaker"]):
    def open(self) -> BreakerQuerySet:
        return self.filter(opened_at__isnull=False)


class Breaker(models.Model):
    """One engine's failures at fal since its last success. Open, nothing of that engine is sent but a probe.

    Failures are those of fal alone (its 5xx, its time-outs), never a picture or a prompt that it refuses.
    """

    engine = models.CharField(max_length=200, unique=True, help_text="fal endpoint id")
    failures = models.PositiveIntegerField(default=0, help_text="In a row, since the last success.")
    failing_since_at = models.DateTimeField(null=True, blank=True, help_text="The first of these failures.")
    reason = models.CharField(max_length=300, blank=True, help_text="The last failure, in fal's words.")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Empty while it is closed.")
    probe_at = models.DateTimeField(null=True, blank=True, help_text="When one submission is tried again.")
    probes = models.PositiveIntegerField(default=0, help_text="Probes sent since it opened.")
    changed_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[models.Manager[Breaker]] = BreakerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="breaker_open_has_probe",
                condition=models.Q(opened_at__isnull=True, probe_at__isnull=True)
                | models.Q(opened_at__isnull=False, probe_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.engine}: {'open' if self.is_open else 'closed'}"

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def is_probe_due(self, now: datetime) -> bool:
        return self.probe_at is not None and now >= self.probe_at
