"""``buildopt push`` beside crane, oras and skopeo, in one run, over TLS to registries on loopback.

Every push goes to an empty registry of its own, the tools take turns, and ratios are those of the medians of
``--rounds``; where a goal is in seconds, the best of ten counts. The image has two platforms and layers that do not
compress. The situations:

    one       ``--megabytes`` to one registry
    two       the same to two registries: buildopt in one run, a peer in two
    far       40 layers of 200 kB to a registry that is 50 ms away
    retag     a further tag of what is there already, near and 50 ms away
    memory    the peak of buildopt's memory with ``--large`` megabytes
    cpu       seconds of user and system time a gigabyte, in "one"

The distance is a relay that holds everything back for half of the round trip, each way, and the first bytes of a
connection for a whole one more, as the handshake of TCP would. Peers are run as their manuals say, with defaults.

Beside them stands what no push can do without: the bodies alone, sent by three processes of curl for each registry to
uploads that were begun before the clock runs; nothing is asked, read back, named or told.

    python benchmarks/push.py                           all of it
    python benchmarks/push.py one two --rounds 7        only these
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.sandbox import programs
from buildopt.sandbox.certificates import Certificates, make_certificates
from buildopt.sandbox.registries import registry_server

KIND = "application/vnd.oci.image"
FLOOR = "bodies alone"
OWN = ("buildopt", FLOOR)
STREAMS = 3
"""Processes of curl for each registry."""
SITUATIONS = ("one", "two", "far", "retag", "memory")
ROUND_TRIP = 0.05
BEST_OF = 10

# Runs the command in a process of its own and writes down its peak; the figures of getrusage begin with the parent's.
MEMORY = """
import re, sys
from buildopt.cli import main
place = sys.argv.pop(1)
code = main(sys.argv[1:])
open(place, "w").write(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to push: the command for a layout folder and a reference."""

    name: str
    argv: Callable[[Path, Sequence[str]], list[str]]


@dataclass(slots=True)
class Times:
    """What the runs of one tool took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    """Processor time of the registries meanwhile."""
    busy: list[float] = field(default_factory=list)
    """Processor time of the whole machine meanwhile: also of the kernel, which writes what registries store."""

    def add(self, wall: float, cpu: float, served: float, busy: float) -> None:
        """One more run."""
        self.wall.append(wall)
        self.cpu.append(cpu)
        self.served.append(served)
        self.busy.append(busy)


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, and what was; ``peers`` are the figures beside it."""

    name: str
    value: float
    limit: float
    unit: str
    peers: str = ""


def tools() -> list[Tool]:
    """buildopt, and the peers from Debian's packages."""
    crane, oras = (programs.from_suite(name, name) for name in ("crane", "oras"))
    skopeo = programs.installed_or_fetched("skopeo", "skopeo")
    own = [str(Path(sys.executable).with_name("buildopt")), "push"]
    return [
        Tool("buildopt", lambda image, refs: [*own, *refs, "--from-oci", str(image), "--quiet"]),
        Tool("crane", lambda image, refs: [crane, "push", "--index", str(image), *refs]),
        Tool("oras", lambda image, refs: [oras, "cp", "--from-oci-layout", f"{image}:x", *refs]),
        Tool(
            "skopeo",
            lambda image, refs: [
                *(skopeo, "copy", "--insecure-policy", "--all", f"oci:{image}:x"),
                *(f"docker://{ref}" for ref in refs),
            ],
        ),
    ]


class Layout:
    """Writes an image of random layers as a layout folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        """Write a blob; its descriptor."""
        name = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / "sha256" / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    def manifest(self, architecture: str, layers: int, size: int) -> dict[str, object]:
        """One platform, with ``layers`` layers of ``size`` bytes."""
        kind = f"{KIND}.manifest.v1+json"
        content = [self.blob(os.urandom(size), f"{KIND}.layer.v1.tar+gzip") for _ in range(layers)]
        config = self.blob(json.dumps({"os": "linux", "architecture": architecture}).encode(), f"{KIND}.config.v1+json")
        document = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": content}
        return {
            **self.blob(json.dumps(document).encode(), kind),
            "platform": {"os": "linux", "architecture": architecture},
        }

    def close(self, descriptor: dict[str, object]) -> Path:
        """Name the image in index.json."""
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": "x"}}
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return self.folder


def two_platforms(folder: Path, megabytes: int) -> Path:
    """An image of two platforms with five layers each."""
    layout = Layout(folder)
    kind = f"{KIND}.index.v1+json"
    manifests = [layout.manifest(name, 5, megabytes * 100_000) for name in ("amd64", "arm64")]
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    return layout.close(layout.blob(index, kind))


def many_layers(folder: Path) -> Path:
    """An image of one platform with 40 layers of 200 kB."""
    layout = Layout(folder)
    return layout.close(layout.manifest("amd64", 40, 200_000))


async def _relay(port: int, target: int, ready: Callable[[int], None]) -> None:
    """Hold what passes back: half a round trip each way, and a whole one before the first bytes."""
    loop = asyncio.get_running_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: float) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def late() -> None:
            while True:
                moment, data = await waiting.get()
                await asyncio.sleep(max(0.0, moment - loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)

        task = asyncio.create_task(late())
        earliest = loop.time() + first
        try:
            while data := await reader.read(1 << 18):
                waiting.put_nowait((max(loop.time() + ROUND_TRIP / 2, earliest), data))
        except OSError:
            pass
        waiting.put_nowait((loop.time() + ROUND_TRIP / 2, b""))
        await task

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(
            pump(reader, inner_writer, ROUND_TRIP * 1.5), pump(inner_reader, writer, 0), return_exceptions=True
        )

    server = await asyncio.start_server(client, "127.0.0.1", port, limit=1 << 22)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _serve_relay(target: int, answer: multiprocessing.Queue[int]) -> None:
    asyncio.run(_relay(0, target, answer.put))


@contextmanager
def far_away(target: int) -> Iterator[str]:
    """``host:port`` that leads to a port of this machine as if it was far away."""
    answer: multiprocessing.Queue[int] = multiprocessing.Queue()
    relay = multiprocessing.Process(target=_serve_relay, args=(target, answer), daemon=True)
    relay.start()
    try:
        yield f"127.0.0.1:{answer.get(timeout=30)}"
    finally:
        relay.terminate()
        relay.join()


def machine_busy() -> float:
    """Seconds that the processors of this machine have been busy."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


class Bench:
    """The registries, the images and the tools of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates: Certificates = make_certificates(folder / "certificates")
        bundle = str(self.certificates.bundle)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SSL_CERT_FILE": bundle}
        self.tools = tools()
        self.floor = Tool(FLOOR, self.bodies_alone)
        self._number = 0
        self._servers: list[int] = []

    def bodies_alone(self, image: Path, refs: Sequence[str]) -> list[str]:
        """Begin an upload of every blob at every registry; the command that sends the bodies there."""
        curl = [programs.installed_or_fetched("curl", "curl"), "--silent", "--show-error"]
        begin = [*curl, "--fail", "--output", os.devnull, "--write-out", "%header{location}", "--data", ""]
        blobs = sorted((image / "blobs" / "sha256").iterdir(), key=lambda path: -path.stat().st_size)
        commands: list[str] = []
        for ref in refs:
            registry, repository = ref.rpartition(":")[0].split("/", 1)
            url = f"https://{registry}/v2/{repository}/blobs/uploads/"
            bodies = []
            for blob in blobs:
                begun = subprocess.run([*begin, url], env=self.environment, capture_output=True, check=True, text=True)
                place = f"{begun.stdout}&digest=sha256:{blob.name}"
                bodies.append(f'fail\nhttp1.1\nupload-file = "{blob}"\nurl = "{place}"\n')
            for number in range(STREAMS):
                stream = "next\n".join(bodies[number::STREAMS])
                commands.append(f"{' '.join(curl)} --fail-early --config - <<'END' &\n{stream}END\n")
        return ["bash", "-c", "".join(commands) + "for job in $(jobs -p); do wait $job || exit; done"]

    @contextmanager
    def registry(self, *, far: bool = False) -> Iterator[str]:
        """An empty registry, by its ``host:port``; what it holds is gone afterwards."""
        self._number += 1
        place = self.folder / f"registry{self._number}"
        with registry_server(place, tls=self.certificates) as running:
            os.sync()  # no tool pays for what another one left to be written
            self._servers.append(running.server.process_id)
            if far:
                with far_away(running.port) as name:
                    yield name
            else:
                yield running.authority
            self._servers.pop()
        shutil.rmtree(place)

    def served(self) -> float:
        """Seconds of processor time that the registries of now have used."""
        ticks = 0
        for process_id in self._servers:
            fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def push(self, tool: Tool, image: Path, refs: Sequence[str], times: Times) -> None:
        """One push, and its times."""
        argv = tool.argv(image, refs)
        served, busy = self.served(), machine_busy()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True)
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{tool.name} failed: {done.stderr}")
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        times.add(wall, cpu, self.served() - served, machine_busy() - busy)

    def turn(self, number: int, tools: Sequence[Tool]) -> list[Tool]:
        """The tools, each time in another order: none is always behind the same one, and what that leaves behind."""
        return random.Random(number).sample(tools, len(tools))

    def by_turns(self, image: Path, rounds: int, *, far: bool = False) -> dict[str, Times]:
        """Every tool to an empty registry, ``rounds`` times."""
        tools = self.tools if far else [*self.tools, self.floor]
        found = {tool.name: Times() for tool in tools}
        for number in range(rounds):
            for tool in self.turn(number, tools):
                with self.registry(far=far) as registry:
                    self.push(tool, image, [f"{registry}/bench/app:1"], found[tool.name])
        return found

    def to_two(self, image: Path, rounds: int) -> dict[str, Times]:
        """Every tool to two empty registries: buildopt in one run, the peers in two."""
        tools = [*self.tools, self.floor]
        found = {tool.name: Times() for tool in tools}
        for number in range(rounds):
            for tool in self.turn(number, tools):
                with self.registry() as one, self.registry() as other:
                    refs = [f"{one}/bench/app:1", f"{other}/bench/app:1"]
                    runs = Times()
                    for several in [refs] if tool.name in OWN else [[ref] for ref in refs]:
                        self.push(tool, image, several, runs)
                found[tool.name].add(sum(runs.wall), sum(runs.cpu), sum(runs.served), sum(runs.busy))
        return found

    def retag(self, image: Path, *, far: bool) -> float:
        """The best of ten pushes of a new tag, with nothing to send."""
        own = self.tools[0]
        with self.registry(far=far) as registry:
            self.push(own, image, [f"{registry}/bench/app:0"], Times())
            times = Times()
            for number in range(BEST_OF):
                self.push(own, image, [f"{registry}/bench/app:{number + 1}"], times)
            return min(times.wall)

    def memory(self, image: Path) -> float:
        """Megabytes that a push had at its peak."""
        place = self.folder / "peak"
        with self.registry() as registry:
            argv = [
                sys.executable,
                "-c",
                MEMORY,
                str(place),
                "push",
                f"{registry}/bench/app:1",
                "--from-oci",
                str(image),
            ]
            subprocess.run([*argv, "--quiet"], env=self.environment, check=True, stdout=subprocess.DEVNULL)
        return int(place.read_text()) * 1024 / 1e6


def against(name: str, times: dict[str, Times], limit: float) -> Goal:
    """buildopt's median as a part of the fastest peer's."""
    medians = {tool: statistics.median(one.wall) for tool, one in times.items()}
    fastest = min(seconds for tool, seconds in medians.items() if tool not in OWN)
    parts = []
    for tool, seconds in medians.items():
        one = times[tool]
        own, served, busy = (statistics.median(part) for part in (one.cpu, one.served, one.busy))
        share = busy / seconds / (os.cpu_count() or 1)
        parts.append(
            f"{tool} {seconds:.2f} s (processors: its own {own:.2f} s, its registry's {served:.2f} s, the machine's"
            f" {busy:.2f} s, {share:.0%} of what there was)"
        )
    if FLOOR in medians:
        idle_free = statistics.median(times[FLOOR].busy) / (os.cpu_count() or 1)
        parts.append(
            f"the bodies alone take {medians[FLOOR] / fastest:.2f} of the fastest peer's whole push, and would take"
            f" {idle_free / fastest:.2f} of it if no processor was idle for a moment"
        )
    shown = "\n    ".join(parts)
    return Goal(name, medians["buildopt"] / fastest, limit, "of the fastest peer", shown)


def run(bench: Bench, chosen: Sequence[str], arguments: argparse.Namespace) -> Iterator[Goal]:
    """Every goal of the chosen situations, as soon as it is known."""
    rounds, megabytes = arguments.rounds, arguments.megabytes
    image = two_platforms(bench.folder / "image", megabytes) if {"one", "two", "retag"} & set(chosen) else Path()
    small = many_layers(bench.folder / "many") if "far" in chosen else Path()
    if "one" in chosen:
        times = bench.by_turns(image, rounds)
        yield against(f"{megabytes} MB to one registry", times, 0.7)
        gigabytes = megabytes / 1000
        cpu = {tool: statistics.median(one.cpu) / gigabytes for tool, one in times.items()}
        shown = ", ".join(f"{tool} {seconds:.2f} s" for tool, seconds in cpu.items())
        yield Goal("processor time a gigabyte", cpu["buildopt"] / cpu["crane"], 1.2, "of crane's", shown)
    if "two" in chosen:
        yield against("to two registries", bench.to_two(image, rounds), 0.6)
    if "far" in chosen:
        yield against("40 layers of 200 kB, 50 ms away", bench.by_turns(small, rounds, far=True), 0.6)
    if "retag" in chosen:
        yield Goal("nothing to send, near", bench.retag(image, far=False), 0.5, "s")
        yield Goal("nothing to send, 50 ms away", bench.retag(image, far=True), 0.8, "s")
    if "memory" in chosen:
        shutil.rmtree(bench.folder / "image", ignore_errors=True)
        large = two_platforms(bench.folder / "large", arguments.large)
        yield Goal(f"peak memory with {arguments.large} MB", bench.memory(large), 100, "MB")


def main() -> int:
    """Print every goal with whether it was reached; 1 where one was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", metavar="SITUATION", help=f"of {', '.join(SITUATIONS)}; all of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=630, help="size of the image of two platforms")
    parser.add_argument("--large", type=int, default=5000, help="size of the image whose push is measured for memory")
    arguments = parser.parse_args()
    unknown = set(arguments.situations) - set(SITUATIONS)
    if unknown:
        parser.error(f"no such situation: {', '.join(sorted(unknown))}")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="buildopt-bench-") as name:
        for goal in run(Bench(Path(name)), arguments.situations or SITUATIONS, arguments):
            reached = goal.value <= goal.limit
            missed += not reached
            verdict = "reached" if reached else "MISSED"
            print(f"{goal.name}: {goal.value:.2f} {goal.unit} (at most {goal.limit:g}): {verdict}")
            if goal.peers:
                print(f"    {goal.peers}")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
