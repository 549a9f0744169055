"""Which texts of an instruction BuildKit expands, and the variables that are known there.

RUN, CMD, ENTRYPOINT and HEALTHCHECK leave their commands to the shell; SHELL and MAINTAINER are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from buildopt.dockerfile.base_environments import environment_of
from buildopt.dockerfile.model import Dockerfile, Heredoc, Instruction, Stage
from buildopt.dockerfile.predefined import GlobalArguments, global_arguments
from buildopt.dockerfile.scope import mount_options, of_the_last_file
from buildopt.dockerfile.words import Expansion, Lexing, expand
from buildopt.source import Span

_FLAGS = MappingProxyType({"ADD": ("chown", "chmod", "checksum"), "COPY": ("chown", "chmod")})
_WORDS = frozenset(("ADD", "COPY", "WORKDIR", "USER", "STOPSIGNAL", "VOLUME"))
_EXPANDING = frozenset((*_WORDS, "ENV", "LABEL", "ARG", "RUN"))
# Arguments that set nothing.
_NO_VARIABLES = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
_USE = re.compile(r"\$\{?(\w+)")
_QUOTES_KEPT = Lexing(plain_quotes=True)
_SET = "x"  # what a variable holds does not matter here


@dataclass(slots=True)
class Known:
    """The variables at a point of a stage.

    ``values`` has those with a value, in the order in which they came; ``declared`` the ARG, with or without one.
    ``inherited`` matches the names that the base may bring along besides, None where that could be any.
    """

    values: dict[str, str]
    declared: set[str]
    inherited: re.Pattern[str] | None

    def inherits(self, name: str) -> bool:
        """Whether the base may be what defines a variable."""
        return self.inherited is None or self.inherited.fullmatch(name) is not None

    def add(self, name: str) -> None:
        """A variable that is set anew is the newest."""
        self.values.pop(name, None)
        self.values[name] = _SET


@dataclass(frozen=True, slots=True)
class Expanded:
    """A text that was expanded. ``triggered``: by an ONBUILD of the base; the span is then that of the base's name."""

    stage: Stage
    instruction: Instruction
    span: Span
    result: Expansion
    known: Known
    triggered: bool = False

    @property
    def undefined(self) -> list[str]:
        """The variables that neither an ARG nor ENV, nor the base as far as it is known, has."""
        return sorted(self.result.missing - self.known.declared - _NO_VARIABLES)


def expansions(dockerfile: Dockerfile) -> Iterator[Expanded]:
    """Every text with a ``$`` that BuildKit expands, in order. ``known`` changes as the iteration goes on."""
    arguments = global_arguments(dockerfile)
    ends: dict[str, tuple[Stage, Known]] = {}
    for stage in dockerfile.stages:
        walker = _Walker(dockerfile, arguments, stage)
        base = ends.get(walker.image)
        if base is not None:
            walker.known = Known(dict(base[1].values), set(base[1].declared), base[1].inherited)
            for trigger in _triggers(base[0]) if stage.index in _needed(dockerfile) else ():
                yield from walker.step(trigger, triggered=True)
        for instruction in stage.instructions:
            if not instruction.problems:
                yield from walker.step(instruction)
        if stage.name is not None:
            ends[stage.name] = stage, walker.known


def _triggers(stage: Stage) -> Iterator[Instruction]:
    for instruction in stage.instructions:
        if instruction.trigger is not None and not instruction.problems:
            yield instruction.trigger


@of_the_last_file
def _needed(dockerfile: Dockerfile) -> frozenset[int]:
    """The stages that the last one is made from: triggers fire in no other."""
    found: set[int] = set()
    waiting = [len(dockerfile.stages) - 1]
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        found.add(index)
        stage = dockerfile.stages[index]
        waiting += [] if stage.base_index is None else [stage.base_index]
        for instruction in stage.instructions:
            names = [instruction.flag("from")] if instruction.keyword == "COPY" else []
            values = [flag.value for flag in names if flag is not None]
            values += [mount_options(flag.value or "").get("from") for flag in instruction.flags_named("mount")]
            used = (dockerfile.stage(value, index) for value in values if value)
            waiting += [other.index for other in used if other is not None]
    return frozenset(found)


@dataclass(slots=True)
class _Walker:
    dockerfile: Dockerfile
    arguments: GlobalArguments
    stage: Stage
    image: str = ""
    known: Known = field(default_factory=lambda: Known({"PATH": _SET}, set(), None))

    def __post_init__(self) -> None:
        if self.stage.image is not None:
            self.image = expand(self.stage.image.text, self.arguments.values, self.dockerfile.escape).text
            self.known.inherited = environment_of(self.image)

    def step(self, instruction: Instruction, *, triggered: bool = False) -> Iterator[Expanded]:
        """What one instruction expands; afterwards ``known`` is what holds behind it."""
        keyword = instruction.keyword
        if keyword not in _EXPANDING:
            return
        if keyword == "ARG":
            yield from self._argument(instruction, triggered)
            return
        for span, text in _texts(instruction):
            yield from self._expanded(instruction, span, text, triggered)
        for heredoc in instruction.heredocs if keyword in _FLAGS else ():
            yield from self._document(instruction, heredoc, triggered)
        if keyword == "ENV":
            for pair in instruction.pairs:
                self.known.add(expand(pair.key.text, self.known.values, self.dockerfile.escape).text)

    def _argument(self, instruction: Instruction, triggered: bool) -> Iterator[Expanded]:
        for pair in instruction.pairs:
            name = pair.key.text
            if pair.value is not None:
                yield from self._expanded(instruction, pair.value.span, pair.value.text, triggered)
            if pair.value is not None or name in self.arguments.values:
                self.known.add(name)
            self.known.declared.add(name)

    def _expanded(self, instruction: Instruction, span: Span, text: str, triggered: bool) -> Iterator[Expanded]:
        if "$" in text:
            result = expand(text, self.known.values, self.dockerfile.escape)
            yield self._as_expanded(instruction, span, result, triggered)

    def _document(self, instruction: Instruction, heredoc: Heredoc, triggered: bool) -> Iterator[Expanded]:
        """A file's text: quotes mean nothing there, and the escape character is always the same."""
        if not heredoc.expand or "$" not in heredoc.body.text:
            return
        result = expand(heredoc.body.text, self.known.values, "\\", _QUOTES_KEPT)
        places: dict[str, Span] = {}
        for use in _USE.finditer(heredoc.body.text):
            places.setdefault(use[1], heredoc.body.span(*use.span()))
        for name in sorted(result.missing):
            place = places.get(name, heredoc.operator)
            only = Expansion("", (), (), result.used, frozenset((name,)), result.error)
            yield self._as_expanded(instruction, place, only, triggered)

    def _as_expanded(self, instruction: Instruction, span: Span, result: Expansion, triggered: bool) -> Expanded:
        if triggered and self.stage.image is not None:
            span = self.stage.image.span
        return Expanded(self.stage, instruction, span, result, self.known, triggered)


def _texts(instruction: Instruction) -> Iterator[tuple[Span, str]]:
    keyword = instruction.keyword
    if keyword in _WORDS:
        yield from ((word.span, word.text) for word in instruction.words)
    for pair in instruction.pairs:
        yield pair.key.span, pair.key.text
        if pair.value is not None:
            yield pair.value.span, pair.value.text
    for name in _FLAGS.get(keyword, ()):
        flag = instruction.flag(name)
        if flag is not None and flag.value:
            yield flag.span, flag.value
    if keyword == "RUN":
        for flag in instruction.flags_named("mount"):
            for option in (flag.value or "").split(","):
                name, _, value = option.partition("=")
                if name.strip().lower() != "from":  # it cannot have variables
                    yield flag.span, value


def inherited_names(dockerfile: Dockerfile, stage: Stage) -> re.Pattern[str] | None:
    """The names of variables that the image which a stage comes from may define; None where that could be any."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    return _Walker(dockerfile, global_arguments(dockerfile), stage).known.inherited
