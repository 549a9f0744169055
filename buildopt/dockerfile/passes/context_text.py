"""What the files of a build context speak of: who asks git, what git ignores."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path

from buildopt.dockerfile.files import read_text

_MAX_FILES = 5_000
_MAX_BYTES = 256 * 1024
_MAX_TOTAL = 16 * 1024 * 1024
_SKIPPED_FOLDERS = frozenset((".git", "node_modules", ".venv", "venv", "__pycache__", "target", ".github", ".buildopt"))
# What no build reads, or what names git for other reasons: locks, documentation, hosting.
_SKIPPED_FILES = (
    *("*.md", "*.rst", "*.adoc", "LICENSE*", "CHANGELOG*", "*.lock", "*-lock.*", "go.sum", "go.mod", "*.svg", "*.map"),
    *(".gitignore", ".gitattributes", ".gitmodules", ".gitlab-ci.yml", ".travis.yml", ".dockerignore", "*.ipynb"),
    *("*Dockerfile*", "*dockerfile", "*.dockerignore", "compose*.y*ml", "docker-compose*.y*ml", ".pre-commit-config*"),
    *("renovate.json*", ".renovaterc*", "Jenkinsfile", "*.min.js", "*.png", "*.jpg", "*.ico", "*.woff*", "*.csv"),
)
_COMMANDS = (
    "describe|rev-parse|rev-list|log|show|status|diff|branch|ls-files|tag|name-rev|symbolic-ref|config|submodule|fetch"
    "|checkout|pull|archive|for-each-ref|cat-file|blame|shortlog|hash-object|remote|clean|reset|stash|lfs|update-index"
)
_GIT = re.compile(
    rf"(?<![\w@:/.+-])git\s+(?:-\S+\s+(?:\S+\s+)?)?(?:{_COMMANDS})\b"
    r"|['\"`]git['\"`]|\$\(?GIT\b|(?<!\w)\.git(?![\w-])"
    r"|setuptools[_-]scm|versioneer|hatch[_-]vcs|\bpbr\b|dynamic[_-]versioning|versioningit|use_scm_version|version-scm"
    r"|\bvergen|shadow[_-]rs|git[_-]version|git[_-]testament|built\s*=|git[_-]?rev|git-?info|gitpython|import git\b"
    r"|pygit2|dulwich|simple-git|nodegit|isomorphic-git|go-git|libgit2|jgit|git-commit-id|buildnumber|gitflow"
    r"|axion-release|palantir\.git|grgit|nebula|dynver|sbt-git|[lL]astUpdated|enableGitInfo|find_package\s*\(\s*Git"
    r"|GitVersion|nbgv|Nerdbank|MinVer|SourceLink|husky|lefthook|simple-git-hooks|lint-staged|sentry[/-]|ratchetFrom"
    r"|ReadBuildInfo|GIT_DIR|changesets?/|lerna|mkdocs|docusaurus|vuepress"
)
_NO_DOCKERFILE = re.compile(r".*(?:dockerignore|\.(?:md|txt|go|py|js|ts|json|ya?ml|sh|rs|java|html|snap|log))")
_DOCKERFILE = re.compile(r"(?:docker|container)file(?:[.-].+)?|.+\.(?:docker|container)file")
_KIND_OF_REPOSITORY = re.compile(r"['\"]?type['\"]?\s*[:=]\s*['\"]git['\"]")


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a file of the context speaks of something; ``line`` from 1."""

    path: str
    line: int
    text: str


def files(context: Path) -> Iterator[str]:
    """The files below a context, those that builds make left out."""
    for folder, names, found in os.walk(context):
        names[:] = sorted(name for name in names if name not in _SKIPPED_FOLDERS)
        below = Path(folder).relative_to(context)
        for name in sorted(found):
            yield (below / name).as_posix()


def mention_of_git(context: Path) -> Mention | str | None:
    """The first file that may ask git, or look into ``.git``; a reason where there is too much to read."""
    return mention_of_pattern(context, _GIT)


def mention_of(context: Path, name: str) -> Mention | str | None:
    """The first file that speaks of a name; a reason where there is too much to read."""
    return mention_of_pattern(context, re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"))


def mention_of_pattern(context: Path, pattern: re.Pattern[str]) -> Mention | str | None:
    """The first file in which a pattern is found; a reason where there is too much to read."""
    total = 0
    for count, path in enumerate(files(context)):
        if count >= _MAX_FILES or total > _MAX_TOTAL:
            return "the context holds too much to read"
        if any(fnmatchcase(path.rpartition("/")[2], skipped) for skipped in _SKIPPED_FILES):
            continue
        text = _text(context / path)
        total += len(text)
        match = pattern.search(_KIND_OF_REPOSITORY.sub(lambda kind: " " * len(kind.group()), text))
        if match is not None:
            return Mention(path, text.count("\n", 0, match.start()) + 1, match.group().strip())
    return None


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return ""
        data = path.read_bytes()
    except OSError:
        return ""
    return "" if b"\0" in data[:4096] else data.decode("utf-8", "replace")


def ignored_by_git(context: Path, path: str) -> bool:
    """Whether ``.gitignore`` of the context plainly names a path, so that a fresh checkout never holds it."""
    try:
        lines = read_text(context / ".gitignore").splitlines()
    except OSError:
        return False
    name = path.rpartition("/")[2]
    ignored = False
    for line in lines:
        keeps = line.startswith("!")
        pattern = line.strip().lstrip("!").rstrip("/").removesuffix("/**").removesuffix("/*").removeprefix("**/")
        if not pattern or pattern.startswith("#"):
            continue
        anchored = pattern.lstrip("/")
        if fnmatch(path, anchored) or ("/" not in pattern and fnmatch(name, pattern)):
            ignored = not keeps
    return ignored


def other_dockerfiles(context: Path, own: str) -> list[str]:
    """Further Dockerfiles of a context, by their usual names."""
    found = []
    for count, path in enumerate(files(context)):
        name = path.rpartition("/")[2].lower()
        if count >= _MAX_FILES:
            break
        usual = _DOCKERFILE.fullmatch(name) and not _NO_DOCKERFILE.fullmatch(name)
        if usual and os.path.realpath(context / path) != os.path.realpath(own):
            found.append(path)
    return found


def builds_inline(context: Path) -> bool:
    """Whether a Compose or Bake file of the context holds a Dockerfile of its own."""
    names = ("compose*.y*ml", "docker-compose*.y*ml", "docker-bake.*")
    return any(re.search("dockerfile[_-]inline", _text(path)) for name in names for path in sorted(context.glob(name)))
