"""All passes over one file: text in, text and reasons out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes import PASSES
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.passes.result import Change, Refusal
from buildopt.dockerfile.passes.state import base_reference
from buildopt.source import Edit, Source, apply_edits

_TEMPLATE = re.compile(r"\{%|%\}|<%|\{\{(?!\s*\.)|@[A-Z][A-Z0-9_]+@|^[ \t]*\{\{", re.MULTILINE)
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::([^@]*))?(?:@.*)?")


@dataclass(frozen=True, slots=True)
class Optimized:
    """A file after all passes. ``broken``: it has errors, so that nothing was tried."""

    source: Source
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    broken: bool = False


def optimize(
    source: Source,
    context: Path | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> Optimized:
    """Run the passes over a file, reading it anew between them. Line numbers are those of the file as it came.

    ``context`` is the build context, None where there is none: what cannot be shown without it is refused. What comes
    out parses; where it does not, nothing is changed and a refusal says so.
    """
    dockerfile = parse(source)
    reason = _template(source)
    if dockerfile.errors:
        problem = dockerfile.errors[0]
        line = source.position(problem.span.start)[0]
        return Optimized(source, refusals=(reason or Refusal("parse", line, problem.message),), broken=True)
    reason = reason or left_alone(dockerfile)
    if reason is not None:
        return Optimized(source, refusals=(reason,))
    changes: list[Change] = []
    refusals: list[Refusal] = []
    current = dockerfile
    made: list[Sequence[Edit]] = []
    for rewriter in PASSES:
        name = rewriter.NAME
        if (only and name not in only) or name in skip:
            continue
        result = rewriter.rewrite(current, context)

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
    return Optimized(current.source, tuple(changes), tuple(refusals))


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


def _template(source: Source) -> Refusal | None:
    """Whether the text is a template, whose result nobody knows here. Quoted braces belong to the programs that run."""
    template = _TEMPLATE.search(_QUOTED.sub(lambda match: " " * len(match.group()), source.text))
    if template is None:
        return None
    return Refusal("file", source.position(template.start())[0], "this is a template: what it becomes is not known")


def left_alone(dockerfile: Dockerfile) -> Refusal | None:
    """Why a whole file is no business of any pass; None where it is."""
    template = _template(dockerfile.source)
    if template is not None:
        return template
    syntax = dockerfile.directive("syntax")
    if syntax is not None:
        line = dockerfile.source.position(syntax.span.start)[0]
        match = _FRONTEND.fullmatch(syntax.value.strip())
        if match is None:
            return Refusal("file", line, f"what the frontend {syntax.value} understands is not known")
        version = re.match(r"1\.([0-9]+)", match.group(1) or "1")
        if version is not None and int(version.group(1)) < 2:
            return Refusal("file", line, f"the frontend {syntax.value} has no RUN --mount: use docker/dockerfile:1")
    for stage in dockerfile.stages:
        platform = stage.platform.value if stage.platform is not None and stage.platform.value else ""
        if image(base_reference(dockerfile, stage)).windows or platform.startswith("windows"):
            return Refusal("file", stage.origin.lines[0], "Windows images have no cache mounts")
    return None
