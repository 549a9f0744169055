"""What a build's context leaves out: ``.dockerignore``, read and matched as Docker does it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.source import MAX_BYTES

_LITERAL = frozenset(".+()|{}$^")
_WHOLE = ("*", "**", "**/*")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line. ``keeps``: it began with ``!``, and takes back what those before it left out."""

    text: str
    keeps: bool
    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Whether it is about this path, or about a folder above it."""
        parts = path.split("/")
        return any(self.expression.fullmatch("/".join(parts[:count])) for count in range(len(parts), 0, -1))

    def reaches_below(self, path: str) -> bool:
        """Whether it may be about something inside the folder ``path``."""
        own, parts = self.text.split("/"), path.split("/")
        for mine, theirs in zip(own, parts, strict=False):
            if "**" in mine:
                return True
            if not _expression(mine).fullmatch(theirs):
                return False
        return len(own) > len(parts)


@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns of an ignore file, whose path is ``path``."""

    path: str
    patterns: tuple[Pattern, ...]

    def hides(self, path: str) -> bool:
        """Whether nothing of a path, relative to the context, is sent to the build; ``.`` is the context itself."""
        keeping = [pattern for pattern in self.patterns if pattern.keeps]
        if path == ".":
            return not keeping and any(pattern.text in _WHOLE for pattern in self.patterns)
        if not self.leaves_out(path):
            return False
        return not any(pattern.reaches_below(path) for pattern in keeping)

    def leaves_out(self, path: str) -> bool:
        """Whether the last pattern that is about a path leaves it out; something below it may be kept."""
        out = False
        for pattern in self.patterns:
            if pattern.keeps == out and pattern.matches(path):
                out = not pattern.keeps
        return out


def ignored_by(dockerfile: str) -> Ignored | None:
    """What a Dockerfile's own ignore file, else the one beside it, leaves out.

    None where the Dockerfile is no file, neither is there, or Docker would refuse it.
    """
    path = Path(dockerfile)
    try:
        if not path.is_file():
            return None
        for candidate in (path.with_name(f"{path.name}.dockerignore"), path.with_name(".dockerignore")):
            if candidate.is_file() and candidate.stat().st_size <= MAX_BYTES:
                patterns = read_patterns(candidate.read_text(encoding="utf-8-sig", errors="surrogateescape"))
                return None if patterns is None else Ignored(candidate.name, tuple(patterns))
    except (OSError, ValueError):  # unreadable, or a name that no file can have
        return None
    return None


def read_patterns(text: str) -> Sequence[Pattern] | None:
    """The patterns of an ignore file; None where one of them is malformed."""
    found = []
    for line in text.split("\n"):
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            continue
        keeps = pattern.startswith("!")
        pattern = pattern[1:].strip() if keeps else pattern
        if not pattern:
            return None
        pattern = posixpath.normpath(pattern)
        pattern = "/" if pattern in ("/", "//") else pattern.lstrip("/")
        try:
            found.append(Pattern(pattern, keeps, _expression(pattern)))
        except re.error:
            return None
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression. Raises re.error where it is malformed."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*" and pattern.startswith("*", position):
            position += 1
            parts.append(_any_folders(pattern, position, first=position == 2))
            position += pattern.startswith("/", position)
        elif char in "*?":
            parts.append("[^/]*" if char == "*" else "[^/]")
        elif char == "[":
            end = _end_of_class(pattern, position)
            parts.append(pattern[position - 1 : end].replace("[[", "[\\["))
            position = end
        elif char == "\\":
            if position == len(pattern):
                raise re.error("nothing behind the escape character", pattern, position)
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            parts.append(f"\\{char}" if char in _LITERAL else re.escape(char))
    return re.compile("".join(parts), re.DOTALL)


def _any_folders(pattern: str, position: int, *, first: bool) -> str:
    """What stands for the ``**`` that ends at ``position``: any number of folders, at the end anything."""
    if position >= len(pattern) or pattern[position:] == "/":
        return ".*"
    plain = not re.search(r"[*?\[\\]", pattern[position:])
    if first and plain and pattern[position] != "/":
        return ".*"  # `**name` is about whatever ends so
    return "(?:.*/)?"


def _end_of_class(pattern: str, position: int) -> int:
    """Where the ``[…]`` ends whose bracket stands before ``position``."""
    end = position + 1 if pattern.startswith("^", position) else position
    first = end
    while end < len(pattern) and (pattern[end] != "]" or end == first):
        end += 2 if pattern[end] == "\\" else 1
    if end >= len(pattern) or end == first:
        raise re.error("a bracket is never closed", pattern, position)
    return end + 1
