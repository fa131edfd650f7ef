"""Forms about people and budgets. What is wrong is said beside the field; what was typed stays."""

from __future__ import annotations

import uuid
from typing import Any

from allauth.account.forms import (
    ChangePasswordForm,
    LoginForm,
    ResetPasswordForm,
    ResetPasswordKeyForm,
    SetPasswordForm,
)
from django import forms
from django.contrib.auth.password_validation import validate_password

from accounts.models import Team, User
from accounts.models.alerts import MOST_PERCENT
from accounts.models.money import Period, Source
from accounts.models.people import Role

MOST_CREDITS = 10**12
MOST_THRESHOLDS = 10


PERIODS = [
    (Period.DAY, "day"),
    (Period.WEEK, "week, from Monday"),
    (Period.MONTH, "calendar month"),
    (Period.ROLLING, "month from the day it is set"),
    (Period.NEVER, "ever: it never starts again"),
]
STRENGTHS = [("hard", "refuse what goes over it"), ("soft", "warn only")]
REASON_HELP = "Kept in the wallet's book beside your name."


def _numeric() -> forms.NumberInput:
    return forms.NumberInput({"inputmode": "numeric", "autocomplete": "off"})


ADVICE = "At least 10 characters; a few unrelated words are good."


class _InOurWords(forms.Form):
    """allauth's forms, with labels instead of placeholders and one line of help where Django has a list."""

    labels = {
        "login": "E-mail address",
        "email": "E-mail address",
        "oldpassword": "Password until now",
        "password1": "New password",
        "password2": "New password again",
    }
    help_texts = {"password": "", "oldpassword": "", "password1": ADVICE}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = self.labels.get(name, field.label)
            field.help_text = self.help_texts.get(name, field.help_text)
            field.widget.attrs.pop("placeholder", None)


class SignInForm(_InOurWords, LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs.update(autocomplete="username", autofocus=True)


class PasswordResetForm(_InOurWords, ResetPasswordForm):
    """The address to send a link to."""


class NewPasswordForm(_InOurWords, ResetPasswordKeyForm):
    """A new password, behind the mailed link."""


class PasswordChangeForm(_InOurWords, ChangePasswordForm):
    """A new password, for whoever knows the one until now."""


class FirstPasswordForm(_InOurWords, SetPasswordForm):
    """A password for a login that has none."""


class BudgetForm(forms.Form):
    limit_credits = forms.IntegerField(
        label="Budget in credits", min_value=0, max_value=MOST_CREDITS, widget=_numeric()
    )
    period = forms.ChoiceField(label="Per", choices=PERIODS, initial=Period.MONTH)
    strength = forms.ChoiceField(label="When it is used up", choices=STRENGTHS, required=False)
    reason = forms.CharField(label="Reason", max_length=300, help_text=REASON_HELP)

    @property
    def rule(self) -> dict[str, Any]:
        """The cleaned form as the ledger's verbs take it; without a strength it is a hard one."""
        data = self.cleaned_data
        return {
            "limit_credits": data["limit_credits"],
            "period": data["period"],
            "is_hard": data["strength"] != "soft",
            "reason": data["reason"],
        }


class DefaultBudgetForm(BudgetForm):
    """The budget of whoever joins; an empty limit is none."""

    limit_credits = forms.IntegerField(
        label="Credits for each new member",
        required=False,
        min_value=0,
        max_value=MOST_CREDITS,
        widget=_numeric(),
        help_text="Empty: no limit but the wallet itself.",
    )


class BudgetRemovalForm(forms.Form):
    period = forms.ChoiceField(choices=Period.choices, widget=forms.HiddenInput)
    reason = forms.CharField(label="Reason", max_length=300)


class _Once(forms.Form):
    """A form whose hidden key makes a doubled submit one entry."""

    key = forms.CharField(max_length=60, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = {"key": str(uuid.uuid4()), **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)


class CreditsForm(_Once):
    """Credits that come in: what kind, how many, for how long, and the paper that says so."""

    amount = forms.IntegerField(label="Credits", min_value=1, max_value=MOST_CREDITS, widget=_numeric())
    source = forms.ChoiceField(
        label="Kind",
        choices=[(Source.PURCHASE, "Purchase"), (Source.PROMOTIONAL, "Promotional")],
    )
    days = forms.IntegerField(
        label="Days they last",
        required=False,
        min_value=1,
        max_value=3660,
        initial=365,
        widget=_numeric(),
        help_text="Empty: for ever. Promotional credits last from 7 to 365 days.",
    )
    reference = forms.CharField(
        label="Invoice or campaign", required=False, max_length=120, help_text="A purchase needs its invoice."
    )
    note = forms.CharField(label="Note", required=False, max_length=300)
    reason = forms.CharField(label="Reason", max_length=300, help_text=REASON_HELP)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("source") == Source.PURCHASE and not data.get("reference"):
            self.add_error("reference", "Name the invoice of a purchase.")
        return data


class ExtensionForm(_Once):
    last_day = forms.DateField(
        label="New last day",
        required=False,
        widget=forms.DateInput({"type": "date"}),
        help_text="In the team's time zone; empty: for ever.",
    )
    reason = forms.CharField(label="Reason", max_length=300, help_text=REASON_HELP)


class VoidForm(_Once):
    reason = forms.CharField(label="Reason", max_length=300, help_text=REASON_HELP)


class PercentsField(forms.CharField):
    """ "50, 80, 100" as whole numbers, each once, in order; empty is none."""

    widget = forms.TextInput({"inputmode": "numeric", "autocomplete": "off"})

    def clean(self, value: Any) -> list[int]:
        words = super().clean(value).replace("%", " ").replace(",", " ").replace(";", " ").split()
        if not all(
            word.isascii() and word.isdigit() and 1 <= int(word[:6]) <= MOST_PERCENT for word in words
        ):
            raise forms.ValidationError(f"Write whole numbers from 1 to {MOST_PERCENT}, such as 50, 80, 100.")
        if len(words) > MOST_THRESHOLDS:
            raise forms.ValidationError(f"At most {MOST_THRESHOLDS} of them.")
        return sorted({int(word) for word in words})

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value


class AlertSettingsForm(forms.Form):
    """What a team wants to be told, and who gets mail."""

    wallet_percents = PercentsField(
        label="Wallet, in percent",
        required=False,
        max_length=100,
        help_text="Of what was there right after credits last came in.",
    )
    budget_percents = PercentsField(
        label="Each budget, in percent", required=False, max_length=100, help_text="In its running period."
    )
    is_burn_watched = forms.BooleanField(
        label="Tell of members who take far more than they use to", required=False
    )
    is_mailed = forms.BooleanField(label="Send mail", required=False)
    is_member_mailed = forms.BooleanField(label="Mail members about their own budgets", required=False)
    mailed_users = forms.ModelMultipleChoiceField(
        label="Who gets the team's mail",
        queryset=User.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        active = team.memberships.filter(is_active=True)
        field = self.fields["mailed_users"]
        field.queryset = User.objects.filter(pk__in=active.values("user")).order_by("name", "pk")  # type: ignore[attr-defined]


class HookForm(forms.Form):
    url = forms.CharField(label="Address", max_length=500, widget=forms.URLInput({"autocomplete": "off"}))


class RoleForm(forms.Form):
    role = forms.ChoiceField(label="Role", choices=Role.choices)


class InvitationForm(forms.Form):
    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput({"autocomplete": "off"}))
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.MEMBER)
    budget_credits = forms.IntegerField(
        label="Budget in credits",
        required=False,
        min_value=0,
        max_value=MOST_CREDITS,
        widget=_numeric(),
        help_text="Empty: the team's budget of new members, if it has one.",
    )
    budget_period = forms.ChoiceField(label="Per", choices=PERIODS, initial=Period.MONTH)


class AcceptForm(forms.Form):
    """Name and password of a person who joins by an invitation."""

    name = forms.CharField(
        label="Your name", max_length=120, widget=forms.TextInput({"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Choose a password",
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=ADVICE,
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        self.email = email
        super().__init__(*args, **kwargs)

    def clean_name(self) -> str:
        """One line: the name goes into subjects of mails."""
        return " ".join(self.cleaned_data["name"].split())

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, User(email=self.email, name=self.cleaned_data.get("name", "")))
        return password
