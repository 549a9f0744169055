"""A proof as Markdown for a pull request. Names out of an image cannot leave their cells."""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.prove.proof import Proof
from buildopt.report import markdown
from buildopt.report.prove import REASONS, figures, named, on_platform, smoke_diff, verdict
from buildopt.report.text import counted, printable
from buildopt.report.units import human


def proof_markdown(proof: Proof) -> str:
    """For a pull request: verdict, figures, and the rest to be unfolded."""
    mark = "✅" if proof.equal else "❌"
    parts = [f"{mark} {markdown.code(proof.path)}: {markdown.text(verdict(proof))}\n"]
    if not proof.equal:
        parts.append("\n" + "".join(f"- {markdown.text(reason)}\n" for reason in proof.reasons[:REASONS]))
        if len(proof.reasons) > REASONS:
            parts.append(f"- and {counted(len(proof.reasons) - REASONS, 'more difference')}\n")
    rows = "".join(f"| {' | '.join(markdown.text(cell) for cell in row)} |\n" for row in figures(proof))
    parts.append(f"\n| | Before | After | Ratio |\n| --- | --: | --: | --: |\n{rows}")
    for image in proof.images:
        on = on_platform(proof, image)
        if image.left_behind:
            rows = "".join(
                f"| {markdown.code(item.folder, cell=True)} | {item.files} | {human(item.size)} |\n"
                for item in image.left_behind
            )
            parts.append(_folded(f"Left behind{on}", f"| Folder | Files | Size |\n| --- | --: | --: |\n{rows}"))
        if image.excluded:
            rows = "".join(
                f"| {markdown.text(item.name)} | {item.count} | {markdown.text(item.why)} "
                f"| {', '.join(markdown.code(name, cell=True) for name in item.examples[: named(item)])} |\n"
                for item in image.excluded
            )
            parts.append(
                _folded(f"Not compared{on}", f"| What | Count | Why | Such as |\n| --- | --: | --- | --- |\n{rows}")
            )
    parts += _smoke_markdown(proof)
    parts += [f"\n{markdown.text(note)}\n" for note in proof.notes]
    return "".join(parts)


def _smoke_markdown(proof: Proof) -> Iterator[str]:
    if not proof.smoke:
        return
    yield "\n| Smoke command | Before | After | |\n| --- | --: | --: | --- |\n"
    for run in proof.smoke:
        status = ["no end in time" if item.status is None else str(item.status) for item in (run.before, run.after)]
        word = "same" if run.equal else "**differs**"
        word += " (output is never the same, not compared)" if run.unstable else ""
        yield f"| {markdown.code(run.command, cell=True)} | {status[0]} | {status[1]} | {word} |\n"
    for run in proof.smoke:
        if lines := smoke_diff(run):
            yield _folded("What it wrote", fenced("\n".join(map(printable, lines)), "diff"))


def _folded(title: str, body: str) -> str:
    return f"\n<details><summary>{markdown.text(title)}</summary>\n\n{body}\n</details>\n"


def fenced(text: str, language: str = "") -> str:
    """A block of code that nothing in it can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}\n"
