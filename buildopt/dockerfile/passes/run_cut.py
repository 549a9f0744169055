"""Where a RUN ends what it can do without the sources, and whether it may be cut in two there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.installs import installs, with_folders
from buildopt.dockerfile.passes.layer_edits import Cut
from buildopt.dockerfile.passes.needs import Wanted
from buildopt.dockerfile.passes.stage_steps import Blocked, Step
from buildopt.dockerfile.passes.without_sources import Before
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


def reason(run: Run, commands: Sequence[Command], before: Before) -> str:
    """Why some commands of a RUN cannot come before the sources, empty where they can."""
    fine = {install.command.span for install in installs(run)}
    folders = {id(command): folder for command, folder in with_folders(run)}
    for command in commands:
        if command.span in fine and "sh -c" not in command.context:
            continue
        problem = before.reason(command, folders.get(id(command)), run.logical.text)
        if problem:
            return problem
    return ""


@dataclass(frozen=True, slots=True)
class Cutter:
    """The step of the last install, and what is known of it. ``ships``: its layers get into an image."""

    step: Step
    wanted: Sequence[Wanted]
    before: Before
    ships: bool

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
        problem = reason(run, [item for part in parts[: owners[-1] + 1] for item in part.commands], self.before)
        if problem:
            raise Blocked(self.step.line, problem)
        end = owners[-1]
        while end + 1 < len(parts) and not _keeps_state(parts[end + 1]):
            if reason(run, parts[end + 1].commands, self.before):
                break
            end += 1
        command, options = (again[0].install.command, again[0].need.options) if again else (None, ())
        last = None if end == len(parts) - 1 else end
        if last is not None or again:
            self._may_be_cut(run, parts, owners[-1], end)
        if again and parts[owners[-1]].command is None:
            raise Blocked(self.step.line, "the install stands inside another command")
        return Cut(run, last, command, options, bool(again))

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
        for part in parts[end + 1 :]:
            for command in part.commands:
                if self.ships and _cleans(command):
                    raise Blocked(line, "this RUN cleans up at its end what the layer of the install would then hold")


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
        re.search(r"(?:^|\s)(?:clean|purge|remove|autoremove|del|uninstall|prune|-delete|erase)\b", words)
    )
