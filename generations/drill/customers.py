"""The members of the drill: they order at their moment, press again until it is taken, twice at once, and cancel.

Some order by a call of `lifecycle.request` in this process, some by the pages' own POST with a session and its CSRF
token. Whoever gets an error presses again with the same form, as a browser's reload does: one form, one generation.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module

import httpx
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import Error, connection
from django.urls import reverse

from accounts import ledger
from accounts.errors import LedgerError
from accounts.models import Membership, Team, User
from generations import catalogue, lifecycle, media
from generations.drill.plan import MEMBERS, Order
from generations.models import Generation, Picture

THREADS = 32
TEAMS = 2
CREDITS = 10_000_000
AGAIN_SECONDS = 0.5
HTTP_SECONDS = 20
CSRF = "d" * 32
TOKEN_FIELD = "csrfmiddlewaretoken"  # noqa: S105 - a field's name


@dataclass(frozen=True)
class Customer:
    """One member with what ordering takes: a picture of the team's, and the cookies of a session."""

    membership: Membership
    picture: Picture
    cookies: dict[str, str]


def settle_in() -> list[Customer]:
    """Teams with credits for everything, members, one picture each, and everybody signed in."""
    teams = [Team.objects.create(name=f"Drill {n}", slug=f"drill-{n}") for n in range(TEAMS)]
    for team in teams:
        wallet = ledger.open_wallet(team)
        key = f"drill:{team.pk}"
        ledger.grant(wallet, amount=CREDITS, source="promotional", reason="The drill", idempotency_key=key)
    return [_customer(teams[number % TEAMS], number) for number in range(MEMBERS)]


def _customer(team: Team, number: int) -> Customer:
    user = User.objects.create_user(f"drill{number}@example.com", uuid.uuid4().hex, name=f"Drill {number}")
    membership = Membership.objects.create(team=team, user=user)
    picture = media.sample_picture(team=team, user=user)
    return Customer(membership, picture, {"sessionid": _session(user), "csrftoken": CSRF})


def _session(user: User) -> str:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return str(store.session_key)


@dataclass
class Crowd:
    """Places all orders from threads of its own. `said` counts what they were told when it was not taken."""

    customers: Sequence[Customer]
    web_url: str
    said: Counter[str] = field(default_factory=Counter)
    wishes: set[str] = field(default_factory=set)
    _is_closed: threading.Event = field(default_factory=threading.Event)
    _waiting: list[Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="customer")
        self._http = httpx.Client(base_url=self.web_url, timeout=HTTP_SECONDS)

    @property
    def is_served(self) -> bool:
        return all(future.done() for future in self._waiting)

    def come(self, order: Order) -> None:
        """Let the member of an order do it now; raises nothing, see `close`."""
        presses = 2 if order.is_double else 1
        for number in range(presses):
            self._waiting.append(self._pool.submit(self._serve, order, is_first=number == 0))

    def close(self) -> None:
        """Send everybody home; an error of the drill's own is raised here."""
        self._is_closed.set()
        self._pool.shutdown(cancel_futures=True)
        for future in self._waiting:
            if not future.cancelled():
                future.result()

    def _serve(self, order: Order, *, is_first: bool) -> None:
        try:
            self._insist(lambda: self._order(order))
            if is_first and order.cancel_after_seconds is not None:
                self._is_closed.wait(order.cancel_after_seconds)
                self.wishes.add(order.form_token)
                self._insist(lambda: self._cancel(order))
        finally:
            connection.close()

    def _insist(self, press: Callable[[], object]) -> None:
        """Press until there is an answer that counts, or the drill is over."""
        while not self._is_closed.is_set():
            try:
                press()
                return
            except (Error, LedgerError, media.StorageUnavailable, httpx.HTTPError) as error:
                self.said[_word(error)] += 1
                connection.close()
            self._is_closed.wait(AGAIN_SECONDS)

    def _order(self, order: Order) -> None:
        customer = self.customers[order.member]
        engine = catalogue.get(order.engine)
        fields = [field.name for field in engine.picture_inputs if field.required]
        if order.is_http:
            form = {"engine": order.engine, "shown_engine": order.engine, "form_token": order.form_token}
            form |= {"prompt": order.prompt, **dict.fromkeys(fields, str(customer.picture.pk))}
            self._post(customer, reverse("generations:generate"), form)
            return
        lifecycle.request(
            user=customer.membership.user,
            team=customer.membership.team,
            engine=order.engine,
            params={"prompt": order.prompt},
            pictures={name: [customer.picture] for name in fields},
            form_token=uuid.UUID(order.form_token),
        )

    def _cancel(self, order: Order) -> None:
        customer = self.customers[order.member]
        generation = Generation.objects.get(
            user=customer.membership.user, form_token=uuid.UUID(order.form_token)
        )
        if not order.is_http:
            lifecycle.cancel(generation, actor=customer.membership.user)
            return
        self._post(customer, reverse("generations:cancel", args=[generation.pk]), {})

    def _post(self, customer: Customer, path: str, form: dict[str, str]) -> None:
        """A form sent by a browser; whatever is no redirect is pressed again."""
        answer = self._http.post(path, data={TOKEN_FIELD: CSRF, **form}, headers={"Cookie": _jar(customer)})
        if answer.status_code != 302:
            raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)


def _jar(customer: Customer) -> str:
    return "; ".join(f"{name}={value}" for name, value in customer.cookies.items())


def _word(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__
