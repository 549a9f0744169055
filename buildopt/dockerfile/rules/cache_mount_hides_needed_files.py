"""Files that are left in a cache mount and needed outside it.

## What it does
Finds what a later RUN, COPY --from, CMD or ENTRYPOINT reads from a folder that was a cache mount when its content was
made: `target/release/app`, `node_modules`, a virtual environment, packages for `--no-restore`.

## Why
A cache mount belongs to the builder: nothing in it becomes part of the image. The folder is empty in the layer, so
the later instruction fails, or downloads everything again.

## Example
```dockerfile
FROM rust:1.88 AS build
WORKDIR /app
RUN --mount=type=cache,target=/app/target cargo build --release
FROM debian:12
COPY --from=build /app/target/release/app /usr/local/bin/app
```

## Use instead
```dockerfile
FROM rust:1.88 AS build
WORKDIR /app
RUN --mount=type=cache,target=/app/target cargo build --release && cp target/release/app /app/app
FROM debian:12
COPY --from=build /app/app /usr/local/bin/app
```

## References
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.installs import with_folders
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.runs import HARMLESS
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import Scope, joined, mount_options, walk
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "cache-mount-hides-needed-files"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
# Programs whose operands are files that they read; of the first, the last operand is where they write.
_COPYING = frozenset(("cp", "mv", "ln", "install", "rsync"))
_READING = frozenset(
    ("cat", "file", "java", "ldd", "node", "python", "python3", "readelf", "sha256sum", "strip", "upx")
)
_NODE = frozenset(("npm", "yarn", "pnpm", "npx", "bun"))
# Each mount is compared with all that follows: more of them than anybody writes would take long.
_MOST = 30
_SCRIPTS = frozenset(("run", "start", "exec", "test", "build", "run-script"))
_CARGO_APART = frozenset(
    ("fetch", "install", "binstall", "update", "add", "init", "new", "generate-lockfile", "--version")
)
_GO_READS = frozenset(("build", "install", "test", "run", "vet", "generate"))


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A cache mount in a RUN: its folder, and the programs that may have filled it."""

    run: Run
    target: str
    programs: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction behind the RUN, in its stage or one that starts from it."""

    stage: Stage
    instruction: Instruction
    scope: Scope


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look for readers of each mounted folder."""
    of_run = {run.instruction.span.start: run for run in runs(dockerfile)}
    mounted = [found for run in of_run.values() if run.instruction.flags for found in _mounted(run)]
    if not mounted:
        return
    steps = [_Step(*step) for step in walk(dockerfile)]
    seen: set[Span] = set()
    for one in mounted[:_MOST]:
        later = [step for step in steps if step.instruction.span.start > one.run.instruction.span.start]
        own = [step for step in later if _descends(dockerfile, step.stage, one.run.stage)]
        if one.run.stage.index < 0 or _is_filled(dockerfile, one, steps, of_run):
            continue
        for span, message in (*_copies(dockerfile, one, later), *_reads(one, own, of_run), *_starts(one, own)):
            if span not in seen:
                seen.add(span)
                yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _mounted(run: Run) -> Iterator[_Mounted]:
    programs = frozenset(
        command.name for command in run.script.commands if command.name is not None and command.name not in HARMLESS
    )
    for flag in run.instruction.flags_named("mount"):
        options = mount_options(flag.value or "")
        if options["type"] != "cache" or "from" in options:
            continue
        target = _resolved(run.scope, options.get("target", "").strip("\"'"))
        if target is not None and target != "/" and programs and run.script.complete:
            yield _Mounted(run, target, programs)


def _resolved(scope: Scope, path: str) -> str | None:
    expanded = scope.expand(path)
    where = joined(scope.workdir, expanded.text) if expanded is not None and expanded.text else None
    return where if where is not None and where.startswith("/") else None


def _mounts(run: Run, target: str) -> bool:
    """Whether a RUN has something mounted on a folder or one above it."""
    targets = (mount_options(flag.value or "").get("target", "") for flag in run.instruction.flags_named("mount"))
    places = (_resolved(run.scope, text.strip("\"'")) for text in targets)
    return any(place is not None and _inside(target, place) for place in places)


def _inside(path: str | None, target: str) -> bool:
    return path is not None and (path == target or path.startswith(f"{target}/"))


def _descends(dockerfile: Dockerfile, stage: Stage, base: Stage) -> bool:
    while stage.index != base.index:
        if stage.base_index is None:
            return False
        stage = dockerfile.stages[stage.base_index]
    return True


def _is_filled(dockerfile: Dockerfile, one: _Mounted, steps: Sequence[_Step], of_run: dict[int, Run]) -> bool:
    """Whether something else puts content there that is in the image: a COPY, or the same program without the mount."""
    for step in steps:
        instruction = step.instruction
        related = _descends(dockerfile, step.stage, one.run.stage) or _descends(dockerfile, one.run.stage, step.stage)
        if step.stage.index < 0 or not related:
            continue
        if instruction.keyword in ("COPY", "ADD") and instruction.words:
            if _inside(_resolved(step.scope, instruction.words[-1].text), one.target):
                return True
        elif instruction.keyword == "RUN":
            run = of_run.get(instruction.span.start)
            if run is None:
                return True
            if not _mounts(run, one.target) and _fills(one, run):
                return True
    return False


def _fills(one: _Mounted, run: Run) -> bool:
    for command, folder in with_folders(run):
        words = [word.text or word.raw for word in command.arguments]
        if command.name in _COPYING and words and _inside(_path(words[-1], folder), one.target):
            return True
        if command.name in ("tar", "unzip", "git", "curl", "wget", "sh", "bash", "make") and command.words:
            return True
        if command.name in one.programs and not _only_reads(command):
            return True
    return False


def _only_reads(command: Command) -> bool:
    """Whether the program that filled the mount does not do so here."""
    if command.name in _NODE:
        return command.name == "npx" or (command.texts[:1] or ("",))[0] in _SCRIPTS
    if command.name == "dotnet":
        return "--no-restore" in command.texts or "--no-build" in command.texts
    if command.name == "cargo":
        # Registry and tools of its own: nothing of the project is built.
        return (command.texts[:1] or ("",))[0] in _CARGO_APART or command.texts[:2] == ("chef", "prepare")
    return command.name == "go" and (command.texts[:1] or ("",))[0] in _GO_READS


def _path(word: str, folder: str | None) -> str | None:
    if word.startswith("/"):
        return posixpath.normpath(word)
    return None if "$" in word or word.startswith("-") else joined(folder, word)


def _copies(dockerfile: Dockerfile, one: _Mounted, later: Sequence[_Step]) -> Iterator[tuple[Span, str]]:
    for step in later:
        flag = step.instruction.flag("from")
        if step.instruction.keyword != "COPY" or flag is None or not flag.value:
            continue
        origin = dockerfile.stage(flag.value, step.stage.index)
        if origin is None or not _descends(dockerfile, origin, one.run.stage):
            continue
        for word in step.instruction.words[:-1]:
            expanded = step.scope.expand(word.text)
            if expanded is not None and _inside(posixpath.normpath(f"/{expanded.text.lstrip('/')}"), one.target):
                yield word.span, _message(word.text, one)


def _message(shown: str, one: _Mounted) -> str:
    return f"{shown} is in the cache mount {one.target}, not in the image: copy it out in the RUN that makes it"


def _reads(one: _Mounted, own: Sequence[_Step], of_run: dict[int, Run]) -> Iterator[tuple[Span, str]]:
    for step in own:
        run = of_run.get(step.instruction.span.start)
        if run is None or _mounts(run, one.target):
            continue
        for command, folder in with_folders(run):
            known = folder if run.scope.workdir is not None or command.depth else None
            message = _read(one, run, command, folder, known)
            if message:
                yield run.span(command.span), message
                break


def _read(one: _Mounted, run: Run, command: Command, folder: str | None, known: str | None) -> str:
    if not command.argv:
        return ""
    program = command.argv[0].text or ""
    if "/" in program and _inside(_path(program, known), one.target):
        return _message(program, one)
    operands = [word.text for word in command.arguments if word.text is not None and not word.text.startswith("-")]
    if command.name in _COPYING:
        operands = operands[:-1]
    elif command.name not in _READING:
        operands = []
    for text in operands:
        if _inside(_path(text, known), one.target):
            return _message(text, one)
    return _needs(one, run, command, folder)


def _needs(one: _Mounted, run: Run, command: Command, folder: str | None) -> str:
    """What a program needs although the command does not say so."""
    shown = " ".join(word.raw for word in command.argv[:2])
    action = command.texts[0] if command.texts else ""
    if command.name in _NODE and _holds_modules(one, folder):
        needs = command.name == "npx" or action in _SCRIPTS
        return (
            f"`{shown}` needs {one.target}, which is a cache mount of another RUN: mount it here too" if needs else ""
        )
    if command.name == "dotnet" and "--no-restore" in command.texts and _holds_packages(one, run):
        return f"`{shown} --no-restore` needs the packages that were restored into a cache mount: mount it here too"
    if command.name == "go" and action in _GO_READS and _downloads_only(one):
        return f"`{shown}` downloads again what is in the cache mount {one.target} of another RUN: mount it here too"
    return ""


def _holds_modules(one: _Mounted, folder: str | None) -> bool:
    """Whether the mount is the node_modules of a folder, or where pnpm keeps what they lead to."""
    modules = _path("node_modules", folder)
    return bool(one.programs & _NODE) and modules is not None and one.target in (modules, f"{modules}/.pnpm")


def _holds_packages(one: _Mounted, run: Run) -> bool:
    """Whether the mount is where NuGet keeps what a restore fetches and a later build needs."""
    if not one.target.endswith("/.nuget/packages") or "--packages" in one.run.script.text:
        return False
    return "NUGET_PACKAGES" not in run.scope.variables and "dotnet restore" in one.run.script.text


def _downloads_only(one: _Mounted) -> bool:
    """Whether the mount is Go's module cache, and the RUN fills it for those that follow."""
    commands = [command for command in one.run.script.commands if command.name == "go"]
    return one.target.endswith("/pkg/mod") and all(command.texts[:2] == ("mod", "download") for command in commands)


def _starts(one: _Mounted, own: Sequence[_Step]) -> Iterator[tuple[Span, str]]:
    for step in own:
        instruction, scope = step.instruction, step.scope
        if instruction.keyword not in ("CMD", "ENTRYPOINT"):
            continue
        if instruction.exec_form:
            words = list(instruction.values)
        else:
            commands = parse_shell(instruction.arguments.text).commands
            words = [word.text or "$" for word in commands[0].argv] if len(commands) == 1 else []
        if not words:
            continue
        files = words[:1] if "/" in words[0] else []
        if posixpath.basename(words[0]) in _READING:
            files += [word for word in words[1:] if not word.startswith("-")]
        name = posixpath.basename(words[0])
        for text in files:
            if _inside(_path(text, scope.workdir), one.target):
                yield instruction.span, _message(text, one)
                break
        else:
            script = " ".join(words[:2])
            if name in _NODE and _holds_modules(one, scope.workdir):
                if name == "npx" or (words[1:2] or [""])[0] in _SCRIPTS:
                    yield (
                        instruction.span,
                        f"`{script}` needs {one.target}, which is a cache mount and not in the image",
                    )
                continue
            if posixpath.basename(one.target) not in (".venv", "venv"):
                continue
            path = scope.env.get("PATH") or _written_path(step)
            if f"{one.target}/bin" in path.split(":"):
                yield instruction.span, _message(f"the virtual environment of `{words[0]}`", one)


def _written_path(step: _Step) -> str:
    """What ENV says of PATH, where the rest of it is the base image's."""
    found = ""
    for instruction in step.stage.instructions:
        for pair in instruction.pairs if instruction.keyword == "ENV" else ():
            if pair.key.text == "PATH" and pair.value is not None:
                found = pair.value.text.strip("\"'")
    return found
