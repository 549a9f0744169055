"""What the RUNs of a build do beside building: packages, users, folders, owners, copies, removals.

A split needs to know which of them the runtime stage must repeat. What is not understood is a reason to refuse.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.brought import Brought
from buildopt.dockerfile.splits.splits import No, Subject, copy_line, writes_files
from buildopt.dockerfile.splits.started import literal

_QUIET = word_set("cd echo ls pwd set true : printf uname date whoami id env export exit test [ [[ which sleep hash")
_SYSTEM_MANAGERS = frozenset(("apt", "apk", "dnf"))
_INSTALLS = frozenset(("install", "add", "reinstall"))
_FETCHING = frozenset(("--no-cache", "--update", "-U", "--update-cache"))
_HARMLESS_MANAGING = word_set("update clean autoclean cache makecache autoremove remove purge del")
_USERS = word_set("useradd adduser groupadd addgroup usermod")
_FOLDER_OF_THE_SYSTEM = re.compile(r"^/(?:etc|usr|lib|bin|sbin|var|opt|root|home|boot)(?:/|$)")
_VERSION = re.compile(r"[=<>~@]")


@dataclass(frozen=True, slots=True)
class Move:
    """``cp`` or ``mv``: absolute paths, ``source`` with globs. ``removes``: the source is gone afterwards.

    ``at`` is the command's place in its RUN.
    """

    source: str
    target: str
    removes: bool
    run: Run
    at: int = 0

    def makes(self, path: str, folders: Collection[str]) -> bool:
        """Whether the path is what it makes."""
        if path == self.target and path not in folders:
            return True
        inside = posixpath.dirname(path) == self.target.rstrip("/")
        return inside and fnmatchcase(posixpath.basename(path), posixpath.basename(self.source))


@dataclass(slots=True)
class Steps:
    """What one RUN does. ``builds`` are the commands that build, with the folder that each runs in.

    ``updates``: it fetches the lists of packages, which installing needs. ``owners`` are owner, path and whether all
    below it is meant; ``removed_at`` are the places in the RUN of what removes ``removed``; ``odd`` says what is not
    understood.
    """

    run: Run
    builds: list[tuple[Command, str]] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    updates: bool = False
    upgrades: bool = False
    users: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    owners: list[tuple[str, str, bool]] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    removed_at: list[int] = field(default_factory=list)
    odd: str = ""


def steps(subject: Subject, is_build: Callable[[Command], bool]) -> list[Steps]:
    """What each RUN of the only stage does."""
    return [_steps(run, is_build) for run in subject.runs]


def _steps(run: Run, is_build: Callable[[Command], bool]) -> Steps:
    found = Steps(run)
    folder = run.state.workdir or "/"
    for command in run.commands:
        if not command.words or any("substitution" in part for part in command.context):
            found.odd = found.odd or _odd_nothing(command)
            continue
        shown = " ".join(word.raw for word in command.words)[:60]
        if writes_files(command):
            found.odd = found.odd or f"`{shown}` writes a file that may be needed at run time"
        if command.name == "cd" and command.depth == 0:
            target = literal(command.arguments[0], run.state.environment) if command.arguments else None
            if target is None:
                found.odd = found.odd or f"`{shown}`: where it goes is not known"
            else:
                folder = posixpath.normpath(posixpath.join(folder, target))
        elif is_build(command):
            found.builds.append((command, folder))
        elif not _understood(found, command, folder):
            found.odd = found.odd or f"`{shown}` may make what is needed at run time"
    found.folders = [path for path in found.folders if not _is_for_the_build(found, path)]
    return found


def _is_for_the_build(found: Steps, path: str) -> bool:
    """Whether a command of the same RUN builds in a folder, or names it."""
    return any(
        path == folder or path in (posixpath.normpath(posixpath.join(folder, text)) for text in command.texts)
        for command, folder in found.builds
    )


def _odd_nothing(command: Command) -> str:
    """A redirection without a command writes a file, a substitution reads only."""
    return "a file is written that may be needed at run time" if writes_files(command) else ""


def _understood(found: Steps, command: Command, folder: str) -> bool:
    name = command.name or ""
    use = recognise(command)
    if use is not None and use.manager.name in _SYSTEM_MANAGERS:
        subcommand = "upgrade" if use.manager.name == "dnf" and use.subcommand == "update" else use.subcommand
        return _packages(found, subcommand, [word.text for word in use.rest])
    if name in _QUIET or (name == "git" and command.texts[:1] == ("config",)) or _asks_a_version(command):
        return True
    paths = _paths(command, folder, found.run)
    if paths is None:
        return name == "rm"  # what is removed by a variable's value is no file of the build's result
    if name in _USERS:
        found.users += command.texts[-1:]
        return bool(command.texts)
    if name == "mkdir":
        found.folders += paths
    elif name == "chown":
        owner, *below = [text for text in command.texts if not text.startswith("-")] or [""]
        everything = any(re.match(r"-[a-zA-Z]*R|--recursive", text) for text in command.options)
        found.owners += ((owner, posixpath.normpath(posixpath.join(folder, path)), everything) for path in below)
    elif name == "chmod":
        found.modes += paths[1:] if not any(text.startswith("--reference") for text in command.options) else paths
    elif name in ("cp", "mv") and len(paths) > 1:
        target = f"{paths[-1]}/" if command.texts[-1].endswith(("/", ".")) else paths[-1]
        found.moves += (Move(source, target, name == "mv", found.run, command.span.start) for source in paths[:-1])
    elif name == "rm":
        found.removed += paths
        found.removed_at += [command.span.start] * len(paths)
    elif name in ("sed", "dos2unix"):
        return not any(_FOLDER_OF_THE_SYSTEM.match(path) for path in paths[-1:])
    else:
        return False
    return True


def _asks_a_version(command: Command) -> bool:
    return len(command.arguments) == 1 and command.texts[:1] in (("-version",), ("--version",), ("-v",), ("-V",))


def _paths(command: Command, folder: str, run: Run) -> list[str] | None:
    """The operands as absolute paths; None where one of them is not known."""
    found = []
    for word in command.arguments:
        text = literal(word, run.state.environment)
        if text is None:
            return None
        if not text.startswith("-"):
            found.append(posixpath.normpath(posixpath.join(folder, text)))
    return found


def _packages(found: Steps, subcommand: str, words: Sequence[str | None]) -> bool:
    if subcommand in _INSTALLS:
        if any(word is None for word in words):
            return False
        found.updates = found.updates or bool(_FETCHING.intersection(words))
        skip = False
        for word in words:
            if not skip and word and not word.startswith("-"):
                found.packages.append(_VERSION.split(word)[0])
            skip = word in ("-t", "--virtual", "--repository", "-X", "-o")
        return True
    found.updates = found.updates or subcommand == "update"
    found.upgrades = found.upgrades or "upgrade" in subcommand
    return subcommand in _HARMLESS_MANAGING or "upgrade" in subcommand


@dataclass(frozen=True, slots=True)
class Repeated:
    """What the runtime stage repeats: offsets of RUNs, users that they make, packages that they install."""

    offsets: frozenset[int]
    users: frozenset[str]
    packages: frozenset[str]


def repeated(
    subject: Subject,
    found: Iterable[Steps],
    shipped: Collection[str],
    needed: Callable[[str], bool],
) -> Repeated:
    """Which RUNs the runtime stage repeats. ``needed`` says it of a package.

    Raises No where one is needed and builds as well, or cannot be repeated before the program is there.
    """
    offsets: set[int] = set()
    users: set[str] = set()
    packages: set[str] = set()
    kept = {*shipped, subject.final.workdir or "/"}
    folders = {state.workdir for state in subject.known.values() if state.workdir} | {"/", "/tmp", "/var/log", "/opt"}
    items = list(found)
    for item in items:
        if item.odd:
            raise No(item.run.instruction, item.odd)
        for _, path, _ in item.owners:
            if any(path != place and relation(path, place) is Relation.INSIDE for place in shipped):
                raise No(item.run.instruction, f"{path} has another owner than what is shipped with it")
        wanted = [name for name in item.packages if needed(name)]
        made = [path for path in item.folders if not any(relation(place, path) is Relation.INSIDE for place in kept)]
        given = [
            path for _, path, _ in item.owners if not any(relation(path, place) is Relation.INSIDE for place in shipped)
        ]
        if not (wanted or item.users or made or item.upgrades or given):
            continue
        if item.builds or item.moves:
            what = (wanted or item.users or made or given or ["what is upgraded"])[0]
            raise No(item.run.instruction, f"{what} is needed at run time, and stands in one RUN with the build")
        folders.update(item.folders)
        for path in (*given, *(path for path in item.modes), *(path for _, path, _ in item.owners)):
            if not any(relation(folder, path) is Relation.INSIDE for folder in folders):
                raise No(item.run.instruction, f"{path} is not there yet when the runtime stage gets to this RUN")
        offsets.add(item.run.instruction.span.start)
        if item.packages and not item.updates:
            offsets |= _lists(items, item)
        users.update(item.users)
        packages.update(item.packages)
    return Repeated(frozenset(offsets), frozenset(users), frozenset(packages))


def _lists(items: Sequence[Steps], item: Steps) -> set[int]:
    """The RUN that fetched the lists of packages which another one installs from."""
    for earlier in reversed(items[: items.index(item)]):
        if earlier.updates:
            if earlier.builds or earlier.moves:
                raise No(earlier.run.instruction, "its lists of packages are needed in both stages")
            return {earlier.run.instruction.span.start}
    return set()


def owner_of(found: Iterable[Steps], path: str, first: str = "", since: int = -1) -> str:
    """Who owns a path after all RUNs: what the last ``chown`` over it says, ``first`` where there is none.

    ``since`` is the offset of the instruction that made it: what ran before did not know it.
    """
    owner = first
    for item in found:
        for name, place, everything in item.owners if item.run.instruction.span.start >= since else ():
            if path == place or (everything and relation(path, place) is Relation.INSIDE):
                owner = name
    return owner


def is_removed(found: Iterable[Steps], path: str, after: int = -1, place: int | None = None) -> bool:
    """Whether a RUN behind that offset removes a path, or moves it away; of that RUN itself what follows ``place``."""
    for item in found:
        start = item.run.instruction.span.start
        if start < after or (start == after and place is None):
            continue
        gone = [*zip(item.removed, item.removed_at or [0] * len(item.removed), strict=True)]
        gone += ((move.source, move.at) for move in item.moves if move.removes)
        for target, at in gone:
            late = start > after or place is None or at > place
            if late and (target == path or relation(target, path) is Relation.PARENT):
                return True
    return False


def data_lines(subject: Subject, done: Sequence[Steps], data: Sequence[Brought]) -> list[str]:
    """The lines that ship data of the context: folders one by one, files of one folder and owner in one line."""
    lines: list[str] = []
    files: dict[tuple[str, str], list[str]] = {}
    for entry in data:
        owner = owner_of(done, entry.path, entry.owner, entry.instruction.span.start)
        if entry.folder:
            lines.append(copy_line(subject, entry.path, chown=owner))
        else:
            files.setdefault((posixpath.dirname(entry.path), owner), []).append(entry.path)
    for (folder, owner), names in files.items():
        target = "" if len(names) == 1 else f"{folder.rstrip('/')}/"
        lines.append(copy_line(subject, " ".join(names), target, owner))
    return lines
