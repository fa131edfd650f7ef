"""The price book in the admin: a new version after a look at what it does, proposals to decide on, a what-if page.

Versions are added and never changed or deleted; whoever may add one may decide on proposals.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from accounts.models import Team, User
from accounts.read_only import link, links_to_lists, page_of
from generations import catalogue, prices
from generations.admin.price_forms import AmountsForm, Reasoned, ShapeForm, SimulationForm, VersionForm
from generations.admin.rooms import ReadOnly
from generations.models import Generation, ListPrice, PriceProposal, PriceVersion
from generations.prices import Outcome
from generations.prices.book import newest_of

PERMISSION = "generations.add_priceversion"


def known_engine(endpoint_id: str) -> catalogue.Engine | None:
    try:
        return catalogue.get(endpoint_id)
    except catalogue.UnknownEngine:
        return None


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
        form = _version_form(request, engine)
        context = {"title": f"New price of {engine.label}", "form": form, "engine": engine, "seen": form.seen}
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
        shown = {
            "examples": prices.worked(form.engine, form.rule_before, data["rule"]),
            "draft": json.dumps({form.engine.endpoint_id: data["rule"]}),
        }
        return self._page(request, "price_add.html", {**context, **shown, "is_preview": True})

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


def _version_form(request: HttpRequest, engine: catalogue.Engine) -> VersionForm:
    """Numbers where there is a price, JSON where there is none or its shape is to change (`?shape=new`)."""
    seen, after = newest_of(engine), request.POST.get("after", "")
    if after.isdecimal():
        # The version whose numbers are in the form, though a newer one may have come since: `publish` says so.
        seen = PriceVersion.objects.filter(engine=engine.endpoint_id, pk=after).first() or seen
    if seen is None or "shape" in request.GET:
        return ShapeForm(request.POST or None, engine=engine, seen=seen)
    return AmountsForm(request.POST or None, engine=engine, seen=seen)


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
