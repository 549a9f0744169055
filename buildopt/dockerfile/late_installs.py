"""Dependency installs that stand behind a copy of the sources, and so run again after each change of one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.installs import Install, installs
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.passes.runs import runs_what_is_read
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import Scope, joined, of_the_last_file, walk

_LARGEST = 1 << 20
_EVERYTHING = frozenset((".", "./", "*", "./*", "/", "./."))
# Folders that hold a project's code; others may well hold manifests alone.
_SOURCES = re.compile(
    r"(?:.*[-_])?(?:api|app|application|backend|client|code|frontend|project|server|service|site|source|sources|src|ui|"
    r"web|webapp|website|worker)"
)
# With their cache mounted, what these fetch is not fetched again: only unpacked or linked.
_CACHED = {
    "cargo": ("cargo", ".cargo", "/registry"),
    "dotnet": (".nuget/packages", ".nuget"),
    "go": ("pkg/mod", "/go", "/go/pkg"),
    "gradle": (".gradle", ".gradle/caches"),
    "gradlew": (".gradle", ".gradle/caches"),
    "mvn": (".m2", ".m2/repository"),
    "mvnw": (".m2", ".m2/repository"),
    "pnpm": ("store", "pnpm"),
    "uv": ("uv", ".cache"),
}


@dataclass(frozen=True, slots=True)
class SourceCopy:
    """A COPY or ADD of sources to a folder."""

    instruction: Instruction
    destination: str


@dataclass(frozen=True, slots=True)
class LateInstall:
    """An install behind a copy of sources whose manifest could have been copied alone."""

    copy: SourceCopy
    run: Run
    install: Install


@of_the_last_file
def late_installs(dockerfile: Dockerfile) -> tuple[LateInstall, ...]:
    """In each stage, the first install behind each copy of sources that did not need them."""
    return tuple(_late_installs(dockerfile))


def _late_installs(dockerfile: Dockerfile) -> Iterator[LateInstall]:
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    if not of_run:
        return
    copies: dict[int, list[SourceCopy]] = {}
    done: dict[int, set[str]] = {}
    for stage, instruction, scope in walk(dockerfile):
        if instruction.keyword == "FROM":
            copies[stage.index] = []
            done[stage.index] = set(done.get(stage.base_index, ())) if stage.base_index is not None else set()
        elif instruction.keyword in ("COPY", "ADD"):
            copies.setdefault(stage.index, []).extend(copies_of_sources(instruction, scope))
            done.setdefault(stage.index, set()).update(_brought(instruction))
        elif instruction.span.start in of_run:
            found = list(installs(of_run[instruction.span.start]))
            known = done.setdefault(stage.index, set())
            yield from _late(dockerfile, of_run[instruction.span.start], found, copies.get(stage.index, []), known)
            known.update(_family(install.tool) for install in found)
            known.update(_prepared(of_run[instruction.span.start]))


def _late(
    dockerfile: Dockerfile, run: Run, found: Sequence[Install], copies: list[SourceCopy], known: set[str]
) -> Iterator[LateInstall]:
    if run.instruction.flag("network") is not None:
        return
    for install in found:
        path = install.path
        if path is None or _family(install.tool) in known or _is_cached(run, install):
            continue
        copy = next((copy for copy in copies if _holds(copy.destination, path)), None)
        if copy is None or _is_made(dockerfile, copy, run, install) or _needs_sources(dockerfile, install):
            continue
        copies.remove(copy)  # one word about each copy
        yield LateInstall(copy, run, install)


def _is_made(dockerfile: Dockerfile, copy: SourceCopy, last: Run, install: Install) -> bool:
    """Whether a command between the copy and the install may write the manifest: it names it."""
    name = posixpath.basename(install.reads)
    for run in runs(dockerfile):
        if not copy.instruction.span.start < run.instruction.span.start <= last.instruction.span.start:
            continue
        for command in run.script.commands:
            if command is install.command:
                break
            if runs_what_is_read(command):
                continue  # the commands of its script come by themselves
            words = [*command.words, *(item.target for item in command.redirects if item.target is not None)]
            if name[0] != "*" and any(name in word.raw for word in words):
                return True
    return False


# What a manifest says where it installs something of the source tree itself.
_OWN = re.compile(r"^\s*(?:-e\s|--editable\b|\.|file:)|\"(?:file|link|portal):", re.MULTILINE)


def _needs_sources(dockerfile: Dockerfile, install: Install) -> bool:
    """Whether the manifest lies beside the Dockerfile and names folders of the source tree as dependencies."""
    if install.tool not in ("pip", "npm", "yarn", "pnpm", "bun"):
        return False
    path = Path(dockerfile.source.path).parent / posixpath.basename(install.reads)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        return _OWN.search(path.read_text("utf-8", "replace")) is not None
    except (OSError, ValueError):
        return False


def _family(tool: str) -> str:
    """Tools that install the same things: what one has installed, the other finds."""
    if tool in ("npm", "yarn", "pnpm", "bun"):
        return "node"
    return {"mvnw": "mvn", "gradlew": "gradle"}.get(tool, tool)


# What a command leaves that an install behind it finds, without being an install that could be read here.
_PREPARING = {
    "cargo": re.compile(r"(?:chef cook|build|b|fetch|check|test|vendor)\b"),
    "mvn": re.compile(r".*(?:go-offline|dependency:|resolve)"),
    "mvnw": re.compile(r".*(?:go-offline|dependency:|resolve)"),
    "gradle": re.compile(r".*[a-z]"),
    "gradlew": re.compile(r".*[a-z]"),
    "dotnet": re.compile(r"(?:restore|build|publish)\b"),
    "pnpm": re.compile(r"fetch\b"),
}
# Folders of installed dependencies that another stage may hand over, and what finds them.
_INSTALLED = {
    "node_modules": ("node",),
    "vendor": ("composer", "bundle", "go"),
    "bundle": ("bundle",),
    ".venv": ("pip", "poetry", "uv", "pdm", "pipenv"),
    "venv": ("pip", "poetry", "uv", "pdm", "pipenv"),
    "site-packages": ("pip", "poetry", "uv", "pdm", "pipenv"),
    ".m2": ("mvn",),
    ".gradle": ("gradle",),
    "target": ("cargo",),
    "cargo": ("cargo",),
    "registry": ("cargo",),
    "packages": ("dotnet",),
    "mod": ("go",),
}


def _prepared(run: Run) -> Iterator[str]:
    for command in run.script.commands:
        pattern = _PREPARING.get(command.name or "")
        words = " ".join(text for text in command.texts if not text.startswith("-"))
        if pattern is not None and pattern.match(words):
            yield _family(command.name or "")


def _brought(instruction: Instruction) -> Iterator[str]:
    """What another stage has installed and this one copies."""
    if instruction.flag("from") is not None:
        # What lies in /usr is a tool's own, such as npm itself.
        for word in (word for word in instruction.words if not word.text.startswith("/usr/")):
            yield from _INSTALLED.get(posixpath.basename(word.text.rstrip("/")), ())


def _is_cached(run: Run, install: Install) -> bool:
    ends = _CACHED.get(install.tool)
    if ends is None:
        return False
    targets = (
        option.partition("=")[2].rstrip("/")
        for flag in run.instruction.flags_named("mount")
        if "type=cache" in (flag.value or "")
        for option in (flag.value or "").split(",")
        if option.split("=")[0].strip() in ("target", "dst", "destination")
    )
    return any(target.endswith(ends) for target in targets)


def _holds(folder: str, path: str) -> bool:
    return folder == "/" or path.startswith(f"{folder}/")


def copies_of_sources(instruction: Instruction, scope: Scope) -> Iterator[SourceCopy]:
    """A COPY or ADD of the whole context, or of a folder that holds sources by its name."""
    if instruction.flag("from") is not None or len(instruction.words) < 2 or instruction.heredocs:
        return
    *sources, last = (word.text for word in instruction.words)
    where = scope.expand(last)
    destination = joined(scope.workdir or "/", where.text if where is not None else None)
    if destination is None or not destination.startswith("/"):
        return
    for source in sources:
        name = posixpath.basename(source.rstrip("/"))
        if source in _EVERYTHING or (_SOURCES.fullmatch(name) and "." not in source.lstrip("./")):
            yield SourceCopy(instruction, posixpath.normpath(destination))
            return
