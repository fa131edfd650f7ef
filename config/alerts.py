"""What the installation says about alerts; what a team wants to be told stands in its own settings."""

from __future__ import annotations

from typing import Any

import environ


def rules(env: environ.Env) -> dict[str, Any]:
    """`LOW_BALANCE_USD`: at what prepaid balance teams hear that fal's account runs low; it takes FAL_ADMIN_KEY to ask.

    `ARE_PRIVATE_HOOKS_ALLOWED`: whether webhooks may lead into private networks and go without TLS.
    """
    return {
        "LOW_BALANCE_USD": env.int("ALERT_LOW_BALANCE_USD", default=20),
        "ARE_PRIVATE_HOOKS_ALLOWED": env.bool("ALERT_PRIVATE_HOOKS", default=False),
    }
