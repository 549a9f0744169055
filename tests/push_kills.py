"""Kills ``push`` at a chosen moment and tells what became of the registries: for a test and a benchmark."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import artifacts
from registry_judge import Judge

import buildopt
from buildopt.sandbox.registries import RunningRegistry

PLACES = ("one tag", "two tags", "two repositories", "two registries")
SHAPES = ("large", "many")
STATES = ("old", "new", "none")
SIGNALS = (signal.SIGKILL,) * 8 + (signal.SIGTERM, signal.SIGINT)
PATIENCE_SECONDS = 30.0
_REQUEST = re.compile(r'"(HEAD|GET|PUT|POST|DELETE|PATCH) (/v2/\S*) HTTP/[0-9.]+" (\d{3}) ')


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal ``moment`` times the usual duration after the start of the run, or of its uploads.

    ``fresh``: there is no older image under the tags.
    """

    number: int
    shape: str
    places: str
    fresh: bool
    signal: signal.Signals
    uploading: bool
    moment: float

    def __str__(self) -> str:
        since = "its uploads" if self.uploading else "the run"
        what = f"{self.shape}, {self.places}, {'nothing' if self.fresh else 'an older image'} there"
        return f"{self.number}: {what}; {self.signal.name} at {self.moment:.2f} of {since}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was there afterwards. Bytes: of the image at all places, and of those what the next run sent."""

    kill: Kill
    in_time: bool
    states: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    total: int = 0
    sent: int = 0
    missing: int = 0


def choose(seed: int) -> Iterator[Kill]:
    """Kills without end: shapes and places in turn, half of them within the uploads, one of five into nothing."""
    dice = random.Random(seed)
    for number in itertools.count():
        shape, places = SHAPES[number % 2], PLACES[number // 2 % 4]
        fresh, signal_ = number % 5 == 4, dice.choice(SIGNALS)
        yield Kill(number, shape, places, fresh, signal_, number // 8 % 2 == 0, dice.uniform(0.0, 1.05))


@dataclass(frozen=True, slots=True)
class Content:
    """A layout as its own files say: sizes of blobs and manifests by digest, and the image's own manifest."""

    folder: Path
    blobs: dict[str, int]
    manifests: dict[str, int]
    top: str
    kinds: dict[str, str]

    @property
    def size(self) -> int:
        return sum(self.blobs.values()) + sum(self.manifests.values())

    def data(self, digest: str) -> bytes:
        return artifacts.blob_path(self.folder, digest).read_bytes()

    @classmethod
    def of(cls, folder: Path) -> Content:
        (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
        blobs: dict[str, int] = {}
        manifests: dict[str, int] = {}
        kinds: dict[str, str] = {}

        def walk(entry: Mapping[str, Any]) -> None:
            manifests[entry["digest"]], kinds[entry["digest"]] = entry["size"], entry["mediaType"]
            document = json.loads(artifacts.blob_path(folder, entry["digest"]).read_bytes())
            for child in document.get("manifests", ()):
                walk(child)
            for blob in [*document.get("layers", ()), *([document["config"]] if "config" in document else [])]:
                blobs[blob["digest"]] = blob["size"]

        walk(entry)
        return cls(folder, blobs, manifests, entry["digest"], kinds)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of a registry, and the tags that are pushed to it."""

    registry: RunningRegistry
    repository: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """What a repository lacks of an image."""

    blobs: frozenset[str]
    manifests: frozenset[str]
    tags: frozenset[str]


@dataclass(slots=True)
class Log:
    """What a registry was asked since a moment."""

    path: Path
    start: int = field(default=0)

    def __post_init__(self) -> None:
        self.start = self.path.stat().st_size

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path with query, and status of each request."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            text = file.read().decode("utf-8", "replace")
        return [(method, path, int(status)) for method, path, status in _REQUEST.findall(text)]


class Project:
    """Two images of each shape, an older one and a newer one, and the registries that get them."""

    def __init__(
        self, folder: Path, registries: Sequence[RunningRegistry], scale: float = 1.0, rounds: int = 2
    ) -> None:
        self.rounds = rounds
        self.folder = folder
        self.registries = registries
        bundle = registries[0].bundle
        assert bundle is not None
        self.context = ssl.create_default_context(cafile=str(bundle))
        self.empty = {name: folder / name for name in ("home", "temporary", "working")}
        for path in self.empty.values():
            path.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(buildopt.__file__).parents[1]),  # the code that is being tested, wherever it lies
            "HOME": str(self.empty["home"]),
            "TMPDIR": str(self.empty["temporary"]),
            "SSL_CERT_FILE": str(bundle),
        }
        self.images = {(shape, age): self._make(shape, age, scale) for shape in SHAPES for age in ("old", "new")}
        self.artifacts = self._tree(folder / "images")
        self.usual: dict[tuple[str, str], tuple[float, float]] = {}

    def _make(self, shape: str, age: str, scale: float) -> Content:
        folder = self.folder / "images" / f"{shape}-{age}"
        dice = random.Random(f"{shape}/{age}")
        same = random.Random(shape)
        if shape == "large":
            sizes = [int(size * scale) for size in (8_000_000, 4_000_000, 1_000_000, 200_000, 10_000, 500)]
            shared = [same.randbytes(int(16_000_000 * scale))]
        else:
            sizes = [dice.randrange(500, 40_000) for _ in range(max(6, int(50 * scale)))]
            shared = [same.randbytes(same.randrange(500, 40_000)) for _ in range(max(3, int(20 * scale)))]
        images = [
            artifacts.put_image(folder, f"linux/{name}", [*shared, *(dice.randbytes(size) for size in sizes)])
            for name in ("amd64", "arm64")
        ]
        manifests = [*images, *(artifacts.put_attestation(folder, image) for image in images)]
        artifacts.finish(folder, [artifacts.put_json(folder, {"manifests": manifests}, artifacts.INDEX)])
        return Content.of(folder)

    def places(self, name: str, kind: str) -> list[Place]:
        """Where a push of this kind goes to."""
        first, last = self.registries[0], self.registries[-1]
        return {
            "one tag": [Place(first, name, ("1",))],
            "two tags": [Place(first, name, ("1", "2"))],
            "two repositories": [Place(first, name, ("1",)), Place(first, f"{name}-b", ("1",))],
            "two registries": [Place(first, name, ("1",)), Place(last, f"{name}-b", ("1",))],
        }[kind]

    def _argv(self, image: Content, places: Sequence[Place]) -> list[str]:
        references = [f"{place.registry.authority}/{place.repository}:{tag}" for place in places for tag in place.tags]
        words = ["push", *references, "--from-oci", str(image.folder), "--format", "json", "--quiet"]
        return [sys.executable, "-m", "buildopt", *words]

    def _start(self, image: Content, places: Sequence[Place]) -> subprocess.Popen[str]:
        with (self.folder / "stdout").open("w") as stdout, (self.folder / "stderr").open("w") as stderr:
            return subprocess.Popen(
                self._argv(image, places),
                env=self.environment,
                cwd=self.empty["working"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                text=True,
            )

    def kill(self, kill: Kill) -> Outcome:
        """Push, kill that, see what is there, and push again."""
        old, new = self.images[kill.shape, "old"], self.images[kill.shape, "new"]
        usual = self._usual(kill.shape, kill.places)
        places = self.places(f"kills/n{kill.number}", kill.places)
        try:
            if not kill.fresh:
                for place in places:
                    self._seed(place, old)
            running = self._start(new, places)
            in_time, problems = self._end(kill, running, usual, Log(places[0].registry.log))
            states, found = self._look(places, old, new, kill.fresh)
            problems += found
            missing, sent, wrong = self._again(places, new)
            problems += wrong
            return Outcome(
                kill, in_time, tuple(states), tuple(problems), new.size * len(places), sent=sent, missing=missing
            )
        finally:
            self._clear(places)

    def _usual(self, shape: str, kind: str) -> tuple[float, float]:
        """Seconds of a whole run, and of those the seconds from its first upload on."""
        if (shape, kind) not in self.usual:
            times = []
            for number in range(self.rounds):  # what only the very first run does is not usual
                places = self.places(f"usual/{shape}{number}", kind)
                log, began = Log(places[0].registry.log), time.monotonic()
                running = self._start(self.images[shape, "new"], places)
                first = self._first_upload(running, log) - began
                if running.wait(120):
                    raise RuntimeError((self.folder / "stderr").read_text())
                whole = time.monotonic() - began
                times.append((whole, whole - first))
                self._clear(places)
            self.usual[shape, kind] = times[-1]
        return self.usual[shape, kind]

    @staticmethod
    def _first_upload(running: subprocess.Popen[str], log: Log) -> float:
        while running.poll() is None and not any(method == "POST" for method, _, _ in log.requests()):
            time.sleep(0.002)
        return time.monotonic()

    def _end(
        self, kill: Kill, running: subprocess.Popen[str], usual: tuple[float, float], log: Log
    ) -> tuple[bool, list[str]]:
        """Wait, send the signal, wait for the end: whether it came before the run's own, and what was wrong."""
        if kill.uploading:
            self._first_upload(running, log)
        try:
            running.wait(kill.moment * usual[1 if kill.uploading else 0])
        except subprocess.TimeoutExpired:
            running.send_signal(kill.signal)
        try:
            code = running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            return True, [f"it lived on 10 s after {kill.signal.name}"]
        said = (self.folder / "stderr").read_text()
        ends = {-kill.signal, 128 + kill.signal}
        problems = [f"it said: {said[-800:]}"] if "Traceback" in said else []
        if code not in ends | {0}:
            problems.append(f"it ended with {code} after {kill.signal.name}: {said[-300:]}")
        return code in ends, problems

    def _look(self, places: Sequence[Place], old: Content, new: Content, fresh: bool) -> tuple[list[str], list[str]]:
        """At once, and again when the registries have nothing more to do: what each tag names, and what is broken."""
        states: list[str] = []
        problems: list[str] = []
        for settled in (False, True):
            if settled:
                self._settle()
            states = []
            for place in places:
                judge = self._judge(place)
                for tag in place.tags:
                    held = judge.digest(place.repository, tag)
                    state = {old.top: "old", new.top: "new", "": "none"}.get(held, "strange")
                    states.append(state)
                    if state == "strange" or (state == "none") > fresh:
                        problems.append(f"{place.repository}:{tag} is {held or 'gone'}")
                    problems += judge.broken(place.repository, tag) if held else []
                if settled and not fresh:  # the older image stays, whatever the tag names
                    problems += judge.broken(place.repository, old.top)
                judge.close()
        return states, problems + self._left()

    def _left(self) -> list[str]:
        """What it left on this machine."""
        found = [str(path) for folder in self.empty.values() for path in self._tree(folder)]
        problems = [f"it left {found}"] if found else []
        if self._tree(self.folder / "images") != self.artifacts:
            problems.append("the artifacts were changed")
        return problems

    @staticmethod
    def _tree(folder: Path) -> dict[str, tuple[int, int]]:
        stats = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
        return {name: (found.st_size, found.st_mtime_ns) for name, found in stats.items()}

    def _again(self, places: Sequence[Place], image: Content) -> tuple[int, int, list[str]]:
        """The next run: bytes that were missing, bytes that it says it sent, and what was wrong."""
        lacks = [self._missing(place, image) for place in places]
        logs = [Log(place.registry.log) for place in places]
        running = self._start(image, places)
        code = running.wait(120)
        stdout, stderr = ((self.folder / name).read_text() for name in ("stdout", "stderr"))
        if code != 0 or stderr:
            return 0, 0, [f"the next run ended with {code}: {stderr[-500:]}"]
        self._settle()
        problems: list[str] = []
        entries = iter(json.loads(stdout)["destinations"])
        all_missing = sent = 0
        for place, missing, log in zip(places, lacks, logs, strict=True):
            problems += _misspent(place.repository, missing, log.requests())
            told = [next(entries) for _ in place.tags]
            bytes_missing = sum(image.blobs[digest] for digest in missing.blobs)
            bytes_missing += sum(image.manifests[digest] for digest in missing.manifests)
            bytes_missing += image.manifests[image.top] if place.tags[0] in missing.tags else 0
            bytes_sent = sum(entry["bytes_sent"] for entry in told)
            moved = bytes_sent + sum(entry["bytes_mounted"] for entry in told)
            if moved != bytes_missing:
                problems.append(f"{place.repository}: {bytes_missing} bytes were missing, {moved} moved")
            if not all(entry["ok"] and entry["digest"] == image.top for entry in told):
                problems.append(f"{place.repository}: it told {told}")
            all_missing, sent = all_missing + bytes_missing, sent + bytes_sent
            judge = self._judge(place)
            for tag in place.tags:
                if judge.digest(place.repository, tag) != image.top:
                    problems.append(f"{place.repository}:{tag} is not the new image after the next run")
                problems += judge.broken(place.repository, tag)
            judge.close()
        return all_missing, sent, problems + self._left()

    def _missing(self, place: Place, image: Content) -> Missing:
        judge = self._judge(place)
        lacks = Missing(
            frozenset(digest for digest in image.blobs if not judge.has(place.repository, digest)),
            frozenset(
                digest
                for digest in image.manifests
                if digest != image.top and not judge.has(place.repository, digest, "manifests")
            ),
            frozenset(tag for tag in place.tags if judge.digest(place.repository, tag) != image.top),
        )
        judge.close()
        return lacks

    def _judge(self, place: Place) -> Judge:
        return Judge(place.registry.authority, self.context)

    def _seed(self, place: Place, image: Content) -> None:
        """Put an image there without buildopt."""
        judge = self._judge(place)
        root = f"/v2/{place.repository}"
        for digest in image.blobs:
            status, _, headers = judge.send("POST", f"{root}/blobs/uploads/?mount={digest}&from=seed")
            if status == 202:
                location = headers["Location"].partition(place.registry.authority)[2]
                status, _, _ = judge.send(
                    "PUT", f"{location}&digest={digest}", image.data(digest), "application/octet-stream"
                )
            _want(status == 201, f"a blob: {status}")
        for name in [digest for digest in image.manifests if digest != image.top] + list(place.tags):
            digest = name if name in image.manifests else image.top
            status, data, _ = judge.send("PUT", f"{root}/manifests/{name}", image.data(digest), image.kinds[digest])
            _want(status == 201, f"a manifest: {status} {data!r}")
        judge.close()

    def _settle(self) -> None:
        """Wait until the registries have done whatever they were asked: no connection is left."""
        ports = {registry.port for registry in self.registries}
        last = time.monotonic() + PATIENCE_SECONDS
        while connected(ports):
            if time.monotonic() > last:
                raise RuntimeError("the registries are still being asked")
            time.sleep(0.005)
        # A connection that ended with a reset vanishes from the kernel's table before the registry is done with it.
        sizes: list[int] = []
        while not sizes or sizes != [registry.log.stat().st_size for registry in self.registries]:
            sizes = [registry.log.stat().st_size for registry in self.registries]
            time.sleep(0.05)

    def _clear(self, places: Sequence[Place]) -> None:
        """Forget the repositories, and with them what killed uploads left in the registry."""
        for place in places:
            folder = place.registry.storage / "docker/registry/v2/repositories" / place.repository
            shutil.rmtree(folder, ignore_errors=True)


def connected(ports: set[int]) -> bool:
    """Whether anybody is connected to one of these ports, or has left without their owner having noticed."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        if state in ("01", "08") and int(local.rpartition(":")[2], 16) in ports:
            return True
    return False


def _misspent(repository: str, missing: Missing, requests: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    """What a run wrote to a repository beyond what was missing, or did not write of that."""
    blobs, manifests, tags = Counter[str](), Counter[str](), Counter[str]()
    begun = 0
    for method, path, status in requests:
        path, _, query = path.partition("?")
        if not path.startswith(f"/v2/{repository}/") or method in ("HEAD", "GET"):
            continue
        last = path.rpartition("/")[2]
        if "/manifests/" in path and method == "PUT":
            (manifests if ":" in last else tags)[last] += 1
            continue
        named = re.search(r"(?:digest|mount)=(sha256(?:%3A|:)[0-9a-f]{64})", query)
        if named is not None:
            blobs[named[1].replace("%3A", ":")] += 1
        begun += method == "POST" and "mount=" not in query
        if status not in (201, 202, 204):
            yield f"{repository}: {method} was answered by {status}"
    if begun > len(missing.blobs):
        yield f"{repository}: {begun} uploads were begun, {len(missing.blobs)} blobs were missing"
    for what, written, wanted in (
        ("blobs", blobs, missing.blobs),
        ("manifests", manifests, missing.manifests),
        ("tags", tags, missing.tags),
    ):
        if written != Counter(wanted):
            extra, lacking = written - Counter(wanted), Counter(wanted) - written
            yield f"{repository}: {what} were sent though there {dict(extra)}, and not sent {dict(lacking)}"


def _want(condition: bool, problem: str) -> None:
    if not condition:
        raise RuntimeError(f"the older image could not be put there: {problem}")


def allow_interrupts() -> None:
    """What is started from now on can be interrupted: a job in the background ignores Ctrl-C and passes that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
