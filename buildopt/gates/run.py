"""Runs the gates of an artifact, one after the other, all of them, and says what came of each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildopt.build.plan import platform as whole_platform
from buildopt.engine.connection import Engine
from buildopt.engine.containers import Containers, containers
from buildopt.errors import ArtifactError, BuildoptError, UsageError
from buildopt.gates import policy
from buildopt.gates.image import PlatformImage, platform_images
from buildopt.gates.inside import Inside
from buildopt.gates.outside import Outside
from buildopt.gates.plan import ALL, Command, GatePlan
from buildopt.gates.policy import Judged
from buildopt.gates.secret_gate import SecretScan
from buildopt.gates.secret_values import masked, secret_values
from buildopt.oci.gate_record import FAILED, PASSED, SKIPPED, GateResult, printable
from buildopt.oci.layout import ArtifactSource, Image

LINES = 20
"""Last lines of output that are kept of a gate."""
_LONGEST_LINE = 500


@dataclass(frozen=True, slots=True)
class Runner:
    """The engine of test gates, and the platform of its own machine."""

    engine: Engine
    containers: Containers
    native: str


def runner(engine: Engine) -> Runner:
    """What test gates run on. Raises EngineError where the engine is a builder only and runs no containers."""
    found = containers(engine)
    return Runner(engine, found, _plain(found.machine()))


def _plain(name: str) -> str:
    """A platform's usual name; one that is unknown stays as it is."""
    try:
        return whole_platform(name)
    except UsageError:
        return name


@dataclass(frozen=True, slots=True)
class Task:
    """A gate that is to run: what it is called, on which image, and the command where it is one."""

    gate: GateResult
    image: PlatformImage | None = None
    command: Command | None = None


def tasks(plan: GatePlan, source: ArtifactSource, image: Image, native: str) -> tuple[Task, ...]:
    """Every gate of an artifact, in the order in which they run: the built-in ones, tests, scans.

    ``native`` is the engine's own platform. Raises UsageError where a platform is asked for that the artifact does not
    hold, ArtifactError where it cannot be read.
    """
    images = _narrowed(plan, platform_images(source, image))
    return (*_policy_tasks(plan, images), *_test_tasks(plan, images, native), *_scan_tasks(plan, images))


def _narrowed(plan: GatePlan, images: tuple[PlatformImage, ...]) -> tuple[PlatformImage, ...]:
    if plan.platform is None:
        return images
    return (_named(plan.platform, images),)


def _named(platform: str, images: tuple[PlatformImage, ...]) -> PlatformImage:
    for image in images:
        if _plain(image.platform) == platform or image.platform == platform:
            return image
    names = ", ".join(image.platform for image in images)
    raise UsageError(f"the artifact holds no image for {platform}", hint=f"it holds: {names}")


def _policy_tasks(plan: GatePlan, images: tuple[PlatformImage, ...]) -> Iterator[Task]:
    own = plan.policy
    chosen = (
        ("max-size", own.max_size is not None),
        ("non-root", own.non_root),
        ("labels", bool(own.labels)),
        ("attestations", bool(own.attestations)),
        ("no-secrets", own.no_secrets),
    )
    for name, wanted in chosen:
        if wanted:
            yield from (Task(GateResult(name, "built-in", image.platform), image) for image in images)


def _test_tasks(plan: GatePlan, images: tuple[PlatformImage, ...], native: str) -> Iterator[Task]:
    if not plan.tests:
        return
    wanted = plan.policy.test_platforms
    if plan.platform is not None or ALL in wanted:
        chosen = images
    elif wanted:
        chosen = tuple(_named(name, images) for name in wanted)
    else:
        # The only platform of an image is tested even where it is not the engine's own.
        chosen = tuple(image for image in images if _plain(image.platform) == native) or images[:1]
    for image in images:
        reason = "" if image in chosen else "not the engine's own platform; --test-platforms all runs it too"
        for command in plan.tests:
            gate = GateResult(command.shown, "test", image.platform, reason=reason)
            yield Task(replace(gate, result=SKIPPED) if reason else gate, image, command)


def _scan_tasks(plan: GatePlan, images: tuple[PlatformImage, ...]) -> Iterator[Task]:
    for command in plan.scans:
        if "{platform}" in command.text:
            for image in images:
                yield Task(GateResult(command.shown, "scan", image.platform), image, command)
        else:
            yield Task(GateResult(command.shown, "scan"), None, command)


@dataclass(frozen=True, slots=True)
class Where:
    """What gates run on. ``layout`` is a folder that holds the artifact, if there is one; ``folder`` is where what is
    made for them goes for a while (None: the system's). ``environment`` is that of scans."""

    source: ArtifactSource
    image: Image
    layout: Path | None
    folder: Path | None
    environment: Mapping[str, str]


@dataclass
class Run:
    """Gates at work. ``results`` are those of all gates in their order; what has not run to its end is interrupted."""

    plan: GatePlan
    tasks: tuple[Task, ...]
    where: Where
    runner: Runner | None = None
    on_start: Callable[[GateResult], None] = lambda gate: None
    on_result: Callable[[GateResult], None] = lambda gate: None
    results: dict[int, GateResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results = {number: task.gate for number, task in enumerate(self.tasks)}

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What came of all gates up to now."""
        return tuple(self.results.values())

    def all(self) -> tuple[GateResult, ...]:
        """Run every gate. Raises ToolError, EngineError where one could not be run at all; it counts as interrupted."""
        with tempfile.TemporaryDirectory(prefix="buildopt-gates-", dir=self.where.folder) as folder:
            self._policies()
            self._inside(Path(folder))
            self._outside(Path(folder))
        return self.gates

    def _done(self, number: int, gate: GateResult) -> None:
        self.results[number] = gate
        self.on_result(gate)

    def _pending(self, kind: str) -> Iterator[tuple[int, Task]]:
        for number, task in enumerate(self.tasks):
            if task.gate.kind == kind and task.gate.result != SKIPPED:
                yield number, task

    def _policies(self) -> None:
        scan = SecretScan(self.where.source, self.plan.policy.allowed_secrets)
        for number, task in self._pending("built-in"):
            assert task.image is not None
            self.on_start(task.gate)
            began = time.monotonic()
            try:
                judged = self._judged(task.gate.name, task.image, scan)
            except ArtifactError as error:
                judged = policy.unreadable(error)
            result = SKIPPED if judged.skipped else FAILED if judged.problem else PASSED
            reason, seconds = judged.skipped or judged.problem, time.monotonic() - began
            self._done(
                number, replace(task.gate, result=result, reason=reason, seconds=seconds, output=judged.lines[:LINES])
            )

    def _judged(self, name: str, image: PlatformImage, scan: SecretScan) -> Judged:
        own = self.plan.policy
        if name == "max-size":
            assert own.max_size is not None
            return policy.size(image, own.max_size)
        if name == "non-root":
            return policy.non_root(self.where.source, image)
        if name == "labels":
            return policy.labels(image, own.labels)
        if name == "attestations":
            return policy.attestations(image, own.attestations)
        found = scan.secrets(image)
        if not found:
            return Judged()
        several = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return Judged(f"{found[0]}{several}", tuple(str(secret) for secret in found))

    def _inside(self, folder: Path) -> None:
        pending = list(self._pending("test"))
        if not pending:
            return
        assert self.runner is not None
        own = self.plan.policy
        inside = Inside(
            self.where.source, self.runner.engine, self.runner.containers, folder, own.test_network, own.test_timeout
        )
        for image in dict.fromkeys(id(task.image) for _, task in pending):
            group = [(number, task) for number, task in pending if id(task.image) == image]
            first = group[0][1].image
            assert first is not None
            self.on_start(group[0][1].gate)
            commands = [(task.command, task.gate) for _, task in group if task.command is not None]
            for (number, _), gate in zip(group, inside.run(first, commands, self.lines), strict=True):
                self._done(number, gate)

    def _outside(self, folder: Path) -> None:
        pending = list(self._pending("scan"))
        if not pending:
            return
        where = self.where
        outside = Outside(
            where.source, where.image, where.layout, folder, where.environment, self.plan.policy.scan_timeout
        )
        with ExitStack() as stack:
            stack.callback(outside.close)
            for number, task in pending:
                assert task.command is not None
                self.on_start(task.gate)
                self._done(number, outside.run(task.command, task.gate, self.lines))

    def lines(self, data: bytes) -> tuple[str, ...]:
        """The last lines of what a command wrote, as people and records may see them."""
        known = secret_values(dict(self.where.environment))
        lines = [line.rstrip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        return tuple(printable(masked(line, known)[:_LONGEST_LINE]) for line in lines[-LINES:])


def failed(error: BuildoptError, gates: tuple[GateResult, ...]) -> tuple[GateResult, ...]:
    """What gates are where ``error`` ended them: the first one that had not run tells why."""
    found = list(gates)
    for number, gate in enumerate(found):
        if gate.result not in (PASSED, FAILED, SKIPPED):
            found[number] = replace(gate, reason=printable(error.message))
            break
    return tuple(found)
