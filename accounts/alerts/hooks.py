"""Outgoing webhooks: where they may lead, how they are signed, and one try to post.

Signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com), for which there are libraries: `webhook-id` is
the same over all tries, `webhook-timestamp` is the try's, `webhook-signature` is HMAC-SHA256 over
"id.timestamp.body" with the decoded secret. The body carries `text` on top, as Slack and its likes want it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx
from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from accounts import addresses, audit, clock
from accounts.addresses import Address
from accounts.models import AlertHook, Notice, Team
from accounts.models.alerts import new_salt
from accounts.pinned import PinnedBackend

TOTAL_SECONDS = 10.0
IDLE_SECONDS = 5.0
MOST_ANSWER_BYTES = 2_000
MAX_URL_LENGTH = 500


class HookRefused(Exception):
    """An address that nothing may be posted to; the text may be shown to whoever typed it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one try ended; `http_status` None where nothing was answered."""

    http_status: int | None
    said: str = ""

    @property
    def is_ok(self) -> bool:
        return self.http_status is not None and 200 <= self.http_status < 300


def set_hook(team: Team, url: str) -> tuple[AlertHook, str]:
    """Post the team's alerts there from now on, with a new secret, which is shown once. Raises `HookRefused`."""
    parsed, _ = check(url)
    with transaction.atomic():
        before = _host_of(AlertHook.objects.filter(team=team).first())
        hook, _ = AlertHook.objects.update_or_create(
            team=team, defaults={"url": url, "salt": new_salt(), "created_at": clock.now()}
        )
        audit.record(
            "webhook.set", subject=hook, team=team, before=before, after={"host": parsed.host, "key": "new"}
        )
    return hook, secret_of(hook)


def _host_of(hook: AlertHook | None) -> dict[str, str]:
    """For the audit log: the rest of an address may be a secret itself, as that of a Slack webhook is."""
    return {"host": httpx.URL(hook.url).host} if hook else {}


@transaction.atomic
def remove_hook(team: Team) -> None:
    """Nothing is posted any more; what still waited is given up."""
    hook = AlertHook.objects.filter(team=team).first()
    if hook is not None:
        audit.record("webhook.removed", subject=hook, team=team, before=_host_of(hook))
        hook.delete()
    waiting = Notice.objects.filter(alert__team=team, channel=Notice.Channel.HOOK, state=Notice.State.PENDING)
    waiting.update(state=Notice.State.FAILED, said="The webhook was removed.")


def secret_of(hook: AlertHook) -> str:
    """ "whsec_..." and 32 bytes in base64; another SECRET_KEY makes another of it."""
    return f"whsec_{base64.b64encode(_key(hook)).decode()}"


def _key(hook: AlertHook) -> bytes:
    return salted_hmac("clipledger.alerts.hook", f"{hook.team_id}:{hook.salt}", algorithm="sha256").digest()


def check(url: str) -> tuple[httpx.URL, Sequence[Address]]:
    """The parsed address and where its host is at this moment. Raises `HookRefused`."""
    is_private_allowed = settings.ALERTS["ARE_PRIVATE_HOOKS_ALLOWED"]
    parsed = _parsed(url, schemes={"http", "https"} if is_private_allowed else {"https"})
    try:
        found = addresses.resolve(parsed.host, _port(parsed))
    except (OSError, UnicodeError, ValueError) as error:
        raise HookRefused(f"The server {parsed.host} cannot be found; check the address.") from error
    if not found or not (is_private_allowed or all(addresses.is_public(address) for address in found)):
        raise HookRefused("This address leads into a private network; only public ones can be posted to.")
    return parsed, found


def _parsed(url: str, *, schemes: set[str]) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip()) if len(url) <= MAX_URL_LENGTH else None
    except (httpx.InvalidURL, UnicodeError, ValueError):
        parsed = None
    if parsed is None or parsed.scheme not in schemes or not parsed.host:
        raise HookRefused(
            f"The address has to begin with {' or '.join(f'{each}://' for each in sorted(schemes))}."
        )
    if parsed.userinfo:
        raise HookRefused("The address contains a name or password; use one without.")
    return parsed


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def post(notice: Notice, hook: AlertHook) -> Answer:
    """One try. Follows no redirect, reads little of what is answered, and takes ten seconds at most."""
    ends_at = time.monotonic() + TOTAL_SECONDS
    try:
        url, found = check(hook.url)
        return _send(url, found, _body(notice), notice, hook, ends_at=ends_at)
    except HookRefused as refused:
        return Answer(None, str(refused))
    except (httpcore.TimeoutException, TimeoutError):
        return Answer(None, "No answer in time.")
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        return Answer(None, f"Not reached: {error}"[:200])


def _send(
    url: httpx.URL, found: Sequence[Address], body: bytes, notice: Notice, hook: AlertHook, *, ends_at: float
) -> Answer:
    waits = dict.fromkeys(("connect", "read", "write", "pool"), IDLE_SECONDS)
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = [*_signed(notice, hook, body), ("Host", url.netloc.decode("ascii"))]
    with (
        httpcore.ConnectionPool(network_backend=PinnedBackend(found, ends_at)) as pool,
        pool.stream("POST", target, headers=headers, content=body, extensions={"timeout": waits}) as response,
    ):
        return Answer(response.status, "" if 200 <= response.status < 300 else _start_of(response))


def _start_of(response: httpcore.Response) -> str:
    content = b""
    for chunk in response.iter_stream():
        content += chunk
        if len(content) >= MOST_ANSWER_BYTES:
            break
    return " ".join(content.decode("utf-8", "replace").replace("\0", "").split())[:200]


def _signed(notice: Notice, hook: AlertHook, body: bytes) -> list[tuple[str, str]]:
    stamp = str(int(clock.now().timestamp()))
    content = f"{notice.pk}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.new(_key(hook), content, hashlib.sha256).digest()).decode()
    return [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("User-Agent", "Clipledger (alerts)"),
        ("webhook-id", str(notice.pk)),
        ("webhook-timestamp", stamp),
        ("webhook-signature", f"v1,{signature}"),
    ]


def _body(notice: Notice) -> bytes:
    """The same over all tries. `text` is escaped for Slack: a member's name mentions nobody and is no link."""
    alert = notice.alert
    safe = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    content: dict[str, Any] = {
        "text": safe,
        "type": f"alert.{alert.kind}",
        "timestamp": alert.created_at.isoformat(),
        "data": {
            "id": str(notice.pk),
            "team": alert.team.slug,
            "kind": alert.kind,
            "subject": alert.subject,
            "threshold": alert.threshold,
            "window": alert.window,
            "text": alert.text,
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
