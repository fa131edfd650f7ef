"""The certificate of a drill: what was done, what came of it, which rules were kept. As text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generations.drill.checks import Evidence
from generations.models import Delivery
from generations.states import State

LEFT_OUT = "jumps of PostgreSQL's own clock (tests/bad_days/test_clocks_jump.py has them)"

TABLES = (
    *("outcomes", "failures", "ordering", "refusals_on_the_way", "wire", "bill_usd"),
    *("strikes", "strikes_missed", "ended_processes", "faults"),
)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    seed: int
    plan_digest: str
    orders: int
    duration_seconds: float
    quiet_after_seconds: float
    outcomes: Mapping[str, int]
    failures: Mapping[str, int]
    ordering: Mapping[str, int]
    refusals_on_the_way: Mapping[str, int]
    faults: Mapping[str, int]
    strikes: Mapping[str, int]
    strikes_missed: Mapping[str, int]
    ended_processes: Mapping[str, int]
    wire: Mapping[str, int]
    bill_usd: Mapping[str, str]
    rules: Mapping[str, list[str]]
    left_out: str = LEFT_OUT

    @property
    def is_clean(self) -> bool:
        return not any(self.rules.values())

    def as_dict(self) -> dict[str, Any]:
        return {"is_clean": self.is_clean, **asdict(self)}

    def as_text(self) -> str:
        """For people: the figures, then each rule with its verdict and what breaks it."""
        lines = [
            "",
            f"Drill certificate: seed {self.seed}, plan {self.plan_digest}, {self.orders} orders",
            f"  took {self.duration_seconds:.0f} s, quiet {self.quiet_after_seconds:.0f} s after the last blow",
        ]
        lines += [f"  {title.replace('_', ' ')}: {_counts(getattr(self, title))}" for title in TABLES]
        lines.append(f"  left out: {self.left_out}")
        for rule, broken in self.rules.items():
            lines.append(f"  {'BROKEN' if broken else 'kept  '}  {rule.replace('_', ' ')}")
            lines += [f"            {each}" for each in broken]
        lines.append("CLEAN" if self.is_clean else f"BREACHED; the same plan again: --seed {self.seed}")
        return "\n".join(lines)


def _counts(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def figures(evidence: Evidence) -> dict[str, Any]:
    """What of a certificate is read from the evidence."""
    plan, rows = evidence.plan, evidence.generations
    bill = evidence.bill
    return {
        "outcomes": _counted(each.state for each in rows),
        "failures": _counted(each.failure_code for each in rows if each.state == State.FAILED),
        "ordering": {
            "by http": sum(order.is_http for order in plan.orders),
            "pressed twice": sum(order.is_double for order in plan.orders),
            "cancels wished": len(evidence.wishes),
        },
        "faults": _counted(plan.fault_counts.elements()),
        "wire": {
            "attempts": len(evidence.attempts),
            "posts": len(evidence.posts),
            "jobs": len(evidence.jobs),
            "webhooks sent": sum(bool(each["attempts"]) for each in evidence.books.webhooks()),
            "deliveries believed": Delivery.objects.count(),
        },
        "bill_usd": {name: f"{getattr(bill, name):.6f}" for name in ("total", "captured", "failed", "late")},
    }


def _counted(words: Any) -> dict[str, int]:
    return dict(Counter(str(word) for word in words).most_common())
