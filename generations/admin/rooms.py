"""What the admin's pages of generations share: permissions nobody has, and links from row to row."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, URLField
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


class Unwritable:
    """No adding, no changing, no deleting: for whoever looks."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


class ReadOnly(Unwritable, admin.ModelAdmin):
    show_full_result_count = False
    list_per_page = 50
    formfield_overrides: ClassVar[dict[Any, Any]] = {URLField: {"assume_scheme": "https"}}


class ReadOnlyInline(Unwritable, admin.TabularInline):
    extra = 0
    show_change_link = True


def link(url: str, text: str) -> SafeString | str:
    """A link where the page exists, else just the words."""
    return format_html('<a href="{}">{}</a>', url, text) if url else text


def change_url(model: str, pk: object) -> str:
    return _reverse(f"admin:{model}_change", [pk])


def list_url(model: str) -> str:
    return _reverse(f"admin:{model}_changelist", [])


def _reverse(name: str, args: list[object]) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
