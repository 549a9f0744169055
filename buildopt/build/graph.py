"""The steps of a build as BuildKit ran them: which is made from which, for which platform, from which base image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from buildopt.build.progress import Step

_PLATFORMS = re.compile(r"\[(?P<own>[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?)(?:->(?P<target>\S+))? ")
_BASE = re.compile(r"(?:^|\] )FROM (?P<name>\S+?)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$")


@dataclass(frozen=True, slots=True)
class Node:
    """An instruction's step. ``needs`` are positions of nodes before this one, ``bases`` images with their digests that
    it begins with or copies from, ``platforms`` those that it is a part of."""

    step: Step
    needs: tuple[int, ...]
    bases: tuple[str, ...]
    platforms: tuple[str, ...]


def nodes(steps: Sequence[Step], platforms: Sequence[str]) -> list[Node]:
    """All instructions, each behind those that it is made from. ``platforms`` are the names that the build was for."""
    graph = {step.id: step for step in steps}
    order = _own([graph[name] for name in _ordered(graph) if graph[name].counts], graph, max(1, len(platforms)))
    position = {step.id: number for number, step in enumerate(order)}
    needs, bases = [], []
    for number, step in enumerate(order):
        made_from, images = _direct(step, graph)
        needs.append(tuple(sorted(position[name] for name in made_from if position[name] < number)))
        bases.append(tuple(sorted(images)))
    owned = _platforms(order, needs, graph, platforms)
    return [Node(*row) for row in zip(order, needs, bases, owned, strict=True)]


def base_digests(steps: Sequence[Step]) -> dict[str, str]:
    """The digests of all images that a build began with, by name."""
    found = (_BASE.search(step.name) for step in steps)
    return {match["name"]: match["digest"] for match in found if match and match["digest"]}


def _ordered(graph: Mapping[str, Step]) -> list[str]:
    """Ids, each behind its inputs, otherwise by stage and number. Cycles (there are none) are cut."""
    done: dict[str, None] = {}
    started: set[str] = set()
    for name in sorted(graph, key=lambda entry: (graph[entry].stage, graph[entry].number, graph[entry].name)):
        waiting = [name]
        while waiting:
            top = waiting[-1]
            if top in done or (top in started and waiting.count(top) > 1):
                waiting.pop()
                continue
            missing = [entry for entry in graph[top].inputs if entry in graph and entry not in done]
            if top in started or not missing:
                done[waiting.pop()] = None
            else:
                started.add(top)
                waiting += reversed([entry for entry in missing if entry not in started])
    return list(done)


def _own(order: Sequence[Step], graph: Mapping[str, Step], images: int) -> list[Step]:
    """The steps that lead to as many ``images``: BuildKit also tells of those of another build that runs just now, as
    far as both have steps in common, and a build that was tried again has those of the first attempt too."""
    direct = {step.id: _direct(step, graph)[0] for step in order}
    used = set().union(*direct.values()) if direct else set()
    ends = [step.id for step in order if step.id not in used]
    if len(ends) <= images:
        return list(order)
    reached = {name: _reached(name, direct) for name in ends}
    latest = {name: max(graph[step].started or 0.0 for step in reached[name]) for name in ends}
    ends.sort(key=lambda name: (-len(reached[name]), -latest[name]))
    kept = set().union(*(reached[name] for name in ends[:images]))
    return [step for step in order if step.id in kept]


def _reached(name: str, direct: Mapping[str, set[str]]) -> set[str]:
    found, waiting = {name}, [name]
    while waiting:
        new = direct[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _direct(step: Step, graph: Mapping[str, Step]) -> tuple[set[str], set[str]]:
    """The instructions that a step is made from, BuildKit's own steps between them left out, and base images."""
    found: set[str] = set()
    images: set[str] = set()
    waiting, seen = list(step.inputs), set[str]()
    while waiting:
        name = waiting.pop()
        other = graph.get(name)
        if other is None or name in seen:
            continue
        seen.add(name)
        match = _BASE.search(other.name)
        if match is not None:
            images.add(f"{match['name']}@{match['digest']}" if match["digest"] else match["name"])
        if other.counts:
            found.add(name)
        else:
            waiting += other.inputs
    return found, images


def _platforms(
    order: Sequence[Step], needs: Sequence[tuple[int, ...]], graph: Mapping[str, Step], platforms: Sequence[str]
) -> list[tuple[str, ...]]:
    """For each step the platforms whose image it is a part of."""
    if len(platforms) < 2:
        return [tuple(platforms)] * len(order)
    used = {need for row in needs for need in row}
    ends = [number for number in range(len(order)) if number not in used]
    owned: list[set[str]] = [set() for _ in order]
    hints = {number: _hint(order[number], graph, platforms) for number in ends}
    rest = [name for name in platforms if name not in hints.values()]
    for number in ends:
        mine = {hints[number]} if hints[number] else set(platforms)
        if len(ends) == 1:
            mine = set(platforms)  # one step for all: nothing in it tells them apart
        owned[number] |= mine - {""}
    if len(ends) == len(platforms) and rest:
        # Two ends that seem to be of one platform: the one that was built elsewhere is the other's.
        claimed: set[str] = set()
        for number in ends:
            if hints[number] in claimed and rest:
                owned[number] = {rest.pop(0)}
            claimed.add(hints[number])
    for number in range(len(order) - 1, -1, -1):
        for need in needs[number]:
            owned[need] |= owned[number]
    return [tuple(name for name in platforms if name in row) for row in owned]


def _hint(step: Step, graph: Mapping[str, Step], platforms: Sequence[str]) -> str:
    """The platform that a step's name, or that of the nearest one that it is made from, speaks of."""
    waiting, seen = [step.id], {step.id}
    while waiting:
        name = waiting.pop(0)
        match = _PLATFORMS.match(graph[name].name)
        if match is not None:
            found = _named(match, platforms)
            if found:
                return found
        for entry in graph[name].inputs:
            if entry in graph and entry not in seen:
                seen.add(entry)
                waiting.append(entry)
    return ""


def _named(match: re.Match[str], platforms: Sequence[str]) -> str:
    own, target = match["own"], match["target"]
    if target is None:
        return own if own in platforms else ""
    # "->arm64" is of the same system, "->windows/amd64" of another one.
    system = own.partition("/")[0]
    return next((name for name in (f"{system}/{target}", target) if name in platforms), "")
