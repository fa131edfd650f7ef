#!/usr/bin/env python3
"""Django's command line, at home in the environment of a running `make run`."""

import os
import sys


def main() -> None:
    """Find the running servers, then run the command."""
    from config.stack import environment

    environment.adopt()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
