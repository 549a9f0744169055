"""Runs one buildx build into a staging layout."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildopt import process
from buildopt.build import nearby
from buildopt.build.artifact import Staging, writes
from buildopt.build.failure import failure
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Event, Progress, Step
from buildopt.errors import ToolError

_CACHE_STEP = re.compile(r"(importing cache manifest from|exporting cache to|exporting to (GitHub|Amazon))")


PAUSES = (0.5, 1.0)
"""Seconds to wait for BuildKit to end a killed build, before each further try of one that failed for what that left:
without the cache records that it failed for, and last without any cache."""


class View(Protocol):
    """Somebody who watches a build."""

    def line(self, line: str) -> None:
        """A line as buildx wrote it."""

    def event(self, event: Event) -> None:
        """What that line says."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build: the digest that BuildKit reports, its steps, and the caches that it had to do ``without``."""

    digest: str
    steps: tuple[Step, ...]
    without: tuple[Step, ...] = ()

    @property
    def total(self) -> int:
        """How many instructions there were."""
        return len(self.steps)

    @property
    def cached(self) -> int:
        """How many of them came from the cache."""
        return sum(step.reused for step in self.steps)


def build(
    plan: BuildPlan,
    buildx: Sequence[str],
    staging: Staging,
    view: View,
    *,
    environment: Mapping[str, str],
    contents: Path | None = None,
) -> Built:
    """Run the build; ``view`` sees every line as it comes. ``contents`` is where the engine keeps its blobs, if known.

    ``buildx`` is the command in front of ``build``. Raises ToolError where the build failed, EngineError where the
    engine is the reason. Ctrl-C ends buildx, which ends the build in the engine.
    """
    metadata = staging.folder / "metadata.json"
    dockerfile = define(plan, staging.definition)
    argv = [*buildx, *plan.arguments(staging.layout, metadata, dockerfile)]
    # The digest is all that is wanted from the metadata file; asking the engine for the provenance again costs time.
    variables = {**environment, "BUILDX_METADATA_PROVENANCE": "disabled"}
    redact = redactor(plan.secret_values(environment))
    with nearby.offering(contents, staging.layout) as offered:
        status, progress = _watched(argv, variables, view, redact)
        for number, pause in enumerate(PAUSES):
            records = lost(progress)
            if status == 0 or not records:
                break
            time.sleep(pause)
            _forget(buildx, records, environment)
            again = [*buildx, "build", "--no-cache", *argv[len(buildx) + 1 :]] if number == len(PAUSES) - 1 else argv
            status, progress = _watched(again, variables, view, redact)
    if status != 0:
        raise failure(plan, progress, status, staging)
    nearby.take(staging.layout, frozenset(offered))
    return Built(_digest(metadata), tuple(progress.counted), survived(progress))


def _watched(
    argv: Sequence[str], environment: Mapping[str, str], view: View, redact: Callable[[str], str]
) -> tuple[int, Progress]:
    """Run buildx; its exit status and what it said."""
    progress = Progress(redact)
    with process.stream(argv, env=environment) as running:
        assert running.stderr is not None
        for line in running.stderr:
            view.line(line)
            for event in progress.feed(line):
                view.event(event)
    return running.returncode, progress


def lost(progress: Progress) -> frozenset[str]:
    """Records of BuildKit's cache that a build failed for, as what they stand for is gone: a build that was killed just
    when it made them can leave such ones, and every later build that comes upon them fails, until they are removed."""
    errors = [step.error for step in progress.steps.values() if step.failed]
    errors += [text for text in progress.messages if text.startswith("ERROR:")]
    return frozenset(
        name
        for text in errors
        if re.search(r"\bsnapshot \S+ does not exist", text)
        for name in re.findall(r"\b[a-z0-9]{25}\b", text)
    )


def _forget(buildx: Sequence[str], records: frozenset[str], environment: Mapping[str, str]) -> None:
    """Remove records from BuildKit's cache, and nothing else."""
    for name in sorted(records):
        argv = [*buildx, "prune", "--all", "--force", "--filter", f"id={name}"]
        process.run(argv, env=environment, timeout=60.0, check=False)


def survived(progress: Progress) -> tuple[Step, ...]:
    """Steps about caches that failed, which BuildKit does not fail a build for."""
    return tuple(step for step in progress.steps.values() if step.failed and _CACHE_STEP.match(step.name))


def define(plan: BuildPlan, folder: Path) -> Path:
    """The Dockerfile to pass: the user's own, or a copy of the same name with an ignore file beside it."""
    if not plan.copied:
        return plan.dockerfile
    copy = folder / plan.dockerfile.name
    with writes(folder):
        os.makedirs(copy.parent, exist_ok=True)
        copy.write_bytes(plan.text())
        copy.with_name(f"{copy.name}.dockerignore").write_bytes(plan.ignore.data)
    return copy


def redactor(secrets: Sequence[str]) -> Callable[[str], str]:
    """A function that blots the given values out of a text."""

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return redact


def _digest(metadata: Path) -> str:
    try:
        document = json.loads(metadata.read_bytes())
    except (OSError, ValueError) as error:
        raise ToolError("buildx ended well but reported no digest", hint="update docker-buildx") from error
    digest = document.get("containerimage.digest") if isinstance(document, dict) else None
    if not isinstance(digest, str):
        raise ToolError("buildx ended well but reported no digest", hint="update docker-buildx")
    return digest
