"""What the admin's pages share: permissions nobody has, and links from row to row."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


def link_to(row: models.Model | None) -> str | SafeString:
    """The row's own page in the admin."""
    if row is None:
        return "-"
    page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', page, row)


def link_to_list(model: type[models.Model], **filters: object) -> SafeString:
    """The admin's list of a model, filtered to what belongs to this row."""
    page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', page, urlencode(filters), model._meta.verbose_name_plural)


def links_to_lists(*listed: type[models.Model], **filters: object) -> SafeString:
    return format_html_join(" · ", "{}", ((link_to_list(model, **filters),) for model in listed))


class Kept:
    """Nobody deletes these: the book names them."""

    show_full_result_count: ClassVar[bool] = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class Unadded:
    """Nobody makes these here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class ReadOnly(Unadded, Kept):
    """No add, no change, no delete and no actions, for nobody: superusers included."""

    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002
        return {}
