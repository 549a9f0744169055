"""Scopes of the cache of GitHub Actions: one for each image and branch, so that no build overwrites another's cache.

GitHub lets a run read the caches of its own branch and of the default branch (a pull request those of its base, too).
A build therefore reads the scopes of all of these, and writes that of its own branch. What a run for a tag writes can
be read by nobody else, so it writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SETUP_HINT = "add the step `uses: crazy-max/ghaction-github-runtime@v3` before this one"


@dataclass(frozen=True, slots=True)
class Scopes:
    """Those to read, the best first, and the one to write (empty: none)."""

    reads: tuple[str, ...]
    writes: str


def identity(image: str, context: Path, dockerfile: Path, target: str | None, environment: Mapping[str, str]) -> str:
    """What tells the builds of a repository apart: the image's name, else context and Dockerfile; and the stage."""
    words = [image]
    if not image:
        root = environment.get("GITHUB_WORKSPACE") or context
        paths = (os.path.relpath(context, root), os.path.relpath(dockerfile, context))
        words = [path for path, usual in zip(paths, (".", "Dockerfile"), strict=True) if path != usual]
    return ".".join(slug(word) for word in (*words, target or "") if word) or "image"


def scopes(name: str, platforms: Sequence[str], environment: Mapping[str, str]) -> Scopes:
    """The scopes of the build called ``name``. A build of a single platform has one of its own, for others of the same
    image may be built on other machines at the same time."""
    single = [f"{name}.{slug(platforms[0])}"] if len(platforms) == 1 else []
    names = [*single, name]
    if environment.get("GITHUB_ACTIONS") != "true":
        return Scopes(tuple(names), names[0])
    tag = environment.get("GITHUB_REF_TYPE") == "tag"
    own = "" if tag else environment.get("GITHUB_HEAD_REF") or environment.get("GITHUB_REF_NAME") or ""
    branches = dict.fromkeys((own, environment.get("GITHUB_BASE_REF") or "", default_branch(environment)))
    if not any(branches):
        return Scopes(tuple(names), "" if tag else names[0])
    reads = tuple(f"{one}.{slug(branch)}" for branch in branches if branch for one in names)
    return Scopes(reads, "" if tag or not own else reads[0])


def default_branch(environment: Mapping[str, str]) -> str:
    """The repository's default branch as the event tells it; empty where it does not."""
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH") or os.devnull).read_bytes())
        return str(event["repository"]["default_branch"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def slug(text: str) -> str:
    """A text as part of a scope; texts that differ stay different."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    return made if made == text else f"{made.strip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def problem(environment: Mapping[str, str]) -> tuple[str, str]:
    """Why buildx would leave this cache out without a word, and what to do; two empty texts where it would not."""
    if environment.get("ACTIONS_RUNTIME_TOKEN") and (
        environment.get("ACTIONS_RESULTS_URL") or environment.get("ACTIONS_CACHE_URL")
    ):
        return "", ""
    if environment.get("GITHUB_ACTIONS") == "true":
        return "the cache gha is not used: this step has no ACTIONS_RUNTIME_TOKEN", SETUP_HINT
    return "the cache gha is not used: there is none outside GitHub Actions", ""
