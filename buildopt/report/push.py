"""What a push does and did: as lines, as a table and as JSON."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from buildopt.registry.outcome import Again, BlobDone, Done, Event, Noted, Outcome, PushReport, Started
from buildopt.report.columns import aligned
from buildopt.report.units import human


def report_json(report: PushReport) -> str:
    """The report's stable JSON."""
    return json.dumps(report_document(report), indent=2) + "\n"


def report_document(report: PushReport) -> dict[str, object]:
    """The report's stable JSON, as an object."""
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


def report_text(report: PushReport, *, width: int = 0, color: bool = False) -> str:
    """The digest, a row a destination, and what to do about each failure. ``width`` is that of the terminal."""
    rows: list[tuple[str, ...]] = [("", "reference", "sent", "mounted", "already there", "seconds")]
    for outcome in report.outcomes:
        sizes = (outcome.bytes_sent, outcome.bytes_mounted, outcome.bytes_present)
        figures = (human(size) if size else "-" for size in sizes)
        rows.append((_mark(outcome), outcome.reference, *figures, f"{outcome.seconds:.1f}"))
    table = aligned(rows, right=(2, 3, 4, 5), width=width)
    height = len(table) // len(rows)
    lines = [f"digest {report.digest}", *(_colored(line, "2", color) for line in table[:height])]
    for number, outcome in enumerate(report.outcomes, 1):
        first, *more = table[number * height : (number + 1) * height]
        word = _mark(outcome)
        lines += [_colored(word, _COLORS[word], color) + first[len(word) :], *more, *problem_lines(outcome)]
    return "\n".join(lines) + "\n"


_COLORS = {"pushed": "32", "missed": "33", "FAILED": "31"}


def _colored(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def problem_lines(outcome: Outcome) -> list[str]:
    """Why a destination failed and what to do, indented."""
    if outcome.problem is None:
        return []
    hint = [f"        hint: {outcome.problem.hint}"] if outcome.problem.hint else []
    return [f"        {outcome.problem.message}", *hint]


def failure_text(report: PushReport, words: str = "not pushed") -> tuple[str, str]:
    """Message and hint for the required destinations that failed; ``words`` say what did not come of them."""
    required = [outcome for outcome in report.outcomes if not outcome.optional]
    failed = [(outcome.reference, outcome.problem) for outcome in required if outcome.problem is not None]
    reasons = "; ".join(f"{reference}: {problem.message}" for reference, problem in failed)
    hints = dict.fromkeys(problem.hint for _, problem in failed if problem.hint)
    return f"{len(failed)} of {len(required)} {words}: {reasons}", "; ".join(hints)


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
