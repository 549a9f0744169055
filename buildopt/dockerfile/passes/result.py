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
class PassResult:
    """What one pass made of one file."""

    applied: tuple[Change, ...] = ()
    refused: tuple[Refusal, ...] = ()


class Pass(Protocol):
    """What a pass is: a module with these two. Its docstring is its documentation."""

    NAME: str

    def rewrite(self, dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
        """Pure: the changes to a file, given its build context (None where there is none)."""
        ...
