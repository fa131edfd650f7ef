"""Webhooks, checked with a verifier written from fal's page alone."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.generations.sandbox.conftest import Caller, Receiver


def verify(caller: Caller, headers: dict[str, str], body: bytes, *, now: float | None = None) -> str:
    """Return the request id that was signed for; raises for anything fal's page tells us to refuse."""
    names = ("request-id", "user-id", "timestamp")
    signed = [headers[f"x-fal-webhook-{name}"] for name in names]
    if abs((now or time.time()) - int(signed[2])) > 300:
        raise ValueError("too old")
    keys = caller.http.get(caller.sandbox.jwks_url).json()["keys"]
    raw = base64.urlsafe_b64decode(keys[0]["x"] + "=" * (-len(keys[0]["x"]) % 4))
    message = "\n".join([*signed, hashlib.sha256(body).hexdigest()]).encode()
    Ed25519PublicKey.from_public_bytes(raw).verify(bytes.fromhex(headers["x-fal-webhook-signature"]), message)
    return signed[0]


def ordered(caller: Caller, receiver: Receiver, prompt: str) -> dict[str, str]:
    job = caller.accepted(prompt, query={"fal_webhook": receiver.url})
    caller.completed(job)
    return job


def test_a_finished_job_is_told_once_and_signed(caller: Caller, receiver: Receiver) -> None:
    job = ordered(caller, receiver, "A fox")
    [(headers, body)] = receiver.wait(1)
    told = json.loads(body)
    assert verify(caller, headers, body) == told["request_id"] == job["request_id"]
    assert told["status"] == "OK"
    assert told["payload"] == caller.http.get(job["response_url"]).json()
    time.sleep(0.2)
    assert len(receiver.deliveries) == 1


def test_both_places_of_the_jwks_agree(caller: Caller) -> None:
    first = caller.http.get(f"{caller.sandbox.rest_url}/.well-known/jwks.json").json()
    assert first == caller.http.get(caller.sandbox.jwks_url).json()


def test_a_failure_is_told_as_an_error(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: run=422:content_policy_violation]]")
    [(headers, body)] = receiver.wait(1)
    verify(caller, headers, body)
    told = json.loads(body)
    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
    assert told["payload"]["detail"][0]["type"] == "content_policy_violation"


def test_a_refused_delivery_is_sent_again_with_a_fresh_signature(caller: Caller, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    ordered(caller, receiver, "A patient fox")
    for headers, body in receiver.wait(3):
        verify(caller, headers, body)
    until = time.monotonic() + 3
    while caller.sandbox.webhooks()[-1]["state"] != "delivered" and time.monotonic() < until:
        time.sleep(0.02)
    assert caller.sandbox.webhooks()[-1]["attempts"] == 3


def test_a_redirect_ends_the_attempts(caller: Caller, receiver: Receiver) -> None:
    receiver.answers = [302]
    ordered(caller, receiver, "A moved fox")
    receiver.wait(1)
    time.sleep(0.3)
    assert len(receiver.deliveries) == 1
    assert caller.sandbox.webhooks()[-1]["state"] == "given up"


def test_attempts_run_out(caller: Caller, receiver: Receiver) -> None:
    receiver.answers = [500] * 10
    ordered(caller, receiver, "An unwelcome fox")
    receiver.wait(4)
    time.sleep(0.9)
    assert len(receiver.deliveries) == 4


def test_none_sends_none(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: webhook=none]]")
    time.sleep(0.2)
    assert receiver.deliveries == []


def test_duplicate_sends_the_same_twice(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: webhook=duplicate]]")
    first, second = receiver.wait(2)
    assert first[1] == second[1]
    verify(caller, *second)


def test_late_comes_late(caller: Caller, receiver: Receiver) -> None:
    job = ordered(caller, receiver, "[[sandbox: webhook=late:0.5]]")
    receiver.wait(1)
    assert time.time() - caller.row(job)["completed_at"] >= 0.45


def test_forged_does_not_verify(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: webhook=forged]]")
    [(headers, body)] = receiver.wait(1)
    with pytest.raises(InvalidSignature):
        verify(caller, headers, body)


def test_stale_is_genuine_but_old(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: webhook=stale]]")
    [(headers, body)] = receiver.wait(1)
    with pytest.raises(ValueError, match="too old"):
        verify(caller, headers, body)
    verify(caller, headers, body, now=time.time() - 400)


def test_unknown_is_genuine_for_nobodys_request(caller: Caller, receiver: Receiver) -> None:
    job = ordered(caller, receiver, "[[sandbox: webhook=unknown]]")
    [(headers, body)] = receiver.wait(1)
    assert verify(caller, headers, body) != job["request_id"]


def test_payload_error_has_no_payload(caller: Caller, receiver: Receiver) -> None:
    ordered(caller, receiver, "[[sandbox: webhook=payload_error]]")
    [(_, body)] = receiver.wait(1)
    told = json.loads(body)
    assert (told["status"], told["payload"]) == ("OK", None)
    assert told["payload_error"]


def test_the_control_endpoint_sends_one_more(caller: Caller, receiver: Receiver) -> None:
    job = ordered(caller, receiver, "[[sandbox: webhook=none]]")
    caller.sandbox.control("webhooks", {"request_id": job["request_id"], "kind": "genuine"})
    [(headers, body)] = receiver.wait(1)
    assert verify(caller, headers, body) == job["request_id"]
