"""Where a package manager keeps its cache in a RUN, and as whom it runs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from buildopt.dockerfile.manager import Cache, Manager, Portable, word_set
from buildopt.dockerfile.managers import (
    BUNDLER,
    CABAL,
    CARGO,
    CCACHE,
    COMPOSER,
    CONDA,
    DENO,
    DNF,
    GO,
    GRADLE,
    MAVEN,
    POETRY,
    SBT,
    SCCACHE,
    YARN,
    ZYPPER,
    recognise,
)
from buildopt.dockerfile.passes.images import Image
from buildopt.dockerfile.passes.runs import HARMLESS, Run


class No(Exception):
    """A manager is left alone in a family of stages; ``line`` is where the reason stands."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """A cache and the folder that it is in."""

    cache: Cache
    path: str


def places(manager: Manager, run: Run, more: tuple[Cache, ...] = (), *, apart: bool = False) -> tuple[Place, ...]:
    """The folders of a manager's caches in a RUN, and of ``more``. Raises No where they are not known.

    ``apart``: poetry's virtual environments are not in its cache.
    """
    special = _SPECIAL.get(manager.name)
    caches = special(run) if special is not None else manager.caches
    if manager is POETRY and (apart or _environments_are_apart(run)):
        caches = (_WHOLE_POETRY,)
    return tuple(Place(cache, _path(manager, cache, run)) for cache in (*caches, *more))


def _path(manager: Manager, cache: Cache, run: Run) -> str:
    state = run.state
    path = cache.path
    for variable, suffix in cache.moved_by:
        if variable in state.arguments and variable not in state.environment:
            raise No(run.line, f"ARG {variable} decides where the cache is")
        value = state.variable(variable)
        if value is None and variable in state.environment:
            raise No(run.line, f"where {variable} puts the cache is not known")
        if value is not None:
            if not re.fullmatch(r"/[\w./-]*", value):
                raise No(run.line, f"where {variable} puts the cache is not known")
            path = value.rstrip("/") + suffix
            break
    if path.startswith("~"):
        home = state.home
        if home is None:
            raise No(run.line, f"the home folder of {shown_user(run)} is not known")
        if home != "/root" and any(command.name in ("useradd", "adduser") for command in run.commands):
            raise No(run.line, f"it makes a user, whose home folder the mount would make before it: {home}")
        path = home.rstrip("/") + path[1:]
    if not state.root and not manager.system:
        _can_be_written(cache, path, run, manager)
    return path


def _can_be_written(cache: Cache, path: str, run: Run, manager: Manager) -> None:
    """The folder above a mount is made with it, and is root's: nothing else may have to be written there."""
    above = posixpath.dirname(path)
    if above in (run.state.home, "/tmp", "/var/tmp"):
        return
    if not cache.alone:
        raise No(run.line, f"the mount would make {above}, and user {run.state.user} could not write there")
    for command in run.commands:
        use = recognise(command)
        if command.words and command.name not in HARMLESS and (use is None or use.manager is not manager):
            shown = " ".join(word.raw for word in command.words)[:40]
            raise No(run.line, f"the mount would make {above}, where `{shown}` might have to write as {run.state.user}")


def shown_user(run: Run) -> str:
    """The user of a RUN, for people."""
    state = run.state
    return f"user {state.user}" if state.user else f"the user of {state.base.repository or 'the base image'}"


# ---- managers whose place depends on the image

_DNF = word_set("almalinux rockylinux rockylinux/rockylinux oraclelinux quay.io/centos/centos amazonlinux ubi")
_FEDORA = frozenset(("fedora", "quay.io/fedora/fedora", "registry.fedoraproject.org/fedora"))


def _dnf(run: Run) -> tuple[Cache, ...]:
    names = {use.command.name for use in run.needs(DNF)}
    folders = {_dnf_folder(name or "", run.state.base) for name in names}
    variable = "$" in (run.base_text.partition(":")[0] if "ubi" in run.state.base.repository else run.base_text)
    if variable or len(folders) != 1 or "" in folders:
        raise No(run.line, f"where {' and '.join(sorted(map(str, names)))} keeps its cache in this image is not known")
    folder = folders.pop()
    return tuple(cache for cache in DNF.caches if cache.path == folder)


def _dnf_folder(program: str, base: Image) -> str:
    """The folder, empty where it is not known."""
    match = re.match(r"(?:stream|el|ubi)?([0-9]+)", base.tag)
    version = int(match.group(1)) if match else None
    short = "ubi" if "ubi" in base.repository else base.repository
    if program == "microdnf":
        return "/var/cache/yum" if short == "ubi" and re.search(r"ubi[89]", base.repository) else ""
    if program == "tdnf" or (base.digest and version is None):
        return ""
    if short in _FEDORA and program in ("dnf", "dnf5", "yum"):
        newest = base.tag in ("latest", "rawhide")
        if not newest and version is None:
            return ""
        return "/var/cache/libdnf5" if newest or (version or 0) >= 41 else "/var/cache/dnf"
    if short == "amazonlinux":
        return {2: "/var/cache/yum", 2023: "/var/cache/dnf"}.get(version or 0, "")
    if short == "centos":
        return {6: "/var/cache/yum", 7: "/var/cache/yum", 8: "/var/cache/dnf"}.get(version or 0, "")
    if short in _DNF and program in ("dnf", "yum"):
        if short == "ubi":
            return "/var/cache/dnf" if re.search(r"ubi(?:[89]|10)/|ubi(?:[89]|10)$", base.repository) else ""
        if version == 7:
            return "/var/cache/yum" if program == "yum" else ""
        return "/var/cache/dnf" if version in (8, 9, 10) else ""
    return ""


def _zypper(run: Run) -> tuple[Cache, ...]:
    if "$" in run.base_text or "opensuse/" not in run.state.base.repository or run.state.base.tag == "":
        raise No(run.line, "which distribution the cache would be of is not known")
    return ZYPPER.caches


def _yarn(run: Run) -> tuple[Cache, ...]:
    return tuple(
        replace(cache, path="/usr/local/share/.cache/yarn") if run.state.root else cache for cache in YARN.caches
    )


_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")


_WHOLE_POETRY = Cache(
    "~/.cache/pypoetry",
    (("POETRY_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/pypoetry")),
    Portable.DISTRIBUTION,
    (".cache/pypoetry", "POETRY_CACHE_DIR"),
    alone=True,
)


def _environments_are_apart(run: Run) -> bool:
    """Whether ENV tells poetry to keep its virtual environments out of its cache."""
    values = run.state.environment
    inside = (values.get("POETRY_VIRTUALENVS_IN_PROJECT") or "").lower() in _YES
    none = (values.get("POETRY_VIRTUALENVS_CREATE") or "").lower() in _NO
    return (inside or none) and not values.get("POETRY_VIRTUALENVS_PATH")


def _conda(run: Run) -> tuple[Cache, ...]:
    repository = run.state.base.repository
    if not repository.startswith(("continuumio/", "condaforge/")):
        raise No(run.line, f"where conda keeps its packages in {repository} is not known")
    if repository.startswith("condaforge/") and "pypy" in repository:
        raise No(run.line, f"where conda keeps its packages in {repository} is not known")
    return CONDA.caches


def _go(run: Run) -> tuple[Cache, ...]:
    if run.state.base.repository != "golang":
        raise No(run.line, f"where Go keeps its modules in {run.state.base.repository} is not known")
    return GO.caches


# Images in which cargo is not, or is where the distribution has it.
_PLAIN = word_set(
    "alpine almalinux amazonlinux archlinux buildpack-deps clux/muslrust debian fedora gcc golang node nvidia/cuda "
    "oraclelinux python rockylinux ruby ubuntu"
)


def _cargo(run: Run) -> tuple[Cache, ...]:
    state = run.state
    told = {"CARGO_HOME"} & {*state.environment, *state.arguments, *state.base.environment}
    if not told and state.base.repository not in _PLAIN:
        raise No(run.line, f"where cargo keeps its registry in {state.base.repository} is not known")
    return CARGO.caches


def _of_java(manager: Manager) -> Callable[[Run], tuple[Cache, ...]]:
    def caches(run: Run) -> tuple[Cache, ...]:
        state = run.state
        home = state.account.home if state.account is not None else None
        if "HOME" in state.arguments or state.environment.get("HOME", home) != home:
            raise No(run.line, "Java asks the table of users for the home folder, not HOME")
        return manager.caches

    return caches


def _gradle(run: Run) -> tuple[Cache, ...]:
    if run.state.base.repository == "gradle":
        # There root's folder is a link to this one.
        return tuple(replace(cache, path="/home/gradle/.gradle/caches", alone=True) for cache in GRADLE.caches)
    return _of_java(GRADLE)(run)


def _bundler(run: Run) -> tuple[Cache, ...]:
    state = run.state
    if state.base.repository != "ruby":
        raise No(run.line, f"where gems are kept in {state.base.repository} is not known")
    for name in ("BUNDLE_PATH", "BUNDLE_DEPLOYMENT", "BUNDLE_USER_CACHE", "BUNDLE_CACHE_PATH", "BUNDLE_USER_HOME"):
        if name in state.environment or name in state.arguments or name in run.text:
            raise No(run.line, f"{name} puts the gems elsewhere")
    return BUNDLER.caches


def _composer(run: Run) -> tuple[Cache, ...]:
    state = run.state
    known = any(state.variable(name) is not None for name in ("COMPOSER_HOME", "COMPOSER_CACHE_DIR"))
    if not known and any(name.startswith("XDG_") for name in {**state.environment, **state.arguments}):
        raise No(run.line, "with XDG variables, where composer keeps its cache is not known")
    return COMPOSER.caches


def _cabal(run: Run) -> tuple[Cache, ...]:
    if run.state.variable("CABAL_DIR") is None:
        raise No(run.line, "where cabal keeps its packages depends on its version: set CABAL_DIR")
    return CABAL.caches


def _of_compilers(manager: Manager) -> Callable[[Run], tuple[Cache, ...]]:
    def caches(run: Run) -> tuple[Cache, ...]:
        variable = manager.caches[0].moved_by[0][0]
        if run.state.variable(variable) is None:
            raise No(run.line, f"where {manager.name} keeps its cache depends on its version: set {variable}")
        return manager.caches

    return caches


def _deno(run: Run) -> tuple[Cache, ...]:
    raise No(run.line, "what it caches it reads when the program runs")


_SPECIAL: dict[str, Callable[[Run], tuple[Cache, ...]]] = {
    DNF.name: _dnf,
    ZYPPER.name: _zypper,
    YARN.name: _yarn,
    CONDA.name: _conda,
    GO.name: _go,
    CARGO.name: _cargo,
    MAVEN.name: _of_java(MAVEN),
    SBT.name: _of_java(SBT),
    GRADLE.name: _gradle,
    BUNDLER.name: _bundler,
    COMPOSER.name: _composer,
    CABAL.name: _cabal,
    DENO.name: _deno,
    CCACHE.name: _of_compilers(CCACHE),
    SCCACHE.name: _of_compilers(SCCACHE),
}
