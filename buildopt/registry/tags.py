"""Tags made of fields: ``{branch}``, ``{sha}``, ``{version}`` and ``{date}``; and what a version is called besides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError, UsageError

FIELDS = ("branch", "sha", "version", "date")
SHORT = 7
LONGEST = 128
"""Characters that a tag may have."""
LATEST = "latest"

_FIELD = re.compile(r"\{([^{}]*)\}")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_WORD = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"(?P<v>[vV]?)(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?P<before>-{_WORD}(?:\.{_WORD})*)?(?P<build>\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_GIT_SECONDS = 20.0
_HINTS = {
    "branch": "run it where git has a branch checked out (HEAD is detached, or this is no git checkout)",
    "version": "tag this commit (git tag v1.2.3), and have its tags where the clone is shallow (git fetch --tags)",
    "sha": "run it in a git checkout or a workflow job",
}


@dataclass(frozen=True, slots=True)
class Checkout:
    """What is built: its branch and commit, and the name of its git tag; empty where there is none."""

    branch: str = ""
    sha: str = ""
    tag: str = ""

    @property
    def version(self) -> str:
        """The name of the git tag without a leading v."""
        return re.sub(r"^[vV](?=\d)", "", self.tag)


def checkout(environ: Mapping[str, str], folder: Path) -> Checkout:
    """What GitHub Actions or GitLab CI build, where one of them runs this; else what git has in ``folder``.

    In a pull or merge request the branch is the one that asks to be merged. A commit is named by CI as it is there: for
    a pull request on GitHub that is the merge that GitHub made of it.
    """
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_SHA") or environ.get("GITHUB_REF"):
        found = _from_actions(environ)
    elif environ.get("GITLAB_CI") == "true" or environ.get("CI_COMMIT_SHA"):
        found = _from_gitlab(environ)
    else:
        return _from_git(folder)
    return found if found.sha else Checkout(found.branch, _git(folder, "rev-parse", "HEAD"), found.tag)


def values(environ: Mapping[str, str], folder: Path, now: datetime | None = None) -> dict[str, str]:
    """The fields that have a value here, each of them fit for a tag.

    ``sha`` are the first seven digits of the commit, ``version`` is the name of a git tag on this very commit without a
    leading v, ``date`` is today in UTC as YYYYMMDD.
    """
    return values_of(checkout(environ, folder), now)


def values_of(found: Checkout, now: datetime | None = None) -> dict[str, str]:
    """The fields of a checkout; see ``values``."""
    fields = {
        "date": (now or datetime.now(timezone.utc)).strftime("%Y%m%d"),
        "branch": fit(found.branch),
        "sha": found.sha[:SHORT],
        "version": fit(found.version),
    }
    return {name: value for name, value in fields.items() if value}


def fit(text: str) -> str:
    """A text with whatever no tag may hold turned into dashes, as docker/metadata-action does: ``1+5`` is ``1-5``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-")[:LONGEST].rstrip("-")


def fill(template: str, found: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """A template's text, and the fields that have no value here. Raises UsageError for a field that is none.

    Where the whole is longer than a tag may be, the branch is shortened: what tells one commit from the next stays.
    """
    missing: list[str] = []

    def field(match: re.Match[str]) -> str:
        name = match[1]
        if name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"unknown field {{{name}}} in the tag {template!r}", hint=f"known: {known}")
        if name not in found:
            missing.append(name)
        return found.get(name, "")

    text = _FIELD.sub(field, template)
    times = template.count("{branch}")
    if len(text) > LONGEST and times:
        branch = found.get("branch", "")
        kept = len(branch) - -(-(len(text) - LONGEST) // times)
        if kept > 0:
            return fill(template, {**found, "branch": branch[:kept].rstrip(".-_")})
    return text, tuple(missing)


def hint_for(missing: Sequence[str]) -> str:
    """What to do so that fields get a value."""
    return f"{'; '.join(_HINTS[name] for name in missing if name in _HINTS)}; or write the tag out"


def is_version(text: str) -> bool:
    """Whether a text is a semantic version of three numbers, with a leading v or without."""
    return _VERSION.fullmatch(text) is not None


def fan_out(version: str) -> tuple[str, ...]:
    """What a semantic version is called besides: ``1.2.3`` is ``1.2.3``, ``1.2``, ``1`` and ``latest``.

    A prerelease, and what carries build metadata, has its own name only. In ``0.2.5`` a new minor version may break
    what the last one promised: there is no ``0``. A leading v stays where there is one. What is no version raises
    UsageError.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise UsageError(
            f"{version!r} is no semantic version", hint="it has three numbers, such as 1.2.3 or v1.2.3-rc.1"
        )
    own = fit(version)
    if match["before"] or match["build"]:
        return (own,)
    lead, major, minor = match["v"], match["major"], match["minor"]
    return (own, f"{lead}{major}.{minor}", *((f"{lead}{major}",) if major != "0" else ()), LATEST)


@dataclass(frozen=True, slots=True)
class Named:
    """The tags that templates make, each once; ``left_out`` are the templates that lack fields here, with those.

    ``versioned``: a version is among them, and was fanned out.
    """

    names: tuple[str, ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()
    versioned: bool = False


def named(templates: Sequence[str], found: Checkout, *, semver: bool = False, now: datetime | None = None) -> Named:
    """Fill templates; with ``semver`` fan out each that is a version and nothing else, or else the checkout's version.

    Raises UsageError for a field that is none.
    """
    fields = values_of(found, now)
    names: list[str] = []
    left_out = []
    versioned = False
    for template in templates:
        name, missing = fill(template, fields)
        if missing:
            left_out.append((template, missing))
        elif semver and _may_be_version(template) and is_version(name):
            names += fan_out(name)
            versioned = True
        else:
            names.append(name)
    if semver and not versioned and is_version(found.version):
        names = [*fan_out(found.version), *names]
        versioned = True
    # The name that moves with every release comes last: it is never newer than those that stay.
    ordered = [name for name in names if name != LATEST] + [name for name in names if name == LATEST]
    return Named(tuple(dict.fromkeys(ordered)), tuple(left_out), versioned)


def _may_be_version(template: str) -> bool:
    """Whether a template is written out, or made of a version: ``{branch}-{sha}`` only looks like one by chance."""
    return all(name == "version" for name in _FIELD.findall(template))


def _from_actions(environ: Mapping[str, str]) -> Checkout:
    reference, sha = environ.get("GITHUB_REF", ""), environ.get("GITHUB_SHA", "")
    kind, _, name = reference.removeprefix("refs/").partition("/")
    if not reference.startswith("refs/"):
        kind = "tags" if environ.get("GITHUB_REF_TYPE") == "tag" else "heads"
        name = environ.get("GITHUB_REF_NAME", "") or reference
    if kind == "tags":
        return Checkout(tag=name, sha=sha)
    number = re.fullmatch(r"([0-9]+)/(?:merge|head)", name)
    if number is not None and (kind == "pull" or not reference):
        name = f"pr-{number[1]}"
    return Checkout(environ.get("GITHUB_HEAD_REF") or name, sha)


def _from_gitlab(environ: Mapping[str, str]) -> Checkout:
    tag, sha = environ.get("CI_COMMIT_TAG", ""), environ.get("CI_COMMIT_SHA", "")
    names = ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH", "CI_COMMIT_REF_NAME")
    branch = next((environ[name] for name in names if environ.get(name)), "")
    return Checkout("" if tag else branch, sha, tag)


def _from_git(folder: Path) -> Checkout:
    branch, sha = (
        _git(folder, "symbolic-ref", "--short", "-q", "HEAD"),
        _git(folder, "rev-parse", "--verify", "-q", "HEAD"),
    )
    if not sha:
        return Checkout(branch)  # before the first commit
    return Checkout(
        branch, sha, _best(_git(folder, "tag", "--points-at", "HEAD", "--sort=version:refname").split("\n"))
    )


def _best(names: Sequence[str]) -> str:
    """Of the tags of one commit, in the order of git, the one that names its version."""
    versions = [match for match in map(_VERSION.fullmatch, names) if match is not None]
    if not versions:
        dotted = [name for name in names if re.match(r"[vV]?\d", name)]
        return (dotted or list(names))[-1]

    def order(match: re.Match[str]) -> tuple[int, int, int, bool]:
        return int(match["major"]), int(match["minor"]), int(match["patch"]), not match["before"]

    return max(versions, key=order)[0]


def _git(folder: Path, *words: str) -> str:
    try:
        done = process.run(["git", *words], cwd=folder, check=False, timeout=_GIT_SECONDS)
    except ToolError:
        return ""  # no git: no fields
    return done.text.strip() if done.returncode == 0 else ""
