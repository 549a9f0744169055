"""What a pass hands back: the changes it makes, and what it would not do and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildopt.dockerfile.model import Dockerfile
from buildopt.source import Edit


@dataclass(frozen=True, slots=True)
class Change:
    """One rewrite. ``lines`` are the first and last line (from 1) of what it changes, as they were before."""

    name: str
    title: str
    why: str
    lines: tuple[int, int]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was left alone; ``line`` (from 1) is where the reason stands."""

    name: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class SecondFile:
    """A file beside the Dockerfile that a pass would write; ``why`` is one line.

    ``path`` is that of the whole file (``.dockerignore`` in the context, or ``<Dockerfile>.dockerignore``), ``before``
    what it holds now, None where there is none.
    """

    name: str
    path: Path
    before: str | None
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one pass made of one file. ``files`` are those beside it that should change too."""

    applied: tuple[Change, ...] = ()
    refused: tuple[Refusal, ...] = ()
    files: tuple[SecondFile, ...] = ()


class Pass(Protocol):
    """What a pass is: a module with these. Its docstring is its documentation.

    ``OPT_IN``: it runs only where it is asked for by name.
    """

    NAME: str
    OPT_IN: bool

    def rewrite(self, dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
        """Pure: the changes to a file, given its build context (None where there is none)."""
        ...
