"""How right ``buildopt why`` is: staged changes on a real engine, and what is said of the build after each.

A change is *right* where exactly the steps that it touches are named, each with its cause; *not sure* where the answer
says so itself; *wrong* otherwise. An engine of its own is started and ended (root on a Debian family system), for its
cache is emptied on the way. With ``--any-engine`` it is the one that ``build-once`` would use.

    python benchmarks/why.py              a private engine of its own
    python benchmarks/why.py --verbose    with what is said of each change
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from some_engine import engine_for  # noqa: E402 - it lies beside the tests
from staged_changes import Project, verdicts  # noqa: E402

from buildopt.engine import packages  # noqa: E402
from buildopt.engine.folders import Folders  # noqa: E402
from buildopt.sandbox.registries import start_registry, stopped_after  # noqa: E402


def busybox(folder: Path) -> Path:
    """A folder with busybox for both architectures."""
    made = folder / "busybox"
    made.mkdir()
    for architecture in ("amd64", "arm64"):
        tree = folder / f"tree-{architecture}"
        cache = Folders.at().downloads / "packages"
        suite = packages.running_suite()
        packages.fetch(["busybox-static"], suite=suite, prefix=tree, cache=cache, architecture=architecture)
        program = next(path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.is_file())
        shutil.copy(program, made / f"busybox-{architecture}")
    return made


def main() -> int:
    """Run the table and print it; exit 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--any-engine", action="store_true", help="use the engine that is there; its cache is emptied")
    parser.add_argument("--verbose", action="store_true", help="print what is said of every change")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            engine_for(folder / "engine", not given.any_engine) as engine,
            stopped_after(start_registry(folder / "registry")) as registry,
        ):
            project = Project(folder, engine, registry.url.partition("://")[2], busybox(folder))
            project.make()
            began = time.monotonic()
            for entry in verdicts(project):
                counts[entry.verdict] += 1
                said = f": {entry.said}" if given.verbose or entry.verdict != "right" else ""
                print(f"{entry.verdict:8}  {entry.change}{said}", flush=True)
            print(f"{sum(counts.values())} changes in {time.monotonic() - began:.0f} s")
    print(f"right {counts['right']}, not sure {counts['not sure']}, wrong {counts['wrong']}")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
