"""The forms of the price book in the admin: new amounts, another shape, a draft to try on what was ordered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms

from accounts import clock
from accounts.models import Team, User
from accounts.models.money import Period
from generations import catalogue, prices
from generations.models import PriceVersion
from generations.prices import Cap, Draft, Outcome
from generations.prices.book import LONGEST_REASON_CHARS

MOST_DAYS = 90
WHEN = {"type": "datetime-local", "step": "60"}
# What `catalogue.price` reads.
MOST_DIGITS, MOST_DECIMALS = 25, 12


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
    """What both ways of writing a rule share; `cleaned_data["rule"]` is one that can be the engine's price."""

    after = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, engine: catalogue.Engine, seen: PriceVersion | None) -> None:
        super().__init__(data, initial={"after": seen.pk if seen else None})
        self.engine, self.seen = engine, seen

    @property
    def rule_before(self) -> Mapping[str, Any] | None:
        return self.seen.rule if self.seen else None

    def checked(self, rule: dict[str, Any]) -> dict[str, Any]:
        if problem := prices.problem_of(self.engine, rule, before=self.rule_before):
            raise forms.ValidationError(problem)
        return rule


class AmountsForm(VersionForm):
    """A number for each amount of the rule that was `seen`; its shape stays."""

    def __init__(self, data: Any, *, engine: catalogue.Engine, seen: PriceVersion) -> None:
        super().__init__(data, engine=engine, seen=seen)
        self.amounts = catalogue.amounts(seen.rule)
        for amount in self.amounts:
            self.fields[amount.place] = forms.DecimalField(
                label=amount.words,
                initial=format(amount.value, "f"),
                min_value=Decimal(0),
                max_digits=MOST_DIGITS,
                decimal_places=MOST_DECIMALS,
                widget=forms.NumberInput({"step": "any"}),
            )
        self.order_fields([amount.place for amount in self.amounts])

    def clean(self) -> None:
        assert self.seen is not None
        if not self.errors:
            data = self.cleaned_data
            chosen = {amount.place: data[amount.place] for amount in self.amounts}
            data["rule"] = self.checked(catalogue.with_amounts(self.seen.rule, chosen))


class ShapeForm(VersionForm):
    """The whole rule, as JSON."""

    rule = forms.JSONField(
        help_text="JSON; amounts in quotes. The shapes are described in generations/catalogue/price.py.",
        widget=forms.Textarea({"spellcheck": "false", "class": "vLargeTextField"}),
    )
    field_order = ["rule"]

    def __init__(self, data: Any, *, engine: catalogue.Engine, seen: PriceVersion | None) -> None:
        super().__init__(data, engine=engine, seen=seen)
        rule = self.rule_before or self.engine.price.rule
        self.initial["rule"] = rule
        self.fields["rule"].widget.attrs["rows"] = min(40, json.dumps(rule, indent=1).count("\n") + 4)

    def clean_rule(self) -> dict[str, Any]:
        rule = self.cleaned_data["rule"]
        if not isinstance(rule, dict):
            raise forms.ValidationError("A rule is an object with quantity and rate.")
        return self.checked(rule)


class SimulationForm(forms.Form):
    is_of_proposals = forms.BooleanField(required=False, label="The rules of all open proposals")
    rules = forms.JSONField(
        required=False,
        initial=dict,
        label="Draft rules",
        help_text='JSON: {"endpoint id": rule, ...}. The page of a new price fills it in. Goes before the proposals.',
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
