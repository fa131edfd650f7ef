"""What fal billed, and the class each bill came to."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from accounts.read_only import link, page_of
from generations.admin.rooms import ReadOnly
from generations.models import Bill, BillMatch


@admin.register(Bill)
class BillAdmin(ReadOnly):
    list_display = (
        "billed_at",
        "request_id",
        "endpoint_id",
        "output_units",
        "unit_price_usd",
        "cost_usd",
        "seen_at",
    )
    list_filter = ("endpoint_id",)
    search_fields = ("request_id",)
    date_hierarchy = "billed_at"
    ordering = ("-billed_at",)


@admin.register(BillMatch)
class BillMatchAdmin(ReadOnly):
    list_display = (
        "happened_at",
        "request_id",
        "kind",
        "fal_usd",
        "our_usd",
        "unexplained_usd",
        "attempt_link",
    )
    list_filter = ("kind", "endpoint_id")
    search_fields = ("request_id", "attempt__generation__id")
    date_hierarchy = "happened_at"
    ordering = ("-happened_at",)
    readonly_fields = ("attempt_link",)

    @admin.display(description="attempt")
    def attempt_link(self, match: BillMatch) -> SafeString | str:
        if match.attempt_id is None:
            return "-"
        return link(page_of("generations.attempt", match.attempt_id), str(match.attempt_id))
