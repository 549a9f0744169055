"""Commands as hadolint 2.15 reads them, for the profile of that name.

It takes every word that starts with a dash for a flag, knows the values of some flags only, and does not see through
``sudo``, ``env`` or a quoted ``sh -c``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import mount_options
from buildopt.dockerfile.shell import Command

_TRANSPARENT = frozenset(("exec", "command", "builtin", "busybox", "time"))
_MOUNT = re.compile(r"\s--mount=(\S+)")
_BACKTICKS = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Seen:
    """One command. ``words`` are its arguments; what is not known stays as written. ``index`` counts commands."""

    name: str
    words: tuple[str, ...]
    command: Command
    index: int

    def runs(self, programs: Collection[str], actions: Collection[str]) -> bool:
        """Whether it is one of these programs, and any of its words one of these actions."""
        return self.name in programs and any(word in actions for word in self.words)

    def has(self, *names: str) -> bool:
        """Whether a flag of that name is given: ``y`` for ``-y`` and ``-qy``, ``yes`` for ``--yes`` and ``--yes=1``."""
        return any(name in names for _, name in self._flags())

    def operands(self, valued: Collection[str] = ()) -> list[str]:
        """The words that are no flags, nor stand behind one of ``valued``."""
        flags = list(self._flags())
        places = {place for place, _ in flags}
        dropped = {place + 1 for place, name in flags if name in valued and "=" not in self.words[place]}
        return [word for place, word in enumerate(self.words) if place not in places | dropped]

    def _flags(self) -> Iterator[tuple[int, str]]:
        for place, word in enumerate(self.words):
            if word.startswith("--") and word != "--":
                yield place, word[2:].partition("=")[0]
            elif word.startswith("-") and word not in ("-", "--"):
                yield from ((place, letter) for letter in word[1:])


def seen(run: Run) -> Iterator[Seen]:
    """The commands of a RUN that hadolint sees."""
    for index, command in enumerate(run.script.commands):
        if "sh -c" in command.context or not _TRANSPARENT.issuperset(command.wrappers):
            continue
        name = command.argv[0].text if command.argv else None
        if name:
            # Behind `exec` and its like the program itself counts as an argument.
            words = command.words[1:] if set(command.wrappers) - {"time"} else command.arguments
            yield Seen(name, tuple(_text(word.text, word.raw) for word in words), command, index)


def _text(text: str | None, raw: str) -> str:
    return text if text is not None else _BACKTICKS.sub("", raw).replace('"', "").replace("'", "")


def installs_by_pip(item: Seen) -> bool:
    """Whether hadolint takes a command for ``pip install``: any name that starts like it, but pipenv's."""
    if item.name.startswith("python"):
        return any(item.words[place : place + 3] == ("-m", "pip", "install") for place in range(len(item.words)))
    return item.name.startswith("pip") and not item.name.startswith("pipenv") and "install" in item.words


def environment(run: Run) -> Mapping[str, str | None]:
    """The variables of ENV before a RUN; a trigger knows those of triggers only."""
    if run.instruction in run.stage.instructions:
        return run.scope.env
    found: dict[str, str | None] = {}
    for instruction in run.stage.instructions:
        trigger = instruction.trigger
        if trigger is not None and trigger.keyword == "ENV" and trigger.span.start < run.instruction.span.start:
            found.update((pair.key.text, None if pair.value is None else pair.value.text) for pair in trigger.pairs)
    return found


def mounts_on(run: Run, *parts: str) -> bool:
    """Whether the target of a cache or tmpfs mount holds one of these texts, as written."""
    return any(part in target for target in _targets(run) for part in parts)


def mounts_from(run: Run, folder: str) -> bool:
    """Whether the target of a cache or tmpfs mount starts with this text, as written."""
    return any(target.startswith(folder) for target in _targets(run))


def _targets(run: Run) -> Iterator[str]:
    for match in _MOUNT.finditer(run.instruction.logical.text):
        options = mount_options(match[1])
        if options["type"] in ("cache", "tmpfs"):
            yield options.get("target", "").strip("\"'")


def ships_for_hadolint(dockerfile: Dockerfile, run: Run) -> bool:
    """Whether hadolint takes the stage for one that matters: the last, or one that another starts from."""
    stage = run.stage
    if stage.index < 0 or stage is dockerfile.stages[-1] or run.instruction not in stage.instructions:
        return True  # triggers count anywhere
    words = [word.text for word in stage.origin.words]
    alias = words[2] if len(words) > 2 and words[1].upper() == "AS" else None
    images = (other.image.text for other in dockerfile.stages if other is not stage and other.image is not None)
    if alias is None:
        return words[0] in images if words else False
    # It knows a stage by its name as written, and takes `name:tag` for the stage too.
    return any(re.split(r"[:@]", image, maxsplit=1)[0] == alias for image in images)
