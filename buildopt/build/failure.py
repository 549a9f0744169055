"""Says in a line why a build failed: which image, which instruction, which disk."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from buildopt.build.artifact import Staging, disk_full
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Progress, Step
from buildopt.errors import EngineError, ToolError

DETAIL_LINES = 15
"""How many of the last lines of a failed step an error shows."""
NEARLY_FULL = 64 << 20
"""A disk with less room than this (bytes) is taken to be the full one."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is known of a failed build. ``reason`` is buildx's verdict without its preamble; ``instruction`` is the one
    that BuildKit points at, ``where`` its place in the user's Dockerfile (a line as far as it is known)."""

    plan: BuildPlan
    staging: Staging
    reason: str
    step: Step | None
    where: str
    instruction: str
    logs: tuple[str, ...]


def failure(plan: BuildPlan, progress: Progress, status: int, staging: Staging) -> ToolError:
    """The error for a failed build, from what buildx said and which step failed."""
    # The last ERROR line is the verdict; other errors above it were survived.
    reason = next((text for text in reversed(progress.messages) if text.startswith("ERROR:")), "")
    reason = re.sub(r"^ERROR: (failed to build: )?(failed to solve: )?(rpc error: code = \w+ desc = )?", "", reason)
    step = next((step for step in progress.steps.values() if step.failed), None)
    where, instruction = _excerpt(plan, progress)
    logs = tuple(progress.logs.get(step.id, ())) if step else ()
    found = _Failure(plan, staging, reason, step, where, instruction, logs[-DETAIL_LINES:])
    for explain in (_no_space, _no_engine, _base_image, _syntax, _failed_step):
        error = explain(found)
        if error is not None:
            return error
    lines = [text for text in progress.messages if not text.startswith("ERROR:")] if not instruction else []
    text = reason or (step.error if step else "") or f"buildx ended with exit status {status}"
    text = f"{where}: {text}" if instruction else f"the build failed: {text}"
    return ToolError(text, hint="see it all with --progress plain", detail=lines[-DETAIL_LINES:])


def _excerpt(plan: BuildPlan, progress: Progress) -> tuple[str, str]:
    """Place and text of the instruction that BuildKit shows: ``Dockerfile:7``, a rule, lines marked ``>>>``."""
    messages = list(progress.messages)
    for number, text in enumerate(messages[:-1]):
        match = re.fullmatch(rf"{re.escape(plan.dockerfile.name)}:(\d+)", text.strip())
        if match and messages[number + 1].startswith("-----"):
            marked = (re.match(r" *\d+ \| >>> ?(.*)", line) for line in messages[number + 2 :])
            return f"{plan.shown}:{match[1]}", "\n".join(line[1] for line in marked if line)
    return plan.shown, ""


def _no_space(found: _Failure) -> ToolError | None:
    text = f"{found.reason} {found.step.error if found.step else ''} {' '.join(found.logs)}".lower()
    if "no space left on device" not in text and "disk quota exceeded" not in text:
        return None
    try:
        status = os.statvfs(found.staging.live)
        full = status.f_bavail * status.f_frsize < NEARLY_FULL
    except OSError:
        full = False
    if full or str(found.staging.folder) in text:
        return disk_full(found.plan.output.path if found.plan.output.layout else found.staging.live)
    return ToolError(
        f"no space left on the engine's disk ({found.where})",
        hint="free some: docker buildx prune, or buildopt engine prune",
        detail=found.logs,
    )


def _no_engine(found: _Failure) -> ToolError | None:
    hint = "turn on its containerd image store, or use: buildopt engine up"
    if "OCI exporter is not supported" in found.reason:
        return EngineError("this engine cannot export OCI images", hint=hint)
    if re.search(
        r"[Mm]ulti-?platform build is not supported|multiple platforms feature is currently not", found.reason
    ):
        return EngineError("this engine cannot build several platforms at once", hint=hint)
    if re.search(
        r"Cannot connect to the Docker daemon|error during connect|failed to connect to the docker", found.reason
    ):
        return EngineError(f"no container engine: {found.reason}", hint="start Docker, or use: buildopt engine up")
    if re.search(
        r"error reading from server|transport is closing|failed to receive status: .*code = Unavailable", found.reason
    ):
        return EngineError("the engine went away during the build", hint="see its log, then run the build again")
    match = re.match(r'unknown cache exporter: "(\w+)"', found.reason)
    if match:
        return EngineError(
            f"this engine cannot write a cache of kind {match[1]}",
            hint="name a builder that can with --builder, made by: docker buildx create --driver docker-container",
        )
    match = re.match(r"no builder (\S+) found", found.reason)
    if match:
        return EngineError(f"there is no builder named {match[1]}", hint="see: docker buildx ls")
    return None


_METADATA = re.compile(
    r"(?:(?P<image>\S+): )?failed to resolve source metadata for (?P<full>\S+): (?P<why>.*)", re.DOTALL
)
_LOADING = re.compile(r"\[internal\] load metadata for (?P<image>\S+)")
_GONE = re.compile(r"(?:failed to load cache key: )?(?P<image>[^\s\"]+): (?P<why>not found)")
_UNREACHABLE = re.compile(r"no such host|connection refused|timeout|deadline exceeded|unreachable|dial tcp|x509|EOF$")
_REFUSED = re.compile(r"unauthorized|denied|authoriz|insufficient_scope|\b40[13]\b", re.IGNORECASE)


def _base_image(found: _Failure) -> ToolError | None:
    match = _METADATA.match(found.reason) or _GONE.fullmatch(found.reason)
    loading = _LOADING.fullmatch(found.step.text) if found.step is not None else None
    if match is not None:
        image, why = match["image"] or match["full"], match["why"]
        kind = "base image" if match["image"] else "Dockerfile frontend"
    elif loading is not None:  # BuildKit's verdict is cut in its middle at times
        image, why, kind = loading["image"], found.reason, "base image"
    else:
        return None
    if kind == "base image" and found.instruction and not found.instruction.upper().startswith("FROM"):
        kind = "image"
    if "no match for platform" in why:
        return ToolError(
            f"{found.where}: {kind} {image} has no variant for {', '.join(found.plan.platforms) or 'this platform'}",
            hint="choose another image, or fewer --platforms",
            detail=[why],
        )
    hint = "check its name and tag" if kind != "image" else f"check its name and tag, or is a stage {image} missing?"
    if _UNREACHABLE.search(why):
        problem = "its registry cannot be reached"
        hint = f"{hint}; check the network and the registry's mirrors"
    elif _REFUSED.search(why):
        problem, hint = "or its registry refuses it", f"{hint}; log in: docker login"
    else:
        problem = "its registry does not have it"
    return ToolError(f"{found.where}: {kind} {image} not found ({problem})", hint=hint, detail=[why])


def _syntax(found: _Failure) -> ToolError | None:
    shown = found.plan.shown
    match = re.match(r"dockerfile parse error(?: on line (\d+))?: (.*)", found.reason, re.DOTALL)
    if match:
        place = f"{shown}:{match[1]}" if match[1] else found.where
        return ToolError(f"{place}: {match[2]}", hint=f"see: buildopt lint {shown}")
    match = re.match(r"target stage \"?([^\"]+)\"? could not be found", found.reason)
    return ToolError(f"{shown} has no stage {match[1]}", hint="check --target") if match else None


def _failed_step(found: _Failure) -> ToolError | None:
    """The error for an instruction that failed: which, where, how, and the last lines that it wrote."""
    step = found.step
    if step is None or not step.number:
        return None
    code = re.search(r"did not complete successfully: (.*)$", step.error, re.DOTALL)
    problem = (code[1] if code else step.error).strip()
    hint = "the last lines that it wrote are above" if found.logs else ""
    platform = step.platform or (found.plan.platforms[0] if len(found.plan.platforms) == 1 else "")
    missing = re.search(r'"([^"]+)": not found', step.error)
    origin = re.search(r"--from=(\S+)", step.text)
    if any("exec format error" in text for text in (step.error, *found.logs)):
        hint = f"this engine cannot run {platform or 'that platform'}: buildopt engine up sets emulation up"
    elif missing and origin:
        problem, hint = f"{missing[1]} is not in {origin[1]}", "check the path and what that stage makes"
    elif missing:
        problem = f"{missing[1]} is not in the build context"
        hint = "check the path, the context and .dockerignore"
    instruction = " ".join(step.text.split())
    instruction = instruction if len(instruction) <= 100 else f"{instruction[:99]}…"
    on = f" on {platform}" if platform else ""
    return ToolError(f"{found.where}: {instruction} failed{on}: {problem}", hint=hint, detail=found.logs)
