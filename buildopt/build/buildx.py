"""Runs one buildx build into a staging layout, and says in a line why one failed."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildopt import process
from buildopt.build.artifact import Staging, disk_full, writes
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Event, Progress, Step
from buildopt.errors import EngineError, ToolError

DETAIL_LINES = 15


class View(Protocol):
    """Somebody who watches a build."""

    def line(self, line: str) -> None:
        """A line as buildx wrote it."""

    def event(self, event: Event) -> None:
        """What that line says."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build: the digest that BuildKit reports, and its steps."""

    digest: str
    steps: tuple[Step, ...]

    @property
    def total(self) -> int:
        """How many instructions there were."""
        return len(self.steps)

    @property
    def cached(self) -> int:
        """How many of them came from the cache."""
        return sum(step.reused for step in self.steps)


def build(
    plan: BuildPlan, buildx: Sequence[str], staging: Staging, view: View, *, environment: Mapping[str, str]
) -> Built:
    """Run the build; ``view`` sees every line as it comes.

    ``buildx`` is the command in front of ``build``. Raises ToolError where the build failed, EngineError where the
    engine is the reason. Ctrl-C ends buildx, which ends the build in the engine.
    """
    metadata = staging.folder / "metadata.json"
    dockerfile = define(plan, staging.folder)
    argv = [*buildx, *plan.arguments(staging.layout, metadata, dockerfile)]
    # The digest is all that is wanted from the metadata file; asking the engine for the provenance again costs time.
    variables = {**environment, "BUILDX_METADATA_PROVENANCE": "disabled"}
    progress = Progress(redactor(plan.secret_values(environment)))
    with process.stream(argv, env=variables) as running:
        assert running.stderr is not None
        for line in running.stderr:
            view.line(line)
            for event in progress.feed(line):
                view.event(event)
    if running.returncode != 0:
        raise failure(plan, progress, running.returncode, staging)
    return Built(_digest(metadata), tuple(progress.counted))


def define(plan: BuildPlan, folder: Path) -> Path:
    """The Dockerfile to pass: the user's own, or a copy of the same name with an ignore file beside it."""
    if not plan.ignore.hidden:
        return plan.dockerfile
    copy = folder / "definition" / plan.dockerfile.name
    with writes(folder):
        os.makedirs(copy.parent, exist_ok=True)
        copy.write_bytes(plan.dockerfile.read_bytes())
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


# --- why a build failed ---------------------------------------------------------------------------------------------


def failure(plan: BuildPlan, progress: Progress, status: int, staging: Staging) -> ToolError:
    """The error for a failed build, from what buildx said and which step failed."""
    # The last ERROR line is the verdict; other errors above it were survived.
    reason = next((text for text in reversed(progress.messages) if text.startswith("ERROR:")), "")
    reason = re.sub(r"^ERROR: (failed to build: )?(failed to solve: )?(rpc error: code = \w+ desc = )?", "", reason)
    step = next((step for step in progress.steps.values() if step.failed), None)
    where = _place(plan, progress)
    for explain in (_no_space, _no_engine, _base_image, _syntax):
        error = explain(plan, reason, step, where, staging)
        if error is not None:
            return error
    if step is not None and step.number:
        return _failed_step(plan, progress, step, where)
    lines = [text for text in progress.messages if not text.startswith("ERROR:")][-DETAIL_LINES:]
    text = reason or (step.error if step else "") or f"buildx ended with exit status {status}"
    return ToolError(f"the build failed: {text}", hint="see it all with --progress plain", detail=lines)


def _place(plan: BuildPlan, progress: Progress) -> str:
    """The user's Dockerfile and the line, where BuildKit showed one (``Dockerfile:7`` above a ruled excerpt)."""
    name = re.escape(plan.dockerfile.name)
    messages = list(progress.messages)
    for text, rule in itertools.pairwise(messages):
        match = re.fullmatch(rf"{name}:(\d+)", text.strip())
        if match and rule.startswith("-----"):
            return f"{plan.shown}:{match[1]}"
    return plan.shown


def _no_space(plan: BuildPlan, reason: str, step: Step | None, where: str, staging: Staging) -> ToolError | None:
    text = f"{reason} {step.error if step else ''}"
    if "no space left on device" not in text.lower() and "disk quota exceeded" not in text.lower():
        return None
    try:
        status = os.statvfs(staging.live)
        full = status.f_bavail * status.f_frsize < 64 << 20
    except OSError:
        full = False
    if full or str(staging.folder) in text:
        return disk_full(plan.output.path if plan.output.layout else staging.live)
    return ToolError(
        f"no space left on the engine's disk ({where})", hint="free some: docker buildx prune, or buildopt engine prune"
    )


def _no_engine(plan: BuildPlan, reason: str, step: Step | None, where: str, staging: Staging) -> ToolError | None:
    if re.search(r"OCI exporter is not supported", reason):
        return EngineError(
            "this engine cannot export OCI images",
            hint="turn on its containerd image store, or use: buildopt engine up",
        )
    if re.search(r"Multi-platform build is not supported|multiple platforms feature is currently not supp", reason):
        return EngineError(
            "this engine cannot build several platforms at once",
            hint="turn on its containerd image store, or use: buildopt engine up",
        )
    if re.search(r"Cannot connect to the Docker daemon|error during connect|failed to connect to the docker", reason):
        return EngineError(f"no container engine: {reason}", hint="start Docker, or use: buildopt engine up")
    match = re.match(r"no builder (\S+) found", reason)
    if match:
        return EngineError(f"there is no builder named {match[1]}", hint="see: docker buildx ls")
    return None


def _base_image(plan: BuildPlan, reason: str, step: Step | None, where: str, staging: Staging) -> ToolError | None:
    match = re.match(r"(?P<image>\S+): failed to resolve source metadata for \S+: (?P<why>.*)", reason, re.DOTALL)
    if match:
        image, why = match["image"], match["why"]
    else:
        match = re.match(
            r"failed to (?:load cache key|copy|fetch \S+).*?(?P<image>[\w.:/-]+@?[\w:.-]*): (?P<why>not found.*)",
            reason,
        )
        if match is None:
            return None
        image, why = match["image"], match["why"]
    if "no match for platform" in why or "does not provide" in why:
        return ToolError(
            f"{where}: base image {image} has no variant for {', '.join(plan.platforms) or 'this platform'}",
            hint="choose another base image, or fewer --platforms",
            detail=[why],
        )
    hint = "check its name and tag"
    if re.search(r"no such host|connection refused|i/o timeout|deadline exceeded|network is unreachable|dial tcp", why):
        problem, hint = "its registry cannot be reached", "check the network, the registry's name and its mirrors"
    elif re.search(r"unauthorized|denied|authoriz|insufficient_scope|40[13]\b", why, re.IGNORECASE):
        problem, hint = "or its registry refuses it", "check its name, or log in: docker login"
    else:
        problem = "its registry does not have it"
    return ToolError(f"{where}: base image {image} not found ({problem})", hint=hint, detail=[why])


def _syntax(plan: BuildPlan, reason: str, step: Step | None, where: str, staging: Staging) -> ToolError | None:
    match = re.match(r"(?:dockerfile parse error(?: on line (\d+))?|Dockerfile syntax error): (.*)", reason, re.DOTALL)
    if match:
        place = f"{plan.shown}:{match[1]}" if match[1] else where
        return ToolError(f"{place}: {match[2]}", hint=f"see: buildopt lint {plan.shown}")
    match = re.match(r"target stage \"?([^\"]+)\"? could not be found", reason)
    if match:
        return ToolError(f"{plan.shown} has no stage {match[1]}", hint="check --target")
    return None


def _failed_step(plan: BuildPlan, progress: Progress, step: Step, where: str) -> ToolError:
    """The error for an instruction that failed: which, where, how, and the last lines that it wrote."""
    code = re.search(r"did not complete successfully: (.*)$", step.error, re.DOTALL)
    problem = (code[1] if code else step.error).strip()
    lines = list(progress.logs.get(step.id, ()))[-DETAIL_LINES:]
    platform = step.platform or (plan.platforms[0] if len(plan.platforms) == 1 else "")
    instruction = " ".join(step.text.split())
    instruction = instruction if len(instruction) <= 100 else f"{instruction[:99]}…"
    hint = "its last lines are above; run it again with --progress plain to see all" if lines else ""
    missing = re.search(r'"([^"]+)": not found', step.error)
    if any("exec format error" in text for text in (step.error, *lines)):
        hint = f"this machine cannot run {platform or 'that platform'}: buildopt engine up sets emulation up"
    elif missing:
        problem = f"{missing[1]} is not in the build context"
        hint = "check the path, the context and .dockerignore"
    on = f" on {platform}" if platform else ""
    return ToolError(f"{where}: {instruction} failed{on}: {problem}", hint=hint, detail=lines)
