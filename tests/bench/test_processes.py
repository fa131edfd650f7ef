"""What a tree of processes costs counts its children, the living and those that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.processes import cpu_seconds, pss_mib, running, tree

PARENT = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn])
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_tree_has_its_children_and_the_time_of_those_that_have_ended() -> None:
    with running([sys.executable, "-c", PARENT], env=os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(tree(process.pid)) == 2
        assert cpu_seconds(process.pid) >= 0.3
        assert pss_mib(process.pid) > 5
    assert tree(process.pid) == [process.pid]
