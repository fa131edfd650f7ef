"""Webhook calls: stored as they came, then answered by asking fal ourselves. A delivery decides nothing on its own."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts import clock
from generations import fal, queue, trace
from generations.lifecycle import attempts, late, watching
from generations.lifecycle.connection import fal_client
from generations.lifecycle.errors import UnknownDelivery
from generations.models import Attempt, Delivery
from generations.states import OPEN_ATTEMPTS

log = logging.getLogger(__name__)


def record_delivery(*, token: str, request_id: str, body: bytes, signed_at: datetime) -> bool:
    """Store a call whose signature was right and ring for its processing. False for one we have already.

    Raises `UnknownDelivery` where the token in the address is not ours, or belongs to another request of fal's.
    """
    attempt = Attempt.objects.filter(token=token).first()
    others = Attempt.objects.filter(request_id=request_id[:120]).exclude(token=token)
    if attempt is None or attempt.request_id not in {"", request_id} or others.exists():
        raise UnknownDelivery(f"no attempt of ours has this token and request {request_id[:120]!r}")
    with transaction.atomic():
        delivery, is_new = Delivery.objects.get_or_create(
            request_id=request_id[:120],
            body_sha256=hashlib.sha256(body).hexdigest(),
            defaults={
                "attempt": attempt,
                "body": body.decode("utf-8", errors="replace").replace("\0", ""),
                "signed_at": signed_at,
            },
        )
        if is_new:
            queue.enqueue(queue.PROCESS_DELIVERY, str(delivery.pk))
    return is_new


@trace.of("delivery")
def process_delivery(delivery_id: int | str) -> bool:
    """Let a delivery have its effect, once. False where fal could not be asked: the sweep comes back to it."""
    delivery = Delivery.objects.select_related("attempt__generation").filter(
        processed_at__isnull=True, pk=delivery_id
    )
    found = delivery.first()
    if found is None or found.attempt is None:
        return False
    try:
        outcome = _act_on(found.attempt, found.request_id)
    except fal.RequestUnknown:
        outcome = "fal does not know this request"
    except IntegrityError:
        log.warning("delivery %s waits: another attempt has taken its request this moment", found.pk)
        return False
    except fal.FalError as error:
        log.warning("delivery %s waits: %s", found.pk, error)
        return False
    return (
        Delivery.objects.filter(pk=found.pk, processed_at__isnull=True).update(
            processed_at=clock.now(), outcome=outcome[:200]
        )
        == 1
    )


def _act_on(attempt: Attempt, request_id: str) -> str:
    """What the delivery changed, in a phrase for the row."""
    notes = []
    owner = Attempt.objects.filter(request_id=request_id).exclude(pk=attempt.pk).first()
    if owner is not None:
        # Two attempts of a generation are alike: a lost one was found in fal's history as this.
        return f"the request of attempt {owner.number}, which is watched itself"
    if not attempt.request_id:
        receipt = fal_client().locate(attempt.generation.engine, request_id)
        # A signature says that fal sent it, and not that there is such a request: taken for ours, another one's id
        # would leave the real request without an owner. This raises where fal does not know it.
        fal_client().status(receipt.status_url)
        if attempts.accepted(attempt, receipt):
            notes.append("found the lost request")
        _keep_late(attempt, request_id)
    if attempt.generation.is_settled:
        is_expected = late.expect(attempt.pk)
        return f"too late: the generation was {attempt.generation.state}" + (
            "; its clip is looked for" if is_expected else ""
        )
    if watching.check(attempt.generation_id):
        notes.append("moved the generation on")
    return "; ".join(notes) or "told nothing new"


def _keep_late(attempt: Attempt, request_id: str) -> None:
    """A request that surfaces after we gave up: listed as what fal may bill, never captured from a released hold."""
    late = Attempt.objects.filter(pk=attempt.pk, request_id="").exclude(state__in=OPEN_ATTEMPTS)
    if late.update(request_id=request_id, is_maybe_billed=True):
        log.error(
            "request %s surfaced after we gave it up; reconcile attempt %s",
            request_id,
            attempt.pk,
        )
