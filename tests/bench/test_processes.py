"""What a tree of processes costs counts its children, the living and those that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.processes import PROC, cpu_seconds, pss_mib, running, tree
from tests.browser.people import eventually

PARENT = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn])
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("ready", flush=True)
time.sleep(60)
"""
KILLED = """
import os, subprocess, sys
from bench.processes import running
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
with running([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ, **quiet) as process:
    print(process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_bench_that_is_killed_leaves_nothing_running() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, capture_output=True, text=True)
    pid = int(done.stdout)
    eventually(lambda: _is_gone(pid), what="the end of what it had started")


def _is_gone(pid: int) -> bool:
    """A process that has ended and that nobody has waited for yet is gone too."""
    try:
        return " Z " in (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_tree_has_its_children_and_the_time_of_those_that_have_ended() -> None:
    with running([sys.executable, "-c", PARENT], env=os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(tree(process.pid)) == 2
        assert cpu_seconds(process.pid) >= 0.3
        assert pss_mib(process.pid) > 5
    assert tree(process.pid) == [process.pid]
