"""Commands that compile a project's own sources, and the images that bring the tools for it along."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.images import Image
from buildopt.dockerfile.shell import Command, parse_shell

_SCRIPT = re.compile(r"(?:build|compile|bundle|dist)(?::[\w:.-]*)?|[\w.-]*:build")


@dataclass(frozen=True, slots=True)
class Compile:
    """A compile. ``language`` is go, rust, java, dotnet, c, swift, haskell or node; ``shown`` the command in short."""

    language: str
    shown: str
    command: Command


# By program: the language, and the subcommands (or goals) that compile; none means that any run of it does.
_PROGRAMS: dict[str, tuple[str, frozenset[str]]] = {
    "go": ("go", frozenset(("build", "install"))),
    "cargo": ("rust", frozenset(("build", "install", "rustc"))),
    "mvn": ("java", frozenset(("package", "install", "verify", "deploy"))),
    "mvnw": ("java", frozenset(("package", "install", "verify", "deploy"))),
    "gradle": ("java", frozenset(("build", "assemble", "jar", "bootJar", "shadowJar", "installDist", "war"))),
    "gradlew": ("java", frozenset(("build", "assemble", "jar", "bootJar", "shadowJar", "installDist", "war"))),
    "dotnet": ("dotnet", frozenset(("publish", "build", "pack"))),
    "make": ("c", frozenset()),
    "cmake": ("c", frozenset(("--build",))),
    "ninja": ("c", frozenset()),
    "swift": ("swift", frozenset(("build",))),
    "stack": ("haskell", frozenset(("build", "install"))),
    "cabal": ("haskell", frozenset(("build", "install"))),
    "ng": ("node", frozenset(("build",))),
    "vite": ("node", frozenset(("build",))),
    "next": ("node", frozenset(("build",))),
    "tsc": ("node", frozenset()),
}
_NODE = frozenset(("npm", "yarn", "pnpm", "bun"))
_RUN = frozenset(("run", "run-script"))
_SHELLS = frozenset(("sh", "bash", "ash", "zsh"))
# Subcommands whose operands are other people's sources.
_FROM_ELSEWHERE = re.compile(r"@|://|\A(?!\.)[\w-]+(?:\.[\w-]+)+/")
# What `make` is asked for where nothing is compiled.
_NO_TARGETS = re.compile(
    r"clean|distclean|test|lint|fmt|deps|.*[-_](?:deps|clean|test)|check|help|init|setup|run|start|menuconfig"
)

# Images whose use is to compile; what was compiled runs without them.
_TOOLCHAINS = re.compile(
    r"golang|rust|maven|gradle|gcc|swift|haskell|dotnet/(?:core/)?sdk|(?:.*/)?(?:rust-musl-builder|cargo-chef|golang-.*)"
)
# Their programs compile, or run what the compiler has not yet seen.
_NEEDED = frozenset(
    (
        "go",
        "cargo",
        "mvn",
        "mvnw",
        "gradle",
        "gradlew",
        "make",
        "gcc",
        "g++",
        "cmake",
        "swift",
        "stack",
        "air",
        "watchexec",
    )
)


def is_toolchain(base: Image | None) -> bool:
    """Whether a base image is there to compile."""
    return base is not None and _TOOLCHAINS.fullmatch(base.repository.removeprefix("mcr.microsoft.com/")) is not None


def started(dockerfile: Dockerfile, stage: Stage) -> Command | None:
    """The first command that a container of the image runs by its own stages' ENTRYPOINT, else CMD."""
    found: dict[str, Instruction] = {}
    place: Stage | None = stage
    while place is not None:
        for instruction in reversed(place.instructions):
            if instruction.keyword in ("CMD", "ENTRYPOINT") and instruction.words and not instruction.problems:
                found.setdefault(instruction.keyword, instruction)
        place = dockerfile.stages[place.base_index] if place.base_index is not None else None
    last = found.get("ENTRYPOINT") or found.get("CMD")
    if last is None:
        return None
    words = [word.text for word in last.words]
    text = shlex.join(words) if last.exec_form else " ".join(words)
    return next((command for command in parse_shell(text).commands if command.words), None)


def needs_tools(command: Command) -> bool:
    """Whether a command that is to run in a container compiles there, or is a shell for people."""
    if command.name in ("npm", "yarn", "pnpm", "bun"):
        return any(
            text in ("dev", "test", "build", "watch") or text.startswith(("dev:", "test:")) for text in command.texts
        )
    if command.name == "dotnet":
        return bool({"run", "test", "watch"} & set(command.texts))
    return command.name in _NEEDED or (command.name in _SHELLS and not command.arguments)


def compiles(command: Command) -> Compile | None:
    """What a command compiles of the project's own sources; None for all others."""
    name = command.name
    if name is None:
        return None
    words = [word.text or "" for word in command.arguments]
    operands = [word for word in words if word and not word.startswith("-") and "=" not in word]
    if name == "npx":
        name, operands = (operands[0] if operands else ""), operands[1:]
    if name in _NODE:
        script = next((word for word in operands if word not in _RUN), "")
        runs = bool(operands) and (operands[0] in _RUN or name in ("yarn", "pnpm"))
        return Compile("node", f"{name} run {script}", command) if runs and _SCRIPT.fullmatch(script) else None
    if name not in _PROGRAMS:
        return None
    language, actions = _PROGRAMS[name]
    if not actions:
        if (operands and all(_NO_TARGETS.fullmatch(word) for word in operands)) or {"-v", "--version"} & set(words):
            return None
        return Compile(language, name, command)
    action = next((word for word in words if word.rpartition(":")[2] in actions and not word.startswith("-D")), None)
    if action is None:
        return None
    if action == "install" and language in ("go", "rust", "haskell") and _installs_from_elsewhere(words, language):
        return None
    return Compile(language, f"{name} {action}", command)


def _installs_from_elsewhere(words: list[str], language: str) -> bool:
    """Whether `go install`, `cargo install` and the like fetch what they compile."""
    if language == "go":
        return any(_FROM_ELSEWHERE.search(word) for word in words if not word.startswith("-"))
    return language != "rust" or "--path" not in words
