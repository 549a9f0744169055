"""A proof for people: tables, and a verdict."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from buildopt.prove.proof import Excluded, ImageDiff, Proof, Smoke, ratio
from buildopt.report.text import counted, printable
from buildopt.report.units import human

if TYPE_CHECKING:
    from rich.console import Console

REASONS = 30
"""How many differences people are shown; programs get them all."""
_DIFF_LINES = 20
_COMPARED_LINES = 2000


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
            yield f"{name}{on}", human(was), human(now), _shown(ratio(was, now))
        yield f"files{on}", str(before.files), str(after.files), _shown(ratio(before.files, after.files))
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
    for reason in proof.reasons[:REASONS]:
        console.print(f"different: {printable(reason)}", style="red", soft_wrap=True)
    if len(proof.reasons) > REASONS:
        console.print(f"… and {counted(len(proof.reasons) - REASONS, 'more difference')}", style="red")
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
        table.add_column(f"left behind{on_platform(proof, image)}")
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
        table.add_column(f"not compared{on_platform(proof, image)}")
        table.add_column("count", justify="right")
        table.add_column("why")
        table.add_column("such as", overflow="fold")
        for item in image.excluded:
            examples = ", ".join(map(printable, item.examples[: named(item)]))
            table.add_row(item.name, str(item.count), Text(item.why), Text(examples))
        console.print(table)
        console.print()


def named(item: Excluded) -> int:
    """How many examples people are shown: what is never the same should be looked at."""
    return 10 if "reproducible" in item.name else 3


def on_platform(proof: Proof, image: ImageDiff) -> str:
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
