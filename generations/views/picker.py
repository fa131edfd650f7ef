"""The engines to choose from, with what each costs at least under the price now in force."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product

from django.conf import settings

from accounts import clock
from accounts.models import EngineRule, Membership
from generations import catalogue, estimates
from generations.catalogue import Engine, Input
from generations.models import Breaker, PriceVersion
from generations.views import words

DEFAULT = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
KINDS = (("image-to-video", "From a picture"), ("text-to-video", "From words"))


@dataclass(frozen=True)
class Choice:
    """One card of the picker."""

    engine: Engine
    from_credits: int | None
    facts: str
    is_broken: bool = False

    @property
    def kind(self) -> str:
        return dict(KINDS).get(self.engine.kind, self.engine.kind)


@dataclass(frozen=True)
class Group:
    """A family of engines of one kind."""

    kind: str
    title: str
    choices: list[Choice]


def default_engine(hidden: Container[str] = ()) -> Engine:
    """The house's first choice, or the first engine that is not hidden, if there is one."""
    engines = [catalogue.get(DEFAULT), *catalogue.orderable()]
    return next((engine for engine in engines if engine.endpoint_id not in hidden), engines[0])


def hidden_engines(membership: Membership) -> set[str]:
    """Those that the team does not open to this member. Asked once per membership in hand."""
    if not hasattr(membership, "_hidden_engines"):
        engines = [engine.endpoint_id for engine in catalogue.orderable()]
        found = EngineRule.objects.hidden_from(membership, engines)
        membership._hidden_engines = found  # type: ignore[attr-defined]
    return membership._hidden_engines  # type: ignore[attr-defined]


def chosen(endpoint_id: str, membership: Membership) -> Engine:
    """This engine, if the member may order it, or else the first that they may."""
    hidden, found = hidden_engines(membership), orderable(endpoint_id)
    return found if found and endpoint_id not in hidden else default_engine(hidden)


def orderable(endpoint_id: str) -> Engine | None:
    return next((engine for engine in catalogue.orderable() if engine.endpoint_id == endpoint_id), None)


def choice(
    engine: Engine, rules: dict[str, PriceVersion] | None = None, *, broken: Container[str] = ()
) -> Choice:
    cheapest = _from_credits(engine, (rules or versions()).get(engine.endpoint_id))
    return Choice(engine, cheapest, facts(engine), is_broken=engine.endpoint_id in broken)


def broken_engines() -> set[str]:
    """Those that do not work at fal just now."""
    return set(Breaker.objects.open().values_list("engine", flat=True))


def groups(broken: Container[str] = (), *, hidden: Container[str] = ()) -> list[Group]:
    rules = versions()
    found = []
    for kind, _ in KINDS:
        offered = (engine for engine in catalogue.orderable() if engine.endpoint_id not in hidden)
        engines = [engine for engine in offered if engine.kind == kind]
        for family, members in groupby(engines, key=lambda engine: engine.family):
            found.append(Group(kind, family, [choice(engine, rules, broken=broken) for engine in members]))
    return found


def versions() -> dict[str, PriceVersion]:
    """The price versions in force, by engine, in one query; those nobody has asked for yet come from the catalogue."""
    rows = PriceVersion.objects.filter(valid_from__lte=clock.now())
    newest = rows.order_by("engine", "-valid_from", "-pk").distinct("engine")
    return {version.engine: version for version in newest}


def facts(engine: Engine) -> str:
    """ "6 or 10 s · 1080p · about 2 minutes": the time as the button and the cards say it."""
    limits = engine.limits
    seconds = f"{' or '.join(map(str, limits.durations_seconds))} s" if limits.durations_seconds else ""
    sizes = limits.resolutions[-1] if limits.resolutions else ""
    upto = "up to " if len(limits.resolutions) > 1 else ""
    usual = estimates.usual_seconds(engine.endpoint_id)
    about = words.span(usual) if usual else ""
    sound = "with sound" if limits.audio.startswith("optional") else ""
    parts = filter(None, (seconds, f"{upto}{sizes}", sound, about))
    return " · ".join(part.replace(" ", "\xa0") for part in parts)


def _from_credits(engine: Engine, version: PriceVersion | None) -> int | None:
    rule = version.rule if version else engine.price.rule
    return _cheapest(engine, json.dumps(rule, sort_keys=True)) if rule else None


@lru_cache(maxsize=512)
def _cheapest(engine: Engine, rule_json: str) -> int | None:
    """The least credits over all choices the price depends on."""
    rule = json.loads(rule_json)
    names = catalogue.rule_params(rule)
    fields = [field for field in engine.offered_inputs if field.name in names]
    prices = []
    for values in product(*(list(_values(field)) for field in fields)):
        typed = dict(zip((field.name for field in fields), values, strict=True))
        try:
            params = catalogue.quote_params(engine, catalogue.clean(engine, typed, is_partial=True))
            prices.append(catalogue.quote_credits(rule, params, credits_per_usd=settings.CREDITS_PER_USD))
        except catalogue.CatalogueError:
            continue
    return min(prices, default=None)


def _values(field: Input) -> Iterator[object]:
    if field.enum:
        return iter(field.enum)
    if field.type == "boolean":
        return iter((False, True))
    return iter([field.min if field.min is not None else field.default])
