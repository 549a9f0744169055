"""Two engines as the nodes of one remote builder: one build, one index; and where an engine cannot export by itself."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc_bridge import bridge

from buildopt.engine import daemon
from buildopt.engine.connection import Engine
from buildopt.oci import layout as oci
from buildopt.oci.check import check

pytestmark = pytest.mark.engine
DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
COPY busybox-${TARGETARCH} /bin/sh
RUN /bin/busybox uname -m > /machine
"""


@dataclass(frozen=True, slots=True)
class Farm:
    """A folder to build in, with a builder ``native``; ``second`` is the engine of its arm64 node."""

    folder: Path
    environment: Mapping[str, str]
    second: Engine
    made: str

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "buildopt", *words]
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, text=True, capture_output=True, timeout=120)
        assert done.returncode == code, done.stderr
        return done

    def build(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("build-once", "context", "--builder", "native", "--platforms", "amd64,arm64", *words, code=code)


@pytest.fixture(scope="module")
def farm(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, engine_downloads: Path, busybox_context: Path
) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    (folder / "context").mkdir()
    for name in ("busybox-amd64", "busybox-arm64"):
        os.link(busybox_context / name, folder / "context" / name)
    (folder / "context/Dockerfile").write_text(DOCKERFILE)
    plugins = folder / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(engine.buildx[0])
    with daemon.private_engine(tmp_path_factory.mktemp("second"), downloads=engine_downloads) as second:
        sockets = [one.environment["DOCKER_HOST"].removeprefix("unix://") for one in (engine, second)]
        with bridge(sockets[0], folder / "a.sock") as first_node, bridge(sockets[1], folder / "b.sock") as second_node:
            environment = {**engine.environment, "DOCKER_CONFIG": f"{folder}/docker", "NO_COLOR": "1"}
            environment["BUILDX_CONFIG"] = f"{folder}/buildx"
            nodes = ["--node", f"amd64={first_node}", "--node", f"arm64={second_node}"]
            argv = [sys.executable, "-m", "buildopt", "engine", "config", *nodes]
            printed = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
            done = subprocess.run(["sh", "-e"], input=printed, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            yield Farm(folder, environment, second, printed)


def steps_of(engine: Engine) -> int:
    """How many results of RUN an engine keeps."""
    argv = [*engine.buildx, "du", "--verbose"]
    text = subprocess.run(argv, env=engine.environment, capture_output=True, text=True, check=True).stdout
    return text.count("/bin/busybox uname -m > /machine")


def machine(path: Path, number: int) -> str:
    source = oci.open_artifact(path)
    layer = oci.resolve(source).platforms[number].manifest.layers[2]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(source.read(layer.digest)))) as archive:
        file = archive.extractfile("machine")
        assert file is not None
        return file.read().decode().strip()


def test_each_node_builds_its_platform_and_one_index_comes_of_it(farm: Farm) -> None:
    document = json.loads(farm.build("--format", "json", "--quiet").stdout)
    image = oci.resolve(oci.open_artifact(farm.folder / ".buildopt/image"))
    assert check(oci.open_artifact(farm.folder / ".buildopt/image")) == ()
    assert document["digest"] == str(image.digest) and document["record"]
    assert [one["platform"] for one in document["platforms"]] == ["linux/amd64", "linux/arm64"]
    assert [machine(farm.folder / ".buildopt/image", number) for number in (0, 1)] == ["x86_64", "aarch64"]
    assert steps_of(farm.second) == 1, "the second engine ran arm64's, and nothing else"
    again = farm.build("--progress", "plain", "--cache", "local=kept")
    assert all((farm.folder / "kept" / name / "index.json").is_file() for name in ("amd64", "arm64"))
    assert again.stdout.strip() == document["digest"] and "6 of 6 steps cached" in again.stderr
    assert "cached linux/arm64 3/3 RUN" in again.stderr and "#2" not in again.stderr
    assert sorted(os.listdir(farm.folder / ".buildopt/image")) == ["blobs", "index.json", "oci-layout"]


def test_it_is_the_image_that_one_machine_builds(farm: Farm, engine: Engine) -> None:
    same = ["--source-date-epoch", "1700000000", "--provenance", "off", "--quiet"]
    several = farm.build(*same, "-o", "several.tar", "--check-reproducible").stdout
    one = farm.run("build-once", "context", "--builder", "default", "--platforms", "amd64,arm64", *same, "-o", "one")
    assert one.stdout == several


def test_a_failure_on_one_node_ends_the_other_at_once(farm: Farm) -> None:
    before = farm.build("--quiet").stdout
    (farm.folder / "bad.Dockerfile").write_text(
        f"{DOCKERFILE}RUN if [ $TARGETARCH = arm64 ]; then exit 7; fi; /bin/busybox sleep 60\n"
    )
    began = time.monotonic()
    done = farm.build("-f", "bad.Dockerfile", "--quiet", code=3)
    assert time.monotonic() - began < 30
    assert "bad.Dockerfile:6: RUN if" in done.stderr and "failed on linux/arm64: exit code: 7" in done.stderr
    assert farm.build("--quiet").stdout == before


def test_dry_run_shows_what_each_node_is_told(farm: Farm) -> None:
    lines = farm.build("--dry-run", "-q").stdout.splitlines()
    assert len(lines) == 2
    assert "--platform linux/amd64 " in lines[0] and "--platform linux/arm64 " in lines[1]
    assert all("--builder native" in line for line in lines)
