"""``buildopt lint`` beside hadolint and tally over the same Dockerfiles, in one run; then what our parser gets wrong.

FOLDER: every regular file below it (up to 8 MiB) is taken for a Dockerfile. Without one, about 600 files are made from
the fixtures, the same ones each time. All tools write JSON. hadolint is timed in one process and in one for each
processor: the better figure counts. A file that ends a tool's run is left out for that tool, and counted. tally's
checks that ask registries are off. "refused": files of which a tool says that they are no Dockerfiles (in brackets: it
alone does). The last lines compare our parser with BuildKit's own, from the wheel ``dockerfile``.

    python benchmarks/lint.py [FOLDER] [--tools buildopt,hadolint,tally] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import oracle  # noqa: E402 - it lies beside the tests

FIXTURES = ROOT / "fixtures"
GENERATED = 600
MAX_BYTES = 8 * 1024 * 1024
CORES = os.cpu_count() or 1
SINGLE_RUNS = 10
CRASH = re.compile(r"Traceback \(|panic:|CallStack|internal error|signal", re.IGNORECASE)
CHUNK = 50


@dataclass(frozen=True, slots=True)
class Tool:
    """A linter: ``argv`` is everything before the files, ``statuses`` are its exit statuses where it did its work."""

    name: str
    argv: tuple[str, ...]
    statuses: tuple[int, ...]
    parallel: bool  # whether it must be given several processes from outside to use all processors


@dataclass(frozen=True, slots=True)
class Result:
    """What came of all files: best times, how many were timed, which were refused, which crashed the tool."""

    times: Times
    files: int
    refused: frozenset[Path]
    crashed: dict[Path, str]
    single: Times
    note: str = ""


def tools(names: Sequence[str]) -> list[Tool]:
    """The tools of these names that are installed beside this Python or on the path."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    arguments = {
        "buildopt": (("lint", "--format", "json"), (0, 1), False),
        "hadolint": (("-f", "json", "--no-fail"), (0,), True),
        "tally": (("lint", "-f", "json", "--no-config", "--slow-checks", "off", "--fail-level", "none"), (0,), False),
    }
    found = []
    for name in names:
        program = shutil.which(name, path=beside)
        if program is None:
            print(f"{name} is not installed: left out")
        else:
            words, statuses, parallel = arguments[name]
            found.append(Tool(name, (program, *words), statuses, parallel))
    return found


def run(tool: Tool, files: Sequence[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in an empty home and working folder, so that no configuration changes what it does."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.run(
        [*tool.argv, *map(str, files)], cwd=folder, env=environment, capture_output=True, encoding="utf-8",
        errors="replace", check=False,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds on the clock, and of all processors together: the second figure stands on a busy machine too."""

    wall: float
    processor: float


def timed(action: Callable[[], object], runs: int) -> Times:
    """The best of several runs, in both figures."""
    walls, processors = [], []
    for _ in range(runs):
        used, began = processor_seconds(), time.perf_counter()
        action()
        walls.append(time.perf_counter() - began)
        processors.append(processor_seconds() - used)
    return Times(min(walls), min(processors))


def processor_seconds() -> float:
    """What all ended child processes have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_chunks(tool: Tool, files: Sequence[Path], folder: Path) -> None:
    """Run a tool in one process for each processor, each file once."""
    size = max(1, min(CHUNK, len(files) // (CORES * 4)))
    chunks = [files[at : at + size] for at in range(0, len(files), size)]
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda chunk: run(tool, chunk, folder), chunks))


def measure(tool: Tool, files: Sequence[Path], folder: Path, runs: int) -> Result:
    """Everything about one tool."""
    endings = run_ending(tool, files, folder)
    usable = [path for path in files if path not in endings]
    done = run(tool, usable, folder)
    if done.returncode not in tool.statuses:
        sys.exit(f"{tool.name} fails even without the files that it cannot read: {done.stderr[-500:]}")
    times, note = timed(lambda: run(tool, usable, folder), runs), ""
    if tool.parallel:
        note = "one process"
        spread = timed(lambda: in_chunks(tool, usable, folder), runs)
        if spread.wall < times.wall:
            times, note = spread, f"{CORES} processes at a time"
    typical = sorted(usable, key=lambda path: (path.stat().st_size, path))[len(usable) // 2 :][:1]
    single = timed(lambda: run(tool, typical, folder), SINGLE_RUNS)
    refused = refusals(done.stdout) | {path for path, message in endings.items() if not CRASH.search(message)}
    crashed = {path: message for path, message in endings.items() if CRASH.search(message)}
    return Result(times, len(usable), refused, crashed, single, note)


def refusals(output: str) -> frozenset[Path]:
    """The files that a tool's report calls unreadable; DL1000 is hadolint's name for that."""
    try:
        report = json.loads(output)
    except ValueError:
        return frozenset()
    if isinstance(report, list):
        return frozenset(Path(item["file"]) for item in report if item["code"] == "DL1000")
    found = report.get("findings", [])
    return frozenset(Path(item["path"]) for item in found if "DL1000" in item["aliases"])


def run_ending(tool: Tool, files: Sequence[Path], folder: Path) -> dict[Path, str]:
    """The files that end a run of a tool, each with what it says then."""

    def sift(chunk: Sequence[Path]) -> dict[Path, str]:
        done = run(tool, chunk, folder)
        if done.returncode in tool.statuses:
            return {}
        if len(chunk) == 1:
            return {chunk[0]: done.stderr.strip()}
        message = done.stderr.rpartition("Error:")[2]
        named = [path for path in chunk if re.search(rf"{re.escape(str(path))}(?![\w.-])", message)]
        if named:
            return {named[0]: done.stderr.strip(), **sift([path for path in chunk if path != named[0]])}
        half = len(chunk) // 2
        return {**sift(chunk[:half]), **sift(chunk[half:])}

    chunks = [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]
    with ThreadPoolExecutor(CORES) as pool:
        return {path: message for found in pool.map(sift, chunks) for path, message in found.items()}


def files_below(folder: Path) -> list[Path]:
    """Every regular file up to 8 MiB."""
    found = (path for path in sorted(folder.resolve().rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if path.stat().st_size <= MAX_BYTES]


@contextmanager
def corpus(folder: Path | None) -> Iterator[list[Path]]:
    """The files to lint: those of a folder, or generated ones in a temporary folder."""
    if folder is not None:
        yield files_below(folder)
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        fixtures = sorted(path for path in FIXTURES.rglob("*Dockerfile") if path.is_file())
        for number in range(GENERATED):
            fixture = fixtures[number % len(fixtures)]
            text = varied(fixture.read_bytes().decode("utf-8", "surrogateescape"), number)
            target = Path(name, f"{number:04}", "Dockerfile")
            target.parent.mkdir()
            target.write_bytes(text.encode("utf-8", "surrogateescape"))
        yield files_below(Path(name))


def varied(text: str, seed: int) -> str:
    """The file with comments and instructions that change little, so that no two copies are equal."""
    dice = random.Random(seed)
    newline = "\r\n" if "\r\n" in text else "\n"
    for _ in range(dice.randint(1, 4)):
        line = dice.choice(
            (f"# variant {seed}", f"LABEL variant={seed}", f"ENV VARIANT_{seed}=1", "", f"RUN echo {seed}")
        )
        text = f"{text.rstrip()}{newline}{line}{newline}"
    return text


def judged(path: Path) -> str:
    """How our parser differs from BuildKit's over a file, "" where it does not or that one is behind the times."""
    text = path.read_bytes().decode("utf-8", "replace")
    difference = oracle.disagreement_of_text(text) if oracle.knows_directives(text) else None
    if difference is None or not oracle.comparable(text):
        return ""
    ours, theirs = difference
    return f"ours {str(ours)[:300]}\n     theirs {str(theirs)[:300]}"


def print_table(results: dict[str, Result]) -> None:
    """One line a tool."""
    peer = results.get("hadolint")
    heads = f"{'':10}{'files':>7}{'refused':>12}{'crashed':>9}{'seconds':>9}{'files/s':>9}{'x hadolint':>12}"
    print(f"{heads}{'processor':>11}{'one file':>11}")
    for name, result in results.items():
        speed = result.files / result.times.wall
        ratio = f"{speed / (peer.files / peer.times.wall):.2f}" if peer is not None else "-"
        others = [other.refused | other.crashed.keys() for key, other in results.items() if key != name]
        refused = f"{len(result.refused)} ({len(result.refused.difference(*others))})"
        row = f"{name:10}{result.files:7}{refused:>12}{len(result.crashed):9}{result.times.wall:9.2f}{speed:9.0f}"
        single = f"{result.single.wall * 1000:.0f} ms"
        print(f"{row}{ratio:>12}{result.times.processor:9.2f} s{single:>11}  {result.note}".rstrip())
    for name, result in results.items():
        for path, message in list(result.crashed.items())[:5]:
            print(f"{name} crashed on {path}: {message.splitlines()[0][:200]}")


def main() -> None:
    """Measure and print; exit status 1 where our parser or our linter failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--tools", default="buildopt,hadolint,tally")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with corpus(chosen.folder) as files, tempfile.TemporaryDirectory() as empty:
        if not files:
            sys.exit(f"there is no file in {chosen.folder}")
        size = sum(path.stat().st_size for path in files)
        print(f"{len(files)} files, {size / 1000:.0f} kB, {CORES} processors, best of {chosen.runs} runs")
        compared = tools(chosen.tools.split(","))
        results = {tool.name: measure(tool, files, Path(empty), chosen.runs) for tool in compared}
        print_table(results)
        with ProcessPoolExecutor(CORES) as pool:
            verdicts = dict(zip(files, pool.map(judged, files, chunksize=32), strict=True))
    differing = [(path, difference) for path, difference in verdicts.items() if difference]
    print(f"our parser differs from BuildKit's in {len(differing)} of {len(files)} files")
    for path, difference in differing[:20]:
        print(f"  {path}: {difference}")
    ours = results.get("buildopt")
    sys.exit(1 if differing or (ours is not None and ours.crashed) else 0)


if __name__ == "__main__":
    main()
