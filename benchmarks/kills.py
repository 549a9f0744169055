"""Kills ``build-once`` again and again at random moments, and looks at what it left.

Half of the SIGKILLs meet the parent alone, whose buildx lives on; half the whole process group. Half of the builds
write a folder, half a tar; before one of ten there is no old artifact. After each kill the artifact has to be the old
or the new image, whole (``inspect --check``, and both platforms of one state); then the next run, at once, has to
succeed and leave the new image and nothing else. A build that was quicker than its kill does not count.
Exits with 1 where anything was otherwise.

Uses the engine that ``build-once`` would use; where there is none, or with ``--own-engine``, one is started and ended.

    python benchmarks/kills.py --kills 200
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kills import STATES, Outcome, Project, choose, left_running  # noqa: E402 - it lies beside the tests
from some_engine import engine_for  # noqa: E402 - it lies beside the tests


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Counts by what was killed and what was there."""
    states = (*STATES, "broken")
    yield f"{'':28}{''.join(f'{name:>10}' for name in states)}"
    for output in ("image", "image.tar"):
        for group in (False, True):
            chosen = [item for item in outcomes if (item.kill.name, item.kill.group) == (output, group)]
            counts = Counter(item.state for item in chosen)
            who = "the group" if group else "the parent alone"
            yield f"{output:10} {who:17}{''.join(f'{counts[name]:10}' for name in states)}"


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--own-engine", action="store_true", help="start one, though another is there")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    chosen = parser.parse_args()
    began = time.monotonic()
    outcomes = []
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder, prefix="kills-") as name,
        engine_for(Path(name, "engine"), chosen.own_engine) as engine,
    ):
        project = Project(Path(name, "project"), {**os.environ, **engine.environment})
        with suppress(KeyboardInterrupt):  # the table is printed then too
            for kill in choose(chosen.seed):
                outcomes.append(project.kill(kill))
                if outcomes[-1].problem:
                    print(f"{kill}: {outcomes[-1].problem}", file=sys.stderr, flush=True)
                if sum(item.state != "finished" for item in outcomes) == chosen.kills:
                    break
        running = left_running(project.folder, patience=30)
    print("\n".join(table(outcomes)))
    problems = sum(bool(item.problem) for item in outcomes)
    killed = sum(item.state != "finished" for item in outcomes)
    print(f"{killed} killed in time, {problems} wrong; every next run repaired: {not problems}")
    print(f"{len(running)} processes left; {time.monotonic() - began:.0f} s")
    sys.exit(1 if problems or running else 0)


if __name__ == "__main__":
    main()
