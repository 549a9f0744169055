"""The Dockerfile that ``--optimize`` builds in place of the user's own, which stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from buildopt.build import ignore
from buildopt.source import Source


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``text`` and ``ignored`` are Dockerfile and ignore file to build with, ``passes`` the names of what changed them,
    ``refused`` a line for each thing that was left alone. Without ``passes`` nothing has changed."""

    text: bytes
    ignored: bytes
    passes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def rewrite(dockerfile: Path, context: Path) -> Rewritten:
    """What ``buildopt optimize`` would make of a Dockerfile. Raises UsageError where it cannot be read."""
    from buildopt.dockerfile.optimize import optimize

    source = Source.read(dockerfile)
    result = optimize(source, context)
    ignored = ignore.in_force(context, dockerfile)
    passes = [change.name for change in result.changes]
    for file in result.files:
        if file.text != file.before:
            ignored = file.text.encode("utf-8", "surrogateescape")
            passes.append(file.name)
    refused = tuple(f"{refusal.name}, line {refusal.line}: {refusal.reason}" for refusal in result.refusals)
    return Rewritten(result.source.to_bytes(), ignored, tuple(dict.fromkeys(passes)), refused)
