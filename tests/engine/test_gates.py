"""Gates on a real engine: in build-once, in test, and what push makes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildopt import process
from buildopt.engine.connection import Engine
from buildopt.oci.layout import open_artifact, resolve
from buildopt.sandbox import trees
from buildopt.sandbox.certificates import Certificates
from buildopt.sandbox.registries import RunningRegistry

pytestmark = pytest.mark.engine
NATIVE = trees.native_architecture()
FOREIGN = "arm64" if NATIVE == "amd64" else "amd64"
WITH_SHELL = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
COPY busybox-${TARGETARCH} /bin/sh
ENV GREETING=hello
USER 1000
ENTRYPOINT ["/bin/busybox", "false"]
"""
WITHOUT_SHELL = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /busybox
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A build context, and how commands are run in it."""

    folder: Path
    environment: dict[str, str]
    docker: tuple[str, ...]

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "buildopt", *words]

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.environment, text=True, capture_output=True, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        found = json.loads(self.run(words[0], "--format", "json", *words[1:], code=code).stdout)
        assert isinstance(found, dict)
        return found

    def left_in_the_engine(self) -> str:
        names = process.run([*self.docker, "ps", "--all", "--format", "{{.Names}}"], env=self.environment).text
        images = process.run([*self.docker, "images", "--format", "{{.Repository}}"], env=self.environment).text
        return "".join(line for line in (names + images).splitlines(keepends=True) if "buildopt-gate" in line)

    def record(self, path: str = ".buildopt/image") -> dict[str, Any]:
        data = open_artifact(self.folder / path).gates()
        assert data is not None
        found = json.loads(data)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def shop(tmp_path: Path, engine: Engine, busybox_context: Path) -> Iterator[Shop]:
    for name in ("amd64", "arm64"):
        os.link(busybox_context / f"busybox-{name}", tmp_path / f"busybox-{name}")
    (tmp_path / ".dockerignore").write_text("*.tar\nmark*\n")
    (tmp_path / "Dockerfile").write_text(WITH_SHELL)
    environment = {**engine.environment, "DOCKER_CONFIG": str(tmp_path / "docker"), "NO_COLOR": "1"}
    made = Shop(tmp_path, environment, engine.docker)
    yield made
    assert made.left_in_the_engine() == ""


def results(document: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    return [(gate["name"], gate["platform"], gate["result"]) for gate in document["gates"]]


def test_all_kinds_of_gates_in_one_build(shop: Shop, ghcr: RunningRegistry, certificates: Certificates) -> None:
    (shop.folder / "buildopt.yaml").write_text(
        "build: {platforms: [amd64, arm64]}\n"
        "gates:\n"
        "  test: ['echo $GREETING from $(id -u) | grep \"hello from 1000\"']\n"
        "  scan:\n"
        "    - test -f {oci}/index.json && grep -q {digest} {oci}/index.json && echo {platform} >> mark\n"
        "    - tar -tf {tar} | head -1 | grep -qx index.json\n"
        "  max-size: 20MB\n"
        "  non-root: true\n"
        "  no-secrets: true\n"
        "  attestations: provenance\n"
    )
    found = shop.json("build-once", "--quiet", "--test", "! ip link | grep eth0")
    native, foreign = f"linux/{NATIVE}", f"linux/{FOREIGN}"
    tests = [gate for gate in found["gates"] if gate["kind"] == "test"]
    assert [(gate["platform"], gate["result"]) for gate in tests] == sorted(
        [(native, "passed"), (native, "passed"), (foreign, "skipped"), (foreign, "skipped")],
        key=lambda pair: pair[0],
    )
    assert {gate["result"] for gate in found["gates"]} == {"passed", "skipped"}
    assert {gate["name"] for gate in found["gates"]} >= {"max-size", "non-root", "no-secrets", "attestations"}
    assert (shop.folder / "mark").read_text() == "linux/amd64\nlinux/arm64\n"
    assert shop.record()["verdict"] == "passed"
    assert "gates  passed" in shop.run("inspect").stdout
    trusted = {**shop.environment, "SSL_CERT_FILE": str(certificates.bundle)}
    (shop.folder / "docker").mkdir(exist_ok=True)
    (shop.folder / "docker/config.json").write_text(
        json.dumps({"auths": {ghcr.authority: {"auth": "b2N0b2NhdDpzZWNyZXQ="}}})
    )
    pushing = Shop(shop.folder, trusted, shop.docker)
    place = f"{ghcr.authority}/acme/gated:1"
    pushing.run("push", place, "--require-gates", "--quiet")
    failing = shop.json("test", "--", "/bin/busybox", "false", code=1)
    assert failing["verdict"] == "failed"
    refused = pushing.run("push", place, code=1)
    assert "the gate /bin/busybox false" in refused.stderr
    assert "--allow-ungated" in refused.stderr
    pushing.run("push", place, "--allow-ungated", "--quiet")
    shop.run("test", "--quiet", "--anew")
    pushing.run("push", place, "--require-gates", "--quiet")


def test_an_image_without_a_shell_and_a_platform_under_emulation(shop: Shop) -> None:
    (shop.folder / "Dockerfile").write_text(WITHOUT_SHELL)
    words = ("build-once", "--platforms", "amd64,arm64", "--test", "/busybox uname -m", "--test-platforms", "all")
    done = shop.run(*words, "--verbose", "-o", "app.tar")
    assert "x86_64" in done.stderr
    assert "aarch64" in done.stderr
    with tarfile.open(shop.folder / "app.tar") as tar:
        assert tar.getnames()[:3] == ["index.json", "oci-layout", "gates.json"]
    first = (shop.folder / "app.tar").read_bytes()
    assert b'seconds": null' in first[:4096]
    # The same gates on the same image: the same bytes.
    shop.run("test", "--from-oci", "app.tar", "--test", "/busybox uname -m", "--test-platforms", "all", "--quiet")
    assert (shop.folder / "app.tar").read_bytes() == first
    found = shop.json("test", "--from-oci", "app.tar", "--test", "/nothing here", "--quiet", code=1)
    assert found["gates"][0]["reason"].startswith("exit status 127")
    assert shop.record("app.tar")["verdict"] == "failed"
    assert shop.record(".app.tar.layout")["verdict"] == "failed"
    shop.run("push", "127.0.0.1:1/app:1", "--from-oci", "app.tar", "--dry-run", code=1)
    # A build without gates keeps what is known of the very same image, and forgets it with the next one.
    shop.run("build-once", "--platforms", "amd64,arm64", "-o", "app.tar", "--quiet")
    assert shop.record("app.tar")["verdict"] == "failed"
    shop.run("build-once", "--platforms", "amd64,arm64", "-o", "app.tar", "--quiet", "--label", "a=b")
    assert open_artifact(shop.folder / "app.tar").gates() is None


def test_a_failed_gate_leaves_the_new_image_refused(shop: Shop) -> None:
    before = shop.json("build-once", "--quiet")["digest"]
    words = ("build-once", "--label", "new=1", "--test", "echo why it failed; exit 3")
    done = shop.run(*words, code=1)
    assert "why it failed" in done.stderr
    assert "exit status 3" in done.stderr
    assert str(resolve(open_artifact(shop.folder / ".buildopt/image")).digest) == done.stdout.strip() != before
    assert shop.record()["verdict"] == "failed"
    found = shop.json(*words, "--quiet", code=1)
    assert results(found)[0][2] == "failed"
    streamed = subprocess.run(
        shop.argv(*words, "-o", "-"), cwd=shop.folder, env=shop.environment, capture_output=True, timeout=300
    )
    assert (streamed.returncode, streamed.stdout) == (1, b"")


def test_a_test_that_takes_too_long_is_ended(shop: Shop) -> None:
    began = time.monotonic()
    done = shop.run("build-once", "--test", "sleep 300", "--test-timeout", "1s", code=1)
    assert "did not end within 1 s" in done.stderr
    assert time.monotonic() - began < 60


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_gates_refuse(shop: Shop, number: signal.Signals) -> None:
    argv = shop.argv("build-once", "--quiet", "--scan", "touch mark; exec sleep 60")
    with subprocess.Popen(argv, cwd=shop.folder, env=shop.environment, stderr=subprocess.PIPE, text=True) as running:
        wait_for(shop.folder / "mark")
        running.send_signal(number)
        assert running.wait(60) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert shop.record()["verdict"] == "interrupted"
    refused = shop.run("push", "127.0.0.1:1/app:1", "--dry-run", code=1)
    assert "did not run to its end" in refused.stderr
    allowed = shop.run("push", "127.0.0.1:1/app:1", "--dry-run", "--allow-ungated", code=4)
    assert "cannot be reached" in allowed.stderr


def test_a_test_that_is_interrupted_leaves_nothing_in_the_engine(shop: Shop) -> None:
    shop.run("build-once", "--quiet")
    argv = shop.argv("test", "--quiet", "--", "sleep 300")
    with subprocess.Popen(argv, cwd=shop.folder, env=shop.environment, stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 60
        while (
            "buildopt-gate"
            not in process.run([*shop.docker, "ps", "--format", "{{.Names}}"], env=shop.environment).text
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert shop.record()["verdict"] == "interrupted"


def test_a_secret_that_a_later_layer_deletes_is_found(shop: Shop) -> None:
    (shop.folder / "Dockerfile").write_text(
        WITH_SHELL.replace("USER 1000\n", "")
        + "ARG NPM_TOKEN\nCOPY key /app/id_rsa\nRUN /bin/busybox echo $NPM_TOKEN > /dev/null\n"
        + "RUN /bin/busybox rm /app/id_rsa\n"
    )
    (shop.folder / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3Bl" * 20 + "\n-----END")
    words = ("build-once", "--gate", "no-secrets", "--gate", "non-root", "--build-arg", "NPM_TOKEN=do-not-show-me")
    done = shop.run(*words, "--compression", "gzip", code=1)
    assert "a private key in /app/id_rsa (COPY key /app/id_rsa" in done.stderr
    assert "removed later, but still in its layer" in done.stderr
    assert "NPM_TOKEN" in done.stderr
    assert "runs as root: no USER is set" in done.stderr
    assert "do-not-show-me" not in done.stderr + json.dumps(shop.record())
    zstd = shop.run(*words, "--compression", "zstd", "--quiet", code=1)
    assert "do-not-show-me" not in zstd.stderr
    record = {gate["name"]: gate for gate in shop.record()["gates"]}
    assert "id_rsa" in record["no-secrets"]["reason"]


def test_base_images_have_no_secrets(shop: Shop, base_image: Callable[[str], Path]) -> None:
    layout = base_image("python:3.11-slim")
    copy = shop.folder / "copy"
    process.run(["cp", "-rl", layout, copy])
    assert shop.json("test", "--from-oci", str(copy), "--gate", "no-secrets", "--quiet")["verdict"] == "passed"
