"""Files of ours: the pictures people bring and the outputs that fal produced, both in private storage."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts import clock
from accounts.models import Team, User


class PictureQuerySet(models.QuerySet["Picture"]):
    def visible_to(self, user: User) -> PictureQuerySet:
        return self.filter(
            team__memberships__user=user,
            team__memberships__is_active=True,
            team__memberships__team=models.F("team"),
        )


class Picture(models.Model):
    """A still somebody brought: decoded, turned upright, stripped of its metadata and kept for "run again"."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="pictures")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="pictures")
    file = models.FileField(max_length=300)
    original_name = models.CharField(max_length=200, blank=True)
    format = models.CharField(max_length=10, help_text="jpeg, png or webp, as stored")
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[models.Manager[Picture]] = PictureQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["team", "sha256"], name="picture_by_content"),
            models.Index(fields=["created_at"], name="picture_by_time"),
        ]

    def __str__(self) -> str:
        return self.original_name or str(self.pk)


class Stored(models.Model):
    """A clip of fal's in our storage, verified by opening it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    file = models.CharField(max_length=300, help_text="name in the media storage")
    poster = models.CharField(max_length=300, blank=True)
    content_type = models.CharField(max_length=60)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    duration_seconds = models.FloatField()
    fps = models.FloatField(null=True, blank=True)
    has_audio = models.BooleanField(default=False)
    codec = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        abstract = True


class Output(Stored):
    """What a generation produced, and what its credits were captured for."""

    generation = models.OneToOneField(
        "generations.Generation", on_delete=models.PROTECT, related_name="output"
    )

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="output_by_time")]

    def __str__(self) -> str:
        return f"output of {self.generation_id}"


class LateClip(Stored):
    """A clip that fal made after all, when its generation had been given up and its credits were back.

    Nobody is charged for it unasked: the member may keep it, at the price that was quoted then, for as long as it is
    offered. What they keep is a generation of its own, `kept_as`.
    """

    class State(models.TextChoices):
        OFFERED = "offered", "offered"
        KEPT = "kept", "kept"
        GONE = "gone", "gone"

    generation = models.OneToOneField(
        "generations.Generation", on_delete=models.PROTECT, related_name="late_clip"
    )
    attempt = models.OneToOneField("generations.Attempt", on_delete=models.PROTECT, related_name="late_clip")
    state = models.CharField(max_length=10, choices=State, default=State.OFFERED)
    offered_until = models.DateTimeField()
    kept_as = models.OneToOneField(
        "generations.Generation", null=True, blank=True, on_delete=models.PROTECT, related_name="kept_from"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="late_clip_kept_as_something",
                condition=models.Q(state="kept", kept_as__isnull=False)
                | (~models.Q(state="kept") & models.Q(kept_as__isnull=True)),
            )
        ]
        indexes = [
            models.Index(
                fields=["offered_until"], name="late_clip_offered", condition=models.Q(state="offered")
            )
        ]

    def __str__(self) -> str:
        return f"late clip of {self.generation_id}"
