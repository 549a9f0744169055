"""What a push will do, does, and did: as text, as JSON, and live."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildopt.registry.push import Again, BlobDone, Done, Event, Moved, Noted, Outcome, PushPlan, PushReport, Started
from buildopt.report.units import human

if TYPE_CHECKING:
    from rich.progress import TaskID

    from buildopt.registry.push import PlannedCreation


def plan_text(plan: PushPlan, creations: Sequence[PlannedCreation] = ()) -> str:
    """What would be pushed where, and which repositories would be made first."""
    image = plan.image
    platforms = ", ".join(str(entry.platform or "one platform") for entry in image.platforms)
    lines = [
        f"{plan.source.path}: {image.digest}",
        f"  {platforms}; {len(image.blobs)} blobs, {len(image.manifests)} manifests, {human(image.size)}",
    ]
    lines += [f"  → {target.reference}{' (optional)' if target.optional else ''}" for target in plan.targets]
    for entry in creations:
        if entry.exists is None:
            lines.append(f"  ? {entry.repository} would be made if it is missing ({entry.how}); not known: {entry.why}")
        elif not entry.exists:
            lines.append(f"  + {entry.repository} would be made ({entry.how})")
    return "\n".join(lines) + "\n"


def plan_json(plan: PushPlan, creations: Sequence[PlannedCreation] = ()) -> str:
    """The plan in the shape of a report, with nothing sent; ``create`` lists the repositories to be made if missing."""
    outcomes = (Outcome(str(target.reference), str(plan.image.digest), target.optional) for target in plan.targets)
    document = _document(PushReport(str(plan.image.digest), tuple(outcomes)))
    document["dry_run"] = True
    if creations:
        document["create"] = [
            {"repository": entry.repository, "exists": entry.exists, "how": entry.how, "problem": entry.why or None}
            for entry in creations
        ]
    return json.dumps(document, indent=2) + "\n"


def report_json(report: PushReport) -> str:
    """The report's stable JSON."""
    return json.dumps(_document(report), indent=2) + "\n"


def _document(report: PushReport) -> dict[str, object]:
    return {
        "version": 1,
        "digest": report.digest,
        "ok": report.ok,
        "destinations": [_outcome(outcome) for outcome in report.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    problem = outcome.problem
    return {
        "reference": outcome.reference,
        "digest": outcome.digest,
        "ok": outcome.ok,
        "optional": outcome.optional,
        "error": None if problem is None else {"kind": problem.kind, "message": problem.message, "hint": problem.hint},
        "bytes_sent": outcome.bytes_sent,
        "bytes_mounted": outcome.bytes_mounted,
        "bytes_present": outcome.bytes_present,
        "seconds": round(outcome.seconds, 3),
    }


def report_text(report: PushReport) -> str:
    """A line a destination, with what to do about each failure."""
    width = max((len(outcome.reference) for outcome in report.outcomes), default=0)
    lines = [f"digest {report.digest}"]
    for outcome in report.outcomes:
        lines.append(f"{_mark(outcome)}  {outcome.reference:<{width}}  {_moved(outcome)}")
        if outcome.problem is not None:
            lines.append(f"        {outcome.problem.message}")
            if outcome.problem.hint:
                lines.append(f"        hint: {outcome.problem.hint}")
    return "\n".join(lines) + "\n"


def failure_text(report: PushReport) -> tuple[str, str]:
    """Message and hint for the required destinations that were not pushed."""
    required = [outcome for outcome in report.outcomes if not outcome.optional]
    failed = [(outcome.reference, outcome.problem) for outcome in required if outcome.problem is not None]
    reasons = "; ".join(f"{reference}: {problem.message}" for reference, problem in failed)
    hints = dict.fromkeys(problem.hint for _, problem in failed if problem.hint)
    return f"{len(failed)} of {len(required)} not pushed: {reasons}", "; ".join(hints)


def _mark(outcome: Outcome) -> str:
    if outcome.ok:
        return "pushed"
    return "missed" if outcome.optional else "FAILED"


def _moved(outcome: Outcome) -> str:
    sizes = (
        ("sent", outcome.bytes_sent),
        ("mounted", outcome.bytes_mounted),
        ("already there", outcome.bytes_present),
    )
    parts = [f"{human(size)} {word}" for word, size in sizes if size]
    return f"{', '.join(parts) or 'nothing sent'}, {outcome.seconds:.1f} s"


LARGE = 1_000_000
"""Blobs of more bytes than this are worth a line each; so are those that took ``SLOW`` seconds."""
SLOW = 1.0


@contextmanager
def plain_progress(tell: Callable[[str], None], *, everything: bool = False) -> Iterator[Callable[[Event], None]]:
    """Progress as lines, for logs: large and slow blobs (or ``everything``), and what came of each destination."""
    lock = threading.Lock()
    last: dict[str, float] = {}

    def show(event: Event) -> None:
        with lock:
            now = time.monotonic()
            if isinstance(event, Started):
                last[event.repository] = now
                tell(f"{event.repository}: {human(event.total)} in blobs")
            elif isinstance(event, Again):
                tell(f"{event.repository}: {event.message}; again in {event.seconds:.1f} s")
            elif isinstance(event, Noted):
                tell(f"{event.repository}: {event.message}")
            elif isinstance(event, BlobDone):
                # Blobs go side by side, so "slow" is a log that had nothing to say for so long.
                slow = now - last.get(event.repository, now) > SLOW
                if everything or (event.how != "present" and (event.size > LARGE or slow)):
                    last[event.repository] = now
                    tell(f"{event.repository}: {event.digest.short} {human(event.size)} {event.how}")
            elif isinstance(event, Done):
                tell(_done(event.outcome))

    yield show


def _done(outcome: Outcome) -> str:
    if outcome.problem is not None:
        return f"{outcome.reference}: {'not pushed' if outcome.optional else 'NOT PUSHED'}"
    return f"{outcome.reference}: pushed ({_moved(outcome)})"


@contextmanager
def live_progress() -> Iterator[Callable[[Event], None]]:
    """Progress as one bar a repository, for terminals (on stderr)."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars: dict[str, TaskID] = {}
    lock = threading.Lock()
    with Progress(*columns, console=console) as progress:

        def show(event: Event) -> None:
            with lock:
                if isinstance(event, Started):
                    bars[event.repository] = progress.add_task(event.repository, total=event.total)
                elif isinstance(event, Moved):
                    progress.update(bars[event.repository], advance=event.count)
                elif isinstance(event, BlobDone) and event.how != "sent":
                    progress.update(bars[event.repository], advance=event.size)
                elif isinstance(event, Noted):
                    progress.console.print(f"{event.repository}: {event.message}", markup=False)
                elif isinstance(event, Again):
                    progress.console.print(
                        f"{event.repository}: {event.message}; again in {event.seconds:.1f} s", markup=False
                    )

        yield show
