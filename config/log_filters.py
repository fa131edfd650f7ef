"""What must not stand in a log: the tokens in addresses, each as good as a key to whoever reads them there."""

from __future__ import annotations

import logging
import re

_TOKENS = re.compile(r"(/invitation/|/fal/webhook/|/password/reset/key/)[^/\s\"'?]+")


def without_tokens(text: str) -> str:
    """The same text, with an ellipsis where a token stood in an address."""
    return _TOKENS.sub(r"\1…", text)


class NoTokens(logging.Filter):
    """Django names the path of every request it answers with 4xx or 5xx; the token in it is left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = without_tokens(message)
        if clean != message:
            record.msg, record.args = clean, None
        return True
