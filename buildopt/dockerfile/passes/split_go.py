"""Splitting a Go file: the program is shipped on the slim image of the golang image's distribution.

What the golang image itself sets (GOPATH, GOLANG_VERSION, its part of PATH) is not in the new image, so a file that
speaks of it is left alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.passes.go_build import GoBuild, Tree, builds, made_folders, started, tree
from buildopt.dockerfile.passes.go_sources import Needs, program_needs
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.splits import (
    No,
    Split,
    Subject,
    casing,
    copy_line,
    known_user,
    known_variables,
    plain_copy,
    uncovered,
    writes_files,
)
from buildopt.dockerfile.shell import Command

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_ZONES = "/usr/local/go/lib/time/zoneinfo.zip"
_BUILD_PACKAGES = word_set(
    "binutils build-base build-essential ca-certificates g++ gcc git libc-dev libc6-dev linux-headers make mercurial "
    "musl-dev pkg-config pkgconf protobuf-compiler subversion"
)
_QUIET_COMMANDS = word_set("cd echo ls pwd set true : printf uname date")
_GO_COMMANDS = word_set("build mod test vet version env fmt list get")
_UNSAFE_OPTIONS = word_set("-race -msan -asan -buildmode -linkshared -toolexec -overlay -C")
_BASE_NAMES = frozenset(("GOPATH", "GOROOT", "GOLANG_VERSION", "GOTOOLCHAIN", "PATH"))
_SUITE = re.compile(r"^(stretch|buster|bullseye|bookworm|trixie)$")


def concerns(subject: Subject) -> bool:
    """Whether the base is the golang image."""
    return subject.final.base.repository == "golang"


def plan(subject: Subject) -> Split:
    """Ship the only program. Raises No."""
    build = _program(subject)
    _starts(subject, build)
    _head_is_understood(subject, build)
    known_variables(subject, _BASE_NAMES, "golang")
    assert build.output is not None
    uncovered(subject, (build.output,))
    for instruction in subject.tail:
        if instruction.keyword in ("COPY", "ADD"):
            plain_copy(instruction)
    known_user(subject.tail)
    if subject.context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    needs = program_needs(subject.context, _sources(subject))
    if needs.problem:
        raise No(build.run.instruction, needs.problem)
    image = _runtime(subject, build, needs)
    by_name = build.output.startswith("/go/bin/") and _by_name(subject)
    return Split(
        image,
        tuple(copy_line(subject, path) for path in (*_extra_copies(subject, build, needs), build.output)),
        f"a build stage, and a runtime stage on {image.rpartition('/')[2]}",
        f"only {build.output} is shipped; compiler and sources stay in the build stage",
        environment=(f"{casing(subject)('ENV')} PATH=/go/bin:$PATH",) if by_name else (),
        workdir="/go",
    )


def _tree(subject: Subject) -> Tree:
    found = tree(subject.head, subject.known, subject.context, subject.dockerfile.escape)
    return Tree(found.folders | made_folders(subject.runs), found.copies)


def _program(subject: Subject) -> GoBuild:
    found = builds(subject.runs, _tree(subject))
    if not found:
        raise No(subject.head[-1], "no `go build` or `go install` makes a program here")
    if len(found) > 1:
        raise No(found[1].run.instruction, "more than one program is built: which ones are needed is not known")
    build = found[0]
    if build.output is None:
        raise No(build.run.instruction, f"where the program goes is not known: {build.problem}")
    unsafe = _UNSAFE_OPTIONS & build.options
    if unsafe:
        raise No(build.run.instruction, f"with {sorted(unsafe)[0]} the program may not stand alone")
    if any(
        item.name in ("GOOS", "GOFLAGS", "GOBIN", "GOPATH") and item.value.text != "linux"
        for item in build.use.command.environment
    ):
        raise No(build.run.instruction, "its variables decide what is built")
    environment = build.run.state.environment
    if environment.get("GOOS", "linux") != "linux" or re.search("race|buildmode", environment.get("GOFLAGS") or ""):
        raise No(build.run.instruction, "its variables decide what is built")
    return build


def _starts(subject: Subject, build: GoBuild) -> None:
    """ENTRYPOINT, or else CMD, must be the program; a health check too."""
    program = subject.entry()
    if program is None:
        raise No(subject.origin, "there is no CMD or ENTRYPOINT: the image may be meant for working with Go")
    if build.output not in started(program, subject.final):
        shown = " ".join(program.values)[:60]
        raise No(program, f"`{shown}` is not the program that is built ({build.output})")
    for item in subject.body:
        if (
            item.keyword == "HEALTHCHECK"
            and item.command_word != "NONE"
            and build.output not in started(item, subject.final)
        ):
            raise No(item, "the health check runs a program that the smaller image may lack")


def _head_is_understood(subject: Subject, build: GoBuild) -> None:
    for instruction in subject.head:
        if instruction.keyword == "USER":
            raise No(instruction, "the user changes before the program is built")
        if instruction.keyword in ("COPY", "ADD"):
            plain_copy(instruction)
    for run in subject.runs:
        for command in run.commands:
            problem = _command_problem(subject, run, command, build)
            if problem:
                raise No(run.instruction, problem)


def _command_problem(subject: Subject, run: Run, command: Command, build: GoBuild) -> str:
    shown = " ".join(word.raw for word in command.words)[:60]
    if writes_files(command):
        return f"`{shown}` writes a file that may be needed at run time"
    if any("substitution" in part for part in command.context) or not command.words:
        return ""
    use = recognise(command)
    name = command.name
    if use is not None and use.manager.name == "go":
        fine = use.subcommand in _GO_COMMANDS or use.command is build.use.command or use.is_cleanup
        if use.subcommand == "get" and any(
            word.text not in (".", "./...", "-d", "-v", "-u", "-t") for word in use.rest
        ):
            return f"`{shown}` may install a program that someone runs"
        return "" if fine and "-w" not in command.options else f"`{shown}` may make what is needed at run time"
    if use is not None and use.manager.name in ("apt", "apk"):
        return _packages_problem(use.subcommand, tuple(word.text for word in use.rest))
    if (
        name == "rm"
        and all(
            relation(text, "/var/lib/apt/lists") is Relation.INSIDE or "cache/apk" in text
            for text in command.texts
            if text.startswith("/")
        )
        and len(command.texts) > 1
    ):
        return ""
    if name == "mkdir":
        return _mkdir_problem(subject, run, command, build)
    if name == "chmod" and build.output is not None:
        paths = [posixpath.join(run.state.workdir or "/", text) for text in command.texts[1:]]
        return "" if all(posixpath.normpath(path) == build.output for path in paths) else f"`{shown}` changes files"
    if name in _QUIET_COMMANDS or (name == "git" and command.texts[:1] == ("config",)):
        return ""
    return f"`{shown}` may make what is needed at run time"


def _packages_problem(subcommand: str, words: Sequence[str | None]) -> str:
    if subcommand not in ("install", "add"):
        return "" if subcommand in ("update", "clean", "autoclean", "cache") else f"{subcommand} changes the image"
    for word in words:
        if word is None or (not word.startswith("-") and re.split(r"[=<>~]", word)[0] not in _BUILD_PACKAGES):
            return f"{word or 'a package'} is installed, and may be needed at run time"
    return ""


def _mkdir_problem(subject: Subject, run: Run, command: Command, build: GoBuild) -> str:
    assert build.output is not None
    used = {posixpath.dirname(build.output), subject.final.workdir or "/", build.folder or "/"}
    for text in command.texts:
        path = posixpath.normpath(posixpath.join(run.state.workdir or "/", text))
        if not text.startswith("-") and not any(relation(folder, path) is Relation.INSIDE for folder in used):
            return f"{path} is made by mkdir, and may be needed at run time"
    return ""


def _sources(subject: Subject) -> list[str]:
    return [
        word.text.lstrip("/")
        for instruction in subject.head
        if instruction.keyword in ("COPY", "ADD")
        for word in instruction.words[:-1]
    ]


def _runtime(subject: Subject, build: GoBuild, needs: Needs) -> str:
    """The slim image of the golang image's distribution. Raises No where the C libraries may not fit."""
    reference = subject.base
    written = subject.written_base
    tag = subject.final.base.tag.lower()
    prefix = reference[: reference.index("golang")]
    environment = {item.name: item.value.text for item in build.use.command.environment}
    static = (environment.get("CGO_ENABLED") or build.run.state.environment.get("CGO_ENABLED")) == "0"
    if "CGO_ENABLED" in environment and environment["CGO_ENABLED"] != "0":
        static = False
    if needs.cgo and not static:
        raise No(build.run.instruction, "the program uses cgo: which libraries it needs is not known")
    words = tag.split("-")
    alpine = next((word.removeprefix("alpine") for word in words if word.startswith("alpine")), None)
    if alpine is not None:
        if not static and (not alpine or "$" in written):
            raise No(subject.origin, "without CGO_ENABLED=0 the Alpine release must be known (golang:…-alpine3.20)")
        return f"{prefix}alpine:{alpine or '3.20'}"
    suite = next((word for word in words if _SUITE.match(word)), None)
    if suite is None and not static and not _settled(tag):
        raise No(
            subject.origin,
            "without CGO_ENABLED=0 the Debian release must be known (golang:…-bookworm): C libraries differ",
        )
    if "$" in written and not static:
        raise No(subject.origin, "without CGO_ENABLED=0 the base must be written out: C libraries differ")
    return f"{prefix}debian:{suite or 'bookworm'}-slim"


def _extra_copies(subject: Subject, build: GoBuild, needs: Needs) -> list[str]:
    found = []
    packages = {text for run in subject.runs for command in run.commands for text in command.texts}
    if needs.certificates or "ca-certificates" in packages:
        found.append(_CERTIFICATES)
    if needs.zones or "TZ" in subject.final.environment:
        if "-trimpath" in build.options:
            raise No(build.run.instruction, "with -trimpath its time zones come from a file of the golang image")
        found.append(_ZONES)
    return found


def _by_name(subject: Subject) -> bool:
    """Whether the program is started by its bare name."""
    entries = [item for item in subject.body if item.keyword in ("CMD", "ENTRYPOINT")]
    return any(item.values and "/" not in item.values[0].split()[0] for item in entries if item.values[0].split())


def _settled(tag: str) -> bool:
    """Whether a tag without a Debian release will not move to another one any more: Go releases out of support."""
    match = re.match(r"1\.([0-9]+)(?:\.|$)", tag)
    return match is not None and int(match.group(1)) <= 22
