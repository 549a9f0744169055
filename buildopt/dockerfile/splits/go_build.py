"""Where the Go tool puts a program: `go build` and `go install`, read as the tool itself reads them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from buildopt.dockerfile.managers import GO, Use, word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State
from buildopt.dockerfile.shell import Word, parse_shell
from buildopt.dockerfile.splits.go_project import Project

_VALUED = word_set(
    "-o -p -C -asmflags -buildmode -compiler -covermode -coverpkg -gccgoflags -gcflags -installsuffix -ldflags -mod "
    "-modfile -overlay -pgo -pkgdir -tags -toolexec"
)
_VERSION = re.compile(r"v[0-9]+")


@dataclass(frozen=True, slots=True)
class GoBuild:
    """One command that makes a program. ``output`` is its absolute path, None where ``problem`` says why not.

    ``options`` are the flags' names.
    """

    run: Run
    use: Use
    options: frozenset[str]
    output: str | None
    problem: str = ""


def builds(runs: Iterable[Run], known: Project) -> list[GoBuild]:
    """Every ``go build`` and ``go install`` of the runs, in order."""
    found: list[GoBuild] = []
    for run in runs:
        folder = run.state.workdir
        for command in run.commands:
            if command.name == "cd" and command.depth == 0:
                target = command.texts[0] if len(command.arguments) == 1 and command.texts else None
                folder = posixpath.normpath(posixpath.join(folder, target)) if folder and target else None
                continue
            for use in run.uses(GO):
                if use.command is command and use.subcommand in ("build", "install"):
                    here = folder if command.depth == 0 else None
                    found += _build(run, use, here, known)
    return found


PATH = ("/go/bin", "/usr/local/go/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def started(instruction: Instruction, state: State) -> tuple[str, ...]:
    """The absolute paths that CMD, ENTRYPOINT or HEALTHCHECK may start, none where it is not one simple program."""
    values = instruction.values[1:] if instruction.keyword == "HEALTHCHECK" else instruction.values
    if instruction.exec_form:
        word: str | None = values[0] if values else None
    else:
        script = parse_shell(" ".join(values))
        single = script.complete and len(script.commands) == 1 and not script.commands[0].redirects
        word = script.commands[0].argv[0].text if single and script.commands[0].argv else None
    if not word or "$" in word or state.workdir is None:
        return ()
    if "/" not in word:
        return tuple(f"{folder}/{word}" for folder in PATH)
    return (posixpath.normpath(posixpath.join(state.workdir, word)),)


def _build(run: Run, use: Use, folder: str | None, known: Project) -> list[GoBuild]:
    options, packages, unknown = _arguments(use.rest)

    def result(output: str | None, problem: str = "") -> list[GoBuild]:
        return [GoBuild(run, use, frozenset(options), output, problem)]

    if unknown:
        return result(None, f"{unknown} is only known at build time")
    if "-C" in options or folder is None:
        return result(None, "the folder that it runs in is not known")
    explicit = options.get("-o")
    target = folder
    if use.subcommand == "install":
        if run.state.environment.get("GOBIN") or run.state.environment.get("GOPATH", "/go") != "/go":
            return result(None, "GOBIN or GOPATH is set")
        if any("@" in package for package in packages):
            return []  # a tool
        target = "/go/bin"
    elif explicit is not None:
        target = posixpath.normpath(posixpath.join(folder, explicit))
        if not explicit.endswith("/") and target not in known.folders:
            return result(target)
    files = all(package.endswith(".go") for package in packages)
    many = len(packages) > 1 or "..." in "".join(packages)
    if use.subcommand == "build" and explicit is None and many and not files:
        return []  # it only checks that they compile
    names = _names(packages, folder, known)
    if not names:
        if explicit is not None:
            return result(None, "-o names a folder, and the program's name is not known")
        return result(None, "the name of its program is not known")
    return [item for name in names for item in result(posixpath.join(target, name))]


def _arguments(words: tuple[Word, ...]) -> tuple[dict[str, str], list[str], str]:
    """Options with their values, packages, and the first word that matters and holds a variable."""
    options: dict[str, str] = {}
    packages: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        raw = word.text if word.text is not None else word.raw
        if raw.startswith("-") and not packages:
            name, equals, value = raw.partition("=")
            name = f"-{name.lstrip('-')}"
            if not equals and name in _VALUED:
                position += 1
                value = (words[position].text or "") if position < len(words) else ""
                if name in ("-o", "-C", "-buildmode") and not value:
                    return options, packages, f"what {name} names"
            elif word.text is None and name in ("-o", "-C", "-buildmode"):
                return options, packages, f"what {name} names"
            options[name] = value
        elif word.text is None or word.glob:
            return options, packages, word.raw
        else:
            packages.append(word.text)
        position += 1
    return options, packages, ""


def _names(packages: list[str], folder: str, known: Project) -> list[str]:
    """What the tool calls the programs of the packages named; none where that is not known."""
    if packages and all(package.endswith(".go") for package in packages):
        return [posixpath.basename(packages[0])[:-3]]
    found: list[str] = []
    for package in packages or ["."]:
        if "@" in package or (not package.startswith((".", "/")) and "..." in package):
            return []
        if not package.startswith((".", "/")):
            found.append(_last(package))
            continue
        path = posixpath.normpath(posixpath.join(folder, package.removesuffix("...")))
        for place in known.programs(path) if package.endswith("...") else [path]:
            module = known.module(place)
            if not module:
                return []
            found.append(_last(module))
    return found


def _last(path: str) -> str:
    """The last element of an import path, a major version's suffix left out."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1] if parts else ""
