"""`make run`: the whole of Clipledger on one machine, from nothing to a sign-in, and away again without a trace.

Everything it keeps lies under var/run: the database, the broker's data, the media, the sandbox's jobs, the secret key,
the demo password. While it runs, var/run/env holds the environment for other shells (see environment.py), and
CLIPLEDGER_RUN_DIRECTORY names another place for all of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from config.stack import child, environment, places, servers
from config.stack.errors import AlreadyRunningError, StackError
from config.stack.supervisor import Job, Supervisor

MARK = "CLIPLEDGER_STACK"
PYTHON = sys.executable
WEB_KILL_SECONDS = 3
LEFTOVER_SECONDS = 3
# On a developer's machine or in a container root is often all there is, and saying so fills a screen.
NO_ROOT_WARNING = "ignore:You're running the worker with superuser privileges"


def run(*, host: str, port: int, directory: Path = environment.RUN_DIRECTORY) -> int:
    """Bring everything up, greet, stay until told to stop; returns the exit code.

    Raises StackError when it runs already, when the port is taken, or when a server does not come up.
    """
    # Until the supervisor takes over, a signal to stop unwinds everything that is up already.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    began_at = time.monotonic()
    with _alone(directory):
        _end_leftovers(directory)
        _check_port(host, port)
        print("Starting PostgreSQL and Valkey ...", flush=True)
        with servers.running(directory) as started:
            values = _values(started, directory=directory, host=host, port=port)
            with _published(directory, values):
                env = {**os.environ, **values, MARK: str(directory), "PYTHONUNBUFFERED": "1"}
                greeting = _prepare(env, directory=directory)
                jobs = _jobs(env, directory=directory, host=host, port=port)
                return _supervise(jobs, env=env, host=host, port=port, greeting=greeting, began_at=began_at)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory; refuse, saying where, when a run of this checkout is up already."""
    places.private_directory(directory.parent)
    places.private_directory(directory)
    try:
        held = places.lock(directory / "lock")
    except AlreadyRunningError:
        where = environment.read(directory).get("CLIPLEDGER_URL", "")
        at = f" at {where}" if where else ", still coming up"
        raise AlreadyRunningError(
            f"Clipledger already runs in this checkout{at}. Stop it with Ctrl-C there."
        ) from None
    with held:
        yield


def _end_leftovers(directory: Path) -> None:
    """Stop what a run of this checkout left behind when it was killed with everything else."""
    pids = child.marked(MARK, str(directory))
    child.end_leftovers(pids, with_signal=signal.SIGTERM, grace_seconds=LEFTOVER_SECONDS)


def _check_port(host: str, port: int) -> None:
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as unknown:
        raise StackError(f"HOST={host} is no address of this machine.") from unknown
    if not places.is_free(host, port):
        raise StackError(
            f"Port {port} on {host} is taken by another program. Choose another: make run PORT={places.free_port()}"
        )


def _values(started: Mapping[str, str], *, directory: Path, host: str, port: int) -> dict[str, str]:
    """The variables this run decides: what is set already stays, and only then comes ours."""
    inherited = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)}
    values = {
        "CLIPLEDGER_ENV": os.environ.get("CLIPLEDGER_ENV") or environment.DEVELOPMENT,
        "CLIPLEDGER_URL": _url(host, port),
        "MEDIA_ROOT": os.environ.get("MEDIA_ROOT") or str(directory / "media"),
        **inherited,
        **started,
    }
    if not os.environ.get("SECRET_KEY"):
        values["SECRET_KEY"] = places.secret(directory / "secret")
    if not os.environ.get("FAL_KEY"):
        values |= _sandbox_values(places.kept_port(directory / "sandbox.port"), webhooks=_url(host, port))
    return values


def _url(host: str, port: int) -> str:
    reached = places.LOOPBACK if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def _sandbox_values(port: int, *, webhooks: str) -> dict[str, str]:
    """Every address of fal's, turned to the sandbox; its port stays, since stored jobs carry its address."""
    base = f"http://{places.LOOPBACK}:{port}"
    return {
        "FAL_KEY": "sandbox",
        "FAL_QUEUE_URL": f"{base}/queue",
        "FAL_REST_URL": f"{base}/rest",
        "FAL_CDN_URL": f"{base}/cdn",
        "FAL_PLATFORM_URL": f"{base}/platform/v1",
        "FAL_JWKS_URL": f"{base}/.well-known/jwks.json",
        "FAL_WEBHOOK_BASE_URL": webhooks,
        "FAL_IS_SANDBOX": "1",
    }


@contextmanager
def _published(directory: Path, values: Mapping[str, str]) -> Iterator[None]:
    environment.write(directory, values)
    try:
        yield
    finally:
        (directory / "env").unlink(missing_ok=True)


def _prepare(env: Mapping[str, str], *, directory: Path) -> str:
    """Migrate and seed; returns the lines of the seed, which say how to sign in."""
    print("Migrating the database ...", flush=True)
    _manage("migrate", "--no-input", "--verbosity=0", env=env)
    return _manage("seed_demo", f"--password-file={directory / 'demo_password'}", env=env).strip()


def _manage(*arguments: str, env: Mapping[str, str]) -> str:
    process = child.spawn(
        [PYTHON, "manage.py", *arguments],
        death_signal=signal.SIGKILL,
        env=env,
        cwd=environment.CHECKOUT,
        output=subprocess.PIPE,
    )
    try:
        output = process.communicate()[0].decode(errors="replace")
    finally:
        child.stop(process, grace_seconds=2)
    if process.returncode:
        raise StackError(f"manage.py {arguments[0]} failed:\n{output}")
    return output


def _jobs(env: Mapping[str, str], *, directory: Path, host: str, port: int) -> list[Job]:
    schedule = directory / "beat-schedule"
    for stale in directory.glob("beat-schedule*"):
        stale.unlink()
    celery = [PYTHON, "-W", NO_ROOT_WARNING, "-m", "celery", "-A", "config", "--quiet"]
    jobs = [
        Job(name="web", argv=_web(host, port), death_signal=signal.SIGTERM),
        Job(name="worker", argv=[*celery, "worker", "--queues=bells", "--concurrency=2", *_worker("bells")]),
        # How many clips come home at once: INGEST_CONCURRENCY.
        Job(name="clips", argv=[*celery, "worker", "--queues=clips", *_worker("clips")]),
        Job(
            name="beat", argv=[*celery, "beat", "--loglevel=WARNING", f"--schedule={schedule}", "--pidfile="]
        ),
        Job(name="watcher", argv=[PYTHON, "manage.py", "watch"]),
    ]
    if env.get("FAL_IS_SANDBOX") and env["FAL_KEY"] == "sandbox":
        address = env["FAL_JWKS_URL"].split("/")[2]
        data = ["--port", address.rpartition(":")[2], "--data-dir", str(directory / "sandbox")]
        jobs.append(Job(name="sandbox", argv=[PYTHON, "manage.py", "fal_sandbox", *data], is_backing=True))
    return jobs


def _worker(name: str) -> list[str]:
    quiet = ["--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    return ["--pool=prefork", f"--hostname={name}@%h", *quiet]


def _web(host: str, port: int) -> list[str]:
    """granian waits for open streams for ever unless it is told how long; every page holds one."""
    limits = ["--workers", "1", "--respawn-failed-workers", "--workers-kill-timeout", f"{WEB_KILL_SECONDS}s"]
    where = ["--interface", "asgi", "--host", host, "--port", str(port), "--log-level", "warning"]
    return [PYTHON, "-m", "granian", *where, *limits, "config.asgi:application"]


def _supervise(
    jobs: list[Job], *, env: Mapping[str, str], host: str, port: int, greeting: str, began_at: float
) -> int:
    supervisor = Supervisor(jobs, env=env, cwd=environment.CHECKOUT)
    fal = "the sandbox (FAL_KEY is not set: clips are simulated, fal charges nothing)"
    if not env.get("FAL_IS_SANDBOX"):
        fal = "fal.ai"

    def greet() -> bool:
        if not _answers(host, port):
            return False
        seconds = time.monotonic() - began_at
        supervisor.say(f"\n  Clipledger is at {_url(host, port)}/ after {seconds:.0f} s, on {fal}.")
        supervisor.say("\n".join(f"  {line}" for line in greeting.splitlines()) + "\n  Ctrl-C stops it.\n")
        return True

    code = supervisor.run(watch=greet)
    print("Stopped." if code == 0 else "Stopped, since one of the processes will not stay up.", flush=True)
    return code


def _answers(host: str, port: int) -> bool:
    reached = places.LOOPBACK if host in ("0.0.0.0", "") else host  # noqa: S104 - compared, not bound
    try:
        socket.create_connection((reached, port), timeout=0.2).close()
    except OSError:
        return False
    return True
