"""Comments that silence findings: those of hadolint, of BuildKit and our own."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Finding
from buildopt.source import Span

_PRAGMA = re.compile(
    r"#\s*(hadolint|buildopt)\s+(global\s+)?ignore\s*=\s*([\w-]+(?:[ \t]*,[ \t]*[\w-]+)*)", re.IGNORECASE
)
_CODES = re.compile(r"(?:DL|SC)\d{4}(?:[ \t]*,[ \t]*(?:DL|SC)\d{4})*")
_NAME = re.compile(r"[^,\s]+")
BUILDKIT_NAME = re.compile(r"[A-Z][a-z]+[A-Za-z]+|JSON[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One name in one comment. ``lines`` are those it holds for, None for the whole file.

    ``name`` is in lower case; that of BuildKit's directive is as written, as there its case matters.

    ``comment`` is the span of the comment (or of the directive's value), ``listed`` that of its list of names.
    """

    name: str
    span: Span
    lines: tuple[int, int] | None
    comment: Span
    listed: Span
    directive: bool = False

    def silences(self, finding: Finding) -> bool:
        """Whether it speaks of this finding's rule, at its place."""
        if self.lines is not None and not self.lines[0] <= finding.start[0] <= self.lines[1]:
            return False
        if self.directive:
            if self.name == "all":
                return any(BUILDKIT_NAME.fullmatch(alias) for alias in finding.aliases)
            return self.name == finding.rule or self.name in finding.aliases
        return self.name == finding.rule or any(self.name == alias.lower() for alias in finding.aliases)


class Silencer:
    """Finds the ignores that silence a finding without asking every one of them."""

    def __init__(self, ignores: Sequence[Ignore]) -> None:
        self._everywhere = [ignore for ignore in ignores if ignore.lines is None]
        self._local: dict[tuple[int, int], list[Ignore]] = {}
        for ignore in ignores:
            if ignore.lines is not None:
                self._local.setdefault(ignore.lines, []).append(ignore)
        self._ranges = sorted(self._local)

    def silencing(self, finding: Finding) -> Iterator[Ignore]:
        """Those that speak of a finding. Instructions, and so the lines of ignores, do not overlap."""
        place = bisect_right(self._ranges, (finding.start[0], sys.maxsize)) - 1
        near = self._local[self._ranges[place]] if place >= 0 else []
        for ignore in (*self._everywhere, *near):
            if ignore.silences(finding):
                yield ignore


def ignores_of(dockerfile: Dockerfile, *, like_hadolint: bool = False) -> tuple[Ignore, ...]:
    """Read ``# hadolint ignore=…``, ``# buildopt ignore=…``, both with ``global``, and ``# check=skip=…``.

    A comment above or inside an instruction holds for it; a global one, wherever it stands, for the file. hadolint
    takes none of a comment's names where one of them is not a code, looks only at the line right above an instruction,
    and knows nothing of BuildKit's.
    """
    lines = {
        comment.span: instruction.lines
        for instruction in dockerfile.instructions
        for comment in instruction.comments
        if not like_hadolint or dockerfile.source.position(comment.span.start)[0] + 1 == instruction.lines[0]
    }
    found = [] if like_hadolint else list(_skipped_checks(dockerfile))
    for comment in dockerfile.comments:
        text = dockerfile.source.text[comment.span.start : comment.span.end]
        for match in _PRAGMA.finditer(text):
            if like_hadolint and match[1].lower() == "hadolint" and not _CODES.fullmatch(match[3]):
                continue
            where = None if match[2] else lines.get(comment.span, (0, 0))
            listed = Span(comment.span.start + match.start(3), comment.span.start + match.end(3))
            found += (Ignore(name, span, where, comment.span, listed) for name, span in _names(dockerfile, listed))
    return tuple(found)


def _names(dockerfile: Dockerfile, listed: Span) -> Iterator[tuple[str, Span]]:
    for match in _NAME.finditer(dockerfile.source.text, listed.start, listed.end):
        yield match[0].lower(), Span(*match.span())


def _skipped_checks(dockerfile: Dockerfile) -> Iterator[Ignore]:
    """The names behind ``# check=skip=`` as BuildKit takes them: the last list, no blanks removed, no case forgiven."""
    directive = dockerfile.directive("check")
    if directive is None:
        return
    listed = None
    start = directive.value_span.start
    for part in directive.value.split(";"):
        if part.startswith("skip="):
            listed = Span(start + len("skip="), start + len(part))
        start += len(part) + 1
    position = listed.start if listed is not None else 0
    for name in dockerfile.source.text[listed.start : listed.end].split(",") if listed is not None else ():
        if name:
            span = Span(position, position + len(name))
            yield Ignore(name, span, None, directive.value_span, listed or span, directive=True)
        position += len(name) + 1
