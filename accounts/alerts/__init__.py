"""What a team is told about its credits: once per crossing, in the app, by mail and to a webhook.

Everything is derived from rows after the fact. The ledger sends nothing and knows nothing of this room: a look that
is missed, doubled or late only delays. What is to be told is a row whose key is the crossing itself, so that twenty
looks at once tell it once; each way out is a row beside it (the outbox), sent at least once, retried with back-off.
"""

from accounts.alerts.account import account_balance, account_locked
from accounts.alerts.hooks import HookRefused, remove_hook, secret_of, set_hook
from accounts.alerts.looking import look
from accounts.alerts.rules import change_rules, rules_of
from accounts.alerts.sending import deliver, is_anything_due
from accounts.alerts.telling import dismiss, dismiss_all, send_test

__all__ = [
    "HookRefused",
    "account_balance",
    "account_locked",
    "change_rules",
    "deliver",
    "dismiss",
    "dismiss_all",
    "is_anything_due",
    "look",
    "remove_hook",
    "rules_of",
    "secret_of",
    "send_test",
    "set_hook",
]
