"""One table of package managers: their programs, caches, what moves or defeats a cache, and what cleans it up.

A cache directory below the home folder is written ``~/…``. Nothing here decides; rules and passes do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from buildopt.dockerfile.shell import Command, Word, of_the_command


class Portable(Enum):
    """Where a cache's content can be used: everywhere, or only on the distribution that made it."""

    EVERYWHERE = "everywhere"
    DISTRIBUTION = "distribution"


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache directory. Each of ``moved_by`` is an environment variable and what it appends to its value.

    ``marks`` are pieces of text that speak of the directory, however its path is written.
    """

    path: str
    moved_by: tuple[tuple[str, str], ...] = ()
    portable: Portable = Portable.EVERYWHERE
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manager:
    """One package manager.

    ``uses``: subcommands that fill or read a cache; empty means all but ``idle``. ``cleanups``: words that follow the
    program in a command which only empties a cache. ``defeated_by``: options and variables with which it keeps none.
    ``moved_by``: options that put the cache elsewhere. ``valued``: options before the subcommand that take a value.
    """

    name: str
    programs: str
    caches: tuple[Cache, ...]
    sharing: str
    uses: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    cleanups: tuple[tuple[str, ...], ...] = ()
    defeating_options: tuple[str, ...] = ()
    defeating_variables: tuple[str, ...] = ()
    moving_options: tuple[str, ...] = ()
    valued: frozenset[str] = frozenset()
    lockfiles: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()

    def runs(self, name: str) -> bool:
        """Whether a program of that name is this manager."""
        return re.fullmatch(self.programs, name) is not None


@dataclass(frozen=True, slots=True)
class Use:
    """One command of a manager. ``subcommand`` is its first word that is no option, ``rest`` what follows it."""

    manager: Manager
    command: Command
    subcommand: str
    rest: tuple[Word, ...]
    arguments: tuple[Word, ...]

    @property
    def uses_cache(self) -> bool:
        """Whether it fills or reads a cache."""
        if self.is_cleanup:
            return False
        if self.manager.uses:
            return self.subcommand in self.manager.uses
        return self.subcommand not in self.manager.idle

    @property
    def is_cleanup(self) -> bool:
        """Whether all it does is to empty a cache."""
        words = [self.subcommand, *(word.text or "" for word in self.rest if not (word.text or "").startswith("-"))]
        options = {word.text for word in self.arguments if (word.text or "").startswith("-")}
        for cleanup in self.manager.cleanups:
            plain = [word for word in cleanup if not word.startswith("-")]
            if words[: len(plain)] == plain and options.issuperset(
                word for word in cleanup if word.startswith("-") and word != "--force"
            ):
                return True
        return False

    def defeats(self) -> Iterator[Word]:
        """The options of this command with which nothing is cached."""
        for word in self.arguments:
            text = word.text or ""
            if text.partition("=")[0] in self.manager.defeating_options:
                yield word

    @property
    def moved(self) -> bool:
        """Whether an option puts the cache elsewhere."""
        return any((word.text or "").partition("=")[0] in self.manager.moving_options for word in self.arguments)


def word_set(text: str) -> frozenset[str]:
    """The words of a text, blanks and line breaks between them."""
    return frozenset(text.split())


_HOME_CACHE = ("XDG_CACHE_HOME",)

APT = Manager(
    name="apt",
    programs=r"apt-get|apt",
    caches=(
        # Debian keeps what belongs to each architecture under names of its own in both folders, so platforms may share
        # them. Different distributions may not: packages of one name and version need not be the same.
        Cache("/var/cache/apt", portable=Portable.DISTRIBUTION, marks=("cache/apt", "apt/archives")),
        Cache("/var/lib/apt/lists", portable=Portable.DISTRIBUTION, marks=("lib/apt", "apt/lists")),
    ),
    # apt holds a lock on both folders and fails, rather than waits, where another build has it. So builds of several
    # platforms take turns here; without the lock they would fail.
    sharing="locked",
    uses=word_set(
        "update install reinstall upgrade dist-upgrade full-upgrade build-dep source download satisfy "
        "dselect-upgrade changelog search show showsrc policy list depends rdepends"
    ),
    cleanups=(("clean",), ("autoclean",), ("auto-clean",), ("distclean",)),
    valued=word_set("-o --option -t --target-release --default-release -c --config-file -a --host-architecture"),
)

PIP = Manager(
    name="pip",
    programs=r"pip[0-9.]*",
    caches=(
        Cache(
            "~/.cache/pip",
            (("PIP_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/pip")),
            Portable.DISTRIBUTION,  # it keeps wheels that were built here, linked to this distribution's libraries
            (".cache/pip", "cache dir"),
        ),
    ),
    sharing="shared",
    uses=word_set("install download wheel"),
    cleanups=(("cache", "purge"),),
    defeating_options=("--no-cache-dir", "--no-cache"),
    defeating_variables=("PIP_NO_CACHE_DIR",),
    moving_options=("--cache-dir",),
    valued=word_set("--proxy --retries --timeout --log --cert --client-cert --cache-dir --python --trusted-host"),
    lockfiles=("requirements.txt", "constraints.txt"),
)

NPM = Manager(
    name="npm",
    programs=r"npm",
    caches=(
        Cache("~/.npm", (("npm_config_cache", ""), ("NPM_CONFIG_CACHE", "")), marks=(".npm/", "config get cache")),
    ),
    sharing="shared",
    uses=word_set(
        "install i in ins inst isntall add ci clean-install ic install-clean isntall-clean update up upgrade udpate "
        "install-test it install-ci-test cit rebuild rb dedupe ddp"
    ),
    cleanups=(("cache", "clean"), ("cache", "clear"), ("cache", "rm")),
    moving_options=("--cache",),
    valued=word_set("--prefix -C --registry --loglevel --cache --userconfig -w --workspace --omit --include"),
    lockfiles=("package-lock.json", "npm-shrinkwrap.json"),
    offline=("--offline",),
)

GO = Manager(
    name="go",
    programs=r"go[0-9.]*",
    caches=(
        Cache("/go/pkg/mod", (("GOMODCACHE", ""), ("GOPATH", "/pkg/mod")), marks=("pkg/mod", "GOMODCACHE")),
        # The build cache knows the compilers, but not the C headers and libraries of cgo.
        Cache(
            "~/.cache/go-build",
            (("GOCACHE", ""), ("XDG_CACHE_HOME", "/go-build")),
            Portable.DISTRIBUTION,
            ("go-build", "GOCACHE"),
        ),
    ),
    sharing="shared",
    idle=word_set("version env fmt help bug doc fix clean") | {""},
    cleanups=(("clean", "-modcache"), ("clean", "-cache"), ("clean", "--modcache"), ("clean", "--cache")),
    lockfiles=("go.sum",),
    offline=("GOPROXY=off",),
)

APK = Manager(
    name="apk",
    programs=r"apk",
    caches=(Cache("/var/cache/apk", portable=Portable.DISTRIBUTION, marks=("cache/apk",)),),
    sharing="locked",
    uses=word_set("add update upgrade fetch"),
    cleanups=(("cache", "clean"),),
    defeating_options=("--no-cache",),
)

DNF = Manager(
    name="dnf",
    programs=r"dnf|dnf5|yum|microdnf",
    caches=(
        Cache("/var/cache/dnf", portable=Portable.DISTRIBUTION, marks=("cache/dnf",)),
        Cache("/var/cache/libdnf5", portable=Portable.DISTRIBUTION, marks=("cache/libdnf5",)),
        Cache("/var/cache/yum", portable=Portable.DISTRIBUTION, marks=("cache/yum",)),
    ),
    sharing="locked",
    uses=word_set("install update upgrade groupinstall reinstall builddep makecache distro-sync"),
    cleanups=(("clean", "all"), ("clean", "packages"), ("clean", "metadata")),
)

ZYPPER = Manager(
    name="zypper",
    programs=r"zypper",
    caches=(Cache("/var/cache/zypp", portable=Portable.DISTRIBUTION, marks=("cache/zypp",)),),
    sharing="locked",
    uses=word_set("install in update up refresh ref dup dist-upgrade patch"),
    cleanups=(("clean",), ("cc",)),
)

UV = Manager(
    name="uv",
    programs=r"uv",
    caches=(Cache("~/.cache/uv", (("UV_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/uv")), Portable.DISTRIBUTION),),
    sharing="shared",
    uses=word_set("pip sync add lock run tool build"),
    cleanups=(("cache", "clean"), ("cache", "prune")),
    defeating_options=("--no-cache", "--no-cache-dir", "-n"),
    defeating_variables=("UV_NO_CACHE",),
    moving_options=("--cache-dir",),
    lockfiles=("uv.lock",),
)

POETRY = Manager(
    name="poetry",
    programs=r"poetry",
    # Only these two: its virtual environments live beside them.
    caches=(Cache("~/.cache/pypoetry/cache"), Cache("~/.cache/pypoetry/artifacts")),
    sharing="shared",
    uses=word_set("install add update lock sync"),
    cleanups=(("cache", "clear"),),
    defeating_options=("--no-cache",),
    lockfiles=("poetry.lock",),
)

YARN = Manager(
    name="yarn",
    programs=r"yarn|yarnpkg",
    caches=(Cache("/usr/local/share/.cache/yarn", (("YARN_CACHE_FOLDER", ""),)), Cache("~/.cache/yarn")),
    sharing="locked",
    uses=word_set("install add upgrade global") | {""},
    cleanups=(("cache", "clean"),),
    moving_options=("--cache-folder",),
    lockfiles=("yarn.lock",),
    offline=("--offline",),
)

PNPM = Manager(
    name="pnpm",
    programs=r"pnpm",
    caches=(Cache("~/.local/share/pnpm/store", (("PNPM_HOME", "/store"),)),),
    sharing="shared",
    uses=word_set("install i add fetch update deploy"),
    cleanups=(("store", "prune"),),
    moving_options=("--store-dir",),
    lockfiles=("pnpm-lock.yaml",),
    offline=("--offline",),
)

CARGO = Manager(
    name="cargo",
    programs=r"cargo",
    caches=(Cache("/usr/local/cargo", (("CARGO_HOME", ""),), Portable.DISTRIBUTION),),
    sharing="locked",
    uses=word_set("build b install fetch test t run r check c doc bench clippy update rustc chef vendor"),
    cleanups=(("cache", "-a"),),
    lockfiles=("Cargo.lock",),
    offline=("--offline",),
)

COMPOSER = Manager(
    name="composer",
    programs=r"composer(\.phar)?",
    caches=(Cache("~/.composer/cache", (("COMPOSER_CACHE_DIR", ""), ("COMPOSER_HOME", "/cache"))),),
    sharing="shared",
    uses=word_set("install i update require create-project global"),
    cleanups=(("clear-cache",), ("clearcache",), ("cc",)),
    defeating_options=("--no-cache",),
    lockfiles=("composer.lock",),
)

BUNDLER = Manager(
    name="bundler",
    programs=r"bundle|bundler|gem",
    caches=(Cache("/usr/local/bundle/cache", (("GEM_HOME", "/cache"),)),),
    sharing="locked",
    uses=word_set("install update"),
    lockfiles=("Gemfile.lock",),
)

MANAGERS = (APT, PIP, NPM, GO, APK, DNF, ZYPPER, UV, POETRY, YARN, PNPM, CARGO, COMPOSER, BUNDLER)


_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")


@lru_cache(maxsize=4096)
def _manager(name: str) -> Manager | None:
    return next((manager for manager in MANAGERS if manager.runs(name)), None)


@of_the_command
def recognise(command: Command) -> Use | None:
    """The manager that a command runs, ``python -m pip`` included; None for anything else."""
    argv = command.argv
    name = command.name
    if name is None:
        return None
    arguments = argv[1:]
    if _PYTHON.fullmatch(name):
        texts = [word.text for word in arguments]
        while texts and texts[0] in ("-u", "-I", "-E", "-s", "-B", "-O"):
            texts, arguments = texts[1:], arguments[1:]
        if texts[:1] != ["-m"] or len(texts) < 2 or not texts[1]:
            return None
        name, arguments = texts[1], arguments[2:]
    manager = _manager(name)
    if manager is None:
        return None
    position = _subcommand(manager, arguments)
    subcommand = arguments[position].text or "" if position < len(arguments) else ""
    return Use(manager, command, subcommand, arguments[position + 1 :], arguments)


def _subcommand(manager: Manager, arguments: tuple[Word, ...]) -> int:
    position = 0
    while position < len(arguments):
        text = arguments[position].text
        if text is not None and not text.startswith("-"):
            break
        position += 2 if text in manager.valued else 1
    return position
