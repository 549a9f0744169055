"""The builder that is made where an engine cannot export OCI images: exactly which commands docker is given."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildopt.engine import builders, connection, existing
from buildopt.engine.existing import Clients
from buildopt.errors import EngineError

CREATE = "create --name buildopt --driver docker-container --bootstrap"
INSPECTED = """Name:          buildopt
Driver:        docker-container
Last Activity: 2026-01-01 00:00:00 +0000 UTC

Nodes:
Name:             buildopt0
Endpoint:         unix:///var/run/docker.sock
Status:           running
BuildKit version: v0.24.0
Platforms:        linux/amd64*, linux/arm64
Labels:
 org.mobyproject.buildkit.worker.executor: oci
"""
CURRENT = """Name:   default
Driver: docker

Nodes:
Name:      default
Endpoint:  default
Status:    running
Platforms: linux/amd64
"""


@pytest.fixture
def scripted(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


class Scripted:
    """A buildx that answers as a test says, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "docker-buildx"
        self.answers = {"create": ("", 0), "inspect buildopt": (INSPECTED, 0), "inspect": (CURRENT, 0), "ls": ("", 0)}
        self.write()

    def write(self) -> None:
        lines = ["#!/bin/sh", f'echo "$*" >> {self.folder}/asked', 'case "$*" in']
        for words, (text, code) in sorted(self.answers.items(), reverse=True):  # the longest first
            (self.folder / f"answer-{words.replace(' ', '-')}").write_text(text)
            stream = "" if code == 0 else " >&2"
            lines.append(f'"{words}"*) cat "{self.folder}/answer-{words.replace(" ", "-")}"{stream}; exit {code};;')
        self.program.write_text("\n".join([*lines, "rm*) exit 0;;", "*) exit 9;;", "esac", ""]))
        self.program.chmod(0o755)

    def script(self, words: str, text: str, code: int = 0) -> None:
        self.answers[words] = (text, code)
        self.write()

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def clients(self) -> Clients:
        return Clients(("docker",), (str(self.program),))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "DOCKER_CONFIG": f"{self.folder}/none",
        }


def test_it_is_made_started_and_told_in_one_line(scripted: Scripted) -> None:
    said: list[str] = []
    found = builders.make(scripted.clients, scripted.environment, "Docker 20 cannot export OCI images", said.append)
    assert scripted.asked == [CREATE, "inspect buildopt"]
    assert said == [f"Docker 20 cannot export OCI images: making a builder that can, once: docker buildx {CREATE}"]
    assert (found.name, found.platforms) == ("buildopt", ("linux/amd64", "linux/arm64"))
    assert found.description == "builder buildopt (docker-container)"
    assert found.nodes == (existing.Node(("linux/amd64", "linux/arm64"), ("linux/amd64",)),)


def test_where_it_does_not_start_nothing_is_left_and_the_reason_is_shown(scripted: Scripted) -> None:
    scripted.script("create", "ERROR: failed to pull moby/buildkit: no such host\n", 1)
    with pytest.raises(EngineError, match="and a builder that can could not be made") as caught:
        builders.make(scripted.clients, scripted.environment, "Docker 20 cannot export OCI images", lambda text: None)
    assert scripted.asked == [CREATE, "rm --force buildopt"]
    assert caught.value.detail == ("ERROR: failed to pull moby/buildkit: no such host",)
    assert "containerd-snapshotter" in caught.value.hint and "moby/buildkit" in caught.value.hint


def test_another_build_that_was_faster_is_no_failure(scripted: Scripted) -> None:
    scripted.script("create", 'ERROR: existing instance for "buildopt" but no append mode\n', 1)
    found = builders.make(scripted.clients, scripted.environment, "x", lambda text: None)
    assert scripted.asked == [CREATE, "inspect buildopt"] and found.name == "buildopt"


@contextmanager
def engine_without_the_store(path: Path) -> Iterator[str]:
    """A socket that answers as an engine does whose images are not containerd's."""
    document = {"ServerVersion": "24.0.9", "DriverStatus": [["Backing Filesystem", "extfs"]]}

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self.rfile.readline()
            body = b"OK" if b"_ping" in request else json.dumps(document).encode()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"unix://{path}"
        server.shutdown()
        thread.join()


def test_a_build_makes_it_once_and_then_finds_it(scripted: Scripted, tmp_path: Path) -> None:
    said: list[str] = []
    with engine_without_the_store(tmp_path / "sock") as host:
        environment = {**scripted.environment, "DOCKER_HOST": host}
        with pytest.raises(existing.CannotExport, match=r"Docker 24\.0\.9 at unix:.* has no containerd image store"):
            connection.find(folder=tmp_path / "nothing", environment=environment)
        assert CREATE not in scripted.asked, "asking what is there changes nothing"
        made = connection.find(folder=tmp_path / "nothing", environment=environment, making=said.append)
        assert made.builder == "buildopt" and scripted.asked.count(CREATE) == 1 and len(said) == 1
        node = {"Name": "buildopt0", "Status": "inactive", "Platforms": []}
        listed = {"Name": "buildopt", "Driver": "docker-container", "Nodes": [node]}
        scripted.script("ls", json.dumps(listed) + "\n")
        again = connection.find(folder=tmp_path / "nothing", environment=environment, making=said.append)
        assert again.builder == "buildopt" and scripted.asked.count(CREATE) == 1 and len(said) == 1


def test_a_builder_that_was_asked_for_is_not_replaced(scripted: Scripted, tmp_path: Path) -> None:
    scripted.script("inspect mine", CURRENT.replace("default", "mine", 1))
    with engine_without_the_store(tmp_path / "sock") as host:
        environment = {**scripted.environment, "DOCKER_HOST": host}
        with pytest.raises(EngineError, match="cannot export OCI images"):
            connection.find(folder=tmp_path, builder="mine", environment=environment, making=lambda text: None)
    assert CREATE not in scripted.asked


def test_one_that_runs_comes_before_one_that_does_not(scripted: Scripted, tmp_path: Path) -> None:
    def builder(name: str, status: str, driver: str = "docker-container") -> str:
        return json.dumps({"Name": name, "Driver": driver, "Nodes": [{"Status": status}, {"Name": "odd"}]})

    lines = ["no json", builder("plain", "running", "docker"), builder("old", "inactive"), builder("new", "running")]
    with engine_without_the_store(tmp_path / "sock") as host:
        environment = {**scripted.environment, "DOCKER_HOST": host}
        scripted.script("ls", "\n".join(lines))
        assert connection.find(folder=tmp_path / "none", environment=environment).builder == "new"
        scripted.script("ls", "\n".join(lines[:3]))
        assert connection.find(folder=tmp_path / "none", environment=environment).builder == "old"
