"""What stands between copies of sources and an install: what stays, what moves along, what stands in the way."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from buildopt.dockerfile.installs import installs, with_folders
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.ordering.copied_files import Tree, landings
from buildopt.dockerfile.ordering.follows import Followers
from buildopt.dockerfile.ordering.run_cut import reason
from buildopt.dockerfile.ordering.stage_steps import Blocked, Step
from buildopt.dockerfile.ordering.without_sources import Before
from buildopt.dockerfile.scope import joined, mount_options
from buildopt.dockerfile.shell import Command

SYSTEM = word_set("bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var")
_SYSTEM_FOLDERS = frozenset(
    ("/bin", "/etc", "/home", "/lib", "/opt", "/sbin", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/var")
)
# What programs look for in a home folder.
_PERSONAL = re.compile(
    r"\.(?:config|pip|netrc|git(?:config|-credentials)|ssh|cargo|m2|gradle|npm|npmrc|yarnrc|cache|local|nuget|docker|"
    r"bash.*|profile|yarn|condarc|bundle|gemrc|composer|pypirc)"
)
_SILENT = frozenset(("LABEL", "EXPOSE", "CMD", "ENTRYPOINT", "STOPSIGNAL", "HEALTHCHECK", "MAINTAINER", "ONBUILD"))
_STATE = ("USER", "SHELL", "WORKDIR", "ENV", "ARG")
_OWNER = re.compile(r"[\w.-]+:[\w.-]+")


@dataclass(frozen=True, slots=True)
class Gift:
    """A command that gives the files of copies to another owner."""

    command: Command
    owner: str
    copies: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The steps from the first moved copy to the install (the last of ``steps``).

    ``sources`` are the files of the copies that move (``moved``), ``makes`` where the installs may write. Found on the
    way: the RUN instructions that move with them (``along``), and the owner that a RUN gives the files of a copy, by
    the copy's offset (``owners``).
    """

    steps: Sequence[Step]
    moved: Sequence[Instruction]
    sources: Tree
    before: Before
    makes: Sequence[str]
    prisma: bool
    along: list[Step] = field(default_factory=list)
    owners: dict[int, str] = field(default_factory=dict)

    def check(self) -> None:
        """Look at every step. Raises Blocked where one cannot change places with the copies."""
        self._places_are_plain()
        for index in range(len(self.steps) - 1):
            self._step(index)

    def _step(self, index: int) -> None:
        step = self.steps[index]
        instruction, keyword = step.instruction, step.instruction.keyword
        if instruction in self.moved or keyword in _SILENT:
            return
        if keyword in ("COPY", "ADD"):
            self._other_copy(step)
        elif keyword == "VOLUME":
            for word in instruction.words:
                expanded = step.scope.expand(word.text)
                if expanded is None or self.sources.touches(posixpath.normpath(posixpath.join("/", expanded.text))):
                    raise Blocked(step.line, "VOLUME stands between the copy and the install")
        elif keyword in _STATE:
            self._same_words(index)
        elif keyword == "RUN":
            self._run(index)
        else:
            raise Blocked(step.line, f"{keyword} stands between the copy and the install")

    def _run(self, index: int) -> None:
        step = self.steps[index]
        run = step.run
        if run is None or not run.script.complete:
            raise Blocked(step.line, "this RUN may need the sources: it cannot be read to the end")
        for flag in step.instruction.flags_named("mount"):
            if mount_options(flag.value or "")["type"] not in ("cache", "secret", "ssh", "tmpfs"):
                raise Blocked(step.line, "this RUN may need the sources: something is mounted")
        owning = self.owning(index)
        self.own(owning)
        given = [item.command for item in owning]
        rest = [command for command in run.script.commands if command not in given]
        problem = reason(run, rest, self.before)
        if not problem:
            return
        regions = [landing.place for landing in self.sources.landings if landing.folder]
        names = Followers(self.sources, self.before.first, regions, self.makes, self.prisma).written(run)
        if names is None or owning or any(True for _ in installs(run)):
            raise Blocked(step.line, problem)
        for later in self.steps[index + 1 :]:
            text = later.instruction.logical.text
            same = later.instruction in self.moved
            if later.instruction.keyword in _STATE or (not same and any(name in text for name in names)):
                raise Blocked(step.line, problem)
        self.along.append(step)

    def own(self, gifts: Sequence[Gift]) -> None:
        """Note the new owners of copies."""
        self.owners.update((step.instruction.span.start, gift.owner) for gift in gifts for step in gift.copies)

    def owning(self, index: int) -> list[Gift]:
        """The commands of a RUN that give away all that was copied so far: ``chown -R user:group /app``."""
        found = []
        run = self.steps[index].run
        assert run is not None
        for command, folder in with_folders(run):
            texts = [text for text in command.texts if text not in ("-R", "--recursive")]
            if command.name != "chown" or len(texts) == len(command.texts) or len(texts) < 2 or folder is None:
                continue
            if len(command.texts) != len(command.arguments) or not _OWNER.fullmatch(texts[0]) or command.context:
                continue
            places = [posixpath.normpath(posixpath.join(folder, text)) for text in texts[1:]]
            copies = self._given(index, places)
            if copies:
                found.append(Gift(command, texts[0], tuple(copies)))
        return found

    def _given(self, index: int, places: Sequence[str]) -> list[Step]:
        """The copies that folders hold, none where only a part of one is there, or a part of the sources is meant."""
        copies: list[Step] = []
        for step in self.steps[:index]:
            if step.instruction not in self.moved:
                continue
            mine = [landing for landing in self.sources.landings if landing.instruction is step.instruction]
            inside = [any(_within(landing.place, place) for place in places) for landing in mine]
            if not any(inside):
                if any(_within(place, landing.place) for landing in mine for place in places):
                    return []
                continue
            plain = step.instruction.flag("chown") is None and step.instruction.flag("link") is None
            if not all(inside) or not plain:
                return []
            copies.append(step)
        odd = any(self.sources.kind(place) and not self._is_region(place) for place in places)
        return [] if odd else copies

    def _is_region(self, place: str) -> bool:
        return any(_within(landing.place, place) for landing in self.sources.landings if landing.folder)

    def _places_are_plain(self) -> None:
        """Nothing that is moved lies among the files of the system or in somebody's home."""
        line = self.steps[0].line
        for landing in self.sources.landings:
            if landing.place in _SYSTEM_FOLDERS:
                raise Blocked(line, f"the sources are copied into {landing.place}, among the files of the system")
            if landing.place == "/" and landing.folder:
                shared = sorted(SYSTEM & set(self.sources.files.names(landing.origin)))
                if shared:
                    raise Blocked(line, f"{shared[0]} of the context is copied into that of the system")
            if landing.folder and re.fullmatch(r"/root|/home/[^/]+|/", landing.place):
                personal = [name for name in self.sources.files.names(landing.origin) if _PERSONAL.fullmatch(name)]
                if personal:
                    raise Blocked(line, f"{personal[0]} of the context is copied into a home folder")

    def _other_copy(self, step: Step) -> None:
        expanded = step.scope.expand(step.instruction.words[-1].text)
        place = joined(step.folder, expanded.text if expanded is not None else None)
        if place is None:
            raise Blocked(step.line, "where this copy goes is not known")
        if step.instruction.flag("from") is None:
            mine = landings(self.sources.files, step.instruction, step.scope, step.folder or "/")
            for landing in mine:
                origin = self.sources.origin(landing.place)
                if landing.folder and self.sources.touches(landing.place):
                    raise Blocked(step.line, "this copy may lay other files over the sources")
                if origin not in (None, landing.origin):
                    raise Blocked(step.line, f"{landing.place} is copied twice, from different files")
            return
        names = [posixpath.basename(word.text.rstrip("/")) for word in step.instruction.words[:-1]]
        inside = [posixpath.join(place, name) for name in names]
        if self.sources.kind(place) == "file" or any(self.sources.touches(item) for item in inside):
            raise Blocked(step.line, "what is copied here from elsewhere would be covered by the sources")
        # Names such as `dist` may be folders, whose content is not known: it must not go to where sources go.
        folders = [name for name in names if not re.fullmatch(r"[\w@-][\w.@-]*\.\w+", name)]
        shared = any(landing.folder and landing.place == place for landing in self.sources.landings)
        if folders and (shared or self.sources.kind(place)):
            raise Blocked(step.line, "what is copied here from elsewhere may be covered by the sources")

    def _same_words(self, index: int) -> None:
        """What the words of the moved copies stand for must not change."""
        step = self.steps[index]
        for other in self.steps[:index]:
            if other.instruction not in self.moved:
                continue
            words = [word.text for word in other.instruction.words]
            words += [flag.value or "" for flag in other.instruction.flags]
            after = self.steps[index + 1]
            for word in words:
                old, new = other.scope.expand(word), after.scope.expand(word)
                if (old and old.text) != (new and new.text):
                    raise Blocked(step.line, f"{step.instruction.keyword} changes what the copy means")
            last = other.scope.expand(words[len(other.instruction.words) - 1])
            relative = last is None or not last.text.startswith("/")
            if relative and step.instruction.keyword == "WORKDIR" and other.folder != after.folder:
                raise Blocked(step.line, "the copy is relative to a working folder that changes before the install")


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
