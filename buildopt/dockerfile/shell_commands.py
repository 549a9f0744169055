"""Simple commands of a shell's text, and the chain that they form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TypeVar, cast

from buildopt.dockerfile.shell_words import Assignment, Redirect, Word
from buildopt.dockerfile.shell_wrappers import unwrap
from buildopt.source import Span


@dataclass(frozen=True)
class Command:
    """One simple command.

    ``operator`` joins it to the next one of its list: ``&&``, ``||``, ``;``, ``;;``, ``|``, ``|&``, ``&``, ``\\n`` (a
    new line) or empty at the end. ``context`` holds the constructs around it, outermost first: ``subshell``, ``group``,
    ``condition``, ``if``, ``loop``, ``case``, ``function``, ``substitution``, ``sh -c``, ``heredoc``, ``unknown``.
    """

    words: tuple[Word, ...]
    assignments: tuple[Assignment, ...]
    redirects: tuple[Redirect, ...]
    span: Span
    operator: str = ""
    operator_span: Span | None = None
    context: tuple[str, ...] = ()
    negated: bool = False

    @property
    def depth(self) -> int:
        """How many constructs are around it; 0 is the top-level chain."""
        return len(self.context)

    @cached_property
    def _unwrapped(self) -> tuple[tuple[Word, ...], tuple[str, ...], tuple[Assignment, ...]]:
        return unwrap(self.words)

    @property
    def argv(self) -> tuple[Word, ...]:
        """The words of the real command: ``sudo -E apt-get update`` gives those of ``apt-get update``."""
        return self._unwrapped[0]

    @property
    def wrappers(self) -> tuple[str, ...]:
        """What was seen through, outermost first: ``("sudo", "env")``."""
        return self._unwrapped[1]

    @property
    def environment(self) -> tuple[Assignment, ...]:
        """Variables set for this command alone: its prefix, then what ``env`` and ``sudo`` set."""
        return self.assignments + self._unwrapped[2]

    @cached_property
    def name(self) -> str | None:
        """The real command's name without its folder; None where it is an expansion or there is none."""
        argv = self.argv
        return argv[0].text.rsplit("/", 1)[-1] if argv and argv[0].text else None

    @property
    def arguments(self) -> tuple[Word, ...]:
        """The real command's words behind its name."""
        return self.argv[1:]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The literal arguments; those with expansions are left out."""
        return tuple(word.text for word in self.arguments if word.text is not None)

    @property
    def options(self) -> tuple[str, ...]:
        """The literal arguments that start with a dash, up to ``--``."""
        found: list[str] = []
        for text in self.texts:
            if text == "--":
                break
            if text.startswith("-") and text != "-":
                found.append(text)
        return tuple(found)


_Fact = TypeVar("_Fact")


def of_the_command(function: Callable[[Command], _Fact]) -> Callable[[Command], _Fact]:
    """Keep what a function found out about a command with the command: dozens of rules ask the same."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def remembered(command: Command) -> _Fact:
        known = command.__dict__
        if name not in known:
            known[name] = function(command)
        return cast(_Fact, known[name])

    return remembered


@dataclass(frozen=True, slots=True)
class Part:
    """One link of the top-level chain: a simple command (``command``) or a whole construct (None).

    ``commands`` are all commands in it, those of its substitutions and of ``sh -c`` included.
    """

    span: Span
    command: Command | None
    commands: tuple[Command, ...]
    operator: str


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed text: all ``commands`` in order, the top-level chain as ``parts``, and ``#`` comments."""

    text: str
    commands: tuple[Command, ...]
    parts: tuple[Part, ...]
    comments: tuple[Span, ...] = ()
    complete: bool = True
