"""A push as Markdown, for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Sequence

from buildopt.registry.outcome import Outcome, PushReport
from buildopt.registry.preview import Preview, Tag
from buildopt.report.markdown import code, text
from buildopt.report.prove_markdown import fenced
from buildopt.report.text import counted, printable
from buildopt.report.units import human

_HEAD = "### buildopt push"


def push_summary(report: PushReport) -> str:
    """The digest, a row a destination, and each problem with what to do about it."""
    good = sum(outcome.ok for outcome in report.outcomes)
    seconds = max((outcome.seconds for outcome in report.outcomes), default=0.0)
    where = counted(len(report.outcomes), "destination")
    lines = [
        _HEAD,
        "",
        f"`{report.digest}` at {where if good == len(report.outcomes) else f'{good} of {where}'} in {seconds:.1f} s",
        "",
        "| | reference | sent | mounted | already there | seconds |",
        "| :-: | --- | ---: | ---: | ---: | ---: |",
        *(f"| {_mark(outcome)} | {_cells(outcome)} | {outcome.seconds:.1f} |" for outcome in report.outcomes),
        *_problems(report.outcomes),
    ]
    return "\n".join(lines) + "\n\n"


def preview_summary(found: Preview) -> str:
    """What would be sent where."""
    rows = zip(found.report.outcomes, found.tags, strict=True)
    lines = [
        f"{_HEAD} --dry-run",
        "",
        f"`{found.report.digest}`: nothing was sent",
        "",
        "| | reference | to send | to mount | already there | tag |",
        "| :-: | --- | ---: | ---: | ---: | --- |",
        *(f"| {_mark(outcome)} | {_cells(outcome)} | {_tag(tag)} |" for outcome, tag in rows),
        *_problems(found.report.outcomes),
    ]
    return "\n".join(lines) + "\n\n"


def failure_summary(message: str, detail: Sequence[str], hint: str) -> str:
    """Why nothing was pushed."""
    parts = [f"{_HEAD}\n\n**Failed:** {text(message)}\n"]
    if detail:
        parts.append(f"\n{fenced(chr(10).join(map(printable, detail)), '')}\n")
    if hint:
        parts.append(f"\n{text(hint)}\n")
    return "".join(parts) + "\n"


def _mark(outcome: Outcome) -> str:
    if outcome.ok:
        return "✅"
    return "⚠️" if outcome.optional else "❌"


def _cells(outcome: Outcome) -> str:
    sizes = (outcome.bytes_sent, outcome.bytes_mounted, outcome.bytes_present)
    return " | ".join((code(outcome.reference, cell=True), *(human(size) if size else "–" for size in sizes)))


def _tag(tag: Tag) -> str:
    words = {"new": "new", "right": "already right", "moved": f"moves from `{tag.old[:19]}…`", "unknown": "not known"}
    return words[tag.state]


def _problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Each problem once, with the references that have it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.problem is not None:
            key = (outcome.problem.kind, outcome.problem.message, outcome.problem.hint)
            optional = " (optional)" if outcome.optional else ""
            found.setdefault(key, []).append(f"{code(outcome.reference)}{optional}")
    lines = [""] if found else []
    for (kind, message, hint), references in found.items():
        lines.append(f"- {', '.join(references)}: **{text(kind)}**: {text(message)}")
        lines += [f"  <br>What to do: {text(hint)}"] if hint else []
    return lines
