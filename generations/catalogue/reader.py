"""Reading a TOML table key by key: a wrong value is refused with its file, engine, field and remedy."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from generations.catalogue.errors import BrokenCatalogue
from generations.catalogue.schema import Scalar


class Table:
    """A table of a data file. Each read names the type it wants; `close` refuses keys that nobody read."""

    def __init__(self, values: object, *, file: str, engine: str = "", path: str = "") -> None:
        self._file, self._engine, self._path = file, engine, path
        self._values: dict[str, Any] = {}
        self._known: set[str] = set()
        if not isinstance(values, dict):
            self.refuse("", f"must be a table, not {_shown(values)}.")
        self._values = values

    def refuse(self, key: str, problem: str) -> NoReturn:
        field = ".".join(part for part in (self._path, key) if part)
        raise BrokenCatalogue(problem, file=self._file, engine=self._engine, field=field)

    def close(self) -> None:
        for key in sorted(set(self._values) - self._known):
            self.refuse(key, f"is not known here; known: {', '.join(sorted(self._known))}.")

    def has(self, key: str) -> bool:
        self._known.add(key)
        return key in self._values

    def names(self) -> list[str]:
        return list(self._values)

    def text(self, key: str) -> str:
        value = self._take(key, str, "text in quotes")
        if value is None or not value.strip():
            self.refuse(key, "is missing; write text in quotes.")
        return str(value)

    def text_or(self, key: str, default: str) -> str:
        return str(self._take(key, str, "text in quotes", default))

    def one_of(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> Any:
        value = self._take(key, str, f"one of {', '.join(allowed)}", default)
        if value not in allowed:
            self.refuse(key, f"must be one of {', '.join(allowed)}, not {_shown(value)}.")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._take(key, bool, "true or false", default)
        if value is None:
            self.refuse(key, "is missing; write true or false.")
        return bool(value)

    def whole(self, key: str) -> int | None:
        value: int | None = self._take(key, int, "a whole number")
        if value is not None and value < 0:
            self.refuse(key, f"must be 0 or more, not {value}.")
        return value

    def number(self, key: str) -> float | None:
        value: int | float | None = self._take(key, (int, float), "a number")
        return value

    def scalar(self, key: str) -> Scalar | None:
        value: Scalar | None = self._take(key, (str, int, float, bool), "text, a number, true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._list(key, str, "a list of texts in quotes"))

    def wholes(self, key: str) -> tuple[int, ...]:
        return tuple(self._list(key, int, "a list of whole numbers"))

    def span(self, key: str) -> tuple[int, int] | None:
        values = self.wholes(key)
        if values and (len(values) != 2 or not 0 <= values[0] <= values[1]):
            self.refuse(key, f"must be [low, high] in seconds, not {list(values)}.")
        return (values[0], values[1]) if values else None

    def table(self, key: str) -> "Table":
        return Table(
            self._take(key, dict, "a table", {}),
            file=self._file,
            engine=self._engine,
            path=self._join(key),
        )

    def tables(self, key: str, *, engine_key: str = "") -> Iterator["Table"]:
        """The tables of a list. With `engine_key`, errors inside each name it by that key instead of its place."""
        for index, values in enumerate(self._list(key, dict, "a list of tables")):
            if engine_key:
                name = str(values.get(engine_key) or f"{key}[{index}]")
                yield Table(values, file=self._file, engine=name)
            else:
                path = self._join(f"{key}[{index}]")
                yield Table(values, file=self._file, engine=self._engine, path=path)

    def json_or_none(self, key: str) -> str | None:
        """A table as canonical JSON text."""
        value = self._take(key, dict, "a table")
        try:
            return None if value is None else json.dumps(value, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError):
            self.refuse(key, "must hold only text, numbers, true, false, lists and tables.")

    def _join(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _take(self, key: str, kind: Any, right: str, default: Any = None) -> Any:
        self._known.add(key)
        if key not in self._values:
            return default
        value = self._values[key]
        if not _is(value, kind):
            self.refuse(key, f"must be {right}, not {_shown(value)}.")
        return value

    def _list(self, key: str, kind: Any, right: str) -> list[Any]:
        values: list[Any] = self._take(key, list, right, [])
        if not all(_is(value, kind) for value in values):
            self.refuse(key, f"must be {right}, not {_shown(values)}.")
        return values


def _is(value: object, kind: Any) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return bool in kinds if isinstance(value, bool) else isinstance(value, kinds)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
