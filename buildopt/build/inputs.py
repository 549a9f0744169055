"""What each instruction of a Dockerfile depends on, for one platform, as BuildKit counts it.

RUN: its text, the variables it sees, user, working folder, shell, hosts. COPY and ADD: their words with the variables
put in, and the files. WORKDIR: the folder and its owner. Comments, labels, times, secrets and what cache mounts hold
count nowhere. Steps are numbered as BuildKit does.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from buildopt.build import variables
from buildopt.build.context_files import Selection
from buildopt.build.plan import sounds_secret
from buildopt.build.variables import QUOTES_KEPT, Outside, Scope, Value
from buildopt.dockerfile.model import DEFAULT_SHELL, Dockerfile, Instruction, Stage
from buildopt.dockerfile.scope import is_absolute, joined, mount_options
from buildopt.history.records import Variable

_NUMBERED = frozenset(("ADD", "COPY", "RUN", "WORKDIR"))
_REMOTE = re.compile(r"(?i)(https?|git|ssh)://|git@|github\.com/")
MAIN = ""
"""The name of the context that the build is given, among those with names."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An instruction that BuildKit makes a step of. ``reads`` are its files: name of a context, selection."""

    stage: str
    number: int
    keyword: str
    line: int
    text: str
    parts: Mapping[str, str]
    variables: tuple[Variable, ...] = ()
    reads: tuple[tuple[str, Selection], ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All steps of a file for one platform, stage after stage."""

    steps: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a build brings along beside the Dockerfile: ``contexts`` maps the names of contexts to where they are."""

    outside: Outside
    contexts: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    native: str = "linux/amd64"


@dataclass(slots=True)
class _State:
    """What holds in a stage."""

    scope: Scope
    user: str = ""
    workdir: str | None = None
    shell: tuple[str, ...] = DEFAULT_SHELL
    platform: str = ""

    def copy(self) -> _State:
        return _State(self.scope.copy(), self.user, self.workdir, self.shell, self.platform)


def inputs(dockerfile: Dockerfile, settings: Settings, platform: str) -> Inputs:
    """What every step of a sound Dockerfile depends on, for one platform."""
    overall = variables.overall(dockerfile, settings.outside, platform, settings.native)
    ends: dict[int, _State] = {}
    steps: list[Planned] = []
    for stage in dockerfile.stages:
        state = _start(stage, ends, overall)
        if stage.platform is not None:
            state.platform = overall.real(stage.platform.value or "")
        reader = _Reader(dockerfile, settings, stage, overall.args, state)
        steps += reader.steps()
        ends[stage.index] = reader.state
    return Inputs(tuple(steps))


def _start(stage: Stage, ends: Mapping[int, _State], overall: Scope) -> _State:
    base = ends.get(stage.base_index) if stage.base_index is not None else None
    if base is not None:
        return base.copy()
    state = _State(Scope(overall.escape, overall.outside))
    if stage.image is not None and stage.image.text == "scratch":
        state.workdir = "/"
    return state


@dataclass(slots=True)
class _Reader:
    """Reads one stage; ``state`` is afterwards what holds at its end."""

    dockerfile: Dockerfile
    settings: Settings
    stage: Stage
    overall: Mapping[str, Value]
    state: _State
    number: int = 0

    @property
    def name(self) -> str:
        """The stage as BuildKit calls it."""
        if len(self.dockerfile.stages) == 1:
            return ""
        return self.stage.name or f"stage-{self.stage.index}"

    @property
    def counted_from(self) -> int:
        """1 where FROM is a step of its own: neither another stage nor scratch."""
        image = self.stage.image.text if self.stage.image is not None else ""
        return int(self.stage.base_index is None and image != "scratch")

    def steps(self) -> Iterator[Planned]:
        self.number = self.counted_from
        for instruction in self.stage.instructions:
            if instruction.problems:
                continue
            if instruction.keyword == "WORKDIR":
                folder = joined(self.state.workdir, self._told(instruction.words[0].text)[0])
                if folder == "/":  # there already: no step
                    self.state.workdir = folder
                    continue
            if instruction.keyword in _NUMBERED:
                self.number += 1
                step = self._step(instruction)
                yield step if self.number > self.counted_from + 1 else self._from_context(step)
            self._apply(instruction)

    def _from_context(self, step: Planned) -> Planned:
        """A stage's first step with what is known of a named context that stands for the stage's base image."""
        image = self.stage.image.text if self.stage.image is not None else ""
        scope = Scope(self.dockerfile.escape, self.settings.outside, dict(self.overall))
        name = scope.real(image).lower()
        if name not in self.settings.contexts:
            return step
        parts = dict(step.parts)
        context = self._context(name, parts)
        reads = step.reads if context is None else (*step.reads, (context, Selection((".",))))
        return replace(step, parts=parts, reads=reads)

    def _step(self, instruction: Instruction) -> Planned:
        make = {"RUN": self._run, "WORKDIR": self._workdir}.get(instruction.keyword, self._copy)
        parts, seen, reads = make(instruction)
        if self.state.platform:
            parts["platform"] = self.state.platform
        text = self.settings.outside.redact(self.dockerfile.source.text[instruction.span.start : instruction.span.end])
        line = instruction.lines[0]
        return Planned(self.name, self.number, instruction.keyword, line, text, parts, seen, reads)

    def _apply(self, instruction: Instruction) -> None:
        state, words = self.state, instruction.words
        if instruction.keyword == "ARG":
            state.scope.argument(instruction, self.overall)
        elif instruction.keyword == "ENV":
            state.scope.environment(instruction)
        elif instruction.keyword == "USER":
            state.user = self._told(words[0].text)[0]
        elif instruction.keyword == "WORKDIR":
            path = self._told(words[0].text)[0]
            state.workdir = joined(state.workdir, path) or posixpath.join("?", path)
        elif instruction.keyword == "SHELL":
            state.shell = tuple(word.text for word in words)

    def _told(self, text: str) -> tuple[str, set[str]]:
        return self.state.scope.told(text)

    def _run(self, instruction: Instruction) -> _Made:
        redact = self.settings.outside.redact
        # Blotted before they are quoted: a secret may hold quotes.
        command = json.dumps([redact(word.text) for word in instruction.words]) if instruction.exec_form else ""
        text = command or instruction.arguments.text
        flags = [self._told(flag.text)[0] for flag in instruction.flags]
        bodies = [heredoc.body.text for heredoc in instruction.heredocs]
        parts = {"instruction": redact("\n".join(("RUN " + " ".join((*flags, text)), *bodies)))}
        if not instruction.exec_form:
            parts["shell"] = json.dumps([redact(word) for word in self.state.shell])
        parts |= {"user": self.state.user, "workdir": self.state.workdir or ""}
        if self.settings.hosts:
            parts["hosts"] = ",".join(sorted(self.settings.hosts))
        return parts, self.state.scope.run(), tuple(self._mounts(instruction, parts))

    def _mounts(self, instruction: Instruction, parts: dict[str, str]) -> Iterator[tuple[str, Selection]]:
        for flag in instruction.flags_named("mount"):
            options = mount_options(self.state.scope.real(flag.value or ""))
            if options["type"] == "bind":
                context = self._context(options.get("from"), parts)
                if context is not None:
                    yield context, Selection((options.get("source", ".") or ".",))

    def _context(self, name: str | None, parts: dict[str, str]) -> str | None:
        """The context that a ``from`` means, None for a stage or an image; what else is known of it joins ``parts``."""
        if not name:
            return MAIN
        place = self.settings.contexts.get(name.lower())
        if place is None:
            return None
        if os.path.isdir(place):
            return name.lower()
        parts[f"context {name.lower()}"] = place
        return None

    def _workdir(self, instruction: Instruction) -> _Made:
        path, used = self._told(instruction.words[0].text)
        folder = joined(self.state.workdir, path) or path
        parts = {"instruction": f"WORKDIR {folder}", "user": self.state.user}
        epoch = self.settings.outside.arguments.get("SOURCE_DATE_EPOCH", "")
        if epoch:
            parts["epoch"] = epoch
        return parts, self.state.scope.named(used), ()

    def _copy(self, instruction: Instruction) -> _Made:
        scope = self.state.scope
        operators = {entry.name for entry in instruction.heredocs}
        words = [word.text for word in instruction.words]
        documents = [
            word for word in words[:-1] if word.startswith("<<") and word.lstrip("<-").strip("'\"") in operators
        ]
        texts = [flag.text for flag in instruction.flags] + words
        told: list[str] = []
        used: set[str] = set()
        for text in texts:
            expanded, names = scope.told(text)
            told.append(expanded)
            used |= names
        parts = {"instruction": " ".join((instruction.keyword, *told))}
        for heredoc in instruction.heredocs:
            body = self.settings.outside.redact(heredoc.body.text)
            if heredoc.expand:
                body, names = scope.told(heredoc.body.text, QUOTES_KEPT)
                used |= names
            parts["instruction"] += f"\n{body}"
        if told and not is_absolute(told[-1]):
            parts["workdir"] = self.state.workdir or ""
        sources = [scope.real(word) for word in words[:-1] if word not in documents]
        remote = [source for source in sources if _REMOTE.match(source)] if instruction.keyword == "ADD" else []
        if remote:
            parts["remote"] = self.settings.outside.redact(" ".join(remote))
        local = tuple(source for source in sources if source not in remote)
        flag = instruction.flag("from")
        context = self._context(flag.value if flag is not None else None, parts)
        excludes = tuple(scope.real(entry.value or "") for entry in instruction.flags_named("exclude"))
        reads = ((context, Selection(local, excludes)),) if context is not None and local else ()
        return parts, scope.named(used), reads


_Made = tuple[dict[str, str], tuple[Variable, ...], tuple[tuple[str, Selection], ...]]


def masked_text(dockerfile: Dockerfile) -> str:
    """The whole text without the values that ARG and ENV give to variables whose names sound secret."""
    text, parts, position = dockerfile.source.text, [], 0
    for instruction in dockerfile.instructions:
        for pair in instruction.pairs if instruction.keyword in ("ARG", "ENV") else ():
            if pair.value is not None and sounds_secret(pair.key.text):
                parts += [text[position : pair.value.span.start], "***"]
                position = pair.value.span.end
    return "".join((*parts, text[position:]))
