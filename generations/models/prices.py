"""The price book: append-only versions, what fal's list says, and what is proposed. `generations.prices` writes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from accounts import clock
from accounts.models.money import KEPT
from generations import catalogue


class PriceVersionQuerySet(models.QuerySet["PriceVersion"]):
    def current(self, engine: str, *, now: datetime | None = None) -> PriceVersion:
        """The version in force for `engine` now; the first is written from the reviewed catalogue.

        Raises `catalogue.UnknownEngine`, or `catalogue.CatalogueError` for an engine without a known price.
        """
        moment = now or clock.now()
        found = self.filter(engine=engine, valid_from__lte=moment).order_by("-valid_from", "-pk").first()
        return found or self._seed(engine)

    def newest(self, engine: str) -> PriceVersion:
        """The version that will be in force when all that are announced are: raises as `current` does."""
        self.current(engine)
        return self.filter(engine=engine).order_by("-valid_from", "-pk")[0]

    def _seed(self, engine: str) -> PriceVersion:
        entry = catalogue.get(engine)
        rule = entry.price.rule
        if rule is None:
            raise catalogue.CatalogueError(f"{engine} has no known price and cannot be ordered.")
        version, _ = self.get_or_create(
            engine=engine,
            valid_from=PriceVersion.FIRST,
            defaults={"rule": rule, "reason": f"Seeded from the catalogue ({entry.price.as_of})."},
        )
        return version


class PriceVersion(models.Model):
    FIRST: ClassVar[datetime] = datetime.fromisoformat("2020-01-01T00:00:00+00:00")

    engine = models.CharField(max_length=200)
    rule = models.JSONField()
    valid_from = models.DateTimeField(default=clock.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[models.Manager[PriceVersion]] = PriceVersionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["engine", "valid_from"], name="price_version_once")]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.engine} from {self.valid_from:%Y-%m-%d}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ValidationError("Price versions are written once; add a new one.")
        super().save(*args, **kwargs)


class ListPrice(models.Model):
    """What fal's pricing API said an engine costs per unit of fal's, from one look on; a row per change of it."""

    engine = models.CharField(max_length=200)
    unit_price = models.DecimalField(max_digits=20, decimal_places=9)
    unit = models.CharField(max_length=60, blank=True, help_text="fal's own label, which may mean anything.")
    currency = models.CharField(max_length=10, default="USD")
    seen_at = models.DateTimeField(default=clock.now, help_text="When it was first seen to be so.")
    last_seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [models.Index(fields=["engine", "-seen_at"], name="list_price_latest")]
        triggers = [
            KEPT,
            pgtrigger.ReadOnly(
                name="unchanging", fields=["engine", "unit_price", "unit", "currency", "seen_at"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.unit_price.normalize():f} {self.currency} per {self.unit or 'unit'}: {self.engine}"


class PriceProposal(models.Model):
    """A rule that somebody ought to look at: fal's price moved, or the catalogue says another. Never in force itself.

    Confirming it makes a `PriceVersion`; it is decided once.
    """

    class Source(models.TextChoices):
        FAL = "fal", "fal's list price"
        CATALOGUE = "catalogue", "the catalogue"

    class State(models.TextChoices):
        OPEN = "open", "open"
        CONFIRMED = "confirmed", "confirmed"
        DECLINED = "declined", "declined"
        SUPERSEDED = "superseded", "superseded"

    engine = models.CharField(max_length=200)
    source = models.CharField(max_length=10, choices=Source)
    rule = models.JSONField()
    replaces = models.ForeignKey(
        PriceVersion,
        on_delete=models.PROTECT,
        related_name="proposals",
        help_text="The version it was worked out from; with another in its place, it is out of date.",
    )
    list_price = models.ForeignKey(
        ListPrice, null=True, blank=True, on_delete=models.PROTECT, related_name="proposals"
    )
    why = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.CharField(max_length=300, blank=True)
    version = models.OneToOneField(
        PriceVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="confirmed_from"
    )
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["engine", "source"],
                name="price_proposal_one_open",
                condition=models.Q(state="open"),
            ),
            models.CheckConstraint(
                name="price_proposal_decided_has_time",
                condition=models.Q(state="open", decided_at__isnull=True)
                | (~models.Q(state="open") & models.Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="price_proposal_confirmed_as_version",
                condition=models.Q(state="confirmed", version__isnull=False)
                | (~models.Q(state="confirmed") & models.Q(version__isnull=True)),
            ),
        ]
        triggers = [
            KEPT,
            pgtrigger.ReadOnly(
                name="unchanging",
                fields=["engine", "source", "rule", "replaces", "list_price", "why", "created_at"],
            ),
            pgtrigger.Protect(
                name="decided_once",
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="open"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine}: {self.why}"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.OPEN
