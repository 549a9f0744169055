"""What one RUN gets from one package manager: mounts, and what must go or come for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.caches.cache_checks import RENEWING
from buildopt.dockerfile.caches.cache_where import No, Place
from buildopt.dockerfile.caches.cleanups import Drops, Refused, drops, removals
from buildopt.dockerfile.caches.mounts import CacheMount, mounts
from buildopt.dockerfile.manager import Manager, Portable
from buildopt.dockerfile.managers import APK, APT, DNF, GO, PDM, PIP, PIPENV, PNPM, POETRY, UV
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State


@dataclass(frozen=True, slots=True)
class Step:
    """What one RUN gets from one manager."""

    run: Run
    manager: Manager
    mounts: tuple[CacheMount, ...]
    drops: Drops


def step_of(manager: Manager, run: Run, found: Sequence[Place], *, mixed: bool) -> Step:
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


# They keep what was compiled for this C library under a name that does not tell which one it is.
_COMPILED_HERE = (PIP, UV, POETRY, PDM, PIPENV, PNPM)


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
    last = path.rsplit("/", 1)[-1]
    apart = {"/var/cache/apt": "apt-cache", "/var/lib/apt/lists": "apt-lists"}.get(path)
    if manager is POETRY and last in ("cache", "artifacts"):
        apart = f"poetry-{last}"
    parts = [apart or (last if manager is GO else manager.name)]
    if portable is Portable.NOWHERE_ELSE or (portable is Portable.DISTRIBUTION and mixed):
        parts.append(content_of(manager, state))
    elif portable is Portable.DISTRIBUTION and manager in _COMPILED_HERE and state.base.distribution == "alpine":
        parts.append("alpine")
    platform = portable in (Portable.PLATFORM, Portable.NOWHERE_ELSE) and emulated
    if platform:
        parts.append("$TARGETPLATFORM")
    return ("-".join(parts) if len(parts) > 1 else "", "TARGETPLATFORM" if platform else "")


def content_of(manager: Manager, state: State) -> str:
    """What the content of a cache depends on: the distribution for packages, its release for what is compiled."""
    return state.base.distribution if manager is APT else state.base.release
