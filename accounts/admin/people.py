"""People, teams and their places in them: editable where it is safe, never deleted."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from accounts import ledger
from accounts.admin.audited import Audited, tell
from accounts.models import AuditRecord, Budget, EngineRule, Entry, Hold, Invitation, Membership, Team, User
from accounts.read_only import Kept, ReadOnly, Unadded, link_to, links_to_lists

# What a group may do is a change like any other; and nobody's address is confirmed here, so allauth's page of
# addresses would change rows that say nothing.
admin.site.unregister([Group, EmailAddress])


@admin.register(Group)
class GroupAdmin(Audited, DjangoGroupAdmin):
    """Rights that several of the staff have together."""


class UserCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")
        field_classes: dict[str, Any] = {}


class UserEditForm(UserChangeForm):
    class Meta:
        model = User
        fields = "__all__"
        field_classes: dict[str, Any] = {}


SHARE_HELP = (
    "fal's places are one number for everybody. While members wait for one, each member of this team gets as many "
    "turns as the weight says, and a member of a team of weight 1 gets one. Use small figures (1, 2, 3): a round is as "
    "long as all weights of those who wait together. Staff alone set it: a team's admins would favour themselves."
)


class MembershipInline(Kept, admin.TabularInline):
    model = Membership
    autocomplete_fields = ["team", "user"]
    readonly_fields = ["created_at"]
    extra = 0


@admin.register(User)
class UserAdmin(Audited, Kept, DjangoUserAdmin):
    """People sign in with their e-mail. Nobody is deleted, because the book names them: take `active` away."""

    form = UserEditForm
    add_form = UserCreationForm
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
        ("Books and work", {"fields": ["related"]}),
    ]
    add_fieldsets = [
        (
            None,
            {"classes": ["wide"], "fields": ["email", "name", "usable_password", "password1", "password2"]},
        )
    ]
    list_display = ["email", "name", "is_active", "is_staff", "is_superuser", "last_login", "date_joined"]
    list_filter = ["is_active", "is_staff", "is_superuser", "date_joined"]
    search_fields = ["email", "name"]
    readonly_fields = ["last_login", "date_joined", "related"]
    date_hierarchy = "date_joined"
    ordering = ["email"]
    inlines = [MembershipInline]

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Django's page for the password of another person: it saves without `save_model`."""
        with transaction.atomic():
            answer = super().user_change_password(request, id, form_url)
            user = self.get_object(request, id)
            if request.method == "POST" and answer.status_code == 302 and user is not None:
                tell(user, "password_changed", {}, {"password": "changed"})
            return answer

    @admin.display(description="one click away")
    def related(self, user: User) -> SafeString:
        own = links_to_lists(Entry, Hold, Budget, "generations.generation", user__id__exact=user.pk)
        return format_html("{} · {}", own, links_to_lists(AuditRecord, actor__id__exact=user.pk))


@admin.register(Team)
class TeamAdmin(Audited, Kept, admin.ModelAdmin):
    """A new team gets its wallet with it.

    `share_weight` is set here, by staff, and not on the team's own page: a team's admins would favour themselves.
    """

    list_display = ["name", "slug", "time_zone", "share_weight", "wallet_link", "created_at"]
    list_filter = ["time_zone", "created_at"]
    list_select_related = ["wallet"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    fieldsets = [
        (None, {"fields": ["name", "slug", "time_zone"]}),
        ("Fair share", {"fields": ["share_weight"], "description": SHARE_HELP}),
        ("Dates and money", {"fields": ["wallet_link", "related", "created_at"]}),
    ]
    readonly_fields = ["wallet_link", "related", "created_at"]
    date_hierarchy = "created_at"
    ordering = ["name"]
    inlines = [MembershipInline]

    @admin.display(description="one click away")
    def related(self, team: Team) -> SafeString:
        return links_to_lists("generations.generation", AuditRecord, Membership, team__id__exact=team.pk)

    @admin.display(description="wallet")
    def wallet_link(self, team: Team) -> str:
        return link_to(getattr(team, "wallet", None))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            ledger.open_wallet(obj)


@admin.register(Membership)
class MembershipAdmin(Audited, Kept, admin.ModelAdmin):
    """Leaving is `active` taken away; the row stays, so that history keeps its names."""

    list_display = ["user", "team", "role", "is_active", "created_at"]
    list_filter = ["role", "is_active", "team", "created_at"]
    list_select_related = ["user", "team"]
    search_fields = ["user__email", "user__name", "team__name"]
    autocomplete_fields = ["user", "team"]
    readonly_fields = ["created_at"]
    date_hierarchy = "created_at"
    ordering = ["team__name", "user__email"]


@admin.register(Invitation)
class InvitationAdmin(Audited, Unadded, Kept, admin.ModelAdmin):
    """Invitations are made on the team's page, where the link is shown once; here they are followed and revoked."""

    list_display = [
        "email",
        "team",
        "role",
        "invited_by",
        "created_at",
        "expires_at",
        "accepted_at",
        "revoked_at",
    ]
    list_filter = ["role", "created_at", "accepted_at", "revoked_at", "team"]
    list_select_related = ["team", "invited_by"]
    search_fields = ["email", "team__name", "invited_by__email"]
    readonly_fields = [
        "team", "email", "role", "budget_credits", "budget_period", "invited_by", "created_at", "accepted_at",
        "accepted_by",
    ]  # fmt: skip
    fields = [*readonly_fields, "expires_at", "revoked_at"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]


@admin.register(EngineRule)
class EngineRuleAdmin(ReadOnly):
    """Which engines a team's admins allow or hide. The team's own page sets them; the wallet's book keeps each."""

    list_display = ["team", "endpoint_id", "role", "is_allowed", "created_at"]
    list_filter = ["is_allowed", "role", "team"]
    list_select_related = ["team"]
    search_fields = ["team__name", "endpoint_id"]
    date_hierarchy = "created_at"
    ordering = ["team__name", "endpoint_id", "role"]
