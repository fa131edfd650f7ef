"""Read by every Python of the fleet as it starts (PYTHONPATH): a test can kill or hold a process between two steps.

A step has a name in POINTS. A file `step@anything` in the directory FAULT_MATRIX_ARMED arms it: JSON with the beginning
of the process's name (`worker`), what must be said by the step's arguments or by the ids bound to the log (`needle`),
and what to do: `kill` the whole process group, `kill child` for the one process, or `hold` until the test lets go.
Whoever comes by first takes the file away (a rename, so one of many) and is named by what is left in `struck/`. Forked
and spawned children are reached as well: the first have their parent's functions, the second read this file again.

Production code knows nothing of this, and without FAULT_MATRIX_ARMED in the environment this file does nothing.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

DIRECTORY, PROCESS = "FAULT_MATRIX_ARMED", "FAULT_MATRIX_PROCESS"
HOLD_SECONDS = 60
# Where the function is looked up when it is called, and whether the blow falls before or after it.
POINTS = {
    "bell": ("generations.queue", "_send", "before"),
    "post": ("generations.fal.client", "FalClient.submit", "before"),
    "posted": ("generations.fal.client", "FalClient.submit", "after"),
    "downloading": ("generations.media.downloads", "_Transfer._write", "after"),
    "downloaded": ("generations.media", "store_clip", "before"),
    "stored": ("generations.lifecycle.ingesting", "_succeed", "before"),
    "captured": ("accounts.ledger", "capture", "after"),
    "ingesting": ("generations.lifecycle.ingesting", "_clip_url", "before"),
}


def strike(step: str, said: Callable[[], str]) -> None:
    """Do what the step was armed with, if it was, and if this is the process and the call that were meant."""
    for armed in Path(os.environ[DIRECTORY]).glob(f"{step}@*"):
        with suppress(FileNotFoundError):
            _strike(armed, said)


def _strike(armed: Path, said: Callable[[], str]) -> None:
    orders = json.loads(armed.read_text())
    process = os.environ.get(PROCESS, "")
    if not process.startswith(orders["process"]) or orders["needle"] not in said():
        return
    armed.rename(armed.parent / "struck" / f"{armed.name} {process} {os.getpid()}")
    if orders["do"] == "kill":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    if orders["do"] == "kill child":
        os.kill(os.getpid(), signal.SIGKILL)
    _hold(armed.parent / "let-go" / armed.name)


def _hold(until: Path) -> None:
    ends_at = time.monotonic() + HOLD_SECONDS
    while not until.exists() and time.monotonic() < ends_at:
        time.sleep(0.01)


def _said(arguments: object) -> str:
    trace = sys.modules.get("generations.trace")
    return f"{arguments} {dict(trace.current()) if trace else ''}"


def _wrapped(real: Callable[..., Any], name: str, moment: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def struck(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            strike(name, lambda: _said((args, kwargs)))
        result = real(*args, **kwargs)
        if moment == "after":
            strike(name, lambda: _said((args, kwargs)))
        return result

    return struck


def arm(module: ModuleType) -> None:
    """Wrap every step of a module that was just imported."""
    for name, (where, path, moment) in POINTS.items():
        if where == module.__name__:
            *owners, attribute = path.split(".")
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, attribute, _wrapped(getattr(owner, attribute), name, moment))


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of POINTS as usual, and has them armed once they are executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in {where for where, _, _ in POINTS.values()}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            real = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                real(module)
                arm(module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def run_the_next() -> None:
    """Python reads one file of this name only; the drill has one too, by which `Fleet.set_clock` jumps clocks."""
    for place in os.environ["PYTHONPATH"].split(os.pathsep):
        path = Path(place) / "sitecustomize.py"
        if path.exists() and path != Path(__file__):
            spec = importlib.util.spec_from_file_location("jumps", path)
            if spec is not None and spec.loader is not None:
                spec.loader.exec_module(importlib.util.module_from_spec(spec))


if DIRECTORY in os.environ:
    sys.meta_path.insert(0, Finder())
    run_the_next()
