"""Webhooks as fal sends them: signed with Ed25519, retried with backoff, and on request doubled, late or forged.

The message that is signed is request id, user id, timestamp and the hex SHA-256 of the body, joined by newlines
(fal.ai/docs, "Webhooks"). fal refuses private and loopback targets; the sandbox, which lives there, does not.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from generations.sandbox.directives import Fault
from generations.sandbox.options import Options
from generations.sandbox.store import Row, Store, loads

USER_ID = "sandbox"
FIRST_TIMEOUT_SECONDS, LATER_TIMEOUT_SECONDS = 15, 120
STALE_SECONDS = 400
PARALLEL = 32


class Signer:
    """The sandbox's signing key, made once and kept in its data directory."""

    def __init__(self, path: Path) -> None:
        self._key = _load_or_make(path)

    def jwks(self) -> dict[str, Any]:
        x = _base64url(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        key = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": x[:8], "x": x}
        return {"keys": [key]}

    def headers(self, request_id: str, body: bytes, *, at: float, forged: bool = False) -> dict[str, str]:
        """Return the four signature headers; `forged` signs with a key that nobody publishes."""
        key = Ed25519PrivateKey.generate() if forged else self._key
        timestamp = str(int(at))
        message = "\n".join([request_id, USER_ID, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": key.sign(message.encode()).hex(),
            "Content-Type": "application/json",
            "User-Agent": "fal-sandbox-webhook",
        }


def _load_or_make(path: Path) -> Ed25519PrivateKey:
    if path.exists():
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    return key


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Courier:
    """Sends the rows of the `webhooks` table when they are due."""

    options: Options
    store: Store
    signer: Signer
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None
    on_room: Callable[[], None] = lambda: None

    def post(self, job: Row, fault: Fault | None) -> None:
        """Put a finished job's webhook in the mail, changed as its directive asks."""
        words = fault.words if fault else {}
        if "none" in words:
            return
        due_at = time.time() + float(words.get("late") or 0)
        for kind in _kinds(words):
            self.add(job, kind, due_at=due_at)

    def add(self, job: Row, kind: str, *, due_at: float) -> None:
        """Queue one webhook of the given kind: genuine, forged, stale, unknown or payload_error."""
        body = webhook_body(job, kind)
        text = json.dumps(body)
        self.store.insert(
            "webhooks",
            request_id=body["request_id"],
            url=job["webhook_url"],
            kind=kind,
            body=text,
            due_at=due_at,
        )

    def send_due(self, now: float) -> None:
        """Start sending what is due, a few at a time; the clock calls this."""
        room = PARALLEL - len(self._tasks)
        sql = "SELECT * FROM webhooks WHERE state = 'waiting' AND due_at <= ? ORDER BY seq LIMIT ?"
        for row in self.store.rows(sql, now, max(room, 0)):
            self.store.execute("UPDATE webhooks SET state = 'sending' WHERE seq = ?", row["seq"])
            task = asyncio.create_task(self._send(row))
            self._tasks.add(task)
            task.add_done_callback(self._sent)

    @property
    def has_room(self) -> bool:
        return len(self._tasks) < PARALLEL

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.on_room()

    def recover(self) -> None:
        """Take back what was being sent when the process ended."""
        self.store.execute("UPDATE webhooks SET state = 'waiting' WHERE state = 'sending'")

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def _send(self, row: Row) -> None:
        attempt = row["attempts"] + 1
        sent_at = time.time()
        answer, is_over = await self._deliver(row, attempt)
        state = "delivered" if answer.startswith("2") else "given up" if is_over else "waiting"
        backoff = self.options.webhook_retry_seconds * 2 ** (attempt - 1)
        self.store.execute(
            "UPDATE webhooks SET attempts = ?, sent_at = ?, answer = ?, state = ?, due_at = ? WHERE seq = ?",
            attempt,
            sent_at,
            answer,
            state,
            time.time() + backoff,
            row["seq"],
        )

    async def _deliver(self, row: Row, attempt: int) -> tuple[str, bool]:
        """Make one attempt; returns what came back, and whether that was the last."""
        is_last = attempt >= self.options.webhook_attempts
        timeout = aiohttp.ClientTimeout(FIRST_TIMEOUT_SECONDS if attempt == 1 else LATER_TIMEOUT_SECONDS)
        body, at = row["body"].encode(), time.time() - (STALE_SECONDS if row["kind"] == "stale" else 0)
        headers = self.signer.headers(row["request_id"], body, at=at, forged=row["kind"] == "forged")
        try:
            async with self._http().post(
                row["url"], data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as reply:
                return str(reply.status), is_last or 300 <= reply.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__, is_last
        except ValueError:
            return "bad address", True

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))
        return self._session


def _kinds(words: Mapping[str, str]) -> list[str]:
    """What to send for a directive's words: one genuine webhook unless they say otherwise."""
    kinds = [word for word in ("forged", "stale", "unknown", "payload_error") if word in words] or ["genuine"]
    return kinds * 2 if "duplicate" in words else kinds


def webhook_body(job: Row, kind: str) -> dict[str, Any]:
    """fal's body for a finished job; `unknown` names a request that nobody made."""
    request_id = str(uuid.uuid4()) if kind == "unknown" else job["request_id"]
    body: dict[str, Any] = {"request_id": request_id, "gateway_request_id": request_id}
    payload = absolute(loads(job["body"]), job["base_url"])
    if job["status_code"] == 200:
        body |= {"status": "OK", "payload": payload}
    else:
        body |= {"status": "ERROR", "error": f"Invalid status code: {job['status_code']}", "payload": payload}
    if kind == "payload_error":
        body |= {"payload": None, "payload_error": "Response payload is not JSON serializable."}
    return body


def absolute(body: Any, base_url: str) -> Any:
    """Return a stored body with the sandbox's own file paths made into whole addresses."""
    if isinstance(body, dict):
        return {name: absolute(value, base_url) for name, value in body.items()}
    if isinstance(body, list):
        return [absolute(value, base_url) for value in body]
    return base_url + body if isinstance(body, str) and body.startswith("/cdn/files/") else body
