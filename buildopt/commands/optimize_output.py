"""What ``buildopt optimize`` prints: a diff, reasons, a proof; or all of it as JSON or Markdown."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output
from buildopt.source import Source, unified_diff

if TYPE_CHECKING:
    from buildopt.dockerfile.optimize import Optimized
    from buildopt.dockerfile.passes.result import SecondFile
    from buildopt.prove.proof import Proof


@dataclass(frozen=True, slots=True)
class Where:
    """What is read, and what may be written."""

    dockerfile: str
    context: Path | None
    check: bool
    write: bool
    output_path: str | None

    @property
    def folder(self) -> Path | None:
        """The build context."""
        if self.context is not None:
            return self.context
        return None if self.dockerfile == "-" else Path(self.dockerfile).parent


@dataclass(frozen=True, slots=True)
class Done:
    """A file as it was, what came of it, and whether that was proven (None: nobody asked, or nothing changed)."""

    source: Source
    result: Optimized
    proof: Proof | None = None

    @property
    def files(self) -> tuple[SecondFile, ...]:
        """Files beside it that would change."""
        return tuple(file for file in self.result.files if file.before != file.text)

    @property
    def changed(self) -> bool:
        """Whether anything would change."""
        return self.result.source.text != self.source.text or bool(self.files)

    @property
    def proven(self) -> bool:
        """Whether nothing speaks against writing it."""
        return self.proof is None or self.proof.equal


def print_rewrite(done: Done, where: Where, prove: bool, output: Output) -> None:
    """Results to stdout, reasons to stderr. ``prove``: a proof was asked for."""
    if output.json:
        output.result(_json(done, prove))
        return
    if output.format == "markdown":
        output.result(_markdown(done))
        return
    if where.output_path == "-":
        output.result((done.result.source if done.proven else done.source).text)
    elif not where.write and where.output_path is None:
        output.result(_diffs(done))
    _explain(done, where, output)
    if done.proof is not None:
        table = _table(done.proof, output, to_stderr=where.output_path == "-")
        if where.output_path == "-":
            output.message(table.rstrip("\n"))
        else:
            output.result(table)
    elif prove and not done.changed and not done.result.broken:
        output.message("nothing changes, so that there is nothing to prove and nothing was built")


def _diffs(done: Done) -> str:
    """The changes of the Dockerfile, then those of the files beside it."""
    parts = [unified_diff(done.source, done.result.source)]
    for file in done.files:
        path = os.path.relpath(file.path)
        parts.append(unified_diff(Source(path, file.before or ""), Source(path, file.text)))
    return "".join(parts)


def _table(proof: Proof, output: Output, *, to_stderr: bool) -> str:
    import shutil

    from buildopt.report.prove import proof_text

    stream = sys.stderr if to_stderr else sys.stdout
    width = shutil.get_terminal_size((120, 24)).columns if stream.isatty() else 160
    return proof_text(proof, color=output.colored(stream), width=width)


def _json(done: Done, prove: bool) -> str:
    result = done.result
    document: dict[str, object] = {
        "version": 1,
        "changed": done.changed,
        "applied": [
            {"pass": item.name, "title": item.title, "why": item.why, "lines": list(item.lines)}
            for item in result.changes
        ],
        "refused": [{"pass": item.name, "line": item.line, "reason": item.reason} for item in result.refusals],
        "files": [
            {"path": os.path.relpath(item.path), "why": item.why, "changed": item.before != item.text}
            for item in result.files
        ],
    }
    if prove:
        from buildopt.report.prove_json import proof_document

        document["proof"] = None if done.proof is None else proof_document(done.proof)
    return json.dumps(document, indent=2) + "\n"


def _markdown(done: Done) -> str:
    from buildopt.report.optimize import rewrite_markdown

    return rewrite_markdown(done.result, _diffs(done), done.proof)


def _explain(done: Done, where: Where, output: Output) -> None:
    """Say on stderr what was done and what was not, each with its reason."""
    result = done.result
    color = output.colored(sys.stderr)
    for change in result.changes:
        first, last = change.lines
        place = f"line {first}" if first == last else f"lines {first}-{last}"
        output.message(f"{_styled('changed', 'green', color)} {place}: {change.title} ({change.name}): {change.why}")
    for file in done.files:
        word = "written" if where.write and done.proven else "would be written"
        output.message(f"{_styled(word, 'green', color)} {os.path.relpath(file.path)} ({file.name}): {file.why}")
    if done.files and where.output_path is not None:
        for line in _diffs(Done(result.source, result)).splitlines():
            output.message(line)
    for refusal in result.refusals:
        word = "error" if result.broken else "left alone"
        output.message(f"{_styled(word, 'yellow', color)} line {refusal.line}: {refusal.reason} ({refusal.name})")
    if not result.changes and not result.refusals and not done.files:
        output.message("nothing to change")


def _styled(text: str, foreground: str, color: bool) -> str:
    return click.style(text, fg=foreground) if color else text
