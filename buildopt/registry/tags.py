"""Tags made of fields: ``{branch}``, ``{sha}``, ``{version}`` and ``{date}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError, UsageError

FIELDS = ("branch", "sha", "version", "date")
SHORT = 7
_FIELD = re.compile(r"\{([^{}]*)\}")


def values(environ: Mapping[str, str], folder: Path, now: datetime | None = None) -> dict[str, str]:
    """The fields that have a value here: of GitHub Actions where it runs this, else of git in ``folder``.

    ``branch`` is made fit for a tag, ``sha`` are the first seven digits of the commit, ``version`` is the name of a
    git tag on this very commit without a leading v, ``date`` is today in UTC as YYYYMMDD.
    """
    found = {"date": (now or datetime.now(timezone.utc)).strftime("%Y%m%d")}
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_SHA"):
        branch, sha, tag = _from_actions(environ)
    else:
        branch, sha, tag = _from_git(folder)
    if branch:
        found["branch"] = fit(branch)
    if sha:
        found["sha"] = sha[:SHORT]
    if tag:
        found["version"] = fit(re.sub(r"^v(?=\d)", "", tag))
    return {name: value for name, value in found.items() if value}


def fit(text: str) -> str:
    """A text with whatever no tag may hold turned into dashes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-").rstrip("-")[:128]


def fill(template: str, found: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """A template's text, and the fields that have no value here. Raises UsageError for a field that is none."""
    missing: list[str] = []

    def field(match: re.Match[str]) -> str:
        name = match[1]
        if name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"unknown field {{{name}}} in the tag {template!r}", hint=f"known: {known}")
        if name not in found:
            missing.append(name)
        return found.get(name, "")

    return _FIELD.sub(field, template), tuple(missing)


def _from_actions(environ: Mapping[str, str]) -> tuple[str, str, str]:
    name, kind = environ.get("GITHUB_REF_NAME", ""), environ.get("GITHUB_REF_TYPE", "")
    reference = environ.get("GITHUB_REF", "")
    is_tag = kind == "tag" or (not kind and reference.startswith("refs/tags/"))
    if not name:
        name = re.sub(r"^refs/(heads|tags)/", "", reference)
    branch = "" if is_tag else environ.get("GITHUB_HEAD_REF") or name
    return branch, environ.get("GITHUB_SHA", ""), name if is_tag else ""


def _from_git(folder: Path) -> tuple[str, str, str]:
    def git(*words: str) -> str:
        try:
            done = process.run(["git", *words], cwd=folder, check=False, timeout=20)
        except ToolError:
            return ""  # no git: no fields
        return done.text.strip() if done.returncode == 0 else ""

    sha = git("rev-parse", "HEAD")
    if not sha:
        return git("symbolic-ref", "--short", "-q", "HEAD"), "", ""
    return git("symbolic-ref", "--short", "-q", "HEAD"), sha, git("describe", "--tags", "--exact-match", "HEAD")
