"""How the copies of one stage move below an installation: what stands in the way, what must come first, the edits."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.installs import Install, installs, with_folders
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.context_reads import descendants, stays_behind
from buildopt.dockerfile.passes.copied_files import ContextFiles, Landing, Tree, Unknown, landings
from buildopt.dockerfile.passes.layer_edits import Block, Cut, block, copy_lines, cut_edits, removal
from buildopt.dockerfile.passes.needs import Needs, Question, needs
from buildopt.dockerfile.passes.stage_steps import Step
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.passes.without_sources import Before
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import joined, mount_options, shipped_stages
from buildopt.dockerfile.shell import Command, Part
from buildopt.source import Edit

_SYSTEM = word_set("bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var")
_SYSTEM_FOLDERS = frozenset(
    ("/bin", "/etc", "/home", "/lib", "/opt", "/sbin", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/var")
)
# What programs look for in a home folder.
_PERSONAL = re.compile(
    r"\.(?:config|pip|netrc|git.*|ssh|cargo|m2|gradle|npm|cache|local|nuget|docker|bash.*|profile|yarn)"
)
_MANAGERS_AGAIN = re.compile(
    r"\b(?:npm|yarn|pnpm|bun)\s+(?:ci|install|prune|i|clean-install)\b|\byarn\s*(?:$|&&)", re.MULTILINE
)
_SILENT = frozenset(("LABEL", "EXPOSE", "CMD", "ENTRYPOINT", "STOPSIGNAL", "HEALTHCHECK", "MAINTAINER", "ONBUILD"))
_STATEFUL = frozenset(
    (".", "source", "export", "declare", "umask", "shopt", "trap", "alias", "eval", "read", "local", "exec")
)


class Blocked(Exception):
    """The copies stay where they are."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Move:
    """A move that was found right; ``last`` is the index of the last step that it changes."""

    last: int
    lines: tuple[int, int]
    shown: tuple[str, ...]
    reads: str
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
class _Wanted:
    """An install, the index of its step, and what it needs."""

    index: int
    install: Install
    need: Needs


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
        self._places_are_plain(sources)
        for index in range(self.first, self.last):
            self._may_come_first(index, sources, moved, before)
        cut = self._cut(wanted, before)
        return self._edits(tree, sources, list(first), moved, wanted, cut)

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

    def _needs(self, tree: Tree) -> list[_Wanted]:
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
            ships = self._again_later(index) or not stays_behind(self.dockerfile, self.stage, lock)
            text = "\n".join(item.instruction.logical.text for item in self.walked)
            question = Question(
                install, install.folder, tree, step.scope, ships, base_reference(self.dockerfile, self.stage), text
            )
            try:
                self._variables_name_no_files(step, tree)
                found.append(_Wanted(index, install, needs(question)))
            except Unknown as unknown:
                raise Blocked(self.line(index), f"`{install.shown}`: {unknown}") from None
        return found

    def _again_later(self, index: int) -> bool:
        """Whether a later command may read the lockfile that this one leaves."""
        texts = [step.instruction.logical.text for step in self.walked[index + 1 :]]
        for other in descendants(self.dockerfile, self.stage):
            if other.index != self.stage.index:
                texts += [instruction.logical.text for instruction in other.instructions]
        run = self.walked[index].run
        own = _MANAGERS_AGAIN.findall(run.logical.text) if run is not None else []
        return len(own) > 1 or any(_MANAGERS_AGAIN.search(text) for text in texts)

    def _variables_name_no_files(self, step: Step, tree: Tree) -> None:
        for name, value in step.scope.variables.items():
            for piece in re.split(r"[\s:=,]", value or ""):
                if "/" in piece and tree.kind(posixpath.normpath(posixpath.join(step.folder or "/", piece))) == "file":
                    raise Unknown(f"{name} names a file of the sources")

    def _covered(self, tree: Tree, first: dict[str, None]) -> frozenset[str]:
        """The places that are there before the sources: what is copied first, and what lies in copied folders."""
        found = set(first)
        for place in first:
            if tree.kind(place) == "folder":
                found.update(tree.walk(place))
        return frozenset(found)

    def _moved(self, tree: Tree, covered: frozenset[str]) -> list[object]:
        """The copies that bring sources to where the installs run, or over what these bring."""
        found: list[object] = []
        folders = {install.folder for _, install in self._installs() if install.folder}
        for step in self.walked[self.first : self.last]:
            mine = [landing for landing in tree.landings if landing.instruction is step.instruction]
            if not mine or all(not landing.folder and landing.place in covered for landing in mine):
                continue
            near = any(_related(landing.place, folder) for landing in mine for folder in folders)
            if near or step is self.walked[self.first]:
                found.append(step.instruction)
        return found

    def _makes_nothing_twice(self, sources: Tree, wanted: Sequence[_Wanted]) -> None:
        for item in wanted:
            for place in item.need.makes:
                if sources.kind(place):
                    name = sources.origin(place)
                    raise Blocked(
                        self.line(item.index),
                        f"{name} is in the context too, and the later copy would lay it over the installed one",
                    )

    def _places_are_plain(self, sources: Tree) -> None:
        """Nothing that is moved lies among the files of the system or in somebody's home."""
        line = self.line(self.first)
        for landing in sources.landings:
            if landing.place in _SYSTEM_FOLDERS:
                raise Blocked(line, f"the sources are copied into {landing.place}, among the files of the system")
            if landing.place == "/" and landing.folder:
                shared = sorted(_SYSTEM & set(self.files.names(landing.origin)))
                if shared:
                    raise Blocked(line, f"{shared[0]} of the context is copied into that of the system")
            if landing.folder and re.fullmatch(r"/root|/home/[^/]+|/", landing.place):
                personal = [name for name in self.files.names(landing.origin) if _PERSONAL.fullmatch(name)]
                if (
                    personal
                    and personal != [".gitignore"]
                    and set(personal) - {".gitignore", ".gitattributes", ".github"}
                ):
                    raise Blocked(line, f"{personal[0]} of the context is copied into a home folder")

    def _may_come_first(self, index: int, sources: Tree, moved: Sequence[object], before: Before) -> None:
        """Raise Blocked where a step between copy and install cannot change places with the copies."""
        step = self.walked[index]
        instruction, keyword = step.instruction, step.instruction.keyword
        if instruction in moved or keyword in _SILENT:
            return
        if keyword in ("COPY", "ADD"):
            self._other_copy(index, sources)
        elif keyword == "VOLUME":
            for word in instruction.words:
                expanded = step.scope.expand(word.text)
                if expanded is None or sources.touches(posixpath.normpath(posixpath.join("/", expanded.text))):
                    raise Blocked(self.line(index), "VOLUME stands between the copy and the install")
        elif keyword in ("WORKDIR", "ENV", "ARG", "USER", "SHELL"):
            self._same_words(index, moved)
        elif keyword == "RUN":
            self._run(index, before)
        else:
            raise Blocked(self.line(index), f"{keyword} stands between the copy and the install")

    def _other_copy(self, index: int, sources: Tree) -> None:
        step = self.walked[index]
        expanded = step.scope.expand(step.instruction.words[-1].text)
        place = joined(step.folder, expanded.text if expanded is not None else None)
        if place is None:
            raise Blocked(self.line(index), "where this copy goes is not known")
        if step.instruction.flag("from") is None:
            mine = landings(self.files, step.instruction, step.scope, step.folder or "/")
            for landing in mine:
                origin = sources.origin(landing.place)
                if landing.folder and sources.touches(landing.place):
                    raise Blocked(self.line(index), "this copy may lay other files over the sources")
                if origin not in (None, landing.origin):
                    raise Blocked(self.line(index), f"{landing.place} is copied twice, from different files")
            return
        names = [posixpath.basename(word.text.rstrip("/")) for word in step.instruction.words[:-1]]
        inside = [posixpath.join(place, name) for name in names]
        if sources.kind(place) == "file" or any(sources.touches(item) for item in inside):
            raise Blocked(self.line(index), "what is copied here from elsewhere would be covered by the sources")
        # Names such as `dist` may be folders, whose content is not known: it must not go to where sources go.
        folders = [name for name in names if not re.fullmatch(r"[\w@-][\w.@-]*\.\w+", name)]
        shared = any(landing.folder and landing.place == place for landing in sources.landings)
        if folders and (shared or sources.kind(place)):
            raise Blocked(self.line(index), "what is copied here from elsewhere may be covered by the sources")

    def _same_words(self, index: int, moved: Sequence[object]) -> None:
        """What the words of the moved copies stand for must not change."""
        step = self.walked[index]
        for other in self.walked[self.first : index]:
            if other.instruction not in moved:
                continue
            words = [word.text for word in other.instruction.words]
            words += [flag.value or "" for flag in other.instruction.flags]
            after = self.walked[index + 1]
            for word in words:
                old, new = other.scope.expand(word), after.scope.expand(word)
                if (old and old.text) != (new and new.text):
                    raise Blocked(self.line(index), f"{step.instruction.keyword} changes what the copy means")
            last = other.scope.expand(words[len(other.instruction.words) - 1])
            relative = last is None or not last.text.startswith("/")
            if relative and step.instruction.keyword == "WORKDIR" and other.folder != after.folder:
                raise Blocked(
                    self.line(index), "the copy is relative to a working folder that changes before the install"
                )

    def _run(self, index: int, before: Before) -> None:
        step = self.walked[index]
        run = step.run
        if run is None or not run.script.complete:
            raise Blocked(self.line(index), "this RUN may need the sources: it cannot be read to the end")
        for flag in step.instruction.flags_named("mount"):
            if mount_options(flag.value or "")["type"] not in ("cache", "secret", "ssh", "tmpfs"):
                raise Blocked(self.line(index), "this RUN may need the sources: something is mounted")
        reason = self._reason(run, run.script.commands, before)
        if reason:
            raise Blocked(self.line(index), reason)

    def _reason(self, run: Run, commands: Sequence[Command], before: Before) -> str:
        """Why some commands of a RUN cannot come before the sources, empty where they can."""
        fine = {install.command.span for install in installs(run)}
        folders = {id(command): folder for command, folder in with_folders(run)}
        for command in commands:
            if command.span in fine and "sh -c" not in command.context:
                continue
            reason = before.reason(command, folders.get(id(command)), run.logical.text)
            if reason:
                return reason
        return ""

    def _cut(self, wanted: Sequence[_Wanted], before: Before) -> Cut:
        """Where the RUN of the last install ends what it can do without the sources."""
        step = self.walked[self.last]
        run = step.run
        assert run is not None
        mine = [item for item in wanted if item.index == self.last]
        again = [item for item in wanted if item.need.again]
        if again and (len(wanted) > 1 or not mine):
            raise Blocked(self.line(self.last), "the project is installed too, with other installs around it")
        parts = run.script.parts
        spans = {item.install.command.span for item in mine}
        owners = [index for index, part in enumerate(parts) if any(item.span in spans for item in part.commands)]
        if not owners:
            raise Blocked(self.line(self.last), "the install stands inside another command")
        reason = self._reason(run, [item for part in parts[: owners[-1] + 1] for item in part.commands], before)
        if reason:
            raise Blocked(self.line(self.last), reason)
        end = owners[-1]
        while end + 1 < len(parts) and not self._reason(run, parts[end + 1].commands, before):
            end += 1
        command, options = (again[0].install.command, again[0].need.options) if again else (None, ())
        last = None if end == len(parts) - 1 else end
        if last is not None or again:
            self._may_be_cut(run, parts, owners[-1], end)
        if again and parts[owners[-1]].command is None:
            raise Blocked(self.line(self.last), "the install stands inside another command")
        return Cut(run, last, command, options, bool(again))

    def _may_be_cut(self, run: Run, parts: Sequence[Part], install: int, end: int) -> None:
        line = self.line(self.last)
        if run.instruction.heredocs:
            raise Blocked(line, "the script of a heredoc is not cut in two")
        strict = any(
            part.command is not None
            and part.command.name == "set"
            and re.search(r"^-\w*e", " ".join(part.command.texts))
            for part in parts[:install]
        )
        joints = ("&&", ";") if strict else ("&&",)
        if any(part.operator not in joints for part in parts[end:-1]):
            raise Blocked(line, "what follows the install in this RUN is not joined to it by &&")
        for part in parts[: end + 1]:
            for command in part.commands:
                own = command.assignments and not command.words
                if own or command.name in _STATEFUL or (part.command is None and command.name in ("cd", "set")):
                    raise Blocked(line, "this RUN sets variables that what follows the install may read")
                if "function" in command.context:
                    raise Blocked(line, "this RUN defines a function")
        ships = self.stage.index in shipped_stages(self.dockerfile)
        for part in parts[end + 1 :]:
            for command in part.commands:
                if ships and _cleans(command):
                    raise Blocked(line, "this RUN cleans up at its end what the layer of the install would then hold")

    def _edits(
        self,
        tree: Tree,
        sources: Tree,
        places: Sequence[str],
        moved: Sequence[object],
        wanted: Sequence[_Wanted],
        cut: Cut,
    ) -> Move:
        text = self.dockerfile.source.text
        copies = [step for step in self.walked[self.first : self.last] if step.instruction in moved]
        missing = [place for place in places if not self._there(tree, place, moved)]
        start = copies[0]
        landing = next(item for item in sources.landings if item.instruction is start.instruction)
        expanded = start.scope.expand(start.instruction.words[-1].text)
        folder = joined(start.folder, expanded.text if expanded is not None else None) or landing.place
        try:
            lines = copy_lines(start.instruction, text, tree, missing, folder)
            blocks = [block(self.dockerfile, step.instruction) for step in copies]
            edits = [self._removed(found, lines if index == 0 else []) for index, found in enumerate(blocks)]
            run_block = block(self.dockerfile, self.walked[self.last].instruction, comments=False)
            spaced = blocks[0].spaced or (run_block.spaced and len(copies) == 1 and self._gap_above())
            edits += cut_edits(self.dockerfile, cut, blocks, spaced=spaced)
        except Unknown as unknown:
            raise Blocked(self.line(self.first), str(unknown)) from None
        names = dict.fromkeys(posixpath.basename(tree.origin(place) or place) for place in places)
        reads = ", ".join(list(names)[:4]) + (" …" if len(names) > 4 else "")
        shown = tuple(dict.fromkeys(item.install.shown for item in wanted))
        last = self.walked[self.last].instruction.lines[1]
        return Move(self.last, (self.line(self.first), last), shown, reads, tuple(edits))

    def _gap_above(self) -> bool:
        text = self.dockerfile.source.text
        found = block(self.dockerfile, self.walked[self.last].instruction)
        return text[: found.span.start].endswith(("\n\n", "\n\r\n"))

    def _removed(self, found: Block, lines: Sequence[str]) -> Edit:
        if not lines:
            return removal(self.dockerfile, found)
        newline = self.dockerfile.source.newline
        text = self.dockerfile.source.text[found.span.start : found.span.end]
        return Edit(found.span, newline.join(lines) + (newline if text.endswith("\n") else ""))

    def _there(self, tree: Tree, place: str, moved: Sequence[object]) -> bool:
        """Whether a copy that stays has brought a file, and nothing has changed it since."""
        origin = tree.origin(place)
        name = posixpath.basename(place)
        found = False
        for step in self.walked[: self.last]:
            if step.instruction in moved:
                continue
            mine = [landing for landing in tree.landings if landing.instruction is step.instruction]
            if any(not item.folder and item.place == place and item.origin == origin for item in mine):
                found = tree.kind(place) == "file"
            elif step.instruction.keyword == "RUN" and name in step.instruction.logical.text:
                found = False
        return found


def _cleans(command: Command) -> bool:
    words = " ".join(command.texts)
    return command.name in ("rm", "unlink", "shred") or bool(
        re.search(r"(?:^|\s)(?:clean|purge|remove|autoremove|del|uninstall|prune|-delete|erase)\b", words)
    )


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _related(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)
