"""How log lines are written: with the ids of what they are about, as text for people or as JSON for machines.

No line names a prompt: what members write stays in the database. See generations/trace.py for the ids.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from generations import trace


class Traced(logging.Filter):
    """Put the ids that are bound where the line was logged on its record; runs in the thread that logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.trace = dict(trace.current())
        return True


class Text(logging.Formatter):
    """`time LEVEL logger message [generation=… attempt=…]`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        line = super().formatMessage(record)
        ids = _ids(record)
        return f"{line} [{' '.join(f'{name}={value}' for name, value in ids.items())}]" if ids else line


class JsonLines(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, the ids, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_ids(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _ids(record: logging.LogRecord) -> dict[str, str]:
    found: dict[str, str] = getattr(record, "trace", {})
    return {name: found[name] for name in trace.IDS if name in found}


def configuration(formatter: str, *, level: str, requests_level: str) -> dict[str, Any]:
    """Django's LOGGING: everything to stderr, as `text` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"text": {"()": "config.logs.Text"}, "json": {"()": "config.logs.JsonLines"}},
        "filters": {
            "no_tokens": {"()": "config.log_filters.NoTokens"},
            "traced": {"()": "config.logs.Traced"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": formatter,
                "filters": ["no_tokens", "traced"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "clipledger.requests": {"level": requests_level},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
        },
    }
