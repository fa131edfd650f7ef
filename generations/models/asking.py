"""Requests for more: a draft that was refused, with its pictures and its binding quote, until it is decided.

`generations.asking` is the only writer. A request is decided once; its history is written beside it and never changed.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts import clock
from accounts.models import Team
from accounts.models.entries import Written
from accounts.models.money import APPEND_ONLY
from generations import catalogue
from generations.models.generation import Generation
from generations.models.prices import PriceVersion
from generations.models.works import Picture


class CreditRequestQuerySet(models.QuerySet["CreditRequest"]):
    def open(self) -> CreditRequestQuerySet:
        """Not decided. One whose time is over is none of these, whether it was swept or not."""
        return self.filter(state=CreditRequest.State.OPEN, expires_at__gt=clock.now())

    def newest_first(self) -> CreditRequestQuerySet:
        return self.order_by("-created_at", "-id")


class CreditRequest(models.Model):
    """What a member wanted and was refused, as they had typed it. Approved, it becomes the generation of that form."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"
        WITHDRAWN = "withdrawn", "withdrawn"
        EXPIRED = "expired", "expired"

    class Refusal(models.TextChoices):
        """What was in the way."""

        CREDITS = "credits", "the wallet had too few credits"
        BUDGET = "budget", "over their budget"
        ENGINE = "engine", "the engine is not open to them"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="credit_requests")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="credit_requests"
    )
    engine = models.CharField(max_length=200, help_text="fal endpoint id")
    inputs = models.JSONField(help_text="As a generation's: what would be sent to fal, pictures excepted.")
    prompt = models.TextField(blank=True)
    tag = models.CharField(max_length=60, blank=True)
    pictures = models.ManyToManyField(Picture, through="CreditRequestPicture", related_name="credit_requests")
    form_token = models.UUIDField(help_text="Of the form that was refused: it makes one generation.")
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="credit_requests")
    quote_credits = models.PositiveBigIntegerField(help_text="Binding: a price that rises does not raise it.")
    refusal = models.CharField(max_length=10, choices=Refusal)
    refusal_text = models.CharField(max_length=500, help_text="What the member was told.")
    note = models.CharField(max_length=300, blank=True, help_text="The member's own word to the admins.")
    site_url = models.CharField(max_length=200, help_text="Where it was asked; links in mails begin with it.")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    generation = models.OneToOneField(
        Generation, null=True, blank=True, on_delete=models.PROTECT, related_name="credit_request"
    )
    mail_due_at = models.DateTimeField(
        null=True, blank=True, help_text="When its news is to be mailed (again); empty once it was."
    )
    mail_tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[CreditRequest]] = CreditRequestQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "form_token"],
                name="credit_request_once_per_form",
                condition=Q(state__in=["open", "approved"]),
            ),
            models.CheckConstraint(
                name="credit_request_closed_has_time",
                condition=Q(state="open", closed_at__isnull=True)
                | (~Q(state="open") & Q(closed_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="credit_request_approved_runs",
                condition=Q(state="approved", generation__isnull=False)
                | (~Q(state="approved") & Q(generation__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(
                fields=["team", "created_at"], name="credit_request_open", condition=Q(state="open")
            ),
            models.Index(fields=["team", "-created_at", "-id"], name="credit_request_by_team"),
            models.Index(fields=["user", "-created_at", "-id"], name="credit_request_by_user"),
            models.Index(
                fields=["mail_due_at"], name="credit_request_mail", condition=Q(mail_due_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"request of {self.user} for {self.quote_credits} credits"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.OPEN and self.expires_at > clock.now()

    @property
    def state_now(self) -> str:
        """As the state will be once somebody has swept."""
        return self.State.EXPIRED if self.state == self.State.OPEN and not self.is_open else self.state

    @property
    def catalogue_entry(self) -> catalogue.Engine | None:
        """The engine as the catalogue describes it today, or None once it has been withdrawn."""
        try:
            return catalogue.get(self.engine)
        except catalogue.UnknownEngine:
            return None

    @property
    def engine_title(self) -> str:
        entry = self.catalogue_entry
        return entry.title if entry else self.engine

    @property
    def reference(self) -> str:
        """How the book names it."""
        return f"request {self.pk}"


class CreditRequestPicture(models.Model):
    """Which picture stands in which input field of the draft, in order."""

    request = models.ForeignKey(CreditRequest, on_delete=models.PROTECT, related_name="picture_links")
    picture = models.ForeignKey(Picture, on_delete=models.PROTECT, related_name="credit_request_links")
    field = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["field", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "field", "position"], name="credit_request_picture_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.field} of {self.request_id}"


class CreditRequestStep(Written):
    """One thing that happened to a request: who did it, when, and what they said."""

    class Kind(models.TextChoices):
        ASKED = "asked", "asked"
        APPROVED = "approved", "approved"
        RAISED = "raised", "approved with a raised budget"
        DECLINED = "declined", "declined"
        WITHDRAWN = "withdrawn", "withdrawn"
        EXPIRED = "expired", "expired"

    request = models.ForeignKey(CreditRequest, on_delete=models.PROTECT, related_name="steps")
    kind = models.CharField(max_length=10, choices=Kind)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            # The second lock on "a request is decided once"; the first is its own state.
            models.UniqueConstraint(
                fields=["request"], name="credit_request_decided_once", condition=~Q(kind="asked")
            )
        ]
        triggers = [APPEND_ONLY]

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor or 'nobody'}"
