"""build-once --optimize: what is built is the rewritten Dockerfile, what lies in the context is as it was."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from buildopt.engine.connection import Engine
from buildopt.oci import layout as oci

pytestmark = pytest.mark.engine
# A npm that writes down whether it was given a cache mount.
NPM = """#!/bin/sh
/bin/busybox grep -c ' /root/.npm ' /proc/mounts > /mounts
echo $1 > /installed
"""
BASE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
COPY busybox-${TARGETARCH} /bin/sh
COPY npm /bin/npm
"""
DOCKERFILE = """FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
CMD ["node", "app.js"]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, busybox_context: Path, engine: Engine) -> str:
    """What stands in for node:22-slim, as a named context."""
    folder = tmp_path_factory.mktemp("base") / "context"
    shutil.copytree(busybox_context, folder)
    (folder / "Dockerfile").write_text(BASE)
    (folder / "npm").write_text(NPM)
    (folder / "npm").chmod(0o755)
    digest = build(engine, folder).stdout.strip()
    return f"node:22-slim=oci-layout://{folder}/.buildopt/image@{digest}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "package.json").write_text('{"name": "app", "version": "1.0.0"}')
    (folder / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')
    (folder / ".gitignore").write_text("node_modules\n")
    (folder / "app.js").write_text("1\n")
    (folder / "node_modules").mkdir()
    (folder / "node_modules/here.js").write_text("1")
    return folder


def build(engine: Engine, folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "buildopt", "build-once", "--platforms", "amd64", *words]
    done = subprocess.run(argv, cwd=folder, env=dict(engine.environment), capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stderr
    return done


def files(layout: Path) -> dict[str, bytes]:
    """Every file of an artifact with what it holds."""
    source = oci.open_artifact(layout)
    found = {}
    for layer in oci.resolve(source).platforms[0].manifest.layers:
        with tarfile.open(fileobj=io.BytesIO(source.read(layer.digest, 1 << 30))) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                found[member.name] = stream.read() if stream is not None else b""
    return found


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".buildopt" not in path.parts
    }


def test_the_rewritten_file_is_built_and_nothing_is_written(project: Path, engine: Engine, base: str) -> None:
    before = listing(project)
    build(engine, project, "--build-context", base)
    plain = files(project / ".buildopt/image")
    assert plain["mounts"].strip() == b"0" and "app/node_modules/here.js" in plain

    done = build(engine, project, "--build-context", base, "--optimize")
    assert "optimized for this build: cache_mounts, dockerignore (see: buildopt optimize Dockerfile)" in done.stderr
    optimized = files(project / ".buildopt/image")
    assert optimized["mounts"].strip() == b"1"
    assert "app/app.js" in optimized and "app/node_modules/here.js" not in optimized
    assert not any(".buildopt" in name for name in optimized)
    assert listing(project) == before

    again = json.loads(build(engine, project, "--build-context", base, "--optimize", "--format", "json", "-q").stdout)
    assert again["optimized"] == ["cache_mounts", "dockerignore"]
    assert again["steps"]["cached"] == again["steps"]["total"]
    assert (
        json.loads(build(engine, project, "--build-context", base, "--format", "json", "-q").stdout)["optimized"] == []
    )


def test_an_output_elsewhere_is_built_from_the_rewritten_file_too(
    project: Path, engine: Engine, base: str, tmp_path: Path
) -> None:
    (project / "Dockerfile.dockerignore").write_text("app.js\n")
    shutil.rmtree(project / ".buildopt", ignore_errors=True)
    build(engine, project, "--build-context", base, "--optimize", "-o", str(tmp_path / "image.tar"))
    found = files(tmp_path / "image.tar")
    assert found["mounts"].strip() == b"1" and "app/app.js" not in found


def test_a_failed_step_is_found_in_the_rewritten_file(project: Path, engine: Engine, base: str) -> None:
    (project / "Dockerfile").write_text(f"{DOCKERFILE}RUN exit 9\n")
    done = build(engine, project, "--build-context", base, "--optimize", "-q", code=3)
    rewritten = subprocess.run(
        [sys.executable, "-m", "buildopt", "optimize", "-o", "-"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    line = rewritten.splitlines().index("RUN exit 9") + 1
    assert line != DOCKERFILE.count("\n") + 1, "or the test shows nothing"
    assert f"error: Dockerfile (optimized):{line}: RUN exit 9 failed on linux/amd64: exit code: 9" in done.stderr


def test_what_cannot_be_changed_is_built_as_it_is(project: Path, engine: Engine, base: str) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY app.js /\n")
    done = build(engine, project, "--build-context", base, "--optimize")
    assert "optimized for this build: nothing to change in Dockerfile" in done.stderr
    (project / "Dockerfile").write_text("FROM scratch\nRNU x\n")
    done = build(engine, project, "--optimize", code=3)
    assert "Dockerfile:2: unknown instruction: RNU" in done.stderr
