"""`python -m tests.hosts.drive SCENARIO`: real processes in a house of their own, one JSON object at the end.

The house is the drill's (see generations/drill/house.py), so that nothing of the test session's own servers is used.
This process first becomes itself in that environment; only then are the settings read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from config.stack import environment, places, rabbitmq
from generations.drill import house
from tests import s3_server

S3_PORT = "CLIPLEDGER_TEST_S3_PORT"


def main(scenario: str) -> None:
    place = house.ours()
    if place is None:
        _enter(scenario)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        if scenario == "rabbitmq":
            broker = rabbitmq.start(place.directory)
            stack.callback(broker.stop)
            os.environ["CELERY_BROKER_URL"] = broker.url
        elif scenario == "two_hosts":
            broker = None
            endpoint = stack.enter_context(s3_server.running_s3(int(os.environ[S3_PORT])))
            s3_server.make_bucket(endpoint)
        import django

        django.setup()
        if broker:
            from tests.hosts.on_rabbitmq import play as on_rabbitmq

            report = on_rabbitmq(place, broker)
        else:
            from tests.hosts.on_two_hosts import play as on_two_hosts

            report = on_two_hosts(place)
    print(json.dumps(report, indent=1))


def _enter(scenario: str) -> None:
    """Replace this process by the same in a house of its own; does not return."""
    place = house.fresh()
    env = place.environment() | {"PYTHONPATH": str(environment.CHECKOUT)}
    if scenario == "two_hosts":
        port = places.free_port()
        env |= {S3_PORT: str(port), **s3_server.environment(f"http://127.0.0.1:{port}")}
    os.chdir(environment.CHECKOUT)
    os.execve(sys.executable, [sys.executable, "-m", "tests.hosts.drive", scenario], env)  # noqa: S606


def logs(directory: Path) -> str:
    """The last words of every process, for whoever has to find out why."""
    found = sorted(directory.glob("*.log"))
    return "\n".join(f"--- {each.name}\n{each.read_text(errors='replace')[-1500:]}" for each in found)


if __name__ == "__main__":
    main(sys.argv[1])
