"""The test's end of `launcher/sitecustomize.py`: arm a step of some process, and see that the blow fell."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from generations.drill.fleet import JUMPS
from tests.fault_matrix.launcher.sitecustomize import DIRECTORY, POINTS, PROCESS

Deed = Literal["kill", "kill child", "hold"]
LAUNCHER = Path(__file__).parent / "launcher"


@dataclass(frozen=True)
class Struck:
    """Who was struck: the fleet's name of the process, and the id of the very one that came by."""

    process: str
    pid: int


@dataclass(frozen=True)
class Blow:
    """One that is armed, and perhaps has fallen."""

    directory: Path
    name: str

    def struck(self) -> Struck | None:
        """Who took it, or None where it has not fallen yet."""
        for path in self.directory.glob(f"struck/{self.name} *"):
            _, process, pid = path.name.split()
            return Struck(process, int(pid))
        return None

    def let_go(self) -> None:
        """Whoever is held there goes on."""
        (self.directory / "let-go" / self.name).touch()


@dataclass(frozen=True)
class Arming:
    """`directory` is the fleet's own. Any number of blows may be armed at once."""

    directory: Path

    def __post_init__(self) -> None:
        for name in ("struck", "let-go"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Where every process of the fleet looks for what is armed."""
        return {DIRECTORY: str(self.directory)}

    @staticmethod
    def of_process(name: str) -> dict[str, str]:
        """By which a process knows its name in the fleet, and reads the launcher, which then reads the drill's."""
        return {PROCESS: name, "PYTHONPATH": os.pathsep.join([str(LAUNCHER), str(JUMPS)])}

    def arm(self, step: str, *, process: str = "worker", needle: object = "", do: Deed = "kill") -> Blow:
        """Have the next process whose name begins so, and whose call speaks of the needle, killed or held there."""
        assert step in POINTS, step
        blow = Blow(self.directory, f"{step}@{uuid.uuid4().hex}")
        draft = self.directory / f"draft-{blow.name}"
        draft.write_text(json.dumps({"process": process, "needle": str(needle), "do": do}))
        draft.rename(self.directory / blow.name)
        return blow

    def disarm(self) -> None:
        """Nothing is left armed or held, however a test ended."""
        for path in self.directory.glob("*@*"):
            path.unlink(missing_ok=True)
        for path in self.directory.glob("struck/*"):
            Blow(self.directory, path.name.split()[0]).let_go()
