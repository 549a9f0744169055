"""What a rule has to say about a place in a file, and how it could be mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from buildopt.source import Edit, Source, Span


class Severity(IntEnum):
    """How much a finding matters; larger is worse."""

    STYLE = 0
    INFO = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        """The word that people read and type."""
        return self.name.lower()


class Category(str, Enum):
    """What a finding costs its owner."""

    CORRECTNESS = "correctness"
    SECURITY = "security"
    CACHE = "cache"
    SIZE = "size"
    STYLE = "style"


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that mend a finding. ``safe``: the image cannot change, or only in the way that the rule names."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's word on one span of one file."""

    rule: str
    message: str
    source: Source
    span: Span
    severity: Severity
    category: Category
    aliases: tuple[str, ...] = ()
    fix: Fix | None = None

    @property
    def path(self) -> str:
        """The file, as people are shown it."""
        return self.source.path

    @property
    def start(self) -> tuple[int, int]:
        """Line and column of the first character, from 1."""
        return self.source.position(self.span.start)

    @property
    def end(self) -> tuple[int, int]:
        """Line and column just behind the last character, from 1."""
        return self.source.position(self.span.end)
