"""Who may come in, and how a person's generations are looked up."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.cache import add_never_cache_headers
from django_htmx.http import HttpResponseClientRedirect

from accounts.models import Membership, User
from generations.models import Generation, GenerationQuerySet

View = Callable[..., HttpResponseBase]


def member(view: View) -> View:
    """Signed in and an active member of a team, passed on as `membership`. Pages are never cached; media say
    for themselves how long they may be.

    A fragment asked for after the session ended sends the whole page to sign in, not the form into a card.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _sign_in(request)
        membership: Membership = request.membership  # type: ignore[attr-defined]
        if not membership:
            return render(request, "accounts/no_team.html", status=403)
        response = view(request, *args, membership=membership, **kwargs)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    return checked


def _sign_in(request: HttpRequest) -> HttpResponseBase:
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(resolve_url("account_login"))
    return redirect_to_login(request.get_full_path())


def of_this_page(generations: GenerationQuerySet) -> GenerationQuerySet:
    """With what a card shows, in a number of queries that does not grow with the cards."""
    return generations.select_related("hold", "output", "user").prefetch_related("picture_links__picture")


def find(user: User, pk: uuid.UUID) -> Generation:
    """Raises `Http404` for what is not visible to this person."""
    return get_object_or_404(of_this_page(Generation.objects.all().visible_to(user)), pk=pk)


def may_cancel(generation: Generation, membership: Membership) -> bool:
    """Whoever asked for it, and the admins of its team."""
    is_admin = membership.is_admin and membership.team_id == generation.team_id
    return is_admin or generation.user_id == membership.user_id


def may_reorder(generation: Generation, membership: Membership) -> bool:
    """Whoever asked for it, where it has others of theirs to stand before or behind. Not the admins: see
    `lifecycle.reordering`.
    """
    place = getattr(generation, "own_place", None)
    return generation.user_id == membership.user_id and place is not None and place.total > 1
