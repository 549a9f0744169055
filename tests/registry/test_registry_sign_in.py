"""Whose credentials a push uses, from where, and how they are renewed while it goes on."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, scripted_registry

from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import retry
from buildopt.registry.auth import Authenticator
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Credentials, Issued, Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.outcome import PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def entry(user: str, host: str = "registry.example") -> dict[str, object]:
    return {"auths": {host: {"auth": basic(user, "x")}}}


def send(layout: Path, keychain: Keychain, *references: str) -> PushReport:
    source = open_artifact(layout)
    targets = tuple(Target(Reference.parse(text)) for text in references)
    return push(PushPlan(source, resolve(source), targets), keychain, Trust(folders=()))


def test_files_are_asked_in_their_order(tmp_path: Path) -> None:
    """Docker's file, then the one that is named, the session's, and the user's of containers."""
    places = {
        "docker": tmp_path / "docker" / "config.json",
        "named": tmp_path / "named.json",
        "session": tmp_path / "run" / "containers" / "auth.json",
        "config": tmp_path / "config" / "containers" / "auth.json",
    }
    environ = {
        "HOME": str(tmp_path / "home"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "REGISTRY_AUTH_FILE": str(places["named"]),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    write(tmp_path / "home" / ".docker" / "config.json", entry("not-asked"))
    write(tmp_path / "home" / ".config" / "containers" / "auth.json", entry("not-asked"))
    assert Keychain.load(environ).get("registry.example") is None
    for name in reversed(places):
        write(places[name], entry(name))
        assert Keychain.load(environ).get("registry.example") == Credentials(name, "x")


def test_without_variables_the_files_of_the_home_are_asked(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "containers" / "auth.json", entry("containers"))
    assert Keychain.load({"HOME": str(tmp_path)}).get("registry.example") == Credentials("containers", "x")
    write(tmp_path / ".docker" / "config.json", entry("docker"))
    assert Keychain.load({"HOME": str(tmp_path)}).get("registry.example") == Credentials("docker", "x")


def test_a_user_without_a_home_has_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert Keychain.load({}).get("registry.example") is None


def test_what_docker_login_keeps_of_aws_signs_in(tmp_path: Path) -> None:
    """``aws ecr get-login-password | docker login --username AWS --password-stdin``: a long password."""
    password = base64.b64encode(os.urandom(1400)).decode()
    write(tmp_path / ".docker" / "config.json", {"auths": {ECR: {"auth": basic("AWS", password)}}})
    found = Keychain.load({"HOME": str(tmp_path)}).get(ECR, "team/app")
    assert found is not None and found.basic() == f"Basic {basic('AWS', password)}"


def test_each_repository_gets_its_own_credentials(tmp_path: Path) -> None:
    """As podman keeps them: for a repository, for a namespace, for a registry."""
    artifacts.make_layout(tmp_path / "layout")
    owners = {"acme/app": "app", "acme/other": "acme", "beta/app": "all"}

    def guarded(handler: Handler) -> bool:
        owner = next((user for place, user in owners.items() if f"/v2/{place}/" in handler.path), "")
        used = handler.headers.get("Authorization") or ""
        if (owner and used == f"Basic {basic(owner, 'x')}") or (not owner and used):
            return False
        return handler.error(401, "UNAUTHORIZED", "not you", WWW_Authenticate="Basic realm=x")

    with scripted_registry() as registry:
        registry.fault = guarded
        host = registry.host
        keys = {host: "all", f"{host}/acme": "acme", f"{host}/acme/app": "app"}
        write(tmp_path / "auth.json", {"auths": {key: {"auth": basic(user, "x")} for key, user in keys.items()}})
        keychain = Keychain.load({"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})
        report = send(tmp_path / "layout", keychain, *(f"{host}/{place}:1" for place in owners))
        assert report.ok, report


def counting_helper(folder: Path) -> Keychain:
    program = folder / "bin" / "docker-credential-counting"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho x >> {folder}/asked\necho \'{{"Username": "me", "Secret": "y"}}\'\n')
    program.chmod(0o755)
    write(folder / "config.json", {"credsStore": "counting"})
    path = f"{program.parent}:{os.environ['PATH']}"
    return Keychain.load({"HOME": str(folder), "DOCKER_CONFIG": str(folder), "PATH": path})


class Tokens:
    """A registry whose tokens do for ``uses`` requests each, or end as an upload's body has arrived."""

    def __init__(self, uses: int, *, during: bool = False) -> None:
        self.uses = uses
        self.during = during
        self.given = 0
        self.left: dict[str, int] = {}
        self.ended = 0
        self.lock = threading.Lock()

    def __call__(self, handler: Handler) -> bool:
        used = handler.headers.get("Authorization") or ""
        with self.lock:
            if handler.path.startswith("/token"):
                if used != f"Basic {basic('me', 'y')}":
                    return handler.answer(401)
                self.given += 1
                self.left[f"Bearer t{self.given}"] = self.uses
                return handler.answer(200, json.dumps({"token": f"t{self.given}"}).encode())
            good = self.left.get(used, 0) > 0
            if good:
                self.left[used] -= 1
            if good and not (self.during and handler.command == "PUT" and "digest=" in handler.path and not self.ended):
                return False
            if good:
                self.ended += 1
                self.left[used] = 0
                session = handler.path.partition("?")[0].rpartition("/")[2]
                handler.scripted.sessions[session] = "used"  # it has the bytes, and nobody whose they are
        realm = f'Bearer realm="{handler.scripted.url}/token",service="x"'
        return handler.error(401, "UNAUTHORIZED", "token expired", WWW_Authenticate=realm)


@pytest.mark.parametrize(("uses", "during"), [(12, False), (1000, True)])
def test_a_token_that_ends_in_the_middle_is_replaced(tmp_path: Path, uses: int, during: bool) -> None:
    """Between two blobs, and while one is on its way; the helper is asked once."""
    artifacts.make_layout(tmp_path / "layout", size=300_000)
    keychain = counting_helper(tmp_path)
    with scripted_registry() as registry:
        tokens = registry.fault = Tokens(uses, during=during)
        report = send(tmp_path / "layout", keychain, f"{registry.host}/acme/app:1")
        assert report.ok, report
        assert tokens.given > 1 and tokens.ended == int(during)
    assert (tmp_path / "asked").read_text() == "x\n"


def test_a_token_whose_successor_ends_at_once_too_is_replaced_again() -> None:
    """As it happens to one request where many use a token up."""
    digests = [Digest.of(bytes([number])) for number in range(3)]
    refused: list[str] = []
    given = 0

    def fault(handler: Handler) -> bool:
        nonlocal given
        used = handler.headers.get("Authorization") or ""
        if handler.path.startswith("/token"):
            given += 1
            return handler.answer(200, json.dumps({"token": f"t{given}"}).encode())
        if used and (str(digests[1]) not in handler.path or given == 3):
            return False
        if used == "Bearer t2":  # a request beside it is the last one that it does for
            assert not client.has_blob("acme/app", digests[2])
        refused.append(used)
        realm = f'Bearer realm="{registry.url}/token",service="x"'
        return handler.error(401, "UNAUTHORIZED", "token expired", WWW_Authenticate=realm)

    with scripted_registry() as registry:
        registry.fault = fault
        client = Registry(registry.host, Keychain(), Transport(Trust(folders=())))
        assert not client.has_blob("acme/app", digests[0])
        assert not client.has_blob("acme/app", digests[1])
    assert refused == ["", "Bearer t1", "Bearer t2"] and given == 3


def test_passwords_of_twelve_hours_are_renewed_between_two_uploads_and_during_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(Authenticator.__init__, "__defaults__", (lambda: now[0], None))
    good = {"password-1"}
    issued: list[str] = []

    def issue() -> Issued:
        issued.append(f"password-{len(issued) + 1}")
        return Issued(Credentials("AWS", issued[-1]), 12 * 3600.0)

    late: list[str] = []

    def guarded(handler: Handler) -> bool:
        used = handler.headers.get("Authorization") or ""
        if handler.command == "PUT" and late and used == f"Basic {basic('AWS', 'password-2')}":
            good.clear()
            good.add(late.pop())  # it ended while the bytes arrived
            handler.scripted.sessions[handler.path.partition("?")[0].rpartition("/")[2]] = "used"
        if used in {f"Basic {basic('AWS', password)}" for password in good}:
            return False
        return handler.error(401, "DENIED", "Your authorization token has expired", WWW_Authenticate="Basic realm=x")

    with scripted_registry() as scripted:
        scripted.fault = guarded
        registry = Registry(scripted.host, Keychain(), Transport(Trust(folders=())), issue)
        blobs = [bytes([number]) * 1000 for number in range(4)]

        def upload(data: bytes) -> None:
            registry.upload("acme/app", Digest.of(data), len(data), data)

        upload(blobs[0])
        now[0] = 11.9 * 3600  # renewed ahead of its end
        good.add("password-2")
        upload(blobs[1])
        good.discard("password-1")
        now[0] = 20 * 3600
        late.append("password-3")
        with pytest.raises(RegistryError, match="the session is gone") as caught:
            upload(blobs[2])
        assert caught.value.transient  # so that the push begins a new one
        upload(blobs[2])
        now[0] = 36 * 3600
        good.add("password-4")
        upload(blobs[3])
        assert issued == ["password-1", "password-2", "password-3", "password-4"]
        assert len(scripted.blobs) == 4


def test_a_slow_helper_is_asked_by_one_thread(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "layout")
    keychain = counting_helper(tmp_path)
    program = tmp_path / "bin" / "docker-credential-counting"
    program.write_text(program.read_text().replace("#!/bin/sh\n", "#!/bin/sh\nsleep 0.3\n"))
    with scripted_registry() as registry:
        registry.fault = Tokens(1000)
        began = time.monotonic()
        assert send(tmp_path / "layout", keychain, f"{registry.host}/a/b:1", f"{registry.host}/c/d:1").ok
        assert time.monotonic() - began < 10
    assert (tmp_path / "asked").read_text() == "x\n"
