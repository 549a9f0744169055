"""Credentials are found where people keep them and go nowhere else."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Handler, scripted_registry

from buildopt.errors import UsageError
from buildopt.registry import credentials as module
from buildopt.registry.auth import Authenticator, Challenge, parse_challenges
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.failure import Answer, RegistryError
from buildopt.registry.transport import Origin, Transport
from buildopt.registry.trust import Trust

SECRET = "s3cret:with:colons"


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def keychain(folder: Path, document: object, **environ: str) -> Keychain:
    (folder / "docker").mkdir(exist_ok=True)
    (folder / "docker" / "config.json").write_text(json.dumps(document))
    return Keychain.load({"DOCKER_CONFIG": str(folder / "docker"), "HOME": str(folder), **environ})


def helper(folder: Path, name: str, script: str) -> str:
    """A credential helper; the folder that PATH must hold."""
    path = folder / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{path.parent}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("ghcr.io/v1/", "ghcr.io"),
        ("ghcr.io/v2", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_an_entry_is_found(tmp_path: Path, key: str, registry: str) -> None:
    found = keychain(tmp_path, {"auths": {key: {"auth": encoded("me", SECRET)}}}).get(registry)
    assert found == Credentials("me", SECRET)


def test_the_environment_comes_before_files(tmp_path: Path) -> None:
    given = json.dumps({"auths": {"ghcr.io": {"auth": encoded("ci", SECRET)}}})
    entries = {name: {"auth": encoded("me", "x")} for name in ("ghcr.io", "quay.io")}
    found = keychain(tmp_path, {"auths": entries}, DOCKER_AUTH_CONFIG=given)
    assert (found.get("ghcr.io"), found.get("quay.io")) == (Credentials("ci", SECRET), Credentials("me", "x"))
    with pytest.raises(UsageError, match="DOCKER_AUTH_CONFIG is not valid JSON") as raised:
        keychain(tmp_path, {}, DOCKER_AUTH_CONFIG=f"{given}{SECRET}")
    assert SECRET not in repr(raised.value) + repr(raised.value.__cause__)


@pytest.mark.parametrize(("runtime", "found"), [("", True), ("/nowhere", False)])
def test_podmans_file_is_where_it_writes_without_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, found: bool
) -> None:
    place = tmp_path / str(os.getuid())
    place.mkdir()
    (place / "auth.json").write_text(json.dumps({"auths": {"ghcr.io": {"auth": encoded("me", SECRET)}}}))
    monkeypatch.setattr(module, "_PODMAN", str(tmp_path))
    assert (keychain(tmp_path, {}, XDG_RUNTIME_DIR=runtime).get("ghcr.io") is not None) is found


@pytest.mark.parametrize("key", ["ghcr.io.evil.example", "evil.example/ghcr.io", "https://evil.example/ghcr.io", "gh"])
def test_another_hosts_entry_is_not(tmp_path: Path, key: str) -> None:
    assert keychain(tmp_path, {"auths": {key: {"auth": encoded("me", SECRET)}}}).get("ghcr.io") is None


def test_helpers_come_before_the_store_and_the_store_before_entries(tmp_path: Path) -> None:
    path = helper(tmp_path, "one", 'read host; echo "{\\"Username\\": \\"one\\", \\"Secret\\": \\"for $host\\"}"')
    helper(
        tmp_path,
        "two",
        'read host; [ "$host" = quay.io ] || { echo "credentials not found in native keychain"; exit 1; }\n'
        'echo "{\\"Username\\": \\"two\\", \\"Secret\\": \\"x\\"}"',
    )
    document = {
        "credHelpers": {"ghcr.io": "one"},
        "credsStore": "two",
        "auths": {"localhost:5000": {"auth": encoded("three", "y")}, "ghcr.io": {}, "quay.io": {}},
    }
    found = keychain(tmp_path, document, PATH=path)
    assert found.get("ghcr.io") == Credentials("one", "for ghcr.io")
    assert found.get("quay.io") == Credentials("two", "x")
    assert found.get("localhost:5000") == Credentials("three", "y")
    assert found.get("other.example") is None


def test_docker_hub_is_asked_for_by_its_old_address(tmp_path: Path) -> None:
    path = helper(tmp_path, "echo", 'read host; echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"$host\\"}"')
    found = keychain(tmp_path, {"credsStore": "echo"}, PATH=path).get("docker.io")
    assert found == Credentials("me", "https://index.docker.io/v1/")


def test_an_identity_token_is_told_from_a_password(tmp_path: Path) -> None:
    path = helper(tmp_path, "token", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"refresh\\"}"')
    assert keychain(tmp_path, {"credsStore": "token"}, PATH=path).get("ghcr.io") == Credentials(
        identity_token="refresh"
    )


def test_a_helper_that_fails_is_named_without_its_words(tmp_path: Path) -> None:
    path = helper(tmp_path, "broken", f'echo "{SECRET}"; echo "{SECRET}" >&2; exit 3')
    with pytest.raises(RegistryError, match=r"docker-credential-broken failed for ghcr\.io") as caught:
        keychain(tmp_path, {"credsStore": "broken"}, PATH=path).get("ghcr.io")
    assert caught.value.kind == "credentials"
    assert SECRET not in str(caught.value) + caught.value.hint


def test_a_missing_helper_does_not_hide_an_entry(tmp_path: Path) -> None:
    document = {"credsStore": "none", "auths": {"ghcr.io": {"auth": encoded("me", SECRET)}}}
    found = keychain(tmp_path, document, PATH=str(tmp_path))
    assert found.get("ghcr.io") == Credentials("me", SECRET)
    with pytest.raises(RegistryError, match="docker-credential-none was not found"):
        found.get("quay.io")


def test_a_helper_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELPER_TIMEOUT", 0.3)
    path = helper(tmp_path, "slow", "exec sleep 30")
    began = time.monotonic()
    with pytest.raises(RegistryError, match="did not end within"):
        keychain(tmp_path, {"credsStore": "slow"}, PATH=path).get("ghcr.io")
    assert time.monotonic() - began < 10


def test_a_helpers_name_cannot_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="not a credential helper"):
        keychain(tmp_path, {"credsStore": "../../bin/sh"}).get("ghcr.io")


def test_containers_file_comes_after_dockers_and_knows_repositories(tmp_path: Path) -> None:
    other = tmp_path / "auth.json"
    entries = {"ghcr.io": {"auth": encoded("all", "1")}, "ghcr.io/acme": {"auth": encoded("acme", "2")}}
    other.write_text(json.dumps({"auths": entries}))
    found = keychain(tmp_path, {}, REGISTRY_AUTH_FILE=str(other))
    assert found.get("ghcr.io", "acme/app") == Credentials("acme", "2")
    assert found.get("ghcr.io", "acmes/app") == Credentials("all", "1")
    docker = {"auths": {"ghcr.io": {"auth": encoded("docker", "3")}}}
    assert keychain(tmp_path, docker, REGISTRY_AUTH_FILE=str(other)).get("ghcr.io") == Credentials("docker", "3")


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_broken_file_is_a_usage_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"config\.json"):
        Keychain.load({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_odd_values_in_a_file_are_ignored(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.getbasetemp()
    for document in ({"auths": value}, {"auths": {"ghcr.io": value}}, {"credHelpers": value}):
        assert keychain(folder, document).get("ghcr.io") in (None, Credentials())


def test_no_secret_is_shown() -> None:
    shown = Credentials("me", SECRET, SECRET, SECRET)
    assert SECRET not in repr(shown) + str(shown) + repr(Keychain(environ={"PASSWORD": SECRET}))


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", ()),
        ("Basic", (Challenge("basic"),)),
        ('Basic realm="a, b"', (Challenge("basic", (("realm", "a, b"),)),)),
        (
            'Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push"',
            (
                Challenge(
                    "bearer",
                    (
                        ("realm", "https://auth.example/token"),
                        ("service", "r"),
                        ("scope", "repository:a/b:pull,push"),
                    ),
                ),
            ),
        ),
        (
            'bearer realm="x" , service=plain, Basic realm="say \\"hi\\""',
            (
                Challenge("bearer", (("realm", "x"), ("service", "plain"))),
                Challenge("basic", (("realm", 'say "hi"'),)),
            ),
        ),
        ("Negotiate, Basic realm=x", (Challenge("negotiate"), Challenge("basic", (("realm", "x"),)))),
        ('BASIC  Realm = "x"', (Challenge("basic", (("realm", "x"),)),)),
    ],
)
def test_challenges_are_read(header: str, challenges: tuple[Challenge, ...]) -> None:
    assert parse_challenges(header) == challenges


@given(st.text(alphabet='Bbearsic Rlm=",\\/:x\t', max_size=60))
def test_any_header_is_read_without_an_error(header: str) -> None:
    parse_challenges(header)


@pytest.mark.parametrize(
    ("realm", "reason"),
    [
        ("http://auth.example/token", "not encrypted"),
        ("http://127.0.0.1:1/token", "not encrypted"),
        ("https://10.0.0.1/token", "private network"),
        ("https://127.0.0.1:1/token", "private network"),
        ("https://169.254.169.254/latest", "private network"),
        ("https://[::1]/token", "private network"),
        ("file:///etc/passwd", "no web address"),
        ("https://user:pass@auth.example/token", "no web address"),
    ],
)
def test_a_realm_that_is_not_safe_gets_nothing(realm: str, reason: str) -> None:
    class Silent(Transport):
        def send(self, *args: object, **options: object) -> Answer:
            pytest.fail("something was sent")

    auth = Authenticator("93.184.215.14", Origin("https", "93.184.215.14", 443), Keychain(), Silent(Trust()))
    challenge = Answer(401, {"www-authenticate": f'Bearer realm="{realm}",service="x"'}, b"")
    assert auth.challenged(challenge, "", "")
    with pytest.raises(RegistryError, match=reason):
        auth.header("repository:a:pull", "a")


class Server:
    """A registry with tokens: the scripted one, its token server at the same port."""

    def __init__(self, field: str = "token", /, **answer: object) -> None:
        self.answer = answer
        self.field = field
        self.requests: list[tuple[str, str, dict[str, list[str]], str]] = []
        self.valid: set[str] = set()

    def __call__(self, handler: Handler) -> bool:
        url = urlsplit(handler.path)
        authorization = handler.headers.get("Authorization") or ""
        if url.path == "/token":
            body = handler.body().decode()
            self.requests.append((handler.command, authorization, parse_qs(url.query or body), body))
            value = f"value-{len(self.requests)}"
            self.valid = {f"Bearer {value}"}
            return handler.answer(200, json.dumps({self.field: value, **self.answer}).encode())
        if authorization in self.valid:
            return False
        realm = f'Bearer realm="{handler.scripted.url}/token",service="here",scope="x:y:z"'
        return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate=realm)


class Fixed(Keychain):
    """The same credentials for everyone."""

    def __init__(self, found: Credentials | None) -> None:
        super().__init__()
        object.__setattr__(self, "found", found)

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        found: Credentials | None = object.__getattribute__(self, "found")
        return found

    found: Credentials | None
    __slots__ = ("found",)


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_is_fetched_once_with_the_credentials(name: str) -> None:
    with scripted_registry() as scripted:
        server = scripted.fault = Server(name)
        registry = Registry(scripted.host, Fixed(Credentials("me", SECRET)), Transport(Trust(folders=())))
        for _ in range(3):
            assert registry.manifest("acme/app", "1") is None
        ((method, authorization, query, _),) = server.requests
        assert (method, authorization) == ("GET", f"Basic {encoded('me', SECRET)}")
        assert query == {"service": ["here"], "scope": ["repository:acme/app:pull,push"]}


def test_without_credentials_a_token_is_asked_for_anonymously() -> None:
    with scripted_registry() as scripted:
        server = scripted.fault = Server()
        Registry(scripted.host, Fixed(None), Transport(Trust(folders=()))).manifest("acme/app", "1")
        assert [entry[1] for entry in server.requests] == [""]


def test_an_identity_token_goes_by_post() -> None:
    with scripted_registry() as scripted:
        server = scripted.fault = Server()
        found = Fixed(Credentials(identity_token="refresh"))
        Registry(scripted.host, found, Transport(Trust(folders=()))).manifest("acme/app", "1")
        ((method, authorization, form, _),) = server.requests
        assert (method, authorization) == ("POST", "")
        assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["refresh"])


def test_a_token_is_renewed_before_and_after_its_end() -> None:
    with scripted_registry() as scripted:
        server = scripted.fault = Server(expires_in=1)
        registry = Registry(scripted.host, Fixed(None), Transport(Trust(folders=())))
        registry.manifest("acme/app", "1")
        time.sleep(0.8)
        registry.manifest("acme/app", "1")
        assert len(server.requests) == 2
        assert scripted.count("GET", "manifests") == 2  # renewed in time: no request was refused
        server.valid.clear()  # the registry thinks otherwise
        registry.manifest("acme/app", "1")
        assert len(server.requests) == 3


@pytest.mark.parametrize("answer", [{"token": ""}, {"token": 5}, {"token": "a\r\nX: y"}, {"expires_in": "soon"}])
def test_a_token_that_is_none_is_an_error(answer: dict[str, object]) -> None:
    with scripted_registry() as scripted:
        scripted.fault = Server("ignored" if "token" in answer else "token", **answer)
        with pytest.raises(RegistryError, match="no valid token"):
            Registry(scripted.host, Fixed(None), Transport(Trust(folders=()))).manifest("acme/app", "1")
