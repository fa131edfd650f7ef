"""What will be ordered and what will be struck, when: drawn from one seed, before anything runs. Pure."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import asdict, dataclass

ENGINES = (
    "fal-ai/minimax/hailuo-2.3/pro/image-to-video",
    "fal-ai/minimax/hailuo-2.3/standard/text-to-video",
    "fal-ai/kling-video/v2.6/pro/image-to-video",
    "fal-ai/wan/v2.2-a14b/text-to-video/turbo",
    "fal-ai/veo3.1/fast",
)
MEMBERS = 6
FAULTLESS_SHARE = 0.25
SECOND_FAULT_SHARE = 0.3
HTTP_SHARE = 0.3
DOUBLE_SHARE = 0.15
CANCEL_SHARE = 0.12
SECONDS_PER_ORDER = 0.4
SECONDS_PER_STRIKE = 2.0
LEAST_STRIKES = 14
ORDERS_PER_STRIKE = 10

# The sandbox's directives. What would last for hours by rule (`stuck`, links that never open) is limited or cancelled.
FAULTS = (
    *("submit=500*1", "submit=503*1", "submit=500", "submit=422", "submit=429*2", "submit=504:after*1"),
    *("nginx=502*1", "nginx=504:after*1", "drop=before*1", "drop=after*1", "hang=before*1", "hang=after*1"),
    *("locked=*1", "run=500*1", "run=504*2", "run=500", "run=422:content_policy_violation", "run=422*1"),
    *("result=504*2", "result=500*1", "result=502", "result=404*1", "status=503*3", "status=500*1"),
    *("stream=404", "stream=drop", "slow=3", "seconds=0", "position=4", "cancel=ignored", "stuck"),
    *("stuck=queue", "webhook=none", "webhook=duplicate", "webhook=late:3", "webhook=forged"),
    *("webhook=stale", "webhook=unknown", "webhook=payload_error", "webhook=duplicate,late:2"),
    *("download=404*1", "download=404", "download=html*1", "download=html", "download=notvideo"),
    *(
        "download=truncated*1",
        "download=truncated",
        "download=short*1",
        "download=short",
        "download=toolarge",
    ),
    *("download=endless", "download=slow:3", "download=drop*2", "download=503*2"),
)
KILLS = ("web", "worker-1", "worker-2", "watcher-1", "watcher-2", "sandbox", "beat")
# Each round of strikes takes every one of these once, in an order of its own.
ROUND = (
    *("kill", "kill", "kill", "kill child", "freeze", "flush broker", "freeze broker"),
    *("restart database", "crash database", "cut connections", "fill storage", "lock account"),
    *("jump clock", "jump clock"),
)
LASTING = frozenset({"freeze", "freeze broker", "fill storage", "lock account", "jump clock"})
# The sandbox keeps the right time: it is not ours, and what it signs is judged by the time.
CLOCKS = tuple(name for name in KILLS if name != "sandbox")
JUMPS_SECONDS = (-3600, 3600)
EVERYWHERE = "everywhere"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One press of Generate: when, by whom, how often, and whether and when the member thinks better of it."""

    number: int
    at_seconds: float
    member: int
    engine: str
    faults: tuple[str, ...]
    form_token: str
    is_http: bool
    is_double: bool
    cancel_after_seconds: float | None

    @property
    def prompt(self) -> str:
        words = f"Drill order {self.number}, form {self.form_token}: mist over the harbour"
        return f"{words} [[sandbox: {' '.join(self.faults)}]]" if self.faults else words


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One blow of the saboteur; `choice` picks among the children of the victim, or how a clock jumps."""

    at_seconds: float
    kind: str
    victim: str = ""
    seconds: float = 0.0
    choice: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    seed: int
    orders: tuple[Order, ...]
    strikes: tuple[Strike, ...]

    @property
    def seconds(self) -> float:
        """When the last of it is due."""
        return max(*(each.at_seconds for each in self.orders), *(each.at_seconds for each in self.strikes))

    @property
    def digest(self) -> str:
        """The same for the same seed and count, on every machine."""
        text = json.dumps([[asdict(each) for each in self.orders], [asdict(each) for each in self.strikes]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def fault_counts(self) -> Counter[str]:
        return Counter(fault for order in self.orders for fault in order.faults)


def draw(*, seed: int, count: int) -> Plan:
    """The plan of `count` orders; nothing in it depends on anything but the two numbers."""
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    strikes = max(LEAST_STRIKES, count // ORDERS_PER_STRIKE)
    seconds = max(count * SECONDS_PER_ORDER, strikes * SECONDS_PER_STRIKE)
    times = sorted(chance.uniform(0, seconds) for _ in range(count))
    orders = tuple(_order(chance, number, at) for number, at in enumerate(times))
    return Plan(seed=seed, orders=orders, strikes=_strikes(chance, strikes, seconds))


def _order(chance: random.Random, number: int, at_seconds: float) -> Order:
    faults = _faults(chance)
    is_stuck = any(fault.startswith("stuck") for fault in faults)
    cancels = is_stuck or chance.random() < CANCEL_SHARE
    after = round(chance.uniform(0, 4), 2)
    return Order(
        number=number,
        at_seconds=round(at_seconds, 3),
        member=chance.randrange(MEMBERS),
        engine=chance.choice(ENGINES),
        faults=faults,
        form_token=str(_uuid(chance)),
        is_http=chance.random() < HTTP_SHARE,
        is_double=chance.random() < DOUBLE_SHARE,
        cancel_after_seconds=after if cancels else None,
    )


def _uuid(chance: random.Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], f"4{text[13:16]}", f"8{text[17:20]}", text[20:]))


def _faults(chance: random.Random) -> tuple[str, ...]:
    """None, one, or two that are not about the same thing; a stuck request whose cancel is ignored would never end."""
    if chance.random() < FAULTLESS_SHARE:
        return ()
    found = [chance.choice(FAULTS)]
    if chance.random() < SECOND_FAULT_SHARE:
        other = chance.choice(FAULTS)
        names = {fault.partition("=")[0] for fault in (*found, other)}
        if len(names) == 2 and names != {"stuck", "cancel"}:
            found.append(other)
    return tuple(found)


def _strikes(chance: random.Random, count: int, seconds: float) -> tuple[Strike, ...]:
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += chance.sample(ROUND, len(ROUND))
    times = sorted(chance.uniform(0, seconds) for _ in range(count))
    return tuple(_strike(chance, kind, at) for kind, at in zip(kinds, times, strict=False))


def _strike(chance: random.Random, kind: str, at_seconds: float) -> Strike:
    victim = ""
    if kind == "kill":
        victim = chance.choice(KILLS)
    elif kind == "kill child":
        victim = chance.choice([name for name in KILLS if name.startswith("worker")])
    elif kind == "freeze":
        victim = chance.choice([name for name in KILLS if name.startswith(("worker", "watcher", "sandbox"))])
    elif kind == "jump clock":
        victim = chance.choice((*CLOCKS, EVERYWHERE))
    lasts = round(chance.uniform(1.5, 8), 2) if kind in LASTING else 0.0
    return Strike(
        at_seconds=round(at_seconds, 3), kind=kind, victim=victim, seconds=lasts, choice=chance.randrange(100)
    )
