"""Build arguments that change with each build, declared below the RUN instructions that do not read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile import packages
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.ordering.layer_edits import Block, block, removal
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command
from buildopt.source import Edit, Span

_CHANGING = re.compile(
    r"(?i)(?:(?:app|build|ci|docker|git|github|gitlab|image|release|repo|source|src|vcs)_?)?"
    r"(?:commit(?:_?(?:sha|hash|id|ref|date|time|short_sha))?|sha|git_?(?:sha|hash|rev|describe)|revision|vcs_?ref|"
    r"build_?(?:date|time|timestamp|number|num|id|sha|rev|revision)|pipeline_id|run_(?:id|number))"
)
# A default that nobody builds with; any other one may be meant to stay.
_NO_VALUE = re.compile(
    r"(?i)(?:|unknown|unset|undefined|dev|devel|development|latest|local|none|null|n/?a|not?[-_ ]?set|[0.]+|head|main|"
    r"master|snapshot|now|today|date|commit|sha)"
)
# Programs that read no variable of such a name, and hand none on to a program that is not known.
_BLIND = word_set(
    "[ [[ : addgroup adduser apt-key apt-mark basename cat cd chgrp chmod chown cp curl cut date dirname dpkg echo "
    "false getent gpg grep groupadd gunzip gzip head id install ldconfig ln locale-gen ls mkdir mv printf pwd rm rmdir "
    "sed set sha256sum sha512sum sleep sort tail tar tee test touch tr true uname unzip update-ca-certificates "
    "update-locale useradd usermod wget xz"
)
_SYSTEM = frozenset(("apt-get", "aptitude", "apk", "dnf", "zypper"))
_METADATA = frozenset(
    ("CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "STOPSIGNAL", "VOLUME", "USER")
)


@dataclass(frozen=True, slots=True)
class Lowered:
    """Arguments of a stage that move down, their names, and what they no longer repeat."""

    line: int
    names: tuple[str, ...]
    shown: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An argument that stays, and why."""

    line: int
    reason: str


def lowered(dockerfile: Dockerfile) -> Iterator[Lowered | Kept]:
    """Every such argument, stage by stage."""
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    for stage in dockerfile.stages:
        yield from _Stage(dockerfile, stage, of_run).lowered()


@dataclass(frozen=True, slots=True)
class _Stage:
    dockerfile: Dockerfile
    stage: Stage
    of_run: dict[int, Run]

    def lowered(self) -> Iterator[Lowered | Kept]:
        body = self.stage.instructions
        candidates = [item for item in body if _is_changing(self.dockerfile, item)]
        labels = self._labels(candidates)
        end = self._end()
        places: dict[int, list[Instruction]] = {}
        moved: list[Instruction] = []
        shown = ""
        for argument in candidates:
            name = argument.pairs[0].key.text
            start = body.index(argument)
            users = [index for index in range(start + 1, len(body)) if _names(self.dockerfile, body[index], name)]
            hard = [index for index in users if body[index] not in labels]
            if not users or self._declared_twice(name):
                continue
            place = min([*hard[:1], end])
            readers = (index for index in range(start + 1, place) if self._reads(body[index]))
            stop = next(readers, place)
            installs = [text for item in body[start + 1 : stop] if (text := self._installs(item))]
            if installs:
                places.setdefault(stop, []).append(argument)
                moved.append(argument)
                shown = shown or installs[0]
            elif any(self._installs(item) for item in body[stop:place]):
                reason = f"`{self._reads(body[stop])}` may read {name}, so it is not declared below it"
                yield Kept(argument.lines[0], reason)
        if not moved:
            return
        for label in labels:
            own = [place for place, items in places.items() for item in items if self._uses(label, item)]
            if own and body.index(label) < max(own):
                places[max(own)].append(label)
        edits = list(self._edits(places))
        yield Lowered(moved[0].lines[0], tuple(item.pairs[0].key.text for item in moved), shown, tuple(edits))

    def _labels(self, candidates: Sequence[Instruction]) -> list[Instruction]:
        """LABEL instructions that may stand anywhere behind what they name: nobody sets their keys again."""
        body = self.stage.instructions
        found = []
        keys = [pair.key.text for item in body if item.keyword == "LABEL" for pair in item.pairs]
        for label in (item for item in body if item.keyword == "LABEL" and not item.problems):
            own = [pair.key.text for pair in label.pairs]
            used = set(re.findall(r"\$\{?(\w+)", label.logical.text))
            later = body[body.index(label) + 1 :]
            again = any(
                pair.key.text in used for item in later if item.keyword in ("ENV", "ARG") for pair in item.pairs
            )
            plain = all("$" not in key and keys.count(key) == 1 for key in own)
            if plain and not again and any(item.pairs[0].key.text in used for item in candidates):
                found.append(label)
        return found

    def _uses(self, label: Instruction, item: Instruction) -> bool:
        return item.keyword == "ARG" and _names(self.dockerfile, label, item.pairs[0].key.text)

    def _end(self) -> int:
        """Behind the last instruction that makes a layer: what follows it only describes the image."""
        body = self.stage.instructions
        end = len(body)
        while end > 1 and body[end - 1].keyword in _METADATA:
            end -= 1
        return end

    def _declared_twice(self, name: str) -> bool:
        set_by = [item for item in self.stage.instructions if item.keyword in ("ARG", "ENV")]
        return sum(pair.key.text == name for item in set_by for pair in item.pairs) > 1

    def _installs(self, instruction: Instruction) -> str:
        run = self.of_run.get(instruction.span.start)
        for command in run.script.commands if run is not None else ():
            call = packages.call(command)
            if call is not None and call.action in ("install", "add", "ci", "upgrade", "dist-upgrade", "download"):
                return f"{command.name} {call.action}"
            if command.texts[:2] == ("mod", "download"):
                return "go mod download"
        return ""

    def _reads(self, instruction: Instruction) -> str:
        """A command of a RUN that may read any variable, empty where none may."""
        if instruction.keyword != "RUN":
            return ""
        run = self.of_run.get(instruction.span.start)
        if run is None or not run.script.complete or "${!" in run.logical.text:
            return "RUN"
        for command in run.script.commands:
            if command.words and not _is_blind(command):
                return " ".join(word.raw for word in command.words)[:60]
        return ""

    def _edits(self, places: dict[int, list[Instruction]]) -> Iterator[Edit]:
        body, source = self.stage.instructions, self.dockerfile.source
        newline = source.newline
        gone = sorted((block(self.dockerfile, item) for items in places.values() for item in items), key=_start)
        while gone:
            count = 1
            while count < len(gone) and gone[count - 1].span.end == gone[count].span.start:
                count += 1
            whole = Span(gone[0].span.start, gone[count - 1].span.end)
            yield removal(self.dockerfile, Block(whole, "", gone[count - 1].spaced))
            gone = gone[count:]
        for place, items in places.items():
            blocks = [block(self.dockerfile, item) for item in items]
            text = newline.join(found.text for found in blocks)
            if place < len(body):
                start = self._above(body[place]).span.start
                spaced = blocks[-1].spaced and source.text[:start].endswith(("\n\n", "\n\r\n"))
                yield Edit(Span(start, start), text + newline * (2 if spaced else 1))
            else:
                lines = self.dockerfile.whole_lines(body[-1])
                ended = source.text[: lines.end].endswith("\n")
                yield Edit(Span(lines.end, lines.end), text + newline if ended else newline + text)

    def _above(self, instruction: Instruction) -> Block:
        """An instruction with all comments right above it."""
        source = self.dockerfile.source
        lines = {source.position(item.span.start)[0] for item in self.dockerfile.comments if not item.inside}
        line = instruction.lines[0]
        while line - 1 in lines:
            line -= 1
        return Block(Span(source.line_start(line), instruction.span.end), "", spaced=False)


def _start(found: Block) -> int:
    return found.span.start


def _is_changing(dockerfile: Dockerfile, instruction: Instruction) -> bool:
    if (
        instruction.keyword != "ARG"
        or instruction.problems
        or len(instruction.pairs) != 1
        or any(item.inside for item in instruction.comments)
    ):
        return False
    pair = instruction.pairs[0]
    if _CHANGING.fullmatch(pair.key.text) is None:
        return False
    default = pair.value.text.strip("\"'") if pair.value is not None else ""
    if pair.value is None:
        for item in dockerfile.global_args:
            default = next((p.value.text for p in item.pairs if p.key.text == pair.key.text and p.value), default)
    return _NO_VALUE.fullmatch(default.strip("\"'")) is not None


def _names(dockerfile: Dockerfile, instruction: Instruction, name: str) -> bool:
    text = dockerfile.source.text[instruction.span.start : instruction.span.end]
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _is_blind(command: Command) -> bool:
    call = packages.call(command)
    if call is not None and call.tool in _SYSTEM:
        return True
    if command.name == "go" and command.texts[:2] in (("mod", "download"), ("mod", "verify")):
        return True
    if command.name == "set" and not command.arguments:
        return False
    return command.name in _BLIND and "/" not in (command.argv[0].text or "/")
