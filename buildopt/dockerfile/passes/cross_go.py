"""Go for another platform: the compiler runs where the builder runs, and is told the target."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.managers import APK, GO, Use, recognise, word_set
from buildopt.dockerfile.model import Instruction, Stage
from buildopt.dockerfile.passes.cross_families import Family, Ready, check, command_problem, commands
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.splits import No
from buildopt.source import Edit, Span

_FINE = word_set("build mod get fmt vet clean work install version env")
_UNSAFE = word_set("-race -msan -asan -buildmode -linkshared -toolexec -compiler -gccgoflags -pkgdir -cover")
_UNSAFE_TEXT = re.compile(r"linkmode[ =]?external|-race|-buildmode|-toolexec|-compiler|-msan|-asan")
_TARGET_OS = re.compile(r"[\"']?(?:linux|\$TARGETOS|\$\{TARGETOS(?::?-linux)?\})[\"']?")
_TARGET_ARCH = re.compile(r"[\"']?(?:\$TARGETARCH|\$\{TARGETARCH(?::?-[a-z0-9]*)?\})[\"']?")
# Packages of Alpine that bring no C compiler along.
_WITHOUT_COMPILER = word_set(
    "bash ca-certificates curl git gnupg jq make mercurial openssh openssh-client openssl tzdata unzip upx wget xz zip"
)
_ARM = re.compile(r"linux/arm/v|\barm/v?[67]\b|arm32|armhf|armv[67]|GOARM")
_ARM_FILES = (
    *(".github/workflows/*.y*ml", ".gitlab-ci.yml", ".travis.yml", ".drone.yml", "docker-bake.*", "Makefile", "*.sh"),
    *("compose*.y*ml", "docker-compose*.y*ml", ".goreleaser.y*ml", "scripts/*", "hack/*", ".circleci/*.yml"),
)
_MAX_BYTES = 256 * 1024


def ready(family: Family) -> Ready | None:
    """What to do for a family on the golang image; None where it builds no program. Raises No."""
    builds = [(run, use) for run, use in _uses(family) if use.subcommand == "build"]
    if not builds:
        return None
    check(family)
    for run, command, folder in commands(family):
        use = recognise(command)
        if use is None or use.manager is not GO:
            problem = command_problem(command, folder)
        else:
            problem = _go_problem(run, command, use)
        if problem:
            raise No(run.instruction, problem)
    arm = _for_arm(family)
    edits: list[Edit] = []
    wanted: dict[int, tuple[Run, set[str]]] = {}
    for run, use in builds:
        _cgo_is_off(family, run, use.command)
        assignments, names = _target(run, use.command, arm)
        if assignments:
            edits.append(_insertion(run, use.command, assignments))
        first = wanted.setdefault(run.stage.index, (run, set()))
        first[1].update(names)
    for run, names in wanted.values():
        missing = [name for name in ("TARGETOS", "TARGETARCH", "TARGETVARIANT") if name in names]
        missing = [name for name in missing if not _declared(run, name)]
        if missing:
            edits.append(_argument(family, run.instruction, missing))
    return Ready(
        family,
        "go build for the target on the builder's own platform",
        "with cgo off, Go makes the same program on every platform: nothing is emulated",
        frozenset(path for run, use in builds for path in _outputs(family, run, use)),
        tuple(edits),
        lines=tuple(run.instruction.lines[1] for run, _ in builds),
    )


def _uses(family: Family) -> Iterator[tuple[Run, Use]]:
    for run in family.runs:
        for command in run.script.commands:
            use = recognise(command)
            if use is not None and use.manager is GO:
                yield run, use


def _go_problem(run: Run, command: Command, use: Use) -> str:
    shown = f"go {use.subcommand}"
    if use.subcommand not in _FINE:
        return f"`{shown}` runs on the platform that is asked for"
    if "-vettool" in " ".join(command.texts):
        return f"`{shown}` runs a program of its own"
    if use.subcommand in ("version", "env"):
        told = bool(command.redirects) or command.operator in ("|", "|&") or "substitution" in command.context
        if told and "-w" not in command.texts:
            return f"`{shown}` tells the platform that it runs on"
    if use.subcommand in ("install", "get") and _moved(run, command, "GOBIN", "GOPATH"):
        return "GOBIN or GOPATH is set: programs for another platform go elsewhere"
    if use.subcommand == "build":
        options = {text.partition("=")[0] for text in command.options}
        unsafe = sorted(_UNSAFE & {f"-{option.lstrip('-')}" for option in options})
        text = " ".join(word.raw for word in command.arguments) + (_known(run, command).get("GOFLAGS") or "")
        if unsafe or _UNSAFE_TEXT.search(text):
            return f"`{shown}` with {unsafe[0] if unsafe else 'these flags'} needs the tools of the target"
        if "substitution" in command.context:
            return f"what `{shown}` prints is used"
    return ""


def _known(run: Run, command: Command) -> dict[str, str | None]:
    """The variables that a command sees, raw where they are written in the RUN; None where they are not certain."""
    known: dict[str, str | None] = {
        name: None if name in run.scope.open_names else value for name, value in run.scope.env.items()
    }
    known |= {name: None for name in run.scope.args if name not in known}
    for instruction in run.stage.instructions:
        if instruction.keyword == "ENV" and instruction.span < run.instruction.span:
            for pair in instruction.pairs:
                if pair.value is not None and "$" in pair.value.text:
                    known[pair.key.text] = pair.value.text
    for other in run.script.commands:
        if other.span.start >= command.span.start:
            break
        if not other.words:
            known |= {item.name: item.value.raw for item in other.assignments}
        elif other.name == "export":
            known |= dict(word.raw.split("=", 1) for word in other.arguments if "=" in word.raw)
    return known | {item.name: item.value.raw for item in command.environment}


def _moved(run: Run, command: Command, *names: str) -> bool:
    known = _known(run, command)
    return any(name in known for name in names)


def _cgo_is_off(family: Family, run: Run, command: Command) -> None:
    known = _known(run, command)
    if "CGO_ENABLED" in known:
        if (known["CGO_ENABLED"] or "").strip("\"'") == "0" and _reaches(run, command, "CGO_ENABLED"):
            return
        raise No(run.instruction, "cgo is not off for certain: a program for another platform would need its C tools")
    if _without_compiler(family):
        return
    raise No(
        run.instruction,
        "without CGO_ENABLED=0 Go uses cgo on its own platform and not for another one: programs differ",
    )


def _reaches(run: Run, command: Command, name: str) -> bool:
    """Whether a variable that the RUN sets gets to the command: exported, or set for it, or in the environment."""
    if name in run.scope.env or any(item.name == name for item in command.environment):
        return True
    return any(
        other.name == "export" and other.depth == 0 and any(word.raw.startswith(f"{name}=") for word in other.arguments)
        for other in run.script.commands
        if other.span.start < command.span.start
    )


def _without_compiler(family: Family) -> bool:
    """Whether there is no C compiler, so that Go 1.20 and later turns cgo off by itself."""
    image = states(family.dockerfile)[family.root.origin.span.start].base
    written = family.root.image.text if family.root.image is not None else "$"
    tag = re.fullmatch(r"(?:1(?:\.([0-9]+)(?:\.[0-9]+)?)?-)?alpine(?:3\.([0-9]+))?", image.tag)
    if "$" in written or tag is None:
        return False
    # A tag without the version of Go is never older than its Alpine: 3.18 came with Go 1.20.
    if int(tag[1]) < 20 if tag[1] is not None else tag[2] is not None and int(tag[2]) < 18:
        return False
    for run in family.runs:
        if any(item.name == "CC" for command in run.script.commands for item in command.environment):
            return False
        if "CC" in run.scope.env or "CC" in run.scope.args:
            return False
        for use in (recognise(command) for command in run.script.commands):
            if use is not None and use.manager is APK and use.subcommand not in ("update", "upgrade"):
                packages = [word.text for word in use.rest if word.text is None or not word.text.startswith("-")]
                if any(name is None or re.split("[=<>~@]", name)[0] not in _WITHOUT_COMPILER for name in packages):
                    return False
    return True


def _target(run: Run, command: Command, arm: bool) -> tuple[str, set[str]]:
    """The variables to set for a ``go build``, and the arguments that they and those that are there need."""
    known = _known(run, command)
    parts: list[str] = []
    names: set[str] = set()
    for name, pattern, argument in (("GOOS", _TARGET_OS, "TARGETOS"), ("GOARCH", _TARGET_ARCH, "TARGETARCH")):
        if name not in known:
            parts.append(f"{name}=${argument}")
            names.add(argument)
        elif not pattern.fullmatch(known[name] or ""):
            raise No(run.instruction, f"{name} is set: the program is for a platform of its own")
        elif not _reaches(run, command, name):
            raise No(run.instruction, f"{name} may not reach go build")
        elif argument in (known[name] or ""):
            names.add(argument)
            if name in run.scope.env and not _declared_before_env(run, name, argument):
                raise No(run.instruction, f"{name} is set where {argument} is not declared yet")
    if "GOARM" in known:
        if "TARGETVARIANT" not in (known["GOARM"] or ""):
            raise No(run.instruction, "GOARM is set: the program is for a platform of its own")
        names.add("TARGETVARIANT")
    elif arm:
        parts.append("GOARM=${TARGETVARIANT#v}")
        names.add("TARGETVARIANT")
    return " ".join(parts), names


def _declared(run: Run, name: str) -> bool:
    return name in run.scope.args


def _declared_before_env(run: Run, name: str, argument: str) -> bool:
    for instruction in run.stage.instructions:
        if instruction.keyword == "ARG" and any(pair.key.text == argument for pair in instruction.pairs):
            return True
        if instruction.keyword == "ENV" and any(pair.key.text == name for pair in instruction.pairs):
            return False
    return False


def _insertion(run: Run, command: Command, assignments: str) -> Edit:
    """Set variables for one command, right before its program."""
    word = command.argv[0]
    if run.instruction.exec_form or not run.exact(word) or any(wrapper != "env" for wrapper in command.wrappers):
        raise No(run.instruction, "a variable cannot be set for this go build")
    beside = next((item for item in reversed(command.environment) if item.name in ("GOOS", "CGO_ENABLED")), None)
    if beside is not None:
        end = run.span(beside.span).end
        return Edit(Span(end, end), f" {assignments}")
    start = run.span(word.span).start
    return Edit(Span(start, start), f"{assignments} ")


def _argument(family: Family, instruction: Instruction, names: Sequence[str]) -> Edit:
    """ARG right above an instruction and its comments."""
    source = family.dockerfile.source
    start = family.dockerfile.with_comments(instruction).start
    indent = source.text[source.line_start(instruction.lines[0]) : instruction.keyword_span.start]
    word = family.dockerfile.cased("ARG")
    return Edit(Span(start, start), f"{indent}{word} {' '.join(names)}{source.newline}")


def _outputs(family: Family, run: Run, use: Use) -> Iterator[str]:
    """Where ``-o`` puts a program, as far as that is written out."""
    folder = next((here for other, command, here in commands(family) if command is use.command), None)
    words = [word.text for word in use.rest]
    for position, text in enumerate(words):
        value = None
        if text in ("-o", "--o") and position + 1 < len(words):
            value = words[position + 1]
        elif text is not None and text.startswith("-o="):
            value = text[3:]
        if value and (folder is not None or value.startswith("/")):
            yield posixpath.normpath(posixpath.join(_working(run, folder or "/"), value))


def _working(run: Run, folder: str) -> str:
    return folder if run.scope.workdir is not None or folder != "/" else "/go"


def _for_arm(family: Family) -> bool:
    """Whether the file, or what builds it, speaks of 32-bit ARM, whose versions Go must be told."""
    if _ARM.search(family.dockerfile.source.text):
        return True
    return any(_ARM.search(_text(path)) for path in _building(family.context))


def _building(context: Path | None) -> Iterator[Path]:
    for pattern in _ARM_FILES if context is not None else ():
        assert context is not None
        for _, path in zip(range(40), sorted(context.glob(pattern)), strict=False):
            yield path


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") if path.is_file() and path.stat().st_size < _MAX_BYTES else ""
    except OSError:
        return ""


def go_stage(family: Family) -> Stage | None:
    """The first stage of a family that runs ``go build``."""
    return next((run.stage for run, use in _uses(family) if use.subcommand == "build"), None)
