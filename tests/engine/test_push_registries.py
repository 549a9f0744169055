"""Pushing to real registries over TLS, with tokens and basic auth, and pulling it back with oras."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import artifacts
import pytest

from buildopt import process
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact, resolve
from buildopt.sandbox import programs
from buildopt.sandbox.certificates import Certificates
from buildopt.sandbox.registries import RunningRegistry

pytestmark = pytest.mark.engine


@pytest.fixture
def environment(tmp_path: Path, certificates: Certificates) -> dict[str, str]:
    artifacts.make_layout(tmp_path / "layout", size=2_000_000)
    docker = {"DOCKER_CONFIG": str(tmp_path / "docker"), "SSL_CERT_FILE": str(certificates.bundle)}
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **docker}


def sign_in(environment: dict[str, str], **users: tuple[str, str]) -> None:
    """Write config.json; registries by their authority."""
    folder = Path(environment["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    auths = {
        name: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for name, (user, password) in users.items()
    }
    (folder / "config.json").write_text(json.dumps({"auths": auths}))


def push(environment: dict[str, str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run ``buildopt push`` as a program."""
    argv = [sys.executable, "-m", "buildopt", "push", *words, "--from-oci", "layout", "--format", "json", "--quiet"]
    done = process.run(argv, env=environment, cwd=environment["HOME"], check=False)
    assert "secret" not in done.text + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_two_registries_get_the_same_digest_and_oras_pulls_it(
    environment: dict[str, str], ghcr: RunningRegistry, ecr: RunningRegistry, tmp_path: Path
) -> None:
    sign_in(environment, **{ghcr.authority: ("octocat", "secret"), ecr.authority: ("AWS", "ecr-secret")})
    places = [f"{ghcr.authority}/acme/app:1", f"{ecr.authority}/app:1"]
    code, document = push(environment, *places)
    image = resolve(open_artifact(tmp_path / "layout"))
    assert (code, document["ok"], document["digest"]) == (0, True, str(image.digest))
    oras = programs.from_suite("oras", "oras")
    for number, place in enumerate(places):
        copy = tmp_path / f"copy{number}"
        process.run([oras, "cp", place, "--to-oci-layout", f"{copy}:x"], env=environment)
        source = open_artifact(copy)
        assert [problem for problem in check(source) if problem.fatal] == []
        pulled = resolve(source)
        assert pulled.digest == image.digest
        assert {blob.digest for blob in pulled.blobs} == {blob.digest for blob in image.blobs}


@pytest.mark.parametrize(
    ("user", "password", "kind", "code"),
    [
        ("octocat", "wrong-secret", "credentials", 6),
        ("reader", "reader-secret", "permission", 4),
        ("", "", "credentials", 6),
    ],
)
def test_who_may_not_push_is_told(
    environment: dict[str, str], ghcr: RunningRegistry, user: str, password: str, kind: str, code: int
) -> None:
    if user:
        sign_in(environment, **{ghcr.authority: (user, password)})
    returned, document = push(environment, f"{ghcr.authority}/acme/denied:1")
    destination = document["destinations"][0]
    assert (destination["error"]["kind"], returned) == (kind, code)
    assert destination["error"]["hint"]


def test_a_failure_at_one_real_registry_spares_the_other(
    environment: dict[str, str], ghcr: RunningRegistry, ecr: RunningRegistry
) -> None:
    sign_in(environment, **{ghcr.authority: ("octocat", "secret"), ecr.authority: ("AWS", "wrong-secret")})
    code, document = push(environment, f"{ecr.authority}/two:1", f"{ghcr.authority}/acme/two:1")
    assert code == 4
    assert [entry["ok"] for entry in document["destinations"]] == [False, True]
