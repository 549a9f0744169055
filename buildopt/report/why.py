"""Why steps missed the cache, as text for people and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.build.why import Miss, PlatformMisses
from buildopt.build.why_causes import CERTAIN, Cause, first_line, printable
from buildopt.history.records import Record


def document(record: Record, explained: Sequence[PlatformMisses]) -> str:
    """The explanation as JSON."""
    rows = [
        {
            "platform": entry.platform,
            "steps": entry.total,
            "cached": entry.cached,
            "seconds": entry.seconds,
            "misses": [_miss(miss) for miss in entry.misses],
        }
        for entry in explained
    ]
    head = {"version": 1, "record": record.id, "started": record.started, "ok": record.ok, "seconds": record.seconds}
    return json.dumps({**head, "dockerfile": record.dockerfile, "platforms": rows}) + "\n"


def _miss(miss: Miss) -> dict[str, object]:
    step = miss.step
    return {
        "stage": step.stage,
        "number": step.number,
        "line": step.line or None,
        "instruction": step.text,
        "causes": [
            {"kind": entry.kind, "text": entry.text, "certainty": entry.certainty, "detail": list(entry.detail)}
            for entry in miss.causes
        ],
        "steps": miss.steps,
        "seconds": miss.seconds,
        "compared": miss.compared or None,
    }


def text(record: Record, explained: Sequence[PlatformMisses], folder: Path, *, verbose: bool = False) -> str:
    """The explanation for people; platforms of which the same is to be said share a paragraph."""
    dockerfile = printable(_relative(record.dockerfile, folder))
    ended = "" if record.ok else f", failed: {first_line(record.error)}"
    lines = [f"{record.id}  {dockerfile}, {record.seconds:.1f} s, {_share(record.cached, len(record.steps))}{ended}"]
    groups: dict[object, list[PlatformMisses]] = {}
    for entry in explained:
        same = tuple((miss.step.line, miss.step.text, miss.causes) for miss in entry.misses)
        groups.setdefault(same, []).append(entry)
    for group in groups.values():
        lines += ["", *_group(group, dockerfile, verbose)]
    return "\n".join(lines) + "\n"


def _relative(path: str, folder: Path) -> str:
    shown = os.path.relpath(folder / path, folder)
    return path if shown.startswith("../../..") else shown


def _share(cached: int, total: int) -> str:
    return f"{cached} of {total} steps cached"


def _group(group: Sequence[PlatformMisses], dockerfile: str, verbose: bool) -> Iterator[str]:
    names = ", ".join(entry.platform for entry in group) or "all platforms"
    if not group[0].misses:
        everything = all(entry.cached == entry.total for entry in group)
        yield f"{names}: " + ("everything was cached" if everything and group[0].total else "no step ran")
        return
    shares = [_share(entry.cached, entry.total) for entry in group]
    same = f"{shares[0]} each" if len(shares) > 1 else shares[0]
    yield f"{names}: {same if len(set(shares)) == 1 else ', '.join(shares)}"
    for place, miss in enumerate(group[0].misses):
        where = f"{dockerfile}:{miss.step.line}" if miss.step.line else f"step {miss.step.number}"
        yield f"  {where}  {printable(first_line(miss.step.text))}"
        for cause in miss.causes:
            yield from _cause(cause)
        costs = [entry.misses[place] for entry in group]
        yield f"    cost: {_cost(costs)}"
        if verbose and miss.compared:
            yield f"    compared with {miss.compared}"


def _cause(cause: Cause) -> Iterator[str]:
    doubt = "" if cause.certainty == CERTAIN else f" ({cause.certainty})"
    yield f"    {printable(cause.text)}{doubt}"
    for line in cause.detail:
        yield f"      {printable(line)}"


def _cost(misses: Sequence[Miss]) -> str:
    steps = misses[0].steps
    seconds = " and ".join(f"{miss.seconds:.1f} s" for miss in misses)
    if steps == 1:
        return f"{seconds}, this step alone"
    after = f"{steps - 1} step{'s' if steps > 2 else ''}"
    return f"{seconds}, this step and {after} after it"
