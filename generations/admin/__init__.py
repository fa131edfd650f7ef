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
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from generations import queue
from generations.admin import bills, prices  # noqa: F401 - its pages register themselves
from generations.admin.rooms import ReadOnly, ReadOnlyInline, change_url, link, list_url
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
class GenerationAdmin(ReadOnly):
    list_display = (
        "created_at",
        "team",
        "user",
        "engine",
        "words",
        "state",
        "credits_held",
        "hold_state",
        "failure_code",
    )
    list_filter = ("state", "is_simulated", "is_cancel_requested", "engine", "team", "failure_code")
    search_fields = ("id", "prompt", "user__email", "team__name", "attempts__request_id", "hold__id")
    date_hierarchy = "created_at"
    list_select_related = ("team", "user", "hold")
    ordering = ("-created_at",)
    inlines = (AttemptInline, PictureInline)
    readonly_fields = ("page_link", "hold_link", "entries_link")

    @admin.display(description="prompt")
    def words(self, generation: Generation) -> str:
        return Truncator(generation.prompt).chars(PROMPT_CHARS)

    @admin.display(description="quote", ordering="quote_credits")
    def credits_held(self, generation: Generation) -> str:
        return f"{generation.quote_credits} credits"

    @admin.display(description="hold")
    def hold_state(self, generation: Generation) -> str:
        return generation.hold.state

    @admin.display(description="page")
    def page_link(self, generation: Generation) -> SafeString | str:
        return link(reverse("generations:show", args=[generation.pk]), "Open")

    @admin.display(description="hold in the book")
    def hold_link(self, generation: Generation) -> SafeString | str:
        return link(change_url("accounts_hold", generation.hold_id), str(generation.hold))

    @admin.display(description="entries")
    def entries_link(self, generation: Generation) -> SafeString | str:
        entries = generation.hold.entries.count()
        url = list_url("accounts_entry")
        return link(
            f"{url}?hold__id__exact={generation.hold_id}" if url else "", f"{entries} entries of this hold"
        )


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
    list_filter = ("state", "is_maybe_billed", "http_status", "error_type")
    search_fields = ("request_id", "generation__id", "generation__user__email", "error_detail")
    date_hierarchy = "sent_at"
    list_select_related = ("generation",)
    ordering = ("-sent_at",)
    exclude = ("token",)
    readonly_fields = ("generation_link",)
    inlines = (LogLineInline, DeliveryInline)

    @admin.display(description="generation")
    def generation_link(self, attempt: Attempt) -> SafeString | str:
        return link(change_url("generations_generation", attempt.generation_id), str(attempt.generation_id))


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
    list_filter = ("content_type", "codec", "has_audio")
    search_fields = ("generation__id", "sha256", "file")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    readonly_fields = ("generation_link",)

    @admin.display(description="generation")
    def generation_link(self, output: Output) -> SafeString | str:
        return link(change_url("generations_generation", output.generation_id), str(output.generation_id))


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
        return link(change_url("generations_generation", late.generation_id), str(late.generation_id))

    @admin.display(description="kept as")
    def kept_link(self, late: LateClip) -> SafeString | str:
        if late.kept_as_id is None:
            return "-"
        return link(change_url("generations_generation", late.kept_as_id), str(late.kept_as_id))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ("received_at", "request_id", "attempt", "signed_at", "processed_at", "outcome")
    list_filter = (("processed_at", admin.EmptyFieldListFilter), ("attempt", admin.EmptyFieldListFilter))
    search_fields = ("request_id", "body_sha256", "attempt__generation__id")
    date_hierarchy = "received_at"
    list_select_related = ("attempt",)
    ordering = ("-received_at",)


@admin.register(Picture)
class PictureAdmin(ReadOnly):
    list_display = ("created_at", "original_name", "team", "user", "format", "width", "height", "size_bytes")
    list_filter = ("format", "team")
    search_fields = ("id", "original_name", "sha256", "user__email")
    date_hierarchy = "created_at"
    list_select_related = ("team", "user")
    ordering = ("-created_at",)


@admin.register(LogLine)
class LogLineAdmin(ReadOnly):
    list_display = ("logged_at", "attempt", "position", "level", "message")
    list_filter = ("level",)
    search_fields = ("message", "attempt__request_id", "attempt__generation__id")
    list_select_related = ("attempt",)
    ordering = ("-attempt", "position")


@admin.register(Breaker)
class BreakerAdmin(ReadOnly):
    list_display = ("engine", "code", "opened_at", "failures", "reason", "probe_at", "probes", "changed_at")
    list_filter = (("opened_at", admin.EmptyFieldListFilter), "code")
    search_fields = ("engine",)
    ordering = ("-opened_at", "engine")


@admin.register(DispatchPause)
class DispatchPauseAdmin(ReadOnly):
    list_display = ("since_at", "code", "reason", "probe_at")
    actions = ("lift",)

    @admin.action(description="Lift the pause: try fal again at once", permissions=["lift"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        queryset.delete()
        queue.enqueue(queue.DISPATCH)
        messages.success(request, "The pause is lifted; what waits goes out now.")

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("generations.delete_dispatchpause")
