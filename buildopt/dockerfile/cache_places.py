"""Cache mounts that are not where the package manager of their RUN keeps its cache, and why."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Flag
from buildopt.dockerfile.passes.runs import HARMLESS, Run, runs_by_family
from buildopt.dockerfile.scope import mount_options, of_the_last_file
from buildopt.dockerfile.shell import Command
from buildopt.finding import Fix
from buildopt.source import Edit, Span


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A cache mount that serves nobody. ``user``: because commands run as another user."""

    flag: Flag
    user: bool
    message: str
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder below the home folder, the tool that keeps its cache there, and the variables that move it."""

    tail: str
    tool: str
    programs: frozenset[str]
    moved_by: frozenset[str]


def _place(tail: str, tool: str, programs: str, moved_by: str = "") -> _Place:
    return _Place(tail, tool, word_set(programs), word_set(moved_by))


# The longest tails first: the first that fits counts.
_PLACES = (
    _place("/.local/share/pnpm/store", "pnpm", "pnpm", "PNPM_HOME XDG_DATA_HOME npm_config_store_dir"),
    _place("/.bun/install/cache", "bun", "bun", "BUN_INSTALL BUN_INSTALL_CACHE_DIR XDG_CACHE_HOME"),
    _place("/.nuget/packages", "dotnet", "dotnet", "NUGET_PACKAGES"),
    _place("/.composer/cache", "composer", "composer composer.phar", "COMPOSER_HOME COMPOSER_CACHE_DIR"),
    _place("/.cargo/registry", "cargo", "cargo", "CARGO_HOME"),
    _place("/.cache/go-build", "go", "go", "GOCACHE XDG_CACHE_HOME"),
    _place("/.cache/pypoetry", "poetry", "poetry", "POETRY_CACHE_DIR XDG_CACHE_HOME"),
    _place("/.m2/repository", "maven", "mvn mvnw", "MAVEN_OPTS MAVEN_ARGS MAVEN_CONFIG"),
    _place("/.cache/yarn", "yarn", "yarn yarnpkg", "YARN_CACHE_FOLDER XDG_CACHE_HOME"),
    _place("/.cargo/git", "cargo", "cargo", "CARGO_HOME"),
    _place("/.cache/pip", "pip", "pip pip3 python python3", "PIP_CACHE_DIR XDG_CACHE_HOME"),
    _place("/go/pkg/mod", "go", "go", "GOPATH GOMODCACHE"),
    _place("/.cache/uv", "uv", "uv", "UV_CACHE_DIR XDG_CACHE_HOME"),
    _place("/.cargo", "cargo", "cargo", "CARGO_HOME"),
    _place("/.npm", "npm", "npm npx", "npm_config_cache NPM_CONFIG_CACHE"),
    _place("/.m2", "maven", "mvn mvnw", "MAVEN_OPTS MAVEN_ARGS MAVEN_CONFIG"),
)
_SYSTEM = {
    "/var/cache/apt": "apt",
    "/var/lib/apt": "apt",
    "/var/lib/apt/lists": "apt",
    "/var/cache/apk": "apk",
    "/var/cache/dnf": "dnf",
    "/var/cache/yum": "dnf",
}
# What apt's folders are sometimes believed to be.
_NO_PLACE = frozenset(
    f"/var/{name}"
    for name in ("apt", "apt/cache", "apt/lists", "cache/apt-get", "lib/apt/cache", "lib/apt-get", "cache/lists")
)
# Managers of which one is no help with the other's cache.
_STRANGERS = tuple(map(word_set, ("npm yarn pnpm", "pip uv", "apt apk dnf")))
# Images that put a cache elsewhere: the folder that people expect, and where it is.
_MOVED = {
    ("rust", "/root/.cargo"): "/usr/local/cargo",
    ("golang", "/root/go/pkg/mod"): "/go/pkg/mod",
    ("golang", "/root/go"): "/go",
    ("composer", "/root/.composer/cache"): "/tmp/cache",
}
_DISTRIBUTIONS = frozenset(("alpine", "debian", "ubuntu", "fedora"))
_MOVING_OPTIONS = ("--cache-dir", "--cache", "--cache-folder", "--store-dir", "-Dmaven.repo.local")
_OTHERS = frozenset(("sudo", "doas", "gosu", "su-exec"))
_HOME = re.compile(r"\$HOME\b|\$\{HOME\}")


@of_the_last_file
def misplaced(dockerfile: Dockerfile) -> tuple[Misplaced, ...]:
    """All such mounts of a file."""
    return tuple(
        found
        for runs in runs_by_family(dockerfile).values()
        for run in runs
        if run.script is not None
        for flag in run.instruction.flags_named("mount")
        for found in _of_flag(dockerfile, run, flag)
    )


def _of_flag(dockerfile: Dockerfile, run: Run, flag: Flag) -> Iterator[Misplaced]:
    options = mount_options(flag.value or "")
    written = options.get("target", "").strip("\"'")
    if options["type"] != "cache" or not written or run.state.base.windows:
        return
    home = run.state.home
    if written.startswith("~"):
        plain = home is not None and written[1:2] in ("", "/")
        shown = _likely(run, f"{home}{written[1:]}") if plain else "the home folder's path"
        fix = _replace(dockerfile, flag, written, shown) if home and shown.startswith("/") else None
        message = f"nothing expands the ~ of a mount's target, which is a folder named ~ here: write {shown}"
        yield Misplaced(flag, False, message, fix)
        return
    if _HOME.search(written) and "HOME" not in {**run.state.environment, **run.state.arguments}:
        if home is not None and run.state.base.runs_as_root:
            shown = _likely(run, _HOME.sub(home, written))
            message = f"HOME is no variable of this file, so it is empty in a mount's target: write {shown}"
            yield Misplaced(flag, False, message, _replace(dockerfile, flag, written, shown))
        return
    value = run.state.value(written, dockerfile.escape)
    if value is None or not value.startswith("/"):
        return
    target = posixpath.normpath(value)
    place = next((place for place in _PLACES if target.endswith(place.tail)), None)
    tool = _SYSTEM.get(target) if place is None else place.tool
    if target in _NO_PLACE and any(use.manager.name == "apt" and use.uses_cache for use in run.found):
        message = f"apt knows no {target}: packages are in /var/cache/apt, lists in /var/lib/apt/lists"
        yield Misplaced(flag, False, message)
        return
    if tool is not None and not _uses_itself(run, tool, place):
        yield from _of_a_stranger(run, flag, target, tool)
    elif place is not None:
        yield from _of_home(dockerfile, run, flag, place, target, options)


def _likely(run: Run, path: str) -> str:
    """The folder that was meant: where this image has it, or the only one of the RUN's only manager."""
    for (image, there), place in _MOVED.items():
        if image == run.state.base.repository and (path == there or path.startswith(f"{there}/")):
            return place + path[len(there) :]
    if path == f"{run.state.home}/.cache" or any(path.endswith(place.tail) for place in _PLACES):
        return path
    tools = {place for place in _PLACES for use in run.found if use.uses_cache and use.manager.name == place.tool}
    if len({use.manager.name for use in run.found if use.uses_cache}) == 1 and len(tools) == 1:
        return f"{run.state.home}{tools.pop().tail}"
    return path


def _uses_itself(run: Run, tool: str, place: _Place | None) -> bool:
    if place is not None and any(command.name in place.programs for command in run.commands):
        return not (tool == "pip" and all(use.manager.name != "pip" for use in run.found) and run.found)
    return any(use.manager.name == tool for use in run.found)


def _of_a_stranger(run: Run, flag: Flag, target: str, tool: str) -> Iterator[Misplaced]:
    """The RUN uses one other manager, and nothing that could be using the tool."""
    names = {use.manager.name for use in run.found if use.uses_cache}
    kin = next((group for group in _STRANGERS if tool in group), frozenset[str]())
    if len(names) != 1 or not names <= kin or run.script is None or not run.script.complete:
        return
    if any(command.words and command.name not in HARMLESS and recognise(command) is None for command in run.commands):
        return
    other = names.pop()
    message = f"{target} is where {tool} keeps its cache, and this RUN uses {other}, which has another"
    yield Misplaced(flag, False, message)


def _of_home(
    dockerfile: Dockerfile, run: Run, flag: Flag, place: _Place, target: str, options: Mapping[str, str]
) -> Iterator[Misplaced]:
    commands = [command for command in run.commands if command.name in place.programs]
    if _is_moved(run, place, commands):
        return
    state, owner = run.state, target[: -len(place.tail)]
    known = next(
        (
            (there, place_of)
            for (image, there), place_of in _MOVED.items()
            if image == state.base.repository and (target == there or target.startswith(f"{there}/"))
        ),
        None,
    )
    wanted = ""
    if known is not None:
        wanted = known[1] + target[len(known[0]) :]
        message = f"{place.tool} keeps its cache in {known[1]} in this image: mount {wanted}"
    elif place.tail == "/go/pkg/mod":
        if target != place.tail or state.home is None or state.base.repository not in _DISTRIBUTIONS:
            return
        wanted = f"{state.home}{place.tail}"
        message = f"without GOPATH, go keeps its modules in {wanted}: mount that"
    elif place.tool == "maven" and "HOME" in state.environment:
        return  # Java asks the user database, not HOME
    elif place.tool == "yarn" and state.root:
        if owner == "/usr/local/share":
            return  # where it is for root, whatever HOME says
        if _is_modern_yarn(dockerfile):
            message = (
                "as root, yarn 1 keeps its cache in /usr/local/share/.cache/yarn, later ones in /root/.yarn/berry/cache"
            )
            yield Misplaced(flag, False, message)
            return
        wanted = "/usr/local/share/.cache/yarn"
        message = f"as root, yarn keeps its cache in {wanted}: mount that"
    elif "HOME" in state.environment:
        home = state.environment["HOME"]
        if home is None or not home.startswith("/") or posixpath.normpath(home) == (owner or "/"):
            yield from _without_owner(dockerfile, run, flag, options)
            return
        wanted = posixpath.normpath(home).rstrip("/") + place.tail
        message = f"HOME is {home}, so {place.tool} keeps its cache in {wanted}: mount that"
    else:
        yield from _of_user(dockerfile, run, flag, place, owner, options)
        return
    yield Misplaced(flag, False, message, _replace(dockerfile, flag, options["target"], wanted))


def _is_modern_yarn(dockerfile: Dockerfile) -> bool:
    """Whether something speaks for a yarn after version 1."""
    text = dockerfile.source.text
    return any(word in text for word in ("corepack", ".yarnrc.yml", ".yarn/", "--immutable", "yarn workspaces focus"))


def _of_user(
    dockerfile: Dockerfile, run: Run, flag: Flag, place: _Place, owner: str, options: Mapping[str, str]
) -> Iterator[Misplaced]:
    """The home folder is that of the user, who may be another one than whose home folder is mounted."""
    state = run.state
    user = (state.user or "").split(":")[0]
    if not user or state.base.sets_home or "HOME" in state.arguments:
        return
    if state.root and owner.startswith("/home/"):
        wanted = f"/root{place.tail}"
        message = f"this RUN is root's, whose cache of {place.tool} is in {wanted}: mount that"
        yield Misplaced(flag, True, message, _replace(dockerfile, flag, options["target"], wanted))
    elif not state.root and owner in ("/root", "/usr/local/share"):
        wanted = f"{state.home or f'/home/{user}'}{place.tail}"
        shown = wanted if state.home or not user.isdigit() else "that user's home folder"
        message = f"this RUN is not root's: {place.tool} keeps the cache of user {user} in {shown}, not in {owner}"
        fix = _replace(dockerfile, flag, options["target"], wanted) if state.home else None
        yield Misplaced(flag, True, message, fix)
    else:
        yield from _without_owner(dockerfile, run, flag, options)


def _without_owner(dockerfile: Dockerfile, run: Run, flag: Flag, options: Mapping[str, str]) -> Iterator[Misplaced]:
    """A new cache belongs to root, and only root may write into it."""
    user, _, group = (run.state.user or "").partition(":")
    if not user or run.state.root or {"uid", "gid", "mode", "from", "source"} & options.keys():
        return
    # Another mount of the same cache may have made it, or a command may have given it away.
    if dockerfile.source.text.count(options["target"]) > 1 or options.get("id"):
        return
    number = user if user.isdigit() else str(run.state.uid) if run.state.uid else ""
    owner = f"uid={number},gid={group if group.isdigit() else number}" if number else "uid=…,gid=…"
    message = f"a cache mount belongs to root unless it says otherwise, and user {user} cannot write it: add {owner}"
    fix = None
    if number and flag.value_span is not None and not flag.span.end - flag.value_span.end:
        fix = Fix(f"add {owner}", (Edit(Span(flag.span.end, flag.span.end), f",{owner}"),), safe=False)
    yield Misplaced(flag, True, message, fix)


def _is_moved(run: Run, place: _Place, commands: list[Command]) -> bool:
    """Whether something puts the cache elsewhere, or another user runs the tool."""
    state = run.state
    names = place.moved_by | {"HOME"}
    if place.moved_by & {*state.environment, *state.arguments} or "HOME" in state.arguments:
        return True
    if any(name in run.text for name in names) or ("config" in run.text and "cache" in run.text):
        return True
    if any(command.name == "su" for command in run.commands):
        return True
    return any(
        _OTHERS.intersection(command.wrappers) or any(text.startswith(_MOVING_OPTIONS) for text in command.texts)
        for command in commands
    )


def _replace(dockerfile: Dockerfile, flag: Flag, old: str, new: str) -> Fix | None:
    """A fix that writes another target; the old content stays behind, so it is not safe."""
    text = dockerfile.source.text[flag.span.start : flag.span.end]
    if text.count(old) != 1:
        return None
    start = flag.span.start + text.index(old)
    return Fix(f"mount {new}", (Edit(Span(start, start + len(old)), new),), safe=False)
