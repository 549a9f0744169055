"""How the copies of one stage move below an installation: what stands in the way, what must come first, the edits."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from buildopt.dockerfile.installs import Install, installs
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.ordering.between import Between
from buildopt.dockerfile.ordering.copied_files import ContextFiles, Landing, Tree, Unknown, landings
from buildopt.dockerfile.ordering.layer_edits import Block, Cut, block, copy_lines, cut_edits, removal
from buildopt.dockerfile.ordering.needs import Question, Wanted, needs
from buildopt.dockerfile.ordering.run_cut import Cutter, reason
from buildopt.dockerfile.ordering.stage_steps import Blocked, Step
from buildopt.dockerfile.ordering.without_sources import Before
from buildopt.dockerfile.passes.context_reads import descendants, stays_behind
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import joined, mount_options, shipped_stages
from buildopt.dockerfile.shell import Command
from buildopt.source import Edit

_OF_A_TOOL = re.compile(r"(?i)(?:pip|npm|yarn|pnpm|bun|uv|bundle|composer|nuget|poetry|pipenv|pdm|node|mix|hex|maven)_")
# Those whose value may be a file's name without a slash; what ends in _ENV says for whom the build is.
_READ_BY_A_TOOL = re.compile(
    rf"(?i)(?!\w+_ENV$)(?:{_OF_A_TOOL.pattern.removeprefix('(?i)')}\w+|COMPOSER|MAVEN_\w+|GOWORK|GOFLAGS|PYTHONUSERBASE|"
    r"\w*(?:CA|CERT)S?(?:_?(?:CERTS?|FILE|BUNDLE|DIR|PATH))*)"
)
_MANAGERS_AGAIN = re.compile(
    r"\b(?:npm|yarn|pnpm|bun)\s+(?:ci|install|prune|i|clean-install)\b(?![^&;|\n]*\s(?:-g|--global)(?:\s|$))|\byarn\s*(?:$|&&)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Move:
    """A move that was found right; ``last`` is the index of the last step that it changes."""

    last: int
    lines: tuple[int, int]
    shown: tuple[str, ...]
    reads: str
    rewritten: str
    edits: tuple[Edit, ...]


def plan(
    dockerfile: Dockerfile, stage: Stage, walked: Sequence[Step], first: int, last: int, files: ContextFiles
) -> Move:
    """Move the copies from ``first`` on below the install of step ``last``, or a later one. Raises Blocked."""
    later = [
        index
        for index in range(last, len(walked))
        if (run := walked[index].run) is not None and any(True for _ in installs(run))
    ]
    problem: Blocked | None = None
    for index in reversed(later):
        try:
            return _Plan(dockerfile, stage, walked, first, index, files).move()
        except Blocked as blocked:
            problem = blocked
    assert problem is not None
    raise problem


@dataclass(frozen=True, slots=True)
class _Plan:
    """One try."""

    dockerfile: Dockerfile
    stage: Stage
    walked: Sequence[Step]
    first: int
    last: int
    files: ContextFiles

    def move(self) -> Move:
        """Raises Blocked."""
        tree = Tree(self.files, self._landings())
        wanted = self._needs(tree)
        first = dict.fromkeys(place for item in wanted for place in item.need.files)
        covered = self._covered(tree, first)
        moved = self._moved(tree, covered)
        sources = Tree(self.files, [landing for landing in tree.landings if landing.instruction in moved])
        before = Before(sources, covered)
        self._makes_nothing_twice(sources, wanted)
        makes = [*self._told(), *(place for item in wanted for place in item.need.makes)]
        steps = self.walked[self.first : self.last + 1]
        between = Between(steps, moved, sources, before, makes, self._prisma(wanted))
        between.check()
        ships = self.stage.index in shipped_stages(self.dockerfile)
        gifts = between.owning(len(between.steps) - 1)
        cutter = Cutter(self.walked[self.last], wanted, before, ships, tuple(gift.command for gift in gifts))
        cut = cutter.cut()
        between.own([gift for gift in gifts if cutter.stays(cut, gift.command)])
        return self._edits(tree, sources, list(first), between, wanted, cut)

    def _told(self) -> list[str]:
        """The places that variables name: what is installed may go there (PIP_TARGET, BUNDLE_PATH, PATH of a venv)."""
        pieces = [
            posixpath.join(step.folder or "/", piece)
            for step in self.walked[: self.last]
            if step.instruction.keyword in ("ENV", "ARG")
            for piece in re.split(r"[\s:=,\"']", step.instruction.logical.text)
        ]
        return [posixpath.normpath(piece) for piece in pieces]

    def _prisma(self, wanted: Sequence[Wanted]) -> bool:
        return any(place.endswith(".prisma") for item in wanted for place in item.need.files)

    def line(self, index: int) -> int:
        return self.walked[index].instruction.lines[0]

    def _landings(self) -> list[Landing]:
        """What all copies up to the install bring. Where that is not known of an earlier copy, it is passed over."""
        found: list[Landing] = []
        for index, step in enumerate(self.walked[: self.last]):
            if step.instruction.keyword not in ("COPY", "ADD") or step.instruction.flag("from") is not None:
                continue
            try:
                if step.folder is None:
                    raise Unknown("the working folder is that of the base image, which is not known")
                found += landings(self.files, step.instruction, step.scope, step.folder)
            except Unknown as unknown:
                if index >= self.first:
                    raise Blocked(self.line(index), str(unknown)) from None
        return found

    def _installs(self) -> Iterator[tuple[int, Install]]:
        for index in range(self.first, self.last + 1):
            run = self.walked[index].run
            for install in installs(run) if run is not None else ():
                yield index, install

    def _needs(self, tree: Tree) -> list[Wanted]:
        found = []
        for index, install in self._installs():
            step = self.walked[index]
            run = step.run
            assert run is not None
            if not run.script.complete:
                raise Blocked(self.line(index), "this RUN cannot be read to the end")
            if install.folder is None:
                raise Blocked(self.line(index), f"the folder that `{install.shown}` runs in is not known")
            for flag in step.instruction.flags_named("mount"):
                if mount_options(flag.value or "")["type"] not in ("cache", "secret", "ssh"):
                    raise Blocked(self.line(index), "what is mounted here may be read by the install")
            lock = posixpath.join(install.folder, install.manifests[-1])
            again = self._again_later(index)
            ships = again or not stays_behind(self.dockerfile, self.stage, lock)
            text = "\n".join(item.instruction.logical.text for item in self.walked)
            known = Tree(self.files, [item for item in tree.landings if item.instruction.span < step.instruction.span])
            question = Question(
                install,
                install.folder,
                known,
                step.scope,
                ships,
                again,
                base_reference(self.dockerfile, self.stage),
                text,
                tuple(self._following(index, install)),
            )
            try:
                self._variables_name_no_files(step, install, known)
                found.append(Wanted(step, install, needs(question)))
            except Unknown as unknown:
                raise Blocked(self.line(index), f"`{install.shown}`: {unknown}") from None
        return found

    def _following(self, index: int, install: Install) -> Iterator[Command]:
        """The commands of the stage behind an install."""
        own, *later = (step.run.script.commands if step.run is not None else () for step in self.walked[index:])
        yield from (command for command in own if command.span.start > install.command.span.start)
        for commands in later:
            yield from commands

    def _again_later(self, index: int) -> bool:
        """Whether a later command may read the lockfile that this one leaves."""
        texts = [_plain(step.instruction.logical.text) for step in self.walked[index + 1 :]]
        for other in descendants(self.dockerfile, self.stage):
            if other.index != self.stage.index:
                texts += [_plain(instruction.logical.text) for instruction in other.instructions]
        run = self.walked[index].run
        own = _MANAGERS_AGAIN.findall(run.logical.text) if run is not None else []
        return len(own) > 1 or any(_MANAGERS_AGAIN.search(text) for text in texts)

    def _variables_name_no_files(self, step: Step, install: Install, tree: Tree) -> None:
        """No variable may lead the install to the sources: neither the stage's nor one that the RUN sets itself."""
        own = list(_set_by(step.run)) if step.run is not None else []
        for name, value, mine in [*((name, value or "", False) for name, value in step.scope.variables.items()), *own]:
            for piece in re.split(r"[\s:=,\"']", value):
                place = posixpath.normpath(posixpath.join(install.folder or "/", piece))
                kind = tree.kind(place) if mine or "/" in piece or _READ_BY_A_TOOL.fullmatch(name) else ""
                named = mine or _OF_A_TOOL.match(name) or _READ_BY_A_TOOL.fullmatch(name)
                if kind == "file" or (kind and named and piece and place not in (step.folder, install.folder)):
                    raise Unknown(f"{name} names a file of the sources")
                if name == "PYTHONPATH" and tree.kind(posixpath.join(place, "sitecustomize.py")):
                    raise Unknown("sitecustomize.py is a part of each program in Python here")
            if name == "GOFLAGS" and "modfile" in value:
                raise Unknown("GOFLAGS names another go.mod")

    def _covered(self, tree: Tree, first: dict[str, None]) -> frozenset[str]:
        """The places that are there before the sources: what is copied first, and what lies in copied folders."""
        found = set(first)
        for place in first:
            if tree.kind(place) == "folder":
                found.update(tree.walk(place))
        return frozenset(found)

    def _moved(self, tree: Tree, covered: frozenset[str]) -> list[Instruction]:
        """The copies that bring sources to where the installs run, or over what these bring."""
        found: list[Instruction] = []
        folders = {install.folder for _, install in self._installs() if install.folder}
        for step in self.walked[self.first : self.last]:
            mine = [landing for landing in tree.landings if landing.instruction is step.instruction]
            if not mine or all(not landing.folder and landing.place in covered for landing in mine):
                continue
            near = any(_related(landing.place, folder) for landing in mine for folder in folders)
            if near or step is self.walked[self.first]:
                found.append(step.instruction)
        return found

    def _makes_nothing_twice(self, sources: Tree, wanted: Sequence[Wanted]) -> None:
        for item in wanted:
            for place in item.need.makes:
                if sources.kind(place):
                    name = sources.origin(place)
                    raise Blocked(
                        item.step.line,
                        f"{name} is in the context too, and the later copy would lay it over the installed one",
                    )

    def _edits(
        self,
        tree: Tree,
        sources: Tree,
        places: Sequence[str],
        between: Between,
        wanted: Sequence[Wanted],
        cut: Cut,
    ) -> Move:
        text = self.dockerfile.source.text
        moved = between.moved
        movers = [step for step in between.steps if step.instruction in moved or step in between.along]
        copies = [step for step in movers if step.instruction in moved]
        until = min(self.walked.index(item.step) for item in wanted)
        missing = [place for place in places if not self._there(tree, place, between, until)]
        if len({tuple(flag.text for flag in step.instruction.flags) for step in copies}) > 1:
            raise Blocked(self.line(self.first), "the copies have different flags")
        start = copies[0]
        landing = next(item for item in sources.landings if item.instruction is start.instruction)
        expanded = start.scope.expand(start.instruction.words[-1].text)
        folder = joined(start.folder, expanded.text if expanded is not None else None) or landing.place
        try:
            lines = copy_lines(start.instruction, text, tree, missing, folder)
            blocks = [block(self.dockerfile, step.instruction) for step in movers]
            edits = [self._removed(found, lines if index == 0 else []) for index, found in enumerate(blocks)]
            blocks = [self._owned(found, step.instruction, between) for found, step in zip(blocks, movers, strict=True)]
            run_block = block(self.dockerfile, self.walked[self.last].instruction, comments=False)
            spaced = blocks[0].spaced or (run_block.spaced and len(movers) == 1 and self._gap_above())
            edits += cut_edits(self.dockerfile, cut, blocks, spaced=spaced)
        except Unknown as unknown:
            raise Blocked(self.line(self.first), str(unknown)) from None
        names = dict.fromkeys(posixpath.basename(tree.origin(place) or place) for place in places)
        reads = ", ".join(list(names)[:4]) + (" …" if len(names) > 4 else "")
        shown = tuple(dict.fromkeys(item.install.shown for item in wanted))
        last = self.walked[self.last].instruction.lines[1]
        rewritten = ", ".join(dict.fromkeys(item.need.rewritten for item in wanted if item.need.rewritten))
        return Move(self.last, (self.line(self.first), last), shown, reads, rewritten, tuple(edits))

    def _gap_above(self) -> bool:
        text = self.dockerfile.source.text
        found = block(self.dockerfile, self.walked[self.last].instruction)
        return text[: found.span.start].endswith(("\n\n", "\n\r\n"))

    def _owned(self, found: Block, instruction: Instruction, between: Between) -> Block:
        """A copy of files that a RUN above gives away: they arrive as what they would have become."""
        owner = between.owners.get(instruction.span.start)
        if owner is None:
            return found
        at = instruction.keyword_span.end - found.span.start
        return replace(found, text=f"{found.text[:at]} --chown={owner}{found.text[at:]}")

    def _removed(self, found: Block, lines: Sequence[str]) -> Edit:
        if not lines:
            return removal(self.dockerfile, found)
        newline = self.dockerfile.source.newline
        text = self.dockerfile.source.text[found.span.start : found.span.end]
        return Edit(found.span, newline.join(lines) + (newline if text.endswith("\n") else ""))

    def _there(self, tree: Tree, place: str, between: Between, until: int) -> bool:
        """Whether a copy that stays brings a file before the first install, and nothing has changed it since."""
        origin = tree.origin(place)
        found = False
        for index, step in enumerate(self.walked[:until]):
            if index > self.first and step.instruction.keyword == "RUN":
                continue  # looked at already
            if step.instruction in between.moved:
                continue
            mine = [landing for landing in tree.landings if landing.instruction is step.instruction]
            if any(not item.folder and item.place == place and item.origin == origin for item in mine):
                found = tree.kind(place) == "file"
            elif step.instruction.keyword == "RUN" and found:
                run = step.run
                quiet = run is not None and run.script.complete and not any(True for _ in installs(run))
                found = run is not None and quiet and not reason(run, run.script.commands, between.before)
        return found


def _plain(text: str) -> str:
    """An instruction without the marks of the exec form."""
    return re.sub(r"[\[\]\",']+", " ", text).rstrip()


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _related(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)


def _set_by(run: Run) -> Iterator[tuple[str, str, bool]]:
    """The variables that a RUN sets for its commands: name, value, and that they are its own."""
    for command in run.script.commands:
        for item in command.environment:
            yield item.name, item.value.text or item.value.raw, True
        if command.name in ("export", "declare"):
            for word in command.arguments:
                name, _, value = (word.text or word.raw).partition("=")
                yield name, value, True
