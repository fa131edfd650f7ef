"""Members with a session, who order as the studio's page does: the same form, the same headers, a kept connection."""

from __future__ import annotations

import http.client
import time
import uuid
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.test import Client

from accounts.models import Membership, Team, User
from bench.seeds import ENGINE

FORM = "application/x-www-form-urlencoded"
# Gunicorn keeps an idle connection for two.
IDLE_SECONDS = 1.0


def add_member(team: Team, name: str) -> User:
    user = User.objects.create_user(f"{name}@bench.example", "bench-password")
    Membership.objects.create(team=team, user=user)
    return user


def session_of(user: User) -> str:
    """The session cookie of somebody who has just signed in."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Visitor:
    """One member at one page. Not for two threads at once."""

    def __init__(self, url: str, user: User) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.cookies = {settings.SESSION_COOKIE_NAME: session_of(user)}
        self._asked_at = time.monotonic()
        self._exchange("GET", "/", None, {})

    def order(self, prompt: str, *, is_htmx: bool = True) -> uuid.UUID:
        """POST the form, as the page's script does or as a browser without it; returns its token.

        The first is answered with the fresh parts of the page, the second with a redirect, which is not followed.
        """
        token = uuid.uuid4()
        fields = {
            "csrfmiddlewaretoken": self.cookies[settings.CSRF_COOKIE_NAME],
            "engine": ENGINE,
            "shown_engine": ENGINE,
            "form_token": str(token),
            "prompt": prompt,
            "seen_credits": "1000",
        }
        headers = {"Content-Type": FORM, **({"HX-Request": "true"} if is_htmx else {})}
        self._exchange("POST", "/generate/", urlencode(fields), headers, expected=200 if is_htmx else 302)
        return token

    def _exchange(
        self, method: str, path: str, body: str | None, headers: dict[str, str], *, expected: int = 200
    ) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if time.monotonic() - self._asked_at > IDLE_SECONDS:
            self.connection.close()  # the server does after as long; the next request opens it again
        self._asked_at = time.monotonic()
        self.connection.request(method, path, body, {**headers, "Cookie": cookie})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != expected:
            raise SystemExit(f"{method} {path} answered {answer.status}: {content[:300]!r}")
        for line in answer.headers.get_all("Set-Cookie") or []:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}

    def close(self) -> None:
        self.connection.close()
