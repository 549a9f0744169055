"""What must hold for one package manager alone, so that a cache mount hides nothing from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.manager import Manager, Use
from buildopt.dockerfile.managers import (
    APK,
    APT,
    BUN,
    BUNDLER,
    CABAL,
    COMPOSER,
    CONDA,
    DOTNET,
    GO,
    GRADLE,
    MAVEN,
    PDM,
    PIP,
    PIPENV,
    PNPM,
    POETRY,
    UV,
    YARN,
)
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.cache_where import No
from buildopt.dockerfile.passes.dotnet_use import dotnet
from buildopt.dockerfile.passes.go_programs import outputs, started
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import family, states
from buildopt.dockerfile.passes.yarn_version import first_yarn


@dataclass(frozen=True, slots=True)
class Group:
    """The stages that see each other's files, for one manager; ``users`` are the runs that would get its mounts."""

    dockerfile: Dockerfile
    context: Path | None
    index: int
    runs: Sequence[Run]
    manager: Manager
    users: Sequence[Run] = ()

    @property
    def stages(self) -> list[Stage]:
        """The stages themselves."""
        return [stage for stage in self.dockerfile.stages if family(self.dockerfile, stage) == self.index]

    def all_uses(self) -> Iterator[tuple[Run, Use]]:
        """Every command of the manager, idle ones included."""
        return ((run, use) for run in self.runs for use in run.uses(self.manager))

    def starting(self) -> Iterator[Instruction]:
        """What a container may start."""
        for stage in self.stages:
            yield from (item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT"))


def check(group: Group) -> None:
    """Raise No where something speaks against the mounts of this manager."""
    _CHECKS.get(group.manager.name, _nothing)(group)


def _nothing(group: Group) -> None:
    return


# With one of these, apk asks for a new index; what turns its cache off gives way to the last of them.
RENEWING = frozenset(("-U", "--update", "--update-cache", "--no-cache"))


def _updates_come_first(group: Group) -> None:
    """What needs lists must fetch them in its own RUN: lists in a mount may be gone when the RUN is run again."""
    manager = group.manager
    for run in group.users:
        uses = {id(use.command): use for use in run.uses(manager)}
        updated: list[tuple[str, ...]] = []
        previous = None
        for command in run.commands:
            use = uses.get(id(command))
            certain = previous is None or previous.operator != "||"
            if use is not None and use.subcommand == "update" and certain:
                updated.append(command.context)
            elif use is not None and use.uses_cache:
                if not any(command.context[: len(context)] == context for context in updated):
                    first = "`apt-get update`" if manager is APT else f"`{manager.name} update`"
                    reason = f"relies on lists of another RUN: put {first} before it"
                    raise No(run.line, f"{manager.name} {use.subcommand} {reason}")
            elif manager is APT and command.name in ("sh", "bash") and "deb.nodesource.com/" in run.text:
                updated.append(command.context)
            previous = command


def _apt(group: Group) -> None:
    for run, use in group.all_uses():
        if any("dir::" in word.raw.lower() for word in use.arguments):
            raise No(run.line, "an option of apt puts its folders elsewhere")
        if {"-d", "--download-only"} & set(use.command.options):
            raise No(run.line, "what it downloads is meant to stay in the image")
    _updates_come_first(group)


def _apk(group: Group) -> None:
    for run in group.runs:
        if "apk/cache" in run.text.replace("cache/apk", ""):
            raise No(run.line, "whether the image has /etc/apk/cache decides what apk keeps, and this RUN speaks of it")
    for run, use in group.all_uses():
        if any((word.text or word.raw).strip("\"'").endswith(".apk") for word in use.rest):
            raise No(run.line, "apk would list a package of no repository in its cache, for other builds too")


# What Go modules bring along as a shared library, to be found in the module cache when the program runs.
_SHARED = re.compile(
    r"github\.com/(?:CosmWasm/wasmvm|wasmerio/wasmer-go|bytecodealliance/wasmtime-go|yalue/onnxruntime)"
)


def _go(group: Group) -> None:
    """What a container of these stages starts must be a program that was built, nothing that may run go."""
    dockerfile = group.dockerfile
    known = states(dockerfile)
    built = outputs(group.runs, group.context)
    for stage in group.stages:
        entries = [item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
        if not entries and stage is dockerfile.final_stage:
            raise No(stage.origin.lines[0], "the image starts no program of its own: a person may run go in it")
        for instruction in entries:
            programs = started(instruction, known[instruction.span.start])
            entry = instruction.keyword == "ENTRYPOINT" or not any(s.keyword == "ENTRYPOINT" for s in entries)
            if entry and built.isdisjoint(programs):
                shown = " ".join(instruction.values)[:60]
                raise No(instruction.lines[0], f"`{shown}` is not known to be a built program: it may run go")
            shared = _SHARED.search(_text_of(group.context, "go.mod") + dockerfile.source.text)
            if shared is not None:
                raise No(instruction.lines[0], f"its program finds a library of {shared[0]} in the module cache")


def _text_of(context: Path | None, name: str) -> str:
    try:
        return context.joinpath(name).read_text("utf-8", "replace") if context is not None else ""
    except (OSError, ValueError):
        return ""


def _has(use: Use, *options: str) -> bool:
    return any((word.text or word.raw).partition("=")[0] in options for word in use.arguments)


# What a wheel that is built here comes out different with, although its name does not tell.
_BUILD_VARIABLES = re.compile(
    r"(?:C|CXX|CPP|LD|F|ARCH|RUST|NVCC_)FLAGS|CC|CXX|CMAKE_.*|.*_?CUDA_ARCH.*|FORCE_.*|USE_.*|.*_USE_.*|.*_BUILD_.*|BUILD_.*"
    r"|.*_NO_NATIVE|SKBUILD_.*|.*_FORCE_.*|WITH_.*|.*_WITH(?:OUT)?_.*|NO_.*|.*_SKIP_.*|SETUPTOOLS_.*|.*_CONFIG"
)
_HARMLESS_VARIABLES = re.compile(
    r"PIP_(?!NO_BINARY|GLOBAL_OPTION|CONFIG_SETTINGS).*|PYTHON.*|DEBIAN_FRONTEND|UV_.*|POETRY_.*|PDM_.*|PIPENV_.*|PATH|HOME|LANG|LC_.*"
    r"|.*_PROXY|.*_proxy|TZ|TERM|CI|.*_TOKEN|.*_PASSWORD|.*_USERNAME|VIRTUAL_ENV|TMPDIR|NODE_ENV|BUILD_DATE|BUILD_NUMBER"
    r"|BUILD_VERSION|BUILD_ID|BUILD_HASH|SSL_.*|GIT_.*|.*_EXTRA_INDEX_URL|.*_INDEX_URL|REQUESTS_.*|NO_COLOR|FORCE_COLOR"
    r"|MAKEFLAGS|MAX_JOBS|SETUPTOOLS_SCM_.*"
)


def _wheels(group: Group) -> None:
    """A wheel that was built with other settings could be taken from the cache for the one that is asked for."""
    for run in group.users:
        names = [item.name for use in run.needs(group.manager) for item in use.command.environment]
        for command in run.commands:
            if command.name in ("export", "declare"):
                names += [word.raw.partition("=")[0] for word in command.arguments if not word.raw.startswith("-")]
        given = {*run.state.environment, *run.state.arguments}
        names += [name for name in given if _BUILD_VARIABLES.fullmatch(name)]
        found = next((name for name in names if not _HARMLESS_VARIABLES.fullmatch(name)), None)
        if found is not None:
            raise No(run.line, f"what is built with {found} would be taken from the cache when {found} has changed")
        for use in run.needs(group.manager):
            if _has(use, "--config-settings", "--config-setting", "-C", "--global-option", "--build-option"):
                raise No(run.line, "what is built with options would be taken from the cache when they have changed")


def _uv(group: Group) -> None:
    _wheels(group)
    linked = "symlink"
    for run, use in group.all_uses():
        modes = [word.raw for word in use.arguments] + [run.state.environment.get("UV_LINK_MODE") or ""]
        if any(linked in mode for mode in modes) or f"UV_LINK_MODE={linked}" in run.text:
            raise No(run.line, "with links into the cache, the environment would be empty without it")
    starts = re.compile(r"\b(?:uvx|uv)\b")
    warms = [run for run, use in group.all_uses() if use.subcommand in ("run", "tool") or _has(use, "--script")]
    if warms and any(starts.search(" ".join(item.values)) for item in group.starting()):
        raise No(warms[0].line, "it may make an environment in the cache, for what the container starts by uv")


def _pdm(group: Group) -> None:
    _wheels(group)
    if "install.cache" in group.dockerfile.source.text or "PDM_INSTALL_CACHE" in group.dockerfile.source.text:
        raise No(group.users[0].line, "with install.cache, what is installed are links into the cache")


def _conda(group: Group) -> None:
    for run, _ in group.all_uses():
        if re.search(r"softlink|CONDA_OFFLINE", run.text):
            raise No(run.line, "what is installed may be links into the cache")


def _pnpm(group: Group) -> None:
    for run, use in group.all_uses():
        if re.search(r"package-import-method|virtual-store|PNPM_PACKAGE_IMPORT|npm_config_package_import", run.text):
            raise No(
                run.line, "how pnpm links packages to its store is set, and links into the store would lead nowhere"
            )
        if _has(use, "-g", "--global"):
            raise No(run.line, "what is installed for all projects may be links into the store")


def _bun(group: Group) -> None:
    for run, use in group.all_uses():
        if "symlink" in " ".join(word.raw for word in use.arguments):
            raise No(run.line, "what is installed are links into the cache")


def _yarn(group: Group) -> None:
    reason = first_yarn(group.dockerfile, group.context, [run.text for run in group.runs])
    if reason:
        raise No(group.users[0].line, reason)
    for run, use in group.all_uses():
        if _has(use, "--immutable", "--check-cache", "--inline-builds"):
            raise No(run.line, "this is a later yarn, whose packages may be needed when the program runs")


_BUNDLE_MOVES = re.compile(r"\b(?:path|deployment|system|cache_path|global_gem_cache)\b")


def _bundler(group: Group) -> None:
    for run, use in group.all_uses():
        words = " ".join(word.text or word.raw for word in use.rest)
        if use.subcommand in ("config", "package", "cache") and _BUNDLE_MOVES.search(words):
            raise No(run.line, "bundle config may put the gems elsewhere")
        if use.subcommand == "pristine":
            raise No(run.line, "gem pristine reads the archives again")
        if _has(use, "--path", "--deployment", "--install-dir", "-i", "--user-install", "--build-root", "--system"):
            raise No(run.line, "an option puts the gems elsewhere")


def _composer(group: Group) -> None:
    for run, use in group.all_uses():
        known = any(run.state.variable(name) for name in ("COMPOSER_HOME", "COMPOSER_CACHE_DIR"))
        everywhere = use.subcommand in ("global", "g") or (use.subcommand == "config" and _has(use, "-g", "--global"))
        if everywhere and not known:
            raise No(run.line, "where composer keeps what is global may depend on the folder that the mount makes")


# What has a program look for its libraries in the repository when it starts.
_FROM_REPOSITORY = re.compile(r"spring-boot-thin|<classpathLayoutType>\s*repository|<classpathPrefix>[^<]*\.m2")


def _java(group: Group) -> None:
    for name in ("pom.xml", "build.gradle", "build.gradle.kts"):
        found = _FROM_REPOSITORY.search(_text_of(group.context, name))
        if found is not None and any(True for _ in group.starting()):
            raise No(group.users[0].line, f"{name} has the program find its libraries where they were downloaded")


def _maven(group: Group) -> None:
    _java(group)
    installed: Run | None = None
    for run in group.users:
        for use in run.needs(MAVEN):
            if installed is not None and installed is not run:
                raise No(
                    run.line, f"it may need what line {installed.line} has installed, which only the mount would hold"
                )
            _maven_settings(group, run, use)
            goals = [use.subcommand, *(word.text or word.raw for word in use.rest)]
            if any(goal.endswith("build-classpath") or goal == "classworlds" for goal in goals):
                raise No(run.line, "it writes down paths of the repository, which would not be in the image")
            if any(goal == "install" or goal.startswith("install:") or goal.endswith(":install") for goal in goals):
                installed = run
        for name in ("MAVEN_OPTS", "MAVEN_ARGS", "MAVEN_CLI_OPTS"):
            value = run.state.environment.get(name) or ""
            if "maven.repo.local" in value or " -o" in f" {value}" or name in run.state.arguments:
                raise No(run.line, f"{name} may move the repository")


def _maven_settings(group: Group, run: Run, use: Use) -> None:
    words = [word.text or word.raw for word in use.arguments]
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name not in ("-s", "--settings"):
            continue
        value = value or (words[index + 1] if index + 1 < len(words) else "")
        base = value.rsplit("/", 1)[-1]
        text = next(
            (text for text in (_text_of(group.context, item) for item in (value.lstrip("/"), base)) if text), ""
        )
        if not text or "localRepository" in text or value.startswith("/usr/share/maven"):
            raise No(run.line, f"{value} may put the repository elsewhere")


_CHECKS: dict[str, Callable[[Group], None]] = {
    APT.name: _apt,
    APK.name: _apk,
    CABAL.name: _updates_come_first,
    GO.name: _go,
    PIP.name: _wheels,
    PIPENV.name: _wheels,
    POETRY.name: _wheels,
    UV.name: _uv,
    PDM.name: _pdm,
    CONDA.name: _conda,
    PNPM.name: _pnpm,
    BUN.name: _bun,
    YARN.name: _yarn,
    BUNDLER.name: _bundler,
    COMPOSER.name: _composer,
    GRADLE.name: _java,
    MAVEN.name: _maven,
    DOTNET.name: lambda group: dotnet(group.dockerfile, group.stages, group.runs, group.users),
}
