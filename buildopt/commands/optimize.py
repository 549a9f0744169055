"""``buildopt optimize``: the structural rewrite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt import errors
from buildopt.commands.common import Output, output_options
from buildopt.errors import UsageError
from buildopt.source import Source, unified_diff, write_atomic

if TYPE_CHECKING:
    from buildopt.dockerfile.optimize import Optimized


@click.command(
    epilog="""\b
Examples:
  buildopt optimize                      what would change in ./Dockerfile, and why
  buildopt optimize -w api/Dockerfile    change it
  buildopt optimize --check              exit 1 where something would change
  buildopt optimize -o - - < Dockerfile  a filter: stdin to stdout
"""
)
@click.argument("dockerfile", default="Dockerfile", metavar="[DOCKERFILE]")
@click.option(
    "--context",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The build context (default: the file's folder; none for stdin).",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where something would change.")
@click.option("-w", "--write", is_flag=True, help="Change the file.")
@click.option("-o", "output_path", metavar="FILE", help="Write the new file to FILE; - is stdout, and nothing else.")
@click.option("--only", multiple=True, metavar="PASS", help="Only this pass (several times).")
@click.option("--skip", multiple=True, metavar="PASS", help="Not this pass (several times).")
@output_options("text", "json")
def optimize(
    dockerfile: str,
    context: Path | None,
    check: bool,
    write: bool,
    output_path: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    output: Output,
) -> int:
    """Rewrite a Dockerfile: cache mounts, a build stage and a runtime stage.

    Prints a diff and, for every change, why it is right; for all that was left alone, why. DOCKERFILE - is stdin.
    """
    from buildopt.dockerfile.optimize import optimize as run

    _check_options(dockerfile, context, check, write, output_path, output)
    names = (_known(only), _known(skip))
    source = _read(dockerfile)
    folder = context if context is not None else None if dockerfile == "-" else Path(dockerfile).parent
    result = run(source, folder, *names)
    changed = result.source.text != source.text
    if output.json:
        output.result(_json(result, changed))
    elif output_path == "-":
        output.result(result.source.text)
        _explain(result, output)
    else:
        if not write and output_path is None:
            output.result(unified_diff(source, result.source))
        _explain(result, output)
    if result.broken:
        return errors.FINDINGS
    if write and changed and not check:
        write_atomic(Path(dockerfile), result.source.to_bytes())
    elif output_path not in (None, "-") and not check:
        write_atomic(Path(output_path or ""), result.source.to_bytes())
    return errors.FINDINGS if check and changed else errors.OK


def _check_options(
    dockerfile: str, context: Path | None, check: bool, write: bool, output_path: str | None, output: Output
) -> None:
    if output_path == "-" and output.json:
        raise UsageError("-o - and --format json both want stdout", hint="give -o a file, or leave --format out")
    if write and output_path is not None:
        raise UsageError("-w and -o exclude each other", hint="-w changes the file itself, -o writes another one")
    if check and (write or output_path is not None):
        raise UsageError("--check changes nothing, -w and -o do", hint="leave one of them out")
    if write and dockerfile == "-":
        raise UsageError("stdin cannot be written to", hint="use -o -")
    if context is not None and not context.is_dir():
        raise UsageError(f"{context} is not a folder", hint="--context is the folder that is sent to the build")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    from buildopt.dockerfile.optimize import PASSES
    from buildopt.settings import nearest

    known = [item.NAME for item in PASSES]
    found = []
    for name in names:
        if name.replace("-", "_") not in known:
            raise UsageError(f"no such pass: {name}", hint=nearest(name.replace("-", "_"), known))
        found.append(name.replace("-", "_"))
    return tuple(found)


def _read(dockerfile: str) -> Source:
    if dockerfile == "-":
        return Source.from_bytes("Dockerfile", sys.stdin.buffer.read())
    return Source.read(Path(dockerfile))


def _json(result: Optimized, changed: bool) -> str:
    document = {
        "version": 1,
        "changed": changed,
        "applied": [
            {"pass": item.name, "title": item.title, "why": item.why, "lines": list(item.lines)}
            for item in result.changes
        ],
        "refused": [{"pass": item.name, "line": item.line, "reason": item.reason} for item in result.refusals],
    }
    return json.dumps(document, indent=2) + "\n"


def _explain(result: Optimized, output: Output) -> None:
    """Say on stderr what was done and what was not, each with its reason."""
    color = output.colored(sys.stderr)
    for change in result.changes:
        first, last = change.lines
        place = f"line {first}" if first == last else f"lines {first}-{last}"
        output.message(f"{_styled('changed', 'green', color)} {place}: {change.title} ({change.name}): {change.why}")
    for refusal in result.refusals:
        word = "error" if result.broken else "left alone"
        output.message(f"{_styled(word, 'yellow', color)} line {refusal.line}: {refusal.reason} ({refusal.name})")
    if not result.changes and not result.refusals:
        output.message("nothing to change")


def _styled(text: str, foreground: str, color: bool) -> str:
    return click.style(text, fg=foreground) if color else text
