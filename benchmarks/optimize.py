"""What ``buildopt optimize`` gains: every pair of dockerfiles/ is built before and after, on one engine in one run.

Of each pair, both Dockerfiles are built with the same project in four situations, one side right after the other and in
turns first, so that a slow moment of the machine meets both:

- cold: no layer is cached and all cache mounts are empty; base images are there already.
- unchanged: the same again.
- source: a line of the sources has changed (the pair's changes/source).
- dependency: a dependency has been added (its changes/dependency, or the text of both Dockerfiles that pair.yaml
  names).

A build is ``docker buildx build`` into an OCI layout that the last build of this side wrote too, so that the time has
all that people wait for: sending the context, the steps, and writing out the layers that are new. Each kind of change
is built once a round, after the cold build; between rounds the engine's cache is emptied, or a change would be no
change the second time. Figures are medians of the rounds; what is printed is "before after ratio". A build in which
nothing has changed takes a while too (the column "unchanged"), so no ratio comes near 0 where the original takes
seconds.

The size is that of the unpacked layers. The base images are stand-ins made of Debian's packages (buildopt/sandbox): a
bit smaller than the official ones, in the same proportions. Goals: a build after a changed source takes at most 0.3
times as long as the original's, after an added dependency at most 0.5 times (medians of the pairs), and the image is at
most 0.35 times as large (the median of those that were split).

An engine of its own is started (root on a Debian family system); packages come from Debian, PyPI and the npm registry.
Where these are near, downloads take no time that a cache mount could save: ``--line`` makes the engine's own bridge as
slow as the line of an office or a home (with tc, of the package iproute2).

    python benchmarks/optimize.py                       all pairs, one round
    python benchmarks/optimize.py --rounds 3 go rust    these
    python benchmarks/optimize.py --line 50             at most 50 Mbit/s for what RUN downloads
    python benchmarks/optimize.py --json                for programs
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from buildopt import process
from buildopt.commands.common import terminated
from buildopt.engine import daemon
from buildopt.engine.connection import Engine
from buildopt.engine.folders import Folders
from buildopt.prove import stages
from buildopt.prove.builds import Builder, How, nobody
from buildopt.prove.image import Reader
from buildopt.prove.scenarios import COLD, DEPENDENCY, SOURCE, UNCHANGED, Scenario
from buildopt.prove.workspace import Workspace, sides
from buildopt.sandbox import base_images, trees

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pairs import PAIRS, Pair  # noqa: E402 - it lies beside the tests

SITUATIONS = (COLD, UNCHANGED, SOURCE, DEPENDENCY)
GOALS = {SOURCE: 0.3, DEPENDENCY: 0.5, "size": 0.35}


@dataclass(frozen=True, slots=True)
class Two:
    """A figure before and after: seconds or bytes."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one pair. ``seconds`` by situation; ``size`` in bytes."""

    pair: str
    split: bool
    seconds: dict[str, Two]
    size: Two


def measure(pair: Pair, engine: Engine, rounds: int, folder: Path) -> Measured:
    """Time a pair."""
    result = pair.rewrite()
    found: dict[str, list[Two]] = {name: [] for name in SITUATIONS}
    size = Two(0, 0)
    for number in range(rounds):
        if number:
            process.run([*engine.buildx, "prune", "--all", "--force"], env=engine.environment)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            builder = Builder(engine, Path(work), How(), nobody)
            made = [
                Workspace(Path(work), side, pair.context) for side in sides(pair.before, result.source, result.files)
            ]
            for side in (item.side for item in made):
                builder.fetch(stages.probe_text(side.source) or "FROM scratch\n", f"fetch-{side.name}")
            for name, two in _round(builder, made, pair.scenarios(), reverse=number % 2 == 1):
                found[name].append(two)
                if name == COLD:
                    size = _sizes(Path(work) / "layouts")
            builder.forget(lambda text: None)
    seconds = {
        name: Two(statistics.median(two.before for two in all_of), statistics.median(two.after for two in all_of))
        for name, all_of in found.items()
        if all_of
    }
    return Measured(pair.name, stages.leaves_behind(pair.before, result.source, None), seconds, size)


def _round(
    builder: Builder, both: Sequence[Workspace], scenarios: Sequence[Scenario], *, reverse: bool
) -> Iterator[tuple[str, Two]]:
    for scenario in (None, *scenarios):
        seconds: dict[str, float] = {}
        for workspace in reversed(both) if reverse else both:
            if scenario is not None:
                scenario.apply(workspace)
            built = builder.build(workspace, workspace.side.name, cold=scenario is None)
            seconds[workspace.side.name] = built.seconds
            workspace.restore()
        yield scenario.name if scenario is not None else COLD, Two(seconds["before"], seconds["after"])


def _sizes(layouts: Path) -> Two:
    reader = Reader()
    before, after = (next(iter(reader.images(layouts / name).values())).sizes for name in ("before", "after"))
    return Two(before.unpacked, after.unpacked)


def line_of(rate: int | None) -> str:
    """The line that downloads come over, for a reader."""
    return f"downloads at {rate} Mbit/s" if rate else "downloads as fast as they come"


def slow_line(bridge: str, rate: int) -> None:
    """Let containers receive at most ``rate`` Mbit/s. It ends with the bridge."""
    limit = ("tbf", "rate", f"{rate}mbit", "burst", "256kb", "latency", "200ms")
    process.run(["tc", "qdisc", "add", "dev", bridge, "root", *limit])


def ratios(found: Sequence[Measured]) -> dict[str, float]:
    """The medians that the goals are about."""
    columns = {name: [item.seconds[name].ratio for item in found if name in item.seconds] for name in SITUATIONS}
    columns["size"] = [item.size.ratio for item in found if item.split]
    return {name: statistics.median(column) for name, column in columns.items() if column}


def line(item: Measured) -> str:
    """A row of the table."""
    cells = []
    for name in SITUATIONS:
        two = item.seconds.get(name)
        cells.append(f"{two.before:7.1f}{two.after:6.1f}{two.ratio:6.2f}" if two else f"{'none':>19}")
    size = f"{item.size.before / 1e6:7.0f}{item.size.after / 1e6:6.0f}{item.size.ratio:6.2f}"
    return f"{item.pair:15}{''.join(cells)}{size}  {'split' if item.split else ''}"


def summary(found: Sequence[Measured]) -> Iterator[str]:
    """The lines below the table."""
    medians = ratios(found)
    cells = "".join(f"{medians[name]:19.2f}" if name in medians else " " * 19 for name in (*SITUATIONS, "size"))
    yield f"{'median ratio':15}{cells}  (size: of those split)"
    for name, goal in GOALS.items():
        if name in medians:
            yield f"{name}: {medians[name]:.2f}, goal {goal}: {'reached' if medians[name] <= goal else 'missed'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help="folders of dockerfiles/ (all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--line", type=int, metavar="MBIT", help="what RUN downloads comes at most at so many Mbit/s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    chosen = parser.parse_args()
    known = {pair.name: pair for pair in PAIRS}
    unknown = [name for name in chosen.pairs if name not in known]
    if unknown or chosen.rounds < 1:
        parser.error(f"there is no pair {unknown[0]}" if unknown else "--rounds is at least 1")
    pairs = [known[name] for name in chosen.pairs] or list(PAIRS)
    platforms = [f"linux/{trees.native_architecture()}"]
    names = dict.fromkeys(name for pair in pairs for name in pair.images())
    layouts = base_images.prepare(list(names), platforms=platforms, say=lambda text: print(text, file=sys.stderr))
    found = []
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="benchmark-") as work:
        folder = Path(work)
        with (
            terminated(),
            base_images.mirror(folder / "mirror", layouts) as running,
            daemon.private_engine(
                folder / "engine", downloads=Folders.at().downloads, registry_mirrors=(running.url,)
            ) as engine,
        ):
            if chosen.line:
                slow_line(Folders.at(folder / "engine").name, chosen.line)
            if not chosen.json:
                how = f"median of {chosen.rounds}; {line_of(chosen.line)}"
                print(f"seconds and MB: before, after, ratio; {how}; {engine.description}")
                print(f"{'':15}{''.join(f'{name:>19}' for name in (*SITUATIONS, 'size'))}")
            for pair in pairs:
                found.append(measure(pair, engine, chosen.rounds, folder))
                if not chosen.json:
                    print(line(found[-1]), flush=True)
    if chosen.json:
        figures = {
            "rounds": chosen.rounds,
            "line_mbit": chosen.line,
            "pairs": [asdict(item) for item in found],
            "median_ratios": ratios(found),
        }
        print(json.dumps(figures, indent=2))
    else:
        print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
