"""The program, also as ``python -m buildopt``."""

from os import _exit


def run() -> None:
    """Run the command line, and end. Ctrl-C is no traceback even before there is anything to interrupt."""
    try:
        from buildopt.cli import run
    except KeyboardInterrupt:
        _exit(130)
    run()


if __name__ == "__main__":
    run()
