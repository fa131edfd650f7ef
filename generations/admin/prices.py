"""The price book in the admin: a new version after a look at what it does, proposals to decide on, a what-if page.

Versions are added and never changed or deleted; whoever may add one may decide on proposals.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from accounts import clock
from accounts.models import Team, User
from accounts.models.money import Period
from accounts.read_only import link, links_to_lists, page_of
from generations import catalogue, prices
from generations.admin.rooms import ReadOnly
from generations.models import Generation, ListPrice, PriceProposal, PriceVersion
from generations.prices import Cap, Draft, Outcome
from generations.prices.book import LONGEST_REASON_CHARS, newest_of

PERMISSION = "generations.add_priceversion"
MOST_DAYS = 90
WHEN = {"type": "datetime-local", "step": "60"}


def known_engine(endpoint_id: str) -> catalogue.Engine | None:
    try:
        return catalogue.get(endpoint_id)
    except catalogue.UnknownEngine:
        return None


class Reasoned(forms.Form):
    valid_from = forms.DateTimeField(
        required=False,
        label="Valid from (UTC)",
        help_text="Empty: at once.",
        widget=forms.DateTimeInput(WHEN, format="%Y-%m-%dT%H:%M"),
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON_CHARS, widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"})
    )  # fmt: skip

    def clean_valid_from(self) -> Any:
        begins = self.cleaned_data["valid_from"]
        if begins and begins < clock.now():
            raise forms.ValidationError("A price cannot begin in the past.")
        return begins


class VersionForm(Reasoned):
    rule = forms.JSONField(
        help_text="JSON; amounts in quotes. The shapes are described in generations/catalogue/price.py.",
        widget=forms.Textarea({"rows": 16, "spellcheck": "false", "class": "vLargeTextField"}),
    )
    after = forms.IntegerField(required=False, widget=forms.HiddenInput)
    field_order = ["rule", "valid_from", "reason", "after"]

    def __init__(
        self, *args: Any, engine: catalogue.Engine, newest: PriceVersion | None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.engine, self.newest = engine, newest

    def clean_rule(self) -> dict[str, Any]:
        rule = self.cleaned_data["rule"]
        if not isinstance(rule, dict):
            raise forms.ValidationError("A rule is an object with quantity and rate.")
        problem = prices.problem_of(self.engine, rule, before=self.newest.rule if self.newest else None)
        if problem:
            raise forms.ValidationError(problem)
        return rule


class SimulationForm(forms.Form):
    is_of_proposals = forms.BooleanField(required=False, label="The rules of all open proposals")
    rules = forms.JSONField(
        required=False,
        initial=dict,
        label="Draft rules",
        help_text='JSON: {"endpoint id": rule, ...}; they go before the proposals.',
        widget=forms.Textarea({"rows": 6, "class": "vLargeTextField", "spellcheck": "false"}),
    )
    cap_credits = forms.IntegerField(required=False, min_value=0, label="Cap, credits")
    cap_period = forms.ChoiceField(required=False, choices=[("", "no cap"), *Period.choices])
    cap_member = forms.EmailField(required=False, help_text="Empty: everyone.")
    team = forms.ModelChoiceField(Team.objects.order_by("name"), required=False, empty_label="all teams")
    days = forms.IntegerField(min_value=1, max_value=MOST_DAYS, initial=MOST_DAYS)

    def clean_rules(self) -> dict[str, Any]:
        rules = self.cleaned_data["rules"] or {}
        if not isinstance(rules, dict):
            raise forms.ValidationError("Write an object: endpoint id, then its rule.")
        try:
            for engine, rule in rules.items():
                catalogue.check_rule(rule)
                catalogue.get(engine)
        except catalogue.CatalogueError as error:
            raise forms.ValidationError(str(error)) from error
        return rules

    def clean_cap_member(self) -> User | None:
        email = self.cleaned_data["cap_member"]
        found = User.objects.filter(email__iexact=email).first() if email else None
        if email and found is None:
            raise forms.ValidationError("Nobody here has this address.")
        return found

    def outcome(self) -> Outcome:
        data = self.cleaned_data
        rules = (Draft.of_proposals() if data["is_of_proposals"] else {}) | data["rules"]
        limit, period, member = data["cap_credits"], data["cap_period"], data["cap_member"]
        has_cap = limit is not None and period
        caps = [Cap(limit, Period(period), member.pk if member else None)] if has_cap else []
        return prices.simulate(Draft(rules, caps), days=data["days"], team=data["team"])


@admin.register(PriceVersion)
class PriceVersionAdmin(ReadOnly):
    list_display = ("valid_from", "engine", "reason", "actor", "created_at")
    list_filter = ("engine",)
    search_fields = ("engine", "reason", "actor__email")
    date_hierarchy = "valid_from"
    list_select_related = ("actor",)
    ordering = ("-valid_from", "engine")
    change_list_template = "admin/generations/price_versions.html"
    readonly_fields = ("related",)

    @admin.display(description="one click away")
    def related(self, version: PriceVersion) -> SafeString:
        return links_to_lists(Generation, price_version__id__exact=version.pk)

    def has_add_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return request.user.has_perm(PERMISSION)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.simulate_view)
        return [path("simulate/", page, name="generations_priceversion_simulate"), *super().get_urls()]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",  # noqa: ARG002 - Django's own signature
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Choose an engine, write its rule, look at the examples, confirm. Nothing is kept between the steps."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        engine = known_engine(request.GET.get("engine", ""))
        if engine is None:
            choices = [each for each in catalogue.engines() if each.price.rule or each.is_orderable]
            return self._page(
                request, "price_add.html", {"title": "New price: which engine?", "choices": choices}
            )
        newest = newest_of(engine)
        rule = newest.rule if newest else engine.price.rule
        shown = {"rule": rule, "after": newest.pk if newest else None}
        form = VersionForm(request.POST or None, engine=engine, newest=newest, initial=shown)
        form.fields["rule"].widget.attrs["rows"] = min(40, json.dumps(rule, indent=1).count("\n") + 4)
        context = {"title": f"New price of {engine.label}", "form": form, "engine": engine, "newest": newest}
        if request.method == "POST" and "edit" not in request.POST and form.is_valid():
            return self._previewed(request, form, context)
        return self._page(request, "price_add.html", context)

    def _previewed(self, request: HttpRequest, form: VersionForm, context: dict[str, Any]) -> HttpResponse:
        """The examples, or, once they were confirmed, the new version."""
        data = form.cleaned_data
        if "confirm" in request.POST:
            try:
                version = prices.publish(
                    form.engine.endpoint_id,
                    data["rule"],
                    actor=_actor(request),
                    reason=data["reason"],
                    valid_from=data["valid_from"],
                    after=data["after"],
                )
            except prices.PriceError as error:
                form.add_error(None, str(error))
                return self._page(request, "price_add.html", context)
            messages.success(request, "The price is written; what was ordered before keeps its own.")
            return redirect(page_of("generations.priceversion", version.pk))
        before = form.newest.rule if form.newest else None
        examples = prices.worked(form.engine, before, data["rule"])
        return self._page(request, "price_add.html", {**context, "examples": examples, "is_preview": True})

    def simulate_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = SimulationForm(request.POST or None)
        context: dict[str, Any] = {"title": "What would it have cost?", "form": form}
        if request.method == "POST" and form.is_valid():
            context |= _shown(form.outcome())
        return self._page(request, "simulate.html", context)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
        known = self.admin_site.each_context(request) | {"opts": self.opts}
        return TemplateResponse(request, f"admin/generations/{name}", known | context)


@admin.register(PriceProposal)
class PriceProposalAdmin(ReadOnly):
    list_display = ("created_at", "engine", "source", "state", "why", "decided_by", "decided_at")
    list_filter = ("state", "source", "engine")
    search_fields = ("engine", "why", "decision_reason", "decided_by__email")
    date_hierarchy = "created_at"
    list_select_related = ("decided_by",)
    ordering = ("-created_at",)
    readonly_fields = ("version_link",)
    change_form_template = "admin/generations/proposal.html"

    @admin.display(description="made into")
    def version_link(self, proposal: PriceProposal) -> SafeString | str:
        if proposal.version_id is None:
            return "-"
        return link(page_of("generations.priceversion", proposal.version_id), str(proposal.version))

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.decide_view)
        return [
            path("<int:pk>/decide/", page, name="generations_priceproposal_decide"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found = PriceProposal.objects.select_related("replaces").filter(pk=object_id).first()
        engine = known_engine(found.engine) if found else None
        if found and engine:
            extra_context = {
                **(extra_context or {}),
                "proposal": found,
                "examples": prices.worked(engine, found.replaces.rule, found.rule),
                "decide_form": Reasoned() if found.is_open and request.user.has_perm(PERMISSION) else None,
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm it or decline it, with a reason: the buttons on its own page."""
        if not request.user.has_perm(PERMISSION) or request.method != "POST":
            raise PermissionDenied
        proposal = get_object_or_404(PriceProposal, pk=pk)
        form, back = Reasoned(request.POST), redirect(page_of("generations.priceproposal", pk))
        if not form.is_valid():
            for name, problems in form.errors.items():
                messages.error(
                    request, f"{name.replace('_', ' ').capitalize()}: {' '.join(map(str, problems))}"
                )
            return back
        actor, data = _actor(request), form.cleaned_data
        try:
            if "decline" in request.POST:
                prices.decline(proposal, actor=actor, reason=data["reason"])
                messages.success(request, "Declined: the price stays as it is.")
                return back
            version = prices.confirm(proposal, actor=actor, **data)
        except prices.PriceError as error:
            messages.error(request, str(error))
            return back
        messages.success(request, "Confirmed: the price is written; what was ordered before keeps its own.")
        return redirect(page_of("generations.priceversion", version.pk))


@admin.register(ListPrice)
class ListPriceAdmin(ReadOnly):
    list_display = ("seen_at", "engine", "unit_price", "unit", "currency", "last_seen_at")
    list_filter = ("engine",)
    search_fields = ("engine",)
    date_hierarchy = "seen_at"
    ordering = ("-seen_at", "engine")


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _shown(outcome: Outcome) -> dict[str, Any]:
    """The outcome with names for keys, whoever pays most first."""
    people = User.objects.in_bulk({user for _, user in outcome.by_member})
    teams = Team.objects.in_bulk({team for team, _ in outcome.by_member})
    members = [(teams[team], people[user], sums) for (team, user), sums in outcome.by_member.items()]
    return {
        "outcome": outcome,
        "members": sorted(members, key=lambda each: -each[2].before),
        "stops": [(people[stop.user_id], stop) for stop in outcome.stops[:100]],
    }
