"""Outgoing webhooks against a real receiver: signed, tried again under the same id, and never into private networks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from accounts import alerts, clock
from accounts.alerts import sending
from accounts.models import HookCall, Membership, Notice, User
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory

pytestmark = pytest.mark.django_db


class Receiver(ThreadingHTTPServer):
    """Keeps every call, and answers with the next of `answers`, in the end with 200."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alerts"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"said")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def admin(settings: Any) -> Membership:
    settings.ALERTS = settings.ALERTS | {"ARE_PRIVATE_HOOKS_ALLOWED": True}
    made = MembershipFactory(team=TeamFactory(slug="studio"), role=Role.ADMIN)
    User.objects.filter(pk=made.user_id).update(name="<!channel> & co")
    made.user.refresh_from_db()
    alerts.change_rules(
        made.team, wallet_percents=[], budget_percents=[], is_burn_watched=False, is_mailed=False,
        is_member_mailed=False, mailed_users=[],
    )  # fmt: skip
    return made


def again() -> int:
    """The next try, without the wait."""
    Notice.objects.filter(state="pending").update(next_try_at=clock.now())
    return alerts.deliver()


def test_a_call_is_signed_with_the_secret_that_was_shown(admin: Membership, receiver: Receiver) -> None:
    _, secret = alerts.set_hook(admin.team, receiver.url)
    alerts.send_test(admin)
    assert alerts.deliver() == 1
    [(headers, body)] = receiver.calls
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - clock.now().timestamp()) < 120
    said = json.loads(body)
    assert "sent by &lt;!channel&gt; &amp; co." in said["text"]
    assert (said["type"], said["data"]["team"]) == ("alert.test", "studio")


def test_a_new_secret_is_made_whenever_the_address_is_saved(admin: Membership, receiver: Receiver) -> None:
    secrets = {alerts.set_hook(admin.team, receiver.url)[1] for _ in range(2)}
    assert len(secrets) == 2


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_is_not_taken_is_tried_again_under_the_same_id(
    admin: Membership, receiver: Receiver, status: int
) -> None:
    receiver.answers = [status]
    alerts.set_hook(admin.team, receiver.url)
    alerts.send_test(admin)
    assert alerts.deliver() == 0
    assert alerts.deliver() == 0  # not yet due
    assert again() == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    assert len({body for _, body in receiver.calls}) == 1
    calls = HookCall.objects.order_by("pk").values_list("http_status", "said")
    assert list(calls) == [(status, "said"), (200, "")]
    assert again() == 0


def test_a_receiver_that_is_gone_is_not_asked_again(admin: Membership, receiver: Receiver) -> None:
    receiver.answers = [410]
    alerts.set_hook(admin.team, receiver.url)
    alerts.send_test(admin)
    assert (alerts.deliver(), again(), len(receiver.calls)) == (0, 0, 1)
    assert Notice.objects.get().state == "failed"


def test_whoever_is_killed_after_posting_posts_again_under_the_same_id(
    admin: Membership, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> int:
        raise Killed

    alerts.set_hook(admin.team, receiver.url)
    alerts.send_test(admin)
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_sent", die)
        with pytest.raises(Killed):
            alerts.deliver()
    assert again() == 1
    assert len(receiver.calls) == 2
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1


def test_a_team_whose_receiver_is_down_waits_and_the_others_do_not(
    admin: Membership, receiver: Receiver
) -> None:
    alerts.set_hook(admin.team, "http://127.0.0.1:9/")
    other = MembershipFactory(role=Role.ADMIN)
    alerts.set_hook(other.team, receiver.url)
    for membership in (admin, admin, other):
        alerts.send_test(membership)
    alerts.deliver()
    assert len(receiver.calls) == 1
    assert HookCall.objects.filter(notice__alert__team=admin.team).count() == 1
    [call] = HookCall.objects.filter(notice__alert__team=admin.team)
    assert call.said.startswith("Not reached")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "http://93.184.215.14/",
        "https://name:word@93.184.215.14/",
        "ftp://93.184.215.14/",
        "https://",
    ],
)
def test_private_addresses_and_odd_ones_are_refused(admin: Membership, settings: Any, url: str) -> None:
    settings.ALERTS = settings.ALERTS | {"ARE_PRIVATE_HOOKS_ALLOWED": False}
    with pytest.raises(alerts.HookRefused):
        alerts.set_hook(admin.team, url)


def test_a_host_that_moved_into_a_private_network_is_not_posted_to(
    admin: Membership, receiver: Receiver, settings: Any
) -> None:
    alerts.set_hook(admin.team, receiver.url)
    settings.ALERTS = settings.ALERTS | {"ARE_PRIVATE_HOOKS_ALLOWED": False}
    alerts.send_test(admin)
    assert (alerts.deliver(), receiver.calls) == (0, [])
    assert HookCall.objects.get().http_status is None


def test_removing_the_webhook_gives_up_what_waited(admin: Membership, receiver: Receiver) -> None:
    alerts.set_hook(admin.team, receiver.url)
    alerts.send_test(admin)
    alerts.remove_hook(admin.team)
    assert (alerts.deliver(), receiver.calls) == (0, [])
    assert Notice.objects.get().state == "failed"
