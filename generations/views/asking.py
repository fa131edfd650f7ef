"""The button beside a refusal: what stands in the composer becomes a request, and nothing typed is lost."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.errors import LedgerError
from accounts.models import Membership
from accounts.permissions import member_required
from generations import asking, catalogue, lifecycle
from generations.models import CreditRequest
from generations.views import draft as drafts
from generations.views.draft import Draft
from generations.views.studio import refused

LONGEST_NOTE_CHARS = 300


@require_POST
@member_required
def ask(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Ask for it; on to the page of the request. What is wrong comes back as it does from Generate."""
    draft = drafts.posted(request, membership)
    made, seen = None, None
    if draft.is_valid():
        seen = draft.form.cleaned_data["seen_credits"]
        made = _asked(request, membership, draft, seen)
    if made is None:
        return refused(request, membership, draft, seen)
    messages.success(request, "Asked. It runs by itself once an admin approves it.")
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(reverse("generations:request", args=[made.pk]))
    return redirect("generations:request", pk=made.pk)


def _asked(
    request: HttpRequest, membership: Membership, draft: Draft, seen: int | None
) -> CreditRequest | None:
    """None when it is refused; the draft then says why."""
    try:
        return asking.ask(
            membership,
            engine=draft.engine.endpoint_id,
            params=draft.form.params,
            pictures=draft.pictures,
            form_token=draft.form.cleaned_data["form_token"],
            seen_credits=seen,
            tag=draft.form.cleaned_data["project_tag"],
            note=request.POST.get("ask_note", "")[:LONGEST_NOTE_CHARS],
            site_url=settings.SITE_URL or request.build_absolute_uri("/").rstrip("/"),
        )
    except catalogue.InvalidInputs as error:
        draft.form.add_input_errors(error.errors)
    except (lifecycle.AlreadySent, asking.AskedBefore) as error:
        draft.form.add_error(None, str(error))
        draft.form.renew_token()
    except (asking.AskingError, LedgerError, lifecycle.LifecycleError, catalogue.CatalogueError) as error:
        draft.form.add_error(None, str(error))
    return None
