"""Caches of build-once in a registry and in a folder, for real: what one build made, another one finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildopt.engine.connection import Engine
from buildopt.oci import layout as oci
from buildopt.sandbox.registries import RunningRegistry

pytestmark = pytest.mark.engine
DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox date +%s%N > /when; : MARK"]
COPY data /MARK
"""


@pytest.fixture
def project(tmp_path: Path, busybox_context: Path) -> Path:
    """A context with a step whose result tells when it ran, under a name of its own."""
    folder = tmp_path / "project"
    shutil.copytree(busybox_context, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE.replace("MARK", mark(folder)))
    (folder / "data").write_text("data")
    return folder


def mark(folder: Path) -> str:
    return f"mark-{os.getpid()}-{folder.parent.name}"


def build(engine: Engine, folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "buildopt", "build-once", "--platforms", "amd64", *words]
    done = subprocess.run(argv, cwd=folder, env=dict(engine.environment), capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stderr
    return done


def forget(engine: Engine, folder: Path) -> None:
    """Let the engine forget the marked step, and nothing else of what it has built for others."""
    argv = [*engine.buildx, "prune", "--all", "--force", "--filter", f"description~={mark(folder)}"]
    done = subprocess.run(argv, env=dict(engine.environment), capture_output=True, text=True, check=True)
    assert "Total" in done.stdout


def layers(folder: Path) -> list[str]:
    source = oci.open_artifact(folder / ".buildopt/image")
    entry = oci.resolve(source).platforms[0]
    found = json.loads(source.read(entry.manifest.config.digest))["rootfs"]["diff_ids"]
    assert len(found) == 3
    return [str(digest) for digest in found]


def test_the_date_is_asked_again_once_the_engine_has_forgotten(project: Path, engine: Engine) -> None:
    build(engine, project)
    first = layers(project)
    forget(engine, project)
    build(engine, project)
    assert layers(project)[1] != first[1], "or the tests below show nothing"


def test_a_cache_in_a_registry_and_one_in_a_folder(project: Path, engine: Engine, mirror: RunningRegistry) -> None:
    reference = f"{mirror.url.partition('://')[2]}/caches/{mark(project)}:cache"
    done = build(engine, project, "--cache", f"registry={reference}", "--cache", "local=cache")
    assert "warning" not in done.stderr, done.stderr
    first = layers(project)
    for words in (("--cache", f"registry={reference}"), ("--cache", "local=cache")):
        forget(engine, project)
        build(engine, project, *words)
        assert layers(project) == first, "the date was not asked again"


def test_a_folder_holds_no_more_than_the_last_build_needs(project: Path, engine: Engine) -> None:
    sizes = []
    for number in range(3):
        (project / "data").write_bytes(os.urandom(1_000_000 + number))
        build(engine, project, "--cache", "local=cache")
        sizes.append(sum(path.stat().st_size for path in (project / "cache/blobs/sha256").iterdir()))
    assert max(sizes) - min(sizes) < 100_000


def test_a_cache_that_cannot_be_reached_is_said_and_fails_nothing(project: Path, engine: Engine) -> None:
    done = build(engine, project, "--cache", "registry=127.0.0.1:9/cache:x", "--quiet")
    assert "warning: the cache 127.0.0.1:9/cache:x was not read: " in done.stderr
    assert "warning: the cache registry=127.0.0.1:9/cache:x was not written: " in done.stderr
    assert "connection refused" in done.stderr
    assert done.stdout.startswith("sha256:")


def test_a_kind_that_the_engine_does_not_have_is_said(project: Path, engine: Engine) -> None:
    variables = {**engine.environment, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    argv = [sys.executable, "-m", "buildopt", "build-once", "-q", "--cache", "s3=bucket=b,region=eu-west-1"]
    done = subprocess.run(argv, cwd=project, env=variables, capture_output=True, text=True, timeout=200)
    assert done.returncode == 3
    assert "this engine cannot write a cache of kind s3" in done.stderr
