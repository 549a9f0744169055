"""Puts together what was found out about a build's inputs and what BuildKit did: the record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from buildopt.build import graph, inputs
from buildopt.build.facts import Facts
from buildopt.build.inputs import Planned
from buildopt.build.progress import Step as Seen
from buildopt.history.records import DONE, FAILED, UNFINISHED, UNKNOWN, PlatformImage, Record, Step


@dataclass(frozen=True, slots=True)
class Run:
    """How a build went: in which working ``folder``, when it ``began`` (seconds since 1970), how many ``seconds`` it
    took, what it left."""

    id: str
    folder: Path
    builder: str
    began: float
    seconds: float
    ok: bool
    digest: str
    images: tuple[PlatformImage, ...]
    steps: tuple[Seen, ...]
    error: str


def record(run: Run, facts: Facts) -> Record:
    """The record of a build."""
    plan = facts.plan
    outside, text, syntax = facts.settings.outside, "", ""
    if facts.dockerfile is not None:
        text = outside.redact(inputs.masked_text(facts.dockerfile))
        directive = facts.dockerfile.directive("syntax")
        syntax = directive.value if directive is not None else ""
    return Record(
        id=run.id,
        started=datetime.fromtimestamp(run.began, timezone.utc).isoformat(timespec="milliseconds"),
        seconds=round(run.seconds, 3),
        ok=run.ok,
        context=_place(plan.context, run.folder),
        dockerfile=_place(plan.dockerfile, run.folder),
        builder=run.builder,
        platforms=facts.platforms,
        target=plan.options.target or "",
        digest=run.digest,
        images=run.images,
        steps=_steps(run, facts),
        arguments=outside.told_arguments(),
        bases=graph.base_digests(run.steps),
        no_cache=plan.options.no_cache,
        pull=plan.options.pull,
        ignore=hashlib.sha256(facts.base).hexdigest()[:16] if facts.base else "",
        text=text,
        syntax=syntax,
        commit=facts.commit,
        dirty=facts.dirty,
        error=run.error,
    )


def _place(path: Path, folder: Path) -> str:
    """A path from the working folder, so that history survives a move; whole where it is elsewhere."""
    return os.path.relpath(path, folder) if path == folder or folder in path.parents else str(path)


def _steps(run: Run, facts: Facts) -> tuple[Step, ...]:
    steps: list[Step] = []
    nodes = graph.nodes(run.steps, facts.platforms)
    planned = _planned(nodes, facts)
    for node in nodes:
        step = _described(node.step, planned.get(node.step.id), facts)
        parts = {**step.parts, **({"base": " ".join(node.bases)} if node.bases else {})}
        step = replace(_ended(step, node.step, run.ok), needs=node.needs, platforms=node.platforms, parts=parts)
        unknown = run.id if step.files == UNKNOWN else ""
        steps.append(replace(step, key=_key(step, [steps[need].key for need in node.needs], unknown)))
    return tuple(steps)


def _ended(step: Step, seen: Seen, ok: bool) -> Step:
    """The step with whether it was cached, how it ended, and how long it took. In a build that failed, a step that
    never began was not reached; in any other one it was not needed, or another build ended it: as good as cached."""
    cached = seen.cached or (ok and not seen.completed)
    state = FAILED if seen.failed else UNFINISHED if seen.error or not (cached or seen.completed) else DONE
    return replace(step, cached=cached, state=state, seconds=0.0 if cached else round(seen.seconds, 3))


def _described(seen: Seen, planned: Planned | None, facts: Facts) -> Step:
    """The step as the Dockerfile describes it; as BuildKit calls it where it is not found there."""
    if planned is None:
        return Step(seen.stage, seen.number, seen.text, parts={"instruction": seen.text}, matched=False)
    files = facts.selected.get(planned.reads, UNKNOWN) if planned.reads else ""
    return Step(
        stage=seen.stage,
        number=seen.number,
        text=planned.text,
        line=planned.line,
        parts=planned.parts,
        files=files,
        variables=planned.variables,
    )


def _planned(nodes: Sequence[graph.Node], facts: Facts) -> dict[str, Planned]:
    """For each step's id the instruction that it is.

    A stage's steps are paired from its end: before the instructions of the Dockerfile there may be those of the base
    image (ONBUILD), and steps that begin two stages alike are one step with one of the names.
    """
    paired: dict[str, Planned] = {}
    for platform, found in facts.found.items():
        mine = [node.step for node in nodes if platform in node.platforms]
        for stage in {step.stage for step in mine}:
            planned = [entry for entry in found.steps if entry.stage == stage]
            numbers = sorted({step.number for step in mine if step.stage == stage}, reverse=True)
            by_number = dict(zip(numbers, reversed(planned), strict=False))
            for step in mine:
                instruction = by_number.get(step.number) if step.stage == stage else None
                if instruction is not None and step.text.partition(" ")[0].upper() == instruction.keyword:
                    paired.setdefault(step.id, instruction)
    return paired


def _key(step: Step, needs: Sequence[str], unknown: str) -> str:
    seen = {entry.name: entry.value for entry in step.variables} if step.text[:3].upper() == "RUN" else {}
    document = json.dumps(
        [sorted(step.parts.items()), sorted(seen.items()), step.files + unknown, step.platforms[:1], needs]
    )
    return hashlib.sha256(document.encode()).hexdigest()[:32]
