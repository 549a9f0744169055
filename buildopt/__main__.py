"""``python -m buildopt``."""

from buildopt.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
