"""``docker buildx build --output type=oci,dest=image.tar`` beside ``buildopt build-once``, on one engine in one run.

Two platforms, an image of ``--megabytes`` of data that does not compress. The engine is warm: every layer is in its
cache, so that only the export is timed. "first" is a build into an empty folder, "unchanged" the same again, "changed"
another one after the last layer was changed.

The ways take turns, so that a slow moment of the machine meets all of them. Ratios are those of the medians of
``--rounds``; where a goal is in seconds, the best of the rounds counts (of ten, for "nothing changed"). The overhead
is what our process adds to buildx with ``tar=false``. The peak memory is that of our process alone, without buildx, at
a quarter of the size and at the whole.

Uses the engine that ``build-once`` would use; where there is none, or with ``--own-engine``, one is started and ended
(root on a Debian family system). Nothing is pulled. Every goal is printed with whether it was reached.

    python benchmarks/build_once.py                     600 MB, three rounds
    python benchmarks/build_once.py --megabytes 200 --json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from buildopt.engine.connection import Engine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from some_engine import engine_for  # noqa: E402 - it lies beside the tests

PLATFORMS = "linux/amd64,linux/arm64"
LAYERS = 4
UNCHANGED = 10
"""How often "nothing changed" is timed where its best counts."""
SITUATIONS = ("first", "unchanged", "changed")
AGAIN = "unchanged, in a row"

TAR, FOLDER = "buildx, type=oci", "buildx, tar=false"
OUR_TAR, OUR_FOLDER = "build-once, tar", "build-once, folder"

# Runs the command in a process of its own and writes down its peak (VmHWM is that of this program alone: the figures of
# getrusage begin with what the parent had, and end with what buildx took).
MEMORY = """
import re, sys
from buildopt.cli import main
place = sys.argv.pop(1)
code = main(sys.argv[1:])
status = open("/proc/self/status").read()
open(place, "w").write(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to build: the command for an output below a folder."""

    name: str
    argv: Callable[[Path], Sequence[str]]

    @property
    def folder(self) -> str:
        """A name for its output: buildx would split it at a comma."""
        return self.name.replace(", ", "-").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, and what was."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        word = "reached" if self.reached else "missed"
        return f"{self.name:66}{self.value:8.2f}{self.unit}, at most {self.limit:g}{self.unit}: {word}"


def ways(engine: Engine, context: Path) -> list[Way]:
    """The commands that are compared."""
    buildx = [*engine.buildx, *(["--builder", engine.builder] if engine.builder else [])]
    plain = [*buildx, "build", "--platform", PLATFORMS, "--provenance=mode=min", "--progress", "rawjson"]
    ours = [sys.executable, "-m", "buildopt", "build-once", str(context), "--platforms", PLATFORMS, "--quiet"]
    return [
        Way(TAR, lambda out: [*plain, "--output", f"type=oci,dest={out}/image.tar", str(context)]),
        Way(FOLDER, lambda out: [*plain, "--output", f"type=oci,tar=false,dest={out}/image", str(context)]),
        Way(OUR_TAR, lambda out: [*ours, "-o", f"{out}/image.tar"]),
        Way(OUR_FOLDER, lambda out: [*ours, "-o", f"{out}/image"]),
    ]


def write_context(folder: Path, megabytes: int) -> None:
    """A context whose image has ``megabytes`` in ``LAYERS`` layers, per platform, shared by both."""
    lines = ["FROM scratch"]
    for number in range(LAYERS):
        with open(folder / f"data{number}", "wb") as stream:
            for _ in range(max(1, megabytes // LAYERS)):
                stream.write(os.urandom(1_000_000))
        lines.append(f"COPY data{number} /data{number}")
    lines.append("COPY last /last")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    (folder / "last").write_text("0")


def timed(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds that a command took; its output is shown where it fails."""
    began = time.perf_counter()
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{argv} failed:\n{done.stderr[-2000:]}")
    return seconds


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine, a context, and room for outputs."""

    engine: Engine
    context: Path
    outputs: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.engine.environment}

    def rounds(self, count: int) -> dict[str, dict[str, list[float]]]:
        """Seconds by way and situation."""
        compared = ways(self.engine, self.context)
        self.warm(compared[1])
        found: dict[str, dict[str, list[float]]] = {
            way.name: {name: [] for name in (*SITUATIONS, AGAIN)} for way in compared
        }
        for turn in range(count):
            for way in compared[turn % 4 :] + compared[: turn % 4]:
                for name, seconds in self.measure(way, turn):
                    found[way.name][name].append(seconds)
        quick = [way for way in compared if way.name != TAR]
        for way in quick:
            self.fresh(way)
            timed(way.argv(self.outputs / way.folder), self.environment)
        for _ in range(UNCHANGED):
            for way in quick:
                found[way.name][AGAIN].append(timed(way.argv(self.outputs / way.folder), self.environment))
        for way in quick:
            shutil.rmtree(self.outputs / way.folder)
        return found

    def warm(self, way: Way) -> None:
        """Fill the build cache, and with it what exports reuse."""
        self.fresh(way)
        timed(way.argv(self.outputs / way.folder), self.environment)
        shutil.rmtree(self.outputs / way.folder)

    def fresh(self, way: Way) -> None:
        """An empty folder for its output. What was written before is on the disk: the next one does not wait for it."""
        (self.outputs / way.folder).mkdir()
        os.sync()

    def measure(self, way: Way, turn: int) -> Iterator[tuple[str, float]]:
        """A first, an unchanged and a changed build into a fresh folder."""
        self.fresh(way)
        folder = self.outputs / way.folder
        yield "first", timed(way.argv(folder), self.environment)
        yield "unchanged", timed(way.argv(folder), self.environment)
        (self.context / "last").write_text(f"{way.name} {turn}")
        yield "changed", timed(way.argv(folder), self.environment)
        shutil.rmtree(folder)

    def memory(self) -> dict[str, float]:
        """Peak of our process in MB, by kind of output, for a first build."""
        found = {}
        place = self.outputs / "memory"
        for way in ways(self.engine, self.context):
            if way.name in (OUR_TAR, OUR_FOLDER):
                self.fresh(way)
                words = way.argv(self.outputs / way.folder)[3:]
                timed([sys.executable, "-c", MEMORY, str(place), *words], self.environment)
                found[way.name] = int(place.read_text()) * 1024 / 1e6
                shutil.rmtree(self.outputs / way.folder)
        return found


def goals(
    seconds: Mapping[str, Mapping[str, Sequence[float]]], memory: Mapping[int, Mapping[str, float]]
) -> list[Goal]:
    """Everything that was promised."""

    def median(way: str, name: str) -> float:
        return statistics.median(seconds[way][name])

    def ratio(way: str, name: str) -> float:
        return median(way, name) / median(TAR, name)

    def best(way: str, name: str) -> float:
        return min([*seconds[way][name], *(seconds[way][AGAIN] if name == "unchanged" else ())])

    found = [
        Goal("first build, layout: times the seconds of buildx's tar", ratio(OUR_FOLDER, "first"), 0.4, ""),
        Goal("first build, tar: times the seconds of buildx's tar", ratio(OUR_TAR, "first"), 0.5, ""),
    ]
    for way in (OUR_FOLDER, OUR_TAR):
        kind = way.rpartition(" ")[2]
        count = len(seconds[way]["unchanged"]) + len(seconds[way][AGAIN])
        found += [
            Goal(f"nothing changed, {kind}: all of it, best of {count}", best(way, "unchanged"), 1.5, " s"),
            Goal(f"nothing changed, {kind}: times buildx's tar", ratio(way, "unchanged"), 0.08, ""),
        ]
    for name in ("unchanged", "first"):
        added = best(OUR_FOLDER, name) - best(FOLDER, name)
        found.append(Goal(f"{name}: seconds added to buildx with tar=false, best of both", added, 0.5, " s"))
    for megabytes, peaks in memory.items():
        for way, peak in peaks.items():
            found.append(Goal(f"peak memory of our process, {megabytes} MB, {way}", peak, 120, " MB"))
    return found


def report(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """The table."""
    base = [statistics.median(seconds[TAR][name]) for name in SITUATIONS]
    yield f"{'':20}{''.join(f'{name:>12}' for name in SITUATIONS)}   times the seconds of buildx's tar"
    for way, columns in seconds.items():
        medians = [statistics.median(columns[name]) for name in SITUATIONS]
        cells = "".join(f"{value:10.2f} s" for value in medians)
        ratios = "".join(f"{value / other:7.3f}" for value, other in zip(medians, base, strict=True))
        yield f"{way:20}{cells}{ratios}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--own-engine", action="store_true", help="start one, though another is there")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.megabytes < 4 * LAYERS:
        parser.error(f"--rounds is at least 1, --megabytes at least {4 * LAYERS}")
    memory: dict[int, dict[str, float]] = {}
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder, prefix="benchmark-") as name,
        engine_for(Path(name, "engine"), chosen.own_engine) as engine,
    ):
        for megabytes in (chosen.megabytes // 4, chosen.megabytes):
            context, outputs = Path(name, f"context-{megabytes}"), Path(name, f"outputs-{megabytes}")
            context.mkdir()
            outputs.mkdir()
            write_context(context, megabytes)
            bench = Bench(engine, context, outputs)
            memory[megabytes] = bench.memory()
        seconds = bench.rounds(chosen.rounds)
    reached = goals(seconds, memory)
    if chosen.json:
        figures = {
            "megabytes": chosen.megabytes,
            "engine": engine.description,
            "load": load,
            "seconds": seconds,
            "memory_mb": memory,
            "goals": [{**asdict(goal), "reached": goal.reached} for goal in reached],
        }
        print(json.dumps(figures, indent=2))
        return
    print(f"{chosen.megabytes} MB, two platforms, medians; {engine.description}; load {load:.1f} at the start")
    print("\n".join([*report(seconds), "", *map(str, reached)]))


if __name__ == "__main__":
    main()
