"""The embedded PostgreSQL: a data directory, a free loopback port, a random password, one postmaster as our child.

It listens on TCP and on no socket file: a path to a socket may not be longer than 107 bytes, and a checkout may lie
anywhere. Other users of the machine can knock but have no password (scram-sha-256).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from config.stack import binaries, child, guise, places
from config.stack.errors import PortTakenError, StackError

USER = DATABASE = "clipledger"
START_SECONDS = 60
STOP_SECONDS = 8
# A wrong password may come from a stranger on the port that we are about to be told we cannot have.
REFUSED_SECONDS = 2
PARAMETERS = {
    "listen_addresses": places.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running server; `url` is the DATABASE_URL."""

    url: str
    process: subprocess.Popen[bytes]
    data: Path

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected, nothing committed is lost."""
        child.stop(self.process, with_signal=signal.SIGINT, grace_seconds=STOP_SECONDS)
        _end_leftovers(self.data)


def start(directory: Path, *, checkout: Path, is_durable: bool = True, port: int | None = None) -> Postgres:
    """Start the server of `directory` and make its database; the caller holds the directory's lock.

    It takes a free port unless told which. A server left there by a killed parent is stopped first. With `is_durable`
    off the server is faster and a crash of the machine may lose the data: for tests. Raises StackError with the end of
    the server's log.
    """
    base = places.private_directory(directory / "postgres")
    bin_directory = binaries.postgres_directory()
    disguise = guise.choose(base, checkout=checkout, binary=bin_directory / "postgres")
    password = places.secret(directory / "postgres.password")
    data = base / "data"
    had_crashed = _end_leftovers(data)
    if had_crashed and not is_durable:
        shutil.rmtree(data)
    if not data.exists():
        _initdb(
            data, bin_directory=bin_directory, disguise=disguise, password=password, is_durable=is_durable
        )
    _check_version(data, bin_directory, disguise)
    for _ in range(3):
        try:
            return _launch(data, bin_directory, disguise, password, is_durable=is_durable, port=port)
        except PortTakenError:
            continue
    raise StackError("PostgreSQL found no free port on 127.0.0.1 in three tries.")


def _end_leftovers(data: Path) -> bool:
    """Stop what still runs in the data directory, forget its pid file, and say whether it had been left unclean.

    The pid file must go: its number may belong to a stranger by now, and PostgreSQL would then refuse to start.
    """
    if not data.exists():
        return False
    child.end_leftovers(child.living_in(data), with_signal=signal.SIGINT, grace_seconds=STOP_SECONDS)
    pid_file = data / "postmaster.pid"
    is_unclean = pid_file.exists()
    if child.IS_LINUX:
        pid_file.unlink(missing_ok=True)
    return is_unclean


def _initdb(
    data: Path, *, bin_directory: Path, disguise: guise.Guise, password: str, is_durable: bool
) -> None:
    """Make the data directory beside its place and move it there whole: half a directory is never taken for one."""
    draft = data.with_name("data.new")
    password_file = data.with_name("password")
    shutil.rmtree(draft, ignore_errors=True)
    places.write_private(password_file, password)
    if disguise.owner:
        os.chown(password_file, disguise.owner, disguise.owner)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = [f"--username={USER}", f"--pwfile={password_file}", "--auth=scram-sha-256"]
    sync = [] if is_durable else ["--no-sync"]
    argv: list[str | Path] = [
        bin_directory / "initdb",
        f"--pgdata={draft}",
        *locale,
        *access,
        *sync,
        "--no-instructions",
    ]
    try:
        done = disguise.run(argv, env=_environment(), cwd=data.parent)
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode:
        raise StackError(f"PostgreSQL's initdb failed:\n{done.stdout}{done.stderr}")
    draft.rename(data)


def _check_version(data: Path, bin_directory: Path, disguise: guise.Guise) -> None:
    ours = (
        disguise.run([bin_directory / "postgres", "--version"], env=_environment())
        .stdout.split()[-1]
        .split(".")[0]
    )
    theirs = (data / "PG_VERSION").read_text().strip()
    if ours != theirs:
        raise StackError(
            f"{data} was written by PostgreSQL {theirs} and this is {ours}. Move the data with pg_dump of {theirs}, "
            f"or delete {data} to start anew."
        )


def _launch(
    data: Path,
    bin_directory: Path,
    disguise: guise.Guise,
    password: str,
    *,
    is_durable: bool,
    port: int | None,
) -> Postgres:
    port = port or places.free_port()
    parameters = PARAMETERS if is_durable else PARAMETERS | NOT_DURABLE
    settings = [f"--{name}={value}" for name, value in {**parameters, "port": str(port)}.items()]
    log = data.parent.parent / "postgres.log"
    with log.open("wb") as output:
        process = child.spawn(
            [*disguise.prefix, bin_directory / "postgres", "-D", data, *settings],
            death_signal=signal.SIGINT,
            env=_environment(),
            cwd=data,
            output=output,
            uid=disguise.uid,
            gid=disguise.gid,
        )
    try:
        _make_database(process, port=port, password=password, log=log)
    except BaseException:
        child.stop(process, with_signal=signal.SIGINT, grace_seconds=STOP_SECONDS)
        raise
    url = f"postgres://{USER}:{password}@{places.LOOPBACK}:{port}/{DATABASE}"
    return Postgres(url=url, process=process, data=data)


def _make_database(process: subprocess.Popen[bytes], *, port: int, password: str, log: Path) -> None:
    with _connect(process, port=port, password=password, log=log) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _connect(
    process: subprocess.Popen[bytes], *, port: int, password: str, log: Path
) -> psycopg.Connection[tuple[object, ...]]:
    """The first connection, as soon as the server takes one; recovery after a crash may need a while."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise _failure(log)
        try:
            return psycopg.connect(
                host=places.LOOPBACK,
                port=port,
                user=USER,
                password=password,
                dbname="postgres",
                autocommit=True,
                connect_timeout=5,
            )
        except psycopg.OperationalError as error:
            is_refused = "authentication" in str(error) and not child.ends_within(process, REFUSED_SECONDS)
            if is_refused or time.monotonic() > deadline:
                raise StackError(
                    f"PostgreSQL does not answer: {error}\n{log.read_text(errors='replace')}"
                ) from error
        time.sleep(0.02)


def _failure(log: Path) -> StackError:
    text = log.read_text(errors="replace")
    if "could not bind" in text:
        return PortTakenError(text)
    return StackError(f"PostgreSQL did not start:\n{text[-2000:]}")


def _environment() -> dict[str, str]:
    """No LD_*, PG* or locale variable of the caller's may change how the server behaves."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
