"""What the admin's lists of generations share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import URLField

from accounts import read_only
from accounts.read_only import Unwritten


class ReadOnly(read_only.ReadOnly):
    formfield_overrides: ClassVar[dict[Any, Any]] = {URLField: {"assume_scheme": "https"}}


class ReadOnlyInline(Unwritten, admin.TabularInline):
    extra = 0
    show_change_link = True
