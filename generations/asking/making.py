"""Making a request of what was refused, taking it back, and what time does to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts import clock
from accounts.models import Membership, User
from generations import lifecycle, queue
from generations.asking.errors import AlreadyDecided, AskedBefore, NothingRefused
from generations.asking.refusals import ASKABLE, is_askable, refusal
from generations.lifecycle.ordering import Pictures
from generations.models import CreditRequest, CreditRequestPicture, CreditRequestStep, Generation

State, Kind = CreditRequest.State, CreditRequestStep.Kind
OPEN_FOR = timedelta(days=14)
BATCH = 100


def ask(
    membership: Membership,
    *,
    engine: str,
    params: Mapping[str, object],
    pictures: Pictures,
    form_token: uuid.UUID,
    seen_credits: int | None = None,
    tag: str = "",
    note: str = "",
    site_url: str,
) -> CreditRequest:
    """Keep a refused draft for an admin to decide, at today's price. The same form gives the same request again.

    Raises `NothingRefused`, `AskedBefore` (with other wishes), `lifecycle.AlreadySent` (the form was ordered), and
    what `lifecycle.binding_quote` does.
    """
    user, team = membership.user, membership.team
    files = {name: list(chosen) for name, chosen in pictures.items() if chosen}
    agreed = lifecycle.binding_quote(
        user=user, team=team, engine=engine, params=params, pictures=files, seen_credits=seen_credits
    )
    with transaction.atomic():
        lifecycle.one_at_a_time(user, form_token)
        if Generation.objects.filter(user=user, form_token=form_token).exists():
            raise lifecycle.AlreadySent
        twin = CreditRequest.objects.filter(user=user, form_token=form_token, state=State.OPEN).first()
        if twin is not None:
            return _same(twin, agreed, files)
        refused = refusal(agreed.engine, agreed.credits, membership)
        if refused is None or not is_askable(refused):
            raise NothingRefused(str(refused)) if refused else NothingRefused
        said = {"tag": lifecycle.tidy_tag(tag), "note": note.strip()[:300], "site_url": site_url}
        made = _made(membership, agreed, refused, form_token=form_token, **said)
        _keep_pictures(made, files)
        _begun(made)
    return made


def _same(twin: CreditRequest, agreed: lifecycle.Quote, files: Pictures) -> CreditRequest:
    """What the form asked for the first time; a form that was changed since (Back, edit, ask) is no double click."""
    had = sorted(twin.picture_links.values_list("field", "position", "picture"))
    has = sorted((name, at, each.pk) for name, chosen in files.items() for at, each in enumerate(chosen))
    if (twin.engine, twin.inputs, had) != (agreed.engine.endpoint_id, agreed.params, has):
        raise AskedBefore
    return twin


def _made(membership: Membership, agreed: lifecycle.Quote, refused: Exception, **said: Any) -> CreditRequest:
    now = clock.now()
    return CreditRequest.objects.create(
        team=membership.team,
        user=membership.user,
        engine=agreed.engine.endpoint_id,
        inputs=agreed.params,
        prompt=str(agreed.params.get("prompt", "")),
        price_version=agreed.price_version,
        quote_credits=agreed.credits,
        refusal=ASKABLE[type(refused)],
        refusal_text=str(refused)[:500],
        mail_due_at=now,
        created_at=now,
        expires_at=now + OPEN_FOR,
        **said,
    )


def _keep_pictures(made: CreditRequest, files: Pictures) -> None:
    CreditRequestPicture.objects.bulk_create(
        CreditRequestPicture(request=made, picture=picture, field=name, position=position)
        for name, chosen in files.items()
        for position, picture in enumerate(chosen)
    )


def _begun(made: CreditRequest) -> None:
    CreditRequestStep.objects.create(
        request=made, kind=Kind.ASKED, actor=made.user, note=made.note, created_at=made.created_at
    )
    queue.enqueue(queue.REQUEST_MAIL, str(made.pk))
    queue.announce(made.team_id, str(made.pk))


def withdraw(request_id: uuid.UUID, *, actor: User) -> None:
    """Take one's own request back. Raises `AlreadyDecided`, and `CreditRequest.DoesNotExist` for somebody else's."""
    with transaction.atomic():
        row = CreditRequest.objects.select_for_update(of=("self",)).get(pk=request_id, user=actor)
        if not row.is_open:
            raise AlreadyDecided(state=row.state_now)
        close(row, State.WITHDRAWN, Kind.WITHDRAWN, actor=actor, now=clock.now())


def close(
    row: CreditRequest,
    state: CreditRequest.State,
    kind: CreditRequestStep.Kind,
    *,
    actor: User | None,
    now: datetime,
    note: str = "",
    generation: Generation | None = None,
) -> None:
    """With the row locked and open: decide it, keep the step, tell pages and, unless they did it, the member."""
    row.state, row.generation, row.closed_at = state, generation, now
    row.mail_due_at, row.mail_tries = None if state == State.WITHDRAWN else now, 0
    row.save(update_fields=["state", "generation", "closed_at", "mail_due_at", "mail_tries"])
    CreditRequestStep.objects.create(
        request=row, kind=kind, actor=actor, note=note.strip()[:300], created_at=now
    )
    if row.mail_due_at:
        queue.enqueue(queue.REQUEST_MAIL, str(row.pk))
    queue.announce(row.team_id, str(row.pk))


def sweep() -> None:
    """Close what nobody decided in time and what was ordered all the same; ring for mails that did not go."""
    now = clock.now()
    undecided = CreditRequest.objects.filter(state=State.OPEN)
    for pk in undecided.filter(expires_at__lte=now).values_list("pk", flat=True)[:BATCH]:
        _end(pk, State.EXPIRED, Kind.EXPIRED, now=now)
    ordered = Generation.objects.filter(user=OuterRef("user"), form_token=OuterRef("form_token"))
    for pk in undecided.filter(Exists(ordered)).values_list("pk", flat=True)[:BATCH]:
        _end(pk, State.WITHDRAWN, Kind.WITHDRAWN, now=now, note="Ordered meanwhile.")
    due = CreditRequest.objects.filter(mail_due_at__lte=now).order_by("mail_due_at")
    for pk in due.values_list("pk", flat=True)[:BATCH]:
        queue.enqueue(queue.REQUEST_MAIL, str(pk))


def _end(
    pk: uuid.UUID,
    state: CreditRequest.State,
    kind: CreditRequestStep.Kind,
    *,
    now: datetime,
    note: str = "",
) -> None:
    with transaction.atomic():
        rows = CreditRequest.objects.select_for_update(of=("self",), skip_locked=True)
        row = rows.filter(pk=pk, state=State.OPEN).first()
        if row is not None:
            close(row, state, kind, actor=None, note=note, now=now)
