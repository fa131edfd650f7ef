"""The book as auditors read it: everything related is one click away, and no list counts the whole table."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.admin.corrections import OF_GRANTS, OF_HOLDS, OF_WALLETS, Corrected
from accounts.admin.rooms import ReadOnly, link_to, links_to_lists
from accounts.models import Budget, BudgetPeriod, Draw, Entry, Grant, Hold, Wallet


class DrawInline(ReadOnly, admin.TabularInline):
    model = Draw
    fields = readonly_fields = ("grant_link", "source", "target", "amount")
    extra = 0

    @admin.display(description="grant")
    def grant_link(self, draw: Draw) -> str:
        return link_to(draw.grant)


class EntryInline(ReadOnly, admin.TabularInline):
    model = Entry
    fields = readonly_fields = (
        "entry_link", "created_at", "reason", "available_delta", "held_delta", "captured_delta", "actor",
    )  # fmt: skip
    ordering = ["seq"]
    extra = 0

    @admin.display(description="entry")
    def entry_link(self, entry: Entry) -> str:
        return link_to(entry)


@admin.register(Wallet)
class WalletAdmin(ReadOnly, Corrected):
    corrections = OF_WALLETS
    list_display = ["team", "status", "available", "held", "captured", "expired", "adjusted_out", "granted"]
    list_filter = ["status", "created_at"]
    list_select_related = ["team"]
    search_fields = ["team__name", "team__slug"]
    date_hierarchy = "created_at"
    ordering = ["team__name"]
    readonly_fields = ["related"]

    @admin.display(description="one click away")
    def related(self, wallet: Wallet) -> SafeString:
        return links_to_lists(Entry, Grant, Hold, Budget, wallet__id__exact=wallet.pk)


@admin.register(Grant)
class GrantAdmin(ReadOnly, Corrected):
    corrections = OF_GRANTS
    list_display = [
        "id", "created_at", "wallet_link", "source", "amount", "remaining", "held", "captured", "expired",
        "adjusted_out", "expires_at", "voided_at", "reference",
    ]  # fmt: skip
    list_filter = ["source", "is_open", "is_grace_used", "created_at", "expires_at", "voided_at", "wallet"]
    list_select_related = ["wallet__team"]
    search_fields = ["wallet__team__name", "wallet__team__slug", "reference", "note"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
    readonly_fields = ["related"]

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, grant: Grant) -> str:
        return link_to(grant.wallet)

    @admin.display(description="one click away")
    def related(self, grant: Grant) -> SafeString:
        return links_to_lists(Draw, grant__id__exact=grant.pk)


@admin.register(Hold)
class HoldAdmin(ReadOnly, Corrected):
    corrections = OF_HOLDS
    list_display = [
        "reference",
        "created_at",
        "wallet_link",
        "user",
        "state",
        "amount",
        "captured",
        "refunded",
    ]
    list_filter = ["state", "created_at", "resolved_at", "wallet"]
    list_select_related = ["wallet__team", "user"]
    search_fields = ["reference", "user__email", "user__name", "wallet__team__name"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    readonly_fields = ["budget_windows"]
    inlines = [EntryInline]

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, hold: Hold) -> str:
        return link_to(hold.wallet)

    @admin.display(description="counts in")
    def budget_windows(self, hold: Hold) -> str | SafeString:
        windows = [link.budget_period for link in hold.budget_links.select_related("budget_period__budget")]
        return format_html_join(", ", "{}", ((link_to(window),) for window in windows)) or "no budget"


@admin.register(Entry)
class EntryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "number", "created_at", "wallet_link", "kind", "user", "actor", "reason", "available_delta", "held_delta",
        "captured_delta", "available_after", "hold_link",
    ]  # fmt: skip
    list_filter = ["kind", "created_at", ("actor", admin.EmptyFieldListFilter), "wallet"]
    list_select_related = ["wallet__team", "user", "actor", "hold"]
    search_fields = [
        "reference",
        "idempotency_key",
        "reason",
        "user__email",
        "actor__email",
        "wallet__team__name",
    ]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
    readonly_fields = ["hold_link"]
    inlines = [DrawInline]

    @admin.display(description="#", ordering="seq")
    def number(self, entry: Entry) -> int:
        return entry.seq

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, entry: Entry) -> str:
        return link_to(entry.wallet)

    @admin.display(description="hold")
    def hold_link(self, entry: Entry) -> str:
        return link_to(entry.hold)


@admin.register(Draw)
class DrawAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "written_at", "entry_link", "grant_link", "source", "target", "amount"]
    list_filter = ["source", "target", "grant__source"]
    list_select_related = ["entry", "grant"]
    search_fields = ["entry__reference", "entry__wallet__team__name"]
    date_hierarchy = "entry__created_at"
    ordering = ["-id"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "grant__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="at")
    def written_at(self, draw: Draw) -> Any:
        return draw.entry.created_at

    @admin.display(description="entry")
    def entry_link(self, draw: Draw) -> str:
        return link_to(draw.entry)

    @admin.display(description="grant")
    def grant_link(self, draw: Draw) -> str:
        return link_to(draw.grant)


@admin.register(Budget)
class BudgetAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["user", "wallet_link", "limit_credits", "period", "is_hard", "is_active", "created_at"]
    list_filter = ["period", "is_hard", "is_active", "wallet"]
    list_select_related = ["user", "wallet__team"]
    search_fields = ["user__email", "user__name", "wallet__team__name"]
    date_hierarchy = "created_at"
    ordering = ["wallet", "user__email", "period"]
    readonly_fields = ["related"]

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, budget: Budget) -> str:
        return link_to(budget.wallet)

    @admin.display(description="one click away")
    def related(self, budget: Budget) -> SafeString:
        return links_to_lists(BudgetPeriod, budget__id__exact=budget.pk)


@admin.register(BudgetPeriod)
class BudgetPeriodAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["budget_link", "starts_at", "ends_at", "held", "captured"]
    list_filter = ["budget__period", "starts_at", "budget__wallet"]
    list_select_related = ["budget__user", "budget__wallet__team"]
    search_fields = ["budget__user__email", "budget__wallet__team__name"]
    date_hierarchy = "starts_at"
    ordering = ["-starts_at", "-id"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "budget__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="budget", ordering="budget")
    def budget_link(self, window: BudgetPeriod) -> str:
        return link_to(window.budget)
