"""One package manager in the stages that see each other's files: which RUN gets cache mounts, or why none does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildopt.dockerfile.manager import Manager, Portable, Use, word_set
from buildopt.dockerfile.managers import APK, APT, CARGO, CARGO_GIT, CCACHE, DENO, DNF, GO, POETRY, SCCACHE
from buildopt.dockerfile.passes.cache_checks import RENEWING, Group, check
from buildopt.dockerfile.passes.cache_config import not_configured
from buildopt.dockerfile.passes.cache_where import No, Place, places, shown_user
from buildopt.dockerfile.passes.cleanups import Drops, Refused, drops, is_of_caches_alone, opaque_script, removals
from buildopt.dockerfile.passes.hidden import Scope, hidden
from buildopt.dockerfile.passes.mounts import CacheMount, mounts
from buildopt.dockerfile.passes.paths import Relation, mention
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State
from buildopt.dockerfile.shell import Word

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


@dataclass(frozen=True, slots=True)
class Step:
    """What one RUN gets from one manager."""

    run: Run
    manager: Manager
    mounts: tuple[CacheMount, ...]
    drops: Drops


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
    made = [_step(manager, run, found, mixed=mixed) for run in users]
    if not any(step.mounts or step.drops for step in made):
        return []
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
        return path is not None and path.is_file() and "git+" in path.read_text("utf-8", "replace")
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


def _step(manager: Manager, run: Run, found: Sequence[Place], *, mixed: bool) -> Step:
    there = mounts(run.instruction)
    wanted: list[CacheMount] = []
    for place in found:
        target = place.path
        covering = [mount for mount in there if mount.target and mount.covers(target)]
        if any(mount.kind != "cache" for mount in covering):
            raise No(run.line, f"something else is mounted on {target}")
        if any(mount.target.startswith(f"{target}/") for mount in there):
            raise No(run.line, f"something is mounted inside {target}")
        if any("$" in mount.target for mount in there):
            raise No(run.line, "a mount's target holds a variable")
        # Where somebody has mounted what this one would use instead, they know better.
        if not covering and not any(mount.covers(path) for mount in there for path in manager.leavings):
            wanted.append(_mount(manager, place, run.state, mixed=mixed, emulated=_per_platform(run)))
    targets = [place.path for place in found]
    try:
        dropped = drops(run, manager, targets) if wanted or not _is_mounted_otherwise(manager, run) else Drops()
        if manager is DNF and wanted:
            _keep_packages(run, targets[0], dropped)
        elif manager is APK and wanted:
            _renew_index(run, dropped)
        removals(run, [dropped])
    except Refused as no:
        raise No(run.line, str(no)) from no
    return Step(run, manager, tuple(wanted), dropped)


def _is_mounted_otherwise(manager: Manager, run: Run) -> bool:
    return any(mount.covers(path) for mount in mounts(run.instruction) for path in manager.leavings)


def _keep_packages(run: Run, target: str, dropped: Drops) -> None:
    """dnf deletes packages once they are installed, and takes lists for new that are days old."""
    uses = {id(use.command): use for use in run.needs(DNF)}
    renewed = False
    for command in run.commands:
        use = uses.get(id(command))
        if use is None or command.name == "microdnf":
            renewed = False  # what it does may add a repository
            continue
        words = [word for word in use.arguments if word.text == use.subcommand]
        words += [word for word in use.arguments if word.text in ("-y", "--assumeyes")]
        text = "" if any("keepcache" in word.raw for word in use.arguments) else "--setopt=keepcache=1"
        if not renewed and target != "/var/cache/yum" and "--refresh" not in command.texts:
            text = f"--refresh {text}".strip()
        renewed = True
        if words and text:
            dropped.added.append((max(words, key=lambda word: word.span.start), text))


def _renew_index(run: Run, dropped: Drops) -> None:
    """An index in a mount may be hours old, and name packages that are gone."""
    uses = run.needs(APK)
    renewing = [
        index for index, use in enumerate(uses) if use.subcommand == "update" or RENEWING & set(use.command.texts)
    ]
    for use in uses[: renewing[0] if renewing else None]:
        word = next((word for word in use.arguments if word.text == use.subcommand), None)
        if word is not None:
            dropped.added.append((word, "--update-cache"))


def _mount(manager: Manager, place: Place, state: State, *, mixed: bool, emulated: bool) -> CacheMount:
    identity, argument = _identity(manager, place, state, mixed=mixed, emulated=emulated)
    owner = 0 if manager.system else state.uid or 0
    group = (state.user or "").partition(":")[2]
    return CacheMount(
        place.path, manager.sharing, identity, owner, int(group) if group.isdigit() else owner, argument=argument
    )


def _per_platform(run: Run) -> bool:
    """Whether the RUN is run for each platform that is built, not once on the builder's own."""
    return not run.base_platform or "TARGETPLATFORM" in run.base_platform


def _identity(manager: Manager, place: Place, state: State, *, mixed: bool, emulated: bool) -> tuple[str, str]:
    """An id of its own where stages of this file, or platforms, differ in what the cache's content depends on."""
    portable, path = place.cache.portable, place.path
    kind = {"/var/cache/apt": "apt-cache", "/var/lib/apt/lists": "apt-lists"}.get(path) or (
        manager.name if manager.system or path.endswith(("/store", "/cache")) else path.rsplit("/", 1)[-1]
    )
    parts = [kind]
    if portable is Portable.NOWHERE_ELSE or (portable is Portable.DISTRIBUTION and mixed):
        parts.append(content_of(manager, state))
    platform = portable in (Portable.PLATFORM, Portable.NOWHERE_ELSE) and emulated
    if platform:
        parts.append("$TARGETPLATFORM")
    return ("-".join(parts) if len(parts) > 1 else "", "TARGETPLATFORM" if platform else "")


def content_of(manager: Manager, state: State) -> str:
    """What the content of a cache depends on: the distribution for packages, its release for what is compiled."""
    return state.base.distribution if manager is APT else state.base.release


def _nothing_hidden(group: Group, targets: tuple[str, ...]) -> None:
    manager = group.manager
    left = any(_leaves(run, manager, targets) for run in group.users)
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


def _leaves(run: Run, manager: Manager, targets: Sequence[str]) -> bool:
    """Whether the RUN, as it is, leaves content in the folders."""
    covered = mounts(run.instruction)
    if all(any(mount.kind == "cache" and mount.covers(target) for mount in covered) for target in targets):
        return False
    if manager is APT:
        return _leaves_lists(run, "/var/lib/apt/lists", manager)
    if manager.leavings:
        return _leaves_lists(run, manager.leavings[0], manager)
    if manager is GO:
        cleaned = {option.lstrip("-") for use in run.uses(GO) if use.is_cleanup for option in use.command.options}
        return not cleaned >= {"modcache", "cache"}
    emptied = any(use.is_cleanup for use in run.uses(manager)) or all(_removes(run, target) for target in targets)
    return not emptied and any(not list(use.defeats()) for use in run.needs(manager))


def _leaves_lists(run: Run, folder: str, manager: Manager) -> bool:
    left = False
    uses = {id(use.command): use for use in run.uses(manager)}
    for command in run.commands:
        use = uses.get(id(command))
        if use is not None and use.uses_cache:
            left = left or not list(use.defeats())
        elif command.name == "rm" and command.depth == 0 and _rm_of(command.argv[1:], folder, run):
            left = False
    return left


def _removes(run: Run, target: str) -> bool:
    return any(command.name == "rm" and _rm_of(command.argv[1:], target, run) for command in run.commands)


def _rm_of(words: Sequence[Word], target: str, run: Run) -> bool:
    state = run.state
    return any(
        mention(word, [target], (), state.home, state.variables) is Relation.INSIDE
        or is_of_caches_alone(word, [target], run)
        for word in words
    )
