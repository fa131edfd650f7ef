"""`python -m config.stack run` and `python -m config.stack exec -- COMMAND`."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from config.stack import child, servers
from config.stack.errors import StackError
from config.stack.run import run


def main() -> int:
    """Parse the command line; a failure that a person can mend is one sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m config.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="the whole application on this machine, until Ctrl-C")
    runner.add_argument("--host", default="127.0.0.1")
    runner.add_argument("--port", type=int, default=8000)
    runner.add_argument(
        "--with-parent", action="store_true", help="stop when the calling process ends, however it ends"
    )
    executor = commands.add_parser("exec", help="one command with servers of its own, gone afterwards")
    executor.add_argument(
        "--durable", action="store_true", help="with fsync, as in production: for measurements"
    )
    executor.add_argument("argv", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    try:
        if options.command == "exec":
            return execute(options.argv, is_durable=options.durable)
        if options.with_parent:
            child.end_with_parent()
        return run(host=options.host, port=options.port)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def execute(argv: list[str], *, is_durable: bool) -> int:
    """Run a command in the test environment beside servers of its own; returns its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with servers.of_our_own(is_durable=is_durable) as values:
        env = {"CLIPLEDGER_ENV": "test", "DJANGO_SETTINGS_MODULE": "config.settings", **os.environ, **values}
        return subprocess.run(argv, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
