"""A private RabbitMQ from the Debian binary: free ports, a node name, a cookie and data of its own, no plugins.

Nothing starts one by itself: `make run` needs none, and production has its own behind CELERY_BROKER_URL. It is here for
tests and drills of what runs on RabbitMQ. Its port mapper (epmd) is ours too, so that none is left behind as a daemon.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import amqp

from config.stack import child, places
from config.stack.errors import StackError

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
NO_RABBITMQ = (
    "There is no RabbitMQ on this machine. On Debian or Ubuntu: sudo apt-get install rabbitmq-server"
)
START_SECONDS = 90
STOP_SECONDS = 20
POLL_SECONDS = 0.2
USER = "clipledger"
# Two schedulers that sleep when there is nothing to do: it shares the machine with everything under test.
ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"


@dataclass
class RabbitMq:
    """A running server; `url` is the CELERY_BROKER_URL, the same after a restart."""

    url: str
    directory: Path
    env: dict[str, str]
    port: int
    epmd: subprocess.Popen[bytes]
    process: subprocess.Popen[bytes]

    def restart(self) -> None:
        """Stop it in good order and start it again on the same port with its data."""
        child.stop(self.process, grace_seconds=STOP_SECONDS)
        self.process = _launched(self.directory, self.env)
        _wait(self)

    def stop(self) -> None:
        child.stop(self.process, grace_seconds=STOP_SECONDS)
        child.stop(self.epmd, grace_seconds=1)


def is_installed() -> bool:
    return SERVER.exists() and shutil.which("epmd") is not None


def start(directory: Path) -> RabbitMq:
    """Start a server whose data are in `directory`, which the caller holds. Raises StackError."""
    if not is_installed():
        raise StackError(NO_RABBITMQ)
    home = places.private_directory(directory / "rabbitmq")
    password = places.secret(directory / "rabbitmq.password")
    port, epmd_port = places.free_port(), places.free_port()
    env = _environment(home, port=port, epmd_port=epmd_port, password=password)
    epmd = child.spawn(
        [shutil.which("epmd") or "epmd", "-address", places.LOOPBACK, "-port", str(epmd_port)],
        death_signal=signal.SIGKILL,
        env=env,
        cwd=home,
        output=subprocess.DEVNULL,
    )
    url = f"amqp://{USER}:{password}@{places.LOOPBACK}:{port}//"
    server = RabbitMq(url, home, env, port, epmd, _launched(home, env))
    try:
        _wait(server)
    except BaseException:
        server.stop()
        raise
    return server


def _environment(home: Path, *, port: int, epmd_port: int, password: str) -> dict[str, str]:
    configuration = home / "rabbitmq.conf"
    places.write_private(
        configuration,
        f"listeners.tcp.1 = {places.LOOPBACK}:{port}\n"
        f"default_user = {USER}\ndefault_pass = {password}\nlog.console = true\nlog.console.level = warning\n",
    )
    places.write_private(home / "enabled_plugins", "[].\n")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": f"clipledger-{secrets.token_hex(4)}@localhost",
        "RABBITMQ_DIST_PORT": str(places.free_port()),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        # The shell script becomes the server instead of waiting beside it, so that a signal reaches the server.
        "detached": "1",
    }


def _launched(home: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with (home.parent / "rabbitmq.log").open("ab") as output:
        return child.spawn([SERVER], death_signal=signal.SIGKILL, env=env, cwd=home, output=output)


def _wait(server: RabbitMq) -> None:
    deadline = time.monotonic() + START_SECONDS
    log = server.directory.parent / "rabbitmq.log"
    while not _answers(server):
        if child.ends_within(server.process, POLL_SECONDS):
            raise StackError(f"RabbitMQ did not start:\n{log.read_text(errors='replace')[-2000:]}")
        if time.monotonic() > deadline:
            raise StackError(f"RabbitMQ does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def _answers(server: RabbitMq) -> bool:
    password = server.url.split(":")[2].partition("@")[0]
    client = amqp.Connection(
        f"{places.LOOPBACK}:{server.port}", userid=USER, password=password, connect_timeout=2, read_timeout=2
    )
    with suppress(OSError, amqp.exceptions.AMQPError):
        client.connect()
        client.close()
        return True
    return False
