"""``--mount=type=cache``: reading those that are there, writing new ones in the author's style."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.source import Edit, Span


@dataclass(frozen=True, slots=True)
class Mount:
    """A ``--mount`` of a RUN, as far as it matters here."""

    kind: str
    target: str
    origin: str | None
    source: str

    def covers(self, path: str) -> bool:
        """Whether the path lies in it."""
        return path == self.target or path.startswith(f"{self.target.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A cache mount to add. ``sharing`` is left out where it is ``shared``, the default.

    ``argument`` is an ARG that ``identity`` holds, to be declared before; ``owner`` and ``group`` are numbers.
    """

    target: str
    sharing: str = "shared"
    identity: str = ""
    owner: int = 0
    group: int = 0
    argument: str = ""

    @property
    def flag(self) -> str:
        """As it is written."""
        parts = ["--mount=type=cache"]
        if self.identity:
            parts.append(f"id={self.identity}")
        parts.append(f"target={self.target}")
        if self.sharing != "shared":
            parts.append(f"sharing={self.sharing}")
        if self.owner:
            parts.append(f"uid={self.owner},gid={self.group}")
        return ",".join(parts)


def mounts(instruction: Instruction) -> tuple[Mount, ...]:
    """The mounts that a RUN has."""
    found = []
    for flag in instruction.flags_named("mount"):
        options: dict[str, str] = {}
        for part in (flag.value or "").split(","):
            key, _, value = part.partition("=")
            options[key.strip().lower()] = value.strip().strip("\"'")
        target = options.get("target") or options.get("dst") or options.get("destination") or ""
        source = options.get("source") or options.get("src") or "/"
        target = posixpath.normpath(target) if target else ""
        found.append(Mount(options.get("type", "bind"), target, options.get("from"), source))
    return tuple(found)


def insertion(dockerfile: Dockerfile, instruction: Instruction, wanted: Sequence[CacheMount]) -> Edit:
    """The edit that gives a RUN its mounts, each on a line of its own, the command below them."""
    text = dockerfile.source.text
    joint = f" {dockerfile.escape}{dockerfile.source.newline}{indent(dockerfile, instruction)}"
    start = instruction.flags[-1].span.end if instruction.flags else instruction.keyword_span.end
    first = instruction.arguments.offset(0)
    flags = joint.join(mount.flag for mount in wanted)
    before = joint if instruction.flags else " "
    if "\n" in text[start:first]:
        return Edit(Span(start, start), before + flags)
    return Edit(Span(start, first), before + flags + joint)


def declaration(dockerfile: Dockerfile, instruction: Instruction, argument: str, below: str = "") -> Edit:
    """An ARG of its own, right above an instruction and its comments, indented as it is.

    ``below``: a comment with its line break, to stand between the two.
    """
    source = dockerfile.source
    start = dockerfile.with_comments(instruction).start
    keyword = instruction.keyword_span
    own = source.text[source.line_start(instruction.lines[0]) : keyword.start]
    comment = f"{own}{below}" if below else ""
    return Edit(Span(start, start), f"{own}{dockerfile.cased('ARG')} {argument}{source.newline}{comment}")


def indent(dockerfile: Dockerfile, instruction: Instruction) -> str:
    """What a command's next lines begin with: as the author's second line where that is usual, else four spaces."""
    text = dockerfile.source.text
    first, last = instruction.lines
    own = text[dockerfile.source.line_start(first) : instruction.keyword_span.start]
    own = own if not own.strip() else ""
    if last > first and not instruction.heredocs:
        start = dockerfile.source.line_start(first + 1)
        match = re.match(r"[ \t]*", text[start:])
        blank = match.group() if match else ""
        if blank.startswith(own) and blank[len(own) :] in ("  ", "   ", "    ", "\t"):
            return blank
    return f"{own}    "
