"""The linter with all its rules, and the passes, on malformed files.

Nothing may make them fail, take long, or take much memory. Every tenth file is also fixed, and every fifth optimized,
twice: the second time must change nothing. A file is known by its seed and number.

    python tests/fuzz.py [COUNT] [--seed N] [--from NUMBER] [--jobs N]
    python tests/fuzz.py --show NUMBER [--seed N]      writes the file to standard output
"""

# ruff: noqa: T201 - it is run by people

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import malformed

from buildopt.dockerfile.lint import fix, lint
from buildopt.dockerfile.optimize import PASSES, optimize
from buildopt.report.json import findings_json
from buildopt.report.text import findings_text
from buildopt.settings import LintSettings
from buildopt.source import Source

LIMIT_SECONDS = 2.0  # of processor time, for one file
FIX_LIMIT_SECONDS = 20.0  # a fix goes through the whole file up to twenty times
LIMIT_MEGABYTES = 400  # that a process may grow by
FIX_EVERY = 10
OPTIMIZE_EVERY = 5
CHUNK = 50
# ShellCheck is a program of its own, which takes its time over nonsense.
EVERYTHING = LintSettings(profile="strict", ignore=("shellcheck",))


class TooSlow(Exception):
    """A file took longer than its limit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One file: processor seconds to lint it and to fix it, and what went wrong ("" for nothing)."""

    number: int
    kind: str
    lint_seconds: float
    fix_seconds: float
    failure: str = ""


def examine(seed: int, number: int) -> Outcome:
    """Lint one file, and every tenth also fix."""
    data, kind = malformed.make(seed, number), malformed.name(seed, number)
    began = time.process_time()
    linted, fixed, failure = 0.0, 0.0, ""
    try:
        with at_most(LIMIT_SECONDS):
            source = lint_one(data)
        linted = time.process_time() - began
        if number % FIX_EVERY == 0:
            with at_most(FIX_LIMIT_SECONDS):
                fix_one(source)
            fixed = time.process_time() - began - linted
        if number % OPTIMIZE_EVERY == 1:
            with at_most(FIX_LIMIT_SECONDS):
                optimize_one(source)
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        failure = traceback.format_exc(limit=-6)
        linted = linted or time.process_time() - began
    return Outcome(number, kind, linted, fixed, failure)


def lint_one(data: bytes) -> Source:
    """Lint a file and print what was found."""
    source = Source.from_bytes("Dockerfile", data)
    assert source.to_bytes() == data
    found = lint(source, EVERYTHING)
    for finding in found:
        assert 0 <= finding.span.start <= finding.span.end <= len(source.text), finding.rule
    findings_json(found, 1).encode()
    findings_text(found).encode("utf-8", "surrogateescape")
    return source


def fix_one(source: Source) -> None:
    """Fix a file; fixing it again must change nothing."""
    once = fix(source, EVERYTHING, unsafe=True).source
    twice = fix(once, EVERYTHING, unsafe=True).source
    if once.text != twice.text:
        changed = [finding.rule for finding in lint(once, EVERYTHING) if finding.fix is not None]
        raise AssertionError(f"a second fix changes the file: {sorted(set(changed))}")


def optimize_one(source: Source) -> None:
    """Rewrite a file, with the passes that are opt-in; rewriting it again must change nothing."""
    also = [item.NAME for item in PASSES]
    once = optimize(source, also=also).source
    twice = optimize(once, also=also)
    if once.text != twice.source.text:
        raise AssertionError(f"a second run changes the file: {sorted({change.name for change in twice.changes})}")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlow once the block has taken that much processor time."""

    def stop(number: int, frame: object) -> None:
        raise TooSlow(f"more than {seconds:g} s")

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def megabytes() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def examine_chunk(numbers: Sequence[int], seed: int) -> tuple[list[Outcome], float]:
    """Several files, and the most memory that the process has had so far."""
    return [examine(seed, number) for number in numbers], megabytes()


def run(count: int, seed: int, first: int = 0, jobs: int = 1) -> tuple[list[Outcome], float]:
    """All outcomes, and by how many megabytes the largest process outgrew one that had linted nothing but a line."""
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    outcomes: list[Outcome] = []
    peak = 0.0
    lint_one(b"FROM debian:12\nRUN apt-get update\n")  # everything is imported and compiled before processes are made
    malformed.fixtures()
    before = megabytes()
    with ProcessPoolExecutor(jobs) as pool:
        for found, reached in pool.map(partial(examine_chunk, seed=seed), chunks):
            outcomes += found
            peak = max(peak, reached)
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)} of {count}", end="", file=sys.stderr)
    return outcomes, peak - before


def report(outcomes: Sequence[Outcome], growth: float) -> bool:
    """Print what came of it; whether all is well."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed[:20]:
        print(f"number {outcome.number} ({outcome.kind}):\n{outcome.failure}")
    by_kind: dict[str, list[float]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.kind, []).append(outcome.lint_seconds)
    for kind, seconds in sorted(by_kind.items(), key=lambda item: -max(item[1])):
        mean = sum(seconds) / len(seconds) * 1000
        print(f"{kind:22}{len(seconds):8} files   mean {mean:7.1f} ms   slowest {max(seconds):.2f} s")
    slowest = sorted(outcomes, key=lambda outcome: -outcome.lint_seconds)[:5]
    print("slowest:", ", ".join(f"{outcome.lint_seconds:.2f} s (number {outcome.number})" for outcome in slowest))
    fixed = max(outcomes, key=lambda outcome: outcome.fix_seconds)
    print(f"slowest fix: {fixed.fix_seconds:.2f} s (number {fixed.number}); a process grew by {growth:.0f} MB at most")
    print(f"{len(outcomes)} files, {len(failed)} failures")
    return not failed and growth <= LIMIT_MEGABYTES


def main() -> None:
    """Run and report; exit status 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", type=int)
    chosen = parser.parse_args()
    if chosen.show is not None:
        sys.stdout.buffer.write(malformed.make(chosen.seed, chosen.show))
        return
    outcomes, growth = run(chosen.count, chosen.seed, chosen.first, chosen.jobs)
    sys.exit(0 if report(outcomes, growth) else 1)


if __name__ == "__main__":
    main()
