"""Corrections of the book by an operator: a page that demands a reason and adds a row, never a field to edit.

Only people with the permission to change wallets may; looking at the book needs less. The key in the form makes a
doubled submit one correction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts import ledger
from accounts.errors import LedgerError
from accounts.models import Grant, Hold, User, Wallet
from accounts.models.money import Source

PERMISSION = "accounts.change_wallet"


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=300, widget=forms.Textarea(attrs={"rows": 3, "cols": 60}))
    key = forms.CharField(max_length=60, widget=forms.HiddenInput)
    field_order = ["amount", "reason", "key"]


class AdjustForm(ReasonForm):
    amount = forms.IntegerField(
        help_text="Whole credits; with a minus they are taken out, earliest expiry first."
    )


class RefundForm(ReasonForm):
    amount = forms.IntegerField(
        min_value=1, help_text="Whole credits, at most what was captured and not refunded."
    )


class CreditsForm(ReasonForm):
    amount = forms.IntegerField(min_value=1)
    source = forms.ChoiceField(choices=[(Source.PURCHASE, "Purchase"), (Source.PROMOTIONAL, "Promotional")])
    days = forms.IntegerField(
        required=False, initial=365, help_text="Empty: for ever. Promotional credits last from 7 to 365 days."
    )
    reference = forms.CharField(max_length=120, required=False, help_text="Invoice or campaign.")
    note = forms.CharField(max_length=300, required=False)
    field_order = ["amount", "source", "days", "reference", "note", "reason", "key"]


class ExtendForm(ReasonForm):
    last_day = forms.DateField(
        required=False,
        widget=forms.DateInput({"type": "date"}),
        help_text="In the team's time zone; empty: for ever.",
    )
    field_order = ["last_day", "reason", "key"]


class Correction(NamedTuple):
    """One verb of the ledger with its form; `apply` gets the row, the form's data and who does it."""

    name: str
    title: str
    form: type[ReasonForm]
    apply: Callable[[Any, dict[str, Any], User], object]


def _adjust(wallet: Wallet, data: dict[str, Any], actor: User) -> object:
    key = f"admin:{data['key']}"
    return ledger.adjust(
        wallet, amount=data["amount"], actor=actor, reason=data["reason"], idempotency_key=key
    )


def _add_credits(wallet: Wallet, data: dict[str, Any], actor: User) -> object:
    fields = {name: value for name, value in data.items() if name != "key"}
    return ledger.add_credits(wallet, **fields, actor=actor, idempotency_key=f"admin:{data['key']}")


def _extend(grant: Grant, data: dict[str, Any], actor: User) -> object:
    day = data["last_day"]
    until = ledger.end_of(day, ZoneInfo(grant.wallet.team.time_zone)) if day else None
    key = f"admin:{data['key']}"
    return ledger.extend_grant(
        grant, expires_at=until, actor=actor, reason=data["reason"], idempotency_key=key
    )


def _void(grant: Grant, data: dict[str, Any], actor: User) -> object:
    key = f"admin:{data['key']}"
    return ledger.void_grant(grant, actor=actor, reason=data["reason"], idempotency_key=key)


def _refund(hold: Hold, data: dict[str, Any], actor: User) -> object:
    key = f"admin:{data['key']}"
    return ledger.refund(hold, amount=data["amount"], actor=actor, reason=data["reason"], idempotency_key=key)


def _freeze(wallet: Wallet, data: dict[str, Any], actor: User) -> object:
    return ledger.freeze(wallet, actor=actor, reason=data["reason"])


def _unfreeze(wallet: Wallet, data: dict[str, Any], actor: User) -> object:
    return ledger.unfreeze(wallet, actor=actor, reason=data["reason"])


OF_WALLETS = [
    Correction("credits", "Add credits", CreditsForm, _add_credits),
    Correction("adjust", "Adjust the balance", AdjustForm, _adjust),
    Correction("freeze", "Freeze the wallet", ReasonForm, _freeze),
    Correction("unfreeze", "Unfreeze the wallet", ReasonForm, _unfreeze),
]
OF_GRANTS = [
    Correction("extend", "Let it last longer", ExtendForm, _extend),
    Correction("void", "Void what is left", ReasonForm, _void),
]
OF_HOLDS = [Correction("refund", "Refund captured credits", RefundForm, _refund)]


class Corrected(admin.ModelAdmin):
    """An admin room whose rows have correction pages, linked from their own page."""

    corrections: list[Correction] = []

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                f"<path:object_id>/{one.name}/", self._page_of(one), name=f"accounts_{self._word}_{one.name}"
            )
            for one in self.corrections
        ] + super().get_urls()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = list(super().get_readonly_fields(request, obj))
        return [*fields, "correct"] if request.user.has_perm(PERMISSION) else fields

    @admin.display(description="corrections")
    def correct(self, row: Any) -> SafeString:
        pages = (
            (reverse(f"admin:accounts_{self._word}_{c.name}", args=[row.pk]), c.title)
            for c in self.corrections
        )
        return format_html_join(" · ", '<a href="{}">{}</a>', pages)

    @property
    def _word(self) -> str:
        return str(self.opts.model_name)

    def _page_of(self, correction: Correction) -> Callable[..., HttpResponse]:
        def page(request: HttpRequest, object_id: str) -> HttpResponse:
            return self._correct(request, object_id, correction)

        return self.admin_site.admin_view(page)

    def _correct(self, request: HttpRequest, object_id: str, correction: Correction) -> HttpResponse:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        row = get_object_or_404(self.model, pk=object_id)
        row_page = reverse(f"admin:accounts_{self._word}_change", args=[row.pk])
        form = correction.form(request.POST or None, initial={"key": str(uuid.uuid4())})
        if request.method == "POST" and form.is_valid() and _applied(request, form, correction, row):
            messages.success(request, f"{correction.title}: done and written into the book.")
            return redirect(row_page)
        context = self.admin_site.each_context(request) | {
            "title": correction.title,
            "form": form,
            "row": row,
            "row_page": row_page,
            "list_page": reverse(f"admin:accounts_{self._word}_changelist"),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/accounts/correction.html", context)


def _applied(request: HttpRequest, form: ReasonForm, correction: Correction, row: Any) -> bool:
    """False, with the refusal in the form, if the ledger refuses."""
    actor = request.user
    assert isinstance(actor, User)
    try:
        correction.apply(row, form.cleaned_data, actor)
    except LedgerError as error:
        form.add_error(None, str(error))
        return False
    return True
