"""How allauth behaves here: nobody registers without an invitation, and refusals say what to do next."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth import signals as auth_signals
from django.dispatch import receiver
from django.http import HttpRequest
from django.shortcuts import resolve_url

from accounts import audit
from accounts.models import User


class InvitedOnlyAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This e-mail address and password do not belong together.",
        "too_many_login_attempts": "Too many attempts failed. Wait five minutes, or reset your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:  # noqa: ARG002
        return resolve_url(settings.LOGIN_REDIRECT_URL)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Whose address it was is kept if it is one of ours; what else was typed may be a password."""
        tried = User.objects.filter(email__iexact=str(credentials.get("email", "")).replace("\0", "")).first()
        audit.record("sign_in.failed", subject=tried, request=request)

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        super().send_password_reset_mail(user, email, context)
        audit.record("password.reset_asked", subject=user)


@receiver(auth_signals.user_logged_in)
def signed_in(request: HttpRequest | None, user: User, **_: Any) -> None:
    audit.record("sign_in.succeeded", subject=user, actor=user, request=request)


@receiver(auth_signals.user_logged_out)
def signed_out(request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        audit.record("sign_in.ended", subject=user, actor=user, request=request)


@receiver([account_signals.password_changed, account_signals.password_set])
def password_changed(request: HttpRequest, user: User, **_: Any) -> None:
    audit.record("password.changed", subject=user, actor=user, request=request)


@receiver(account_signals.password_reset)
def password_reset(request: HttpRequest, user: User, **_: Any) -> None:
    """By whoever holds the link from the mail; nobody is signed in."""
    audit.record("password.reset", subject=user, request=request)
