"""Directives: faults and timings asked for inside the prompt, as the package's docstring lists them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

BLOCK = re.compile(r"\[\[\s*sandbox\s*:(.*?)\]\]", re.IGNORECASE | re.DOTALL)
FLAGS = frozenset({"stuck", "locked"})
NAMES = FLAGS | {
    "submit",
    "nginx",
    "drop",
    "hang",
    "run",
    "result",
    "status",
    "stream",
    "slow",
    "seconds",
    "position",
    "webhook",
    "download",
    "cancel",
}
MOST_SECONDS = 86_400
NUMBERS = frozenset({"slow", "seconds", "position"})
CHOICES: Mapping[str, frozenset[str]] = {
    "drop": frozenset({"before", "after"}),
    "hang": frozenset({"before", "after"}),
    "stuck": frozenset({"", "queue"}),
    "locked": frozenset({""}),
    "cancel": frozenset({"ignored"}),
    "stream": frozenset({"404", "drop"}),
    "webhook": frozenset({"none", "duplicate", "late", "forged", "stale", "unknown", "payload_error"}),
    "download": frozenset({"truncated", "short", "html", "toolarge", "endless", "notvideo", "slow", "drop"}),
}
STATUS_FIRST = frozenset({"submit", "nginx", "run", "result", "status"})


class DirectiveError(ValueError):
    """A directive that is not in the table, said plainly so that a test with a typing slip fails at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One directive: its value, and how many times it strikes (`None`: every time)."""

    value: str
    times: int | None = None

    @property
    def head(self) -> str:
        return self.value.partition(":")[0]

    @property
    def tail(self) -> str:
        return self.value.partition(":")[2]

    @property
    def status_code(self) -> int:
        return int(self.head)

    @property
    def words(self) -> dict[str, str]:
        """`duplicate,late:2` as `{"duplicate": "", "late": "2"}`."""
        pairs = (word.partition(":") for word in self.value.split(",") if word)
        return {name: rest for name, _, rest in pairs}


@lru_cache(2048)
def parse(prompt: str) -> Mapping[str, Fault]:
    """Read every `[[sandbox: ...]]` block of the prompt; raises `DirectiveError` for one it does not know."""
    found: dict[str, Fault] = {}
    for block in BLOCK.findall(prompt):
        words = (word.strip(",") for word in re.split(r"[\s;]+", block))
        found |= dict(_one(word) for word in words if word)
    return found


def strip(prompt: str) -> str:
    """Return the prompt without its directives."""
    return " ".join(BLOCK.sub(" ", prompt).split())


def _one(word: str) -> tuple[str, Fault]:
    name, _, value = word.partition("=")
    name = name.lower()
    if name not in NAMES:
        raise DirectiveError(f"unknown sandbox directive {name!r}")
    value, star, times = value.partition("*")
    if star and not times.isdigit():
        raise DirectiveError(f"{word!r}: write a count after *")
    fault = Fault(value, int(times) if star else None)
    _check(name, fault)
    return name, fault


def _check(name: str, fault: Fault) -> None:
    if name in NUMBERS:
        _number(name, fault.value)
    elif name in STATUS_FIRST or (name == "download" and fault.head.isdigit()):
        _status(name, fault.head)
    elif name == "webhook":
        for word, rest in (fault.words or {"": ""}).items():
            _choice(name, word)
            _number(name, rest or "0")
    else:
        _choice(name, fault.head)
        if name == "download":
            _number(name, fault.tail or "0")


def _number(name: str, value: str) -> None:
    try:
        good = 0 <= float(value) < MOST_SECONDS
    except ValueError:
        good = False
    if not good:
        raise DirectiveError(f"{name}={value}: a number from 0 to {MOST_SECONDS} is needed")


def _status(name: str, value: str) -> None:
    if not (value.isdigit() and 400 <= int(value) <= 599):
        raise DirectiveError(f"{name}={value}: an HTTP status from 400 to 599 is needed")


def _choice(name: str, value: str) -> None:
    if value not in CHOICES[name]:
        raise DirectiveError(f"{name}={value}: one of {', '.join(sorted(CHOICES[name] - {''})) or 'nothing'}")
