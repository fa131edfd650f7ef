"""Members at their browsers: they sign in, press Generate, press Cancel, through the web's own pages."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

import httpx
from django.urls import reverse

from accounts.models import Membership
from generations import catalogue
from generations.models import Generation
from tests.factories import MembershipFactory, TeamFactory, UserFactory

ENGINE = "fal-ai/minimax/hailuo-2.3/standard/text-to-video"
WITH_PICTURE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
PASSWORD = "correct horse battery"
HTTP_SECONDS = 30


def settle(name: str, *, amount: int) -> Membership:
    """The admin of a team of one."""
    user = UserFactory.create(email=f"{name}@example.com", name=name.title())
    team = TeamFactory.create(name=f"Team {name}", slug=f"matrix-{name}", credits=amount)
    return MembershipFactory.create(user=user, team=team, role="admin")


@dataclass
class Member:
    """One browser of one member; `web_url` is where the site is."""

    membership: Membership
    web_url: str
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.web_url, timeout=HTTP_SECONDS)

    def sign_in(self) -> Member:
        page = reverse("account_login")
        self.http.get(page).raise_for_status()
        form = {"login": self.membership.user.email, "password": PASSWORD}
        answer = self.post(page, form)
        assert answer.status_code == 302, answer.text
        return self

    def another_browser(self) -> Member:
        """The same session in a second window, with connections of its own."""
        other = Member(self.membership, self.web_url)
        other.http.cookies = httpx.Cookies(self.http.cookies)
        return other

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def post(self, path: str, form: dict[str, str]) -> httpx.Response:
        token = self.http.cookies.get("csrftoken", "")
        return self.http.post(path, data={"csrfmiddlewaretoken": token, **form})

    def form_token(self) -> str:
        """The one in a studio page that was just opened."""
        found = re.search(r'name="form_token" value="([0-9a-f-]{36})"', self.get("/").text)
        assert found
        return found[1]

    def press(self, prompt: str, *, token: str, engine: str = ENGINE) -> httpx.Response:
        """Send the studio's form, as often as wanted."""
        form = {"engine": engine, "shown_engine": engine, "form_token": token, "prompt": prompt}
        if pictures := catalogue.get(engine).picture_inputs:
            form["sample"] = pictures[0].name
        return self.post(reverse("generations:generate"), form)

    def order(self, faults: str = "", *, engine: str = ENGINE) -> uuid.UUID:
        """Order one clip; `faults` are directives of the sandbox. The id of the generation."""
        return self.order_exactly(prompt(faults), engine=engine)

    def order_exactly(self, words: str, *, engine: str = ENGINE) -> uuid.UUID:
        """The same with this very prompt."""
        token = str(uuid.uuid4())
        answer = self.press(words, token=token, engine=engine)
        assert answer.status_code == 302, (answer.status_code, answer.text[:2000])
        return self.made_by(token).pk

    def made_by(self, token: str) -> Generation:
        """What that form made; exactly one."""
        return Generation.objects.get(user=self.membership.user, form_token=uuid.UUID(token))

    def cancel(self, generation_id: uuid.UUID) -> httpx.Response:
        return self.post(reverse("generations:cancel", args=[generation_id]), {})


def prompt(faults: str) -> str:
    """Unlike any other prompt, so that the sandbox counts each order's faults apart."""
    words = f"{uuid.uuid4().hex} mist over the harbour"
    return f"{words} [[sandbox: {faults}]]" if faults else words
