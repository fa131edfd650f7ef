"""What stands in the composer: an engine, what was typed, the pictures, and what it would cost."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, When
from django.http import HttpRequest, QueryDict

from accounts.models import Membership
from generations import asking, catalogue, estimates, lifecycle, media
from generations.catalogue import Engine, Input
from generations.forms import GenerationForm, kept
from generations.models import Breaker, Generation, Picture
from generations.views import picker, words

MOST_PICTURES = 4
LONG_PROMPT_WORDS = 200
TAGGED_LATELY = 100
MOST_TAGS = 12


@dataclass
class PictureRow:
    """One picture input: what is in it, what is wrong with it, what the engine takes."""

    input: Input
    engine: Engine
    pictures: list[Picture] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.input.name

    @property
    def notes(self) -> list[str]:
        """What is done to the pictures before they are sent; nothing while something is wrong with them."""
        said = [] if self.errors else [media.note(self.engine, picture) for picture in self.pictures]
        return [text for text in dict.fromkeys(said) if text]

    @property
    def has_room(self) -> bool:
        return len(self.pictures) < (1 if self.input.widget == "picture" else MOST_PICTURES)

    @property
    def is_extra(self) -> bool:
        """Nobody needs it, so it does not take the room of what everybody needs."""
        return not (self.input.required or self.pictures or self.errors)

    @property
    def limits(self) -> str:
        """The limits in one line, before anybody runs into them."""
        limits = self.engine.limits.picture
        if limits is None:
            return ""
        said = []
        if limits.max_bytes:
            said.append(f"up to {limits.max_bytes / 1024 / 1024:g} MB")
        if limits.min_side_px:
            said.append(f"each side at least {limits.min_side_px} px")
        if limits.max_side_px:
            said.append(f"above {limits.max_side_px} px scaled down")
        if limits.min_ratio and limits.max_ratio:
            said.append(f"between {_ratio(limits.min_ratio)} and {_ratio(limits.max_ratio)}")
        return ", ".join(said)


@dataclass
class Offer:
    """The price on the button, in words why it cannot be pressed (`reason`), and how long it would take (`wait`).

    `outage` says that the engine does not work at fal just now; `is_askable`, that an admin could let it through.
    """

    credits: int | None
    reason: str = ""
    note: str = ""
    outage: str = ""
    wait: str = ""
    is_askable: bool = False

    @property
    def is_allowed(self) -> bool:
        return not self.reason


@dataclass
class Draft:
    engine: Engine
    form: GenerationForm
    rows: list[PictureRow]
    carried: list[Picture] = field(default_factory=list)

    @property
    def pictures(self) -> dict[str, list[Picture]]:
        return {row.name: row.pictures for row in self.rows if row.pictures}

    def is_valid(self) -> bool:
        fine = self.form.is_valid()
        for row in self.rows:
            sentence = self.form.picture_errors.get(row.name)
            if sentence and sentence not in row.errors:
                row.errors.append(sentence)
        return fine and not any(row.errors for row in self.rows)


def fresh(
    engine: Engine, *, typed: Mapping[str, Any] | None = None, pictures: Iterable[Picture] = ()
) -> Draft:
    """A form that has not been sent: `typed` is what is already known of it."""
    rows, carried = _placed(engine, list(pictures))
    names = [row.name for row in rows if row.pictures]
    initial = {**kept(engine, typed or {}), "project_tag": (typed or {}).get("project_tag", "")}
    form = GenerationForm(engine, pictures=names, initial=initial)
    return Draft(engine, form, rows, carried)


def again(generation: Generation, membership: Membership) -> Draft:
    """The same inputs once more, in the same engine where it is still offered."""
    engine = picker.chosen(generation.engine, membership)
    pictures = [link.picture for link in generation.picture_links.all()]
    return fresh(engine, typed=typed_before(generation), pictures=pictures)


def typed_before(generation: Generation) -> dict[str, Any]:
    """What stood in the form that a generation was asked with."""
    return {**generation.inputs, "prompt": generation.prompt, "project_tag": generation.tag}


def switched(request: HttpRequest, membership: Membership) -> Draft:
    """What was typed, moved to the engine that is now chosen; nothing is judged yet."""
    engine = picker.chosen(request.POST.get("engine", ""), membership)
    shown = picker.orderable(request.POST.get("shown_engine", "")) or engine
    rows = posted_rows(request, membership, shown)
    carried = _known(request.POST.getlist("carried"), membership)
    pictures = [picture for row in rows for picture in row.pictures] + carried
    draft = fresh(engine, typed=_typed(request.POST), pictures=pictures)
    for row, old in zip(draft.rows, rows, strict=False):
        row.errors.extend(old.errors if shown == engine else [])
    return draft


def priced(request: HttpRequest) -> Draft:
    """The choices alone, for the price: no picture is looked at and no link is fetched."""
    engine = picker.orderable(request.POST.get("shown_engine", "")) or picker.default_engine()
    return fresh(engine, typed=_typed(request.POST))


def posted(request: HttpRequest, membership: Membership) -> Draft:
    """The form as it was sent, to be judged."""
    engine = picker.orderable(request.POST.get("engine", "")) or picker.default_engine()
    rows = posted_rows(request, membership, engine)
    names = [row.name for row in rows if row.pictures]
    form = GenerationForm(engine, pictures=names, data=request.POST)
    return Draft(engine, form, rows, _known(request.POST.getlist("carried"), membership))


def posted_rows(request: HttpRequest, membership: Membership, engine: Engine) -> list[PictureRow]:
    """Each picture input with the pictures it was sent: by id, as a file, by link, or the sample."""
    return [posted_row(request, membership, engine, field) for field in engine.picture_inputs]


def posted_row(request: HttpRequest, membership: Membership, engine: Engine, field: Input) -> PictureRow:
    removed = request.POST.get("remove", "")
    ids = [pk for pk in request.POST.getlist(field.name) if f"{field.name}:{pk}" != removed]
    row = PictureRow(field, engine, _known(ids, membership))
    if len(row.pictures) < len(ids):
        row.errors.append("A picture of this form is gone; please choose it again.")
    try:
        row.pictures += _brought(request, membership, field.name)
    except (media.PictureRefused, media.StorageUnavailable) as error:
        row.errors.append(error.member_message)
    row.pictures = row.pictures[-(1 if field.widget == "picture" else MOST_PICTURES) :]
    judge(row)
    return row


def judge(row: PictureRow) -> None:
    """Say what does not fit the engine, with its limits, before any credit is held."""
    for picture in row.pictures:
        row.errors.extend(text for text in media.violations(row.engine, picture) if text not in row.errors)


def offer(draft: Draft, membership: Membership, *, seen_credits: int | None = None) -> Offer:
    """What it costs now, and why it could not be paid, if so."""
    try:
        quote = lifecycle.quote(draft.engine.endpoint_id, _priced(draft.form))
    except catalogue.CatalogueError:
        return Offer(None, reason="The price shows once the choices above are complete.")
    changed = seen_credits is not None and quote.credits > seen_credits
    note = f"The price is now {quote.credits} credits (it was {seen_credits})." if changed else ""
    broken = Breaker.objects.open().filter(engine=draft.engine.endpoint_id).first()
    outage = words.outage_before_ordering(broken) if broken else ""
    wait = estimates.of_new(
        user=membership.user, team=membership.team, engine=draft.engine.endpoint_id, params=quote.params
    )
    refused = asking.refusal(draft.engine, quote.credits, membership)
    return Offer(
        quote.credits,
        reason=str(refused or ""),
        note=note,
        outage=outage,
        wait=words.wait_of_new(wait),
        is_askable=asking.is_askable(refused),
    )


def _priced(form: GenerationForm) -> dict[str, Any]:
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in form.raw(values).items() if name != "prompt"}


def recent_tags(membership: Membership) -> list[str]:
    """The tags of the team's latest work, newest first: to choose from, so that one project keeps one word."""
    latest = Generation.objects.filter(team=membership.team).order_by("-created_at", "-id")
    tags = latest.values_list("tag", flat=True)[:TAGGED_LATELY]
    return list(dict.fromkeys(tag for tag in tags if tag))[:MOST_TAGS]


def _typed(data: QueryDict) -> dict[str, Any]:
    return {name: data.get(name) for name in data}


def _placed(engine: Engine, pictures: list[Picture]) -> tuple[list[PictureRow], list[Picture]]:
    """Pictures into the engine's inputs in order, those it has no place for kept for the next engine."""
    rows = [PictureRow(field, engine) for field in engine.picture_inputs]
    left = list(pictures)
    for row in rows:
        while left and row.has_room:
            row.pictures.append(left.pop(0))
        judge(row)
    return rows, left


def _known(ids: list[str], membership: Membership) -> list[Picture]:
    """The team's pictures with these ids, in this order; anything else is as if it did not exist."""
    keys = [key for key in map(uuid_or_none, ids) if key]
    if not keys:
        return []
    order = Case(*(When(pk=key, then=place) for place, key in enumerate(keys)))
    return list(Picture.objects.filter(team=membership.team, pk__in=keys).order_by(order))


def _brought(request: HttpRequest, membership: Membership, name: str) -> list[Picture]:
    who: dict[str, Any] = {"team": membership.team, "user": membership.user}
    found = [
        media.accept_picture(file, **who, original_name=file.name or "")
        for file in request.FILES.getlist(f"{name}-file")[:MOST_PICTURES]
    ]
    link = request.POST.get(f"{name}-link", "").strip()
    if link:
        found.append(media.accept_picture_url(link, **who))
    if request.POST.get("sample") == name:
        found.append(media.sample_picture(**who))
    return found


def uuid_or_none(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _ratio(value: float) -> str:
    return f"{value:g}:1" if value >= 1 else f"1:{1 / value:g}"
