"""What people did to the rules, to each other and to the books: one row each, written once."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from accounts import clock
from accounts.models.entries import Entry, Written
from accounts.models.money import APPEND_ONLY
from accounts.models.people import Team


class AuditRecord(Written):
    """Who did what to which row, from where, and what it was before and after. `accounts.audit` writes it."""

    action = models.CharField(max_length=60, help_text="What it was done to, a dot, and what was done.")
    # Few of these are ever read by anything but a team, a person, a subject or a time; the indexes are those below.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="+",
        help_text="Who did it; empty for a shell, and for whoever is not signed in.",
    )
    team = models.ForeignKey(
        Team, null=True, blank=True, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    subject_type = models.CharField(max_length=80, blank=True, help_text="accounts.membership")
    subject_id = models.CharField(max_length=64, blank=True)
    subject = models.CharField(max_length=200, blank=True, help_text="How it was called then.")
    entry = models.ForeignKey(
        Entry,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="audit_records",
        help_text="The entry of the book that was written with it.",
    )
    reason = models.CharField(max_length=300, blank=True)
    before = models.JSONField(default=dict, blank=True, help_text="What changed, as it was.")
    after = models.JSONField(default=dict, blank=True, help_text="The same, as it is from then on.")
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="audit_by_time"),
            models.Index(fields=["team", "-id"], name="audit_by_team"),
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
            models.Index(fields=["subject_type", "subject_id"], name="audit_by_subject"),
            models.Index(fields=["entry"], name="audit_by_entry", condition=models.Q(entry__isnull=False)),
        ]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()
