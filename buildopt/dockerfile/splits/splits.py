"""What splitting a stage has in common for all ecosystems: reading the only stage, and writing two of it."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State, base_reference
from buildopt.dockerfile.shell import Command
from buildopt.source import Edit, Source, Span

BUILD_STAGE = "build"
# Settings of the image: they belong to the runtime stage alone, wherever they stand.
MOVED = frozenset(("MAINTAINER", "LABEL", "EXPOSE", "STOPSIGNAL", "VOLUME", "CMD", "ENTRYPOINT", "HEALTHCHECK"))
# Settings that commands read too: both stages get them.
COPIED = frozenset(("ENV", "WORKDIR", "ARG"))
# Users that every distribution has.
SYSTEM_USERS = frozenset(("root", "nobody", "www-data", "daemon"))
_TAIL = MOVED | COPIED | {"USER", "COPY", "ADD"}
_BUILD_NAME = re.compile(r"(?:\w+[-_])?(?:build(?:er)?|compiler?)(?:[-_]?(?:stage|env|image|base))?")
# Files that may say what is to be built.
_MAY_BUILD = re.compile(
    r".*\.(?:ya?ml|json|toml|hcl|sh|bash|mk|ps1|bat|md|tf|bzl|py)|(?i:makefile|justfile|taskfile|jenkinsfile|tiltfile).*"
)
_REFERENCE = re.compile(r"(?<!\\)\$\{?([A-Za-z_]\w*)")


class No(Exception):
    """The file is left alone: where the reason stands, and the reason in one line."""

    def __init__(self, instruction: Instruction, reason: str) -> None:
        super().__init__(reason)
        self.line = instruction.lines[0]
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Subject:
    """A file with one stage. ``known`` is ``states(dockerfile)``, ``runs`` are the stage's RUNs in order."""

    dockerfile: Dockerfile
    stage: Stage
    known: dict[int, State]
    runs: Sequence[Run]
    context: Path | None

    @property
    def source(self) -> Source:
        """The text."""
        return self.dockerfile.source

    @property
    def origin(self) -> Instruction:
        """FROM."""
        return self.stage.origin

    @property
    def body(self) -> tuple[Instruction, ...]:
        """All behind FROM."""
        return self.stage.instructions[1:]

    @property
    def final(self) -> State:
        """The state at the stage's end."""
        return self.known[-1]

    @property
    def head(self) -> tuple[Instruction, ...]:
        """What belongs to the build: up to the last RUN, which is included. Empty where there is no RUN."""
        return self.body[: self._boundary]

    @property
    def tail(self) -> tuple[Instruction, ...]:
        """What comes behind the last RUN."""
        return self.body[self._boundary :]

    @property
    def _boundary(self) -> int:
        return max((index + 1 for index, item in enumerate(self.body) if item.keyword == "RUN"), default=0)

    @property
    def base(self) -> str:
        """The base image's reference, defaults of ARGs put in."""
        return base_reference(self.dockerfile, self.stage)

    @property
    def written_base(self) -> str:
        """The base image as it is written, variables and all."""
        return self.stage.image.text if self.stage.image is not None else ""

    def entry(self) -> Instruction | None:
        """What a container starts: the last ENTRYPOINT, or else the last CMD."""
        entries = [item for item in self.body if item.keyword in ("CMD", "ENTRYPOINT")]
        entry = next((item for item in reversed(entries) if item.keyword == "ENTRYPOINT"), None)
        return entry or (entries[-1] if entries else None)

    def last(self, keyword: str) -> Instruction | None:
        """The last instruction of a kind."""
        return next((item for item in reversed(self.body) if item.keyword == keyword), None)


@dataclass(frozen=True, slots=True)
class Fork:
    """Two stages that start from the first part of the build stage, which becomes a stage of its own.

    That part goes up to ``behind``, has ``added`` at its end and is called ``common``. The stage ``other`` runs
    ``lines`` there, the build stage the rest of the head. Without ``other`` the two are the build stage, which starts
    with ``lines``, and the runtime stage, whose image ``common`` is.
    """

    behind: Instruction
    common: str
    other: str
    lines: tuple[str, ...]
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """How a file is to be split.

    ``image`` is the runtime stage's base, as it is to be written. ``copies`` are the lines that bring what is shipped,
    in order, mostly ``COPY --from=build PATH PATH`` (`copy_line` writes one). ``replayed`` are the offsets of
    instructions of the head that the runtime stage runs as well, ``relocated`` of those that it runs instead of the
    build stage; both stand before ``copies``, in the order of the file, among ENV, WORKDIR and ARG. ``environment`` are
    lines right before the copies, ``first`` right behind FROM. ``workdir`` is the working folder of the old base where
    the new one has another one. ``texts`` are the words of replayed instructions that are to be written otherwise.
    ``finish`` are lines at the end of the build stage. With ``fork`` there are three or four stages. ``changed`` are
    the words of instructions that are written otherwise where they stand, empty for those that are taken out.
    """

    image: str
    copies: tuple[str, ...]
    title: str
    why: str
    replayed: frozenset[int] = frozenset()
    relocated: frozenset[int] = frozenset()
    environment: tuple[str, ...] = ()
    workdir: str | None = None
    first: tuple[str, ...] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    finish: tuple[str, ...] = ()
    fork: Fork | None = None
    changed: Mapping[int, str] = field(default_factory=dict)


class Splitter(Protocol):
    """An ecosystem: a module with these two."""

    def concerns(self, subject: Subject) -> bool:
        """Whether the file is of this ecosystem, so that a refusal is worth a word."""
        ...

    def plan(self, subject: Subject) -> Split:
        """How to split it. Raises No with the reason not to."""
        ...


def plain_stage(subject: Subject) -> None:
    """Refuse what makes any split uncertain. Raises No."""
    stage = subject.stage
    if stage.name is not None and stage_names(subject)[1] is None and _is_target(subject, stage.name):
        raise No(stage.origin, f"the stage has a name: something may build it with --target {stage.name}")
    if stage.platform is not None:
        raise No(stage.origin, "FROM names a platform")
    if not subject.head:
        raise No(stage.origin, "no RUN builds a program here")
    for instruction in stage.instructions:
        if instruction.keyword in ("ONBUILD", "SHELL"):
            raise No(instruction, f"{instruction.keyword} is not moved between stages")
        if instruction.heredocs and instruction.keyword != "RUN":
            raise No(instruction, "a file written by a heredoc may be needed at run time")
    for run in subject.runs:
        if run.script is None or not run.script.complete:
            raise No(run.instruction, "this RUN cannot be read to the end")
    for instruction in subject.tail:
        if instruction.keyword not in _TAIL:
            raise No(instruction, f"{instruction.keyword} behind the build is not understood")


def stage_names(subject: Subject) -> tuple[str, str | None]:
    """What the build stage and the runtime stage are called.

    The runtime stage takes over the name of the only stage, so that `--target` leads to the same image as before; a
    name that is one of a build stage stays with it.
    """
    name = subject.stage.name
    if name is None:
        return BUILD_STAGE, None
    if _BUILD_NAME.fullmatch(name):
        return name, None
    return BUILD_STAGE, name


def _is_target(subject: Subject, name: str) -> bool:
    """Whether a file of the context may ask for a stage of this name; without a context nothing is known."""
    if subject.context is None:
        return True
    asks = re.compile(rf"target\W+{re.escape(name)}\b", re.IGNORECASE)
    for folder, names, files in os.walk(subject.context):
        names[:] = [item for item in names if item not in ("node_modules", "vendor", ".git", "target")]
        for item in files:
            try:
                path = Path(folder, item)
                small = _MAY_BUILD.fullmatch(item) and path.stat().st_size < 1 << 20
                if small and asks.search(read_text(path)):
                    return True
            except OSError:
                continue
    return False


def plain_copy(instruction: Instruction) -> None:
    """Refuse a COPY or ADD whose content is not the context's own. Raises No."""
    if instruction.flag("from") is not None:
        raise No(instruction, "what it copies from another image may be needed at run time")
    for word in instruction.words[:-1]:
        if "://" in word.text or word.text.startswith("git@"):
            raise No(instruction, "what it downloads may be needed at run time")
        if instruction.keyword == "ADD" and re.search(r"\.(?:t?gz|t?xz|t?bz2|tar|zst)$", word.text):
            raise No(instruction, "what it unpacks may be needed at run time")
        if "$" in word.text:
            raise No(instruction, "what it copies depends on a variable")


def known_variables(subject: Subject, base_names: Collection[str], base: str) -> None:
    """Refuse settings that lean on what only the old base image sets. ``base`` is its name. Raises No."""
    for instruction in subject.body:
        if instruction.keyword in ("RUN", "COPY", "ADD"):
            continue
        state = subject.known[instruction.span.start]
        runtime = instruction.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK")
        for name in _REFERENCE.findall(instruction.arguments.text):
            defined = name in state.environment or name in state.arguments
            if (name in base_names or not runtime) and not defined:
                raise No(instruction, f"${name} is what the {base} image sets")


def known_user(instructions: Iterable[Instruction], made: Collection[str] = ()) -> None:
    """Refuse a USER that the runtime image may lack; ``made`` are those that its RUNs make. Raises No."""
    for instruction in instructions:
        if instruction.keyword == "USER":
            name = instruction.arguments.text.split(":")[0]
            if not name.isdigit() and name not in SYSTEM_USERS and name not in made:
                raise No(instruction, f"the smaller image may have no user {name}")


def uncovered(subject: Subject, paths: Iterable[str]) -> None:
    """Refuse a VOLUME that may lie over what is shipped. Raises No."""
    for instruction in subject.body:
        if instruction.keyword == "VOLUME":
            covers = any(relation(path, value) is Relation.INSIDE for path in paths for value in instruction.values)
            if covers or "$" in instruction.arguments.text:
                raise No(instruction, "the volume may cover the program")


def writes_files(command: Command) -> bool:
    """Whether a redirection makes a file."""
    return any(
        item.target is not None and item.target.text not in ("/dev/null", "1", "2") for item in command.redirects
    )


def copy_line(subject: Subject, path: str, target: str = "", chown: str = "") -> str:
    """``COPY --from=build PATH TARGET`` in the file's casing; ``target`` is ``path`` where it is left out."""
    flags = f" --chown={chown}" if chown else ""
    return f"{casing(subject)('COPY')} --from={stage_names(subject)[0]}{flags} {path} {target or path}"


def casing(subject: Subject) -> Callable[[str], str]:
    """What writes a keyword as the file does."""
    return subject.dockerfile.cased


def edits(subject: Subject, split: Split) -> list[Edit]:
    """The two stages. Raises No where an instruction cannot stand in both."""
    source = subject.source
    newline = source.newline
    word = casing(subject)
    image = subject.stage.image
    assert image is not None
    build, runtime = stage_names(subject)
    lines: list[str] = [f"{word('FROM')} {split.image}", *split.first]
    first = split.fork.common if split.fork is not None else build
    made = _forked(subject, split.fork) if split.fork is not None else []
    if subject.stage.name is None:
        made.append(Edit(Span(image.span.end, image.span.end), f" {_as(subject)} {first}"))
    else:
        name = subject.origin.words[-1]
        lines[0] += f" {word('AS')} {name.text}" if runtime is not None else ""
        if name.text != first:
            made.append(Edit(name.span, first))
    if split.workdir is not None and not any(item.keyword == "WORKDIR" for item in subject.body):
        lines.append(f"{word('WORKDIR')} {split.workdir}")
    for instruction in subject.head:
        start = instruction.span.start
        if start in split.changed:
            made.append(_changed(subject, instruction, split.changed[start]))
        if instruction.keyword in MOVED or start in split.relocated:
            whole = subject.dockerfile.with_comments(instruction)
            lines.append(_unbroken(source.text[whole.start : whole.end]))
            last = instruction is subject.head[-1]  # the runtime stage is written right behind it
            made.append(Edit(whole if last else _with_a_blank_line(source, whole), ""))
        elif _inherited(split, instruction):
            continue
        elif start in split.replayed or (instruction.keyword in COPIED and _is_needed(subject, split, instruction)):
            text = split.texts.get(start) or _restated(subject, instruction)
            lines.append(_unbroken(text))
    lines += (*split.environment, *split.copies)
    end = subject.dockerfile.whole_lines(subject.head[-1]).end
    rest = end
    for edit in sorted(made, key=lambda edit: edit.span.start, reverse=True):
        rest = edit.span.start if edit.span.end == rest and not edit.text else rest
    blank = rest < end and not split.finish and re.search(r"\n[ \t]*\r?\n$", source.text[:rest]) is not None
    text = newline.join((*split.finish, *(() if blank else ("",)), *lines)) + newline
    if end and source.text[end - 1] != "\n":
        text = newline + text
    made.append(Edit(Span(end, end), text))
    return made


def _forked(subject: Subject, fork: Fork) -> list[Edit]:
    """The lines between the common stage and the rest of the build stage."""
    source, word = subject.source, casing(subject)
    end = subject.dockerfile.whole_lines(fork.behind).end
    match = re.match(r"(?:[ \t]*\r?\n)*", source.text[end:])
    assert match is not None
    begin = f"{word('FROM')} {fork.common} {_as(subject)}"
    build = f"{begin} {stage_names(subject)[0]}"
    if fork.other:
        lines = (*fork.added, "", f"{begin} {fork.other}", *fork.lines, "", build)
    else:
        lines = (*fork.added, "", build, *fork.lines)
    return [Edit(Span(end, end + match.end()), source.newline.join(lines) + source.newline)]


def _inherited(split: Split, instruction: Instruction) -> bool:
    """Whether the runtime stage has it from the stage that it starts from."""
    fork = split.fork
    return fork is not None and not fork.other and instruction.span.start <= fork.behind.span.start


def _changed(subject: Subject, instruction: Instruction, text: str) -> Edit:
    if text:
        return Edit(instruction.span, text)
    whole = subject.dockerfile.with_comments(instruction)
    last = instruction is subject.head[-1]
    return Edit(whole if last else _with_a_blank_line(subject.source, whole), "")


def _as(subject: Subject) -> str:
    upper = subject.source.text[subject.origin.keyword_span.start] == "F"
    return "AS" if upper else "as"


def _restated(subject: Subject, instruction: Instruction) -> str:
    """An instruction as it is written in the second stage: what a build check warns of is not written twice.

    Raises No where it cannot be written otherwise.
    """
    text = subject.source.text[instruction.span.start : instruction.span.end]
    state = subject.known[instruction.span.start]
    word = casing(subject)(instruction.keyword)
    if instruction.keyword == "ENV" and any(pair.legacy for pair in instruction.pairs):
        pair = instruction.pairs[0]
        value = _quoted(pair.value.text if pair.value is not None else "", subject.dockerfile.escape)
        if value is None or any(comment.inside for comment in instruction.comments):
            raise No(instruction, "the old form of ENV would stand in both stages")
        return f"{word} {pair.key.text}={value}"
    if instruction.keyword == "WORKDIR" and not instruction.arguments.text.startswith(("/", "$", '"', "'")):
        earlier = [
            item for item in subject.body if item.keyword == "WORKDIR" and item.span.start < instruction.span.start
        ]
        below = state.value(instruction.arguments.text, subject.dockerfile.escape)
        if not any(item.arguments.text.startswith("/") for item in earlier):
            if state.workdir is None or below is None:
                raise No(instruction, f"WORKDIR is relative to the {state.base.repository} image's own")
            return f"{word} {posixpath.normpath(posixpath.join(state.workdir, below))}"
    return text


def _quoted(value: str, escape: str) -> str | None:
    """The value of the old form of ENV behind an equals sign; None where that is not plainly the same."""
    if not re.search(r"\s", value):
        return value if not value.endswith(escape) else None
    whole = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    inner = value[1:-1] if whole else value
    if re.search(r"[\"']", inner) or escape in inner:
        return None
    return value if whole else f'"{value}"'


def _is_needed(subject: Subject, split: Split, instruction: Instruction) -> bool:
    """An ARG is needed again only where something in the runtime stage speaks of it."""
    if instruction.keyword != "ARG":
        return True
    names = {pair.key.text for pair in instruction.pairs}
    ours = split.replayed | split.relocated
    later = [
        *(item for item in subject.head if item.keyword in MOVED | {"ENV", "WORKDIR"} or item.span.start in ours),
        *subject.tail,
    ]
    return any(names.intersection(_REFERENCE.findall(item.logical.text)) for item in later)


def _with_a_blank_line(source: Source, lines: Span) -> Span:
    """Whole lines with the blank line behind them, where there is one before them too."""
    before = source.text[: lines.start].rstrip(" \t")
    match = re.match(r"[ \t]*\r?\n", source.text[lines.end :])
    if match is None or not re.search(r"\n[ \t]*\r?\n$", before):
        return lines
    return Span(lines.start, lines.end + match.end())


def _unbroken(text: str) -> str:
    return text.rstrip("\r\n")
