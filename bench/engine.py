"""From fal's COMPLETED to our `succeeded`, and requests to fal per generation, against the stock client's subscribe.

Both sides ask a sandbox of the same kind for the same clips in the same minutes; the stock client speaks TLS, so it
has a sandbox of its own. Our side is the real worker and watcher; without a web process there are no webhooks, so
what is measured is streams and polling alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from accounts.models import Wallet
from bench.house import running_house, sandbox_environment
from bench.people import make_team
from bench.report import Measurement, compare
from bench.sizes import sized
from generations import lifecycle
from generations.models import Generation
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.self_signed import certificate

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
IN_FLIGHT = 10
ROUNDS = sized(5, 1)
JOB_SECONDS = 15
PATIENCE_SECONDS = 120


def measure() -> list[Measurement]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = {"job_seconds": JOB_SECONDS, "concurrency": IN_FLIGHT}
        cert, key = certificate(directory)
        ours = stack.enter_context(running_sandbox(directory / "ours", **options))
        theirs = stack.enter_context(
            running_sandbox(directory / "theirs", tls_cert=str(cert), tls_key=str(key), **options)
        )
        stack.enter_context(
            running_house(
                directory,
                {**sandbox_environment(ours), "FAL_CONCURRENCY": str(IN_FLIGHT)},
                parts=("worker", "watcher"),
            )
        )
        wallet = make_team("engine", amount=10**6)
        rounds = [(_our_round(wallet, ours), _their_round(theirs, cert)) for _ in range(ROUNDS)]
    conditions = f"{IN_FLIGHT} in flight, simulated jobs of {JOB_SECONDS} s, medians per round, no webhooks"
    return [
        compare(
            "time from fal's COMPLETED to succeeded, clip stored and opened",
            [mine[0] for mine, _ in rounds],
            [other[0] for _, other in rounds],
            unit="s",
            versus="fal_client.subscribe + download, nothing recorded",
            conditions=conditions,
        ),
        compare(
            "requests to fal per generation",
            [mine[1] for mine, _ in rounds],
            [other[1] for _, other in rounds],
            unit="requests",
            versus="fal_client.subscribe at its default interval",
            conditions=conditions,
        ),
    ]


def _our_round(wallet: Wallet, sandbox: RunningSandbox) -> tuple[float, float]:
    sandbox.control("reset", {"jobs": True})
    user = wallet.team.memberships.get().user
    made = [
        lifecycle.request(
            user=user,
            team=wallet.team,
            engine=ENGINE,
            params={"prompt": f"A boat drifts, number {number}"},
            pictures={},
            form_token=uuid.uuid4(),
        ).pk
        for number in range(IN_FLIGHT)
    ]
    rows = wait_for(made)
    ended = {
        a.request_id: row.settled_at.timestamp() for row in rows for a in row.attempts.all() if row.settled_at
    }
    return _figures(sandbox, ended)


def wait_for(made: list[uuid.UUID]) -> list[Generation]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        rows = list(Generation.objects.filter(pk__in=made).prefetch_related("attempts"))
        if all(row.is_settled for row in rows):
            if any(row.state != "succeeded" for row in rows):
                raise SystemExit(f"not all succeeded: {[row.failure_code for row in rows]}")
            return rows
        time.sleep(0.5)
    raise SystemExit("the generations of the bench did not settle in time")


def _their_round(sandbox: RunningSandbox, cert: Path) -> tuple[float, float]:
    sandbox.control("reset", {"jobs": True})
    env = {
        **os.environ,
        "FAL_KEY": "bench:key",
        "FAL_QUEUE_RUN_HOST": f"{urlsplit(sandbox.base_url).netloc}/queue",
        "SSL_CERT_FILE": str(cert),
    }
    command = [sys.executable, "-m", "bench.subscribe", ENGINE, str(IN_FLIGHT)]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return _figures(sandbox, {line["request_id"]: line["ended_at"] for line in lines})


def _figures(sandbox: RunningSandbox, ended: dict[str, float]) -> tuple[float, float]:
    """Median seconds after COMPLETED, and mean requests per job: submit, status, stream, result, download."""
    jobs = sandbox.jobs()
    late = sorted(ended[job["request_id"]] - job["completed_at"] for job in jobs)
    return late[len(late) // 2], sum(sum(job["counts"].values()) for job in jobs) / len(jobs)
