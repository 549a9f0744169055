"""Kills ``push`` again and again at random moments, and asks the registries what it left.

Two real registries over TLS; images of two platforms with attestations, of a few large layers or of many small ones;
one tag, two tags, two repositories of a registry (which takes blobs over from each other) or both registries at once;
four of five times an older image has the tags. Eight of ten signals are SIGKILL, the rest SIGTERM and SIGINT. Half of
the moments are spread over a whole run, half over the time from its first upload on.

After each kill, every tag has to name the older or the newer image, and that has to be whole: all manifests and blobs
are fetched and hashed, by Python's own HTTP client; the older image stays whole; nothing lies in the temporary, home
and working folders, and the artifact is untouched. Then the next run has to finish, and to send what the registries
lacked and nothing else, by its own figures and by the registries' logs. A push that was quicker than its kill does not
count. Exits with 1 where anything was otherwise.

    python benchmarks/push_kills.py --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import registry_server

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from push_kills import PLACES, STATES, Outcome, Project, allow_interrupts, choose  # noqa: E402 - it lies beside the tests


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What tags named after a kill, and what the next runs sent, by destinations."""
    yield f"{'':18}{'kills':>7}{''.join(f'{name:>8}' for name in STATES)}{'sent again':>26}"
    for places in PLACES:
        chosen = [item for item in outcomes if item.kill.places == places and item.in_time]
        counts = Counter(state for item in chosen for state in item.states)
        total, sent = sum(item.total for item in chosen), sum(item.sent for item in chosen)
        share = f"{sent / 1e6:.0f} of {total / 1e6:.0f} MB"
        yield f"{places:18}{len(chosen):7}{''.join(f'{counts[name]:8}' for name in STATES)}{share:>26}"


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    chosen = parser.parse_args()
    allow_interrupts()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="push-kills-") as name:
        folder = Path(name)
        certificates = make_certificates(folder / "certificates")
        with (
            registry_server(folder / "first", tls=certificates) as first,
            registry_server(folder / "second", tls=certificates) as second,
            suppress(KeyboardInterrupt),  # the table is printed then too
        ):
            project = Project(folder / "project", (first, second))
            for kill in choose(chosen.seed):
                outcomes.append(project.kill(kill))
                for problem in outcomes[-1].problems:
                    print(f"{kill}: {problem}", file=sys.stderr, flush=True)
                if sum(item.in_time for item in outcomes) == chosen.kills:
                    break
    killed = [item for item in outcomes if item.in_time]
    wrong = sum(bool(item.problems) for item in outcomes)
    print("\n".join(table(outcomes)))
    signals = Counter(item.kill.signal.name for item in killed)
    print(f"signals: {dict(signals.most_common())}; {len(outcomes) - len(killed)} came too late and do not count")
    partly = sum(0 < item.missing < item.total for item in killed)
    print(
        f"something, but not all, was there after {partly} kills; every next run sent exactly what was missing: ",
        end="",
    )
    print("no" if wrong else "yes")
    print(f"{len(killed)} killed in time, {wrong} wrong; {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
