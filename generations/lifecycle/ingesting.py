"""From fal's COMPLETED to a settled generation: the result with our own key, the clip into our storage, the capture.

Safe to run twice at once and after a SIGKILL anywhere: what is already known is not asked again, the files have names
that depend on the generation alone, and output and capture are one transaction.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts import clock
from generations import fal, media, trace
from generations.lifecycle import attempts, breaking, leases, moves
from generations.lifecycle.connection import fal_client, receipt_of
from generations.models import Attempt, Generation, Output
from generations.states import OPEN_ATTEMPTS, AttemptState, State

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0
# fal keeps a result for an hour at most unless it stores payloads; a result that is not there by then never comes.
RESULT_PATIENCE = timedelta(hours=1, minutes=15)
MOST_RESULT_MISSES = 3
# Where the clip is in the answers of engines that have left the catalogue since.
USUAL_PATH = "video.url"
RESULT_GONE = attempts.of_ours("result_gone", "fal finished this but no longer has the result.")
RESULT_NEVER_CAME = attempts.of_ours(
    "result_unavailable", "fal finished this but could not hand over the result."
)
NOT_BROUGHT_HOME = attempts.of_ours(
    "not_brought_home", "fal finished this, and this site could not take the clip in."
)
NO_CLIP = attempts.of_ours("no_clip", "fal finished this, and its answer names no clip.")


@trace.of("generation")
def ingest(generation_id: uuid.UUID | str) -> bool:
    """Take one step towards the end of a generation that fal has finished; whether it is settled or sent anew.

    Where something is not ready (result, link, our storage) the time of the next try is set and False returned.
    """
    with leases.held(generation_id, kind="ingest", states={State.STORING}) as owner:
        if not owner:
            return False
        attempt = attempts.open_attempt(generation_id)
        if attempt is None:
            log.error("generation %s is storing without an open attempt", generation_id)
            return False
        try:
            url = _clip_url(attempt)
            return url is not None and (
                _fetch_and_settle(attempt, url) if url else attempts.given_up(attempt.pk, NO_CLIP)
            )
        except Exception:
            log.exception("attempt %s could not be brought home", attempt.pk)
            return _stumbled(attempt)


def _clip_url(attempt: Attempt) -> str | None:
    """The address of the clip; "" where the result has none, None where there is no result yet."""
    if attempt.result is None and not _fetch_result(attempt):
        return None
    return clip_in(attempt.generation, attempt.result)


def clip_in(generation: Generation, result: Any) -> str:
    """The address of the clip in a result of fal's; "" where it has none."""
    engine = generation.catalogue_entry
    found = _at_path(result, (engine and engine.result_path) or USUAL_PATH)
    return found if isinstance(found, str) else ""


def _stumbled(attempt: Attempt) -> bool:
    """What nobody foresaw (an answer our database cannot hold, say) must not hold credits for ever."""
    _count_failure(attempt)
    if clock.now() > _completed_at(attempt) + RESULT_PATIENCE:
        return attempts.given_up(attempt.pk, NOT_BROUGHT_HOME)
    _try_later(attempt)
    return False


def _at_path(data: Any, path: str) -> object:
    """`video.url` and `images.0.url` in fal's answer; None where it has no such thing."""
    for part in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data


def _fetch_result(attempt: Attempt) -> bool:
    try:
        result = fal_client().result(receipt_of(attempt).response_url)
    except fal.FalError as error:
        _no_result(attempt, error)
        return False
    attempt.result, attempt.billable_units = result.data, result.billable_units
    rows = Attempt.objects.filter(pk=attempt.pk, state__in=OPEN_ATTEMPTS)
    rows.update(result=attempt.result, billable_units=attempt.billable_units)
    breaking.worked(attempt)
    return True


def _no_result(attempt: Attempt, error: fal.FalError) -> None:
    """fal's own failure ends the attempt; everything else is asked again while a result can still be there."""
    if error.is_final and not (_is_vague(error) and _count_failure(attempt) < MOST_RESULT_MISSES):
        # A vague one may hide a clip that fal has made, and bills.
        attempts.ended(attempt.pk, error, is_listed=_is_vague(error))
        return
    log.warning("no result of attempt %s yet: %s", attempt.pk, error)
    # Also where a member wished it stopped: fal said that it had finished, and a finished clip is kept and paid for.
    if isinstance(error, fal.RequestUnknown) and _count_failure(attempt) >= MOST_RESULT_MISSES:
        attempts.given_up(attempt.pk, RESULT_GONE)
        return
    if clock.now() > _completed_at(attempt) + RESULT_PATIENCE:
        attempts.given_up(attempt.pk, RESULT_NEVER_CAME)
        return
    _try_later(attempt, at_least_seconds=error.retry_after_seconds or 0)


def _is_vague(error: fal.FalError) -> bool:
    """A 5xx that names no kind of error may be the queue's own, for a moment after COMPLETED.

    Asking again is free; a new attempt for a clip that is there is not.
    """
    return (error.http_status or 0) >= 500 and not error.error_type and not isinstance(error.detail, list)


def _fetch_and_settle(attempt: Attempt, url: str) -> bool:
    try:
        with media.fetch_clip(url) as local:
            stored = media.store_clip(attempt.generation_id, local, team_id=attempt.generation.team_id)
    except media.ClipError as error:
        return _no_clip(attempt, error)
    return _succeed(attempt, stored)


def _no_clip(attempt: Attempt, error: media.ClipError) -> bool:
    """Try again as often as the fault deserves, with a fresh result and so a fresh link before each try."""
    is_storage = isinstance(error, media.StorageUnavailable)
    log.log(
        logging.ERROR if is_storage else logging.WARNING,
        "clip of attempt %s not stored: %s: %s",
        attempt.pk,
        type(error).__name__,
        error,
    )
    tries = _count_failure(attempt)
    kept_until = _completed_at(attempt) + timedelta(seconds=settings.FAL_OUTPUT_SECONDS)
    if (error.max_tries is not None and tries >= error.max_tries) or clock.now() > kept_until:
        code = _code_of(error)
        return attempts.given_up(attempt.pk, attempts.of_ours(code, error.member_message))
    if not is_storage:
        Attempt.objects.filter(pk=attempt.pk, state__in=OPEN_ATTEMPTS).update(result=None)
    _try_later(attempt)
    return False


def _code_of(error: media.ClipError) -> str:
    """`ClipTooLarge` as `clip_too_large`."""
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _count_failure(attempt: Attempt) -> int:
    Attempt.objects.filter(pk=attempt.pk).update(fetch_failures=F("fetch_failures") + 1)
    attempt.fetch_failures += 1
    return attempt.fetch_failures


def _try_later(attempt: Attempt, *, at_least_seconds: float = 0) -> None:
    tries = min(attempt.fetch_failures, 6)
    pause = min(settings.RETRY_SECONDS * 2**tries, LONGEST_PAUSE_SECONDS)
    at = clock.now() + timedelta(seconds=max(pause, at_least_seconds))
    Generation.objects.filter(pk=attempt.generation_id, state=State.STORING).update(next_check_at=at)


def _completed_at(attempt: Attempt) -> datetime:
    return attempt.generation.completed_at or attempt.sent_at


def _succeed(attempt: Attempt, stored: media.StoredClip) -> bool:
    """Output, the end of the attempt, the state and the capture: one transaction."""
    now = clock.now()
    with transaction.atomic():
        generation = moves.lock(attempt.generation_id)
        rows = Attempt.objects.filter(pk=attempt.pk, state__in=OPEN_ATTEMPTS)
        if generation.state != State.STORING or not rows.update(state=AttemptState.DONE, ended_at=now):
            return False
        Output.objects.create(generation=generation, **output_fields(stored))
        return moves.succeeded(generation, now=now)


def output_fields(stored: media.StoredClip) -> dict[str, Any]:
    """What a row says of a clip in our storage."""
    return {
        "file": stored.file,
        "poster": stored.poster,
        "content_type": stored.facts.content_type,
        "size_bytes": stored.size_bytes,
        "sha256": stored.sha256,
        "width": stored.facts.width,
        "height": stored.facts.height,
        "duration_seconds": stored.facts.duration_seconds,
        "fps": stored.facts.fps,
        "has_audio": stored.facts.has_audio,
        "codec": stored.facts.codec[:20],
    }
