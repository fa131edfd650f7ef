"""The import law of the house, read from the source: every import counts, also one inside a function or a type check.

It needs no Django and no database: `make lint` runs this file alone.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APPS = ("accounts", "generations")
OURS = (*APPS, "config")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

# A room imports from its own level and from those above it in this table. A new room must be given its place here.
LEVELS = tuple(
    level.split()
    for level in (
        "errors clock addresses pinned sheets states catalogue queue fal trace pulse apps",
        "models migrations",
        "audit ledger ledger_check media words spend receipts",
        "lifecycle people alerts",
        "tasks asking watcher webhooks metrics stuck proving estimates prices reconciliation management",
        "workspace permissions adapters",
        "views forms read_only admin api urls templatetags context_processors live",
    )
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# ledger_check is the ledger read back: the command that proves the book also counts the unsettled generations.
# permissions is for views alone, by its level: who may come in is decided in one place.
# Where the server may be sent to, and alerts that the sweep derives, are for both.
OPEN_TO_GENERATIONS = (
    *("models", "ledger", "ledger_check", "errors", "clock", "permissions"),
    *("addresses", "pinned", "alerts", "audit", "sheets", "read_only"),
)
PURE = ("generations.catalogue", "generations.states", "generations.fal")
# Rooms that nothing but their own command and the tests may import; they may look at every other room.
TOOLS = {
    "sandbox": "generations.management.commands.fal_sandbox",
    "drill": "generations.management.commands.drill",
}
LOADERS = ("import_module", "__import__", "import_string", "get_model")


@dataclass(frozen=True)
class Import:
    """`module` is what is named, with the imported name behind it: `from a.b import c` reads a.b.c."""

    module: str
    line: int
    is_relative: bool = False


def imports(tree: ast.AST) -> Iterator[Import]:
    """Every import of the file at whatever depth, and every loader that is called with a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            yield from (Import(name, node.lineno, node.level > 0) for name in names)
        elif isinstance(node, ast.Call) and _called(node) in LOADERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def violations(module: str, source: str) -> list[str]:
    """What is wrong in this module, a sentence each."""
    tree = ast.parse(source)
    found = [f"{module}:{wrong.line} {reason}" for wrong in imports(tree) for reason in _judge(module, wrong)]
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        found.append(f"{module} has {lines} lines; split it before {MAX_FILE_LINES}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(
                    f"{module}:{node.lineno} {node.name} has {length} lines; at most {MAX_FUNCTION_LINES}"
                )
    return found


def _judge(module: str, target: Import) -> Iterator[str]:
    app, room = _place(module)
    to_app, to_room = _place(target.module)
    if target.is_relative:
        yield "uses a relative import; write the whole name"
        return
    if _is_within(module, PURE) and to_app == "django":
        yield f"is pure and must not import {target.module}"
    if to_app not in OURS or app not in APPS:
        return
    yield from _judge_ours(module, app, room, target.module, to_app, to_room)


def _judge_ours(module: str, app: str, room: str, target: str, to_app: str, to_room: str) -> Iterator[str]:
    if to_app == "config":
        if _is_within(module, ("generations.drill", TOOLS["drill"])) and _is_within(
            target, ("config.stack",)
        ):
            return  # it starts servers and processes, and pulls them down
        yield f"must not import {target}: applications know nothing of the configuration"
        return
    if app == "accounts" and to_app == "generations":
        yield f"must not import {target}: accounts knows nothing of generations"
    if app == "generations" and to_app == "accounts" and to_room not in OPEN_TO_GENERATIONS:
        yield f"must not import {target}: of accounts it sees only {', '.join(OPEN_TO_GENERATIONS)}"
    if _is_within(module, PURE) and not _is_within(target, (f"{app}.{room}",)):
        yield f"is pure and must not import {target}"
    if to_room in TOOLS and room != to_room and module != TOOLS[to_room]:
        yield f"must not import {target}: the {to_room} is for its command and the tests"
    if room in LEVEL and to_room in LEVEL and LEVEL[to_room] > LEVEL[room]:
        yield f"must not import {target}: imports go down only"


def _place(module: str) -> tuple[str, str]:
    app, _, rest = module.partition(".")
    return app, rest.partition(".")[0]


def _is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def sources(*folders: str) -> list[Path]:
    """Every Python file of ours in these folders, without the migrations, which nobody writes by hand."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("folder", [*OURS, "tests", "bench"])
def test_the_code_obeys_the_law(folder: str) -> None:
    found = [wrong for path in sources(folder) for wrong in violations(module_name(path), path.read_text())]
    assert not found, "\n" + "\n".join(found)


def test_every_room_has_a_place_in_the_law() -> None:
    rooms = {(app, _place(module_name(path))[1]) for app in APPS for path in sources(app)}
    unknown = sorted(
        f"{app}.{room}" for app, room in rooms if room and room not in LEVEL and room not in TOOLS
    )
    assert not unknown, f"give these rooms a place in LEVELS: {', '.join(unknown)}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("accounts.ledger", "from generations.models import Generation"),
        ("accounts.views", "import generations"),
        ("accounts.models.money", "def f():\n    from accounts import ledger"),
        (
            "accounts.models",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from accounts.ledger import hold",
        ),
        ("accounts.ledger", "from importlib import import_module\nimport_module('generations.models')"),
        ("accounts.reports", "from django.apps import apps\napps.get_model('generations.Generation')"),
        ("accounts.ledger", "from . import models"),
        ("generations.models", "from generations import lifecycle"),
        ("generations.lifecycle", "from generations.tasks import submit"),
        ("generations.lifecycle.settle", "async def f():\n    import generations.views"),
        ("generations.tasks", "from generations.forms import Form"),
        ("generations.views", "from accounts.forms import Form"),
        ("generations.views", "from accounts.workspace import current_membership"),
        ("generations.webhooks", "from accounts.permissions import member_required"),
        ("generations.fal.client", "from django.conf import settings"),
        ("generations.fal.client", "from generations.states import State"),
        ("generations.catalogue.prices", "from generations.models import PriceVersion"),
        ("generations.states", "import django"),
        ("generations.lifecycle", "from generations.sandbox import server"),
        ("generations.lifecycle", "from generations.drill import plan"),
        ("generations.drill.fleet", "from generations.sandbox import server"),
        ("generations.drill.fleet", "from config import settings"),
        ("generations.views", "from config import settings"),
        ("tests.test_x", "def f():\n" + "    pass\n" * (MAX_FUNCTION_LINES + 1)),
        ("tests.test_x", "x = 1\n" * (MAX_FILE_LINES + 1)),
    ],
)
def test_a_breach_is_noticed(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("accounts.ledger", "from accounts.models import Wallet\nfrom accounts import errors"),
        ("generations.lifecycle", "from accounts import ledger\nfrom generations.fal import client"),
        ("generations.fal.client", "import fal_client\nfrom generations.fal import types"),
        ("generations.management.commands.fal_sandbox", "from generations.sandbox import server"),
        ("generations.drill.fleet", "from config.stack import child\nfrom generations import lifecycle"),
        ("generations.management.commands.drill", "from generations.drill import house"),
        ("generations.views", "from generations import lifecycle\nfrom django.http import HttpRequest"),
        ("generations.views", "from accounts.permissions import member_required"),
        ("config.urls", "from accounts import views"),
        ("tests.test_x", "from generations.sandbox import server"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source) == []
