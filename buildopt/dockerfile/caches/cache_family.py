"""One package manager in the stages that see each other's files: which RUN gets cache mounts, or why none does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from buildopt.dockerfile.caches.cache_checks import check
from buildopt.dockerfile.caches.cache_config import not_configured
from buildopt.dockerfile.caches.cache_group import Group
from buildopt.dockerfile.caches.cache_leaves import leaves
from buildopt.dockerfile.caches.cache_steps import Step, step_of
from buildopt.dockerfile.caches.cache_where import No, Place, places, shown_user
from buildopt.dockerfile.caches.cleanups import opaque_script
from buildopt.dockerfile.caches.hidden import hidden
from buildopt.dockerfile.caches.hidden_scope import Scope
from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.manager import Manager, Use, word_set
from buildopt.dockerfile.managers import CARGO, CARGO_GIT, CCACHE, DENO, GO, POETRY, SCCACHE
from buildopt.dockerfile.passes.runs import Run

_SUDO = frozenset(("sudo", "doas"))


_OTHER_USER = frozenset(("gosu", "su-exec"))


# What runs a manager's program itself: it must find what an earlier RUN left in the mount.
_TOOLS = {
    GO.name: word_set(
        "buf ginkgo go-bindata golangci-lint goreleaser gosec gotestsum govulncheck just ko mage make mockery mockgen "
        "oapi-codegen sqlc staticcheck swag task templ wire"
    ),
    CARGO.name: word_set("cross dx maturin trunk wasm-pack"),
}


# What may run a compiler, and so a cache of compilers that ENV or the RUN puts before it.
_COMPILING = word_set("bazel c++ cargo cc clang clang++ cmake g++ gcc make meson ninja pip pip3 python python3 rustc")


def steps(group: Group, *, mixed: bool) -> list[Step]:
    """What each RUN of a group gets. Raises No.

    ``mixed``: stages of the file that use the manager differ in what they are made on.
    """
    manager = group.manager
    users = [run for run in group.runs if _needs(group, run)]
    _readable(group)
    if not users:
        return []
    group = replace(group, users=users)
    _not_set(group)
    found = _places(group)
    targets = tuple(place.path for place in found)
    made = [step_of(manager, run, found, mixed=mixed) for run in users]
    if not any(step.mounts or step.drops for step in made):
        return []
    _not_seen(group, made)
    for step in made:
        if not step.run.script or not step.run.script.complete:
            raise No(step.run.line, "this RUN cannot be read to the end")
        script = opaque_script(step.run)
        if script is not None:
            raise No(step.run.line, f"{script} could do anything to {targets[0]}, and nobody here can read it")
    check(group)
    cleans = any(step.drops.cleans for step in made)
    not_configured(manager, group.stages, group.runs, group.context, cleans=cleans)
    _nothing_hidden(group, targets)
    return made


def _not_seen(group: Group, made: Sequence[Step]) -> None:
    """An ARG for the id of a mount is a variable of all commands behind it: none may ask whether it is there."""
    for step in made:
        for argument in {mount.argument for mount in step.mounts} - {"", *step.run.state.arguments}:
            for run in group.runs:
                if argument in run.text and argument not in run.state.arguments:
                    raise No(run.line, f"it asks for {argument}, which an id of the mounts would set")


def _readable(group: Group) -> None:
    """A RUN that speaks of the manager but cannot be read spoils the family."""
    manager = group.manager
    spoken = re.compile(rf"(?<![\w./-])(?:{manager.programs})\s+(?:-\S+\s+)*[a-z]")
    for run in group.runs:
        if (run.script is None or not run.script.complete) and spoken.search(run.text):
            if run.script is not None and not run.needs(manager) and manager is GO:
                continue
            raise No(run.line, "this RUN cannot be read to the end" if run.script else "its shell is not known")


def _not_set(group: Group) -> None:
    """What one RUN configures holds for all that follow: ``npm config set cache /x``."""
    for run, use in group.all_uses():
        if use.subcommand != "config":
            continue
        texts = [text for text in (word.text or word.raw for word in use.rest) if not text.startswith("-")]
        reads = texts[:1] in (["get"], ["list"], ["debug"])
        # What is set comes first, or behind a word such as ``set``.
        keys = [text.partition("=")[0] for text in texts[:2]]
        if not reads and any(word in key for key in keys for word in ("cache", "store", "pkgs_dirs")):
            raise No(run.line, f"{group.manager.name} config moves the cache")


def _needs(group: Group, run: Run) -> bool:
    if run.needs(group.manager):
        return True
    if group.manager in (CCACHE, SCCACHE):
        return _compiles(group.manager, run)
    tools = _TOOLS.get(group.manager.name, frozenset())
    if all(command.name not in tools for command in run.commands):
        return False
    return any(other.needs(group.manager) for other in group.runs)


def _compiles(manager: Manager, run: Run) -> bool:
    """Whether the RUN compiles with a cache of compilers whose folder is known."""
    variable = manager.caches[0].moved_by[0][0]
    if run.state.variable(variable) is None or not any(command.name in _COMPILING for command in run.commands):
        return False
    word = re.compile(rf"(?<!s)\b{manager.name}\b" if manager is CCACHE else r"\bsccache\b")
    values = [value or "" for name, value in run.state.environment.items() if name != variable]
    return any(word.search(text) for text in (run.text, *values))


def _places(group: Group) -> tuple[Place, ...]:
    found: tuple[Place, ...] | None = None
    more = (CARGO_GIT,) if group.manager is CARGO and _needs_git(group.context) else ()
    apart = group.manager is POETRY and _environments_are_apart(group)
    for run in group.users:
        if group.manager is not DENO:
            _user_is_known(group.manager, run)
        mine = places(group.manager, run, more, apart=apart)
        if found is not None and [place.path for place in mine] != [place.path for place in found]:
            raise No(run.line, f"the cache moves from {found[0].path} to {mine[0].path} between stages or users")
        found = mine
    assert found is not None
    return found


def _environments_are_apart(group: Group) -> bool:
    """Whether poetry is told, before it installs anything, to keep its virtual environments out of its cache."""
    for run in group.runs:
        for use in run.uses(POETRY):
            texts = [word.text for word in use.rest if not (word.text or "").startswith("-")]
            if use.subcommand == "config" and texts in (
                ["virtualenvs.create", "false"],
                ["virtualenvs.in-project", "true"],
            ):
                return not use.command.depth
            if use.uses_cache and use.subcommand not in ("lock", "export", "self"):
                return False
    return False


def _needs_git(context: Path | None) -> bool:
    """Whether a Cargo.lock at the context's top names a repository of git."""
    try:
        path = context / "Cargo.lock" if context is not None else None
        return path is not None and path.is_file() and "git+" in read_text(path)
    except OSError:
        return False


def _user_is_known(manager: Manager, run: Run) -> None:
    state = run.state
    if manager.system:
        if state.user is not None and not state.root:
            raise No(run.line, f"it runs as {state.user} through sudo")
        if not state.root and any(_SUDO.intersection(use.command.wrappers) for use in run.needs(manager)):
            raise No(run.line, "it runs through sudo, and the user is not known")
    elif state.uid is None:
        raise No(run.line, f"uid and home folder of {shown_user(run)} are not known")
    for use in run.needs(manager):
        wrappers = set(use.command.wrappers)
        if wrappers & _OTHER_USER or (wrappers & _SUDO and not state.root) or _switches_user(use):
            raise No(run.line, "it runs as another user")
    if not manager.system and any(command.name == "su" for command in run.commands):
        raise No(run.line, "su changes the user")
    for variable in manager.defeating_variables:  # pip takes even PIP_NO_CACHE_DIR=0 for a yes
        if state.environment.get(variable, "") != "" or variable in state.arguments:
            raise No(run.line, f"{variable} is set, so there is no cache to keep: take it out of ENV")
    network = run.instruction.flag("network")
    if network is not None and network.value == "none":
        raise No(run.line, "with --network=none it can only use what is in the image")
    _moved_in_script(manager, run)


def _moved_in_script(manager: Manager, run: Run) -> None:
    names = {name for cache in manager.caches for name, _ in cache.moved_by} | set(manager.defeating_variables)
    names |= set() if manager.system else {"HOME"}
    for command in run.commands:
        words = [*(item.name for item in command.environment), *(word.raw.split("=")[0] for word in command.words)]
        sets = command.name in ("export", "declare", "unset", "read") or bool(command.environment)
        if sets and names.intersection(words):
            raise No(run.line, f"it sets {', '.join(sorted(names.intersection(words)))} itself")
    environment = " ".join(f"{key}={value}" for key, value in run.state.environment.items())
    for use in run.uses(manager):
        if use.moved:
            raise No(run.line, f"an option of {manager.name} puts the cache elsewhere")
        if use.offline and use.uses_cache:
            raise No(run.line, f"with {use.offline} it can only use what is in the image")
        if manager is GO and use.subcommand == "env" and "-w" in use.command.texts:
            raise No(run.line, "go env -w may move the cache")
    for word in manager.offline:
        if word in run.text or word in environment:
            raise No(run.line, f"with {word} it can only use what is in the image")


def _switches_user(use: Use) -> bool:
    return any(word.text in ("-u", "--user") for word in use.command.words[: -len(use.command.argv) or None]) and bool(
        _SUDO.intersection(use.command.wrappers)
    )


def _nothing_hidden(group: Group, targets: tuple[str, ...]) -> None:
    manager = group.manager
    left = any(leaves(run, manager, targets) for run in group.users)
    scope = Scope(
        group.dockerfile,
        group.context,
        manager,
        group.index,
        group.runs,
        frozenset(run.instruction.span.start for run in group.users),
        targets,
        left,
        strict=manager.strict,
    )
    for found in hidden(scope):
        raise No(found.line, found.reason)
