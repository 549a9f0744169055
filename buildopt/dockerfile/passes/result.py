"""What a pass hands back: the changes it makes, and what it would not do and why."""

from __future__ import annotations

from dataclasses import dataclass

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
