"""A bundle proves itself with plain Python alone, and whatever is changed in it afterwards is found."""

from __future__ import annotations

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
from accounts.ledger import bundle, heads
from accounts.models import Entry, Wallet
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


def changed(path: Path, name: str, change: Callable[[str], str]) -> Path:
    """A copy in which one file was rewritten, its digest in about.json with it."""
    other = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        files = {each: old.read(each) for each in old.namelist()}
        rewritten = change(files[name].decode()).encode()
        assert rewritten != files[name], "nothing was changed"
        files[name] = rewritten
        about = json.loads(files["about.json"])
        about["files"].pop(name, None)
        files["about.json"] = json.dumps(about).encode()
        for each, content in files.items():
            new.writestr(each, content)
    return other


def test_a_bundle_proves_a_period_that_begins_in_the_middle_of_the_book(packed: Path) -> None:
    code, said = verified(packed)
    assert (code, said) == (0, "WHOLE: 3 entries, 2 signed heads, film\n")


def test_it_is_held_against_the_key_that_was_given_out(packed: Path) -> None:
    assert verified(packed, heads.Signer.ours().public_hex)[0] == 0
    code, said = verified(packed, "00" * 32)
    assert code == 1
    assert "signed with another key" in said


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("entries.jsonl", '"Stored"', '"Given"', "BROKEN at entry #3"),
        ("entries.jsonl", '"held","captured",49', '"held","captured",48', "BROKEN at entry #3"),
        ("entries.jsonl", '"Bad clip"', '"bad clip"', "BROKEN at entry #4"),
        ("heads.jsonl", '"seq":2', '"seq":3', "is not signed with its key"),
    ],
)
def test_what_was_changed_in_it_is_found(packed: Path, name: str, old: str, new: str, expected: str) -> None:
    code, said = verified(changed(packed, name, lambda text: text.replace(old, new)))
    assert code == 1
    assert expected in said


def test_an_entry_that_was_left_out_is_missed(packed: Path) -> None:
    without = changed(packed, "entries.jsonl", lambda text: "".join(text.splitlines(keepends=True)[1:]))
    assert "BROKEN at entry #3" in verified(without)[1]


def test_a_chain_made_anew_does_not_fit_the_heads_that_were_signed(packed: Path) -> None:
    """Whoever rewrites entries, digests and all, cannot sign what they made."""

    def forged(text: str) -> str:
        from accounts.ledger import chain

        digest, lines = json.loads(zipfile.ZipFile(packed).read("about.json"))["before"]["sha256"], []
        for line in text.splitlines():
            row = json.loads(line)
            row.pop("sha256")
            row["reason"] = "Whatever"
            digest = chain.link(digest, heads.compact(row))
            lines.append(heads.compact({**row, "sha256": digest}))
        return "\n".join(lines) + "\n"

    code, said = verified(changed(packed, "entries.jsonl", forged))
    assert code == 1
    assert "is not the one signed at" in said


def test_a_file_that_was_exchanged_is_found(packed: Path) -> None:
    other = packed.with_name("exchanged.zip")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(other, "w") as new:
        for each in old.namelist():
            content = old.read(each)
            new.writestr(
                each, content.replace(b"purchase", b"promotional") if each == "grants.jsonl" else content
            )
    assert "grants.jsonl is not the file that was put in" in verified(other)[1]


def test_the_command_writes_it_with_the_prices(wallet: Wallet, tmp_path: Path) -> None:
    path, today = tmp_path / "film.zip", clock.now().date()
    period = [f"--from={today - timedelta(days=500)}", f"--to={today + timedelta(days=1)}"]
    call_command("audit_bundle", "--team=film", *period, f"--output={path}")
    with zipfile.ZipFile(path) as archive:
        assert "price_versions.jsonl" in archive.namelist()
    assert verified(path)[1].startswith(f"WHOLE: {Entry.objects.count()} entries")


def test_the_command_refuses_what_there_is_nothing_of(wallet: Wallet, tmp_path: Path) -> None:
    path = tmp_path / "none.zip"
    with pytest.raises(CommandError, match="no entry in this period"):
        call_command(
            "audit_bundle", "--team=film", "--from=2020-01-01", "--to=2020-02-01", f"--output={path}"
        )
    assert not path.exists()
    with pytest.raises(CommandError, match="No team"):
        call_command("audit_bundle", "--team=other", "--from=2020-01-01", "--to=2020-02-01")
