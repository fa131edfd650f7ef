"""Which engines a team's people may order. Engines are fal's endpoint ids here: what they are, others know."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from accounts import clock
from accounts.models.people import Membership, Role, Team

EVERYONE = ""
ANY_ENGINE = "*"


class EngineRuleManager(models.Manager["EngineRule"]):
    def hidden_from(self, membership: Membership, engines: Iterable[str]) -> set[str]:
        """Those of these endpoint ids that this member may not order. One query.

        What is said of the member's role goes before what is said of everyone, and what is said of one engine before
        what is said of all; where nothing is said, an engine is allowed.
        """
        rules = self.filter(team=membership.team_id, role__in=[EVERYONE, membership.role])
        said = {(rule.endpoint_id, rule.role): rule.is_allowed for rule in rules}

        def is_allowed(engine: str) -> bool:
            order = [
                (engine, membership.role),
                (engine, EVERYONE),
                (ANY_ENGINE, membership.role),
                (ANY_ENGINE, EVERYONE),
            ]
            return next((said[place] for place in order if place in said), True)

        return {engine for engine in engines if not is_allowed(engine)}


class EngineRule(models.Model):
    """One engine ("*": any) allowed to or hidden from one role ("": everyone) of a team; `ledger.rules` writes it."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="engine_rules")
    role = models.CharField(max_length=10, choices=[(EVERYONE, "Everyone"), *Role.choices], blank=True)
    endpoint_id = models.CharField(max_length=200)
    is_allowed = models.BooleanField()
    created_at = models.DateTimeField(default=clock.now)

    objects = EngineRuleManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "role", "endpoint_id"], name="engine_rule_once"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {'allowed to' if self.is_allowed else 'hidden from'} {self.role or 'everyone'}"
