"""What is not compared, and why: each rule is shown to people wherever it mattered."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from buildopt.prove.flatten import Entry
from buildopt.prove.proof import Excluded

EXAMPLES = 20
"""How many paths an exclusion names."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths (without a slash in front) that need not be equal.

    ``programs``: the rule does not hold where the image's command starts one of them, which may read these files.
    ``may_be_new`` is False for caches: one that only the new image has was left in it by mistake.
    """

    name: str
    why: str
    paths: re.Pattern[str]
    programs: frozenset[str] = frozenset()
    may_be_new: bool = True


def _rule(name: str, why: str, paths: str) -> Rule:
    return Rule(name, why, re.compile(paths))


_CACHE = "a package manager's download cache, which no program reads when it runs"
_HOME = r"(?:.*/)?"  # any folder may be somebody's home


def _folder(name: str, *folders: str, why: str = _CACHE, programs: str = "") -> Rule:
    """Folders with all in them."""
    pattern = re.compile(f"(?:{'|'.join(folders)})(?:/.*)?")
    return Rule(name, why, pattern, frozenset(programs.split()), may_be_new=False)


RULES = (
    _rule("logs", "written anew by each build", r"var/log/.*"),
    _rule("ldconfig's own cache", "holds times of files", r"var/cache/ldconfig/aux-cache"),
    _folder("package lists", r"var/lib/apt/lists", why="fetched anew by each apt-get update"),
    _rule(
        "apt's docker-clean and keep-cache",
        "they only say whether apt keeps what it downloaded",
        r"etc/apt/apt\.conf\.d/(?:docker-clean|keep-cache|keep-downloads|01keep-debs)",
    ),
    _rule(
        "backups of package databases",
        "the state before the last change",
        r"var/lib/dpkg/(?:status|available|diversions|statoverride)-old|var/cache/debconf/.*-old",
    ),
    _folder("cache of apt", r"var/cache/apt"),
    _folder("cache of apk", r"var/cache/apk", r"etc/apk/cache"),
    _folder("cache of dnf, yum and zypper", r"var/cache/(?:dnf|yum|libdnf5|zypp)"),
    _folder("cache of pacman", r"var/cache/pacman/pkg"),
    _folder("cache of pip", rf"{_HOME}\.cache/pip", programs="pip pip3"),
    _folder("cache of uv", rf"{_HOME}\.cache/uv", programs="uv uvx"),
    _folder("cache of poetry", rf"{_HOME}\.cache/pypoetry/(?:cache|artifacts)", programs="poetry"),
    _folder("cache of pdm and pipenv", rf"{_HOME}\.cache/(?:pdm|pipenv)", programs="pdm pipenv"),
    _folder("cache of npm", rf"{_HOME}\.npm", programs="npx"),
    _folder("cache of yarn", rf"{_HOME}\.cache/(?:yarn|node-gyp)", r"usr/local/share/\.cache"),
    _folder("store of pnpm", rf"{_HOME}\.local/share/pnpm/store", r"pnpm/store", rf"{_HOME}\.cache/pnpm"),
    _rule(
        "lists of installed Node.js packages",
        "written down by npm, yarn and pnpm for themselves; the packages are compared",
        r"(?:.*/)?node_modules/(?:\.package-lock\.json|\.yarn-integrity|\.modules\.yaml|\.pnpm/lock\.yaml)",
    ),
    _folder("cache of bun", rf"{_HOME}\.bun/install/cache", programs="bun bunx"),
    _folder("caches of go", rf"{_HOME}go/pkg/(?:mod|sumdb)", rf"{_HOME}\.cache/go-build", programs="go air reflex"),
    _folder(
        "cache of cargo",
        rf"(?:usr/local/cargo|{_HOME}\.cargo)/(?:registry|git|\.package-cache.*|\.global-cache)",
        programs="cargo",
    ),
    _folder("repository of maven", rf"{_HOME}\.m2/repository", programs="mvn mvnw mvnd"),
    _folder("caches of gradle", rf"{_HOME}\.gradle/(?:caches|daemon|native)", programs="gradle gradlew"),
    _folder("caches of sbt", rf"{_HOME}\.(?:ivy2/cache|sbt|cache/coursier)", programs="sbt"),
    _folder("cache of composer", rf"{_HOME}\.(?:composer/cache|cache/composer)", r"tmp/cache", programs="composer"),
    _folder("cache of bundler", r"usr/local/bundle/cache"),
    _folder("cache of nuget", rf"{_HOME}\.(?:nuget/packages|local/share/NuGet)", programs="dotnet"),
    _folder("caches of compilers", rf"{_HOME}\.(?:ccache|cache/(?:ccache|sccache))", why="earlier compilations"),
    _folder("node's compile cache", r"tmp/(?:v8|node)-compile-cache[^/]*", why="compiled anew whenever it is missing"),
)
PACKAGE_DATABASE = re.compile(
    r"var/lib/(?:dpkg|apt|rpm|dnf|pacman|yum)(?:/.*)?|usr/lib/sysimage/rpm(?:/.*)?|lib/apk/db(?:/.*)?|etc/apk/world"
    r"|etc/ld\.so\.cache|var/cache/debconf(?:/.*)?|usr/share/info/dir"
)
"""Which packages there are: other ones in another image."""
LOCK_FILES = re.compile(r"(?:(?!.*node_modules/).*/)?(?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml)")
COMPILED = re.compile(r".*\.py[co]")


@dataclass(slots=True)
class Ledger:
    """Writes down what was excluded, while a comparison goes on."""

    entries: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, name: str, why: str, path: str) -> None:
        """One path that was excluded."""
        self.entries.setdefault((name, why), []).append(path)

    def paths(self) -> set[str]:
        """Every path that was excluded."""
        return {path for paths in self.entries.values() for path in paths}

    def excluded(self) -> list[Excluded]:
        """All of it, in the order in which it came up."""
        return [
            Excluded(name, why, len(paths), tuple(f"/{path}" for path in paths[:EXAMPLES]))
            for (name, why), paths in self.entries.items()
        ]


def rule_for(path: str, started: frozenset[str], new: Entry | None) -> Rule | None:
    """The rule that a path falls under, where the image's command starts these programs.

    ``new`` is the entry of a path that only the new image has.
    """
    for rule in RULES:
        if rule.paths.fullmatch(path) and not rule.programs & started:
            left_over = new is not None and new.size > 0 and not rule.may_be_new
            return None if left_over else rule
    return None


def started_programs(settings: Mapping[str, object]) -> frozenset[str]:
    """Names of all that the image's command might start, as far as its words tell."""
    words: list[str] = []
    for key in ("Entrypoint", "Cmd"):
        value = settings.get(key)
        words += [str(word) for word in value] if isinstance(value, list) else []
    return frozenset(part.rsplit("/", 1)[-1] for word in words for part in re.split(r"[\s;&|()]+", word))


def empty_folders(paths: Iterable[str], tree: Mapping[str, Entry], targets: Iterable[str], gone: set[str]) -> set[str]:
    """Those of ``paths`` that are folders above or at a cache mount's target, or above what was excluded (``gone``),
    with nothing else in them."""
    places = [*(target.strip("/") for target in targets), *gone]
    wanted = {place for path in places for place in ancestors(path)}
    found = {path for path in paths if path in wanted and path in tree and tree[path].kind == "folder"}
    if not found:
        return found
    full = {posixpath.dirname(path) for path in tree if path not in found and path not in gone}
    while filled := found & full:
        found -= filled
        full = {posixpath.dirname(path) for path in filled}
    return found


def ancestors(path: str) -> Iterator[str]:
    """A path and the folders that it is in, the root left out."""
    while path:
        yield path
        path = posixpath.dirname(path)
