"""A user's whole day, by the commands as typed: lint, optimize, build once, push under the registries' real names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildopt import process, settings
from buildopt.engine.connection import Engine
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact, resolve
from buildopt.sandbox import demo, programs, registries
from buildopt.sandbox.certificates import Certificates
from buildopt.sandbox.names import in_names
from buildopt.sandbox.registries import RunningRegistry
from buildopt.sandbox.tokens import User

pytestmark = pytest.mark.engine

HOSTS = {registries.GHCR: "127.0.0.2", registries.ECR: "127.0.0.3"}
CONFIGURATION = f"""
build: {{platforms: [amd64, arm64]}}
push:
  tags: [v1, latest]
  to:
    - {registries.GHCR}/acme/greet
    - {{ref: {registries.ECR}/greet, optional: true}}
"""


@dataclass(frozen=True)
class Person:
    """Somebody in the project's folder, signed in to both registries."""

    project: Path
    environment: dict[str, str]

    def types(self, *words: str, expected: int = 0, named: bool = False) -> process.Completed:
        argv = [sys.executable, "-m", "buildopt", *words]
        if named:
            argv = in_names(argv, HOSTS, self.project.parent / "names")
        done = process.run(argv, env=self.environment, cwd=self.project, check=False)
        assert done.returncode == expected, done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[list[RunningRegistry]]:
    folder = tmp_path_factory.mktemp("named")
    ghcr = registries.start_ghcr(
        folder / "ghcr", certificates, [User("ada", "secret-a")], name=registries.GHCR, host="127.0.0.2", port=443
    )
    with registries.stopped_after(ghcr):
        ecr = registries.start_ecr(
            folder / "ecr", certificates, "secret-b", name=registries.ECR, host="127.0.0.3", port=443
        )
        with registries.stopped_after(ecr):
            yield [ghcr, ecr]


@pytest.fixture
def user(
    tmp_path: Path, engine: Engine, certificates: Certificates, base_image: Callable[[str], Path]
) -> Iterator[Person]:
    for name in demo.IMAGES:
        base_image(name)
    project = demo.write_project(tmp_path)
    (project / "buildopt.yaml").write_text(CONFIGURATION)
    demo.write_credentials(
        tmp_path / "docker", {registries.GHCR: ("ada", "secret-a"), registries.ECR: ("AWS", "secret-b")}
    )
    config = tmp_path / "docker" / "config.json"
    plugins = [str(Path(engine.buildx[0]).parent)]
    config.write_text(json.dumps({**json.loads(config.read_text()), "cliPluginsExtraDirs": plugins}))
    environment = {
        **engine.environment,
        "HOME": str(tmp_path),
        "BUILDOPT_CACHE": str(settings.cache_folder()),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "SSL_CERT_FILE": str(certificates.bundle),
    }
    yield Person(project, environment)


def test_a_day(user: Person, names: list[RunningRegistry], tmp_path: Path) -> None:
    user.types("lint", "Dockerfile", expected=1)
    user.types("lint", "--fix", "Dockerfile")
    user.types("optimize", "-w", "Dockerfile")
    user.types("optimize", "--check", "Dockerfile")
    digest = user.types("build-once", "--platforms", "amd64,arm64").text.strip()
    artifact = resolve(open_artifact(user.project / ".buildopt" / "image"))
    assert str(artifact.digest) == digest
    assert [str(entry.platform) for entry in artifact.platforms] == ["linux/amd64", "linux/arm64"]

    pushed = json.loads(user.types("push", "--from-oci", "--format", "json", named=True).stdout)
    places = [f"{names[0].authority}/acme/greet", f"{names[1].authority}/greet"]
    assert [entry["reference"] for entry in pushed["destinations"]] == [
        f"{place}:{tag}" for place in places for tag in ("v1", "latest")
    ]
    assert {entry["digest"] for entry in pushed["destinations"]} == {digest}

    oras = programs.from_suite("oras", "oras")
    for number, place in enumerate(places):
        copy = tmp_path / f"pulled{number}"
        argv = in_names([oras, "cp", f"{place}:v1", "--to-oci-layout", f"{copy}:x"], HOSTS, tmp_path / "names")
        process.run(argv, env=user.environment)
        source = open_artifact(copy)
        assert [problem for problem in check(source) if problem.fatal] == []
        assert resolve(source).digest == artifact.digest
        assert {blob.digest for blob in resolve(source).blobs} == {blob.digest for blob in artifact.blobs}

    again = json.loads(user.types("push", "--from-oci", "--format", "json", named=True).stdout)
    assert sum(entry["bytes_sent"] for entry in again["destinations"]) == 0


def test_the_demo_uses_the_engine_that_is_there_and_ends_what_it_started(user: Person, engine: Engine) -> None:
    folder = user.project.parent / "demo"
    done = user.types("demo", str(folder), "--format", "json")
    saved = json.loads(done.stdout)
    assert saved["equal"] is True
    assert set(saved["destinations"].values()) == {saved["digest"]}
    assert saved["image_bytes"]["after"] < saved["image_bytes"]["before"] / 3
    assert process.run([*engine.docker, "version"], env=engine.environment).returncode == 0
    assert "private engine" not in done.stderr
    for name in ("ghcr", "ecr"):
        assert registries.running_registry(folder / "registries" / name) is None
    assert os.listdir(folder / "greet") != []
