"""The same image twice: one time for all, and what differs where a build makes something new each time."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildopt.engine.connection import Engine
from buildopt.oci import layout as oci

pytestmark = pytest.mark.engine
EPOCH = 1_700_000_000
# A cache mount for each platform: they are built at the same time, and one must not empty what the other copies.
DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
COPY busybox-${TARGETARCH} /bin/sh
RUN --mount=type=cache,id=kept-${TARGETARCH},target=/kept echo again > /kept/list && /bin/busybox cp /kept/list /list
COPY data /data
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A build context, and how to build it."""

    folder: Path
    environment: Mapping[str, str]

    def build(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "buildopt", "build-once", "--platforms", "amd64,arm64", "--quiet", *words]
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, text=True, capture_output=True, timeout=300)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def document(self, *words: str, code: int = 0) -> dict[str, object]:
        found = json.loads(self.build("--format", "json", *words, code=code).stdout)
        assert isinstance(found, dict)
        return found

    def mounts(self, engine: Engine) -> list[str]:
        """What the engine says of its cache mounts with this project's target."""
        argv = [*engine.buildx, "du", "--verbose", "--filter", "type=exec.cachemount"]
        text = subprocess.run(argv, env=engine.environment, capture_output=True, text=True, check=True).stdout
        return sorted(line for line in text.splitlines() if line.startswith("Description:") and "/kept" in line)


@pytest.fixture
def project(tmp_path: Path, engine: Engine, busybox_context: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("busybox-amd64", "busybox-arm64"):
        os.link(busybox_context / name, folder / name)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "data").write_text(str(tmp_path))
    environment = {**engine.environment, "DOCKER_CONFIG": str(tmp_path / "docker"), "NO_COLOR": "1"}
    environment.pop("SOURCE_DATE_EPOCH", None)
    return Project(folder, environment)


def platforms(path: Path) -> list[str]:
    return [str(entry.descriptor.digest) for entry in oci.resolve(oci.open_artifact(path)).platforms]


def members(path: Path) -> list[str]:
    """Every member of every layer, with what is compared of it: what a failure tells."""
    source = oci.open_artifact(path)
    found = []
    for entry in oci.resolve(source).platforms:
        for number, layer in enumerate(entry.manifest.layers, 1):
            data = gzip.decompress(source.read(layer.digest, 1 << 30))
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                found += [f"{number} {one.name} {one.type!r} {one.mode:o} {one.mtime} {one.size}" for one in archive]
    return found


def times(path: Path) -> set[int]:
    """Times of all files in all layers."""
    return {int(float(line.split()[-2])) for line in members(path)}


def test_one_time_makes_two_builds_without_cache_the_same(project: Project) -> None:
    words = ["--no-cache", "--source-date-epoch", str(EPOCH)]
    first = project.build(*words, "--provenance", "off", "-o", "first").stdout
    (project.folder / "data").touch()
    second = project.build(*words, "--provenance", "off", "-o", "second").stdout
    assert members(project.folder / "second") == members(project.folder / "first")
    assert second == first
    assert max(times(project.folder / "first")) == EPOCH
    source = oci.open_artifact(project.folder / "first")
    entry = oci.resolve(source).platforms[0]
    assert json.loads(source.read(entry.manifest.config.digest))["created"] == "2023-11-14T22:13:20Z"
    # A provenance tells when the build ran: the index is another one, the platforms are the same.
    project.build(*words, "-o", "third", "--provenance", "min")
    assert platforms(project.folder / "third") == platforms(project.folder / "first")


def test_the_commit_s_time_and_the_environment_s(project: Project) -> None:
    commit = {**project.environment, "GIT_COMMITTER_DATE": f"{EPOCH} +0000"}
    for words in (["init", "-q"], ["add", "Dockerfile"], ["commit", "-q", "-m", "x"]):
        argv = ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words]
        subprocess.run(argv, cwd=project.folder, env=commit, check=True)
    of_git = project.build("--source-date-epoch", "git", "--provenance", "off").stdout
    assert max(times(project.folder / ".buildopt/image")) == EPOCH
    told = Project(project.folder, {**project.environment, "SOURCE_DATE_EPOCH": str(EPOCH)})
    assert told.build("--source-date-epoch", "auto", "--provenance", "off", "-o", "auto").stdout == of_git


def test_a_reproducible_build_is_said_to_be_one(project: Project, engine: Engine) -> None:
    words = ["--check-reproducible", "--source-date-epoch", str(EPOCH), "--provenance", "max"]
    document = project.document(*words, "-o", "image.tar")
    found = document["reproducible"]
    assert isinstance(found, dict) and found["same"] is True
    assert [one["first"] for one in found["platforms"]] == platforms(project.folder / "image.tar")
    assert not project.build("--check-reproducible", "--source-date-epoch", str(EPOCH)).stderr, "quiet"
    assert len(oci.resolve(oci.open_artifact(project.folder / ".buildopt/image")).platforms) == 2
    assert sorted(os.listdir(project.folder / ".buildopt/image")) == ["blobs", "index.json", "oci-layout"]


def test_what_is_made_anew_is_named_and_the_user_s_caches_stay(project: Project, engine: Engine) -> None:
    secret = "RUN /bin/busybox date +%s%N$TOKEN > /when && /bin/busybox chmod 700 /bin/sh\n"
    (project.folder / "Dockerfile").write_text(f"{DOCKERFILE}ARG TOKEN\n{secret}")
    words = ["--source-date-epoch", str(EPOCH), "--build-arg", "TOKEN=hunter22", "--provenance", "off"]
    digest = project.build(*words).stdout
    mounts = project.mounts(engine)
    done = project.build(*words, "--check-reproducible", code=1)
    assert done.stdout == digest
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert "not reproducible: linux/amd64" in lines and "not reproducible: linux/arm64" in lines
    assert any(line.startswith("/when: content (") for line in lines)
    assert any(line.startswith("layer 5: RUN |2 TARGETARCH=amd64 TOKEN=***") for line in lines)
    assert sum(line.startswith("layer ") for line in lines) == 2, f"one of each platform, in {done.stderr}"
    assert "hunter22" not in done.stderr and "hint:" in lines[-1]
    assert project.build(*words).stdout == digest, "the second build's layers do not take the place of the first's"
    assert project.mounts(engine) == mounts != []


def test_without_a_time_only_times_differ(project: Project) -> None:
    (project.folder / "Dockerfile").write_text(DOCKERFILE.replace("RUN", "#RUN"))
    done = project.build("--check-reproducible", code=1)
    assert "config: created was 20" in done.stderr and "/bin: time (" in done.stderr
    assert "hint: --source-date-epoch git makes the times" in done.stderr and "nothing else differs" in done.stderr


def test_a_build_that_lives_on_its_cache_mount_does_not_build_a_second_time(project: Project) -> None:
    mount = "RUN --mount=type=cache,target=/once"
    (project.folder / "Dockerfile").write_text(f"{DOCKERFILE}{mount} /bin/busybox touch /once/there\n")
    project.build()
    (project.folder / "Dockerfile").write_text(f"{DOCKERFILE}{mount} /bin/busybox ls /once/there\n")
    done = project.build("--check-reproducible", code=3)
    assert "the artifact was built, but does not build a second time: Dockerfile:7: RUN" in done.stderr
    assert len(platforms(project.folder / ".buildopt/image")) == 2
    assert sorted(os.listdir(project.folder / ".buildopt/image")) == ["blobs", "index.json", "oci-layout"]
