"""The program, also as ``python -m buildopt``."""

from __future__ import annotations

import os
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line. Ctrl-C is no traceback even before there is anything to interrupt."""
    try:
        from buildopt.cli import run
    except KeyboardInterrupt:
        os._exit(130)
    run()


if __name__ == "__main__":
    run()
