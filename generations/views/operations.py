"""The page of the person on duty: what is stuck and why, each with the one button that moves it. Staff only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import clock
from accounts.models import User
from generations import fal, lifecycle, pulse, stuck
from generations.lifecycle import Probing
from generations.lifecycle.operating import LONGEST_REASON_CHARS
from generations.models import Generation

View = Callable[..., HttpResponseBase]
PROBED = {
    Probing.DUE: (
        messages.success,
        "One waiting generation tests the engine now; if it brings a clip, all others follow.",
    ),
    Probing.NEXT_ORDER: (messages.info, "Nothing waits for it; the next order is the test."),
    Probing.NOT_BROKEN: (messages.warning, "This engine is not held back any more."),
}


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=LONGEST_REASON_CHARS)


def staff(view: View) -> View:
    """For whoever is no staff the page does not exist. Never cached."""

    @never_cache
    @wraps(view)
    def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not (request.user.is_authenticated and request.user.is_staff):
            raise Http404
        return view(request, *args, **kwargs)

    return checked


@require_safe
@staff
def operations(request: HttpRequest) -> HttpResponse:
    ages = {kind: pulse.ages(kind) for kind in (pulse.SWEEP, pulse.WATCHER, pulse.WORKER)}
    context = {
        "report": stuck.report(),
        "now": clock.now(),
        "is_valkey_up": ages[pulse.SWEEP] is not None,
        "sweep_age": min((ages[pulse.SWEEP] or {}).values(), default=None),
        "watchers": _alive(ages[pulse.WATCHER]),
        "workers": _alive(ages[pulse.WORKER]),
        "longest_reason": LONGEST_REASON_CHARS,
    }
    return render(request, "generations/operations.html", context)


@require_POST
@staff
def operations_sweep(request: HttpRequest) -> HttpResponse:
    """Ring for one round of the sweep; a worker makes it."""
    lifecycle.sweep_now(actor=_actor(request))
    messages.success(request, "Rung for a sweep. It shows here as soon as a worker has made it.")
    return redirect("generations:operations")


@require_POST
@staff
def operations_probe(request: HttpRequest) -> HttpResponse:
    if lifecycle.probe_now(actor=_actor(request)):
        messages.success(
            request, "One waiting generation goes to fal now; if it is taken, the pause is over."
        )
    else:
        messages.warning(request, "Nothing is paused any more.")
    return redirect("generations:operations")


@require_POST
@staff
def operations_probe_engine(request: HttpRequest) -> HttpResponse:
    # PostgreSQL knows no NUL, and neither does any engine's name.
    engine = request.POST.get("engine", "").replace("\0", "")
    tell, text = PROBED[lifecycle.probe_engine_now(engine, actor=_actor(request))]
    tell(request, text)
    return redirect("generations:operations")


@require_POST
@staff
def operations_look(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask fal about it, look it up, or ring for it: whatever its state calls for."""
    generation = get_object_or_404(Generation, pk=pk)
    try:
        has_moved = lifecycle.look_now(generation, actor=_actor(request))
    except fal.FalError as error:
        messages.error(
            request, f"fal could not be asked ({type(error).__name__}). It is tried again by itself."
        )
        return redirect("generations:operations")
    generation.refresh_from_db()
    news = "There is news" if has_moved else "Nothing new"
    messages.success(request, f"{news}: generation {str(pk)[:8]} is {generation.state}.")
    return redirect("generations:operations")


@require_POST
@staff
def operations_give_up(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """A lost attempt was never ordered, by this person's word: the credits go back."""
    generation = get_object_or_404(Generation, pk=pk)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say how you know that fal never had it: the reason stays in the book.")
    elif lifecycle.give_up(generation, actor=_actor(request), reason=form.cleaned_data["reason"]):
        messages.success(request, f"Given up: {generation.quote_credits} credits are available again.")
    else:
        messages.warning(request, "It is no longer lost: somebody or something was quicker.")
    return redirect("generations:operations")


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _alive(ages: dict[str, float] | None) -> int | None:
    return None if ages is None else sum(age <= pulse.ALIVE_SECONDS for age in ages.values())
