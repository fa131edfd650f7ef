"""Alerts and what became of them, for reading."""

from __future__ import annotations

from django.contrib import admin

from accounts.models import Alert, HookCall, Notice
from accounts.read_only import ReadOnly, Unwritten


class NoticeInline(Unwritten, admin.TabularInline):
    model = Notice
    fields = readonly_fields = ("channel", "user", "state", "tries", "next_try_at", "sent_at", "said")
    extra = 0


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    list_display = ["created_at", "team", "kind", "threshold", "text"]
    list_filter = ["kind", "created_at", "team"]
    list_select_related = ["team"]
    search_fields = ["text", "subject", "team__name", "user__email"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
    inlines = [NoticeInline]


@admin.register(HookCall)
class HookCallAdmin(ReadOnly):
    list_display = ["created_at", "notice", "url", "http_status", "said", "duration_ms"]
    list_filter = ["http_status", "created_at"]
    list_select_related = ["notice"]
    search_fields = ["url", "said", "notice__alert__text"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
