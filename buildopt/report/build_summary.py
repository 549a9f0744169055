"""A build as Markdown, for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.build.progress import Step
from buildopt.report.markdown import text
from buildopt.report.prove_markdown import fenced
from buildopt.report.text import printable
from buildopt.report.units import human


@dataclass(frozen=True, slots=True)
class Row:
    """One platform of a finished image; ``size`` is in bytes."""

    platform: str
    digest: str
    size: int


def build_summary(digest: str, rows: Sequence[Row], steps: Sequence[Step], seconds: float) -> str:
    """Digest, size, cached share and the time of its steps of each platform."""
    cached = sum(step.reused for step in steps)
    lines = [
        "### buildopt build-once",
        "",
        f"`{digest}` in {seconds:.1f} s, {cached} of {len(steps)} steps cached",
        "",
        "| platform | digest | size | cached | steps took |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        own = [step for step in steps if step.platform == row.platform or len(rows) == 1 or not step.platform]
        share = f"{sum(step.reused for step in own)} of {len(own)}" if own else ""
        took = sum(step.seconds for step in own if not step.reused)
        lines.append(f"| {row.platform} | `{row.digest[:19]}…` | {human(row.size)} | {share} | {took:.1f} s |")
    return "\n".join(lines) + "\n\n"


def failure_summary(message: str, detail: Sequence[str], hint: str) -> str:
    """Why there is no image, with the last lines of what failed."""
    parts = [f"### buildopt build-once\n\n**Failed:** {text(message)}\n"]
    if detail:
        parts.append(f"\n{fenced(chr(10).join(map(printable, detail)), '')}\n")
    if hint and not detail:
        parts.append(f"\n{text(hint)}\n")
    return "".join(parts) + "\n"
