"""What a team is told about its credits, to whom it goes, and what came of it. `accounts.alerts` alone writes it."""

from __future__ import annotations

import secrets
import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts import clock
from accounts.models.entries import Written
from accounts.models.money import APPEND_ONLY, Wallet
from accounts.models.people import Membership, Team

MOST_PERCENT = 1_000


def default_percents() -> list[int]:
    return [50, 80, 100]


def new_salt() -> str:
    return secrets.token_hex(16)


def _percents() -> ArrayField:
    return ArrayField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MOST_PERCENT)]),
        default=default_percents,
        blank=True,
    )


class AlertSettings(models.Model):
    """What one team wants to be told, and how. A team without a row has the defaults."""

    team = models.OneToOneField(
        Team, primary_key=True, on_delete=models.CASCADE, related_name="alert_settings"
    )
    wallet_percents = _percents()
    budget_percents = _percents()
    is_burn_watched = models.BooleanField(default=True)
    is_mailed = models.BooleanField(default=True)
    is_member_mailed = models.BooleanField(
        default=True, help_text="Whether members get mail about their own budgets."
    )
    mailed_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", help_text="Nobody chosen: every admin."
    )

    class Meta:
        verbose_name_plural = "alert settings"

    def __str__(self) -> str:
        return f"alerts of {self.team}"


class AlertHook(models.Model):
    """Where a team's alerts are posted. The secret is derived from `salt` and SECRET_KEY: it lies in no table."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.CASCADE, related_name="alert_hook")
    url = models.URLField(max_length=500)
    salt = models.CharField(max_length=32, default=new_salt)
    created_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return f"webhook of {self.team}"


class AlertCursor(models.Model):
    """Up to which entry one wallet's book was looked at; a wallet that did not move needs no second look."""

    wallet = models.OneToOneField(
        Wallet, primary_key=True, on_delete=models.CASCADE, related_name="alert_cursor"
    )
    seen_seq = models.BigIntegerField(default=-1)

    def __str__(self) -> str:
        return f"wallet {self.wallet_id} up to #{self.seen_seq}"


class AlertQuerySet(models.QuerySet["Alert"]):
    def visible_to(self, membership: Membership) -> AlertQuerySet:
        """Admins see what concerns their team; members what concerns their own budget."""
        mine = self.filter(team=membership.team_id)
        if membership.is_admin:
            return mine
        return mine.filter(kind=Alert.Kind.BUDGET, user=membership.user_id)

    def unread_by(self, membership: Membership) -> AlertQuerySet:
        """What happened since this person joined and was not dismissed."""
        dismissed = Dismissal.objects.filter(user=membership.user_id, alert=models.OuterRef("pk"))
        rows = self.visible_to(membership).filter(created_at__gte=membership.created_at)
        return rows.filter(~models.Exists(dismissed))


class Alert(models.Model):
    """One crossing of one threshold. The key is the crossing itself, so that it can be told only once.

    `window` is what has to change before the same may be told again: the entry of the last top-up, a budget's window
    and limit, a day, a week, an expiry, a pause.
    """

    class Kind(models.TextChoices):
        WALLET = "wallet", "Wallet"
        BUDGET = "budget", "Budget"
        BURN = "burn", "Unusual spending"
        GRANT = "grant", "Credits about to expire"
        FAL_LOW = "fal_low", "fal account low"
        FAL_LOCKED = "fal_locked", "fal account locked"
        TEST = "test", "Test"

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="alerts", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(
        max_length=60, help_text='What it is about: "wallet:3", "budget:7", "grant:12".'
    )
    threshold = models.IntegerField(
        help_text="Percent, days or US dollars, by its kind; 0 where there is none."
    )
    window = models.CharField(max_length=60)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    text = models.CharField(max_length=400)
    created_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[AlertQuerySet] = AlertQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "kind", "subject", "threshold", "window"], name="alert_once_per_crossing"
            )
        ]
        indexes = [models.Index(fields=["team", "-created_at"], name="alert_by_time")]

    def __str__(self) -> str:
        return self.text

    @property
    def is_bad(self) -> bool:
        """Whether work is refused or waits because of it."""
        return self.kind == self.Kind.FAL_LOCKED or (
            self.kind in {self.Kind.WALLET, self.Kind.BUDGET} and self.threshold >= 100
        )


class Dismissal(models.Model):
    """One person has read one alert and wants it out of the way."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="dismissals", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "user"], name="dismissed_once")]

    def __str__(self) -> str:
        return f"{self.user_id} dismissed {self.alert_id}"


class Notice(models.Model):
    """One alert on its way out by one channel: the outbox. Made with the alert, in one transaction.

    Sent at least once: `id` stays the same over all tries, so that a receiver can tell a repeat.
    """

    class Channel(models.TextChoices):
        MAIL = "mail", "Mail"
        HOOK = "hook", "Webhook"

    class State(models.TextChoices):
        PENDING = "pending", "waiting"
        SENT = "sent", "sent"
        FAILED = "failed", "given up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="notices", db_index=False)
    channel = models.CharField(max_length=4, choices=Channel)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+",
        db_index=False, help_text="Who gets the mail.",
    )  # fmt: skip
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(default=clock.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    said = models.CharField(max_length=200, blank=True, help_text="What came of the last try.")
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "channel", "user"], name="notice_once", nulls_distinct=False
            ),
            models.CheckConstraint(
                name="notice_sent_says_when",
                condition=Q(state="sent", sent_at__isnull=False)
                | (~Q(state="sent") & Q(sent_at__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(fields=["next_try_at"], name="notice_due", condition=Q(state="pending")),
            models.Index(fields=["user", "sent_at"], name="notice_mailed", condition=Q(channel="mail")),
        ]

    def __str__(self) -> str:
        return f"{self.channel} of alert {self.alert_id}: {self.state}"


class HookCall(Written):
    """One try to post a notice, as it ended."""

    notice = models.ForeignKey(Notice, on_delete=models.PROTECT, related_name="calls")
    url = models.URLField(max_length=500)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    said = models.CharField(max_length=200, blank=True)
    duration_ms = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.http_status or self.said} from {self.url}"
