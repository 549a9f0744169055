"""``docker buildx build --output type=oci,dest=image.tar`` beside ``buildopt build-once``, on one engine in one run.

Two platforms, an image of ``--megabytes`` of data that does not compress. "first": an empty output and a warm build
cache, so that only the export is timed; "unchanged": the same again; "changed": the last layer differs. Every figure is
the median of ``--rounds`` runs. Needs an engine (``buildopt engine up``); nothing is pulled.

    python benchmarks/build_once.py --megabytes 600 --rounds 3
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.engine import connection
from buildopt.engine.connection import Engine

PLATFORMS = "linux/amd64,linux/arm64"
LAYERS = 4


@dataclass(frozen=True, slots=True)
class Way:
    """One way to build: the command for an output below a folder."""

    name: str
    argv: Callable[[Path], Sequence[str]]


def ways(engine: Engine, context: Path) -> list[Way]:
    """The commands that are compared."""
    buildx = [*engine.buildx, *(["--builder", engine.builder] if engine.builder else [])]
    plain = [*buildx, "build", "--platform", PLATFORMS, "--provenance=mode=min", "--progress", "rawjson"]
    ours = [sys.executable, "-m", "buildopt", "build-once", str(context), "--platforms", PLATFORMS, "--quiet"]
    return [
        Way("buildx type=oci, tar", lambda out: [*plain, "--output", f"type=oci,dest={out}/image.tar", str(context)]),
        Way(
            "buildx type=oci, folder",
            lambda out: [*plain, "--output", f"type=oci,tar=false,dest={out}/image", str(context)],
        ),
        Way("buildopt, tar", lambda out: [*ours, "-o", f"{out}/image.tar"]),
        Way("buildopt, folder", lambda out: [*ours, "-o", f"{out}/image"]),
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


def measure(way: Way, context: Path, outputs: Path, environment: Mapping[str, str], turn: int) -> list[float]:
    """Seconds of a first, an unchanged and a changed build into a fresh folder."""
    folder = outputs / f"{turn}"
    folder.mkdir()
    try:
        first = timed(way.argv(folder), environment)
        unchanged = timed(way.argv(folder), environment)
        (context / "last").write_text(f"{way.name} {turn}")
        changed = timed(way.argv(folder), environment)
    finally:
        shutil.rmtree(folder)
    return [first, unchanged, changed]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    chosen = parser.parse_args()
    engine = connection.find()
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="benchmark-") as name:
        context, outputs = Path(name, "context"), Path(name, "outputs")
        context.mkdir()
        outputs.mkdir()
        write_context(context, chosen.megabytes)
        compared = ways(engine, context)
        environment = {**os.environ, **engine.environment}
        timed(compared[1].argv(outputs), environment)  # fills the build cache, and with it what exports reuse
        rounds: dict[str, list[list[float]]] = {way.name: [] for way in compared}
        for turn in range(chosen.rounds):
            for way in compared:  # taken in turns, so that a slow moment of the machine meets all of them
                rounds[way.name].append(measure(way, context, outputs, environment, turn))
    print(f"{chosen.megabytes} MB, two platforms, median of {chosen.rounds}; {engine.description}")
    print(f"{'':26}{'first':>9}{'unchanged':>11}{'changed':>9}   times faster than buildx's tar")
    base = [statistics.median(column) for column in zip(*rounds[compared[0].name], strict=True)]
    for way in compared:
        medians = [statistics.median(column) for column in zip(*rounds[way.name], strict=True)]
        ratios = "  ".join(f"{ours / theirs:.1f}" for ours, theirs in zip(base, medians, strict=True))
        print(f"{way.name:26}{medians[0]:8.2f}s{medians[1]:10.2f}s{medians[2]:8.2f}s   {ratios}")


if __name__ == "__main__":
    main()
