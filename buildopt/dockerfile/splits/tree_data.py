"""Which files of a source tree a compiled program may read at run time: all but what is only there to build it.

Sources and build files count where the program speaks of them.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.brought import Brought, ignored

_MAX_FOLDERS = 2_000
Hides = Callable[[str], bool]
# What repositories hold for people and services, whatever they are written in.
COMMON = word_set(
    """.git* .github .idea .vscode .circleci .travis.yml .gitlab-ci.yml .editorconfig .pre-commit-config.yaml .docker
    .dockerignore .DS_Store .buildopt buildopt.yaml *.md *.adoc *.rst LICENSE* COPYING* NOTICE* README* CHANGELOG*
    AUTHORS* CONTRIBUTING* Dockerfile* *.dockerfile *.Dockerfile docker-compose* compose.y*ml compose.*.y*ml
    Jenkinsfile* Makefile Justfile Taskfile.y*ml skaffold.yaml renovate.json sonar-project.properties k8s kubernetes
    helm charts terraform docs doc Procfile heroku.yml app.json fly.toml render.yaml railway.* node_modules test tests
    *.bat *.cmd *.sh *.http *.postman_collection.json"""
)


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree: ``idle`` are patterns of names that programs do not read, ``projects`` files that make a folder a
    program of its own, ``sources`` the suffixes of sources, which are never read as data by their bare name.
    """

    context: Path
    dockerfile: str
    idle: frozenset[str]
    projects: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def data(self, entries: Sequence[Brought], text: str) -> list[Brought]:
        """What a program may read that speaks of ``text``."""
        hidden = ignored(self.context, self.dockerfile)
        return [found for entry in entries for found in self._needed(entry, text, hidden.hides)]

    def _needed(self, entry: Brought, text: str, hides: Hides) -> Iterator[Brought]:
        name = posixpath.basename(entry.origin)
        idle = any(map(self._is_idle, entry.origin.split("/"))) or (entry.folder and self._holds_nothing(entry.origin))
        if not idle and not (entry.folder and self._is_project(entry.origin)):
            yield entry
        elif not entry.folder:
            spoken = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text)
            if spoken is not None and not name.endswith(self.sources or ("\0",)):
                yield entry
        else:
            mentioned = {match.group(1).rstrip("/.") for match in _mentions(entry.origin, name, text)}
            for path in sorted(self._deepest(entry, mentioned, hides)):
                yield below(self.context, entry, path)

    def _deepest(self, entry: Brought, mentioned: Iterable[str], hides: Hides) -> set[str]:
        """The deepest folders or files that mentioned paths lie in, none of them inside another."""
        name = posixpath.basename(entry.origin)
        found: set[str] = set()
        for text in mentioned:
            rest = text[len(entry.origin) :] if text.startswith(entry.origin) else text[len(name) :]
            path = posixpath.normpath(entry.origin + rest)
            while path != entry.origin and (hides(path) or not (self.context / path).exists()):
                path = posixpath.dirname(path)
            if path != entry.origin or not rest.strip("/"):
                found.add(path)
        return {path for path in found if not any(path.startswith(f"{other}/") for other in found)}

    def _is_idle(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.idle)

    def _holds_nothing(self, folder: str) -> bool:
        """Whether all files of a folder are of those that programs do not read."""
        for count, (place, _, names) in enumerate(os.walk(self.context / folder)):
            inside = Path(place).relative_to(self.context / folder).parts
            if count > _MAX_FOLDERS:
                return False
            if not any(map(self._is_idle, inside)) and not all(map(self._is_idle, names)):
                return False
        return True

    def _is_project(self, folder: str) -> bool:
        return any((self.context / folder / name).is_file() for name in self.projects)


def below(context: Path, entry: Brought, path: str) -> Brought:
    """What lies at ``path`` of the context, inside a folder that was copied."""
    target = posixpath.normpath(entry.path + path[len(entry.origin) :])
    return Brought(target, path, (context / path).is_dir(), entry.owner, entry.instruction)


def _mentions(origin: str, name: str, text: str) -> Iterable[re.Match[str]]:
    return re.finditer(
        rf"(?:^|(?<=[\s\"'=:;,/(]))((?:{re.escape(origin)}|{re.escape(name)})(?:/[\w./-]*|(?=$|[\"',;]\s|\n)))",
        text,
        re.MULTILINE,
    )
