"""A rewrite as Markdown for a pull request."""

from __future__ import annotations

from buildopt.dockerfile.optimize import Optimized
from buildopt.prove.proof import Proof
from buildopt.report import markdown
from buildopt.report.prove_markdown import fenced, proof_markdown
from buildopt.report.text import printable


def rewrite_markdown(result: Optimized, diff: str, proof: Proof | None) -> str:
    """What was changed and why, what was left alone and why, the diff, and the proof where there is one."""
    parts = ["## buildopt optimize\n\n"]
    if proof is not None:
        parts += [proof_markdown(proof), "\n"]
    for change in result.changes:
        parts.append(f"- **{markdown.text(change.title)}** ({_lines(change.lines)}): {markdown.text(change.why)}\n")
    for file in result.files:
        if file.before != file.text:
            parts.append(f"- **{markdown.text(file.path.name)}**: {markdown.text(file.why)}\n")
    if result.broken:
        parts += [f"**Error**, line {item.line}: {markdown.text(item.reason)}\n" for item in result.refusals]
        return "".join(parts)
    if not result.changes and not diff:
        parts.append("Nothing to change.\n")
    if result.refusals:
        parts.append("\n<details><summary>Left alone</summary>\n\n")
        parts += [f"- line {item.line}: {markdown.text(item.reason)}\n" for item in result.refusals]
        parts.append("\n</details>\n")
    if diff:
        shown = "\n".join(map(printable, diff.splitlines()))
        parts.append(f"\n<details><summary>Diff</summary>\n\n{fenced(shown, 'diff')}\n</details>\n")
    return "".join(parts)


def _lines(lines: tuple[int, int]) -> str:
    first, last = lines
    return f"line {first}" if first == last else f"lines {first}–{last}"
