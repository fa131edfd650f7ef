"""Success after we gave up: the clip is brought home, offered at the price that was quoted, and paid for if wished.

The hold it was asked for under went back, and the page says "not charged"; that stays true. Whoever keeps the clip gets
a generation of its own, made as succeeded, whose hold is made and captured in the same transaction.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.forms.models import model_to_dict

from accounts import clock, ledger
from accounts.models import Membership, User
from generations import fal, media, queue, trace
from generations.lifecycle import ingesting, moves
from generations.lifecycle.connection import fal_client, receipt_of
from generations.lifecycle.errors import NotAMember, NotOffered
from generations.models import Attempt, Generation, GenerationPicture, LateClip, Output
from generations.models.generation import reference_of
from generations.models.works import Stored
from generations.states import OPEN_ATTEMPTS, State

log = logging.getLogger(__name__)

# Ends by our own judgement, after which fal may still come with a clip. A cancel is the member's: it is not undone.
GIVEN_UP = ("submit_lost", "never_arrived", "timed_out", "given_up")
# fal keeps a result for an hour or so; a request that has not ended by then is left to the reconciliation.
PATIENCE = timedelta(hours=6)
LOOK_AGAIN = timedelta(seconds=60)
BATCH = 50
CLIP_FIELDS = [field.name for field in Stored._meta.fields if field.name not in {"id", "created_at"}]


def expect(attempt_id: int) -> bool:
    """Look for the clip of an attempt that was given up; whether there is one to look for."""
    rows = Attempt.objects.exclude(request_id="").exclude(state__in=OPEN_ATTEMPTS)
    found = rows.filter(
        pk=attempt_id,
        generation__state=State.FAILED,
        generation__failure_code__in=GIVEN_UP,
        generation__late_clip__isnull=True,
    )
    if not found.update(late_check_at=clock.now()):
        return False
    queue.enqueue(queue.LATE, str(attempt_id))
    return True


def due() -> list[int]:
    rows = Attempt.objects.filter(late_check_at__lte=clock.now()).order_by("late_check_at")
    return list(rows.values_list("pk", flat=True)[:BATCH])


@trace.of("attempt")
def bring_late(attempt_id: int | str) -> bool:
    """Fetch, store and offer the clip, if fal has it; whether it is offered now. Safe to run twice at once."""
    attempt = _taken(int(attempt_id))
    if attempt is None:
        return False
    try:
        url = _clip_url(attempt)
        if url is None:
            return False
        with media.fetch_clip(url) as local:
            stored = media.store_clip(attempt.generation_id, local, team_id=attempt.generation.team_id)
    except media.ClipError as error:
        log.warning("the late clip of attempt %s did not come: %s", attempt.pk, error)
        return False
    return _offer(attempt, stored)


def _taken(attempt_id: int) -> Attempt | None:
    """The attempt, where it is due, put off for whoever looks next; an old one is looked at for the last time."""
    now = clock.now()
    rows = Attempt.objects.filter(pk=attempt_id, late_check_at__lte=now)
    attempt = rows.select_related("generation").first()
    if attempt is None:
        return None
    is_last = now > (attempt.ended_at or now) + PATIENCE
    changed = rows.update(late_check_at=None if is_last else now + LOOK_AGAIN)
    return attempt if changed else None


def _clip_url(attempt: Attempt) -> str | None:
    """Where the clip is; None where there is none (yet). What fal failed is not looked for again."""
    receipt = receipt_of(attempt)
    try:
        if not isinstance(fal_client().status(receipt.status_url), fal.Completed):
            return None
        result = fal_client().result(receipt.response_url)
    except fal.FalError as error:
        if error.is_final:
            Attempt.objects.filter(pk=attempt.pk).update(late_check_at=None)
        log.info("no late clip of attempt %s: %s", attempt.pk, error)
        return None
    return ingesting.clip_in(attempt.generation, result.data) or None


def _offer(attempt: Attempt, stored: media.StoredClip) -> bool:
    now = clock.now()
    with transaction.atomic():
        generation = moves.lock(attempt.generation_id)
        Attempt.objects.filter(pk=attempt.pk).update(late_check_at=None)
        if LateClip.objects.filter(generation=generation).exists():
            return False
        until = now + timedelta(days=settings.LATE_OFFER_DAYS)
        fields = ingesting.output_fields(stored)
        LateClip.objects.create(
            generation=generation, attempt=attempt, offered_until=until, created_at=now, **fields
        )
        moves.touch(generation, now=now)
    log.warning("fal made the clip of attempt %s after all: it is offered", attempt.pk)
    return True


def keep_late(generation: Generation, *, actor: User) -> Generation:
    """Pay for the late clip of a generation; the one it is kept as, again for whoever presses twice.

    Raises `NotOffered`, `NotAMember`, and `accounts.errors.LedgerError` where the wallet or a budget does not allow it.
    """
    now = clock.now()
    with trace.bound(generation=generation.pk), transaction.atomic():
        row = moves.lock(generation.pk)
        offered = LateClip.objects.select_for_update(of=("self",)).filter(generation=row).first()
        if offered is None:
            raise NotOffered
        if offered.kept_as is not None:
            return offered.kept_as
        if offered.state != LateClip.State.OFFERED or offered.offered_until <= now:
            raise NotOffered
        if not Membership.objects.filter(user=actor, team=row.team_id, is_active=True).exists():
            raise NotAMember
        made = _made(row, offered, actor=actor, now=now)
        rows = LateClip.objects.filter(pk=offered.pk, state=LateClip.State.OFFERED)
        rows.update(state=LateClip.State.KEPT, kept_as=made)
        moves.touch(row, now=now)
    return made


def _made(late: Generation, offered: LateClip, *, actor: User, now: datetime) -> Generation:
    """A generation that has succeeded: its hold captured, its output, and the pictures of the one it comes from."""
    pk, why = uuid.uuid4(), f"Kept a clip that came late: {reference_of(late.pk)}"
    hold = ledger.hold(
        ledger.open_wallet(late.team),
        amount=late.quote_credits,
        user=actor,
        reference=reference_of(pk),
        reason=why,
        now=now,
    )
    made = Generation.objects.create(
        id=pk,
        user=actor,
        hold=hold,
        form_token=uuid.uuid4(),
        state=State.SUCCEEDED,
        settled_at=now,
        next_check_at=None,
        queued_at=now,
        created_at=now,
        changed_at=now,
        **_same(late),
    )
    GenerationPicture.objects.bulk_create(
        GenerationPicture(
            generation=made, picture_id=link.picture_id, field=link.field, position=link.position
        )
        for link in late.picture_links.all()
    )
    Output.objects.create(generation=made, created_at=now, **model_to_dict(offered, fields=CLIP_FIELDS))
    ledger.capture(hold, reason=why, now=now)
    queue.announce(made.team_id, str(made.pk))
    return made


def _same(late: Generation) -> dict[str, Any]:
    """What the kept one has in common with the one that was given up: the wishes, the price and its version."""
    names = ("team", "engine", "prompt", "tag", "inputs", "price_version", "quote_credits", "is_simulated")
    return {name: getattr(late, name) for name in names}


def withdraw() -> int:
    """End the offers whose time is over, and give their room in the storage back; how many they were."""
    ended = 0
    rows = LateClip.objects.filter(state=LateClip.State.OFFERED, offered_until__lte=clock.now())
    for offered in rows[:BATCH]:
        still = LateClip.objects.filter(pk=offered.pk, state=LateClip.State.OFFERED)
        if still.update(state=LateClip.State.GONE):
            media.forget(offered.file, offered.poster)
            ended += 1
    return ended
