"""Starts a PostgreSQL and a Valkey for the test session, before Django's settings are read.

This file is imported ahead of every other conftest, so the others may import models. Where DATABASE_URL and REDIS_URL
are set, those servers are used: only a database named test_... is made in the first, and the second is written to.
With pytest-xdist the controller starts the servers and each worker gets a Valkey database of its own.
"""

import atexit
import os
import re
from contextlib import ExitStack
from typing import Any

import django
import pytest

from config.stack import servers

_stack = ExitStack()
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")


def _enter_test_environment() -> None:
    os.environ["CLIPLEDGER_ENV"] = "test"
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    if _worker:
        return
    atexit.register(_stack.close)
    os.environ.update(_stack.enter_context(servers.of_our_own()))


_enter_test_environment()
django.setup()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Give each worker a Valkey database of its own, before anything in it can read the settings.

    pytest-django reads them ahead of every conftest in a worker, which inherits DJANGO_SETTINGS_MODULE from here.
    """
    server = os.environ["REDIS_URL"].rsplit("/", 1)[0]
    for number, spec in enumerate(specs, start=1):
        spec.env["REDIS_URL"] = f"{server}/{number}"


def pytest_report_header() -> str:
    """Say where the tests run."""
    shown = [re.sub(r":[^:@/]*@", "@", os.environ[name]) for name in ("DATABASE_URL", "REDIS_URL")]
    return f"servers: {' '.join(shown)}"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave nothing running."""
    _stack.close()
