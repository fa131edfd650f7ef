"""What can be wrong with the catalogue, with a price, or with what a member typed."""

from collections.abc import Mapping, Sequence


class CatalogueError(Exception):
    """Anything the catalogue refuses; the message is a sentence that says what would be right."""


class BrokenCatalogue(CatalogueError):
    """A data file is wrong. `file`, `engine` (empty above the engines) and `field` say where."""

    def __init__(self, problem: str, *, file: str, engine: str, field: str) -> None:
        self.file, self.engine, self.field = file, engine, field
        super().__init__(": ".join(part for part in (file, engine, field, problem) if part))


class UnknownEngine(CatalogueError):
    """No engine (or more than one) answers to `wanted`; `near` lists endpoint ids that come close."""

    def __init__(self, wanted: str, *, near: Sequence[str] = (), is_ambiguous: bool = False) -> None:
        self.wanted, self.near = wanted, tuple(near)
        problem = (
            f"More than one engine matches {wanted!r}" if is_ambiguous else f"There is no engine {wanted!r}"
        )
        question = "Which one" if is_ambiguous else "Did you mean"
        hint = f". {question}: {', '.join(self.near)}?" if near else "; `engines()` lists them all."
        super().__init__(problem + hint)


class PriceError(CatalogueError):
    """A price cannot be computed; nothing may be held on it."""


class BadRule(PriceError):
    """The rule itself is malformed; `field` is the dotted place inside it."""

    def __init__(self, problem: str, *, field: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


class MissingFact(PriceError):
    """The rule reads a parameter that was not given."""


class BadFact(PriceError):
    """A parameter the rule reads is not a usable amount (not a number, NaN, zero or less, absurdly large)."""


class UnknownRow(PriceError):
    """No row of the rule's table covers these parameters."""


class InvalidInputs(CatalogueError):
    """What was typed does not fit the engine. `errors` maps an input's name to one sentence about it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(f"{name}: {message}" for name, message in self.errors.items()))
