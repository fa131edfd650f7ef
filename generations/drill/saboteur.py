"""The saboteur: takes the plan's strikes when their moment comes, and takes back what was to last only for a while."""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import psycopg
import redis

from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from generations.drill.plan import CLOCKS, EVERYWHERE, JUMPS_SECONDS, Strike

log = logging.getLogger(__name__)

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
QUICK_SECONDS = 2


@dataclass
class Saboteur:
    """`tick` does what is due by the drill's own clock; `is_over` once nothing is left to do or to take back.

    `done` counts what was really struck: a victim that was down already, or frozen, is no strike.
    """

    fleet: Fleet
    books: FalBooks
    database_url: str
    broker_url: str
    strikes: Sequence[Strike]
    done: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    _next: int = 0
    _undo: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self._next >= len(self.strikes) and not self._undo

    def tick(self, now_seconds: float) -> None:
        for each in [each for each in self._undo if each[0] <= now_seconds]:
            if _tried(each[1]):
                self._undo.remove(each)
        while self._next < len(self.strikes) and self.strikes[self._next].at_seconds <= now_seconds:
            strike = self.strikes[self._next]
            self._next += 1
            self._strike(strike, now_seconds)

    def undo_all(self) -> None:
        """Nothing stays frozen, full or locked, also when the drill is cut short."""
        for _, undo in self._undo:
            _tried(undo)
        self._undo.clear()

    def _strike(self, strike: Strike, now_seconds: float) -> None:
        name = " ".join(part for part in (strike.kind, strike.victim) if part)
        has_struck = _tried(lambda: STRIKES[strike.kind](self, strike))
        (self.done if has_struck else self.missed)[name] += 1
        if has_struck and strike.kind in UNDO:
            self._undo.append((now_seconds + strike.seconds, lambda: UNDO[strike.kind](self, strike)))

    def kill(self, strike: Strike) -> bool:
        return self.fleet.kill(strike.victim)

    def kill_child(self, strike: Strike) -> bool:
        return self.fleet.kill_child(strike.victim, strike.choice)

    def freeze(self, strike: Strike) -> bool:
        return self.fleet.freeze(strike.victim)

    def thaw(self, strike: Strike) -> None:
        self.fleet.thaw(strike.victim)

    def flush_broker(self, _strike: Strike) -> bool:
        with redis.Redis.from_url(self.broker_url, socket_timeout=QUICK_SECONDS) as broker:
            return bool(broker.flushall())

    def freeze_broker(self, _strike: Strike) -> bool:
        os.kill(self.fleet.pid_of_broker(), signal.SIGSTOP)
        return True

    def thaw_broker(self, _strike: Strike) -> None:
        os.kill(self.fleet.pid_of_broker(), signal.SIGCONT)

    def restart_database(self, strike: Strike) -> bool:
        self.fleet.stop_database(is_crash=strike.kind == "crash database")
        time.sleep(strike.choice / 100)
        self.fleet.start_database()
        return True

    def cut_connections(self, _strike: Strike) -> bool:
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=QUICK_SECONDS) as connection:
            return bool(connection.execute(CUT).fetchall())

    def fill_storage(self, _strike: Strike) -> bool:
        return self.fleet.limit_files(0)

    def empty_storage(self, _strike: Strike) -> None:
        self.fleet.limit_files(resource.RLIM_INFINITY)

    def jump_clock(self, strike: Strike) -> bool:
        """By an hour, forwards or back, for one process or for all of ours; PostgreSQL's clock stays right."""
        return self.fleet.set_clock(_clocks(strike), JUMPS_SECONDS[strike.choice % len(JUMPS_SECONDS)])

    def right_clock(self, strike: Strike) -> None:
        self.fleet.set_clock(_clocks(strike), 0)

    def lock_account(self, _strike: Strike) -> bool:
        return self.books.settings(locked="Exhausted balance. The drill did it.")

    def unlock_account(self, _strike: Strike) -> None:
        self.books.settings(locked="")


STRIKES: dict[str, Callable[[Saboteur, Strike], bool]] = {
    "kill": Saboteur.kill,
    "kill child": Saboteur.kill_child,
    "freeze": Saboteur.freeze,
    "flush broker": Saboteur.flush_broker,
    "freeze broker": Saboteur.freeze_broker,
    "restart database": Saboteur.restart_database,
    "crash database": Saboteur.restart_database,
    "cut connections": Saboteur.cut_connections,
    "fill storage": Saboteur.fill_storage,
    "lock account": Saboteur.lock_account,
    "jump clock": Saboteur.jump_clock,
}
UNDO: dict[str, Callable[[Saboteur, Strike], object]] = {
    "freeze": Saboteur.thaw,
    "freeze broker": Saboteur.thaw_broker,
    "fill storage": Saboteur.empty_storage,
    "lock account": Saboteur.unlock_account,
    "jump clock": Saboteur.right_clock,
}


def _clocks(strike: Strike) -> Sequence[str]:
    return CLOCKS if strike.victim == EVERYWHERE else [strike.victim]


def _tried(work: Callable[[], object]) -> bool:
    """Whether it was done: what is struck may be down just now, and then it is tried again or counted as missed."""
    try:
        return work() is not False
    except (OSError, httpx.HTTPError, redis.RedisError, psycopg.Error) as error:
        log.warning("not struck: %s", error)
        return False
