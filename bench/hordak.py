"""Hold + capture with budgets, lots and chain on, against raw SQL and against two transfers of django-hordak.

Hordak (double entry for Django) is installed into an environment of its own, in a database of its own on the same
server. Its transfer checks no balance and keeps no lots, budgets or chain: it is what a team would take instead and
then add those to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from accounts import clock, ledger
from accounts.models import Wallet
from bench.ledger import AMOUNT, PAIRS, ROUNDS, ledger_pairs, pairs_per_second, raw_pairs
from bench.people import make_team
from bench.report import Measurement, compare

PACKAGES = ("django-hordak==2.0.0", "psycopg[binary]>=3.2,<4")
DATABASE = "bench_hordak"
LOTS = 200


def measure() -> list[Measurement]:
    ours, raw = _budgeted("full-book"), make_team("raw-book", amount=10**9)
    with tempfile.TemporaryDirectory() as name:
        python, url = _installed(Path(name)), _database()
        return [found for clients in (1, 8) for found in _compare(ours, raw, python, url, clients=clients)]


def _compare(
    ours: Wallet, raw: Wallet, python: Path, url: str, *, clients: int
) -> tuple[Measurement, Measurement]:
    mine, theirs, hordaks = [], [], []
    for _ in range(ROUNDS):
        mine.append(pairs_per_second(ledger_pairs, ours, clients))
        theirs.append(pairs_per_second(raw_pairs, raw, clients))
        hordaks.append(_hordak_pairs_per_second(python, url, clients))
    name = f"hold+capture with budgets, lots and chain, one hot wallet, {clients} client{'s' * (clients > 1)}"
    conditions = (
        f"{PAIRS} pairs per client and round, day, week and month budget, {LOTS} lots, PostgreSQL with fsync"
    )
    return (
        compare(name, mine, theirs, unit="pairs/s", versus="raw SQL without budgets", conditions=conditions),
        compare(
            f"{name}, against hordak",
            mine,
            hordaks,
            unit="pairs/s",
            versus=f"two transfers of {PACKAGES[0]}",
            conditions=conditions,
        ),
    )


def _budgeted(name: str) -> Wallet:
    """A wallet whose credits lie in many lots, with three budgets on its one member."""
    wallet = make_team(name, amount=AMOUNT)
    admin = wallet.team.memberships.get().user
    for number in range(LOTS):
        ledger.grant(
            wallet,
            amount=AMOUNT * 100,
            source="purchase",
            reason="bench",
            idempotency_key=f"bench:{name}:{number}",
            actor=None,
        )
    for period in ("day", "week", "month"):
        ledger.set_budget(
            wallet,
            user=admin,
            limit_credits=10**9,
            period=period,
            is_hard=True,
            actor=admin,
            reason="bench",
            now=clock.now(),
        )
    return wallet


def _installed(directory: Path) -> Path:
    """An interpreter that has hordak; this one must not."""
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    python = directory / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def _database() -> str:
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        admin.execute(f"CREATE DATABASE {DATABASE}")
    return urlsplit(url)._replace(path=f"/{DATABASE}").geturl()


def _hordak_pairs_per_second(python: Path, url: str, clients: int) -> float:
    # -P: this directory is not on its path, or this file would pass for hordak itself.
    side = Path(__file__).with_name("hordak_side.py")
    done = subprocess.run(
        [python, "-P", side, url, str(clients), str(PAIRS)], check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout.splitlines()[-1])["pairs_per_second"])
