"""The page of a team's admins that says which engines their people may order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import ledger
from accounts.models import EngineRule, Membership, Team
from accounts.models.people import Role
from accounts.models.rules import ANY_ENGINE, EVERYONE
from accounts.permissions import team_admin_required
from generations import catalogue

ROLES = [(EVERYONE, "Everyone"), *((role.value, f"{role.label}s") for role in Role)]
ANSWERS = {"": None, "allowed": True, "hidden": False}
WORDS = {answer: word for word, answer in ANSWERS.items()}


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason", max_length=300, help_text="Kept in the wallet's book beside your name."
    )


@dataclass(frozen=True)
class Cell:
    """One choice of the table: what is said of an engine for a role."""

    name: str
    endpoint_id: str
    role: str
    role_label: str
    said: str


@dataclass(frozen=True)
class Row:
    title: str
    kind: str
    cells: list[Cell]


@require_http_methods(["GET", "HEAD", "POST"])
@team_admin_required
def engines(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Show the rules; save those that were changed, together, with one reason for all."""
    rows = list(_rows(membership.team))
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _page(request, _as_posted(rows, request), form)
    changes = _changes(rows, request)
    with transaction.atomic():
        for cell, answer in changes:
            ledger.set_engine_rule(
                ledger.open_wallet(membership.team),
                endpoint_id=cell.endpoint_id,
                role=cell.role,
                is_allowed=ANSWERS[answer],
                actor=membership.user,
                reason=form.cleaned_data["reason"],
            )
    messages.success(request, f"Saved: {len(changes)} changed. It holds for what is asked for from now on.")
    return redirect("generations:engines")


def _rows(team: Team) -> Iterator[Row]:
    rules = {(rule.endpoint_id, rule.role): rule.is_allowed for rule in EngineRule.objects.filter(team=team)}
    offered = [(engine.endpoint_id, engine.label, engine.kind) for engine in catalogue.orderable()]
    for number, (endpoint_id, title, kind) in enumerate([(ANY_ENGINE, "Any other engine", ""), *offered]):
        cells = [
            Cell(
                f"{number}-{role or 'everyone'}",
                endpoint_id,
                role,
                label,
                WORDS[rules.get((endpoint_id, role))],
            )
            for role, label in ROLES
        ]
        yield Row(title, kind.replace("-", " "), cells)


def _changes(rows: list[Row], request: HttpRequest) -> list[tuple[Cell, str]]:
    """What was sent and differs; a name that is missing or no answer of ours changes nothing."""
    cells = [cell for row in rows for cell in row.cells]
    sent = [(cell, request.POST.get(cell.name, cell.said)) for cell in cells]
    return [(cell, answer) for cell, answer in sent if answer in ANSWERS and answer != cell.said]


def _as_posted(rows: list[Row], request: HttpRequest) -> list[Row]:
    def kept(cell: Cell) -> Cell:
        said = request.POST.get(cell.name, cell.said)
        return Cell(cell.name, cell.endpoint_id, cell.role, cell.role_label, said)

    return [Row(row.title, row.kind, [kept(cell) for cell in row.cells]) for row in rows]


def _page(request: HttpRequest, rows: list[Row], form: ReasonForm) -> HttpResponse:
    answers = [("", "nothing said"), ("allowed", "allowed"), ("hidden", "hidden")]
    context = {"rows": rows, "form": form, "roles": [label for _, label in ROLES], "answers": answers}
    return render(request, "generations/engines.html", context, status=422 if form.is_bound else 200)
