"""Signing in, and the closed door where other sites have a sign-up."""

from __future__ import annotations

from typing import Any

from allauth.account.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts import adapters  # noqa: F401 - what it hears of signing in is in the audit log

TOO_MANY = "too_many_login_attempts"


class SignIn(LoginView):
    """allauth's page with honest status codes: 429 when too many attempts failed, 422 when one did."""

    def form_invalid(self, form: Any) -> HttpResponse:
        is_limited = form.has_error("__all__", TOO_MANY)
        return self.render_to_response(self.get_context_data(form=form), status=429 if is_limited else 422)


sign_in = SignIn.as_view()


def signup_closed(request: HttpRequest) -> HttpResponse:
    return render(request, "account/signup_closed.html", status=403)
