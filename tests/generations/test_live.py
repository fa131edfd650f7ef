"""The live streams, asked as a server would ask them, on a real Valkey and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from accounts.models import Membership, User
from generations import lifecycle, live, queue
from generations.models import Generation
from tests.factories import MembershipFactory, TeamFactory

SECONDS = 15.0
MANY = 30
ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of the streams give their connections back at once, so that the test database can be emptied."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    queue._live().close()
    queue._live.cache_clear()


@pytest.fixture
def member() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1000))


def ordered(member: Membership) -> Generation:
    return lifecycle.request(
        user=member.user,
        team=member.team,
        engine=ENGINE,
        params={"prompt": "A boat drifts out"},
        form_token=uuid.uuid4(),
    )


@dataclass
class Page:
    """The browser's side of one stream."""

    status: int = 0
    body: bytes = b""
    is_over: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message["body"]
            self.is_over = not message.get("more_body", False)
        self.news.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(4 * SECONDS):
            while not is_so():
                self.news.clear()
                await self.news.wait()


def scope(user: User | None, query: str = "page=studio", method: str = "GET") -> dict[str, Any]:
    client = Client()
    if user:
        client.force_login(user)
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return {
        "type": "http",
        "method": method,
        "path": "/live/",
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver"), (b"cookie", cookies.encode())],
        "scheme": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


@asynccontextmanager
async def opened(app: live.LiveApplication, asked: dict[str, Any]) -> AsyncIterator[Page]:
    page = Page()
    task = asyncio.create_task(app(asked, page.receive, page.send))  # type: ignore[arg-type]
    await page.until(lambda: page.status != 0)
    try:
        yield page
    finally:
        page.gone.set()
        async with asyncio.timeout(SECONDS):
            await task


def play(story: Callable[[live.LiveApplication], Awaitable[None]]) -> None:
    async def whole() -> None:
        app = live.LiveApplication()
        try:
            await story(app)
        finally:
            await app.close()

    asyncio.run(whole())


def test_a_stream_begins_with_what_the_page_should_show(member: Membership) -> None:
    generation = ordered(member)
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await page.until(lambda: b"\n\n" in page.body)
            assert page.status == 200
            assert f"card-{generation.pk}".encode() in page.body
            assert b"49" in page.body[page.body.index(b'hx-target="#wallet-pill"') :]

    play(story)


def test_a_change_reaches_the_team_and_nobody_else(member: Membership) -> None:
    stranger = MembershipFactory(team=TeamFactory(credits=1000))
    mine, theirs = scope(member.user), scope(stranger.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, mine) as page, opened(app, theirs) as other:
            # The listener subscribes on its own: wait until it has, as a page's first seconds do.
            await asyncio.sleep(0.5)
            before = len(other.body)
            generation = await asyncio.to_thread(in_thread, ordered, member)
            await page.until(lambda: f"card-{generation.pk}".encode() in page.body)
            assert len(other.body) == before
            assert str(generation.pk).encode() not in other.body

    play(story)


def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    try:
        return work(*args)
    finally:
        connection.close()


def test_the_library_page_hears_of_the_card_that_changed(member: Membership) -> None:
    generation = ordered(member)
    asked = scope(member.user, "page=library")

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await asyncio.sleep(0.5)
            assert b"card-" not in page.body
            await asyncio.to_thread(in_thread, lambda: lifecycle.cancel(generation, actor=member.user))
            await page.until(lambda: f'hx-target="#card-{generation.pk}"'.encode() in page.body)
            assert b"not charged" in page.body

    play(story)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whoever_is_not_signed_in_gets_no_stream(method: str) -> None:
    asked = scope(None, method=method)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await page.until(lambda: page.is_over)
            assert page.status == (403 if method == "GET" else 405)
            assert b"hx-partial" not in page.body
            assert app.hub.open_streams == 0

    play(story)


def test_another_teams_generation_cannot_be_watched(member: Membership) -> None:
    stranger = MembershipFactory(team=TeamFactory(credits=1000))
    asked = scope(stranger.user, f"page=show&id={ordered(member).pk}")

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            assert page.status == 404

    play(story)


def test_a_stream_ends_when_the_person_leaves_the_team(member: Membership) -> None:
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await asyncio.to_thread(
                in_thread, lambda: Membership.objects.filter(pk=member.pk).update(is_active=False)
            )
            app.hub.call_all()
            await page.until(lambda: page.is_over)

    play(story)


def test_one_session_cannot_take_every_stream(member: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_PER_SESSION", 2)
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked), opened(app, asked), opened(app, asked) as third:
            assert third.status == 503
        assert app.hub.open_streams == 0
        assert not app.hub.per_session
        async with opened(app, asked) as again:
            assert again.status == 200

    play(story)


def test_other_cookies_make_no_new_session(member: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_PER_SESSION", 1)
    asked = scope(member.user)
    dressed_up = {
        **asked,
        "headers": [
            (name, b"theme=dark; " + value if name == b"cookie" else value)
            for name, value in asked["headers"]
        ],
    }

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as first, opened(app, dressed_up) as second:
            assert (first.status, second.status) == (200, 503)

    play(story)


def test_quiet_streams_are_kept_alive_and_asked_anew_now_and_then(
    member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await page.until(lambda: page.body.count(b": still here") >= 4)
            assert page.body.count(b"data: ") >= 3

    play(story)


def test_a_broken_subscription_is_a_delay_and_not_a_loss(
    member: Membership, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            generation = await asyncio.to_thread(in_thread, ordered, member)
            await page.until(lambda: f"card-{generation.pk}".encode() in page.body)

    play(story)


def test_closing_ends_every_stream(member: Membership) -> None:
    asked = scope(member.user)

    async def story(app: live.LiveApplication) -> None:
        async with opened(app, asked) as page:
            await app.close()
            await page.until(lambda: page.is_over)

    play(story)


def test_many_open_streams_hold_no_database_connection(
    member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_PER_SESSION", 200)
    asked = scope(member.user)

    def connected() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    async def story(app: live.LiveApplication) -> None:
        pages = [Page() for _ in range(MANY)]
        tasks = [asyncio.create_task(app(dict(asked), page.receive, page.send)) for page in pages]  # type: ignore[arg-type]
        for page in pages:
            await asyncio.wait_for(page.until(lambda page=page: page.body.count(b"\n\n") >= 2), 60)
        assert app.hub.open_streams == MANY
        assert await asyncio.to_thread(in_thread, connected) <= live.THREADS + 2
        for page in pages:
            page.gone.set()
        await asyncio.gather(*tasks)
        assert app.hub.open_streams == 0

    play(story)
