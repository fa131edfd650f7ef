"""A generation: what a member asked for, the quote it is bound to, and where it is in its life."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts import clock
from accounts.models import Hold, Team, User
from generations import catalogue
from generations.models.prices import PriceVersion
from generations.models.works import Picture
from generations.states import AT_FAL, SETTLED, State


class GenerationQuerySet(models.QuerySet["Generation"]):
    def visible_to(self, user: User) -> GenerationQuerySet:
        """Everything of the teams the user is an active member of; nobody sees another team's work."""
        return self.filter(
            team__in=Team.objects.filter(memberships__user=user, memberships__is_active=True).values("pk")
        )

    def unsettled(self) -> GenerationQuerySet:
        # In the index's own order: PostgreSQL proves a partial index usable by comparing the lists.
        return self.exclude(state__in=sorted(SETTLED))

    def settled(self) -> GenerationQuerySet:
        return self.filter(state__in=SETTLED)

    def at_fal(self) -> GenerationQuerySet:
        return self.filter(state__in=AT_FAL)

    def newest_first(self) -> GenerationQuerySet:
        return self.order_by("-created_at", "-id")

    def before(self, created_at: datetime, pk: uuid.UUID) -> GenerationQuerySet:
        """The page after a row, as an index bound: `<= AND NOT`, because the OR form reads the skipped rows."""
        return self.filter(created_at__lte=created_at).exclude(created_at=created_at, id__gte=pk)


class Generation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="generations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="generations")
    engine = models.CharField(max_length=200, help_text="fal endpoint id")
    prompt = models.TextField(blank=True)
    tag = models.CharField(
        max_length=60,
        blank=True,
        default="",
        db_default="",
        help_text="The project it was for, in the member's own word; kept for ever.",
    )
    inputs = models.JSONField(
        help_text="What is sent to fal, picture fields excepted, every choice explicit."
    )
    pictures = models.ManyToManyField(Picture, through="GenerationPicture", related_name="generations")
    form_token = models.UUIDField(help_text="One per form shown: pressing twice makes one generation.")
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="generations")
    quote_credits = models.PositiveBigIntegerField()
    hold = models.OneToOneField(Hold, on_delete=models.PROTECT, related_name="generation")

    state = models.CharField(
        max_length=10, choices=[(s.value, s.value) for s in State], default=State.REQUESTED
    )
    is_cancel_requested = models.BooleanField(default=False)
    failure_code = models.CharField(max_length=60, blank=True)
    failure_message = models.CharField(max_length=500, blank=True, help_text="What the member is told.")
    is_simulated = models.BooleanField(default=False)
    fal_queue_position = models.PositiveIntegerField(null=True, blank=True)

    queued_at = models.DateTimeField(
        default=clock.now, help_text="Its place in its member's own line, which the member may change."
    )
    expected_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When we told the member that it would be there, as it was asked for.",
    )
    next_check_at = models.DateTimeField(default=clock.now, null=True, blank=True)
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    created_at = models.DateTimeField(default=clock.now)
    submitted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(
        null=True, blank=True, help_text="When we learnt that fal had finished."
    )
    settled_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[models.Manager[Generation]] = GenerationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "form_token"], name="generation_once_per_form"),
            models.CheckConstraint(
                name="generation_state_known", condition=Q(state__in=[s.value for s in State])
            ),
            models.CheckConstraint(
                name="generation_settled_has_time",
                condition=Q(state__in=[s.value for s in sorted(SETTLED)], settled_at__isnull=False)
                | (~Q(state__in=[s.value for s in sorted(SETTLED)]) & Q(settled_at__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="generation_all_by_time"),
            models.Index(fields=["team", "-created_at", "-id"], name="generation_library"),
            models.Index(fields=["user", "-created_at"], name="generation_by_user"),
            models.Index(fields=["user", "-submitted_at"], name="generation_last_served"),
            models.Index(
                fields=["next_check_at"],
                name="generation_due",
                condition=~Q(state__in=[s.value for s in sorted(SETTLED)]),
            ),
            models.Index(
                fields=["state", "created_at"],
                name="generation_unsettled",
                condition=~Q(state__in=[s.value for s in sorted(SETTLED)]),
            ),
            models.Index(
                fields=["settled_at"], name="generation_settled", condition=Q(settled_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.state}"

    @property
    def reference(self) -> str:
        return reference_of(self.pk)

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

    @property
    def is_waiting(self) -> bool:
        return self.state == State.REQUESTED

    @property
    def is_cancelable(self) -> bool:
        return (
            self.state in {State.REQUESTED, State.SUBMITTED, State.RUNNING} and not self.is_cancel_requested
        )

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
    def elapsed(self) -> timedelta:
        return (self.settled_at or clock.now()) - self.created_at


class GenerationPicture(models.Model):
    """Which picture stands in which input field of a generation, in order."""

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="picture_links")
    picture = models.ForeignKey(Picture, on_delete=models.PROTECT, related_name="generation_links")
    field = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["field", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["generation", "field", "position"], name="generation_picture_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.field} of {self.generation_id}"


def reference_of(pk: uuid.UUID) -> str:
    """How the ledger names a generation; it has no foreign key into this app."""
    return f"generation:{pk}"
