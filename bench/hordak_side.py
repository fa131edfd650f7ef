"""django-hordak's side of the suite `hordak`, run by an environment of its own: transfers per second, as JSON.

Usage: python hordak_side.py DATABASE_URL CLIENTS PAIRS. Imports nothing of Clipledger.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time

import dj_database_url
import django
from django.conf import settings

AMOUNT = 49


def configure(url: str) -> None:
    settings.configure(
        SECRET_KEY="bench",  # noqa: S106 - signs nothing
        USE_TZ=True,
        DATABASES={"default": dj_database_url.parse(url)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"],
        DEFAULT_CURRENCY="USD",
        CURRENCIES=["USD"],
        HORDAK_INTERNAL_CURRENCY="USD",
        HORDAK_CURRENCIES=["USD"],
    )
    django.setup()


def accounts() -> dict[str, int]:
    """A funded wallet, what is held, and what is spent, made once; their keys."""
    from hordak.models import Account, AccountType
    from moneyed import Money

    found = {}
    for name in ("cash", "wallet", "held", "spent"):
        kind = AccountType.asset if name == "cash" else AccountType.liability
        account, _ = Account.objects.get_or_create(name=name, defaults={"type": kind, "currencies": ["USD"]})
        found[name] = account.pk
    cash, wallet = (Account.objects.get(pk=found[name]) for name in ("cash", "wallet"))
    if not wallet.legs.exists():
        cash.transfer_to(wallet, Money(10**9, "USD"), description="bench")
    return found


def pairs(keys: dict[str, int], count: int) -> None:
    """What stands for a hold and its capture: two transfers, each in a transaction of its own."""
    from hordak.models import Account
    from moneyed import Money

    wallet, held, spent = (Account.objects.get(pk=keys[name]) for name in ("wallet", "held", "spent"))
    for _ in range(count):
        wallet.transfer_to(held, Money(AMOUNT, "USD"), description="hold")
        held.transfer_to(spent, Money(AMOUNT, "USD"), description="capture")


def main(url: str, clients: int, count: int) -> None:
    configure(url)
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    keys = accounts()
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=pairs, args=(keys, count)) for _ in range(clients)]
    begun = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a client of hordak's failed")
    print(json.dumps({"pairs_per_second": clients * count / (time.perf_counter() - begun)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
