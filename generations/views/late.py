"""Keeping a clip that fal made after its generation had been given up."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.errors import LedgerError
from accounts.models import Membership
from accounts.permissions import member_required
from generations import lifecycle
from generations.views.access import find

NOT_YOURS = "Only the member who asked for it can keep it: it is paid from their budget."


@require_POST
@member_required
def keep(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    """Hold and capture its price in one step; on to the page of what it was kept as."""
    generation = find(membership.user, pk)
    if generation.user_id != membership.user_id:
        messages.warning(request, NOT_YOURS)
        return redirect("generations:show", pk=generation.pk)
    try:
        kept = lifecycle.keep_late(generation, actor=membership.user)
    except (LedgerError, lifecycle.LifecycleError) as error:
        messages.warning(request, str(error))
        return redirect("generations:show", pk=generation.pk)
    messages.success(request, f"Kept. {kept.quote_credits} credits were captured for it.")
    return redirect("generations:show", pk=kept.pk)
