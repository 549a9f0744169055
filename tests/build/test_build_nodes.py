"""Several machines build at the same time: which builds what, what they leave, and what happens where one fails."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildopt.build import artifact, nodes, plan
from buildopt.build.artifact import Staging
from buildopt.build.plan import BuildPlan, Options
from buildopt.build.progress import Event, Step
from buildopt.errors import ToolError
from buildopt.oci import layout as oci
from buildopt.process import interrupt_streams
from buildopt.settings import Settings

# A buildx that writes the image of its one platform, and does what its Dockerfile says to that platform.
BUILDX = """
import json, os, sys, time
sys.path[:0] = [{tests!r}]
import artifacts
from pathlib import Path
words = sys.argv[1:]
value = lambda flag: words[words.index(flag) + 1]
platform = value("--platform")
fields = dict(field.split("=", 1) for field in value("--output").split(",") if "=" in field)
told = {{"name": "[2/2] RUN x", "digest": "sha256:x", "started": "2026-01-01T00:00:00Z"}}
print(json.dumps({{"vertexes": [told]}}), file=sys.stderr, flush=True)
text = Path(value("--file")).read_text()
if f"{{platform}} fails" in text:
    print("ERROR: failed to solve: it fails", file=sys.stderr)
    sys.exit(1)
if f"{{platform}} sleeps" in text:
    time.sleep(60)
told["completed"] = "2026-01-01T00:00:01Z"
print(json.dumps({{"vertexes": [told]}}), file=sys.stderr, flush=True)
layout = Path(fields["dest"])
image = artifacts.put_image(layout, platform, [b"shared", platform.encode()])
top = image if "--provenance=false" in words else artifacts.put_json(
    layout, {{"manifests": [image, artifacts.put_attestation(layout, image)]}}, artifacts.INDEX)
artifacts.finish(layout, [top])
Path(value("--metadata-file")).write_text(json.dumps({{"containerimage.digest": top["digest"]}}))
"""


@dataclass(frozen=True, slots=True)
class Node:
    platforms: tuple[str, ...]
    chosen: tuple[str, ...] = ()


AMD, ARM = Node(("linux/amd64", "linux/386")), Node(("linux/arm64", "linux/amd64"), ("linux/arm64",))


@pytest.mark.parametrize(
    ("platforms", "machines", "parts"),
    [
        (("linux/amd64", "linux/arm64"), (AMD, ARM), (("linux/amd64",), ("linux/arm64",))),
        (("linux/arm64", "linux/amd64", "linux/386"), (AMD, ARM), (("linux/arm64",), ("linux/amd64", "linux/386"))),
        (("linux/amd64",), (ARM, AMD), (("linux/amd64",),)),
        (("linux/arm64",), (Node(("linux/amd64", "linux/arm64")), ARM), (("linux/arm64",),)),
        (("linux/s390x", "linux/arm64"), (AMD, ARM), (("linux/s390x",), ("linux/arm64",))),
        (("linux/amd64", "linux/arm64"), (AMD,), (("linux/amd64", "linux/arm64"),)),
        (("linux/amd64", "linux/arm64"), (), (("linux/amd64", "linux/arm64"),)),
        ((), (AMD, ARM), ()),
    ],
)
def test_each_platform_goes_to_its_machine(
    platforms: tuple[str, ...], machines: tuple[Node, ...], parts: tuple[tuple[str, ...], ...]
) -> None:
    assert nodes.groups(platforms, machines) == parts


@pytest.mark.parametrize(
    ("typed", "places"),
    [
        (
            "registry=ghcr.io/acme/app:cache",
            ("ref=ghcr.io/acme/app:cache-amd64-386", "ref=ghcr.io/acme/app:cache-arm64"),
        ),
        ("registry=127.0.0.1:5000/cache", ("ref=127.0.0.1:5000/cache:amd64-386", "ref=127.0.0.1:5000/cache:arm64")),
        ("gha,scope=x", ("scope=x.amd64-386", "scope=x.arm64")),
        ("gha", ("scope=image.amd64-386", "scope=image.arm64")),
        ("s3=bucket=b,region=r", ("name=buildkit-amd64-386", "name=buildkit-arm64")),
        ("s3=bucket=b,region=r,name=n", ("name=n-amd64-386", "name=n-arm64")),
        ("local=kept", ("/kept/amd64-386", "/kept/arm64")),
    ],
)
def test_each_machine_has_its_own_part_of_a_cache(tmp_path: Path, typed: str, places: tuple[str, str]) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    options = Options(platforms=("amd64,386,arm64",), caches=(typed,))
    made = plan.make(options, Settings(), tmp_path)
    parts = nodes.parts_of(made, (AMD, ARM))
    assert [part.platforms for part in parts] == [("linux/amd64", "linux/386"), ("linux/arm64",)]
    for part, place in zip(parts, places, strict=True):
        (target,) = (entry.target for entry in part.caches)
        assert target is not None and any(field.endswith(place) for field in target), target
    assert nodes.parts_of(made, (AMD,)) == (made,)


class Seen:
    """A view that keeps what it is told, and that two threads must not use at once."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.lines = 0
        self.inside = threading.Lock()

    def line(self, line: str) -> None:
        assert self.inside.acquire(blocking=False)
        self.lines += 1
        self.inside.release()

    def event(self, event: Event) -> None:
        assert self.inside.acquire(blocking=False)
        if isinstance(event, Step):
            self.steps[event.id] = event
        self.inside.release()


Run = Callable[[str], str]


@dataclass(slots=True)
class Build:
    folder: Path
    view: Seen = dataclasses.field(default_factory=Seen)

    def plan(self, text: str, provenance: str = "min") -> BuildPlan:
        (self.folder / "Dockerfile").write_text(text)
        options = Options(platforms=("linux/arm64,linux/amd64",), output="out", provenance=provenance)
        return plan.make(options, Settings(), self.folder)

    def run(self, text: str = "FROM scratch\n", provenance: str = "min") -> str:
        made = self.plan(text, provenance)
        script = self.folder / "buildx.py"
        script.write_text(BUILDX.format(tests=str(Path(__file__).parent.parent)))
        with artifact.staged(made.output) as staging:
            return self.on(made, staging, [sys.executable, str(script)])

    def on(self, made: BuildPlan, staging: Staging, command: list[str]) -> str:
        built = nodes.build(made, command, staging, self.view, environment={}, nodes=(AMD, ARM))
        return str(artifact.publish(staging, built.digest).image.digest)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


def test_the_parts_become_one_index(build: Build) -> None:
    digest = build.run()
    image = oci.resolve(oci.open_artifact(build.folder / "out"))
    assert str(image.digest) == digest
    assert [str(entry.platform) for entry in image.platforms] == ["linux/amd64", "linux/arm64"]
    assert len(image.attestations) == 2
    steps = [(step.platform, step.name) for step in build.view.steps.values()]
    assert sorted(steps) == [
        ("linux/amd64", "[linux/amd64 2/2] RUN x"), ("linux/arm64", "[linux/arm64 2/2] RUN x"),
    ]  # fmt: skip
    assert all(step.completed for step in build.view.steps.values()) and build.view.lines == 4
    assert build.run() == digest
    assert sorted(path.name for path in (build.folder / "out").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_plain_manifests_become_an_index_too(build: Build) -> None:
    build.run(provenance="off")
    image = oci.resolve(oci.open_artifact(build.folder / "out"))
    assert len(image.indexes) == 1 and not image.attestations


@pytest.mark.parametrize(("fails", "sleeps"), [("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64")])
def test_where_one_fails_the_other_is_ended_and_the_last_artifact_stays(build: Build, fails: str, sleeps: str) -> None:
    digest = build.run()
    began = time.monotonic()
    with pytest.raises(ToolError, match=f"the node for {fails} does not build: it fails"):
        build.run(f"FROM scratch\n# {fails} fails\n# {sleeps} sleeps\n")
    assert time.monotonic() - began < 20
    assert str(oci.resolve(oci.open_artifact(build.folder / "out")).digest) == digest


def test_an_interrupt_ends_all_of_them(build: Build) -> None:
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build.run("FROM scratch\n# linux/amd64 sleeps\n# linux/arm64 sleeps\n")
    timer.join()
    assert time.monotonic() - began < 20
    assert sorted(path.name for path in (build.folder / "out").iterdir()) == []
    interrupt_streams()  # nothing is left to be interrupted
