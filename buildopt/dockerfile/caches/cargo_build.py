"""The one RUN of a stage that runs ``cargo build``, where nothing but times decides what is compiled anew."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.mounts import mounts
from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.managers import CARGO, recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.passes.context_reads import Read, context_reads
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.shell import Command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FLAGS = word_set(
    "--release -r --locked --frozen --offline --bin --bins -p --package --workspace --all --features -F --all-features "
    "--no-default-features --target -j --jobs --profile --verbose -v -vv --quiet -q --timings --color --lib"
)
_VALUED = word_set("--bin -p --package --features -F --target -j --jobs --profile --color")
_MOVED_BY = word_set(
    "CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_BUILD_DIR RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER"
)
_SETTINGS = re.compile(
    r"^\s*\"?(?:target-dir|build-dir|include|rustc-wrapper|rustc-workspace-wrapper)\"?\s*=", re.MULTILINE
)
_VENDORED = re.compile(r"^\s*directory\s*=\s*[\"']([\w-]+)/?[\"']\s*$", re.MULTILINE)
# Commands of other RUNs that leave nothing behind whose own time decides what cargo does.
_SYSTEM = frozenset(("apt", "apk", "dnf"))
_PLAIN = word_set("rustup mkdir useradd adduser groupadd addgroup echo true set : rm update-ca-certificates")
# Commands behind cargo in its own RUN: they only take from target.
_TAKING = word_set("cp mv strip install ls")
_IDLE = word_set("fetch install --version version")


@dataclass(frozen=True, slots=True)
class CargoBuild:
    """The RUN, its folder ``target``, and the words that name things.

    ``out`` is a free name for a folder at the top of the file system, ``base`` the image as a part of a name,
    ``vendored`` the folder of vendored crates, relative to the project and empty where there is none, ``linked`` the
    files that cargo links from the project's own manifests.
    """

    run: Run
    target: str
    name: str
    base: str
    out: str
    vendored: str = ""
    linked: frozenset[str] = frozenset()

    @property
    def project(self) -> str:
        """The working folder, absolute."""
        return posixpath.dirname(self.target)


def cargo_build(dockerfile: Dockerfile, context: Path | None, runs: Sequence[Run]) -> CargoBuild | None:
    """What to mount, None where it is mounted already. Raises No."""
    run = _only(dockerfile, runs)
    folder = run.state.workdir
    if folder is None or folder == "/" or not re.fullmatch(r"/[\w./-]*", folder):
        raise No(run.line, "the folder that cargo runs in is not known")
    target = f"{folder}/target"
    found = mounts(run.instruction)
    places = [posixpath.normpath(posixpath.join(folder, mount.target)) for mount in found]
    if any("$" in place or relation(place, target) is not Relation.NONE for place in places):
        return None
    if any(mount.kind == "bind" for mount in found):
        raise No(run.line, "sources are mounted: their times cannot be set")
    _user_and_settings(run)
    _commands(run)
    if context is None:
        raise No(run.line, "only the project tells what cargo builds: give --context")
    _others(run, runs)
    project, place = _project(dockerfile, context, run, folder)
    vendored = _vendored(run, place)
    base = run.base_text
    if not base or "$" in base or run.stage.platform is not None:
        raise No(
            run.stage.origin.lines[0], "the base must be written out, without --platform: what is compiled is its own"
        )
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", base.partition("@")[0]).strip("-")
    text = " ".join(item.logical.text for stage in dockerfile.stages for item in stage.instructions)
    out = next((name for name in ("built", "programs") if f"/{name}" not in text), None)
    if out is None:
        raise No(run.line, "there is no free name for the folder of the programs")
    return CargoBuild(run, target, project, slug, out, vendored, linked(place))


def _only(dockerfile: Dockerfile, runs: Sequence[Run]) -> Run:
    compiling = [run for run in runs if any(use.subcommand not in _IDLE for use in run.uses(CARGO))]
    run = compiling[0]
    if len(compiling) > 1:
        raise No(compiling[1].line, "several RUNs compile: what one leaves in target another one needs")
    if any(stage.base_index == run.stage.index for stage in dockerfile.stages):
        raise No(run.line, "another stage starts from this one, and would miss target")
    if run.stage.base_index is not None:
        raise No(run.line, "the stage starts from another one, which may hold a part of target")
    if run.stage is dockerfile.final_stage:
        raise No(run.line, "the image itself holds target: the program must be copied to a stage of its own first")
    return run


def _user_and_settings(run: Run) -> None:
    state = run.state
    if not state.root:
        raise No(run.line, "another user than root runs cargo, and could not write to the mount")
    for name in _MOVED_BY:
        if name in state.environment or name in state.arguments or name in run.text:
            raise No(run.line, f"{name} decides where or how cargo compiles")


def _commands(run: Run) -> None:
    script = run.script
    if script is None or not script.complete or run.logical is None or run.instruction.heredocs or script.comments:
        raise No(run.line, "the command is not one that can be added to")
    seen = False
    for command in script.commands:
        if command.depth or command.redirects or command.negated or command.operator not in ("", "&&"):
            raise No(run.line, "the commands are not a plain chain")
        if command.name == "cargo":
            seen = _cargo(run, command) or seen
        elif not seen and command.name not in ("rustup", "echo", "mkdir"):
            raise No(run.line, f"`{_shown(command)}` runs before cargo")
        elif seen and (command.name not in _TAKING or any(word.text is None for word in command.arguments)):
            raise No(run.line, f"`{_shown(command)}` may leave something in target that is needed later")


def _cargo(run: Run, command: Command) -> bool:
    """Whether a command compiles. Raises No where it does so in an unusual way."""
    words = [word.text for word in command.arguments]
    if command.assignments or command.wrappers or None in words:
        raise No(run.line, "how cargo is called is only known at build time")
    if words[:1] == ["fetch"]:
        return False
    if words[:1] not in (["build"], ["b"]):
        raise No(run.line, f"`cargo {words[0] if words else ''}` does more than build".replace("  ", " "))
    position = 1
    while position < len(words):
        name, equals, _ = (words[position] or "").partition("=")
        if name not in _FLAGS:
            raise No(run.line, f"`cargo build {name}` builds in a way of its own")
        position += 2 if name in _VALUED and not equals else 1
    return True


def _shown(command: Command) -> str:
    return " ".join(word.raw for word in command.words)[:40]


def _others(run: Run, runs: Sequence[Run]) -> None:
    """Raise No for another RUN of the stage that may leave files with times of their own, or need ``target``."""
    for other in runs:
        if other is run:
            continue
        if other.instruction.span.start > run.instruction.span.start:
            raise No(other.line, "what runs behind cargo may need target")
        if other.script is None or not other.script.complete:
            raise No(other.line, "what it does is not known")
        for command in other.commands:
            use = recognise(command)
            known = use is not None and (use.manager.name in _SYSTEM or use.manager is CARGO)
            if command.words and not known and command.name not in _PLAIN:
                raise No(other.line, f"`{_shown(command)}` may make files whose time does not tell that they are new")


def _project(dockerfile: Dockerfile, context: Path, run: Run, folder: str) -> tuple[str, Path]:
    """The name of the project and its folder. Raises No."""
    manifest = None
    for read in _reads(dockerfile, run):
        place = context / read.source
        landing = read.landing(posixpath.normpath(posixpath.join(read.source, "Cargo.toml")))
        if place.is_dir() and landing == f"{folder}/Cargo.toml" and (place / "Cargo.toml").is_file():
            manifest = place / "Cargo.toml"
    if manifest is None:
        raise No(run.line, f"no folder with a Cargo.toml is copied to {folder}")
    _all_below(dockerfile, run, folder)
    try:
        document = tomllib.loads(read_text(manifest))
        lock = read_text(manifest.with_name("Cargo.lock"))
    except (OSError, tomllib.TOMLDecodeError, RecursionError):
        raise No(run.line, "Cargo.toml and Cargo.lock cannot both be read") from None
    package = document.get("package")
    package = package if isinstance(package, dict) else {}
    if "workspace" in package:
        raise No(run.line, "the workspace of the project is in another folder")
    for name in ("bindgen", "autocxx"):
        if re.search(rf'^name = "{name}"', lock, re.MULTILINE):
            raise No(run.line, f"{name} reads headers of the system, whose times do not tell when they changed")
    found = str(package.get("name") or manifest.parent.resolve().name)
    return re.sub(r"[^A-Za-z0-9_.]+", "-", found).strip("-") or "cargo", manifest.parent


def _reads(dockerfile: Dockerfile, run: Run) -> Iterator[Read]:
    for read in context_reads(dockerfile):
        if isinstance(read, Instruction):
            if dockerfile.stage_of(read) is run.stage:
                raise No(read.lines[0], "what is copied is only known at build time")
        elif read.stage is run.stage:
            yield read


def _all_below(dockerfile: Dockerfile, run: Run, folder: str) -> None:
    """Raise No where a COPY or ADD puts something beside the project, where no new time is set."""
    known = states(dockerfile)
    for instruction in run.stage.instructions:
        if instruction.keyword not in ("COPY", "ADD"):
            continue
        if instruction.span.start > run.instruction.span.start:
            raise No(instruction.lines[0], "files come behind cargo")
        state = known[instruction.span.start]
        text = state.value(instruction.words[-1].text, dockerfile.escape) if instruction.words else None
        path = posixpath.normpath(posixpath.join(state.workdir, text)) if text and state.workdir else ""
        if path != folder and not path.startswith(f"{folder}/"):
            raise No(instruction.lines[0], "files outside of the project keep their times, by which cargo goes")


def _vendored(run: Run, project: Path) -> str:
    for name in ("config.toml", "config"):
        path = project / ".cargo" / name
        if not path.exists():
            continue
        try:
            text = read_text(path)
        except OSError:
            raise No(run.line, f".cargo/{name} cannot be read") from None
        if _SETTINGS.search(text):
            raise No(run.line, f".cargo/{name} decides where or how cargo compiles")
        folders = _VENDORED.findall(text)
        if len(folders) == 1 and (project / folders[0]).is_dir():
            return str(folders[0])
    return ""


def linked(project: Path) -> frozenset[str]:
    """The names of what cargo links, for the packages of a project: programs, and libraries for other languages.

    What else lies beside them was put there by a build script, which does not run again where its crate is kept.
    """
    found: set[str] = set()
    for folder, folders, files in os.walk(project):
        folders[:] = [name for name in folders if name not in ("target", "node_modules", ".git")]
        if "Cargo.toml" in files:
            found |= _linked(Path(folder))
    return frozenset(found)


def _linked(folder: Path) -> set[str]:
    try:
        document = tomllib.loads(read_text(folder / "Cargo.toml"))
    except (OSError, tomllib.TOMLDecodeError, RecursionError):
        return set()
    package, library, listed = document.get("package"), document.get("lib"), document.get("bin")
    name = str(package.get("name", "")) if isinstance(package, dict) else ""
    programs = {name, *(path.stem for path in (folder / "src" / "bin").glob("*"))}
    if isinstance(listed, list):
        programs |= {str(item.get("name", "")) for item in listed if isinstance(item, dict)}
    own = library.get("name", name) if isinstance(library, dict) else name
    crate = str(own).replace("-", "_")
    libraries = {f"lib{crate}.so", f"lib{crate}.a", f"{crate}.wasm"} if crate else set()
    return (programs | {f"{program}.wasm" for program in programs if program} | libraries) - {""}
