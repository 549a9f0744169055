"""Stages that share files, what leaves them, and the commands that make the same on every platform."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.installs import with_folders
from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.context_reads import descendants
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import mount_options
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.splits import No
from buildopt.source import Edit

PLATFORM_NAMES = frozenset(
    f"{side}{part}" for side in ("TARGET", "BUILD") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
# Where an image keeps what belongs to its platform.
SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/go/bin", "/go/pkg", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run"),
    *("/sbin", "/sys", "/usr", "/var"),
)
# Files of an image that are the same on every platform.
_SAME_EVERYWHERE = (
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls/certs", "/etc/passwd", "/etc/group", "/etc/shadow"),
    *("/etc/nsswitch.conf", "/etc/mime.types", "/usr/share/zoneinfo", "/usr/share/ca-certificates"),
    *("/usr/local/go/lib/time/zoneinfo.zip", "/etc/localtime", "/etc/timezone", "/etc/services", "/etc/protocols"),
)
_QUIET = word_set(
    "[ : addgroup adduser cat cd chmod chown chgrp date echo egrep exit export false find getent git grep groupadd "
    "head id ls mkdir printf pwd rm rmdir sed set sleep sort tail test touch tr true umask unset "
    "update-ca-certificates useradd usermod wc whoami curl wget"
)
_MOVING = word_set("cp mv")
_INSTALLING = word_set("install add update upgrade clean autoremove autoclean remove purge del cache")
_ASKING = re.compile(
    r"\buname\b|\barch\b(?!ive)|--print-arch|print-architecture|\bgetconf\b|\blscpu\b|HOSTTYPE|MACHTYPE|cpuinfo|\bldd\b"
    r"|\bnproc\b(?=\s*>)|x86_64|aarch64|armv[5-8]|arm64|amd64|DEB_[A-Z]+_ARCH|dpkg-architecture|rustc -vV"
)


@dataclass(frozen=True, slots=True)
class Family:
    """An image and the stages that start from it: all of them run on one platform."""

    dockerfile: Dockerfile
    stages: tuple[Stage, ...]
    context: Path | None

    @property
    def root(self) -> Stage:
        """The stage whose FROM names the image."""
        return self.stages[0]

    @property
    def indexes(self) -> frozenset[int]:
        """The indexes of its stages."""
        return frozenset(stage.index for stage in self.stages)

    @property
    def runs(self) -> list[Run]:
        """The RUN instructions of its stages that a shell executes."""
        return [run for run in runs(self.dockerfile) if run.stage.index in self.indexes]

    @property
    def instructions(self) -> Iterator[Instruction]:
        """All instructions of its stages."""
        for stage in self.stages:
            yield from stage.instructions


@dataclass(frozen=True, slots=True)
class Taken:
    """What a stage takes from another family. ``path`` is absolute, None where it is not known."""

    origin: int
    stage: Stage
    instruction: Instruction
    path: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A family that may run on the builder's platform. ``outputs`` are programs for the target, by their exact paths.

    ``edits`` are those beside that of FROM. ``mixed``: its folders hold modules for the platform that it runs on, so
    that only what is known to be made for none may leave it. ``helper``: it compiles nothing, and moves only along
    with those that take from it.
    """

    family: Family
    title: str
    why: str
    outputs: frozenset[str] = frozenset()
    edits: tuple[Edit, ...] = ()
    mixed: bool = False
    lines: tuple[int, ...] = ()
    helper: bool = False


def families(dockerfile: Dockerfile, context: Path | None) -> list[Family]:
    """All families of a file."""
    return [
        Family(dockerfile, tuple(descendants(dockerfile, stage)), context)
        for stage in dockerfile.stages
        if stage.base_index is None
    ]


def taken(dockerfile: Dockerfile) -> Iterator[Taken]:
    """Everything that one stage takes from another one by COPY or a mount."""
    known = states(dockerfile)
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            state = known[instruction.span.start]
            for name, source in _sources(instruction):
                origin = dockerfile.stage(name, stage.index)
                if origin is None:
                    continue
                path = state.value(source, dockerfile.escape)
                absolute = None if path is None else posixpath.normpath(posixpath.join("/", path))
                yield Taken(origin.index, stage, instruction, absolute)


def _sources(instruction: Instruction) -> Iterator[tuple[str, str]]:
    origin = instruction.flag("from")
    if instruction.keyword == "COPY" and origin is not None:
        for word in instruction.words[:-1]:
            yield origin.value or "", word.text
    for flag in instruction.flags_named("mount") if instruction.keyword == "RUN" else ():
        options = mount_options(flag.value or "")
        if options.get("from"):
            yield options["from"], options.get("source", "/")


def check(family: Family) -> None:
    """What must hold for every kind of family. Raises No."""
    dockerfile = family.dockerfile
    read = {run.instruction.span for run in family.runs if run.script.complete}
    for instruction in family.instructions:
        if instruction.keyword == "ONBUILD":
            raise No(instruction, "ONBUILD may need the platform that is asked for")
        if instruction.keyword == "RUN" and instruction.span not in read:
            raise No(instruction, "this RUN cannot be read to the end")
        if instruction.keyword == "ARG":
            for pair in instruction.pairs:
                if pair.key.text in PLATFORM_NAMES and pair.value is not None:
                    raise No(instruction, f"{pair.key.text} has a default here, which hides the platform")
        for name, _ in _sources(instruction):
            stage = dockerfile.stage_of(instruction)
            if stage is not None and ("$" in name or dockerfile.stage(name, stage.index) is None):
                raise No(instruction, f"what {name} brings along is for the platform that is asked for")
        if instruction.keyword in ("COPY", "ADD", "ENV", "WORKDIR", "RUN"):
            named = _named_platform(instruction)
            if named:
                raise No(instruction, f"it uses {named} itself")


def _named_platform(instruction: Instruction) -> str:
    """The platform variable that an instruction uses, but for telling Go its target."""
    text = " ".join([instruction.arguments.text, *(heredoc.body.text for heredoc in instruction.heredocs)])
    told = r"\bGO(?:OS|ARCH|ARM)(?:=|\s+)[\"']?\$\{?TARGET(?:OS|ARCH|VARIANT)(?:#v|:?-[a-z0-9]*)?\}?[\"']?"
    text = re.sub(told, " ", text)
    found = re.search(r"(?<![A-Za-z0-9_])(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)(?![A-Za-z0-9_])", text)
    return found.group() if found else ""


def command_problem(command: Command, folder: str | None) -> str:
    """Why a command that is none of the family's own may make something else on another platform; empty if not."""
    shown = " ".join(word.raw for word in command.words)[:60]
    asked = _ASKING.search(shown if command.name in ("echo", "printf") else " ".join(w.raw for w in command.words))
    if asked is not None:
        return f"`{shown}` asks for the platform, or names one"
    name = command.name
    if not command.words:
        values = " ".join(item.value.raw for item in command.assignments)
        return "a variable names a platform" if _ASKING.search(values) else ""
    if name is None:
        return f"what `{shown}` runs is not known"
    use = recognise(command)
    if use is not None and use.manager.name in ("apt", "apk", "dnf"):
        odd = {"--root", "-p", "--installroot"} & set(command.texts)
        return "" if use.subcommand in _INSTALLING and not odd else f"`{shown}` may leave files of one platform"
    if name in _MOVING:
        for word in command.arguments:
            text = word.text
            if text is not None and text.startswith("-"):
                continue
            path = None if text is None or folder is None else posixpath.normpath(posixpath.join(folder, text))
            if path is None or not movable(path):
                return f"`{shown}` may move what belongs to one platform"
        return ""
    texts = command.texts
    writes = bool(command.redirects) or command.operator in ("|", "|&")
    if name == "find" and any(text.startswith(("-exec", "-ok", "-fprint")) for text in texts):
        return f"what `{shown}` runs is not known"
    if (
        writes
        and name != "echo"
        and any(text.startswith("/") and not movable(posixpath.normpath(text)) for text in texts)
    ):
        return f"`{shown}` may write down what belongs to one platform"
    return "" if name in _QUIET else f"`{shown}` may make something else on another platform"


def movable(path: str) -> bool:
    """Whether what lies at a path was put there by the stage itself, or is the same on every platform."""
    if any(relation(path, same) is Relation.INSIDE for same in _SAME_EVERYWHERE):
        return True
    return path != "/" and all(relation(path, folder) is Relation.NONE for folder in SYSTEM_FOLDERS)


def commands(family: Family) -> Iterator[tuple[Run, Command, str | None]]:
    """The commands of a family's stages, each with its folder."""
    for run in family.runs:
        for command, folder in with_folders(run):
            yield run, command, folder


def built_by_itself(family: Family) -> str:
    """The Compose file of the context that builds one of the stages by its name; empty where none does."""
    names = {stage.name for stage in family.stages if stage.name is not None}
    for path in _compose_files(family.context):
        try:
            text = read_text(path)
        except OSError:
            continue
        if names.intersection(
            word.lower() for word in re.findall(r"^\s*target:\s*[\"']?([\w.-]+)", text, re.MULTILINE)
        ):
            return path.name
    return ""


def _compose_files(context: Path | None) -> Sequence[Path]:
    if context is None:
        return ()
    return [path for pattern in ("compose*.y*ml", "docker-compose*.y*ml") for path in sorted(context.glob(pattern))]
