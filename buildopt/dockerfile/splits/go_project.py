"""The files of a Go project in the build stage: its modules, and which folders hold programs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import Subject


@dataclass(frozen=True, slots=True)
class Project:
    """What is known of the build stage's files: folders, the context's files by their paths, modules made by RUN."""

    folders: frozenset[str]
    files: Mapping[str, Landed]
    subject: Subject
    made: Mapping[str, str]

    def module(self, folder: str) -> str | None:
        """The import path of a folder, from the nearest go.mod at or above it; else from its place below GOPATH."""
        at, below = folder, ""
        while True:
            name = self.made.get(at) or self._declared(at)
            if name is not None:
                return posixpath.join(name, below)
            if at == "/":
                return folder.removeprefix("/go/src/") if folder.startswith("/go/src/") else None
            at, below = posixpath.dirname(at), posixpath.join(posixpath.basename(at), below)

    def _declared(self, folder: str) -> str | None:
        item = self.files.get(posixpath.join(folder, "go.mod"))
        text = text_of(self.subject, item) if item is not None else None
        match = re.search(r'^\s*module\s+"?([^\s"]+)', text or "", re.MULTILINE)
        return match.group(1) if match else None

    def programs(self, folder: str) -> list[str]:
        """The folders at or below one that hold a program of the same module."""
        found = set()
        for path, item in self.files.items():
            parent = posixpath.dirname(path)
            inside = parent == folder or parent.startswith(f"{folder.rstrip('/')}/")
            if not inside or not path.endswith(".go") or path.endswith("_test.go") or parent in found:
                continue
            below = parent[len(folder) :].split("/")
            if any(part in ("vendor", "testdata") or part.startswith(("_", ".")) for part in below):
                continue
            if re.search(r"^package main\b", text_of(self.subject, item) or "", re.MULTILINE):
                found.add(parent)
        inner = {posixpath.dirname(path) for path in self.files if path.endswith("/go.mod")} - {folder}
        return sorted(
            path for path in found if not any(_inside(path, other) and _inside(other, folder) for other in inner)
        )


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def project(subject: Subject, files: Iterable[Landed]) -> Project:
    """The build stage's files, as far as they come from the context, and the folders that are known to be there."""
    folders = {"/", "/go", "/go/bin", "/go/src", "/bin", "/usr/bin", "/usr/local/bin", "/usr/local", "/tmp", "/opt"}
    places = {item.path: item for item in files}
    for path in places:
        folders.update(_with_parents(posixpath.dirname(path)))
    for state in subject.known.values():
        if state.workdir:
            folders.update(_with_parents(state.workdir))
    made: dict[str, str] = {}
    for run in subject.runs:
        for command in run.commands:
            if command.name == "mkdir":
                for text in command.texts:
                    if not text.startswith("-"):
                        folders.update(
                            _with_parents(posixpath.normpath(posixpath.join(run.state.workdir or "/", text)))
                        )
            if command.name == "go" and command.texts[:2] == ("mod", "init") and run.state.workdir:
                made[run.state.workdir] = command.texts[2] if len(command.texts) > 2 else ""
    return Project(frozenset(folders), places, subject, {folder: name for folder, name in made.items() if name})


def _with_parents(path: str) -> list[str]:
    found = [path]
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        found.append(path)
    return found
