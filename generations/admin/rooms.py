"""What the admin's lists of generations share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import URLField
from django.utils.safestring import SafeString

from accounts import read_only
from accounts.read_only import Unwritten, link_to


class ReadOnly(read_only.ReadOnly):
    formfield_overrides: ClassVar[dict[Any, Any]] = {URLField: {"assume_scheme": "https"}}


class Ordered(ReadOnly):
    """Of what somebody ordered or asked for: whose it is and at which price, each one click away."""

    @admin.display(description="user", ordering="user")
    def user_link(self, row: Any) -> SafeString | str:
        return link_to(row.user)

    @admin.display(description="team", ordering="team")
    def team_link(self, row: Any) -> SafeString | str:
        return link_to(row.team)

    @admin.display(description="price")
    def price_link(self, row: Any) -> SafeString | str:
        return link_to(row.price_version)


class ReadOnlyInline(Unwritten, admin.TabularInline):
    extra = 0
    show_change_link = True
