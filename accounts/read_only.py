"""What the admin's lists of books and work share: nobody writes in them, and a million rows open like a hundred.

Lists are never counted in full: without a filter PostgreSQL's own estimate is shown, with one counting ends at
`MOST_COUNTED`. Pages end there too; what lies beyond is found by filter, date or search, or in the exported file.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import connection, models
from django.db.models.expressions import Col
from django.db.models.lookups import Exact
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts import audit
from accounts.models import Team, User, Wallet
from accounts.sheets import Cell, csv_chunks

MOST_COUNTED = 10_000
ROWS_AT_ONCE = 2_000
# What stands beside the number of a row that another one points to.
NAMED_BY: dict[type[models.Model], str] = {User: "email", Team: "slug", Wallet: "team__slug"}
_ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)"


def link(page: str, text: object) -> str | SafeString:
    return format_html('<a href="{}">{}</a>', page, text) if page else str(text)


def page_of(model: str, pk: object) -> str:
    """The address of a row's page by the name of its model ("generations.generation"), or "" where it has none."""
    try:
        return reverse(f"admin:{model.replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        return ""


def link_to(row: models.Model | None) -> str | SafeString:
    """The row's own page in the admin."""
    return "-" if row is None else link(page_of(row._meta.label_lower, row.pk), row)


def link_to_list(model: type[models.Model] | str, **filters: object) -> str | SafeString:
    """The admin's list of a model, or of one known by name, filtered to what belongs to this row."""
    name = model if isinstance(model, str) else model._meta.label_lower
    try:
        page = reverse(f"admin:{name.replace('.', '_')}_changelist")
    except NoReverseMatch:
        return ""
    words = name.partition(".")[2] + "s" if isinstance(model, str) else model._meta.verbose_name_plural
    return link(f"{page}?{urlencode(filters)}", words)


def links_to_lists(*listed: type[models.Model] | str, **filters: object) -> SafeString:
    return format_html_join(" · ", "{}", ((link_to_list(model, **filters),) for model in listed))


class BriefPaginator(Paginator):
    """Counts no further than it must: see the top of this file."""

    @cached_property
    def count(self) -> int:
        rows: models.QuerySet[Any] = self.object_list  # type: ignore[assignment]
        if not rows.query.where:
            with connection.cursor() as cursor:
                cursor.execute(_ESTIMATE, [rows.model._meta.db_table])
                estimate = int(cursor.fetchone()[0])
            if estimate > MOST_COUNTED:
                return estimate
        return rows.order_by()[: MOST_COUNTED + 1].count()

    @cached_property
    def num_pages(self) -> int:
        return max(1, ceil(min(self.count, MOST_COUNTED) / self.per_page))


class Rows(models.QuerySet[Any]):
    """Rows of a long table. Its years, months and days are read in leaps, from the first row of each to the next.

    Asked for all of them at once, as Django does, PostgreSQL reads every row: better only where no index leads from
    one to the next.
    """

    def datetimes(self, field_name: str, kind: str, order: str = "ASC", tzinfo: Any = None) -> Any:
        leaps = order == "ASC" and tzinfo is None and self._is_in_order_of(field_name)
        if not leaps:
            return super().datetimes(field_name, kind, order, tzinfo)  # type: ignore[arg-type]
        return list(self._begun(field_name, kind))

    def _is_in_order_of(self, field_name: str) -> bool:
        """Whether an index has just these rows by their date: it begins with what they are filtered by."""
        given = set()
        for lookup in self.query.where.children:
            column = getattr(lookup, "lhs", None)
            if not isinstance(column, Col) or column.alias != self.model._meta.db_table:
                return False
            if column.target.name != field_name:
                if not isinstance(lookup, Exact):
                    return False
                given.add(column.target.name)
        for index in self.model._meta.indexes:
            names = [name.removeprefix("-") for name in index.fields]
            first, rest = names[: len(given)], names[len(given) :]
            if index.condition is None and set(first) == given and rest[:1] == [field_name]:
                return True
        return False

    def _begun(self, field_name: str, kind: str) -> Iterator[datetime]:
        rows = self.order_by(field_name).values_list(field_name, flat=True)
        found = rows.first()
        while found is not None:
            start = _start(timezone.localtime(found), kind)
            yield start
            found = rows.filter(**{f"{field_name}__gte": _next(start, kind)}).first()


def _start(moment: datetime, kind: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    month = day if kind == "day" else day.replace(day=1)
    return month.replace(month=1) if kind == "year" else month


def _next(start: datetime, kind: str) -> datetime:
    days = {"day": 1, "month": 31, "year": 366}[kind]
    return _start(start + timedelta(days=days), kind)


class Kept:
    """Nobody deletes these: the book names them."""

    show_full_result_count: ClassVar[bool] = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class Unadded:
    """Nobody makes these here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class Unwritten(Unadded, Kept):
    """No add, no change and no delete, for nobody: superusers included. For inlines as well."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class ReadOnly(Unwritten, admin.ModelAdmin):
    """A list to read, search, filter and take away as CSV. It has no actions."""

    list_per_page = 50
    paginator = BriefPaginator
    change_list_template = "admin/read_only_list.html"
    # Columns of the file besides the row's own: a name, and what is looked up for it.
    export_extra: ClassVar[dict[str, Any]] = {}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return Rows(self.model).order_by(*self.get_ordering(request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        page = self.admin_site.admin_view(self.export)
        return [path("export.csv", page, name=name), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The rows of the list as it is filtered, all of them, and their own columns."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_changelist_instance(request).get_queryset(request)
        header, lookups = self._columns()
        asked = {name: value for name, value in request.GET.items() if name != "q"}
        audit.record(
            "export.made",
            after={"list": self.opts.label_lower, "filter": asked, "is_searched": "q" in request.GET},
        )
        rows = found.annotate(**self.export_extra).values_list(*lookups).iterator(chunk_size=ROWS_AT_ONCE)
        response = StreamingHttpResponse(
            csv_chunks(header, _cells(rows)), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="{self.opts.model_name}.csv"'
        return response

    def _columns(self) -> tuple[list[str], list[str]]:
        """What stands above, and the look-up that fills it."""
        header, lookups = [], []
        for field in self.opts.concrete_fields:
            if field.name in (self.exclude or ()):
                continue
            header.append(field.attname)
            lookups.append(field.attname)
            if field.related_model and (name := NAMED_BY.get(field.related_model)):
                header.append(field.name)
                lookups.append(f"{field.name}__{name}")
        return [*header, *self.export_extra], [*lookups, *self.export_extra]


def _cells(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[Cell]]:
    for row in rows:
        yield [
            value if value is None or type(value) in {int, float, str} else _written(value) for value in row
        ]


def _written(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def recent_values(name: str, *, title: str = "") -> type[admin.SimpleListFilter]:
    """A filter by the values this field has in the newest rows: to ask all of a long table takes too long."""

    class RecentValues(admin.SimpleListFilter):
        parameter_name = name

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:  # noqa: ARG002
            rows = model_admin.model._default_manager.order_by(*model_admin.ordering)[:MOST_COUNTED]
            newest = model_admin.model._default_manager.filter(pk__in=rows.values("pk"))
            found = set(newest.order_by().values_list(name, flat=True).distinct()) - {None, ""}
            if self.value() is not None:
                found.add(self.value())
            return [(value, str(value)) for value in sorted(found, key=str)]

        def queryset(self, _request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
            return queryset if self.value() is None else queryset.filter(**{name: self.value()})

    RecentValues.title = title or name.replace("_", " ")
    return RecentValues
