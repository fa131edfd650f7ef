"""Changes that staff make in the admin's forms, kept in the audit log in the transaction of the change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models, transaction
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest

from accounts import audit
from accounts.models import Team

# Written by signing in, not by whoever edits.
UNTOLD = {"last_login"}


class Audited(admin.ModelAdmin):
    """A room of rows that staff may change: each change is told with what it was before."""

    def save_model(self, request: HttpRequest, obj: models.Model, form: ModelForm[Any], change: bool) -> None:
        before = _stored(obj) if change else {}
        super().save_model(request, obj, form, change)
        tell(obj, "changed" if change else "added", before, _values(obj))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = _sets(form.instance)
        super().save_related(request, form, formsets, change)
        after = _sets(form.instance)
        if before != after:
            tell(form.instance, "changed", before, after)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: BaseInlineFormSet[Any, Any, Any], change: bool
    ) -> None:
        before = {each.instance.pk: _stored(each.instance) for each in formset.initial_forms}
        super().save_formset(request, form, formset, change)
        for row in formset.new_objects:
            tell(row, "added", {}, _values(row))
        for row, _ in formset.changed_objects:
            tell(row, "changed", before.get(row.pk, {}), _values(row))

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        before = _values(obj)
        tell(obj, "deleted", before, {})
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        with transaction.atomic():
            for row in queryset:
                self.delete_model(request, row)


def tell(row: models.Model, what: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    team = row if isinstance(row, Team) else getattr(row, "team", None)
    was, is_now = audit.differing(before, after)
    if was or is_now:
        audit.record(f"{row._meta.model_name}.{what}", subject=row, team=team, before=was, after=is_now)


def _stored(row: models.Model) -> dict[str, Any]:
    found = type(row)._base_manager.filter(pk=row.pk).first()
    return _values(found) if found else {}


def _values(row: models.Model) -> dict[str, Any]:
    fields = row._meta.concrete_fields
    return {field.attname: field.value_from_object(row) for field in fields if field.attname not in UNTOLD}


def _sets(row: models.Model) -> dict[str, list[str]]:
    """Groups and rights, by name."""
    return {
        field.name: sorted(str(each) for each in getattr(row, field.name).all())
        for field in row._meta.many_to_many
    }
