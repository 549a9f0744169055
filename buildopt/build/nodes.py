"""One image from several machines: each node of a builder builds the platforms that are its own, and what they make is
put together here. BuildKit itself exports no OCI image from several nodes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from buildopt import process
from buildopt.build import artifact, buildx, local_cache, merge
from buildopt.build.artifact import Staging
from buildopt.build.buildx import Built, View
from buildopt.build.cache import Cache
from buildopt.build.gha import Scopes
from buildopt.build.ignore import Ignore
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Event, Log, Step, Transfer
from buildopt.errors import ToolError
from buildopt.oci.reference import Reference

_PATIENCE = 3.0  # seconds until a part that was interrupted is interrupted again


class Node(Protocol):
    """One machine: what it can build, and of that what it was chosen for."""

    @property
    def platforms(self) -> tuple[str, ...]: ...

    @property
    def chosen(self) -> tuple[str, ...]: ...


def groups(platforms: Sequence[str], nodes: Sequence[Node]) -> tuple[tuple[str, ...], ...]:
    """Which platforms are built together, as buildx hands them out: to the node chosen for one, else to the first that
    can build it. What none can build goes to the first node, which says so."""
    found: dict[int, list[str]] = {}
    for platform in platforms:
        chosen = (number for number, node in enumerate(nodes) if platform in node.chosen)
        able = (number for number, node in enumerate(nodes) if platform in node.platforms)
        found.setdefault(next(chosen, next(able, 0)), []).append(platform)
    return tuple(map(tuple, found.values()))


def parts_of(plan: BuildPlan, nodes: Sequence[Node]) -> tuple[BuildPlan, ...]:
    """What each node is told; the plan itself where that is one."""
    parts = groups(plan.platforms, nodes)
    if len(parts) < 2:
        return (plan,)
    return tuple(
        dataclasses.replace(plan, platforms=part, caches=tuple(_own(entry, part) for entry in plan.caches))
        for part in parts
    )


def _own(entry: Cache, platforms: Sequence[str]) -> Cache:
    """A node's own part of a cache: of several that write to one place, all but the last would be lost."""
    name = "-".join(platform.removeprefix("linux/").replace("/", "-") for platform in platforms)
    if entry.folder is not None:
        return dataclasses.replace(entry, folder=entry.folder / name)
    if entry.scopes is not None:
        reads, writes = entry.scopes.reads, entry.scopes.writes
        scopes = Scopes(tuple(f"{scope}.{name}" for scope in reads), f"{writes}.{name}" if writes else "")
        return dataclasses.replace(entry, scopes=scopes)
    fields = dict(field.split("=", 1) for field in entry.fields)
    if "ref" in fields:
        fields["ref"] += f"-{name}" if Reference.parse(fields["ref"]).tag else f":{name}"
    elif entry.kind == "s3":
        fields["name"] = f"{fields.get('name', 'buildkit')}-{name}"
    elif "scope" in fields:
        fields["scope"] += f".{name}"
    return dataclasses.replace(entry, fields=tuple(f"{key}={value}" for key, value in fields.items()))


def build(
    plan: BuildPlan,
    command: Sequence[str],
    staging: Staging,
    view: View,
    *,
    environment: Mapping[str, str],
    contents: Path | None = None,
    nodes: Sequence[Node] = (),
) -> Built:
    """Run the build, on each of ``nodes`` its part, all at the same time.

    The other arguments and the errors are those of ``buildx.build``. Where one part fails, the others are ended.
    """
    if len(parts_of(plan, nodes)) < 2:
        return buildx.build(plan, command, staging, view, environment=environment, contents=contents)
    # Every part reads the same copy of the Dockerfile.
    dockerfile = buildx.define(plan, staging.definition)
    plan = dataclasses.replace(plan, dockerfile=dockerfile, ignore=Ignore(), rewritten=None)
    parts = parts_of(plan, nodes)
    places = [dataclasses.replace(staging, folder=staging.folder / f"node-{number}") for number in range(len(parts))]
    shared = _Shared(view)

    def one(number: int) -> Built:
        place = places[number]
        with artifact.writes(staging.live):
            shutil.rmtree(place.folder, ignore_errors=True)  # of a build before this one into the same staging
            os.makedirs(place.layout / "blobs")
            artifact.link_all(staging.layout, place.layout)
        part = parts[number]
        watched = _Part(shared, number, part.platforms[0] if len(part.platforms) == 1 else "")
        try:
            return buildx.build(part, command, place, watched, environment=environment)
        except ToolError as error:
            raise _on_node(part, error) from error

    with ThreadPoolExecutor(len(parts)) as pool:
        running = [pool.submit(one, number) for number in range(len(parts))]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
            failed = next((future for future in running if future.done() and future.exception() is not None), None)
        finally:  # an interrupt comes this way too
            _end(running)
    if failed is not None:
        failed.result()
    built = [future.result() for future in running]
    for folder in (entry.folder for part in parts for entry in part.caches):
        if folder is not None:
            local_cache.prune(folder)
    merged = merge.combine([merge.read(place.layout, deep=False) for place in places], plan.options.names)
    merge.write(merged, staging)
    return Built(
        str(merged.digest),
        tuple(step for one in built for step in one.steps),
        tuple(step for one in built for step in one.without),
    )


def _on_node(part: BuildPlan, error: ToolError) -> ToolError:
    """An error that names no instruction may be about the machine: then it says which."""
    if not error.message.startswith("the build failed: "):
        return error
    reason = error.message.removeprefix("the build failed: ")
    message = f"the node for {', '.join(part.platforms)} does not build: {reason}"
    return type(error)(message, hint="see whether it runs: docker buildx inspect NAME", detail=error.detail)


def _end(running: Sequence[Future[Built]]) -> None:
    """Have those parts ended that still run: another one failed, or the whole was interrupted."""
    while not all(future.done() for future in running):
        process.interrupt_streams()  # more than once: one may only just be starting
        wait(running, timeout=_PATIENCE)


class _Shared:
    """One view for all parts, which are told of from several threads."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.lock = threading.Lock()


class _Part:
    """The view of one part: its steps are told apart from those of the others, and have its platform."""

    def __init__(self, shared: _Shared, number: int, platform: str) -> None:
        self.shared = shared
        self.prefix = f"{number}/"
        self.platform = platform

    def line(self, line: str) -> None:
        with self.shared.lock:
            self.shared.view.line(line)

    def event(self, event: Event) -> None:
        if isinstance(event, Step):
            event = self._own(event)
        elif isinstance(event, Log | Transfer):
            event = dataclasses.replace(event, step=self._own(event.step))
        with self.shared.lock:
            self.shared.view.event(event)

    def _own(self, step: Step) -> Step:
        platform, name = step.platform, step.name
        if self.platform and step.number and not platform:
            platform, name = self.platform, name.replace("[", f"[{self.platform} ", 1)
        inputs = tuple(f"{self.prefix}{identity}" for identity in step.inputs)
        return dataclasses.replace(step, id=f"{self.prefix}{step.id}", name=name, platform=platform, inputs=inputs)
