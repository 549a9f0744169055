"""``python -m buildopt``."""

from buildopt.cli import run

if __name__ == "__main__":
    run()
