"""What the RUNs and COPYs of a Node.js build stage do that the runtime stage must do as well."""

from __future__ import annotations

import re
from collections.abc import Sequence

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.splits.node_code import SUFFIXES
from buildopt.dockerfile.splits.node_plan import BUILD_PROGRAMS, MANAGERS, Plan, goes_into
from buildopt.dockerfile.splits.node_runs import (
    Kind,
    Step,
)
from buildopt.dockerfile.splits.splits import No, casing, stage_names

# Packages that compile modules, and are not needed by what they compiled.
_TOOLCHAIN = word_set(
    "python python2 python3 py3-pip make g++ gcc build-base build-essential musl-dev libc-dev libc6-dev "
    "linux-headers  pkg-config pkgconf autoconf automake libtool nasm node-gyp python-is-python3 python3-dev "
    "python3-setuptools  py3-setuptools"
)
_SPAWNING = re.compile(r"child_process|\b(?:execa|shelljs|zx|python-shell|pythonia|cross-spawn|bun:ffi|node-gyp)\b")


def repeated_parts(found: Plan) -> tuple[frozenset[int], dict[int, str]]:
    """What of the head the runtime stage repeats, and the text of RUNs of which it repeats a part."""
    subject = found.subject
    repeated: set[int] = set()
    texts: dict[int, str] = {}
    for instruction in subject.head:
        start = instruction.span.start
        copies = instruction.keyword in ("COPY", "ADD")
        if instruction.keyword == "USER" or (copies and _is_outside(found, instruction)):
            repeated.add(start)
        elif instruction.keyword == "RUN":
            steps = [step for step in found.steps if step.offset == start]
            wanted = [step for step in steps if _is_wanted(found, step)]
            if not wanted:
                continue
            repeated.add(start)
            others = [step for step in steps if step not in wanted and step.kind is not Kind.QUIET]
            parts = _parts(wanted, others) if others else None
            if parts is not None:
                texts[start] = f"{casing(subject)('RUN')} {parts}"
    return frozenset(repeated), texts


def _is_wanted(found: Plan, step: Step) -> bool:
    """Whether the runtime stage must do it again."""
    project = found.project
    if step.kind is Kind.SYSTEM:
        if step.tool == "packages":
            return _wants_packages(found, step)
        if step.tool == "config":
            return any(other.kind is Kind.GLOBAL and _is_wanted(found, other) for other in found.steps)
        if step.tool == "mkdir":
            # WORKDIR makes it, and by the same user.
            made = {item.workdir for item in found.subject.known.values()}
            plain = all(other.kind is not Kind.OWNER for other in found.steps) and not any(
                item.keyword == "USER" for item in found.subject.head
            )
            return not plain or any(path not in made for path in step.names)
        return True
    if step.kind is Kind.OWNER:
        paths = step.names[1:]
        outside = [
            path for path in paths if path == project.folder or not path.startswith(f"{project.folder.rstrip('/')}/")
        ]
        if outside and len(outside) != len(paths):
            raise No(step.run.instruction, f"`{step.shown}` is about files of the project and others")
        missing = next((path for path in outside if not _is_there(found, step, path)), None)
        if missing is not None:
            raise No(step.run.instruction, f"{missing} is not there yet when the runtime stage gets to this RUN")
        return bool(outside)
    if step.kind is not Kind.GLOBAL:
        return False
    for name in step.names:
        program = BUILD_PROGRAMS.get(name, name)
        if name in MANAGERS:
            if name in found.needs.managers or program in found.needs.globals:
                return True
        elif name not in BUILD_PROGRAMS or program in found.needs.globals:
            return True
    return False


def _is_there(found: Plan, step: Step, path: str) -> bool:
    """Whether the runtime stage has a path when it gets to a step: of the base, by WORKDIR, mkdir or COPY."""
    if path in ("/", "/opt", "/srv", "/tmp") or re.match(r"/(?:etc|usr/local|usr/lib|var|home/node|root)(?:/|$)", path):
        inside = path == found.project.folder or found.project.folder.startswith(f"{path}/")
        if not inside or path in ("/home/node", "/var", "/root", "/etc", "/usr/local"):
            return True
    state = step.run.state.workdir or "/"
    places = [state]
    for other in found.steps:
        if other.tool == "mkdir" and other.offset <= step.offset:
            places += other.names
    for item in found.subject.head:
        if item.keyword == "WORKDIR" and item.span.start < step.offset:
            places.append(found.subject.known[item.span.start].workdir or "/")
    return any(place == path or place.startswith(f"{path.rstrip('/')}/") for place in places)


def _installed(found: Plan, offset: int) -> list[str]:
    """The system's packages that a RUN installs."""
    return [
        re.split(r"[=<>~]", name)[0]
        for step in found.steps
        if step.offset == offset and step.tool == "packages" and step.names[:1] in (("install",), ("add",))
        for name in step.names[1:]
        if not name.startswith((".", "-"))
    ]


def _wants_packages(found: Plan, step: Step) -> bool:
    """Whether the runtime stage needs what a command of the system's package manager does."""
    action, own = step.names[:1], _installed(found, step.offset)
    if action in (("upgrade",), ("dist-upgrade",), ("full-upgrade",)):
        return True
    if own:
        return not _only_compile(found, own)
    if action in (("del",), ("remove",), ("purge",), ("autoremove",)):
        return False  # more may be there than was
    others = {other.offset for other in found.steps if other.tool == "packages" and other.offset > step.offset}
    return action not in (("update",), ("makecache",)) or any(
        packages and not _only_compile(found, packages) for offset in others if (packages := _installed(found, offset))
    )


def _only_compile(found: Plan, packages: Sequence[str]) -> bool:
    """Whether all of the packages are for compiling modules, and nothing starts programs of them."""
    if not _TOOLCHAIN.issuperset(packages):
        return False
    text = " ".join(found.project.dependencies)
    sources = (found.project.text(path) for path in found.project.files if path.endswith(SUFFIXES))
    return not _SPAWNING.search(text) and not any(_SPAWNING.search(source) for source in sources)


def corepack_copies(found: Plan) -> list[str]:
    """The package manager that Corepack fetched, where the container starts it. Raises No where it is not known."""
    enabled = [step for step in found.steps if step.tool == "corepack"]
    if not enabled or not found.needs.managers & {"pnpm", "yarn"}:
        return []
    pinned = found.project.package.get("packageManager")
    activated = any("--activate" in step.command.texts or "-g" in step.command.texts for step in enabled)
    if activated and not pinned:
        return []  # the same RUN fetches it
    state, final = found.installs[-1].run.state, found.subject.final
    moved = {"COREPACK_HOME", "XDG_CACHE_HOME"} & {*final.environment, *state.environment}
    if state.home is None or moved:
        raise No(enabled[-1].run.instruction, "where Corepack keeps what it fetches is not known")
    if final.home != state.home:
        return []
    place = f"{state.home}/.cache/node/corepack"
    chown = " --chown=node:node" if state.home == "/home/node" else ""
    return [f"{casing(found.subject)('COPY')} --from={stage_names(found.subject)[0]}{chown} {place} {place}"]


def _parts(wanted: Sequence[Step], others: Sequence[Step]) -> str | None:
    """The commands of a chain that are to be repeated; None where all of it may be.

    Raises No where they are not links of a chain.
    """
    run = wanted[0].run
    script = run.script
    assert script is not None
    parts = [
        part
        for part in script.parts
        if any(part.command is step.command or part.span == step.command.span for step in wanted)
    ]
    if (
        len(parts) != len(wanted)
        or any(part.operator not in ("&&", "") for part in script.parts)
        or run.instruction.heredocs
    ):
        if all(step.kind in (Kind.QUIET, Kind.GLOBAL) for step in others):
            return None
        raise No(run.instruction, f"`{wanted[0].shown}` is needed at run time, and stands in one RUN with the build")
    return " && ".join(script.text[part.span.start : part.span.end] for part in parts)


def _is_outside(found: Plan, instruction: Instruction) -> bool:
    """Whether a COPY puts nothing into the project. Raises No where only a part of it goes there."""
    mine = [entry for entry in found.entries if entry.instruction is instruction]
    if instruction.flag("from") is not None or any("://" in word.text for word in instruction.words):
        if goes_into(found.subject, instruction, found.project.folder):
            raise No(instruction, "what it copies from elsewhere may be needed at run time")
        return True
    return not mine and not goes_into(found.subject, instruction, found.project.folder)
