"""A short drill against real processes, from a seed that never changes: `manage.py drill --seed 2026 --count 24`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from config.stack import environment

SEED, COUNT = 2026, 24
PATIENCE_SECONDS = 120


@pytest.mark.slow
@pytest.mark.concurrency
def test_nothing_is_lost_whatever_is_struck(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    options = [f"--seed={SEED}", f"--count={COUNT}", f"--patience={PATIENCE_SECONDS}", f"--json={path}"]
    done = subprocess.run(
        [sys.executable, "manage.py", "drill", *options],
        check=False,
        cwd=environment.CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}\n{done.stderr}"
    found = json.loads(path.read_text())
    assert (found["seed"], found["orders"], found["is_clean"]) == (SEED, COUNT, True)
    assert sum(found["outcomes"].values()) == COUNT
    assert found["outcomes"]["succeeded"] > 0
    assert found["outcomes"]["failed"] > 0
    assert sum(found["strikes"].values()) > 0
