"""Price versions: append-only rows, the rule in force for an engine from a moment on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from accounts import clock
from generations import catalogue


class PriceVersionQuerySet(models.QuerySet["PriceVersion"]):
    def current(self, engine: str, *, now: datetime | None = None) -> PriceVersion:
        """The version in force for `engine` now; the first is written from the reviewed catalogue.

        Raises `catalogue.UnknownEngine`, or `catalogue.CatalogueError` for an engine without a known price.
        """
        moment = now or clock.now()
        found = self.filter(engine=engine, valid_from__lte=moment).order_by("-valid_from", "-pk").first()
        return found or self._seed(engine)

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
