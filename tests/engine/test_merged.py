"""Two machines' artifacts become one image that every client takes, without a registry in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildopt import process
from buildopt.engine.connection import Engine
from buildopt.oci import layout as oci
from buildopt.oci.check import check
from buildopt.sandbox import programs
from buildopt.sandbox.registries import RunningRegistry, running_registry, start_registry, stopped_after

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, engine: Engine, busybox_context: Path) -> Path:
    """``amd64.tar`` and ``arm64``, each built by itself, ``both`` in one build, and ``merged``."""
    folder = tmp_path_factory.mktemp("merged")
    context = folder / "context"
    context.mkdir()
    for name in ("busybox-amd64", "busybox-arm64"):
        os.link(busybox_context / name, context / name)
    (context / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETARCH\nCOPY busybox-${TARGETARCH} /bin/busybox\nCOPY busybox-${TARGETARCH} /bin/sh\n"
        "RUN /bin/busybox uname -m > /machine\n"
    )
    same = ["build-once", "context", "--source-date-epoch", "1700000000"]
    run(folder, engine, *same, "--platforms", "amd64", "-o", "amd64.tar", "-t", "acme/app:1")
    run(folder, engine, *same, "--platforms", "arm64", "-o", "arm64", "-t", "acme/app:1")
    run(folder, engine, "merge", "amd64.tar", "arm64", "-o", "merged")
    return folder


def run(folder: Path, engine: Engine, *words: str) -> str:
    environment = {**engine.environment, "DOCKER_CONFIG": f"{folder}/docker", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "buildopt", *words, "--quiet"]
    done = subprocess.run(argv, cwd=folder, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    assert running_registry(folder) is None
    with stopped_after(start_registry(folder)) as running:
        yield running


def test_without_provenance_it_is_the_image_of_one_build(folder: Path, engine: Engine) -> None:
    same = ["build-once", "context", "--source-date-epoch", "1700000000", "--provenance", "off"]
    for name in ("amd64", "arm64"):
        run(folder, engine, *same, "--platforms", name, "-o", f"plain-{name}")
    merged = run(folder, engine, "merge", "plain-arm64", "plain-amd64", "-o", "plain")
    assert merged == run(folder, engine, *same, "--platforms", "amd64,arm64", "-o", "both")
    assert merged == run(folder, engine, "merge", "plain-amd64", "plain-arm64", "-o", "plain.tar")


def test_both_platforms_and_both_provenances_are_there(folder: Path, engine: Engine) -> None:
    source = oci.open_artifact(folder / "merged")
    image = oci.resolve(source)
    assert check(source) == () and image.names == ("docker.io/acme/app:1",)
    shown = json.loads(run(folder, engine, "inspect", "merged", "--format", "json"))
    assert [one["platform"] for one in shown["platforms"]] == ["linux/amd64", "linux/arm64"]
    assert [one["platform"] for one in shown["attestations"]] == ["linux/amd64", "linux/arm64"]
    assert all(one["predicates"] == ["https://slsa.dev/provenance/v0.2"] for one in shown["attestations"])
    for part, entry in zip(("amd64.tar", "arm64"), image.platforms, strict=True):
        of_part = oci.resolve(oci.open_artifact(folder / part))
        assert of_part.platforms[0].manifest.data == entry.manifest.data


def test_it_is_pushed_and_every_client_takes_it(
    folder: Path, engine: Engine, registry: RunningRegistry, tmp_path: Path
) -> None:
    digest = str(oci.resolve(oci.open_artifact(folder / "merged")).digest)
    place = f"{registry.authority}/acme/app:1"
    document = json.loads(run(folder, engine, "push", place, "--from-oci", "merged", "--format", "json"))
    assert document["ok"] and document["digest"] == digest
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    oras, crane = programs.from_suite("oras", "oras"), programs.from_suite("crane", "crane")
    skopeo = programs.installed_or_fetched("skopeo", "skopeo")
    # The registry's copy, whole.
    process.run([oras, "cp", "--from-plain-http", place, "--to-oci-layout", f"{tmp_path}/pulled:1"], env=environment)
    pulled = oci.open_artifact(tmp_path / "pulled")
    assert not [problem for problem in check(pulled) if problem.fatal]
    assert str(oci.resolve(pulled).digest) == digest
    assert process.run([crane, "digest", "--insecure", place], env=environment).text.strip() == digest
    for platform in ("linux/amd64", "linux/arm64"):
        config = process.run([crane, "config", "--insecure", "--platform", platform, place], env=environment).text
        assert json.loads(config)["architecture"] == platform.partition("/")[2]
    # The layout itself, read by others.
    for command in (
        [skopeo, "copy", "--insecure-policy", "--all", f"oci:{folder}/merged", f"oci:{tmp_path}/skopeo:1"],
        [oras, "cp", "--from-oci-layout", f"{folder}/merged@{digest}", "--to-oci-layout", f"{tmp_path}/oras:1"],
        [crane, "push", "--insecure", "--index", f"{folder}/merged", f"{registry.authority}/acme/crane:1"],
    ):
        process.run(command, env=environment)
    for name in ("skopeo", "oras"):
        assert str(oci.resolve(oci.open_artifact(tmp_path / name)).digest) == digest


def test_the_engine_runs_it(folder: Path, engine: Engine) -> None:
    run(folder, engine, "merge", "arm64", "amd64.tar", "-o", "merged.tar")
    docker = [*engine.docker]
    subprocess.run(
        [*docker, "load", "-i", folder / "merged.tar"], env=engine.environment, check=True, capture_output=True
    )
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        argv = [
            *docker,
            "run",
            "--rm",
            "--network=none",
            "--platform",
            platform,
            "acme/app:1",
            "/bin/busybox",
            "cat",
            "/machine",
        ]
        done = subprocess.run(argv, env=engine.environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == machine
