"""What must hold for one package manager alone, so that a cache mount hides nothing from it."""

from __future__ import annotations

from collections.abc import Callable

from buildopt.dockerfile.caches import cache_checks_compiled as compiled
from buildopt.dockerfile.caches import cache_checks_interpreted as interpreted
from buildopt.dockerfile.caches.cache_group import Group
from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.dotnet_use import dotnet
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


_CHECKS: dict[str, Callable[[Group], None]] = {
    APT.name: _apt,
    APK.name: _apk,
    CABAL.name: _updates_come_first,
    GO.name: compiled.go,
    PIP.name: interpreted.wheels,
    PIPENV.name: interpreted.wheels,
    POETRY.name: interpreted.wheels,
    UV.name: interpreted.uv,
    PDM.name: interpreted.pdm,
    CONDA.name: interpreted.conda,
    PNPM.name: interpreted.pnpm,
    BUN.name: interpreted.bun,
    YARN.name: interpreted.yarn,
    BUNDLER.name: interpreted.bundler,
    COMPOSER.name: interpreted.composer,
    GRADLE.name: compiled.java,
    MAVEN.name: compiled.maven,
    DOTNET.name: lambda group: dotnet(group.dockerfile, group.stages, group.runs, group.users),
}
