"""Programs that the sandbox needs, as Debian packages in a private prefix; the machine's own where that will do."""

from __future__ import annotations

import os
from pathlib import Path

from buildopt import process, settings
from buildopt.engine import packages
from buildopt.errors import ToolError

FORKY = "forky"


def download_cache() -> Path:
    """Where downloaded packages and apt's lists are kept."""
    return settings.cache_folder() / "debian"


def from_suite(name: str, package: str, *, suite: str = FORKY) -> str:
    """Path of a program of a Debian package of ``suite``, fetched once. Raises EngineError where it cannot be had."""
    prefix = settings.cache_folder() / "programs" / f"{package}-{suite}"  # apart from the release's own
    packages.fetch([package], suite=suite, prefix=prefix, cache=download_cache())
    return _inside(prefix, name, package)


def installed_or_fetched(name: str, package: str) -> str:
    """Path of a program: the machine's own, else the one of its Debian release, fetched once with what it needs.

    Raises EngineError where it cannot be had.
    """
    found = process.which(name)
    if found is not None:
        return found
    prefix = settings.cache_folder() / "programs" / package
    packages.fetch([package], suite=packages.running_suite(), prefix=prefix, cache=download_cache(), closure=True)
    fetched = _inside(prefix, name, package)
    # What it needs lies in the same prefix, where the loader does not look by itself.
    wrapper = prefix / f"{name}.sh"
    libraries = ":".join(str(folder) for folder in (*prefix.glob("usr/lib/*-linux-gnu"), *prefix.glob("lib/*-gnu")))
    text = f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{fetched}" "$@"\n'
    temporary = wrapper.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o755)
    os.replace(temporary, wrapper)
    return str(wrapper)


def _inside(prefix: Path, name: str, package: str) -> str:
    for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
        candidate = prefix / folder / name
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise ToolError(f"Debian's package {package} has no program {name}", hint=f"install {name} and put it on PATH")
