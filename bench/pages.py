"""Page time with 1,000,000 generations in the team against 1,000, first page and deep page."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import Wallet
from bench.people import make_team
from bench.report import Measurement, compare
from bench.sizes import sized
from generations import catalogue
from generations.models import Generation, PriceVersion

FEW, MANY = 1_000, sized(1_000_000, 5_000)
REQUESTS = 15
ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


def measure() -> list[Measurement]:
    few, many = make_team("few", amount=1_000), make_team("many", amount=1_000)
    version = PriceVersion.objects.current(catalogue.get(ENGINE).endpoint_id)
    for wallet, count in ((few, FEW), (many, MANY)):
        fill(wallet, version, count)
    tidy_up()
    studio, library = reverse("generations:studio"), reverse("generations:library")
    return [
        _compare("studio page", few, many, (studio, studio)),
        _compare("library, first page", few, many, (library, library)),
        _compare("library, half way down", few, many, (_deep(library, few, FEW), _deep(library, many, MANY))),
    ]


def _compare(name: str, few: Wallet, many: Wallet, paths: tuple[str, str]) -> Measurement:
    clients = [_signed_in(few), _signed_in(many)]
    rounds = [
        (_milliseconds(clients[1], paths[1]), _milliseconds(clients[0], paths[0]))
        for _ in range(REQUESTS + 2)
    ]
    return compare(
        f"{name} with {MANY:,} generations",
        [r[0] for r in rounds[2:]],
        [r[1] for r in rounds[2:]],
        unit="ms",
        versus=f"{FEW:,} generations",
        conditions="whole page through Django's handler, warm, both teams in one database",
    )


def _signed_in(wallet: Wallet) -> Client:
    client = Client()
    client.force_login(wallet.team.memberships.get().user)
    return client


def _milliseconds(client: Client, path: str) -> float:
    begun = time.perf_counter()
    response = client.get(path)
    taken = (time.perf_counter() - begun) * 1000
    if response.status_code != 200:
        raise SystemExit(f"{path} answered {response.status_code}")
    return taken


def _deep(path: str, wallet: Wallet, count: int) -> str:
    rows = Generation.objects.filter(team=wallet.team).order_by("-created_at", "-id")
    row = rows[count // 2]
    return f"{path}?{urlencode({'before': f'{row.created_at.isoformat()}_{row.pk}'})}"


def fill(wallet: Wallet, version: PriceVersion, count: int) -> None:
    """Settled generations with resolved holds, made by the server itself; the books are not part of this bench."""
    params: dict[str, Any] = {
        "count": count,
        "wallet": wallet.pk,
        "team": wallet.team_id,
        "user": wallet.team.memberships.get().user_id,
        "engine": ENGINE,
        "version": version.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(_HOLDS, params)
        cursor.execute(_GENERATIONS, params)


def tidy_up() -> None:
    """As autovacuum would have by then."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE generations_generation")
        cursor.execute("VACUUM ANALYZE accounts_hold")


_HOLDS = """
INSERT INTO accounts_hold
    (id, wallet_id, user_id, reference, amount, captured, refunded, state, created_at, resolved_at)
SELECT gen_random_uuid(), %(wallet)s, %(user)s, 'bench:' || %(team)s || ':' || n, 49, 49, 0, 'captured',
       now() - n * interval '1 minute', now() - n * interval '1 minute'
FROM generate_series(1, %(count)s) n
"""
_GENERATIONS = """
INSERT INTO generations_generation (id, team_id, user_id, engine, prompt, inputs, form_token, price_version_id,
    quote_credits, hold_id, state, is_cancel_requested, failure_code, failure_message, is_simulated, lease_owner,
    created_at, queued_at, submitted_at, started_at, completed_at, settled_at, changed_at)
SELECT gen_random_uuid(), %(team)s, %(user)s, %(engine)s, 'A boat drifts out of the harbour, fog, morning.', '{}',
       gen_random_uuid(), %(version)s, 49, h.id, 'failed', false, 'runner_error', 'fal had a problem.', true, '',
       h.created_at, h.created_at, h.created_at, h.created_at, h.created_at, h.created_at, h.created_at
FROM accounts_hold h WHERE h.wallet_id = %(wallet)s AND h.reference LIKE 'bench:%%'
"""
