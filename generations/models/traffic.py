"""What went over the wire: attempts to have fal do a generation, fal's logs, and the webhook calls it made."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import ClassVar

import pgtrigger
from django.db import models

from accounts import clock
from generations.models.generation import Generation
from generations.states import OPEN_ATTEMPTS, AttemptState


def new_token() -> str:
    return secrets.token_urlsafe(24)


# Whoever writes or corrects a cost, the daily roll-up hears of it in the same transaction.
NOTE_COST = """
INSERT INTO generations_costnote (attempt_id, delta_usd)
VALUES (NEW.id, coalesce(NEW.fal_cost_usd, 0) - CASE TG_OP WHEN 'UPDATE' THEN coalesce(OLD.fal_cost_usd, 0) ELSE 0 END);
RETURN NULL;
"""


class AttemptQuerySet(models.QuerySet["Attempt"]):
    def open(self) -> AttemptQuerySet:
        return self.filter(state__in=OPEN_ATTEMPTS)

    def lost(self) -> AttemptQuerySet:
        return self.filter(state=AttemptState.LOST)


class Attempt(models.Model):
    """One submission of a generation to fal. The row is committed before the POST and never posted twice.

    `token` is in the webhook address we give fal, so a webhook can find the attempt even when fal's answer was lost.
    """

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    state = models.CharField(
        max_length=10, choices=[(s.value, s.value) for s in AttemptState], default=AttemptState.SENDING
    )
    token = models.CharField(max_length=64, unique=True, default=new_token)
    sent_inputs = models.JSONField(
        default=dict, help_text="The body as posted: fal's history is compared with it."
    )
    is_counted = models.BooleanField(
        default=True, help_text="Whether it uses up one of the attempts; what never reached fal does not."
    )
    request_id = models.CharField(max_length=120, blank=True)
    status_url = models.URLField(max_length=500, blank=True)
    response_url = models.URLField(max_length=500, blank=True)
    cancel_url = models.URLField(max_length=500, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_type = models.CharField(max_length=80, blank=True)
    error_detail = models.TextField(blank=True, help_text="fal's own words, for staff.")
    result = models.JSONField(null=True, blank=True)
    billable_units = models.DecimalField(max_digits=16, decimal_places=6, null=True, blank=True)
    fal_cost_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    is_maybe_billed = models.BooleanField(
        default=False, help_text="fal may bill this failure; the member is not."
    )
    fetch_failures = models.PositiveSmallIntegerField(
        default=0, help_text="How often fetching its clip failed."
    )
    sent_at = models.DateTimeField(default=clock.now)
    answered_at = models.DateTimeField(null=True, blank=True)
    cancel_sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When fal took our request to stop it."
    )
    timed_out_at = models.DateTimeField(null=True, blank=True, help_text="When we stopped waiting for it.")
    ended_at = models.DateTimeField(null=True, blank=True)
    late_check_at = models.DateTimeField(
        null=True, blank=True, help_text="When to look again for the clip of a request that we gave up."
    )

    objects: ClassVar[models.Manager[Attempt]] = AttemptQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["generation", "number"], name="attempt_number_once"),
            models.UniqueConstraint(
                fields=["generation"],
                name="attempt_one_open",
                condition=models.Q(state__in=[s.value for s in sorted(OPEN_ATTEMPTS)]),
            ),
            models.UniqueConstraint(
                fields=["request_id"], name="attempt_request_once", condition=~models.Q(request_id="")
            ),
        ]
        indexes = [
            models.Index(fields=["sent_at"], name="attempt_sent"),
            models.Index(
                fields=["ended_at"], name="attempt_ended", condition=models.Q(ended_at__isnull=False)
            ),
            models.Index(
                fields=["late_check_at"],
                name="attempt_late",
                condition=models.Q(late_check_at__isnull=False),
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="note_cost",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("fal_cost_usd"),
                condition=pgtrigger.Q(old__fal_cost_usd__df=pgtrigger.F("new__fal_cost_usd")),
                func=NOTE_COST,
            ),
            pgtrigger.Trigger(
                name="note_first_cost",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__fal_cost_usd__isnull=False),
                func=NOTE_COST,
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.generation_id}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_ATTEMPTS


class LogLine(models.Model):
    """One line of fal's log of an attempt, kept for the page of the generation."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="log_lines")
    position = models.PositiveIntegerField()
    message = models.CharField(max_length=1000)
    level = models.CharField(max_length=20, blank=True)
    logged_at = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["attempt", "position"], name="log_line_once")]

    def __str__(self) -> str:
        return self.message


class Delivery(models.Model):
    """One webhook call whose signature was right, stored as it came before anything in it is acted on."""

    attempt = models.ForeignKey(
        Attempt, null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries"
    )
    request_id = models.CharField(max_length=120)
    body = models.TextField()
    body_sha256 = models.CharField(max_length=64)
    signed_at = models.DateTimeField()
    received_at = models.DateTimeField(default=clock.now)
    processed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["request_id", "body_sha256"], name="delivery_once_per_content")
        ]
        indexes = [
            models.Index(fields=["received_at"], name="delivery_by_time"),
            models.Index(
                fields=["received_at"],
                name="delivery_unprocessed",
                condition=models.Q(processed_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} at {self.received_at:%Y-%m-%d %H:%M:%S}"


class DispatchPause(models.Model):
    """Why nothing is being submitted right now (fal's account is locked, its key refused), until when to wait.

    One row, `pk` 1. Nothing fails while it lasts: generations stay requested and their holds stay held.
    """

    reason = models.CharField(max_length=300)
    code = models.CharField(max_length=40)
    since_at = models.DateTimeField(default=clock.now)
    probe_at = models.DateTimeField(help_text="When one submission is tried again.")

    def __str__(self) -> str:
        return self.reason

    @classmethod
    def current(cls) -> DispatchPause | None:
        return cls.objects.filter(pk=1).first()

    def is_probe_due(self, now: datetime) -> bool:
        return now >= self.probe_at
