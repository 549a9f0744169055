"""What COPY, ADD and bind mounts read of a build context, where it goes, and whether that stays behind."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildopt.dockerfile.context import read_patterns
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.state import State, states
from buildopt.dockerfile.scope import mount_options, shipped_stages

_REMOTE = re.compile(r"(?:https?|git|ssh|ftp)://|git@")
_GLOB = re.compile(r"[*?\[\\]")
# Images whose working folder is known to be /; those of others only count where the file says it.
_AT_ROOT = frozenset(
    (
        *("alpine", "buildpack-deps", "debian", "eclipse-temurin", "gcc", "golang", "maven", "node", "python", "ruby"),
        *("rust", "scratch", "ubuntu"),
    )
)


@dataclass(frozen=True, slots=True)
class Read:
    """One source of one instruction, relative to the context; ``.`` is all of it.

    ``folder`` is where what lies in a folder ``source`` goes to, None where that is not known.
    """

    stage: Stage
    instruction: Instruction
    source: str
    folder: str | None

    def covers(self, path: str) -> bool:
        """Whether a path of the context lies below the folder that is read."""
        return _GLOB.search(self.source) is None and (self.source == "." or path.startswith(f"{self.source}/"))

    def names(self, path: str) -> bool:
        """Whether it asks for the path itself, for something inside it, or may do so with a wildcard."""
        if _GLOB.search(self.source) is None:
            return self.source == path or self.source.startswith(f"{path}/")
        patterns = read_patterns(self.source)
        return not patterns or patterns[0].matches(path) or patterns[0].reaches_below(path)

    def landing(self, path: str) -> str | None:
        """Where a covered path goes to in the stage."""
        if self.folder is None:
            return None
        below = path if self.source == "." else path[len(self.source) + 1 :]
        return posixpath.join(self.folder, below)


def context_reads(dockerfile: Dockerfile) -> Iterator[Read | Instruction]:
    """Every read of the context; the instruction itself where what it reads is not known."""
    known = states(dockerfile)
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            state = known[instruction.span.start]
            if instruction.keyword in ("COPY", "ADD") and instruction.flag("from") is None:
                yield from _copied(stage, instruction, state, dockerfile.escape)
            for flag in instruction.flags_named("mount") if instruction.keyword == "RUN" else ():
                options = mount_options(flag.value or "")
                if options["type"] == "bind" and not options.get("from"):
                    source = state.value(options.get("source", "."), dockerfile.escape)
                    yield instruction if source is None else Read(stage, instruction, _normal(source), None)


def _copied(stage: Stage, instruction: Instruction, state: State, escape: str) -> Iterator[Read | Instruction]:
    folder = _destination(instruction, state, escape)
    documents = {heredoc.operator for heredoc in instruction.heredocs}
    for word in instruction.words[:-1]:
        if word.span in documents or (instruction.keyword == "ADD" and _REMOTE.match(word.text)):
            continue
        source = state.value(word.text, escape)
        if source is None:
            yield instruction
            continue
        source = _normal(source)
        below = instruction.flag("parents") is not None and source != "."
        yield Read(stage, instruction, source, posixpath.join(folder, source) if folder and below else folder)


def _destination(instruction: Instruction, state: State, escape: str) -> str | None:
    text = state.value(instruction.words[-1].text, escape)
    if text is None or state.workdir is None:
        return None
    if not text.startswith("/") and state.workdir == "/" and state.base.repository not in _AT_ROOT:
        return None
    return posixpath.normpath(posixpath.join(state.workdir, text))


def _normal(source: str) -> str:
    return posixpath.normpath(f"/{source}").lstrip("/") or "."


def chain(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """A stage and those that it starts from."""
    found = [stage]
    while found[-1].base_index is not None:
        found.append(dockerfile.stages[found[-1].base_index])
    return found


def descendants(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """A stage and those that start from it: all of them have its files."""
    return [other for other in dockerfile.stages if stage in chain(dockerfile, other)]


def stays_behind(dockerfile: Dockerfile, stage: Stage, landing: str | None) -> bool:
    """Whether a path of a stage gets into no image and no stage that does not start from it."""
    if landing is None:
        return False
    having = {item.index for item in descendants(dockerfile, stage)}
    if having & shipped_stages(dockerfile):
        return False
    known = states(dockerfile)
    for other in dockerfile.stages:
        for instruction in other.instructions:
            for name, source in _taken(instruction):
                origin = dockerfile.stage(name, other.index)
                if "$" not in name and (origin is None or origin.index not in having):
                    continue
                path = known[instruction.span.start].value(source, dockerfile.escape)
                if path is None or relation(posixpath.join("/", path), landing) is not Relation.NONE:
                    return False
    return True


def _taken(instruction: Instruction) -> Iterator[tuple[str, str]]:
    """The stages that an instruction reads, and what of them."""
    origin = instruction.flag("from")
    if instruction.keyword == "COPY" and origin is not None:
        for word in instruction.words[:-1]:
            yield origin.value or "", word.text
    for flag in instruction.flags_named("mount"):
        options = mount_options(flag.value or "")
        if options.get("from"):
            yield options["from"], options.get("source", "/")
