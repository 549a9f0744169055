"""Packages that are installed without a version, for the rules about that: the walk and the words are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from buildopt.dockerfile.hadolint import Seen, seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call, calls
from buildopt.dockerfile.runs import Run, all_runs
from buildopt.dockerfile.shell import Command, Word
from buildopt.settings import LintSettings

Ours = Callable[[Run, Call], Iterable[Word]]
Theirs = Callable[[Run, Seen], Iterable[str]]
# Names in a message; a finding of a command with forty packages should still be one line.
_SHOWN = 3


def unpinned(
    dockerfile: Dockerfile, settings: LintSettings, ours: Ours, theirs: Theirs
) -> Iterator[tuple[Run, Command, str]]:
    """Commands that install something without a version, with the names of that.

    ``ours`` picks such words of a command line, ``theirs`` does so as hadolint would.
    """
    for run in all_runs(dockerfile):
        if settings.like_hadolint:
            for item in seen(run):
                names = list(theirs(run, item))
                if names:
                    yield run, item.command, _listed(names)
        else:
            for call in calls(run):
                names = [word.text or word.raw for word in ours(run, call)]
                if names:
                    yield run, call.command, _listed(names)


def _listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and 3 more``, with the verb that follows."""
    shown = [" ".join(name.split()) or "''" for name in names]
    if len(shown) == 1:
        return f"{shown[0]} has"
    if len(shown) <= _SHOWN:
        return f"{', '.join(shown[:-1])} and {shown[-1]} have"
    return f"{', '.join(shown[: _SHOWN - 1])} and {len(shown) - _SHOWN + 1} more have"


def literal(words: Iterable[Word]) -> Iterator[tuple[Word, str]]:
    """The words whose text is known."""
    for word in words:
        if word.text:
            yield word, word.text
