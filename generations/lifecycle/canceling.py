"""Stopping a generation at a member's wish. What waits with us ends at once; what fal has, fal is asked to stop."""

from __future__ import annotations

import logging
import uuid

from django.db import transaction

from accounts import clock
from accounts.models import User
from generations import fal, queue, trace
from generations.lifecycle import attempts, moves
from generations.lifecycle.connection import fal_client, receipt_of
from generations.models import Attempt, Generation
from generations.states import AT_FAL, AttemptState, State

log = logging.getLogger(__name__)


def cancel(generation: Generation, *, actor: User) -> bool:
    """Stop it, or ask fal to: True where the wish was taken, False where it comes too late or a second time.

    A clip that fal finishes all the same is kept and paid for; the credits follow whichever of the two came first.
    """
    now = clock.now()
    with transaction.atomic():
        row = moves.lock(generation.pk)
        if row.state == State.REQUESTED:
            return moves.canceled(row, now=now, actor=actor)
        if row.state not in AT_FAL or row.is_cancel_requested:
            return False
        moves.touch(row, now=now, is_cancel_requested=True)
        queue.enqueue(queue.CANCEL, str(row.pk))
    return True


@trace.of("generation")
def send_cancel(generation_id: uuid.UUID | str) -> bool:
    """Tell fal to stop the attempt that is there. Whether fal took it; the sweep asks again where not."""
    attempt = attempts.open_attempt(generation_id)
    if attempt is None or attempt.state != AttemptState.ACCEPTED or attempt.cancel_sent_at:
        return False
    if not (attempt.generation.is_cancel_requested or attempt.timed_out_at):
        return False
    try:
        answer = fal_client().cancel(receipt_of(attempt).cancel_url)
    except fal.FalError as error:
        log.warning("fal could not be asked to stop attempt %s: %s", attempt.pk, error)
        return False
    _taken(attempt, answer)
    return True


def _taken(attempt: Attempt, answer: fal.CancelAnswer) -> None:
    """A running request may still complete, so only the two definite answers end it here."""
    now = clock.now()
    Attempt.objects.filter(pk=attempt.pk).update(cancel_sent_at=now)
    Generation.objects.filter(pk=attempt.generation_id, state__in=AT_FAL).update(next_check_at=now)
    if answer in {fal.CancelAnswer.REMOVED, fal.CancelAnswer.NOT_FOUND}:
        attempts.given_up(attempt.pk, attempts.STOPPED)
