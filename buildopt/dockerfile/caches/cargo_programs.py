"""What other stages take out of ``target``, to be taken from a folder that is there when the RUN is over."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.cargo_build import CargoBuild
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.scope import mount_options
from buildopt.source import Span

_PROGRAM = re.compile(r"target/(?:[\w.-]+/)?(?:release|debug|[\w-]+)/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Program:
    """A file below ``target`` that a COPY takes: ``path`` relative to the project, ``word`` where the COPY names it."""

    path: str
    word: Span

    @property
    def name(self) -> str:
        """The file's own name."""
        return posixpath.basename(self.path)


def programs(dockerfile: Dockerfile, build: CargoBuild) -> tuple[Program, ...]:
    """Each program that is taken out of ``target``, in order of the file. Raises No where something else is."""
    found: list[Program] = []
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            found += _taken(dockerfile, build, stage, instruction)
    if len({item.path for item in found}) != len({item.name for item in found}):
        raise No(build.run.line, "two programs have one name")
    moved = copied_by_hand(build)
    if not found and not moved:
        raise No(build.run.line, "nothing takes a program out of target")
    if found and moved:
        raise No(build.run.line, "programs are taken out of target in two ways")
    return tuple(found)


def copied_by_hand(build: CargoBuild) -> list[str]:
    """The programs that the RUN itself copies out, relative to the project. Raises No where they are not named."""
    found: dict[str, None] = {}
    for command in build.run.commands:
        if command.name not in ("cp", "mv", "install"):
            continue
        operands = [text for text in command.texts if not text.startswith("-")]
        for text in operands[:-1]:
            path = posixpath.normpath(posixpath.join(build.project, text))
            if relation(path, build.target) is Relation.NONE:
                continue
            below = path[len(build.project) + 1 :]
            if not _is_program(build, below):
                raise No(build.run.line, f"which programs `{command.name}` takes out of target is not known")
            found[below] = None
        if operands and relation(posixpath.join(build.project, operands[-1]), build.target) is not Relation.NONE:
            raise No(build.run.line, f"`{command.name}` may put something into target that is needed later")
    return list(found)


def _taken(dockerfile: Dockerfile, build: CargoBuild, stage: Stage, instruction: Instruction) -> Iterator[Program]:
    for flag in instruction.flags_named("mount"):
        origin = mount_options(flag.value or "").get("from")
        if origin and _is_ours(dockerfile, build, stage, origin):
            raise No(instruction.lines[0], "the build stage is mounted, without what is in target then")
    copy_from = instruction.flag("from")
    if instruction.keyword != "COPY" or copy_from is None or not copy_from.value:
        return
    if not _is_ours(dockerfile, build, stage, copy_from.value):
        return
    state = states(dockerfile)[instruction.span.start]
    for word in instruction.words[:-1]:
        text = state.value(word.text, dockerfile.escape)
        path = posixpath.normpath(posixpath.join("/", text)) if text is not None else None
        if path is None:
            raise No(instruction.lines[0], "what is copied is only known at build time")
        where = relation(path, build.target)
        if where is Relation.PARENT:
            raise No(instruction.lines[0], f"{word.text} is copied with all of target in it")
        if where is Relation.INSIDE:
            below = path[len(build.project) + 1 :]
            plain = instruction.exec_form is False and "$" not in word.text and not instruction.flag("parents")
            if not _is_program(build, below) or not plain:
                raise No(instruction.lines[0], f"{word.text} is no program that cargo puts there")
            yield Program(below, word.span)


def _is_program(build: CargoBuild, path: str) -> bool:
    return _PROGRAM.fullmatch(path) is not None and posixpath.basename(path) in build.linked


def _is_ours(dockerfile: Dockerfile, build: CargoBuild, stage: Stage, origin: str) -> bool:
    if "$" in origin:
        raise No(stage.origin.lines[0], "which stage is copied from is only known at build time")
    return dockerfile.stage(origin, stage.index) is build.run.stage
