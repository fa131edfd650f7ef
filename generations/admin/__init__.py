"""Generations in the Django admin: everything to be found and read, nothing to be rewritten, not even by a superuser.

State belongs to `lifecycle` and money to `ledger`. The one exception is a pause of the sending, which an operator may
lift once fal's account is in order.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from accounts.models import Entry, User
from accounts.read_only import link, link_to, links_to_lists, page_of, recent_values
from generations import lifecycle
from generations.admin import bills, prices, requests  # noqa: F401 - their pages register themselves
from generations.admin.rooms import Ordered, ReadOnly, ReadOnlyInline
from generations.models import (
    Attempt,
    Breaker,
    Delivery,
    DispatchPause,
    Generation,
    GenerationPicture,
    LateClip,
    LogLine,
    Output,
    Picture,
)

PROMPT_CHARS = 80
GENERATION = "generations.generation"


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = (
        "number",
        "state",
        "request_id",
        "http_status",
        "error_type",
        "billable_units",
        "fal_cost_usd",
        "sent_at",
    )


class PictureInline(ReadOnlyInline):
    model = GenerationPicture
    fields = ("field", "position", "picture")


class LogLineInline(ReadOnlyInline):
    model = LogLine
    fields = ("position", "level", "message", "logged_at")


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = ("request_id", "signed_at", "received_at", "processed_at", "outcome")


@admin.register(Generation)
class GenerationAdmin(Ordered):
    list_display = (
        "created_at",
        "team_link",
        "user_link",
        "engine",
        "words",
        "state",
        "credits_held",
        "hold_link",
        "failure_code",
    )
    list_filter = (
        "state",
        "is_simulated",
        "is_cancel_requested",
        recent_values("engine"),
        "team",
        recent_values("failure_code"),
    )
    search_fields = ("id", "prompt", "user__email", "team__name", "attempts__request_id", "hold__id")
    date_hierarchy = "created_at"
    list_select_related = ("team", "user", "hold")
    ordering = ("-created_at", "-id")
    inlines = (AttemptInline, PictureInline)
    readonly_fields = (
        *("page_link", "hold_link", "team_link", "user_link", "price_link", "output_link", "related"),
    )

    @admin.display(description="prompt")
    def words(self, generation: Generation) -> str:
        return Truncator(generation.prompt).chars(PROMPT_CHARS)

    @admin.display(description="quote", ordering="quote_credits")
    def credits_held(self, generation: Generation) -> str:
        return f"{generation.quote_credits} credits"

    @admin.display(description="page")
    def page_link(self, generation: Generation) -> SafeString | str:
        return link(reverse("generations:show", args=[generation.pk]), "Open")

    @admin.display(description="hold in the book")
    def hold_link(self, generation: Generation) -> SafeString | str:
        return link_to(generation.hold)

    @admin.display(description="output")
    def output_link(self, generation: Generation) -> SafeString | str:
        return link_to(getattr(generation, "output", None))

    @admin.display(description="one click away")
    def related(self, generation: Generation) -> SafeString:
        own = links_to_lists(Attempt, Output, LateClip, generation__id__exact=generation.pk)
        calls = links_to_lists(Delivery, attempt__generation__id__exact=generation.pk)
        entries = links_to_lists(Entry, hold__id__exact=generation.hold_id)
        return format_html("{} · {} · {}", own, calls, entries)


@admin.register(Attempt)
class AttemptAdmin(ReadOnly):
    list_display = (
        "sent_at",
        "generation_link",
        "number",
        "state",
        "request_id",
        "http_status",
        "error_type",
        "fal_cost_usd",
    )
    list_filter = ("state", "is_maybe_billed", recent_values("http_status"), recent_values("error_type"))
    search_fields = ("request_id", "generation__id", "generation__user__email", "error_detail")
    date_hierarchy = "sent_at"
    list_select_related = ("generation",)
    ordering = ("-sent_at", "-id")
    exclude = ("token",)
    readonly_fields = ("generation_link", "related")
    inlines = (LogLineInline, DeliveryInline)

    @admin.display(description="one click away")
    def related(self, attempt: Attempt) -> SafeString:
        return links_to_lists(Delivery, LogLine, LateClip, attempt__id__exact=attempt.pk)

    @admin.display(description="generation")
    def generation_link(self, attempt: Attempt) -> SafeString | str:
        return link(page_of(GENERATION, attempt.generation_id), attempt.generation_id)


@admin.register(Output)
class OutputAdmin(ReadOnly):
    list_display = (
        "created_at",
        "generation_link",
        "width",
        "height",
        "duration_seconds",
        "size_bytes",
        "codec",
        "has_audio",
    )
    list_filter = (recent_values("content_type"), recent_values("codec"), "has_audio")
    list_select_related = ("generation",)
    search_fields = ("generation__id", "sha256", "file")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    readonly_fields = ("generation_link", "entries_link")

    @admin.display(description="entries")
    def entries_link(self, output: Output) -> SafeString:
        return links_to_lists(Entry, hold__id__exact=output.generation.hold_id)

    @admin.display(description="generation")
    def generation_link(self, output: Output) -> SafeString | str:
        return link(page_of(GENERATION, output.generation_id), output.generation_id)


@admin.register(LateClip)
class LateClipAdmin(ReadOnly):
    list_display = ("created_at", "generation_link", "attempt", "state", "offered_until", "kept_link")
    list_filter = ("state",)
    list_select_related = ("attempt",)
    search_fields = ("generation__id", "attempt__request_id", "sha256", "file")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    readonly_fields = ("generation_link", "kept_link")

    @admin.display(description="generation")
    def generation_link(self, late: LateClip) -> SafeString | str:
        return link(page_of(GENERATION, late.generation_id), late.generation_id)

    @admin.display(description="kept as")
    def kept_link(self, late: LateClip) -> SafeString | str:
        if late.kept_as_id is None:
            return "-"
        return link(page_of(GENERATION, late.kept_as_id), late.kept_as_id)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = (
        "received_at", "request_id", "attempt_link", "generation_link", "signed_at", "processed_at", "outcome",
        "body_sha256",
    )  # fmt: skip
    list_filter = (("processed_at", admin.EmptyFieldListFilter), ("attempt", admin.EmptyFieldListFilter))
    search_fields = ("request_id", "body_sha256", "attempt__generation__id")
    date_hierarchy = "received_at"
    list_select_related = ("attempt",)
    ordering = ("-received_at", "-id")
    readonly_fields = ("attempt_link", "generation_link")

    @admin.display(description="attempt")
    def attempt_link(self, delivery: Delivery) -> SafeString | str:
        return link_to(delivery.attempt)

    @admin.display(description="generation")
    def generation_link(self, delivery: Delivery) -> SafeString | str:
        of = delivery.attempt.generation_id if delivery.attempt else None
        return link(page_of(GENERATION, of), of) if of else "-"


@admin.register(Picture)
class PictureAdmin(ReadOnly):
    list_display = ("created_at", "original_name", "team", "user", "format", "width", "height", "size_bytes")
    list_filter = (recent_values("format"), "team")
    search_fields = ("id", "original_name", "sha256", "user__email")
    date_hierarchy = "created_at"
    list_select_related = ("team", "user")
    ordering = ("-created_at",)


@admin.register(LogLine)
class LogLineAdmin(ReadOnly):
    list_display = ("logged_at", "attempt", "position", "level", "message")
    list_filter = (recent_values("level"),)
    search_fields = ("message", "attempt__request_id", "attempt__generation__id")
    list_select_related = ("attempt",)
    ordering = ("-attempt", "position")


@admin.register(Breaker)
class BreakerAdmin(ReadOnly):
    list_display = ("engine", "code", "opened_at", "failures", "reason", "probe_at", "probes", "changed_at")
    list_filter = (("opened_at", admin.EmptyFieldListFilter), "code")
    search_fields = ("engine", "reason")
    date_hierarchy = "changed_at"
    ordering = ("-opened_at", "engine")


@admin.register(DispatchPause)
class DispatchPauseAdmin(ReadOnly):
    list_display = ("since_at", "code", "reason", "probe_at")
    actions = ("lift",)

    @admin.action(description="Lift the pause: try fal again at once", permissions=["lift"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if queryset.exists() and isinstance(request.user, User) and lifecycle.lift_pause(actor=request.user):
            messages.success(request, "The pause is lifted; what waits goes out now.")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return admin.ModelAdmin.get_actions(self, request)

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("generations.delete_dispatchpause")
