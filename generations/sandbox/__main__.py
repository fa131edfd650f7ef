"""`python -m generations.sandbox`: the sandbox without Django."""

from __future__ import annotations

import argparse
import functools

from generations.sandbox.options import add_arguments, from_arguments
from generations.sandbox.server import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m generations.sandbox", description="A fal.ai of our own.")
    add_arguments(parser)
    run(from_arguments(vars(parser.parse_args())), announce=functools.partial(print, flush=True))


if __name__ == "__main__":
    main()
