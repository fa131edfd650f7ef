"""The book as auditors read it: everything related is one click away, and no list counts the whole table."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin.corrections import OF_GRANTS, OF_HOLDS, OF_WALLETS, Corrected
from accounts.models import AuditRecord, Budget, BudgetPeriod, Draw, Entry, Grant, Hold, SignedHead, Wallet
from accounts.read_only import ReadOnly, Unwritten, link, link_to, links_to_lists, page_of, recent_values


class DrawInline(Unwritten, admin.TabularInline):
    model = Draw
    fields = readonly_fields = ("grant_link", "source", "target", "amount")
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Draw]:
        return super().get_queryset(request).select_related("grant")

    @admin.display(description="grant")
    def grant_link(self, draw: Draw) -> str:
        return link_to(draw.grant)


class EntryInline(Unwritten, admin.TabularInline):
    model = Entry
    fields = readonly_fields = (
        "entry_link", "created_at", "reason", "available_delta", "held_delta", "captured_delta", "actor",
    )  # fmt: skip
    ordering = ["seq"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="entry")
    def entry_link(self, entry: Entry) -> str:
        return link_to(entry)


GENERATIONS = "generations.generation"
OF_TEAMS: tuple[Any, ...] = (GENERATIONS, AuditRecord)
# An entry's draws in one cell of a file: "grant 7: remaining to held 40; grant 9: ...".
_DRAWS_IN_WORDS = (
    Draw.objects.filter(entry=OuterRef("pk"))
    .order_by()
    .values("entry")
    .annotate(
        words=StringAgg(
            Concat(
                Value("grant "), Cast("grant_id", CharField()), Value(": "), "source", Value(" to "), "target",
                Value(" "), Cast("amount", CharField()),
            ),
            delimiter="; ",
            order_by="id",
        )
    )
    .values("words")
)  # fmt: skip


@admin.register(Wallet)
class WalletAdmin(ReadOnly, Corrected):
    corrections = OF_WALLETS
    list_display = ["team", "status", "available", "held", "captured", "expired", "adjusted_out", "granted"]
    list_filter = ["status", "created_at"]
    list_select_related = ["team"]
    search_fields = ["team__name", "team__slug"]
    date_hierarchy = "created_at"
    ordering = ["team__name"]
    readonly_fields = ["related", "team_link"]

    @admin.display(description="team")
    def team_link(self, wallet: Wallet) -> str:
        return link_to(wallet.team)

    @admin.display(description="one click away")
    def related(self, wallet: Wallet) -> SafeString:
        books = links_to_lists(Entry, Grant, Hold, Budget, wallet__id__exact=wallet.pk)
        return format_html("{} · {}", books, links_to_lists(*OF_TEAMS, team__id__exact=wallet.team_id))


@admin.register(Grant)
class GrantAdmin(ReadOnly, Corrected):
    corrections = OF_GRANTS
    list_display = [
        "id", "created_at", "wallet_link", "source", "amount", "remaining", "held", "captured", "expired",
        "adjusted_out", "expires_at", "voided_at", "reference",
    ]  # fmt: skip
    list_filter = [
        "source",
        "is_open",
        "is_grace_used",
        "created_at",
        "expires_at",
        "voided_at",
        "wallet__team",
    ]
    list_select_related = ["wallet__team"]
    search_fields = ["wallet__team__name", "wallet__team__slug", "reference", "note"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
    readonly_fields = ["related", "wallet_link"]

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
        "user_link",
        "work_link",
        "state",
        "amount",
        "captured",
        "refunded",
    ]
    list_filter = ["state", "created_at", "resolved_at", "wallet__team"]
    list_select_related = ["wallet__team", "user"]
    search_fields = ["reference", "user__email", "user__name", "wallet__team__name"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    readonly_fields = ["work_link", "wallet_link", "user_link", "related", "budget_windows"]
    inlines = [EntryInline]

    @admin.display(description="work")
    def work_link(self, hold: Hold) -> str:
        """What it was held for, where that has a page here."""
        kind, _, pk = hold.reference.partition(":")
        page = page_of(GENERATIONS, pk) if kind == "generation" else ""
        return link(page, kind) if page else "-"

    @admin.display(description="user", ordering="user")
    def user_link(self, hold: Hold) -> str:
        return link_to(hold.user)

    @admin.display(description="one click away")
    def related(self, hold: Hold) -> SafeString:
        return links_to_lists(Entry, GENERATIONS, hold__id__exact=hold.pk)

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, hold: Hold) -> str:
        return link_to(hold.wallet)

    @admin.display(description="counts in")
    def budget_windows(self, hold: Hold) -> str | SafeString:
        windows = [link.budget_period for link in hold.budget_links.select_related("budget_period__budget")]
        return format_html_join(", ", "{}", ((link_to(window),) for window in windows)) or "no budget"


@admin.register(Entry)
class EntryAdmin(ReadOnly):
    list_display = [
        "number", "created_at", "wallet_link", "kind", "user_link", "actor_link", "reason", "available_delta",
        "held_delta", "captured_delta", "available_after", "hold_link", "digest",
    ]  # fmt: skip
    list_filter = ["kind", "created_at", ("actor", admin.EmptyFieldListFilter), "wallet__team"]
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
    readonly_fields = ["wallet_link", "hold_link", "user_link", "actor_link", "related"]
    inlines = [DrawInline]
    export_extra = {"draws_in_words": Subquery(_DRAWS_IN_WORDS)}

    @admin.display(description="digest", ordering="sha256")
    def digest(self, entry: Entry) -> str:
        return entry.sha256[:12]

    @admin.display(description="user", ordering="user")
    def user_link(self, entry: Entry) -> str:
        return link_to(entry.user)

    @admin.display(description="actor", ordering="actor")
    def actor_link(self, entry: Entry) -> str:
        return link_to(entry.actor)

    @admin.display(description="one click away")
    def related(self, entry: Entry) -> SafeString:
        of_work = links_to_lists(GENERATIONS, hold__id__exact=entry.hold_id) if entry.hold_id else ""
        own = links_to_lists(Draw, AuditRecord, entry__id__exact=entry.pk)
        return format_html_join(" · ", "{}", ((each,) for each in (of_work, own) if each))

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
class DrawAdmin(ReadOnly):
    list_display = ["id", "written_at", "entry_link", "grant_link", "source", "target", "amount"]
    list_filter = ["source", "target", "grant__source", "entry__created_at", "entry__wallet__team"]
    list_select_related = ["entry", "grant"]
    search_fields = ["entry__reference", "entry__wallet__team__name"]
    ordering = ["-id"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        is_ours = lookup in {"grant__id__exact", "entry__id__exact"}
        return is_ours or super().lookup_allowed(lookup, value, request)

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
class BudgetAdmin(ReadOnly):
    list_display = ["user", "wallet_link", "limit_credits", "period", "is_hard", "is_active", "created_at"]
    list_filter = ["period", "is_hard", "is_active", "wallet__team"]
    list_select_related = ["user", "wallet__team"]
    search_fields = ["user__email", "user__name", "wallet__team__name"]
    date_hierarchy = "created_at"
    ordering = ["wallet", "user__email", "period"]
    readonly_fields = ["related", "wallet_link"]

    @admin.display(description="wallet", ordering="wallet")
    def wallet_link(self, budget: Budget) -> str:
        return link_to(budget.wallet)

    @admin.display(description="one click away")
    def related(self, budget: Budget) -> SafeString:
        return links_to_lists(BudgetPeriod, budget__id__exact=budget.pk)


@admin.register(BudgetPeriod)
class BudgetPeriodAdmin(ReadOnly):
    list_display = ["budget_link", "starts_at", "ends_at", "held", "captured"]
    list_filter = ["budget__period", "starts_at", "budget__wallet__team"]
    list_select_related = ["budget__user", "budget__wallet__team"]
    search_fields = ["budget__user__email", "budget__wallet__team__name"]
    date_hierarchy = "starts_at"
    ordering = ["-starts_at", "-id"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "budget__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="budget", ordering="budget")
    def budget_link(self, window: BudgetPeriod) -> str:
        return link_to(window.budget)


@admin.register(SignedHead)
class SignedHeadAdmin(ReadOnly):
    """What the chains came to, day by day: see accounts/ledger/heads.py."""

    list_display = ["created_at", "key", "signature"]
    list_filter = ["created_at", "key"]
    search_fields = ["key", "signature", "content"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnly):
    list_display = [
        "created_at", "action", "actor_link", "team", "subject_link", "before", "after", "reason", "address",
        "entry_link",
    ]  # fmt: skip
    list_filter = ["created_at", recent_values("action"), ("actor", admin.EmptyFieldListFilter), "team"]
    list_select_related = ["actor", "team", "entry"]
    search_fields = ["action", "subject", "actor__email", "team__name", "address", "=request_id"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-id"]
    readonly_fields = ["actor_link", "subject_link", "entry_link"]

    @admin.display(description="actor", ordering="actor")
    def actor_link(self, record: AuditRecord) -> str:
        return link_to(record.actor)

    @admin.display(description="subject")
    def subject_link(self, record: AuditRecord) -> str:
        return link(
            page_of(record.subject_type, record.subject_id) if record.subject_type else "", record.subject
        )

    @admin.display(description="entry")
    def entry_link(self, record: AuditRecord) -> str:
        return link_to(record.entry)
