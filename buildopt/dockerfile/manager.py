"""What a package manager is, as far as caches go, and a command that runs one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from buildopt.dockerfile.shell import Command, Word


def word_set(text: str) -> frozenset[str]:
    """The words of a text, blanks and line breaks between them."""
    return frozenset(text.split())


class Portable(Enum):
    """Where a cache's content can be used: everywhere, on the distribution or on the platform that made it, on both."""

    EVERYWHERE = "everywhere"
    DISTRIBUTION = "distribution"
    PLATFORM = "platform"
    NOWHERE_ELSE = "nowhere else"


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache directory. Each of ``moved_by`` is an environment variable and what it appends to its value.

    ``marks`` are pieces of text that speak of the directory, however its path is written. ``alone``: the manager, and
    what it runs, writes nothing else into the folder above, which a mount makes as root's.
    """

    path: str
    moved_by: tuple[tuple[str, str], ...] = ()
    portable: Portable = Portable.EVERYWHERE
    marks: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Manager:
    """One package manager.

    ``uses``: subcommands that fill or read a cache; empty means all but ``idle``. ``cleanups``: words that follow the
    program in a command which only empties a cache. ``defeating_options`` and ``defeating_variables``: with these it
    keeps none; ``instead`` are options that must take the place of one. ``moving_options`` put the cache elsewhere.
    ``valued``: options before the subcommand that take a value.

    ``system``: it works as root alone, whatever HOME is. ``strict``: what it leaves may be needed by programs that do
    not name it. ``starts``: subcommands that a container may run without the cache. ``offline``: words, and
    ``offline_options``, with which it can only use what is there. ``leavings``: folders that stay empty where the cache
    is mounted. ``configured_by``: names of files that may move the cache, ``configures`` how they say so.
    """

    name: str
    programs: str
    caches: tuple[Cache, ...]
    sharing: str
    uses: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    cleanups: tuple[tuple[str, ...], ...] = ()
    defeating_options: tuple[str, ...] = ()
    defeating_variables: tuple[str, ...] = ()
    moving_options: tuple[str, ...] = ()
    valued: frozenset[str] = frozenset()
    lockfiles: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()
    offline_options: tuple[str, ...] = ()
    system: bool = False
    strict: bool = False
    starts: frozenset[str] = frozenset()
    instead: tuple[tuple[str, str], ...] = ()
    leavings: tuple[str, ...] = ()
    configured_by: str = ""
    configures: str = ""

    def runs(self, name: str) -> bool:
        """Whether a program of that name is this manager."""
        return re.fullmatch(self.programs, name) is not None


@dataclass(frozen=True, slots=True)
class Use:
    """One command of a manager. ``subcommand`` is its first word that is no option, ``rest`` what follows it."""

    manager: Manager
    command: Command
    subcommand: str
    rest: tuple[Word, ...]
    arguments: tuple[Word, ...]

    @property
    def uses_cache(self) -> bool:
        """Whether it fills or reads a cache."""
        if self.is_cleanup:
            return False
        if self.manager.uses:
            return self.subcommand in self.manager.uses
        return self.subcommand not in self.manager.idle

    @property
    def is_cleanup(self) -> bool:
        """Whether all it does is to empty a cache."""
        words = [self.subcommand, *(word.text or "" for word in self.rest if not (word.text or "").startswith("-"))]
        options = {word.text for word in self.arguments if (word.text or "").startswith("-")}
        for cleanup in self.manager.cleanups:
            plain = [word for word in cleanup if not word.startswith("-")]
            if words[: len(plain)] == plain and options.issuperset(
                word for word in cleanup if word.startswith("-") and word != "--force"
            ):
                return True
        return False

    def defeats(self) -> Iterator[Word]:
        """The options of this command with which nothing is cached."""
        for word in self.arguments:
            text = word.text or ""
            if text.partition("=")[0] in self.manager.defeating_options:
                yield word

    @property
    def moved(self) -> bool:
        """Whether an option puts the cache elsewhere."""
        return any((word.text or "").partition("=")[0] in self.manager.moving_options for word in self.arguments)

    @property
    def offline(self) -> str:
        """The option with which it can only use what is there; empty where there is none."""
        return next((word.text for word in self.arguments if word.text in self.manager.offline_options), "") or ""
