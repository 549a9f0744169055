"""buildopt as scripts run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BAD = "FROM a:1\nADD a.py /b\n"


def run(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command in a folder, with what it printed and its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "buildopt", *words], cwd=folder, input=stdin, capture_output=True, text=True, check=False
    )
