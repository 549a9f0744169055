"""How long ``buildopt --help`` takes beside ``python -c pass`` and a bare ``import click``: best of ten each.

Usage: python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 10


def best(argv: list[str]) -> float:
    """Best wall time of ten runs, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    script = Path(sys.executable).with_name("buildopt")
    rows = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "buildopt --help": [str(script), "--help"],
        "buildopt lint --help": [str(script), "lint", "--help"],
        "buildopt push --help": [str(script), "push", "--help"],
    }
    for name, argv in rows.items():
        print(f"{name:28} {best(argv):.3f} s")


if __name__ == "__main__":
    main()
