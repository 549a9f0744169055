"""A proof for people (a table), for a pull request (Markdown), and for programs (JSON).

The JSON document, ``"version": 1``::

    {"version": 1, "path", "equal": bool, "split": bool, "reasons": [text…], "notes": [text…],
     "built_again": bool,                     whether the original was built twice, to see what is never the same
     "images": [{"platform", "split",
                 "before": {"compressed", "unpacked", "layers", "files"}, "after": {…},     sizes in bytes
                 "ratio": {"compressed", "unpacked"},                                       null where before is 0
                 "kept", "programs",
                 "settings": [{"name", "before", "after"}],
                 "files": [{"path", "what", "detail"}],
                 "libraries": [{"path", "needs", "detail"}],
                 "excluded": [{"name", "why", "count", "examples": [text…]}],
                 "left_behind": [{"folder", "files", "bytes"}]}],
     "smoke": [{"platform", "command", "equal", "unstable",
                "before": {"status", "stdout", "stderr"}, "after": {…}}],                   status null: no end in time
     "timings": [{"scenario", "label", "before", "after", "ratio",                          seconds
                  "before_steps": {"total", "cached"}, "after_steps": {…}}]}
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from buildopt.prove.proof import Excluded, ImageDiff, Outcome, Proof, Sizes, Smoke
from buildopt.report import markdown
from buildopt.report.text import counted, printable
from buildopt.report.units import human

if TYPE_CHECKING:
    from rich.console import Console

_REASONS = 30
"""How many differences people are shown; programs get them all."""
_DIFF_LINES = 20
_COMPARED_LINES = 2000


def proof_json(proof: Proof) -> str:
    """The document of this module's docstring."""
    return json.dumps({"version": 1, **proof_document(proof)}, indent=2, ensure_ascii=False) + "\n"


def proof_document(proof: Proof) -> dict[str, object]:
    """The same without its version, to be part of another document."""
    return {
        "path": _plain(proof.path),
        "equal": proof.equal,
        "split": proof.split,
        "reasons": [_plain(reason) for reason in proof.reasons],
        "notes": list(proof.notes),
        "built_again": proof.again,
        "images": [_image(image) for image in proof.images],
        "smoke": [_smoke(run) for run in proof.smoke],
        "timings": [
            {
                "scenario": timing.scenario,
                "label": _plain(timing.label),
                "before": round(timing.before, 3),
                "after": round(timing.after, 3),
                "ratio": _rounded(timing.ratio),
                "before_steps": _steps(timing.before_steps),
                "after_steps": _steps(timing.after_steps),
            }
            for timing in proof.timings
        ],
    }


def _image(image: ImageDiff) -> dict[str, object]:
    before, after = image.before, image.after
    return {
        "platform": image.platform,
        "split": image.split,
        "before": _sizes(before),
        "after": _sizes(after),
        "ratio": {
            "compressed": _rounded(_ratio(before.compressed, after.compressed)),
            "unpacked": _rounded(_ratio(before.unpacked, after.unpacked)),
        },
        "kept": image.kept,
        "programs": image.programs,
        "settings": [
            {"name": _plain(item.name), "before": _known(item.before), "after": _known(item.after)}
            for item in image.settings
        ],
        "files": [
            {"path": _plain(item.path), "what": item.what, "detail": _plain(item.detail)} for item in image.files
        ],
        "libraries": [
            {"path": _plain(item.path), "needs": _plain(item.needs), "detail": _plain(item.detail)}
            for item in image.libraries
        ],
        "excluded": [
            {
                "name": item.name,
                "why": item.why,
                "count": item.count,
                "examples": [_plain(name) for name in item.examples],
            }
            for item in image.excluded
        ],
        "left_behind": [
            {"folder": _plain(item.folder), "files": item.files, "bytes": item.size} for item in image.left_behind
        ],
    }


def _sizes(sizes: Sizes) -> dict[str, int]:
    return {
        "compressed": sizes.compressed,
        "unpacked": sizes.unpacked,
        "layers": sizes.layers,
        "files": sizes.files,
    }


def _smoke(run: Smoke) -> dict[str, object]:
    return {
        "platform": run.platform,
        "command": _plain(run.command),
        "equal": run.equal,
        "unstable": run.unstable,
        "before": _outcome(run.before),
        "after": _outcome(run.after),
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {"status": outcome.status, "stdout": outcome.stdout, "stderr": outcome.stderr}


def _steps(steps: tuple[int, int]) -> dict[str, int]:
    cached, total = steps
    return {"total": total, "cached": cached}


def _plain(text: str) -> str:
    """A text that JSON can hold: paths may have bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _known(text: str | None) -> str | None:
    return None if text is None else _plain(text)


def _ratio(before: float, after: float) -> float | None:
    return after / before if before else None


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def figures(proof: Proof) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a table: what, before, after, ratio."""
    several = len(proof.images) > 1
    for image in proof.images:
        on = f", {image.platform}" if several else ""
        before, after = image.before, image.after
        for name, was, now in (
            ("image", before.unpacked, after.unpacked),
            ("image, compressed", before.compressed, after.compressed),
        ):
            yield f"{name}{on}", human(was), human(now), _shown(_ratio(was, now))
        yield f"files{on}", str(before.files), str(after.files), _shown(_ratio(before.files, after.files))
    for timing in proof.timings:
        yield timing.label, _seconds(timing.before), _seconds(timing.after), _shown(timing.ratio)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def verdict(proof: Proof) -> str:
    """The outcome in a sentence."""
    if not proof.equal:
        return f"not equal: {counted(len(proof.reasons), 'difference')}"
    kept = sum(image.kept for image in proof.images)
    if proof.split:
        programs = sum(image.programs for image in proof.images)
        what = f"{counted(kept, 'kept file')} as before, {counted(programs, 'program')} with all its libraries"
        what = what.replace("programs with all its", "programs with all their")
    else:
        what = f"{counted(kept, 'file')} and all settings as before"
    runs = f", {counted(len(proof.smoke), 'smoke run')} with the same outcome" if proof.smoke else ""
    return f"equal: {what}{runs}"


def proof_text(proof: Proof, *, color: bool = False, width: int = 120) -> str:
    """The tables for people, ``width`` columns wide at most."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, color_system="standard" if color else None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    _figures_table(console, proof)
    _left_behind(console, proof)
    _excluded(console, proof)
    for run in proof.smoke:
        _smoke_text(console, run)
    for note in proof.notes:
        console.print(f"note: {printable(note)}", style="dim")
    for reason in proof.reasons[:_REASONS]:
        console.print(f"different: {printable(reason)}", style="red", soft_wrap=True)
    if len(proof.reasons) > _REASONS:
        console.print(f"… and {counted(len(proof.reasons) - _REASONS, 'more difference')}", style="red")
    style = "bold green" if proof.equal else "bold red"
    console.print(f"{printable(proof.path)}: {verdict(proof)}", style=style, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _figures_table(console: Console, proof: Proof) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("before", "after", "ratio"):
        table.add_column(name, justify="right")
    for row in figures(proof):
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
    console.print()


def _left_behind(console: Console, proof: Proof) -> None:
    from rich.table import Table
    from rich.text import Text

    for image in proof.images:
        if not image.left_behind:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"left behind{_on(proof, image)}")
        table.add_column("files", justify="right")
        table.add_column("size", justify="right")
        for item in image.left_behind:
            table.add_row(Text(printable(item.folder)), str(item.files), human(item.size))
        console.print(table)
        console.print()


def _excluded(console: Console, proof: Proof) -> None:
    from rich.table import Table
    from rich.text import Text

    for image in proof.images:
        if not image.excluded:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"not compared{_on(proof, image)}")
        table.add_column("count", justify="right")
        table.add_column("why")
        table.add_column("such as", overflow="fold")
        for item in image.excluded:
            examples = ", ".join(map(printable, item.examples[: _named(item)]))
            table.add_row(item.name, str(item.count), Text(item.why), Text(examples))
        console.print(table)
        console.print()


def _named(item: Excluded) -> int:
    """How many examples people are shown: what is never the same should be looked at."""
    return 10 if "reproducible" in item.name else 3


def _on(proof: Proof, image: ImageDiff) -> str:
    return f" ({image.platform})" if len(proof.images) > 1 else ""


def _smoke_text(console: Console, run: Smoke) -> None:
    word, style = ("same", "green") if run.equal else ("differs", "red")
    what = f"exit status {run.after.status}" if run.after.status is not None else "did not end in time"
    if run.unstable:
        what += "; what it writes is never the same, in the original neither, and was not compared"
    console.print(f"smoke {word}: {printable(run.command)} ({what})", style=style, soft_wrap=True)
    for line in smoke_diff(run):
        console.print(f"  {printable(line)}", soft_wrap=True)


def smoke_diff(run: Smoke) -> Sequence[str]:
    """What a smoke command wrote before and after, as lines of a short diff; nothing where it did the same."""
    if run.equal:
        return ()
    lines: list[str] = []
    for name, was, now in (
        ("stdout", run.before.stdout, run.after.stdout),
        ("stderr", run.before.stderr, run.after.stderr),
    ):
        old, new = (text.splitlines()[:_COMPARED_LINES] for text in (was, now))
        lines += difflib.unified_diff(old, new, f"before: {name}", f"after: {name}", n=1, lineterm="")
    rest = len(lines) - _DIFF_LINES
    return lines if rest <= 0 else [*lines[:_DIFF_LINES], f"… and {counted(rest, 'more line')}"]


def proof_markdown(proof: Proof) -> str:
    """For a pull request: verdict, figures, and the rest to be unfolded."""
    mark = "✅" if proof.equal else "❌"
    parts = [f"{mark} {markdown.code(proof.path)}: {markdown.text(verdict(proof))}\n"]
    if not proof.equal:
        parts.append("\n" + "".join(f"- {markdown.text(reason)}\n" for reason in proof.reasons[:_REASONS]))
        if len(proof.reasons) > _REASONS:
            parts.append(f"- and {counted(len(proof.reasons) - _REASONS, 'more difference')}\n")
    rows = "".join(f"| {' | '.join(markdown.text(cell) for cell in row)} |\n" for row in figures(proof))
    parts.append(f"\n| | Before | After | Ratio |\n| --- | --: | --: | --: |\n{rows}")
    for image in proof.images:
        on = _on(proof, image)
        if image.left_behind:
            rows = "".join(
                f"| {markdown.code(item.folder, cell=True)} | {item.files} | {human(item.size)} |\n"
                for item in image.left_behind
            )
            parts.append(_folded(f"Left behind{on}", f"| Folder | Files | Size |\n| --- | --: | --: |\n{rows}"))
        if image.excluded:
            rows = "".join(
                f"| {markdown.text(item.name)} | {item.count} | {markdown.text(item.why)} "
                f"| {', '.join(markdown.code(name, cell=True) for name in item.examples[: _named(item)])} |\n"
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
