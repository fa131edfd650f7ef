"""A picture by link: fetched from the open internet and from nowhere else."""

from __future__ import annotations

import datetime as dt
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from accounts.addresses import Address, is_public
from accounts.models import Team, User
from generations.media import PictureRefused, accept_picture_url
from generations.media.remote import FetchRules, fetch_picture
from generations.models import Picture
from tests.generations.media.makers import Handler, Server, body, encoded, picture, redirect

STAGE = ip_address("127.0.0.2")
PHOTO = encoded(picture(), "JPEG")


class Names:
    """A resolver of our own that counts; what it does not know, it hands to the numbers themselves."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> list[Address]:
        self.asked.append(host)
        found = self.known.get(host.split(".", maxsplit=1)[0])
        return [ip_address(text) for text in found] if found else [ip_address(host)]


@pytest.fixture
def stage() -> Iterator[Server]:
    """Stands for a public server: its loopback address, and only that one, is allowed."""
    server = Server("127.0.0.2")
    server.answers["/photo.jpg"] = body(PHOTO, "image/jpeg")
    yield server
    server.stop()


def rules_for(
    stage: Server, names: Callable[[str, int], Sequence[Address]] | None = None, **options: Any
) -> FetchRules:
    return FetchRules(
        resolve=names or Names(public=[str(STAGE)]),
        is_allowed=lambda address: address == STAGE or is_public(address),
        ports=frozenset({stage.port}),
        **options,
    )


def test_a_picture_by_link_becomes_a_picture_of_the_team(stage: Server, team: Team, user: User) -> None:
    url = f"http://public.example:{stage.port}/photo.jpg?width=400"
    stage.answers["/photo.jpg?width=400"] = body(PHOTO, "application/octet-stream")
    found = accept_picture_url(url, team=team, user=user, rules=rules_for(stage))
    assert (found.original_name, found.width, found.team) == ("photo.jpg", 400, team)
    assert stage.seen[0][1]["Host"] == f"public.example:{stage.port}"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]",
     "[fe80::1]", "100.64.0.1", "[64:ff9b::7f00:1]"],
)  # fmt: skip
def test_production_rules_never_reach_inwards(host: str) -> None:
    with pytest.raises(PictureRefused, match="private network"):
        fetch_picture(f"http://{host}/latest/meta-data/", FetchRules())


@pytest.mark.parametrize("port", [22, 5432, 6379, 8000, 8080])
def test_only_the_usual_ports_are_fetched(port: int) -> None:
    with pytest.raises(PictureRefused, match="ports 80 and 443"):
        fetch_picture(f"http://1.1.1.1:{port}/", FetchRules())


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://1.1.1.1/a.jpg", "gopher://1.1.1.1/", "data:image/png;base64,AAAA", "", "photo.jpg",
     "http://", "http:///photo.jpg", "//1.1.1.1/x", "javascript:alert(1)", "https://" + "a" * 3000, "http://[::1"],
)  # fmt: skip
def test_what_is_not_a_web_address_is_refused(url: str) -> None:
    with pytest.raises(PictureRefused, match="begin with https"):
        fetch_picture(url, FetchRules())


def test_links_with_a_password_are_refused() -> None:
    with pytest.raises(PictureRefused, match="name or password"):
        fetch_picture("https://user:secret@1.1.1.1/photo.jpg", FetchRules())


def test_a_redirect_inwards_is_refused_and_nothing_inside_is_asked(stage: Server, server: Server) -> None:
    server.answers["/secret"] = body(PHOTO)
    stage.answers["/go"] = redirect(f"{server.url}/secret")
    rules = FetchRules(
        resolve=Names(public=[str(STAGE)]),
        is_allowed=lambda address: address == STAGE or is_public(address),
        ports=frozenset({stage.port, server.port}),
    )
    with pytest.raises(PictureRefused, match="private network"):
        fetch_picture(f"http://public.example:{stage.port}/go", rules)
    assert server.seen == []


def test_a_redirect_to_another_scheme_is_refused(stage: Server) -> None:
    stage.answers["/go"] = redirect("file:///etc/passwd")
    with pytest.raises(PictureRefused, match="begin with https"):
        fetch_picture(f"http://public.example:{stage.port}/go", rules_for(stage))


def test_a_few_redirects_are_followed_and_a_circle_is_not(stage: Server) -> None:
    stage.answers |= {"/a": redirect("/b"), "/b": redirect("photo.jpg"), "/round": redirect("/round")}
    assert fetch_picture(f"http://public.example:{stage.port}/a", rules_for(stage))[0] == PHOTO
    with pytest.raises(PictureRefused, match="more than 3 times"):
        fetch_picture(f"http://public.example:{stage.port}/round", rules_for(stage))
    assert len([path for path, _ in stage.seen if path == "/round"]) == 4


def test_a_name_that_changes_its_mind_is_asked_once(stage: Server, server: Server) -> None:
    """DNS rebinding: a second look-up would lead to this machine. No DNS knows this name: only pinning gets there."""
    answers = iter([[STAGE], [ip_address("127.0.0.1")]])

    def changing(host: str, port: int) -> list[Address]:
        return next(answers)

    rules = rules_for(stage, changing)
    assert fetch_picture(f"http://rebind.invalid:{stage.port}/photo.jpg", rules)[0] == PHOTO
    assert next(answers) == [ip_address("127.0.0.1")], "the second answer was never asked for"


def test_one_private_address_among_public_ones_is_enough_to_refuse(stage: Server) -> None:
    names = Names(mixed=[str(STAGE), "10.0.0.1"])
    with pytest.raises(PictureRefused, match="private network"):
        fetch_picture(f"http://mixed.example:{stage.port}/photo.jpg", rules_for(stage, names))
    assert stage.seen == []


def test_a_name_nobody_knows_is_said() -> None:
    def nobody(host: str, port: int) -> list[Address]:
        raise OSError("no such name")

    with pytest.raises(PictureRefused, match="cannot be found"):
        fetch_picture("https://nowhere.invalid/a.jpg", FetchRules(resolve=nobody))


def test_the_next_address_is_tried_when_one_is_deaf(stage: Server) -> None:
    names = Names(two=["127.0.0.3", str(STAGE)])
    rules = FetchRules(resolve=names, is_allowed=lambda _: True, ports=frozenset({stage.port}))
    assert fetch_picture(f"http://two.example:{stage.port}/photo.jpg", rules)[0] == PHOTO


def test_too_much_is_cut_off(stage: Server, settings: Any) -> None:
    settings.MAX_PICTURE_BYTES = 5_000
    stage.answers["/big"] = body(bytes(500_000), "image/png")
    with pytest.raises(PictureRefused, match="too large"):
        fetch_picture(f"http://public.example:{stage.port}/big", rules_for(stage))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (body(b"<html>", "text/html; charset=utf-8"), "web page"),
        (body(b"", status=404), "answered 404"),
        (body(b"", status=500), "answered 500"),
        (lambda handler: handler.reply(200, PHOTO[:500], length=len(PHOTO)), "broke off"),
        (lambda handler: handler.wfile.write(b"rubbish\r\n\r\n"), "broke off"),
    ],
)
def test_wrong_answers_are_said_in_words(answer: Any, words: str, stage: Server) -> None:
    stage.answers["/x"] = answer
    with pytest.raises(PictureRefused, match=words):
        fetch_picture(f"http://public.example:{stage.port}/x", rules_for(stage))


def test_content_decides_not_the_header(stage: Server, team: Team, user: User) -> None:
    stage.answers["/x.jpg"] = body(b"MZ this is a program", "image/jpeg")
    with pytest.raises(PictureRefused, match="not a picture"):
        accept_picture_url(
            f"http://public.example:{stage.port}/x.jpg", team=team, user=user, rules=rules_for(stage)
        )
    assert not Picture.objects.exists()


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_is_left_when_the_time_is_over(where: str, stage: Server) -> None:
    def drip(handler: Handler) -> None:
        start = (
            b"HTTP/1.1 200 OK\r\nX-Slow: "
            if where == "headers"
            else b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
        )
        handler.wfile.write(start)
        for _ in range(60):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    stage.answers["/slow"] = drip
    began = time.monotonic()
    with pytest.raises(PictureRefused, match="too long"):
        fetch_picture(
            f"http://public.example:{stage.port}/slow", rules_for(stage, total_seconds=0.5, idle_seconds=0.4)
        )
    assert time.monotonic() - began < 1.5


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Self-signed, for secure.example only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "secure.example")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("secure.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = built.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(pem)
    return path


def test_tls_is_verified_against_the_name_although_we_connect_to_a_number(
    stage: Server, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stage.socket = context.wrap_socket(stage.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(certificate))
    names = Names(secure=[str(STAGE)], other=[str(STAGE)])
    rules = rules_for(stage, names, tls=trusting)
    assert fetch_picture(f"https://secure.example:{stage.port}/photo.jpg", rules)[0] == PHOTO
    with pytest.raises(PictureRefused, match="cannot be reached"):
        fetch_picture(f"https://other.example:{stage.port}/photo.jpg", rules)
    with pytest.raises(PictureRefused, match="cannot be reached"):
        fetch_picture(f"https://secure.example:{stage.port}/photo.jpg", rules_for(stage, names))
