"""What the sandbox can be told when it starts, and which of it the control endpoint may change while it runs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

ADJUSTABLE = {
    "job_seconds": float,
    "concurrency": int,
    "balance_usd": float,
    "bill_run_422": bool,
    "billing_delay_seconds": float,
    "billing_page": int,
    "fail_billing": int,
    "price_factor": float,
    "webhook_retry_seconds": float,
    "webhook_attempts": int,
    "locked": str,
    "fast_clips": bool,
}


@dataclass
class Options:
    """One sandbox's settings; `locked` holds the reason while the account is locked and is empty otherwise.

    `price_factor` is how much dearer fal has become than the catalogue says; the next `fail_billing` reads of the
    billing events end in a 500; `billing_page` is how many of them fit on a page.
    """

    host: str = "127.0.0.1"
    port: int = 8900
    data_dir: Path = Path("var/sandbox")
    job_seconds: float = 10.0
    concurrency: int = 2
    key: str = ""
    admin_key: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    fast_clips: bool = False
    balance_usd: float = 10_000.0
    bill_run_422: bool = True
    billing_delay_seconds: float = 0.0
    billing_page: int = 10_000
    fail_billing: int = 0
    price_factor: float = 1.0
    webhook_retry_seconds: float = 2.0
    webhook_attempts: int = 10
    locked: str = ""
    end_with_stdin: bool = False

    def adjust(self, changes: dict[str, Any]) -> None:
        """Apply settings that may change at run time; raises `ValueError` naming the one that may not."""
        for name in changes:
            if name not in ADJUSTABLE:
                raise ValueError(f"no such setting: {name} (one of {', '.join(sorted(ADJUSTABLE))})")
        for name, value in changes.items():
            setattr(self, name, _converted(name, value))

    def adjustable(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ADJUSTABLE}

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


def _converted(name: str, value: Any) -> Any:
    if name == "locked" and not isinstance(value, str):
        return "Exhausted balance. Top up your balance at fal.ai/dashboard/billing." if value else ""
    return ADJUSTABLE[name](value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sandbox's command line, shared by `manage.py fal_sandbox` and `python -m generations.sandbox`."""
    default = Options()
    add = parser.add_argument
    add("--host", default=default.host)
    add("--port", type=int, default=default.port, help="0 takes a free one and prints it")
    add("--data-dir", type=Path, default=default.data_dir, help="jobs, uploads and clips are kept here")
    add("--job-seconds", type=float, default=default.job_seconds, help="how long a job takes, queue included")
    add("--concurrency", type=int, default=default.concurrency, help="jobs in progress at once, account-wide")
    add("--key", default=default.key, help="the only API key accepted (any, when not given)")
    add("--admin-key", default=default.admin_key, help="the key that billing endpoints ask for")
    add("--tls-cert", default=default.tls_cert, help="certificate file; serves https together with --tls-key")
    add("--tls-key", default=default.tls_key)
    add("--fast-clips", action="store_true", help="tiny shared clips of the right length and shape")
    add(
        "--balance-usd", type=float, default=default.balance_usd, help="prepaid credit the account opens with"
    )
    add("--no-bill-422", dest="bill_run_422", action="store_false", help="a 422 while running costs nothing")
    add("--billing-delay-seconds", type=float, default=default.billing_delay_seconds)
    add(
        "--webhook-retry-seconds",
        type=float,
        default=default.webhook_retry_seconds,
        help="first retry; doubles",
    )
    add("--end-with-stdin", action="store_true", help="end when standard input closes: no parent, no sandbox")
    add("--webhook-attempts", type=int, default=default.webhook_attempts)


def from_arguments(arguments: dict[str, Any]) -> Options:
    """Build the options from parsed arguments, ignoring whatever else the command was given."""
    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in arguments.items() if name in known})
