"""A bundle proves itself with plain Python alone, and whatever is changed in it afterwards is found."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts import clock, ledger
from accounts.ledger import bundle, chain, heads
from accounts.models import Entry, SignedHead, Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    """A year-old grant, and today a hold, a capture, a refund, and two signed heads."""
    wallet, ana = TeamFactory(slug="film", credits=None).wallet, UserFactory()
    fill(wallet, 100, now=clock.now() - timedelta(days=400))
    hold = ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate “mist”")
    heads.seal()
    ledger.capture(hold, reason="Stored")
    ledger.refund(hold, amount=9, actor=ana, reason="Bad clip", idempotency_key="r")
    heads.seal()
    return wallet


@pytest.fixture
def packed(wallet: Wallet, tmp_path: Path) -> Path:
    path = tmp_path / "books.zip"
    now = clock.now()
    with path.open("wb") as out:
        bundle.write(out, wallet, start=now - timedelta(days=1), end=now + timedelta(days=1))
    return path


def verified(path: Path, *keys: str) -> tuple[int, str]:
    """What the program inside says, in a Python that has none of our packages."""
    with zipfile.ZipFile(path) as archive:
        program = path.with_suffix(".py")
        program.write_bytes(archive.read("verify.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, path, *keys], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def KEY() -> str:  # noqa: N802 - the one that was given out
    return heads.Signer.ours().public_hex


def forged(path: Path, *, signs: bool, **changes: Callable[[str], str]) -> Path:
    """A copy with rewritten files, every digest made anew; `signs` as whoever has the signing key."""
    other = path.with_name("forged.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        files = {name: old.read(name) for name in old.namelist()}
        for stem, change in changes.items():
            name = next(each for each in files if each.startswith(f"{stem}.json"))
            rewritten = change(files[name].decode()).encode()
            assert rewritten != files[name], "nothing was changed"
            files[name] = rewritten
        about = json.loads(files["about.json"])
        about["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in about["files"]}
        text = heads.compact(about)
        files["about.json"] = text.encode()
        if signs:
            files["about.sig"] = heads.Signer.ours().sign(text).encode()
        for name, content in files.items():
            new.writestr(name, content)
    return other


def chained_anew(path: Path, *, shift: int = 0) -> Callable[[str], str]:
    """Other entries in a chain that fits them, as an administrator of the database could make it."""
    before = json.loads(zipfile.ZipFile(path).read("about.json"))["before"]

    def change(text: str) -> str:
        digest, lines = before["sha256"], []
        for line in text.splitlines():
            row = json.loads(line)
            row.pop("sha256")
            row |= {"reason": "Whatever", "seq": row["seq"] + shift}
            digest = chain.link(digest, heads.compact(row))
            lines.append(heads.compact({**row, "sha256": digest}))
        return "\n".join(lines) + "\n"

    return change


def shifted(by: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        about = json.loads(text)
        about["before"]["seq"] += by
        about["last_seq"] += by
        return heads.compact(about)

    return change


def test_a_bundle_proves_a_period_that_begins_in_the_middle_of_the_book(packed: Path) -> None:
    code, said = verified(packed)
    assert (code, said.splitlines()[0]) == (0, "WHOLE: film, 3 entries, signed up to #4 of #4")
    assert "NOT CHECKED: whose key it is" in said


def test_it_is_held_against_the_key_that_was_given_out(packed: Path) -> None:
    assert verified(packed, KEY()) == (0, "WHOLE: film, 3 entries, signed up to #4 of #4\n")
    code, said = verified(packed, "11" * 32)
    assert code == 1
    assert said == "BROKEN: about.json is not signed with this key\n"


@pytest.mark.parametrize(
    ("stem", "old", "new", "expected"),
    [
        ("entries", '"Stored"', '"Given"', "BROKEN at entry #3"),
        ("entries", '"held","captured",49', '"held","captured",48', "BROKEN at entry #3"),
        ("entries", '"Bad clip"', '"bad clip"', "BROKEN at entry #4"),
        ("heads", '"seq":2', '"seq":3', "is not one of those that were signed"),
    ],
)
def test_what_was_changed_in_it_is_found(packed: Path, stem: str, old: str, new: str, expected: str) -> None:
    other = forged(packed, signs=True, **{stem: lambda text: text.replace(old, new)})
    code, said = verified(other, KEY())
    assert code == 1
    assert expected in said


FORGERIES = {
    "the end is left out": lambda _path: {
        "entries": lambda text: "".join(text.splitlines(keepends=True)[:1])
    },
    "the beginning is left out": lambda _path: {"entries": lambda text: text.split("\n", 1)[1]},
    "another chain, without heads": lambda path: {"entries": chained_anew(path), "heads": lambda _text: ""},
    "another chain, where no head meets it": lambda path: {
        "entries": chained_anew(path, shift=1000),
        "about": shifted(1000),
    },
}


@pytest.mark.parametrize("how", FORGERIES)
def test_without_the_signing_key_nothing_can_be_forged(packed: Path, how: str) -> None:
    other = forged(packed, signs=False, **FORGERIES[how](packed))
    for key in ([KEY()], []):
        code, said = verified(other, *key)
        assert (code, "BROKEN: about.json is not signed with this key" in said) == (1, True), said


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("the end is left out", "the last entry is #2, and should be #4"),
        ("the beginning is left out", "BROKEN at entry #3"),
        ("another chain, without heads", "entry #2 is not the one signed at"),
        ("another chain, where no head meets it", "a head in the bundle names an entry that is not in it"),
    ],
)
def test_with_the_signing_key_it_does_not_fit_the_heads_that_were_mailed(
    packed: Path, how: str, found: str, tmp_path: Path
) -> None:
    """Whoever has the key can sign other books now; what left the house before still says what was in it."""
    mailed = tmp_path / "mailed.jsonl"
    mailed.write_text("".join(heads.statement(each) + "\n" for each in SignedHead.objects.order_by("pk")))
    assert verified(packed, KEY(), str(mailed))[0] == 0
    code, said = verified(forged(packed, signs=True, **FORGERIES[how](packed)), KEY(), str(mailed))
    assert (code, found in said) == (1, True), said


def test_a_file_that_was_exchanged_is_found(packed: Path) -> None:
    other = packed.with_name("exchanged.zip")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(other, "w") as new:
        for each in old.namelist():
            content = old.read(each)
            new.writestr(
                each, content.replace(b"purchase", b"promotional") if each == "grants.jsonl" else content
            )
    assert "grants.jsonl is not the file that was put in" in verified(other)[1]


def test_it_names_no_other_team(wallet: Wallet, packed: Path) -> None:
    other = TeamFactory(slug="rivals", credits=7)
    heads.seal()
    now = clock.now()
    with packed.open("wb") as out:
        bundle.write(out, wallet, start=now - timedelta(days=1), end=now + timedelta(days=1))
    with zipfile.ZipFile(packed) as archive:
        assert all(other.slug.encode() not in archive.read(name) for name in archive.namelist())
    assert verified(packed, KEY())[0] == 0


def test_whoever_calls_it_wrongly_is_told_how(packed: Path) -> None:
    verified(packed)
    program = packed.with_suffix(".py")
    for arguments in ([], ["--help"], [str(program)]):
        done = subprocess.run(
            [sys.executable, program, *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.startswith("python3 verify.py BUNDLE.zip")) == (1, True)


def test_the_command_writes_it_with_the_prices(wallet: Wallet, tmp_path: Path) -> None:
    path, today = tmp_path / "film.zip", clock.now().date()
    period = [f"--from={today - timedelta(days=500)}", f"--to={today + timedelta(days=1)}"]
    call_command("audit_bundle", "--team=film", *period, f"--output={path}")
    with zipfile.ZipFile(path) as archive:
        assert "price_versions.jsonl" in archive.namelist()
    count = Entry.objects.count()
    assert verified(path, KEY())[1] == f"WHOLE: film, {count} entries, signed up to #{count} of #{count}\n"


def test_the_command_refuses_what_there_is_nothing_of(wallet: Wallet, tmp_path: Path) -> None:
    path = tmp_path / "none.zip"
    with pytest.raises(CommandError, match="no entry in this period"):
        call_command(
            "audit_bundle", "--team=film", "--from=2020-01-01", "--to=2020-02-01", f"--output={path}"
        )
    assert not path.exists()
    with pytest.raises(CommandError, match="No team"):
        call_command("audit_bundle", "--team=other", "--from=2020-01-01", "--to=2020-02-01")
