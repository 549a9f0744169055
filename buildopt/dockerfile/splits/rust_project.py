"""What a Cargo project builds and where: its packages, its programs, its target folder."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import No, Subject

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_VALUED = word_set(
    "-p --package --bin --example --test --bench --features -F --target --target-dir --manifest-path --profile -j "
    "--jobs --message-format --color --config -Z --exclude --path --root --version --git --branch --tag --rev "
    "--registry --index --lockfile-path --vers"
)
HOME = "/usr/local/cargo"
_BINARIES = f"{HOME}/bin"
# Flags of the compiler that leave the program standing alone.
_PLAIN_FLAGS = re.compile(
    r"(?:-C\s*|--codegen[= ])(?:target-cpu|opt-level|lto|strip|debuginfo|codegen-units|panic|linker-plugin-lto"
    r"|link-arg=-fuse-ld|target-feature=\+(?!crt-static)|embed-bitcode|overflow-checks)\S*|-D\s*\S+|-[AW]\s*\S+|--cfg\s*\S+"
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package in its folder, with the names of its programs. ``workspace`` is the folder of its workspace."""

    name: str
    folder: str
    programs: tuple[str, ...]
    workspace: str


@dataclass(frozen=True, slots=True)
class RustBuild:
    """One program that one command makes: ``output`` is its absolute path, ``target`` the platform it asks for."""

    run: Run
    command: Command
    output: str
    package: Package
    target: str


class Cargo:
    """The Cargo projects of the build stage."""

    def __init__(self, subject: Subject, files: Sequence[Landed]) -> None:
        self.subject = subject
        self.files = files
        self.places = {item.path: item for item in files}
        self.documents = {item.path: self._read(item) for item in files if item.name == "Cargo.toml"}

    def _read(self, item: Landed) -> Mapping[str, object]:
        try:
            return tomllib.loads(text_of(self.subject, item) or "")
        except (tomllib.TOMLDecodeError, RecursionError):
            raise No(item.instruction, f"{item.origin} cannot be read") from None

    def packages(self, folder: str) -> list[Package]:
        """The packages that a command in a folder is about: its own, or the members of its workspace."""
        at = folder
        while posixpath.join(at, "Cargo.toml") not in self.documents:
            if at == "/":
                return []
            at = posixpath.dirname(at)
        document = self.documents[posixpath.join(at, "Cargo.toml")]
        root = self.workspace(at)
        found = []
        if "package" in document:
            found.append(self._package(at, document, root))
        workspace = document.get("workspace")
        if isinstance(workspace, dict):
            members = workspace.get("default-members") or workspace.get("members") or []
            if "package" not in document or "default-members" in workspace:
                found += [
                    self._package(path, self.documents[f"{path}/Cargo.toml"], at) for path in self._members(at, members)
                ]
        return found

    def all_packages(self, folder: str) -> list[Package]:
        """All members of the workspace that a folder belongs to."""
        own = self.packages(folder)
        root = own[0].workspace if own else self.workspace(folder)
        document = self.documents.get(posixpath.join(root, "Cargo.toml"), {})
        workspace = document.get("workspace")
        if not isinstance(workspace, dict):
            return own
        paths = self._members(root, workspace.get("members") or [])
        found = [self._package(path, self.documents[f"{path}/Cargo.toml"], root) for path in paths]
        return found + [item for item in own if item.folder not in paths]

    def _members(self, root: str, patterns: object) -> list[str]:
        if not isinstance(patterns, list):
            return []
        found = []
        for path in self.documents:
            folder = posixpath.dirname(path)
            below = folder[len(root.rstrip("/")) + 1 :]
            inside = folder != root and folder.startswith(f"{root.rstrip('/')}/")
            if inside and any(fnmatch(below, str(pattern).rstrip("/")) for pattern in patterns):
                found.append(folder)
        return found

    def workspace(self, folder: str) -> str:
        """The folder of the workspace that a folder belongs to; itself where there is none."""
        at = folder
        while True:
            document = self.documents.get(posixpath.join(at, "Cargo.toml"))
            if document is not None and isinstance(document.get("workspace"), dict):
                return at
            if at == "/":
                return folder
            at = posixpath.dirname(at)

    def _package(self, folder: str, document: Mapping[str, object], workspace: str) -> Package:
        package = document.get("package")
        package = package if isinstance(package, dict) else {}
        name = str(package.get("name", ""))
        programs: list[str] = []
        listed = document.get("bin")
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and item.get("name"):
                programs.append(str(item["name"]))
        if package.get("autobins", True):
            programs += [program for program in self._found(folder, name) if program not in programs]
        return Package(name, folder, tuple(programs), workspace)

    def _found(self, folder: str, name: str) -> Iterator[str]:
        """The programs that Cargo finds by itself."""
        if posixpath.join(folder, "src/main.rs") in self.places:
            yield name
        start = posixpath.join(folder, "src/bin/")
        for path in sorted(self.places):
            if path.startswith(start):
                below = path[len(start) :]
                if re.fullmatch(r"[^/]+\.rs", below):
                    yield below[:-3]
                elif re.fullmatch(r"[^/]+/main\.rs", below):
                    yield below[: -len("/main.rs")]


def builds(cargo: Cargo, runs: Iterable[Run]) -> list[RustBuild]:
    """Every program that ``cargo build`` and ``cargo install --path`` make, in order. Raises No."""
    found: list[RustBuild] = []
    for run in runs:
        folder = run.state.workdir
        for command in run.commands:
            if command.name == "cd" and command.depth == 0:
                target = command.texts[0] if len(command.arguments) == 1 and command.texts else None
                folder = posixpath.normpath(posixpath.join(folder, target)) if folder and target else None
            elif command.name == "cargo":
                words = [word.text for word in command.arguments if not (word.text or "").startswith("+")]
                if words and words[0] in ("build", "b", "install"):
                    if folder is None or command.depth > 0:
                        raise No(run.instruction, "the folder that cargo runs in is not known")
                    found += _made(cargo, run, command, folder, words)
    return found


def _made(cargo: Cargo, run: Run, command: Command, folder: str, words: list[str | None]) -> list[RustBuild]:
    options, operands = _options(run, words[1:])
    if words[0] == "install" and "--path" not in options:
        if operands or "--git" in options:
            return []  # a tool
        options["--path"] = ["."]
    project = folder
    for name in ("--manifest-path", "--path"):
        for value in options.get(name, ()):
            place = posixpath.normpath(posixpath.join(folder, value))
            project = posixpath.dirname(place) if name == "--manifest-path" else place
    wanted = [*options.get("-p", ()), *options.get("--package", ())]
    packages = cargo.packages(project)
    if wanted or "--workspace" in options or "--all" in options:
        packages = [item for item in cargo.all_packages(project) if not wanted or item.name in wanted]
    if not packages:
        raise No(run.instruction, f"no Cargo.toml of {project} is in the context")
    target = "".join(options.get("--target", ()))
    output = _folder(run, command, folder, packages[0], words[0] == "install", options, target)
    programs = options.get("--bin") or [name for item in packages for name in item.programs]
    if "--lib" in options or "--example" in options or "--examples" in options:
        programs = options.get("--bin") or []
    return [RustBuild(run, command, posixpath.join(output, name), packages[0], target) for name in programs]


def _options(run: Run, words: list[str | None]) -> tuple[dict[str, list[str]], list[str]]:
    options: dict[str, list[str]] = {}
    operands: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word is None:
            raise No(run.instruction, "what cargo is given is only known at build time")
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            operands.append(word)
        elif not equals and name in _VALUED:
            position += 1
            following = words[position] if position < len(words) else None
            if following is None:
                raise No(run.instruction, f"what {name} names is only known at build time")
            options.setdefault(name, []).append(following)
        else:
            options.setdefault(name, []).extend([value] if equals else [])
        position += 1
    return options, operands


def _folder(
    run: Run,
    command: Command,
    folder: str,
    package: Package,
    install: bool,
    options: Mapping[str, list[str]],
    target: str,
) -> str:
    """Where the programs go. Raises No where variables or settings decide."""
    own = {item.name: item.value.text for item in command.environment}
    environment = {**run.state.environment, **own}
    for name in ("CARGO_BUILD_TARGET", "CARGO_BUILD_TARGET_DIR", "CARGO_INSTALL_ROOT", "CARGO_ENCODED_RUSTFLAGS"):
        if name in environment:
            raise No(run.instruction, f"{name} decides what is built")
    flags = environment.get("RUSTFLAGS", "")
    if flags is None or _PLAIN_FLAGS.sub("", flags).strip():
        raise No(run.instruction, "RUSTFLAGS may decide what the program needs at run time")
    if environment.get("CARGO_HOME", HOME) != HOME:
        raise No(run.instruction, "CARGO_HOME is set")
    if install:
        root = options.get("--root")
        return posixpath.normpath(posixpath.join(folder, root[0], "bin")) if root else _BINARIES
    chosen = options.get("--target-dir")
    base = chosen[0] if chosen else environment.get("CARGO_TARGET_DIR", posixpath.join(package.workspace, "target"))
    if base is None:
        raise No(run.instruction, "CARGO_TARGET_DIR is only known at build time")
    profile = "".join(options.get("--profile", ()))
    profile = (
        "release" if "--release" in options or "-r" in options else {"": "debug", "dev": "debug"}.get(profile, profile)
    )
    return posixpath.normpath(posixpath.join(folder, base, target, profile))
