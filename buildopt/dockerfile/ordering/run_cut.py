"""Where a RUN ends what it can do without the sources, and whether it may be cut in two there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from buildopt.dockerfile.installs import installs, with_folders
from buildopt.dockerfile.ordering.layer_edits import Cut
from buildopt.dockerfile.ordering.needs import Wanted
from buildopt.dockerfile.ordering.stage_steps import Blocked, Step
from buildopt.dockerfile.ordering.without_sources import Before
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command, Part

_STATEFUL = frozenset(
    (
        ".",
        "source",
        "export",
        "declare",
        "umask",
        "shopt",
        "trap",
        "alias",
        "eval",
        "read",
        "local",
        "exec",
        "pushd",
        "popd",
        "unset",
    )
)


# What they do to a file of a layer below puts the whole file into the new layer.
_REPEATING = frozenset(("chown", "chgrp", "mv"))


def reason(run: Run, commands: Sequence[Command], before: Before) -> str:
    """Why some commands of a RUN cannot come before the sources, empty where they can."""
    fine = {install.command.span for install in installs(run)}
    before = replace(before, variables=_settled(run))
    folders = {id(command): folder for command, folder in with_folders(run)}
    for command in commands:
        if command.span in fine and "sh -c" not in command.context:
            continue
        problem = before.reason(command, folders.get(id(command)), run.logical.text)
        if problem:
            return problem
    return ""


def _settled(run: Run) -> dict[str, str]:
    """The variables of ENV that a RUN does not set itself."""
    own = {item.name for command in run.script.commands for item in command.assignments}
    own.update(word.raw.partition("=")[0] for command in run.script.commands for word in command.words)
    return {name: value for name, value in run.scope.env.items() if value is not None and name not in own}


@dataclass(frozen=True, slots=True)
class Cutter:
    """The step of the last install, and what is known of it.

    ``ships``: its layers get into an image. ``given``: commands that give copies away, which may stay with the install.
    """

    step: Step
    wanted: Sequence[Wanted]
    before: Before
    ships: bool
    given: tuple[Command, ...]

    def stays(self, cut: Cut, command: Command) -> bool:
        """Whether a command of the RUN stays before the sources."""
        parts = cut.run.script.parts
        return cut.last is None or any(command in part.commands for part in parts[: cut.last + 1])

    def _reason(self, run: Run, commands: Sequence[Command]) -> str:
        return reason(run, [command for command in commands if command not in self.given], self.before)

    def cut(self) -> Cut:
        """Raises Blocked."""
        run = self.step.run
        assert run is not None
        mine = [item for item in self.wanted if item.step is self.step]
        again = [item for item in self.wanted if item.need.again]
        if again and (len(self.wanted) > 1 or not mine):
            raise Blocked(self.step.line, "the project is installed too, with other installs around it")
        parts = run.script.parts
        spans = {item.install.command.span for item in mine}
        owners = [index for index, part in enumerate(parts) if any(item.span in spans for item in part.commands)]
        if not owners:
            raise Blocked(self.step.line, "the install stands inside another command")
        problem = self._reason(run, [item for part in parts[: owners[-1] + 1] for item in part.commands])
        if problem:
            raise Blocked(self.step.line, problem)
        end = owners[-1]
        while end + 1 < len(parts) and not _keeps_state(parts[end + 1]):
            if self._reason(run, parts[end + 1].commands):
                break
            end += 1
        last = None if end == len(parts) - 1 else end
        if last is not None or again:
            self._may_be_cut(run, parts, owners[-1], end)
        if not again:
            return Cut(run, last)
        self._may_run_again(parts, owners[-1])
        # What the first one's caches are cleaned by, cleans those of the second one.
        cleaning = tuple(
            part for part in parts[owners[-1] + 1 : end + 1] if any(_cleans(item) for item in part.commands)
        )
        item = again[0]
        return Cut(run, last, item.install.command, item.need.options, cleaning, again=True)

    def _may_run_again(self, parts: Sequence[Part], install: int) -> None:
        around = [parts[install].operator, *(part.operator for part in parts[install - 1 : install])]
        if parts[install].command is None or {"||", "|", "|&", "&"} & set(around):
            raise Blocked(self.step.line, "the install stands inside another command")

    def _may_be_cut(self, run: Run, parts: Sequence[Part], install: int, end: int) -> None:
        line = self.step.line
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
        if any(_keeps_state(part) for part in parts[: end + 1]):
            raise Blocked(line, "this RUN sets variables that what follows the install may read")
        folders = {id(command): folder for command, folder in with_folders(run)}
        for part in parts[end + 1 :]:
            for command in part.commands:
                if self.ships and _cleans(command):
                    raise Blocked(line, "this RUN cleans up at its end what the layer of the install would then hold")
                if self.ships and self._repeats(command, folders.get(id(command))):
                    raise Blocked(line, f"{command.name} would store what was installed again, in a new layer")

    def _repeats(self, command: Command, folder: str | None) -> bool:
        """Whether it changes what was installed, as a whole."""
        if command.name not in _REPEATING:
            return False
        places = [place for item in self.wanted for place in item.need.makes]
        for word in command.arguments:
            text = word.text
            if text is not None and text.startswith("-"):
                continue
            if text is None or (folder is None and not text.startswith("/")):
                return True
            path = posixpath.normpath(posixpath.join(folder or "/", text)).rstrip("/")
            if any(place == path or place.startswith(f"{path}/") for place in places):
                return True
        return False


def _keeps_state(part: Part) -> bool:
    """Whether it leaves more to what follows it than files, ``cd`` and ``set`` by themselves excepted."""
    for command in part.commands:
        if {"subshell", "substitution", "sh -c"} & set(command.context):
            continue
        own = command.assignments and not command.words
        inside = part.command is None and command.name in ("cd", "set")
        if own or command.name in _STATEFUL or inside or "function" in command.context:
            return True
    return False


def _cleans(command: Command) -> bool:
    words = " ".join(command.texts)
    return command.name in ("rm", "unlink", "shred") or bool(
        re.search(
            r"(?:^|\s)(?:clean|purge|remove|autoremove|del|uninstall|prune|-delete|erase|clear|clear-cache)\b", words
        )
    )
