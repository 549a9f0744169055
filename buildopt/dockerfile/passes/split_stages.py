"""Build a Go program in one stage and ship it in another.

What it does
------------
Turns a file with one ``golang`` stage that ends in a built program into a build stage and a runtime stage on the slim
image of the same distribution. Only the program is copied (and certificates or time zones where its sources use them).
ENV, WORKDIR, USER, EXPOSE, VOLUME, LABEL, HEALTHCHECK, STOPSIGNAL, ENTRYPOINT and CMD stay what they were. What the
golang image itself sets (GOPATH, GOLANG_VERSION, its part of PATH) is not in the new image, so a program that speaks of
it is left alone.

Why
---
The compiler, the sources and the module cache make an image of hundreds of megabytes out of a program of ten: all of it
is pulled by every machine, and scanned for vulnerabilities.

It needs the build context, because only the sources tell what a program wants at run time. It is refused wherever that
is not certain: cgo, files read from the source tree, other programs started, unknown modules, users made by RUN.

Example
-------
::

    FROM golang:1.22
    WORKDIR /src
    COPY . .
    RUN CGO_ENABLED=0 go build -o /usr/local/bin/app .
    CMD ["/usr/local/bin/app"]

Use instead
-----------
::

    FROM golang:1.22 AS build
    WORKDIR /src
    COPY . .
    RUN CGO_ENABLED=0 go build -o /usr/local/bin/app .

    FROM debian:bookworm-slim
    WORKDIR /src
    COPY --from=build /usr/local/bin/app /usr/local/bin/app
    CMD ["/usr/local/bin/app"]

References
----------
- https://docs.docker.com/build/building/multi-stage/
- https://docs.docker.com/build/building/best-practices/#use-multi-stage-builds
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.go_build import GoBuild, Tree, builds, made_folders, started, tree
from buildopt.dockerfile.passes.go_sources import Needs, program_needs
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.dockerfile.passes.state import State, base_reference, states
from buildopt.dockerfile.shell import Command
from buildopt.source import Edit, Span

NAME = "split_stages"
OPT_IN = False

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_ZONES = "/usr/local/go/lib/time/zoneinfo.zip"
_MOVED = frozenset(("MAINTAINER", "LABEL", "EXPOSE", "STOPSIGNAL", "VOLUME", "CMD", "ENTRYPOINT", "HEALTHCHECK"))
_COPIED = frozenset(("ENV", "WORKDIR", "ARG"))
_TAIL = _MOVED | _COPIED | {"USER", "COPY", "ADD"}
_USERS = frozenset(("root", "nobody", "www-data", "daemon"))
_BUILD_PACKAGES = word_set(
    "binutils build-base build-essential ca-certificates g++ gcc git libc-dev libc6-dev linux-headers make mercurial "
    "musl-dev pkg-config pkgconf protobuf-compiler subversion"
)
_QUIET_COMMANDS = word_set("cd echo ls pwd set true : printf uname date")
_GO_COMMANDS = word_set("build mod test vet version env fmt list get")
_UNSAFE_OPTIONS = word_set("-race -msan -asan -buildmode -linkshared -toolexec -overlay -C")
_BASE_NAMES = frozenset(("GOPATH", "GOROOT", "GOLANG_VERSION", "GOTOOLCHAIN", "PATH"))
_REFERENCE = re.compile(r"(?<!\\)\$\{?([A-Za-z_]\w*)")
_SUITE = re.compile(r"^(stretch|buster|bullseye|bookworm|trixie)$")


class _No(Exception):
    """The file is left alone."""

    def __init__(self, instruction: Instruction, reason: str) -> None:
        super().__init__(reason)
        self.line = instruction.lines[0]
        self.reason = reason


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Split the only stage of a Go file, or say why not; files of other kinds are none of its business."""
    if len(dockerfile.stages) != 1:
        return PassResult()
    stage = dockerfile.stages[0]
    known = states(dockerfile)
    if known[-1].base.repository != "golang":
        return PassResult()
    runs = runs_by_family(dockerfile)[0]
    try:
        change = _Split(dockerfile, stage, known, runs, context).change()
    except _No as no:
        return PassResult(refused=(Refusal(NAME, no.line, no.reason),))
    return PassResult(applied=(change,))


@dataclass(frozen=True, slots=True)
class _Split:
    """One file that may be split."""

    dockerfile: Dockerfile
    stage: Stage
    known: dict[int, State]
    runs: Sequence[Run]
    context: Path | None

    @property
    def origin(self) -> Instruction:
        return self.stage.origin

    def change(self) -> Change:
        """The whole rewrite; raises _No."""
        self._stage_is_plain()
        head, tail = self._parts()
        build = self._program(head)
        self._starts(build)
        self._head_is_understood(head, build)
        for instruction in (*head, *tail):
            self._variables_are_known(instruction)
        self._tail_is_understood(tail, build)
        if self.context is None:
            raise _No(self.origin, "only the sources tell what the program needs at run time: give --context")
        needs = program_needs(self.context, self._sources(head))
        if needs.problem:
            raise _No(build.run.instruction, needs.problem)
        runtime = self._runtime(build, needs)
        extra = self._extra_copies(build, needs)
        edits = self._edits(head, tail, build, runtime, extra)
        return Change(
            NAME,
            f"a build stage, and a runtime stage on {runtime.rpartition('/')[2]}",
            f"only {build.output} is shipped; compiler and sources stay in the build stage",
            (self.origin.lines[0], self.stage.instructions[-1].lines[1]),
            tuple(edits),
        )

    def _stage_is_plain(self) -> None:
        if self.stage.name is not None:
            raise _No(self.origin, f"the stage has a name: something may build it with --target {self.stage.name}")
        if self.stage.platform is not None:
            raise _No(self.origin, "FROM names a platform")
        for instruction in self.stage.instructions:
            if instruction.keyword in ("ONBUILD", "SHELL"):
                raise _No(instruction, f"{instruction.keyword} is not moved between stages")
            if instruction.heredocs and instruction.keyword != "RUN":
                raise _No(instruction, "a file written by a heredoc may be needed at run time")

    def _parts(self) -> tuple[list[Instruction], list[Instruction]]:
        """What belongs to the build (up to the last RUN), and what comes behind it."""
        body = list(self.stage.instructions[1:])
        last = max((index for index, item in enumerate(body) if item.keyword == "RUN"), default=-1)
        if last < 0:
            raise _No(self.origin, "no RUN builds a program here")
        return body[: last + 1], body[last + 1 :]

    def _tree(self, head: Sequence[Instruction]) -> Tree:
        found = tree(head, self.known, self.context, self.dockerfile.escape)
        return Tree(found.folders | made_folders(self.runs), found.copies)

    def _program(self, head: Sequence[Instruction]) -> GoBuild:
        found = builds(self.runs, self._tree(head))
        if not found:
            raise _No(head[-1], "no `go build` or `go install` makes a program here")
        if len(found) > 1:
            raise _No(found[1].run.instruction, "more than one program is built: which ones are needed is not known")
        build = found[0]
        if build.output is None:
            raise _No(build.run.instruction, f"where the program goes is not known: {build.problem}")
        unsafe = _UNSAFE_OPTIONS & build.options
        if unsafe:
            raise _No(build.run.instruction, f"with {sorted(unsafe)[0]} the program may not stand alone")
        if any(
            item.name in ("GOOS", "GOFLAGS", "GOBIN", "GOPATH") and item.value.text != "linux"
            for item in build.use.command.environment
        ):
            raise _No(build.run.instruction, "its variables decide what is built")
        environment = build.run.state.environment
        if environment.get("GOOS", "linux") != "linux" or re.search("race|buildmode", environment.get("GOFLAGS") or ""):
            raise _No(build.run.instruction, "its variables decide what is built")
        return build

    def _starts(self, build: GoBuild) -> None:
        """ENTRYPOINT, or else CMD, must be the program; a health check too."""
        entries = [item for item in self.stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
        final = self.known[-1]
        entry = next((item for item in reversed(entries) if item.keyword == "ENTRYPOINT"), None)
        program = entry or (entries[-1] if entries else None)
        if program is None:
            raise _No(self.origin, "there is no CMD or ENTRYPOINT: the image may be meant for working with Go")
        if build.output not in started(program, final):
            shown = " ".join(program.values)[:60]
            raise _No(program, f"`{shown}` is not the program that is built ({build.output})")
        for item in self.stage.instructions:
            if (
                item.keyword == "HEALTHCHECK"
                and item.command_word != "NONE"
                and build.output not in started(item, final)
            ):
                raise _No(item, "the health check runs a program that the smaller image may lack")

    def _head_is_understood(self, head: Sequence[Instruction], build: GoBuild) -> None:
        for instruction in head:
            if instruction.keyword == "USER":
                raise _No(instruction, "the user changes before the program is built")
            if instruction.keyword in ("COPY", "ADD"):
                self._copy_is_plain(instruction)
        for run in self.runs:
            if run.script is None or not run.script.complete or run.logical is None:
                raise _No(run.instruction, "this RUN cannot be read to the end")
            for command in run.commands:
                problem = self._command_problem(run, command, build)
                if problem:
                    raise _No(run.instruction, problem)

    def _copy_is_plain(self, instruction: Instruction) -> None:
        if instruction.flag("from") is not None:
            raise _No(instruction, "what it copies from another image may be needed at run time")
        for word in instruction.words[:-1]:
            if "://" in word.text or word.text.startswith("git@"):
                raise _No(instruction, "what it downloads may be needed at run time")
            if instruction.keyword == "ADD" and re.search(r"\.(?:t?gz|t?xz|t?bz2|tar|zst)$", word.text):
                raise _No(instruction, "what it unpacks may be needed at run time")
            if "$" in word.text:
                raise _No(instruction, "what it copies depends on a variable")

    def _command_problem(self, run: Run, command: Command, build: GoBuild) -> str:
        shown = " ".join(word.raw for word in command.words)[:60]
        if any(
            item.target is not None and item.target.text not in ("/dev/null", "1", "2") for item in command.redirects
        ):
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
            return self._packages_problem(use.subcommand, tuple(word.text for word in use.rest))
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
            return self._mkdir_problem(run, command, build)
        if name == "chmod" and build.output is not None:
            paths = [posixpath.join(run.state.workdir or "/", text) for text in command.texts[1:]]
            return "" if all(posixpath.normpath(path) == build.output for path in paths) else f"`{shown}` changes files"
        if name in _QUIET_COMMANDS or (name == "git" and command.texts[:1] == ("config",)):
            return ""
        return f"`{shown}` may make what is needed at run time"

    def _packages_problem(self, subcommand: str, words: Sequence[str | None]) -> str:
        if subcommand not in ("install", "add"):
            return "" if subcommand in ("update", "clean", "autoclean", "cache") else f"{subcommand} changes the image"
        for word in words:
            if word is None or (not word.startswith("-") and re.split(r"[=<>~]", word)[0] not in _BUILD_PACKAGES):
                return f"{word or 'a package'} is installed, and may be needed at run time"
        return ""

    def _mkdir_problem(self, run: Run, command: Command, build: GoBuild) -> str:
        assert build.output is not None
        used = {posixpath.dirname(build.output), self.known[-1].workdir or "/", build.folder or "/"}
        for text in command.texts:
            path = posixpath.normpath(posixpath.join(run.state.workdir or "/", text))
            if not text.startswith("-") and not any(relation(folder, path) is Relation.INSIDE for folder in used):
                return f"{path} is made by mkdir, and may be needed at run time"
        return ""

    def _variables_are_known(self, instruction: Instruction) -> None:
        """Nothing that is set again may lean on what only the golang image sets."""
        if instruction.keyword in ("RUN", "COPY", "ADD"):
            return
        state = self.known[instruction.span.start]
        runtime = instruction.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK")
        for name in _REFERENCE.findall(instruction.arguments.text):
            defined = name in state.environment or name in state.arguments
            if (name in _BASE_NAMES or not runtime) and not defined:
                raise _No(instruction, f"${name} is what the golang image sets")

    def _tail_is_understood(self, tail: Sequence[Instruction], build: GoBuild) -> None:
        for instruction in (*self.stage.instructions[1:],):
            if instruction.keyword == "VOLUME" and build.output is not None:
                text = instruction.arguments.text
                if "$" in text or any(relation(build.output, value) is Relation.INSIDE for value in instruction.values):
                    raise _No(instruction, "the volume may cover the program")
        for instruction in tail:
            if instruction.keyword not in _TAIL:
                raise _No(instruction, f"{instruction.keyword} behind the build is not understood")
            if instruction.keyword in ("COPY", "ADD"):
                self._copy_is_plain(instruction)
            if instruction.keyword == "USER":
                name = instruction.arguments.text.split(":")[0]
                if not name.isdigit() and name not in _USERS:
                    raise _No(instruction, f"the smaller image may have no user {name}")

    def _sources(self, head: Sequence[Instruction]) -> list[str]:
        return [
            word.text.lstrip("/")
            for instruction in head
            if instruction.keyword in ("COPY", "ADD")
            for word in instruction.words[:-1]
        ]

    def _runtime(self, build: GoBuild, needs: Needs) -> str:
        """The slim image of the golang image's distribution. Raises _No where the C libraries may not fit."""
        reference = base_reference(self.dockerfile, self.stage)
        written = self.stage.image.text if self.stage.image is not None else ""
        tag = self.known[-1].base.tag.lower()
        prefix = reference[: reference.index("golang")]
        environment = {item.name: item.value.text for item in build.use.command.environment}
        static = (environment.get("CGO_ENABLED") or build.run.state.environment.get("CGO_ENABLED")) == "0"
        if "CGO_ENABLED" in environment and environment["CGO_ENABLED"] != "0":
            static = False
        if needs.cgo and not static:
            raise _No(build.run.instruction, "the program uses cgo: which libraries it needs is not known")
        words = tag.split("-")
        alpine = next((word.removeprefix("alpine") for word in words if word.startswith("alpine")), None)
        if alpine is not None:
            if not static and (not alpine or "$" in written):
                raise _No(self.origin, "without CGO_ENABLED=0 the Alpine release must be known (golang:…-alpine3.20)")
            return f"{prefix}alpine:{alpine or '3.20'}"
        suite = next((word for word in words if _SUITE.match(word)), None)
        if suite is None and not static and not _settled(tag):
            raise _No(
                self.origin,
                "without CGO_ENABLED=0 the Debian release must be known (golang:…-bookworm): C libraries differ",
            )
        if "$" in written and not static:
            raise _No(self.origin, "without CGO_ENABLED=0 the base must be written out: C libraries differ")
        return f"{prefix}debian:{suite or 'bookworm'}-slim"

    def _extra_copies(self, build: GoBuild, needs: Needs) -> list[str]:
        found = []
        packages = {text for run in self.runs for command in run.commands for text in command.texts}
        if needs.certificates or "ca-certificates" in packages:
            found.append(_CERTIFICATES)
        if needs.zones or "TZ" in self.known[-1].environment:
            if "-trimpath" in build.options:
                raise _No(build.run.instruction, "with -trimpath its time zones come from a file of the golang image")
            found.append(_ZONES)
        return found

    def _edits(
        self, head: Sequence[Instruction], tail: Sequence[Instruction], build: GoBuild, runtime: str, extra: list[str]
    ) -> list[Edit]:
        source = self.dockerfile.source
        newline = source.newline
        upper = source.text[self.origin.keyword_span.start] == "F"
        word = (lambda text: text) if upper else str.lower
        image = self.stage.image
        assert image is not None
        edits = [Edit(Span(image.span.end, image.span.end), word(" AS ") + "build")]
        lines: list[str] = [f"{word('FROM')} {runtime}"]
        for instruction in head:
            if instruction.keyword in _MOVED:
                whole = self._with_comments(instruction)
                lines.append(_unbroken(source.text[whole.start : whole.end]))
                edits.append(Edit(whole, ""))
            elif instruction.keyword in _COPIED and self._is_needed(instruction, head, tail):
                lines.append(_unbroken(source.text[instruction.span.start : instruction.span.end]))
        folders = [item for item in (*head, *tail) if item.keyword == "WORKDIR"]
        if folders and not folders[0].arguments.text.startswith(("/", "$")):
            raise _No(folders[0], "WORKDIR is relative to the golang image's own")
        if not folders:
            lines.append(f"{word('WORKDIR')} /go")
        assert build.output is not None
        if build.output.startswith("/go/bin/") and self._by_name():
            lines.append(f"{word('ENV')} PATH=/go/bin:$PATH")
        lines += [f"{word('COPY')} --from=build {path} {path}" for path in (*extra, build.output)]
        end = self.dockerfile.whole_lines(head[-1]).end
        text = newline + newline.join(lines) + newline
        if end and source.text[end - 1] != "\n":
            text = newline + text
        edits.append(Edit(Span(end, end), text))
        return edits

    def _by_name(self) -> bool:
        """Whether the program is started by its bare name."""
        entries = [item for item in self.stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
        return any(item.values and "/" not in item.values[0].split()[0] for item in entries if item.values[0].split())

    def _is_needed(self, instruction: Instruction, head: Sequence[Instruction], tail: Sequence[Instruction]) -> bool:
        """An ARG is needed again only where something in the runtime stage speaks of it."""
        if instruction.keyword != "ARG":
            return True
        names = {pair.key.text for pair in instruction.pairs}
        later = [item for item in head if item.keyword in _MOVED or item.keyword in ("ENV", "WORKDIR")] + list(tail)
        return any(names.intersection(_REFERENCE.findall(item.logical.text)) for item in later)

    def _with_comments(self, instruction: Instruction) -> Span:
        """The instruction's lines and the comment lines right above it."""
        source = self.dockerfile.source
        line = instruction.lines[0]
        starts = {source.position(comment.span.start)[0] for comment in self.dockerfile.comments if not comment.inside}
        while line - 1 in starts:
            line -= 1
        return Span(source.line_start(line), self.dockerfile.whole_lines(instruction).end)


def _unbroken(text: str) -> str:
    return text.rstrip("\r\n")


def _settled(tag: str) -> bool:
    """Whether a tag without a Debian release will not move to another one any more: Go releases out of support."""
    match = re.match(r"1\.([0-9]+)(?:\.|$)", tag)
    return match is not None and int(match.group(1)) <= 22
