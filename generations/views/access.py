"""How a person's generations are looked up, and what may be done with them."""

from __future__ import annotations

import uuid

from django.shortcuts import get_object_or_404

from accounts.models import Membership, User
from generations.models import Generation, GenerationQuerySet


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
