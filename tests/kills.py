"""Kills ``build-once`` at a chosen moment and tells what became of the artifact: for a test and a benchmark."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildopt.build.output import STAGING, partial
from buildopt.oci import layout as oci

PLATFORMS = "linux/amd64,linux/arm64"
DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY same /same
COPY changing-${TARGETARCH} /changing
COPY state /state
"""
SAME, CHANGING = 20_000_000, 4_000_000
STATES = ("old", "new", "none", "finished")


@dataclass(frozen=True, slots=True)
class Kill:
    """A SIGKILL ``moment`` times the usual duration after the start, of the process alone or of its whole group.

    ``fresh``: there is no old artifact.
    """

    name: str
    group: bool
    moment: float
    fresh: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {'group' if self.group else 'parent alone'}, at {self.moment:.2f} of its time"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was there afterwards: one of STATES, and ``problem``, empty where all was right."""

    kill: Kill
    state: str
    problem: str = ""


def choose(seed: int) -> Iterator[Kill]:
    """Kills without end: half of the parent alone, half into a tar, one of ten into nothing."""
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    for number in itertools.count():
        yield Kill(("image", "image.tar")[number // 2 % 2], number % 2 == 1, dice.uniform(0.0, 1.0), number % 10 == 9)


class Project:
    """A context whose image names the state that it was built from, in each platform."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.context = folder / "context"
        self.environment = environment
        self.state = 0
        self.usual: dict[str, float] = {}
        self.context.mkdir(parents=True)
        (self.context / "Dockerfile").write_text(DOCKERFILE)
        (self.context / "same").write_bytes(os.urandom(SAME))
        for name in ("image", "image.tar"):
            for _ in range(2):  # the second one is as long as those that will be killed
                self.change()
                began = time.monotonic()
                problem = self.build(name)
                if problem:
                    raise RuntimeError(problem)
                self.usual[name] = time.monotonic() - began

    def change(self) -> None:
        """Another state: two layers of each platform change."""
        self.state += 1
        (self.context / "state").write_text(str(self.state))
        for architecture in ("amd64", "arm64"):
            (self.context / f"changing-{architecture}").write_bytes(os.urandom(CHANGING))

    def argv(self, name: str) -> list[str]:
        words = [sys.executable, "-m", "buildopt", "build-once", str(self.context), "--platforms", PLATFORMS]
        return [*words, "--quiet", "-o", str(self.folder / name)]

    def build(self, name: str) -> str:
        """Build to the end; what went wrong, empty where nothing did."""
        done = subprocess.run(self.argv(name), env=self.environment, capture_output=True, text=True, timeout=300)
        return f"exit {done.returncode}: {done.stderr[-500:]}" if done.returncode else ""

    def kill(self, kill: Kill) -> Outcome:
        """Build a new state, kill that, see what is there, and build again."""
        path = self.folder / kill.name
        if kill.fresh:
            self.remove(kill.name)
        before = self.inspect(path)
        self.change()
        running = subprocess.Popen(
            self.argv(kill.name),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            running.wait(kill.moment * self.usual[kill.name])
        except subprocess.TimeoutExpired:
            if kill.group:
                os.killpg(running.pid, signal.SIGKILL)
            else:
                running.kill()
        killed = running.wait() == -signal.SIGKILL
        try:
            state = self.found(path, before, kill.fresh)
            self.repair(kill.name)
        except ValueError as error:
            return Outcome(kill, "broken", str(error))
        return Outcome(kill, state if killed else "finished")

    def remove(self, name: str) -> None:
        path = self.folder / name
        if name.endswith(".tar"):
            path.unlink(missing_ok=True)
            path = path.with_name(f".{name}.layout")
        shutil.rmtree(path, ignore_errors=True)

    def inspect(self, path: Path) -> str:
        """The digest of what is there, empty where nothing is. Raises ValueError where anything is wrong with it."""
        argv = [sys.executable, "-m", "buildopt", "inspect", "--check", "--format", "json", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode == 0:
            return str(json.loads(done.stdout)["digest"])
        if not path.exists() or (path.is_dir() and not (path / "index.json").exists()):
            return ""
        raise ValueError(f"inspect --check: {done.stdout[-500:]}{done.stderr[-500:]}")

    def found(self, path: Path, before: str, fresh: bool) -> str:
        """Which image is there. Raises ValueError where it is neither the old nor the new one, whole."""
        now = self.inspect(path)
        if not now:
            if not fresh:
                raise ValueError("the old image is gone")
            return "none"
        if now == before:
            return "old"
        states = set(self.states(path))
        if states != {str(self.state)}:
            raise ValueError(f"a mix of the states {sorted(states)}, where {self.state} is the new one")
        return "new"

    def states(self, path: Path) -> Iterator[str]:
        """The state that each platform of an artifact says it is of."""
        source = oci.open_artifact(path)
        image = oci.resolve(source)
        if len(image.platforms) != 2:
            raise ValueError(f"{len(image.platforms)} platforms")
        for entry in image.platforms:
            data = source.read(entry.manifest.layers[-1].digest, 1 << 20)
            with tarfile.open(fileobj=io.BytesIO(data)) as layer:
                member = layer.extractfile("state")
                assert member is not None
                yield member.read().decode()

    def repair(self, name: str) -> None:
        """The next run. Raises ValueError where it fails or leaves anything behind."""
        problem = self.build(name)
        if problem:
            raise ValueError(f"the next run: {problem}")
        path = self.folder / name
        layout = path.with_name(f".{name}.layout") if name.endswith(".tar") else path
        self.inspect(layout)
        if self.found(path, "", False) != "new":
            raise ValueError("the next run left an old image")
        left = [item.name for item in (layout / STAGING, partial(path)) if item.exists()]
        if left:
            raise ValueError(f"the next run left {left}")


def left_running(folder: Path, patience: float) -> list[str]:
    """Commands that still have to do with a folder after so many seconds."""
    last = time.monotonic() + patience
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
        if not found or time.monotonic() > last:
            return found
        time.sleep(0.1)
