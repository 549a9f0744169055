"""One push through a faulty proxy, chosen by a seed, and what the registry itself says afterwards."""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import patch

import artifacts
from faulty_proxy import ALL_KINDS, ALWAYS, PAIRS, PASSWORD, TLS_PAIRS, USER, Fault, Front, Kind, Tls, faulty_proxy
from registry_judge import Judge

from buildopt.oci.layout import ArtifactSource, open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import auth, client, failure, retry, transport
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.outcome import Again, Outcome, PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.trust import Trust

MISLEADING = frozenset({"lost", "seems there", "another digest"})
"""Kinds that make a push believe something that is not so: only a registry that looks itself is safe from them."""
SHAPES = ("one tag", "two tags", "two repositories", "two registries")


@contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """Time limits, and short waits, as a test can afford them."""
    limits = ("READ_SECONDS", "ANSWER_SECONDS", "SEND_SECONDS", "CONNECT_SECONDS")
    with ExitStack() as stack:
        for name in limits:
            stack.enter_context(patch.object(transport, name, seconds))
        stack.enter_context(patch.object(client, "PROBE_SECONDS", seconds))
        stack.enter_context(patch.object(auth, "TOKEN_TIMEOUT", seconds))
        stack.enter_context(patch.object(retry, "FIRST_WAIT", 0.02))
        stack.enter_context(patch.object(failure, "SECONDARY_SECONDS", 0.05))
        yield


@dataclass(frozen=True, slots=True)
class Rig:
    """Two faulty addresses of one registry, and one that is only sent to.

    ``gullible`` is the address of a registry that takes a manifest whatever it names; empty where there is none.
    """

    upstream: str
    gullible: str
    tls: Tls | None
    first: Front
    second: Front
    elsewhere: Front


@contextmanager
def rig(upstream: str, gullible: str = "", tls: Tls | None = None) -> Iterator[Rig]:
    """Proxies before the registry at ``upstream`` (``host:port``), or before the gullible one when a run wants that."""
    with ExitStack() as stack:
        first, second, elsewhere = (stack.enter_context(faulty_proxy(upstream, tls)) for _ in range(3))
        first.elsewhere = elsewhere
        yield Rig(upstream, gullible, tls, first, second, elsewhere)


@dataclass(frozen=True, slots=True)
class Choice:
    """What one run does: all of it follows from ``seed`` and ``number``."""

    seed: int
    number: int
    shape: str
    size: int
    signs_in: bool
    tagged_before: bool
    gullible: bool
    tls: bool
    faults: tuple[tuple[int, str, int, int], ...]
    """Index of the kind, step, first request, times."""

    def made(self) -> list[Fault]:
        """The faults, not yet fired."""
        return [Fault(ALL_KINDS[kind], step, first, times) for kind, step, first, times in self.faults]


@functools.lru_cache
def _shuffled(seed: int, tls: bool) -> tuple[tuple[Kind, str], ...]:
    known = list(TLS_PAIRS if tls else PAIRS)
    random.Random(seed).shuffle(known)
    return tuple(known)


def choose(seed: int, number: int, tls: bool = False) -> Choice:
    """The choice of a run: kinds and steps in turn, so that every pair of them is met, the rest by chance."""
    chance = random.Random(f"{seed}/{number}")
    known = _shuffled(seed, tls)
    pairs = [known[number % len(known)]]
    if chance.random() < 0.25:
        pairs.append(chance.choice(known))
    faults = []
    for kind, step in pairs:
        first = chance.choice([0, 0, 1, 2]) if step in ("handshake", "head-blob", "post", "put") else 0
        faults.append((ALL_KINDS.index(kind), step, first, chance.choice([1, 1, 1, 1, 2, 2, ALWAYS])))
    steps = {step for _, step in pairs}
    names = {kind.name for kind, _ in pairs}
    return Choice(
        seed,
        number,
        "two repositories" if "mount" in steps else chance.choice(SHAPES),
        chance.choice([2000, 2000, 30_000, 700_000]),
        "token" in steps or names & {"sent elsewhere", "expired in the body"} != set() or chance.random() < 0.6,
        chance.random() < 0.3,
        chance.random() < (0.5 if names & MISLEADING else 0.1),
        tls,
        tuple(faults),
    )


@dataclass(slots=True)
class Result:
    """What came of a run: ``violations`` is empty where all was right."""

    choice: Choice
    fired: list[Fault] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Known(Keychain):
    """One user for every registry."""

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        return Credentials(USER, PASSWORD)


@dataclass(slots=True)
class Missing:
    """What a repository lacks of an image."""

    blobs: set[str]
    manifests: set[str]
    tags: set[str]


class Run:
    """One run: a push with faults, a look, a push without, a look."""

    def __init__(self, place: Rig, choice: Choice, folder: Path) -> None:
        self.place = place
        self.choice = choice
        self.result = Result(choice)
        self.name = f"run{choice.seed}/n{choice.number}"
        self.upstream = place.gullible if choice.gullible and place.gullible else place.upstream
        tls = place.tls
        self.judge = Judge(self.upstream, tls.client if tls is not None else None)
        before, after = folder / "before", folder / "after"
        mark = f"{choice.seed}/{choice.number}/".encode()
        if choice.tagged_before:
            _make(before, mark + b"before", 500)
        _make(after, mark, choice.size)
        self.before = open_artifact(before) if choice.tagged_before else None
        self.after = open_artifact(after)
        self.image = resolve(self.after)
        self.words: list[str] = []
        self.again: list[str] = []
        # Nobody else is trusted: reading the machine's authorities would take longer than a push.
        (folder / "nobody").mkdir()
        trusted = {"SSL_CERT_FILE": tls.ca_file} if tls is not None else {"SSL_CERT_DIR": str(folder / "nobody")}
        self.trust = Trust(trusted, folders=())

    def targets(self) -> list[tuple[Front, str, str]]:
        """Addresses, repositories and tags."""
        first, second = self.place.first, self.place.second
        return {
            "one tag": [(first, self.name, "1")],
            "two tags": [(first, self.name, "1"), (first, self.name, "2")],
            "two repositories": [(first, self.name, "1"), (first, f"{self.name}-b", "1")],
            "two registries": [(first, self.name, "1"), (second, f"{self.name}-b", "1")],
        }[self.choice.shape]

    def all(self) -> Result:
        """Run it. Violations are in the result; nothing is raised."""
        try:
            if self.before is not None:
                self._begin([])
                if not self._push(self.before).ok:
                    self._violation("the push before failed")
            faults = self.choice.made()
            self._begin(faults)
            report = self._push(self.after)
            self.result.fired = [fault for fault in faults if fault.fired]
            self._look(report)
            self._again()
        except Exception:  # noqa: BLE001 - whatever escapes is what is looked for
            self._violation("a traceback: " + traceback.format_exc())
        finally:
            self.judge.close()
        return self.result

    def _violation(self, text: str) -> None:
        self.result.violations.append(text)

    def _begin(self, faults: list[Fault]) -> None:
        seed = f"{self.choice.seed}/{self.choice.number}"
        for front in (self.place.first, self.place.second, self.place.elsewhere):
            front.upstream = self.upstream
        self.place.first.begin(faults, signs_in=self.choice.signs_in, seed=seed)
        self.place.second.begin([], signs_in=self.choice.signs_in, seed=seed)
        self.place.elsewhere.begin([], signs_in=False, seed=seed)

    def _push(self, source: ArtifactSource) -> PushReport:
        targets = tuple(Target(Reference.parse(f"{front.host}/{name}:{tag}")) for front, name, tag in self.targets())
        lock = threading.Lock()
        self.again = []

        def hear(event: object) -> None:
            with lock:
                self.words.append(repr(event))
                if isinstance(event, Again):
                    self.again.append(event.message)

        plan = PushPlan(source, resolve(source), targets, jobs=3)
        report = push(plan, Known(), self.trust, hear)
        said = repr(report) + "".join(self.words)
        if PASSWORD in said or "secret-token" in said:
            self._violation("a secret was told")
        if any(entry.authorization for entry in self.place.elsewhere.seen):
            self._violation("credentials went to another origin")
        return report

    def _look(self, report: PushReport) -> None:
        """After the push with faults."""
        for (front, name, tag), outcome in zip(self.targets(), report.outcomes, strict=True):
            problem = outcome.problem
            self.result.ended[problem.kind if problem is not None else "pushed"] += 1
            held = self.judge.digest(name, tag)
            known = {"", str(self.image.digest)} | ({str(resolve(self.before).digest)} if self.before else set())
            if held not in known:
                self._violation(f"{name}:{tag} names {held}, which nobody pushed")
            if held:
                self.result.violations += self.judge.broken(name, tag)
            if problem is None and held != str(self.image.digest):
                self._violation(f"{name}:{tag} was reported as pushed and is {held or 'not there'}")
            if problem is not None:
                self._judge_problem(front, outcome)
        fired = self.result.fired
        if self.again and all(fault.kind.silent and not fault.late for fault in fired):
            self._violation(f"visible retries, because of nothing that anybody should hear of: {self.again}")
        self._judge_order()
        self._judge_figures(report)

    def _judge_problem(self, front: Front, outcome: Outcome) -> None:
        problem = outcome.problem
        assert problem is not None
        story = f"{outcome.reference} ended with {problem.kind}: {problem.message}"
        allowed = {kind for fault in self.result.fired for kind in fault.kind.problems}
        if front is not self.place.first:
            self._violation(f"{story}; nothing was wrong there")
        elif problem.kind not in allowed:
            self._violation(f"{story}; the right kind would be one of {sorted(allowed)}")
        elif not self._hard():
            self._violation(f"{story}; that should have been survived")
        if not problem.message.isprintable() or not problem.hint:
            self._violation(f"{story}; said badly, or without a hint")

    def _hard(self) -> bool:
        """Whether a push may fail of what was done to it."""
        fired = self.result.fired
        total = sum(fault.fired for fault in fired)
        return any(total > fault.kind.survived for fault in fired)

    def _judge_order(self) -> None:
        """Nothing is uploaded to a repository after its tag was written."""
        for front in (self.place.first, self.place.second):
            tagged: set[str] = set()
            for entry in front.seen:
                repository = entry.path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
                if entry.step == "put-tag" and entry.status == 201:
                    tagged.add(repository)
                elif entry.step in ("put", "put-manifest", "mount") and repository in tagged:
                    self._violation(f"{entry.step} at {repository} after its tag")

    def _judge_figures(self, report: PushReport) -> None:
        for outcome in report.outcomes:
            told = outcome.bytes_sent + outcome.bytes_mounted + outcome.bytes_present
            if outcome.ok and told != self.image.size:
                self._violation(f"{outcome.reference}: {told} bytes are told of {self.image.size}")

    def _missing(self, name: str) -> Missing:
        digests = {str(entry.descriptor.digest) for entry in self.image.manifests}
        tags = {tag for _, repository, tag in self.targets() if repository == name}
        return Missing(
            {str(blob.digest) for blob in self.image.blobs if not self.judge.has(name, str(blob.digest))},
            {digest for digest in digests if not self.judge.has(name, digest, "manifests")},
            {tag for tag in tags if self.judge.digest(name, tag) != str(self.image.digest)},
        )

    def _again(self) -> None:
        """Without faults it has to finish, and to send what is missing and nothing else."""
        missing = {name: self._missing(name) for _, name, _ in self.targets()}
        self._begin([])
        report = self._push(self.after)
        for (front, name, tag), outcome in zip(self.targets(), report.outcomes, strict=True):
            if outcome.problem is not None:
                self._violation(f"the next push failed: {outcome.problem}")
            elif self.judge.digest(name, tag) != str(self.image.digest):
                self._violation(f"after the next push {name}:{tag} is not the image")
            self.result.violations += self.judge.broken(name, tag)
            self._judge_sent(front, name, missing[name])
        self._judge_figures(report)

    def _judge_sent(self, front: Front, name: str, missing: Missing) -> None:
        blobs, manifests, tags = Counter[str](), Counter[str](), Counter[str]()
        for entry in front.seen:
            path, _, query = entry.path.partition("?")
            last = path.rpartition("/")[2]
            if not path.startswith(f"/v2/{name}/") or entry.status != 201:
                continue
            if entry.step in ("put", "mount"):
                value = query.partition("digest=" if entry.step == "put" else "mount=")[2].partition("&")[0]
                blobs[value.replace("%3A", ":")] += 1
            elif entry.step in ("put-manifest", "put-tag"):
                (manifests if entry.step == "put-manifest" else tags)[last] += 1
        for what, sent, wanted in (
            ("blobs", blobs, missing.blobs),
            ("manifests", manifests, missing.manifests),
            ("tags", tags, missing.tags),
        ):
            if sent != Counter(wanted):
                self._violation(f"the next push sent the {what} {dict(sent)} to {name} where {wanted} were missing")


def _make(folder: Path, mark: bytes, size: int) -> None:
    """A two-platform artifact; every second one has attestations."""
    if hashlib.sha256(mark).digest()[0] % 2:
        artifacts.make_layout(folder, seed=mark, size=size)
        return
    shared = hashlib.sha256(mark + b"shared").digest() * (size // 32 + 1)
    images = [
        artifacts.put_image(folder, f"linux/{name}", [shared, (mark + name.encode()) * (size // 20 + 1)])
        for name in ("amd64", "arm64")
    ]
    artifacts.finish(folder, [artifacts.put_json(folder, {"manifests": images}, artifacts.INDEX)])


def run(place: Rig, choice: Choice, folder: Path) -> Result:
    """One run in an empty folder, which is removed."""
    folder.mkdir(parents=True)
    try:
        return Run(place, choice, folder).all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stalls(choice: Choice) -> bool:
    """Whether a run waits for a time limit."""
    return any(ALL_KINDS[kind].name.startswith("stall") for kind, *_ in choice.faults)


def run_all(
    upstream: str, choices: Sequence[Choice], folder: Path, workers: int, *, gullible: str = "", tls: Tls | None = None
) -> list[Result]:
    """Runs against the registry at ``upstream``, several at a time, each of them with proxies of its own.

    Only those that stall have short time limits: a machine that is busy must not look like a registry that is silent.
    """
    with ExitStack() as stack:
        idle: SimpleQueue[Rig] = SimpleQueue()
        for _ in range(workers):
            idle.put(stack.enter_context(rig(upstream, gullible, tls)))

        def one(choice: Choice) -> Result:
            place = idle.get()
            try:
                return run(place, choice, folder / str(choice.number))
            finally:
                idle.put(place)

        results: list[Result] = []
        for seconds, group in (
            (30.0, [choice for choice in choices if not stalls(choice)]),
            (1.0 if tls is None else 2.0, [choice for choice in choices if stalls(choice)]),
        ):
            with impatient(seconds), ThreadPoolExecutor(workers) as pool:
                results += pool.map(one, group)
    return sorted(results, key=lambda result: result.choice.number)


def described(choice: Choice) -> str:
    """A choice as one line."""
    faults = ", ".join(str(fault) for fault in choice.made())
    sign = "with tokens" if choice.signs_in else "without sign-in"
    words = f"--seed {choice.seed} --only {choice.number}{' --tls' if choice.tls else ''}: {choice.shape}"
    gullible = ", a gullible registry" if choice.gullible else ""
    return f"{words}, {choice.size} bytes, {sign}{gullible}; {faults}"
