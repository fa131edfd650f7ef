"""Forms about people and budgets. What is wrong is said beside the field; what was typed stays."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from accounts.models import User
from accounts.models.money import Period
from accounts.models.people import Role


class BudgetForm(forms.Form):
    limit_credits = forms.IntegerField(label="Budget in credits", min_value=0, max_value=10**12)
    period = forms.ChoiceField(label="Per", choices=Period.choices, initial=Period.MONTH)
    reason = forms.CharField(label="Reason", max_length=300)


class InvitationForm(forms.Form):
    email = forms.EmailField(label="E-mail address")
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.MEMBER)
    budget_credits = forms.IntegerField(
        label="Budget in credits",
        required=False,
        min_value=0,
        max_value=10**12,
        help_text="Leave empty for no limit but the wallet itself.",
    )
    budget_period = forms.ChoiceField(label="Per", choices=Period.choices, initial=Period.MONTH)


class AcceptForm(forms.Form):
    """Name and password of a person who joins by an invitation."""

    name = forms.CharField(label="Your name", max_length=120, widget=forms.TextInput({"autocomplete": "name"}))
    password = forms.CharField(
        label="Choose a password",
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text="At least 10 characters; a few unrelated words are good.",
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        self.email = email
        super().__init__(*args, **kwargs)

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, User(email=self.email, name=self.data.get("name", "")))
        return password
