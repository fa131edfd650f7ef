"""Everything at once on one wallet, and clients that die without a word: the book must stay whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from urllib.parse import quote

import pytest
from django.db import connection
from django.utils import timezone

from accounts import ledger
from accounts.errors import HoldAlreadyResolved, IdempotencyConflict, InvalidAmount
from accounts.ledger import check
from accounts.models import Hold, User, Wallet
from tests.concurrency.together import together
from tests.factories import TeamFactory, UserFactory

pytestmark = [pytest.mark.concurrency, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
AMPLE = 10**9


def live(wallet: Wallet, user: User, *, name: str, seconds: float) -> int:
    """One client doing everything at random for a while; with ample credits nothing may be refused for want of them."""
    chance, made, done = random.Random(name), [], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done += 1
        key = f"{name}:{done}"
        match chance.randrange(8):
            case 0 | 1 | 2:
                made.append(
                    ledger.hold(wallet, amount=chance.randint(1, 90), user=user, reference=key, reason="Go")
                )
            case 3:
                soon = timezone.now() + timedelta(milliseconds=chance.randint(5, 200))
                ledger.grant(
                    wallet, amount=20, source="promotional", reason="x", idempotency_key=key, expires_at=soon
                )
            case 4:
                ledger.expire(wallet)
            case 5:
                ledger.set_budget(
                    wallet, user=user, limit_credits=AMPLE + done, period="day", actor=user, reason="Plan"
                )
            case _ if made:
                resolve_any(wallet, chance, key)
    return done


def resolve_any(wallet: Wallet, chance: random.Random, key: str) -> None:
    """Resolve anybody's open hold, so that clients meet on the same ones."""
    found = Hold.objects.filter(wallet=wallet, state="held").order_by("created_at").first()
    if found is None:
        return
    try:
        if chance.random() < 0.5:
            ledger.release(found, reason="Failed")
        else:
            ledger.capture(found, amount=chance.randint(1, found.amount), reason="Stored")
            refund_one(found, key)
    except (HoldAlreadyResolved, IdempotencyConflict):
        pass  # another client was first


def refund_one(captured: Hold, key: str) -> None:
    """Another client may have captured the same single credit and given it back already."""
    try:
        ledger.refund(captured, amount=1, actor=captured.user, reason="Sorry", idempotency_key=key)
    except InvalidAmount:
        captured.refresh_from_db()
        assert captured.refunded == captured.captured == 1


def test_mixed_work_on_one_wallet_meets_no_deadlock_and_no_false_refusal() -> None:
    wallet = TeamFactory(credits=AMPLE).wallet
    users = UserFactory.create_batch(3)
    results = together([partial(live, wallet, users[n % 3], name=f"client{n}", seconds=4) for n in range(8)])
    assert [result for result in results if not isinstance(result, int)] == []
    assert sum(results) > 50
    assert check.breaches() == []


CLIENT = """
import random, sys, time
import django
django.setup()
from django.db import transaction
from accounts import ledger
from accounts.models import User, Wallet
wallet, user = Wallet.objects.get(pk={wallet}), User.objects.get(pk={user})
{work}
"""

DIES_BEFORE_COMMIT = """
with transaction.atomic():
    hold = ledger.hold(wallet, amount=40, user=user, reference="doomed", reason="Go")
    ledger.capture(hold, amount=10, reason="Stored")
    print("ready", flush=True)
    time.sleep(60)
"""

DIES_ANYWHERE = """
for number in range(10**6):
    hold = ledger.hold(wallet, amount=3, user=user, reference=f"{sys.argv[1]}:{number}", reason="Go")
    if number == 5:
        print("ready", flush=True)
    random.choice([ledger.capture, ledger.release])(hold, reason="Done")
"""


def start_client(wallet: Wallet, user: User, work: str, *, name: str = "client") -> subprocess.Popen[str]:
    database = connection.settings_dict
    login = f"{quote(database['USER'])}:{quote(database['PASSWORD'], safe='')}"
    url = f"postgres://{login}@{quote(database['HOST'], safe='')}:{database['PORT']}/{database['NAME']}"
    script = CLIENT.format(wallet=wallet.pk, user=user.pk, work=work)
    return subprocess.Popen(
        [sys.executable, "-c", script, name],
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_when_ready(process: subprocess.Popen[str], *, after_seconds: float = 0) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_client_killed_before_its_commit_leaves_nothing_behind() -> None:
    wallet, user = TeamFactory(credits=100).wallet, UserFactory()
    ledger.set_budget(wallet, user=user, limit_credits=100, period="day", actor=user, reason="Cap")
    kill_when_ready(start_client(wallet, user, DIES_BEFORE_COMMIT))
    hold = ledger.hold(wallet, amount=100, user=user, reference="alive", reason="Go")
    assert hold.is_open
    assert not Hold.objects.filter(reference="doomed").exists()
    assert check.breaches() == []


def test_clients_killed_at_any_point_leave_the_book_whole() -> None:
    wallet, user = TeamFactory(credits=10**6).wallet, UserFactory()
    ledger.set_budget(wallet, user=user, limit_credits=10**6, period="day", actor=user, reason="Cap")
    clients = [start_client(wallet, user, DIES_ANYWHERE, name=f"client{number}") for number in range(3)]
    for client in clients:
        kill_when_ready(client, after_seconds=random.uniform(0.05, 0.4))
    for hold in Hold.objects.filter(state="held"):
        ledger.release(hold, reason="Swept")
    assert ledger.balance(wallet).held == 0
    assert check.breaches() == []
