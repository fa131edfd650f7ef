"""Requests for more, each with what happened to it; people decide them on the site's own pages."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from accounts.models import AuditRecord
from accounts.read_only import link, links_to_lists, page_of, recent_values
from generations.admin.rooms import Ordered, ReadOnlyInline
from generations.models import CreditRequest, CreditRequestPicture, CreditRequestStep


class StepInline(ReadOnlyInline):
    model = CreditRequestStep
    fields = ("created_at", "kind", "actor", "note")
    ordering = ("created_at", "pk")


class PictureInline(ReadOnlyInline):
    model = CreditRequestPicture
    fields = ("field", "position", "picture")


@admin.register(CreditRequest)
class CreditRequestAdmin(Ordered):
    list_display = (
        *("created_at", "team", "user", "engine", "quote_credits", "refusal", "state", "closed_at"),
        "generation_link",
    )
    list_filter = ("state", "refusal", recent_values("engine"), "team")
    search_fields = ("id", "user__email", "team__name", "prompt", "refusal_text", "generation__id")
    date_hierarchy = "created_at"
    list_select_related = ("team", "user")
    ordering = ("-created_at", "-id")
    inlines = (StepInline, PictureInline)
    readonly_fields = ("team_link", "user_link", "price_link", "generation_link", "related")

    @admin.display(description="generation")
    def generation_link(self, request: CreditRequest) -> SafeString | str:
        of = request.generation_id
        return link(page_of("generations.generation", of), of) if of else "-"

    @admin.display(description="one click away")
    def related(self, request: CreditRequest) -> SafeString:
        return links_to_lists(AuditRecord, subject_id__exact=request.pk)
