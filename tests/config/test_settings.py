"""Production refuses to start half configured, and says in one sentence what to set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMPLETE = {
    "CLIPLEDGER_ENV": "production",
    "SECRET_KEY": "a-long-random-string-of-more-than-fifty-characters-0123456789",
    "ALLOWED_HOSTS": "video.example.com",
    "DATABASE_URL": "postgres://user:password@db.example.com:5432/clipledger",
    "REDIS_URL": "redis://:password@broker.example.com:6379/0",
}


def start(
    environment: dict[str, str], *, show: str = "", before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Read the settings as a new process would, with nothing of ours in its environment."""
    code = f"{before}import django; from django.conf import settings; django.setup(); print({show or 'None'})"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = {**inherited, "DJANGO_SETTINGS_MODULE": "config.settings", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_production_starts_when_everything_is_set() -> None:
    done = start(COMPLETE, show="settings.DEBUG, settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE")
    assert (done.returncode, done.stdout.strip()) == (0, "False True True"), done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"])
def test_production_stops_with_a_sentence_that_says_what_to_set(name: str) -> None:
    done = start({key: value for key, value in COMPLETE.items() if key != name})
    assert done.returncode != 0
    assert f"{name} is not set. Set it to" in done.stderr


def test_production_is_what_an_empty_environment_means() -> None:
    done = start({})
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr


def test_another_database_than_postgresql_is_refused() -> None:
    done = start({**COMPLETE, "DATABASE_URL": "sqlite:///tmp.sqlite3"})
    assert done.returncode != 0
    assert "DATABASE_URL must be postgres://" in done.stderr


def test_an_unknown_mode_is_refused() -> None:
    done = start({**COMPLETE, "CLIPLEDGER_ENV": "prod"})
    assert done.returncode != 0
    assert "must be production, development or test" in done.stderr


def test_media_go_to_a_bucket_when_one_is_named() -> None:
    environment = {**COMPLETE, "MEDIA_S3_BUCKET": "clips", "AWS_S3_ENDPOINT_URL": "https://s3.example.com"}
    done = start(environment, show="settings.STORAGES['default']['BACKEND']")
    assert done.stdout.strip() == "storages.backends.s3.S3Storage"


def test_debug_is_no_choice_in_production() -> None:
    done = start({**COMPLETE, "DEBUG": "1"})
    assert done.returncode != 0
    assert "DEBUG shows settings and rows to every visitor" in done.stderr


@pytest.mark.parametrize("key", ["changeme", "x" * 60])
def test_a_secret_key_that_can_be_guessed_is_refused(key: str) -> None:
    done = start({**COMPLETE, "SECRET_KEY": key})
    assert done.returncode != 0
    assert "SECRET_KEY can be guessed" in done.stderr


def test_host_names_may_be_written_with_spaces_between() -> None:
    done = start({**COMPLETE, "ALLOWED_HOSTS": "a.example.com, b.example.com"}, show="settings.ALLOWED_HOSTS")
    assert done.stdout.strip() == "['a.example.com', 'b.example.com']"


@pytest.mark.parametrize(("set_to", "used"), [("", "json"), ("text", "text")])
def test_production_logs_lines_for_machines_unless_told_otherwise(set_to: str, used: str) -> None:
    environment = {**COMPLETE, "LOG_FORMAT": set_to} if set_to else COMPLETE
    done = start(environment, show="settings.LOGGING['handlers']['stderr']['formatter']")
    assert done.stdout.strip() == used, done.stderr


def test_an_unknown_log_format_is_refused() -> None:
    done = start({**COMPLETE, "LOG_FORMAT": "xml"})
    assert done.returncode != 0
    assert "LOG_FORMAT must be json" in done.stderr
