"""Pushes small images through a proxy that does something wrong in every run, and asks the registry what came of it.

Each run does one or two things wrong at one or two steps of the protocol, once, twice or always. It has to end with the
image pushed whole, or with the right kind of error; no tag may name an image that cannot be pulled whole, whatever
happened; and the next push, with nothing wrong, has to finish and to send only what is missing. The registry is
Debian's docker-registry. Some runs meet a registry that takes manifests whatever they name, so that nothing but the
push itself looks after the tags. With --tls the proxy speaks TLS to both sides, and it is TLS, too, that goes wrong:
in handshakes, in the middle of records, by ends without a farewell. Exits with 1 where anything was otherwise; a run
is repeated with --only.

    python benchmarks/faults.py --runs 1000 --seed 1
    python benchmarks/faults.py --runs 1000 --seed 2 --tls
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import registry_server

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from faulty_proxy import Tls  # noqa: E402 - it lies beside the tests
from push_faults import Result, choose, described, run_all  # noqa: E402 - it lies beside the tests
from scripted import scripted_registry  # noqa: E402 - it lies beside the tests


def table(results: Sequence[Result]) -> Iterator[str]:
    """How destinations ended, by what was done wrong."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    runs: Counter[str] = Counter()
    for result in results:
        names = " + ".join(dict.fromkeys(fault.kind.name for fault in result.fired)) or "nothing was met"
        name = names if len(result.fired) < 2 else "two faults"
        counts[name] += result.ended
        runs[name] += 1
    for name in sorted(counts):
        ended = ", ".join(f"{kind} {count}" for kind, count in counts[name].most_common())
        yield f"{name:26}{runs[name]:6} runs   {ended}"


def main() -> None:
    """Run, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, action="append", help="this run alone (may be given again)")
    parser.add_argument("--workers", type=int, default=4, help="runs at the same time")
    parser.add_argument("--tls", action="store_true", help="all over TLS")
    chosen = parser.parse_args()
    numbers = chosen.only or list(range(chosen.runs))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        certificates = make_certificates(folder / "certificates") if chosen.tls else None
        pair = (certificates.certificate, certificates.key) if certificates is not None else None
        tls = Tls.of(certificates) if certificates is not None else None
        with registry_server(folder / "registry", tls=certificates) as running, scripted_registry(pair) as gullible:
            gullible.gullible = True
            choices = [choose(chosen.seed, number, chosen.tls) for number in numbers]
            results = run_all(
                running.authority, choices, folder / "work", chosen.workers, gullible=gullible.host, tls=tls
            )
    print("\n".join(table(results)))
    ended = sum((result.ended for result in results), Counter[str]())
    fired = sum(fault.fired for result in results for fault in result.fired)
    broken = [result for result in results if result.violations]
    print(f"{len(results)} runs, {fired} faults, {time.monotonic() - began:.0f} s: {dict(ended.most_common())}")
    for result in broken:
        print(f"VIOLATION {described(result.choice)}")
        print("".join(f"    {text}\n" for text in result.violations), end="")
    print(f"{len(broken)} runs went wrong")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
