"""Whether Cargo.lock speaks for what is built: cargo brings a lock file up to date without a word."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.rust_project import Cargo, RustBuild
from buildopt.dockerfile.splits.shipped import text_of

_PACKAGE = re.compile(r'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)
_REQUIREMENT = re.compile(r"(?P<exact>=?)\^?\s*(?P<numbers>[0-9]+(?:\.[0-9]+){0,2})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dependency as a manifest names it: the crate, the versions, the folder of one that lies in the context."""

    name: str
    version: str = ""
    folder: str = ""
    optional: bool = False
    git: bool = False


def missing(cargo: Cargo, made: Sequence[RustBuild], runs: Sequence[Run]) -> list[str] | None:
    """The crates that the lock files do not list as they are asked for. None: there is no lock file that counts.

    ``runs`` are all of the stage, those that only make sources too.
    """
    commands = [command for run in runs for command in run.commands]
    if all(_is_locked(command) for command in [*(build.command for build in made), *filter(_resolves, commands)]):
        return []  # cargo fails where it would have to change it
    found: list[str] = []
    for workspace in dict.fromkeys(build.package.workspace for build in made):
        item = cargo.places.get(posixpath.join(workspace, "Cargo.lock"))
        text = text_of(cargo.subject, item) if item is not None else None
        if item is None or text is None:
            return None
        later = [run for run in runs if run.instruction.span.start > item.instruction.span.start]
        if any(_renews(command) for run in later for command in run.commands):
            return None
        locked: dict[str, list[str]] = {}
        for name, version in _PACKAGE.findall(text.replace("\r\n", "\n")):
            locked.setdefault(_plain(name), []).append(version)
        found += [item.name for item in _all_wanted(cargo, made) if not _is_listed(item, locked)]
    return sorted(set(found))


def _is_locked(command: Command) -> bool:
    return not {"--locked", "--frozen"}.isdisjoint(command.texts)


def _resolves(command: Command) -> bool:
    words = [text for text in command.texts if not text.startswith("+")]
    return command.name == "cargo" and words[:1] in (["fetch"], ["check"], ["test"], ["clippy"], ["tree"])


def _renews(command: Command) -> bool:
    """Whether a command makes the lock file anew, or removes it."""
    words = [text for text in command.texts if not text.startswith("+")]
    if command.name == "cargo":
        return words[:1] in (["update"], ["generate-lockfile"])
    return command.name == "rm" and any(posixpath.basename(text) in ("Cargo.lock", "Cargo.*") for text in words)


def _plain(name: str) -> str:
    return name.replace("_", "-")


def _is_listed(item: Wanted, locked: Mapping[str, Sequence[str]]) -> bool:
    versions = locked.get(_plain(item.name))
    if versions is None:
        return False
    return item.git or not item.version or any(_satisfies(version, item.version) for version in versions)


def _satisfies(version: str, requirement: str) -> bool:
    """Whether a version suits: False only where that is certain."""
    asked = _REQUIREMENT.fullmatch(requirement.strip())
    if asked is None or re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+(?:\+.*)?", version) is None:
        return True
    has = [int(part) for part in version.partition("+")[0].split(".")]
    wants = [int(part) for part in asked.group("numbers").split(".")]
    if asked.group("exact"):
        return has[: len(wants)] == wants
    # What must stay the same ends with the first number that is not 0.
    fixed = next((index for index, number in enumerate(wants) if number), len(wants) - 1) + 1
    return has[:fixed] == wants[:fixed] and has >= wants


def reached(cargo: Cargo, made: Sequence[RustBuild]) -> set[str]:
    """The folders of the packages that may be compiled: members of the workspaces, and what they take from paths."""
    open_folders = [folder for build in made for folder in _members(cargo, build)]
    found: set[str] = set()
    while open_folders:
        folder = open_folders.pop()
        document = cargo.documents.get(posixpath.join(folder, "Cargo.toml"))
        if document is None or folder in found:
            continue
        found.add(folder)
        open_folders += [item.folder for item in wanted(cargo, folder) if item.folder]
        open_folders += _patches(folder, document)
    return found


def _members(cargo: Cargo, build: RustBuild) -> list[str]:
    members = [item.folder for item in cargo.all_packages(build.package.folder)]
    return [build.package.folder, build.package.workspace, *members]


def _patches(folder: str, document: Mapping[str, object]) -> Iterator[str]:
    sources = document.get("patch")
    tables = list(sources.values()) if isinstance(sources, dict) else []
    for table in [*tables, document.get("replace")]:
        for value in table.values() if isinstance(table, dict) else ():
            if isinstance(value, dict) and isinstance(value.get("path"), str):
                yield posixpath.normpath(posixpath.join(folder, value["path"]))


def _all_wanted(cargo: Cargo, made: Sequence[RustBuild]) -> Iterator[Wanted]:
    members = {folder for build in made for folder in _members(cargo, build)}
    for folder in sorted(reached(cargo, made)):
        for item in wanted(cargo, folder):
            # Of packages outside the workspace, only what their features ask for is locked.
            if not item.folder and not (item.optional and folder not in members):
                yield item


def wanted(cargo: Cargo, folder: str) -> Iterator[Wanted]:
    """What a package asks for, to be compiled into it or for its build script, on any platform."""
    document = cargo.documents[posixpath.join(folder, "Cargo.toml")]
    targets = document.get("target")
    platforms = [table for table in targets.values() if isinstance(table, dict)] if isinstance(targets, dict) else []
    for holder in [document, *platforms]:
        for kind in ("dependencies", "build-dependencies", "build_dependencies"):
            table = holder.get(kind)
            for name, value in table.items() if isinstance(table, dict) else ():
                yield _wanted(name, value, folder, lambda name: _inherited(cargo, folder, name))


def _inherited(cargo: Cargo, folder: str, name: str) -> tuple[object, str]:
    """What the workspace says of a dependency, and the folder that its path begins at."""
    document = cargo.documents[posixpath.join(folder, "Cargo.toml")]
    package = document.get("package")
    root = package.get("workspace") if isinstance(package, dict) else None
    at = posixpath.normpath(posixpath.join(folder, root)) if isinstance(root, str) else cargo.workspace(folder)
    workspace = cargo.documents.get(posixpath.join(at, "Cargo.toml"), {}).get("workspace")
    table = workspace.get("dependencies") if isinstance(workspace, dict) else None
    return (table.get(name) if isinstance(table, dict) else None), at


def _wanted(name: str, value: object, folder: str, inherited: Callable[[str], tuple[object, str]]) -> Wanted:
    optional = isinstance(value, dict) and value.get("optional") is True
    if isinstance(value, dict) and value.get("workspace") is True:
        value, folder = inherited(name)
    if isinstance(value, str):
        return Wanted(name, value, optional=optional)
    if not isinstance(value, dict):
        return Wanted(name, optional=optional)
    path = value.get("path")
    return Wanted(
        str(value.get("package", name)),
        str(value.get("version", "")),
        posixpath.normpath(posixpath.join(folder, path)) if isinstance(path, str) else "",
        optional,
        "git" in value,
    )
