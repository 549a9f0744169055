"""What is changed between two builds to see how long a rebuild takes."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import MANAGERS
from buildopt.errors import UsageError
from buildopt.prove.workspace import Workspace
from buildopt.source import Source

COLD, UNCHANGED, SOURCE, DEPENDENCY = "cold", "unchanged", "source", "dependency"

# How a line of comment begins and ends; files of these kinds are changed first.
_COMMENTS = {
    "go rs java kt scala c h cc cpp cxx hpp cs js mjs cjs jsx ts tsx swift dart": ("// ", ""),
    "py rb pl ex exs r jl": ("# ", ""),
    "css scss less": ("/* ", " */"),
    "html vue svelte md": ("<!-- ", " -->"),
    "sql lua hs": ("-- ", ""),
    "sh bash": ("# ", ""),
}
_COMMENT = {suffix: marks for suffixes, marks in _COMMENTS.items() for suffix in suffixes.split()}
_RANK = {suffix: rank for rank, suffixes in enumerate(_COMMENTS) for suffix in suffixes.split()}
_MAIN = re.compile(
    r"(?:main|index|app|server|lib|mod|__main__|program|application|wsgi|asgi|manage|cli)\.", re.IGNORECASE
)
_TEST = re.compile(
    r"(?:^|[/_.-])(?:tests?|spec|__tests__|examples?|docs?|fixtures?|node_modules|vendor|dist|target)(?:[/_.-]|$)"
)
_MANIFESTS = (
    "package.json", "go.mod", "Cargo.toml", "pom.xml", "pyproject.toml", "requirements.txt", "Pipfile", "Gemfile",
    "composer.json", "build.gradle", "build.gradle.kts", "build.sbt", "mix.exs", "setup.py", "setup.cfg",
    "environment.yml", "pubspec.yaml", "Package.swift", "stack.yaml",
)  # fmt: skip
_MANIFEST_PATTERN = re.compile(r"requirements[^/]*\.(?:txt|in)|.*\.csproj|.*\.cabal|constraints[^/]*\.txt|.*\.gemspec")
_LOCKFILES = frozenset(name for manager in MANAGERS for name in manager.lockfiles)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A change, and a build after it. ``name`` is for programs, ``label`` for people.

    ``overlay`` is a folder whose files replace those of the context, ``appended`` are texts to put at the end of files
    of the context, ``replaced`` pairs of texts in both Dockerfiles, the second instead of the first.
    """

    name: str
    label: str
    overlay: Path | None = None
    appended: tuple[tuple[str, bytes], ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()

    def apply(self, workspace: Workspace) -> None:
        """Make the change in a copy of the context. Raises UsageError where it changes nothing."""
        if self.overlay is not None:
            found = False
            for folder, _, names in os.walk(self.overlay):
                for name in names:
                    path = Path(folder) / name
                    workspace.change(path.relative_to(self.overlay).as_posix(), path.read_bytes())
                    found = True
            if not found:
                raise UsageError(f"{self.overlay} has no files", hint="an overlay holds the files that change")
        for name, more in self.appended:
            workspace.change(name, workspace.read(name) + more)
        text = workspace.side.source.text
        for old, new in self.replaced:
            if old not in text:
                raise UsageError(f"{workspace.side.shown} has no {old!r} to be changed", hint="check the scenario")
            text = text.replace(old, new)
        workspace.write_dockerfile(Source(workspace.side.source.path, text))


def automatic(files: Sequence[str], copied: Iterable[str], context: Path) -> tuple[list[Scenario], list[str]]:
    """A source changed and a manifest changed, for a context with these files, and remarks on what is not possible.

    ``copied`` is what the Dockerfile copies from the context.
    """
    patterns = [re.compile(_pattern(item)) for item in copied]
    brought = [path for path in files if any(pattern.fullmatch(path) for pattern in patterns)]
    scenarios, notes = [UNCHANGED_SCENARIO], []
    source = _source(brought, context)
    if source is not None:
        scenarios.append(Scenario(SOURCE, f"source changed ({source})", appended=((source, _comment(source)),)))
    else:
        notes.append("no rebuild after a changed source was timed: the build copies no source file")
    manifest = _manifest(brought)
    if manifest is not None:
        scenarios.append(Scenario(DEPENDENCY, f"manifest changed ({manifest})", appended=((manifest, b"\n"),)))
    else:
        notes.append("no rebuild after a changed manifest was timed: the build copies none that is known")
    return scenarios, notes


UNCHANGED_SCENARIO = Scenario(UNCHANGED, "nothing changed")


def is_manifest(path: str) -> bool:
    """Whether a file lists dependencies."""
    name = posixpath.basename(path)
    return name in _MANIFESTS or name in _LOCKFILES or _MANIFEST_PATTERN.fullmatch(name) is not None


def _source(paths: Iterable[str], context: Path) -> str | None:
    """The file that people would change most likely."""
    candidates = [path for path in paths if not is_manifest(path) and _suffix(path) in _RANK]
    candidates = [path for path in candidates if _is_plain(context / path)]

    def rank(path: str) -> tuple[object, ...]:
        main = _MAIN.match(posixpath.basename(path)) is not None
        return (_TEST.search(path) is not None, _RANK[_suffix(path)] > 1, not main, path.count("/"), path)

    return min(candidates, key=rank, default=None)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].removeprefix(".").lower()


def _comment(path: str) -> bytes:
    start, end = _COMMENT[_suffix(path)]
    return f"\n{start}buildopt: a changed source{end}\n".encode()


def _manifest(paths: Iterable[str]) -> str | None:
    candidates = [path for path in paths if posixpath.basename(path) not in _LOCKFILES.difference(_MANIFESTS)]
    known = [path for path in candidates if is_manifest(path) and _TEST.search(path) is None]
    return min(known, key=lambda path: (path.count("/"), path), default=None)


def _pattern(text: str) -> str:
    """What COPY means by a source: a file, a pattern, or a folder with all in it."""
    if text == ".":
        return ".*"
    parts = []
    for piece in re.split(r"(\*\*/|\*|\?)", text.rstrip("/")):
        parts.append({"*": "[^/]*", "?": "[^/]", "**/": "(?:.*/)?"}.get(piece, re.escape(piece)))
    return f"{''.join(parts)}(?:/.*)?"
