"""What skopeo, oras, crane and the engine itself write is read, found whole, and pushed under its own digest."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import artifacts
import pytest

from buildopt import process
from buildopt.engine.connection import Engine
from buildopt.oci.check import check
from buildopt.oci.descriptor import DOCKER_CONFIG, DOCKER_MANIFEST, Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.sandbox import programs
from buildopt.sandbox.registries import RunningRegistry, registry_server

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}


def tar_of(name: str, data: bytes) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as out:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        out.addfile(info, io.BytesIO(data))
    return plain.getvalue()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image of two platforms with real layers."""
    folder = tmp_path / "layout"
    images = []
    for number, architecture in enumerate(("amd64", "arm64")):
        plain = tar_of("file", os.urandom(1000) * (50 + number))
        layer = artifacts.put(folder, gzip.compress(plain), "application/vnd.oci.image.layer.v1.tar+gzip")
        rootfs = {"type": "layers", "diff_ids": [str(Digest.of(plain))]}
        document = {"os": "linux", "architecture": architecture, "config": {}, "rootfs": rootfs}
        config = artifacts.put(folder, json.dumps(document).encode(), artifacts.CONFIG)
        image = artifacts.put_json(folder, {"config": config, "layers": [layer]}, artifacts.MANIFEST)
        images.append({**image, "platform": {"os": "linux", "architecture": architecture}})
    index = artifacts.put_json(folder, {"manifests": images}, artifacts.INDEX)
    artifacts.finish(folder, [{**index, "annotations": {"org.opencontainers.image.ref.name": "x"}}])
    return folder


def push(environment: dict[str, str], path: Path, place: str, *words: str) -> str:
    """Push with the program; the digest, which crane finds there too."""
    argv = [sys.executable, "-m", "buildopt", "push", place, "--from-oci", str(path), "--format", "json", *words]
    done = process.run(argv, env=environment)
    digest: str = json.loads(done.stdout)["digest"]
    crane = programs.from_suite("crane", "crane")
    assert process.run([crane, "digest", "--insecure", place], env=environment).text.strip() == digest
    process.run([crane, "validate", "--insecure", "--remote", place], env=environment)
    return digest


def test_what_skopeo_writes(
    registry: RunningRegistry, environment: dict[str, str], layout: Path, tmp_path: Path
) -> None:
    skopeo = programs.installed_or_fetched("skopeo", "skopeo")
    digest = str(resolve(open_artifact(layout)).digest)
    copy = [skopeo, "copy", "--insecure-policy", "--all", f"oci:{layout}:x"]
    process.run([*copy, f"oci:{tmp_path}/folder:1"], env=environment)
    process.run([*copy, f"oci-archive:{tmp_path}/image.tar:1"], env=environment)
    for path in (tmp_path / "folder", tmp_path / "image.tar"):
        assert check(open_artifact(path), contents=True) == ()
        assert push(environment, path, f"{registry.authority}/acme/{path.stem}:1") == digest
    one = [skopeo, "copy", "--insecure-policy", "--override-arch", "amd64", f"oci:{layout}:x"]
    process.run([*one, f"docker-archive:{tmp_path}/docker.tar:app:1"], env=environment)
    argv = [sys.executable, "-m", "buildopt", "inspect", f"{tmp_path}/docker.tar", "--check"]
    done = process.run(argv, env=environment, check=False)
    assert done.returncode == 5 and "docker save" in done.stderr
    place = f"{registry.authority}/acme/docker:1"
    process.run([*one, "--format", "v2s2", "--dest-tls-verify=false", f"docker://{place}"], env=environment)
    oras = programs.from_suite("oras", "oras")
    process.run([oras, "cp", "--from-plain-http", place, "--to-oci-layout", f"{tmp_path}/types:1"], env=environment)
    image = resolve(open_artifact(tmp_path / "types"))
    assert image.descriptor.media_type == DOCKER_MANIFEST
    assert image.manifests[0].manifest.config.media_type == DOCKER_CONFIG
    assert not [problem for problem in check(open_artifact(tmp_path / "types"), contents=True) if problem.fatal]
    assert push(environment, tmp_path / "types", f"{registry.authority}/acme/again:1") == str(image.digest)


def test_what_oras_and_crane_write(
    registry: RunningRegistry, environment: dict[str, str], layout: Path, tmp_path: Path
) -> None:
    oras, crane = programs.from_suite("oras", "oras"), programs.from_suite("crane", "crane")
    place = f"{registry.authority}/acme/source:1"
    digest = push(environment, layout, place)
    process.run([oras, "cp", "--from-plain-http", place, "--to-oci-layout", f"{tmp_path}/oras:1"], env=environment)
    pull = [crane, "pull", "--insecure", "--format", "oci", place]
    process.run([*pull, str(tmp_path / "crane")], env=environment)
    for name in ("oras", "crane"):
        assert not [problem for problem in check(open_artifact(tmp_path / name), contents=True) if problem.fatal]
        assert push(environment, tmp_path / name, f"{registry.authority}/acme/{name}:1") == digest
    # A note about the image, beside it in one layout.
    (tmp_path / "note.txt").write_text("fine")
    attach = [oras, "attach", "--plain-http", "--artifact-type", "application/vnd.acme.note", place, "note.txt"]
    process.run(attach, env=environment, cwd=tmp_path)
    process.run(
        [oras, "cp", "-r", "--from-plain-http", place, "--to-oci-layout", f"{tmp_path}/noted:1"], env=environment
    )
    problems = [problem for problem in check(open_artifact(tmp_path / "noted"), contents=True) if problem.fatal]
    assert {problem.kind for problem in problems} <= {"ambiguous"}
    pushed = push(environment, tmp_path / "noted", f"{registry.authority}/acme/noted:1", "--image", digest)
    assert pushed == digest


def test_what_the_engine_saves(
    engine: Engine, registry: RunningRegistry, environment: dict[str, str], tmp_path: Path
) -> None:
    """docker save of version 25 and later holds an OCI layout; of several images one is chosen."""

    def docker(*words: str) -> None:
        process.run([*engine.docker, *words], env=engine.environment)

    for name in ("one", "two"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of(name, name.encode()))
        docker("import", f"{tmp_path}/{name}.tar", f"saved/{name}:1")
    docker("save", "-o", f"{tmp_path}/saved.tar", "saved/one:1")
    docker("save", "-o", f"{tmp_path}/both.tar", "saved/one:1", "saved/two:1")
    source = open_artifact(tmp_path / "saved.tar")
    assert [problem for problem in check(source, contents=True) if problem.fatal] == []
    image = resolve(source)
    assert any("saved/one:1" in name for name in image.names)
    digest = push(environment, tmp_path / "saved.tar", f"{registry.authority}/saved/one:1")
    assert digest == str(image.digest)
    argv = [sys.executable, "-m", "buildopt", "push", "127.0.0.1:1/a:1", "--from-oci", str(tmp_path / "both.tar")]
    done = process.run(argv, env=environment, check=False)
    assert done.returncode == 5 and "2 different images" in done.stderr
    chosen = push(environment, tmp_path / "both.tar", f"{registry.authority}/saved/two:1", "--image", "saved/two:1")
    assert chosen == str(resolve(open_artifact(tmp_path / "both.tar"), "saved/two:1").digest) != digest
