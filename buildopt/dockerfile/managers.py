"""One table of package managers: their programs, caches, what moves or defeats a cache, and what cleans it up.

A cache directory below the home folder is written ``~/…``. Nothing here decides; rules and passes do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from buildopt.dockerfile.compiled_managers import (
    CABAL,
    CARGO,
    CARGO_GIT,
    CCACHE,
    DENO,
    DOTNET,
    GO,
    GRADLE,
    MAVEN,
    MIX,
    SBT,
    SCCACHE,
    STACK,
    SWIFT,
)
from buildopt.dockerfile.interpreted_managers import (
    BUN,
    BUNDLER,
    COMPOSER,
    CONDA,
    NPM,
    PDM,
    PIP,
    PIPENV,
    PNPM,
    POETRY,
    UV,
    YARN,
)
from buildopt.dockerfile.manager import Cache, Manager, Portable, Use, word_set
from buildopt.dockerfile.shell import Command, Word, of_the_command
from buildopt.dockerfile.system_managers import APK, APT, DNF, PACMAN, ZYPPER

MANAGERS = (
    *(APT, APK, DNF, ZYPPER, PACMAN),
    *(PIP, UV, POETRY, PDM, PIPENV, CONDA),
    *(NPM, YARN, PNPM, BUN, DENO),
    *(GO, CARGO, MAVEN, GRADLE, SBT, DOTNET, COMPOSER, BUNDLER, MIX, CABAL, STACK, SWIFT, CCACHE, SCCACHE),
)
# The table is divided by kind; whoever asks for one manager finds it here.
__all__ = [
    "APK",
    "APT",
    "BUN",
    "BUNDLER",
    "CABAL",
    "CARGO",
    "CARGO_GIT",
    "CCACHE",
    "COMPOSER",
    "CONDA",
    "DENO",
    "DNF",
    "DOTNET",
    "GO",
    "GRADLE",
    "MANAGERS",
    "MAVEN",
    "MIX",
    "NPM",
    "PACMAN",
    "PDM",
    "PIP",
    "PIPENV",
    "PNPM",
    "POETRY",
    "SBT",
    "SCCACHE",
    "STACK",
    "SWIFT",
    "UV",
    "YARN",
    "ZYPPER",
    "Cache",
    "Manager",
    "Portable",
    "Use",
    "recognise",
    "word_set",
]

_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_SYNC = re.compile(r"-S([a-z]*)|--sync")


@lru_cache(maxsize=4096)
def _manager(name: str) -> Manager | None:
    return next((manager for manager in MANAGERS if manager.runs(name)), None)


@of_the_command
def recognise(command: Command) -> Use | None:
    """The manager that a command runs, ``python -m pip`` included; None for anything else."""
    argv = command.argv
    name = command.name
    if name is None:
        return None
    arguments = argv[1:]
    if _PYTHON.fullmatch(name):
        texts = [word.text for word in arguments]
        while texts and texts[0] in ("-u", "-I", "-E", "-s", "-B", "-O"):
            texts, arguments = texts[1:], arguments[1:]
        if texts[:1] != ["-m"] or len(texts) < 2 or not texts[1]:
            return None
        name, arguments = texts[1], arguments[2:]
    manager = _manager(name)
    if manager is None:
        return None
    if manager is PACMAN:
        return Use(manager, command, _pacman(arguments), (), arguments)
    position = _subcommand(manager, arguments)
    subcommand = arguments[position].text or "" if position < len(arguments) else ""
    if name == "uvx":
        return Use(manager, command, "tool", arguments, arguments)
    return Use(manager, command, subcommand, arguments[position + 1 :], arguments)


def _subcommand(manager: Manager, arguments: tuple[Word, ...]) -> int:
    position = 0
    while position < len(arguments):
        text = arguments[position].text
        toolchain = manager is CARGO and text is not None and text.startswith("+")
        if text is not None and not text.startswith("-") and not toolchain:
            break
        position += 2 if text in manager.valued else 1
    return position


def _pacman(arguments: tuple[Word, ...]) -> str:
    """What a command of pacman does, whose subcommands are options."""
    texts = [word.text or "" for word in arguments]
    for text in texts:
        match = _SYNC.fullmatch(text)
        if match is None:
            continue
        letters = match.group(1) or ""
        if "c" in letters or "--clean" in texts:
            return "clean"
        if set(letters) & set("silgp"):
            return "query"
        operands = [item for item in texts if not item.startswith("-")]
        return "install" if operands or "u" in letters or "--sysupgrade" in texts else "refresh"
    return "install" if any(text.startswith(("-U", "--upgrade")) for text in texts) else ""
