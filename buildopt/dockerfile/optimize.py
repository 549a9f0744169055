"""All passes over one file: text in, text and reasons out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes import (
    cache_mounts,
    cargo_target,
    cross_compile,
    dockerignore,
    order_layers,
    slim_runtime,
    split_stages,
)
from buildopt.dockerfile.passes.result import Change, Pass, Refusal, SecondFile
from buildopt.dockerfile.passes.strangers import left_alone, template
from buildopt.source import Edit, Source, apply_edits

# In this order: what builds and what runs is apart before it is decided where either runs, and what it keeps; commands
# stand where they will stay before they get their mounts.
PASSES: tuple[Pass, ...] = (
    order_layers,
    split_stages,
    cross_compile,
    slim_runtime,
    cache_mounts,
    cargo_target,
    dockerignore,
)


@dataclass(frozen=True, slots=True)
class Optimized:
    """A file after all passes. ``broken``: it has errors, so nothing was tried. ``files``: what changes beside it."""

    source: Source
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    files: tuple[SecondFile, ...] = ()
    broken: bool = False


def optimize(
    source: Source,
    context: Path | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    also: Collection[str] = (),
) -> Optimized:
    """Run the passes over a file, reading it anew between them. Line numbers are those of the file as it came.

    ``context`` is the build context, None where there is none: what cannot be shown without it is refused. Passes that
    are opt-in run only where ``only`` or ``also`` names them. What comes out parses; where it does not, nothing is
    changed and a refusal says so.
    """
    dockerfile = parse(source)
    reason = template(source)
    if dockerfile.errors:
        problem = dockerfile.errors[0]
        line = source.position(problem.span.start)[0]
        return Optimized(source, refusals=(reason or Refusal("parse", line, problem.message),), broken=True)
    reason = reason or left_alone(dockerfile)
    if reason is not None:
        return Optimized(source, refusals=(reason,))
    changes: list[Change] = []
    refusals: list[Refusal] = []
    files: list[SecondFile] = []
    current = dockerfile
    made: list[Sequence[Edit]] = []
    chosen = _chosen(only, skip, also)
    pending = list(chosen)
    while pending:
        rewriter = pending.pop(0)
        name = rewriter.NAME
        result = rewriter.rewrite(current, context)
        files += result.files

        def line_before(line: int, now: Source = current.source) -> int:
            """The line, as the file came, of a line of the file as it is now."""
            offset = now.line_start(line)
            for edits in reversed(made):
                offset = _offset_before(offset, edits)
            return source.position(offset)[0]

        refusals += (replace(refusal, line=line_before(refusal.line)) for refusal in result.refused)
        if not result.applied:
            continue
        edits = sorted((edit for change in result.applied for edit in change.edits), key=lambda edit: edit.span)
        text = apply_edits(current.source.text, edits)
        rewritten = parse(current.source.replace(text))
        if rewritten.errors:
            line = result.applied[0].lines[0]
            refusals.append(Refusal(name, line, "the rewrite would not parse, so it was not made: please report this"))
            continue
        for change in result.applied:
            first, last = change.lines
            changes.append(replace(change, lines=(line_before(first), line_before(last))))
        made.append(edits)
        current = rewritten
        if rewriter is split_stages and order_layers in chosen:
            # What the layers of an image must not hold, those of a build stage may: a second look.
            refusals = [refusal for refusal in refusals if refusal.name != order_layers.NAME]
            pending.insert(0, order_layers)
    return Optimized(current.source, tuple(changes), tuple(refusals), tuple(files))


def _chosen(only: Collection[str], skip: Collection[str], also: Collection[str]) -> list[Pass]:
    wanted = {*only, *also}
    return [
        item
        for item in PASSES
        if (not only or item.NAME in only) and item.NAME not in skip and (not item.OPT_IN or item.NAME in wanted)
    ]


def _offset_before(offset: int, edits: Sequence[Edit]) -> int:
    """Where a character of the edited text stood before the (sorted) edits; for inserted text, where it was put."""
    grown = 0
    for edit in edits:
        start = edit.span.start + grown
        if offset < start:
            break
        if offset < start + len(edit.text):
            return edit.span.start
        grown += len(edit.text) - (edit.span.end - edit.span.start)
    return offset - grown
