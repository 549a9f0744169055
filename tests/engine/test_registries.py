"""Registries on loopback, with the clients that people use: crane and oras under the registries' real names."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildopt import process
from buildopt.errors import ToolError
from buildopt.sandbox import programs, registries
from buildopt.sandbox.certificates import Certificates
from buildopt.sandbox.names import in_names
from buildopt.sandbox.registries import Basic, RunningRegistry, registry_server, running_registry, stop_registry
from buildopt.sandbox.tokens import User

pytestmark = pytest.mark.engine

HOSTS = {registries.GHCR: "127.0.0.2", registries.ECR: "127.0.0.3"}


@dataclass(frozen=True)
class Client:
    """Runs oras and crane with a configuration and a set of names of their own."""

    folder: Path
    certificates: Certificates

    def run(self, name: str, *words: str, data: str = "") -> process.Completed:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "SSL_CERT_FILE": str(self.certificates.bundle),
        }
        argv = in_names([programs.from_suite(name, name), *words], HOSTS, self.folder / "names")
        return process.run(argv, env=environment, cwd=self.folder, data=data.encode(), check=False, timeout=60)

    def login(self, registry: str, user: str, password: str) -> process.Completed:
        return self.run("oras", "login", registry, "--username", user, "--password-stdin", data=password)

    def push(self, reference: str, text: str = "hello") -> process.Completed:
        (self.folder / "file.txt").write_text(text)
        plain = ["--plain-http"] if reference.startswith("127.0.0.1:") else []
        return self.run("oras", "push", *plain, reference, "file.txt")


@pytest.fixture
def client(tmp_path: Path, certificates: Certificates) -> Client:
    return Client(tmp_path, certificates)


@pytest.fixture(scope="module")
def named_ghcr(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    users = (User("octocat", "secret"), User("reader", "read", ("pull",)), User("", "", ("pull",), ("public/*",)))
    started = registries.start_ghcr(
        tmp_path_factory.mktemp("ghcr"), certificates, users, name=registries.GHCR, host="127.0.0.2", port=443
    )
    with registries.stopped_after(started):
        yield started


@pytest.fixture(scope="module")
def named_ecr(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("ecr")
    started = registries.start_ecr(folder, certificates, "pw", name=registries.ECR, host="127.0.0.3", port=443)
    with registries.stopped_after(started):
        yield started


def status(url: str, ca_file: Path | None = None) -> int:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca_file is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca_file))))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=20) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_push_and_pull_under_the_name_ghcr_io(client: Client, named_ghcr: RunningRegistry) -> None:
    assert named_ghcr.authority == "ghcr.io"
    assert client.login("ghcr.io", "octocat", "secret").returncode == 0
    assert client.push("ghcr.io/acme/app:1").returncode == 0
    copied = client.run("crane", "cp", "ghcr.io/acme/app:1", "ghcr.io/acme/copy:2")
    assert copied.returncode == 0 and "mounted blob" in copied.stderr
    assert (
        client.run("crane", "digest", "ghcr.io/acme/copy:2").text
        == client.run("crane", "digest", "ghcr.io/acme/app:1").text
    )


def test_push_under_the_name_of_ecr(client: Client, named_ecr: RunningRegistry) -> None:
    assert client.login(registries.ECR, "AWS", "wrong").returncode != 0
    assert client.login(registries.ECR, "AWS", "pw").returncode == 0
    assert client.push(f"{named_ecr.authority}/acme/app:1").returncode == 0


def test_a_wrong_password_is_denied(client: Client, named_ghcr: RunningRegistry) -> None:
    refused = client.login("ghcr.io", "octocat", "wrong")
    assert refused.returncode != 0 and "denied: denied" in refused.stderr


def test_a_reader_pulls_and_cannot_push(client: Client, named_ghcr: RunningRegistry) -> None:
    assert client.login("ghcr.io", "octocat", "secret").returncode == 0
    assert client.push("ghcr.io/acme/read:1").returncode == 0
    assert client.login("ghcr.io", "reader", "read").returncode == 0
    assert client.run("crane", "digest", "ghcr.io/acme/read:1").returncode == 0
    refused = client.push("ghcr.io/acme/read:2", "something else")
    assert refused.returncode != 0 and "unauthorized" in refused.stderr


def test_without_credentials_only_what_is_public_is_pulled(client: Client, named_ghcr: RunningRegistry) -> None:
    assert client.login("ghcr.io", "octocat", "secret").returncode == 0
    assert client.push("ghcr.io/public/app:1").returncode == 0
    assert client.push("ghcr.io/acme/private:1").returncode == 0
    assert client.run("oras", "logout", "ghcr.io").returncode == 0
    assert client.run("crane", "digest", "ghcr.io/public/app:1").returncode == 0
    assert client.run("crane", "digest", "ghcr.io/acme/private:1").returncode != 0


def test_deleting_is_allowed(client: Client, named_ecr: RunningRegistry) -> None:
    assert client.login(registries.ECR, "AWS", "pw").returncode == 0
    reference = f"{registries.ECR}/acme/gone"
    assert client.push(f"{reference}:1").returncode == 0
    digest = client.run("crane", "digest", f"{reference}:1").text.strip()
    assert client.run("crane", "delete", f"{reference}@{digest}").returncode == 0
    assert client.run("crane", "digest", f"{reference}:1").returncode != 0


def test_a_token_ends_when_it_says(tmp_path: Path, certificates: Certificates) -> None:
    users = (User("", "", ("pull",)),)
    with registries.stopped_after(registries.start_ghcr(tmp_path, certificates, users, expires_in=3)) as running:
        assert running.token_server is not None
        context = ssl.create_default_context(cafile=str(certificates.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"https://{running.token_server.address}/token?scope=repository:a:pull") as reply:
            token = json.load(reply)["token"]
        request = urllib.request.Request(f"{running.url}/v2/", headers={"Authorization": f"Bearer {token}"})
        with opener.open(request) as reply:
            assert reply.status == 200
        time.sleep(4.5)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            opener.open(request)


def test_without_tls_and_credentials(tmp_path: Path) -> None:
    with registry_server(tmp_path) as running:
        assert running.url == f"http://127.0.0.1:{running.port}"
        assert status(f"{running.url}/v2/") == 200
    assert not running.server.alive()
    with pytest.raises(urllib.error.URLError, match="refused"):
        status(f"{running.url}/v2/")


def test_with_tls_and_basic_auth(tmp_path: Path, certificates: Certificates) -> None:
    with registry_server(tmp_path, auth=Basic("me", "pw"), tls=certificates) as running:
        assert running.url.startswith("https://")
        assert status(f"{running.url}/v2/", running.ca_file) == 401
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status(f"{running.url}/v2/")


def test_what_was_pushed_is_there_after_a_restart(tmp_path: Path, client: Client) -> None:
    with registry_server(tmp_path / "one", storage=tmp_path / "storage") as running:
        assert client.push(f"{running.authority}/app:1").returncode == 0
    with registry_server(tmp_path / "two", storage=tmp_path / "storage") as running:
        assert client.run("crane", "digest", f"{running.authority}/app:1").returncode == 0


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ToolError) as caught:
            registries.start_registry(tmp_path, port=taken.getsockname()[1])
    assert "docker-registry ended at once" in caught.value.message
    assert any("address already in use" in line for line in caught.value.detail)
    assert running_registry(tmp_path) is None


def test_two_registries_in_one_folder_are_refused(tmp_path: Path) -> None:
    with registry_server(tmp_path) as running:
        with pytest.raises(ToolError, match=f"already runs .*process {running.process_id}"):
            registries.start_registry(tmp_path)
        assert status(f"{running.url}/v2/") == 200


def test_a_registry_that_was_killed_can_be_started_again(tmp_path: Path, certificates: Certificates) -> None:
    first = registries.start_ghcr(tmp_path, certificates, [User("octocat", "secret")])
    os.kill(first.process_id, signal.SIGKILL)
    while first.server.alive():
        time.sleep(0.01)
    assert running_registry(tmp_path) is None
    with registry_server(tmp_path) as second:
        assert status(f"{second.url}/v2/") == 200
        assert first.token_server is not None and not first.token_server.alive(), "the old one's token server ended"


def test_a_registry_outlives_its_starter_and_is_ended_by_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from buildopt.sandbox import registries;"
        "print(registries.start_registry(Path(sys.argv[1])).url)"
    )
    url = process.run([sys.executable, "-c", script, tmp_path]).text.strip()
    try:
        assert status(f"{url}/v2/") == 200
        found = running_registry(tmp_path)
        assert found is not None and found.url == url
    finally:
        stop_registry(tmp_path)
    assert running_registry(tmp_path) is None
    stop_registry(tmp_path)  # nothing runs: nothing happens


def test_a_process_that_is_not_ours_is_spared(tmp_path: Path) -> None:
    running = registries.start_registry(tmp_path)
    try:
        # The recorded process ended long ago, and another one got its number: this one.
        document = json.loads((tmp_path / registries.STATE).read_text())
        document["servers"]["registry"][1] = os.getpid()
        (tmp_path / registries.STATE).write_text(json.dumps(document))
        stop_registry(tmp_path)
        assert running.server.alive()
    finally:
        running.server.stop()
