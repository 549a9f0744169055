"""What a registry may try, one part a kind of attack; over real TLS, at names that are not this machine's.

What an artifact may try (entries of tars, links, digests, documents, bombs) is in tests/oci/test_oci_attacks.py.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, unquote, urlsplit

import artifacts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Handler, Scripted, scripted_registry
from tunnels import tunnels

from buildopt.cli import main
from buildopt.errors import ToolError, UsageError
from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import credentials as credentials_module
from buildopt.registry.auth import Authenticator, parse_challenges
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.failure import Answer, RegistryError, unreachable
from buildopt.registry.outcome import PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.transport import Origin, Transport
from buildopt.registry.trust import Trust
from buildopt.sandbox.certificates import Certificates, make_certificates

NAMES = ("registry.example", "auth.example", "evil.example")
USER, PASSWORD = "octocat", "hush-hush+word/with=signs"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
DIGEST = Digest.of(b"anything")


class Known(Keychain):
    """One user for every registry: what goes elsewhere goes there because somebody sent it."""

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        return Credentials(USER, PASSWORD)


@dataclass
class World:
    """A registry, its token server and somebody else, each by TLS at a name of its own behind one proxy."""

    registry: Scripted
    auth: Scripted
    evil: Scripted
    trust: Trust

    def client(self) -> Registry:
        return Registry("registry.example", Known(), Transport(self.trust))

    def push(self, layout: Path, *references: str) -> PushReport:
        source = open_artifact(layout)
        targets = tuple(Target(Reference.parse(text)) for text in references or ("registry.example/acme/app:1",))
        return push(PushPlan(source, resolve(source), targets), Known(), self.trust)

    def sent_to_evil(self) -> set[str]:
        return {entry.authorization for entry in self.evil.seen}


def names(places: dict[str, str]) -> Callable[..., object]:
    """The machine's resolver, but for these names; no other name is known."""
    known = socket.getaddrinfo

    def look_up(host: str, port: object, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> object:
        if host in places and not flags & socket.AI_NUMERICHOST:
            host = places[host]
        return known(host, cast("int", port), family, type, proto, flags | socket.AI_NUMERICHOST)

    return look_up


INTERNET = dict.fromkeys(NAMES, "93.184.215.14") | {"localhost": "127.0.0.1"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", NAMES)


@pytest.fixture(scope="module")
def one_world(certificates: Certificates) -> Iterator[World]:
    pair = (certificates.certificate, certificates.key)
    with scripted_registry(pair) as registry, scripted_registry(pair) as auth, scripted_registry(pair) as evil:
        places = {}
        for name, scripted in zip(NAMES, (registry, auth, evil), strict=True):
            places[f"{name}:443"] = ("127.0.0.1", urlsplit(scripted.url).port or 0)
        places["registry.example:8443"] = places["evil.example:443"]
        with tunnels(places) as (proxy, _):
            environ = {"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
            yield World(registry, auth, evil, Trust(environ, ()))


@pytest.fixture
def world(one_world: World) -> World:
    """The world as it was in the beginning."""
    for scripted in (one_world.registry, one_world.auth, one_world.evil):
        for held in (scripted.blobs, scripted.manifests, scripted.sessions, scripted.seen):
            held.clear()
        scripted.fault = lambda handler: False
    return one_world


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names(INTERNET))


def basic(handler: Handler) -> bool:
    if handler.headers.get("Authorization") == BASIC:
        return False
    return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate='Basic realm="here"')


def greedy(handler: Handler) -> bool:
    """Somebody else who asks for credentials in every way."""
    realm = 'Bearer realm="https://evil.example/token",service="evil", Basic realm="evil"'
    return handler.error(401, "UNAUTHORIZED", "give me more", WWW_Authenticate=realm)


# --- Credentials that are sent on to another host or port


@pytest.mark.parametrize("place", ["https://evil.example", "https://registry.example:8443"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_credentials_along(world: World, place: str, status: int) -> None:
    world.evil.fault = greedy
    world.registry.fault = lambda handler: (
        basic(handler) or ("blobs" in handler.path and handler.answer(status, Location=place + handler.path))
    )
    with pytest.raises(RegistryError):
        world.client().has_blob("acme/app", DIGEST)
    assert world.sent_to_evil() == {""}
    assert len(world.evil.seen) == 1, "nobody asks for a token at the word of somebody else"


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "GET"])
def test_no_step_of_a_push_takes_credentials_along(world: World, layout: Path, method: str) -> None:
    world.evil.fault = greedy
    world.registry.fault = lambda handler: (
        basic(handler)
        or (
            handler.command == method
            and handler.path != "/v2/"
            and handler.answer(307, Location=f"https://evil.example{handler.path}", Connection="close")
        )
    )
    assert not world.push(layout).ok
    assert world.sent_to_evil() == {""}
    assert not [entry for entry in world.evil.seen if "token" in entry.path]


@pytest.mark.parametrize("place", ["https://evil.example", "https://registry.example:8443"])
def test_an_upload_that_leads_elsewhere_takes_no_credentials_along(world: World, layout: Path, place: str) -> None:
    def elsewhere(handler: Handler) -> bool:
        if basic(handler):
            return True
        if handler.command != "POST":
            if handler.command == "PUT":
                world.registry.blobs.update(world.evil.blobs)
            return False
        with world.evil.lock:
            session = str(len(world.evil.sessions))
            world.evil.sessions[session] = "new"
        location = f"{place}/v2/acme/app/blobs/uploads/{session}?_state=a%2Fb%3D{session}&x="
        return handler.answer(202, Location=location)

    world.registry.fault = elsewhere
    report = world.push(layout)
    assert report.ok, report
    assert world.evil.count("PUT", "digest=") > 0 and world.sent_to_evil() == {""}


def test_who_was_led_elsewhere_is_not_led_back_with_credentials(world: World) -> None:
    """The path would be the other's choice, the credentials the user's."""
    world.registry.fault = lambda handler: (
        "secret" not in handler.path
        and (
            basic(handler)
            or ("blobs" in handler.path and handler.answer(307, Location=f"https://evil.example{handler.path}"))
        )
    )
    world.evil.fault = lambda handler: handler.answer(307, Location="https://registry.example/v2/other/secret")
    assert not world.client().has_blob("acme/app", DIGEST)
    assert [entry.authorization for entry in world.registry.seen if "secret" in entry.path] == [""]


@pytest.mark.parametrize(
    "back", ["http://registry.example/x", "http://127.0.0.1:{port}/x", "http://localhost:{port}/x"]
)
def test_nothing_leads_from_https_to_http(world: World, layout: Path, back: str) -> None:
    with scripted_registry() as plain:
        port = urlsplit(plain.url).port
        world.registry.fault = lambda handler: (
            handler.command == "POST" and handler.answer(202, Location=back.format(port=port))
        )
        (outcome,) = world.push(layout).outcomes
        assert outcome.problem is not None and "without encryption" in outcome.problem.message
        assert not plain.seen


def test_nothing_leads_from_this_machine_to_http_elsewhere(layout: Path) -> None:
    with scripted_registry() as plain:
        plain.fault = lambda handler: (
            handler.command == "POST" and handler.answer(202, Location="http://evil.example/upload")
        )
        source = open_artifact(layout)
        target = Target(Reference.parse(f"{plain.host}/acme/app:1"))
        (outcome,) = push(PushPlan(source, resolve(source), (target,)), Known(), Trust(folders=())).outcomes
        assert outcome.problem is not None and "without encryption" in outcome.problem.message


@pytest.mark.parametrize(
    "location",
    [
        "https://registry.example\\@evil.example/x",
        "https://evil.example\\.registry.example/x",
        "https://registry.example@evil.example/x",
        "https://user:pass@registry.example/x",
        "https://registry.example:443:443/x",
        "https://registry.example:99999/x",
        "https://registry.example\t.evil.example/x",
        "https://evil.example /x",
        "https://[evil.example]/x",
        "https://[::1/x",
        "https://\x1b[2J/x",
        "https://ex\xe4mple/x",
        "ftp://evil.example/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_readers_would_not_read_alike_is_none(world: World, layout: Path, location: str) -> None:
    world.registry.fault = lambda handler: handler.command == "POST" and handler.answer(202, Location=location)
    (outcome,) = world.push(layout).outcomes
    assert outcome.problem is not None and outcome.problem.kind == "protocol"
    assert outcome.problem.message.isprintable()
    assert not world.evil.seen


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::1]", "localhost", "2130706433", "[::ffff:a00:1]"])
def test_an_upload_does_not_lead_into_the_private_network(world: World, layout: Path, host: str) -> None:
    world.registry.fault = lambda handler: (
        handler.command == "POST" and handler.answer(202, Location=f"https://{host}/upload")
    )
    (outcome,) = world.push(layout).outcomes
    assert outcome.problem is not None and "inside the private network" in outcome.problem.message


# --- The token server


def tokens(world: World, realm: str = "https://auth.example/token") -> None:
    """The registry wants tokens of ``realm``; the token server gives one to whoever has the password."""

    def give(handler: Handler) -> bool:
        if handler.headers.get("Authorization") != BASIC:
            return handler.answer(401)
        return handler.answer(200, b'{"token": "a-token"}')

    def ask(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == "Bearer a-token":
            return False
        return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate=f'Bearer realm="{realm}",service="here"')

    world.registry.fault, world.auth.fault = ask, give


def test_credentials_go_to_the_token_server_that_the_registry_names(world: World, layout: Path) -> None:
    tokens(world)
    assert world.push(layout).ok
    assert {entry.authorization for entry in world.auth.seen} == {BASIC}
    assert {entry.authorization for entry in world.registry.seen} == {"", "Bearer a-token"}


REALMS = [
    ("http://auth.example/token", "not encrypted"),
    ("http://127.0.0.1:1/token", "not encrypted"),
    ("https://127.0.0.1/token", "private network"),
    ("https://localhost/token", "private network"),
    ("https://127.1/token", "private network"),
    ("https://2130706433/token", "private network"),
    ("https://0x7f000001/token", "private network"),
    ("https://0177.0.0.1/token", "private network"),
    ("https://0.0.0.0/token", "private network"),
    ("https://10.1.2.3/token", "private network"),
    ("https://172.16.0.1/token", "private network"),
    ("https://192.168.1.1/token", "private network"),
    ("https://100.64.0.1/token", "private network"),
    ("https://169.254.169.254/latest/meta-data", "private network"),
    ("https://2852039166/latest/meta-data", "private network"),
    ("https://0xA9FEA9FE/latest/meta-data", "private network"),
    ("https://[::1]/token", "private network"),
    ("https://[::]/token", "private network"),
    ("https://[fe80::1]/token", "private network"),
    ("https://[fd00::1]/token", "private network"),
    ("https://[fd00:ec2::254]/token", "private network"),
    ("https://[::ffff:10.0.0.1]/token", "private network"),
    ("https://[::ffff:a9fe:a9fe]/token", "private network"),
    ("https://[64:ff9b::a9fe:a9fe]/token", "private network"),
    ("https://[2002:a9fe:a9fe::1]/token", "private network"),
    ("https://inside.example/token", "private network"),
    ("https://user:pass@auth.example/token", "no web address"),
    ("https://10.0.0.1\\\\.auth.example/token", "no web address"),
    ("https://auth.example#@evil.example/token", "no web address"),
    ("https://auth.example/token#part", "no plain address"),
    ("file:///etc/passwd", "no web address"),
    ("//auth.example/token", "no web address"),
    ("token", "no web address"),
]


class Silent(Transport):
    """Nothing is to be sent."""

    def __init__(self) -> None:
        super().__init__(Trust())

    def send(self, *args: object, **options: object) -> Answer:
        pytest.fail("something was sent")


def header_for(registry: str, realm: str) -> None:
    auth = Authenticator(registry, Origin("https", registry, 443), Known(), Silent())
    assert auth.challenged(Answer(401, {"www-authenticate": f'Bearer realm="{realm}",service="x"'}, b""), "", "")
    auth.header("repository:a:pull", "a")


@pytest.mark.parametrize(("realm", "reason"), REALMS)
def test_a_realm_inside_the_network_gets_nothing(monkeypatch: pytest.MonkeyPatch, realm: str, reason: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names({**INTERNET, "inside.example": "10.0.0.7"}))
    with pytest.raises(RegistryError, match=reason):
        header_for("93.184.215.14", realm)


def test_a_registry_of_the_private_network_may_name_its_neighbour_but_no_machine_of_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names({"inside.example": "10.0.0.7"}))
    with pytest.raises(pytest.fail.Exception, match="something was sent"):
        header_for("inside.example", "https://10.0.0.8/token")
    for realm in ("https://169.254.169.254/token", "https://[fe80::1]/token", "https://[::ffff:169.254.169.254]/token"):
        with pytest.raises(RegistryError, match="private network"):
            header_for("inside.example", realm)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_server_cannot_send_credentials_on(world: World, layout: Path, status: int) -> None:
    tokens(world)
    world.auth.fault = lambda handler: handler.answer(status, Location=f"https://evil.example{handler.path}")
    assert not world.push(layout).ok
    assert world.auth.seen and not world.evil.seen


def test_a_realm_that_is_met_after_a_redirect_gets_nothing(world: World) -> None:
    world.evil.fault = greedy
    world.registry.fault = lambda handler: (
        handler.path != "/v2/" and handler.answer(307, Location=f"https://evil.example{handler.path}")
    )
    with pytest.raises(RegistryError):
        world.client().manifest("acme/app", "1")
    assert world.sent_to_evil() == {""} and len(world.evil.seen) == 1


# --- Layers that are elsewhere


def test_a_foreign_layer_is_told_and_nobody_goes_there(world: World, tmp_path: Path) -> None:
    layer = artifacts.put(tmp_path, b"far", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    artifacts.blob_path(tmp_path, str(layer["digest"])).unlink()
    layer["urls"] = ["https://evil.example/layer", "https://169.254.169.254/latest"]
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    document: artifacts.Json = {"config": config, "layers": [layer]}
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, document, artifacts.MANIFEST)])
    assert world.push(tmp_path).ok
    assert not world.evil.seen


# --- What is not what it says: nothing of it is sent


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"manifests": [], "layers": [], "config": None}, artifacts.INDEX),
        ({"manifests": [], "layers": [], "config": None}, artifacts.MANIFEST),
        ({"mediaType": artifacts.MANIFEST, "manifests": []}, artifacts.INDEX),
    ],
)
def test_a_document_with_two_meanings_is_not_pushed(
    tmp_path: Path, document: artifacts.Json, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, document, media_type)])
    monkeypatch.chdir(tmp_path)
    with scripted_registry() as registry:
        assert main(["push", f"{registry.host}/acme/app:1", "--from-oci", str(tmp_path), "-q"]) == 5
        assert not registry.seen


# --- A registry that does not keep what it was given


@pytest.mark.parametrize(
    "keep",
    [
        lambda data: data + b" ",
        lambda data: data.replace(b"amd64", b"arm64"),
        lambda data: b"{}",
        lambda data: b"",
        lambda data: None,
    ],
)
def test_another_digest_after_the_push_is_a_failure(
    world: World, layout: Path, keep: Callable[[bytes], bytes | None]
) -> None:
    def spoil(handler: Handler) -> bool:
        held = world.registry.manifests.get(("acme/app", "1"))
        if handler.command != "GET" or held is None:
            return False
        data = keep(held[0])
        return handler.answer(404) if data is None else handler.answer(200, data, Content_Type=held[1])

    world.registry.fault = spoil
    report = world.push(layout)
    (outcome,) = report.outcomes
    assert outcome.problem is not None and (outcome.problem.kind, report.exit_code) == ("digest", 4)


# --- Answers that are bombs

DEEP = b'{"errors":' + b"[" * 300_000
GZIP_BOMB = gzip.compress(bytes(100 << 20))
GREAT = "9" * 400


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (DEEP, {}),
        (b'{"token": ' + b"[" * 300_000, {}),
        (b'{"errors": [' + b"{}," * 50_000, {}),
        (b'{"errors": ' + b"9" * 900_000 + b"}", {}),
        (b"\xff\xfe\x00", {}),
        (b'{"errors": "text"}', {}),
        (b'{"errors": [[]]}', {}),
        (b'{"errors": [{"code": {}, "message": []}]}', {}),
        (b"[]", {}),
        (GZIP_BOMB, {"Content_Encoding": "gzip"}),
        (f'{{"token": "t", "expires_in": {GREAT}}}'.encode() + b"x", {}),
    ],
)
def test_no_answer_is_a_bomb(world: World, body: bytes, headers: dict[str, str], status: int) -> None:
    tokens(world)
    world.auth.fault = lambda handler: handler.answer(status, body, **headers)
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(RegistryError):
            world.client().put_manifest("acme/app", "1", b"{}", artifacts.MANIFEST)
        world.registry.fault = lambda handler: handler.path != "/v2/" and handler.answer(status, body, **headers)
        if status != 200:
            with pytest.raises(RegistryError):
                world.client().put_manifest("acme/app", "1", b"{}", artifacts.MANIFEST)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
        assert time.monotonic() - began < 5
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "document",
    [
        f'{{"token": "t", "expires_in": {GREAT}}}',
        '{"token": "t", "expires_in": NaN}',
        '{"token": "t", "expires_in": "NaN"}',
        '{"token": "t", "expires_in": [1]}',
        '{"token": "t\\r\\nX-Other: y"}',
        '{"token": "t\\u0000"}',
        '{"token": "\\u00e4"}',
        '{"token": " "}',
    ],
)
def test_a_token_that_never_ends_or_is_none_is_refused(world: World, document: str) -> None:
    tokens(world)
    world.auth.fault = lambda handler: handler.answer(200, document.encode())
    with pytest.raises(RegistryError, match="no valid token"):
        world.client().has_blob("acme/app", DIGEST)


def test_headers_without_end_are_an_error(world: World) -> None:
    for headers in ({f"X-{number}": "y" for number in range(300)}, {"X-Long": "y" * 100_000}):
        world.registry.fault = lambda handler, headers=headers: handler.answer(200, **headers)  # type: ignore[misc]
        with pytest.raises(RegistryError) as caught:
            world.client().ping()
        assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "mark", [" ", ",", "a ", "a=", 'a="', "\\", '"', "a,", ", ", "(", "1 ", ":", "retry-after: ", "1h"]
)
def test_no_header_takes_as_long_as_its_square(mark: str) -> None:
    began = time.monotonic()
    for value in (mark * 60_000, "Bearer realm" + mark * 60_000, f'Bearer realm="{mark * 60_000}', mark * 60_000 + "!"):
        parse_challenges(value[:65_000])
        Answer(429, {"retry-after": value[:65_000]}, b"").retry_after()
        Answer(403, {}, value.encode()).retry_after()
        Answer(403, {}, json.dumps({"errors": [{"code": value, "message": value}]}).encode()).problem()
    assert time.monotonic() - began < 5


def test_bytes_are_asked_for_as_they_are(world: World, layout: Path) -> None:
    """A proxy may pack answers for whoever does not say that they want none of it."""

    def packing(handler: Handler) -> bool:
        held = world.registry.manifests.get(("acme/app", "1"))
        if handler.command != "GET" or held is None or handler.headers.get("Accept-Encoding") == "identity":
            return False
        return handler.answer(200, gzip.compress(held[0]), Content_Type=held[1], Content_Encoding="gzip")

    world.registry.fault = packing
    assert world.push(layout).ok


def test_first_words_without_end_are_an_error(world: World) -> None:
    def stutter(handler: Handler) -> bool:
        handler.close_connection = True
        ends = time.monotonic() + 10
        try:
            while time.monotonic() < ends:
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
        except OSError:
            pass
        return True

    world.registry.fault = stutter
    began = time.monotonic()
    with pytest.raises(RegistryError, match="has no end"):
        world.client().ping()
    assert time.monotonic() - began < 5


@given(st.text(alphabet="0123456789:, GMT+-()SunJa\x00\u0661", max_size=40))
def test_any_date_to_wait_for_is_read_without_an_error(value: str) -> None:
    seconds = Answer(429, {"retry-after": value}, b"").retry_after()
    assert seconds is None or seconds >= 0


def test_dates_that_python_trips_over_are_none() -> None:
    tripped = 0
    for value in (" ", "0", ":", "a b", "Sun, 99 Foo 9999 99:99:99 +9999999999999999", "1 Jan 1e9", "0 0 0 0 0"):
        try:
            parsedate_to_datetime(value)
        except Exception:  # noqa: BLE001 - whatever it is, it is not to get out
            tripped += 1
            assert Answer(429, {"retry-after": value}, b"").retry_after() in (None, 0.0)
    assert tripped > 2


# --- Secrets that are shown


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Path) -> Path:
    """A user with a password for every way that it may be kept in, and an artifact."""
    (tmp_path / ".docker").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def keep(home: Path, registry: str, **entry: str) -> None:
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry: entry}}))


TELLING = [
    {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()},
    {"username": USER, "password": PASSWORD},
    {"identitytoken": PASSWORD},
    {"registrytoken": PASSWORD},
]


@pytest.mark.parametrize("entry", TELLING, ids=lambda entry: next(iter(entry)))
@pytest.mark.parametrize("words", [(), ("--verbose",), ("--format", "json"), ("--dry-run",)], ids=str)
def test_no_secret_is_shown_even_where_the_registry_repeats_it(
    at_home: Path, capfd: pytest.CaptureFixture[str], entry: dict[str, str], words: tuple[str, ...]
) -> None:
    """A registry that tells in its errors everything that it was sent, in its token server's answers too."""
    heard: list[str] = []

    def tell(handler: Handler) -> bool:
        said = [handler.headers.get("Authorization") or "", handler.path, handler.body().decode()]
        sent = said[0].partition(" ")[2]
        if said[0].startswith("Basic "):
            said.append(base64.b64decode(sent).decode().partition(":")[2])
        heard.extend(said)
        if urlsplit(handler.path).path == "/token":
            granted = handler.command == "GET" and "again" in heard
            if not granted:
                heard.append("again")
            said += [value for values in parse_qs(said[2]).values() for value in values]
            if granted:
                return handler.answer(200, b'{"token": "a-token-of-this-push"}')
            return handler.error(403, "DENIED", " ".join(said))
        realm = f'Bearer realm="{handler.scripted.url}/token",service="x"'
        if not said[0]:
            return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate=realm)
        return handler.error(403, "DENIED", " ".join(said))

    with scripted_registry() as registry:
        registry.fault = tell
        keep(at_home, registry.host, **entry)
        for _ in range(2):
            code = main(
                ["push", f"{registry.host}/acme/app:1", "--from-oci", "layout", "--report", "report.json", *words]
            )
            assert code in (4, 6)
            out, err = capfd.readouterr()
            report = at_home / "report.json"
            shown = out + err + (report.read_text() if report.exists() else "")
            shown = shown.replace("\\/", "/")
            assert "***" in shown, "it did repeat something"
            encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            for secret in (PASSWORD, encoded, "a-token-of-this-push", "hush-hush"):
                assert secret not in shown
    assert any(PASSWORD in unquote(text) or encoded in text for text in heard)


def test_a_token_that_cannot_be_sent_is_not_in_the_error(at_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with scripted_registry() as registry:
        registry.fault = lambda handler: handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate="Basic realm=x")
        keep(at_home, registry.host, registrytoken=f"{PASSWORD}\r\nX-Other: y")
        assert main(["push", f"{registry.host}/acme/app:1", "--from-oci", "layout"]) == 6
        out, err = capfd.readouterr()
        assert "is not a token" in err and PASSWORD not in out + err
    assert PASSWORD not in unreachable(ValueError(f"Invalid header value b'{PASSWORD}'"), "x").message


def helper(folder: Path, script: str, name: str = "it") -> Keychain:
    path = folder / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    (folder / "config.json").write_text(json.dumps({"credsStore": name}))
    environ = {"DOCKER_CONFIG": str(folder), "HOME": str(folder), "PATH": f"{path.parent}:{os.environ['PATH']}"}
    return Keychain.load(environ)


def test_a_helper_is_told_nothing_but_the_registry_and_that_on_its_input(tmp_path: Path) -> None:
    script = '#!/bin/sh\nprintf "%s|" "$0" "$@" > told; cat >> told; echo \'{"Username": "me", "Secret": "x"}\'\n'
    found = helper(tmp_path, script.replace("told", str(tmp_path / "told"))).get("registry.example")
    assert found == Credentials("me", "x")
    program, words, host = (tmp_path / "told").read_text().split("|")
    assert (Path(program).name, words, host) == ("docker-credential-it", "get", "registry.example")


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\nexec cat /dev/zero\n",
        "#!/bin/sh\nexec yes\n",
        "#!/bin/sh\nexec yes >&2\n",
        '#!/bin/sh\nprintf "%0200000d" 0 | tr 0 "["\n',
        "#!/bin/sh\necho '[]'\n",
        "#!/bin/sh\necho 'null'\n",
        f"#!/bin/sh\necho '{PASSWORD}'\n",
        "#!/bin/sh\nprintf '\\377\\376'\n",
        f'#!/bin/sh\necho \'{{"Username": "me", "Secret": "{PASSWORD}"\'\n',
        "#!/nowhere/at-all\n",
        "no program at all",
        "#!/bin/sh\nsleep 6; echo\n",
        "#!/bin/sh\ntrap '' TERM INT; sleep 6\n",
    ],
)
def test_a_helper_that_misbehaves_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(credentials_module, "HELPER_TIMEOUT", 0.5)
    began = time.monotonic()
    with pytest.raises(RegistryError) as caught:
        helper(tmp_path, script).get("registry.example")
    assert caught.value.kind == "credentials"
    assert PASSWORD not in caught.value.message + caught.value.hint + repr(caught.value.__cause__)
    assert time.monotonic() - began < 5


def test_a_helper_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RegistryError, match="wrote more than"):
        helper(tmp_path, "#!/bin/sh\nexec yes\n").get("registry.example")
    assert time.monotonic() - began < 20 < credentials_module.HELPER_TIMEOUT


def test_what_a_helper_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    script = '#!/bin/sh\n(sleep 3) &\necho \'{"Username": "me", "Secret": "x"}\'\n'
    began = time.monotonic()
    assert helper(tmp_path, script).get("registry.example") == Credentials("me", "x")
    assert time.monotonic() - began < 2


def test_a_helper_that_cannot_be_started_is_no_bug(tmp_path: Path) -> None:
    from buildopt import process

    with pytest.raises(ToolError, match="cannot be started"):
        process.ask([tmp_path], b"", env={}, timeout=1, most=10)


# --- Words of a registry that would steer a terminal, or a runner

EVIL = "no\x1b]0;owned\x07\x1b[2J\r\n::set-output name=x::y\r\x9b31m\u202edenied\u2028x"


def everywhere(handler: Handler) -> bool:
    handler.body()
    handler.wfile.write(b"HTTP/1.1 403 No\x1b[2J\x07way\r\n")
    body = json.dumps({"errors": [{"code": EVIL, "message": "" if "uploads" in handler.path else EVIL}]}).encode()
    handler.wfile.write(b"X-Other: \x1b[2J\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return True


def steering(way: str) -> Callable[[Handler], bool]:
    def act(handler: Handler) -> bool:
        greeting = handler.path == "/v2/"
        if way == "greeting":
            return everywhere(handler)
        if way == "code":
            return handler.command == "POST" and handler.error(400, EVIL, "")
        if way == "message":
            return handler.command == "POST" and everywhere(handler)
        if way == "realm":
            realm = f'Bearer realm="https://auth\x1b[2J.example/token",service="{handler.path}\x1b[2J"'
            return handler.error(401, "UNAUTHORIZED", EVIL, WWW_Authenticate=realm)
        if way == "location":
            return handler.command == "POST" and handler.answer(202, Location="https://a\x1b[2J\x07/x")
        if way == "digest":
            document_digest = "sha256:\x1b[2J" + hashlib.sha256(b"").hexdigest()
            return (
                handler.command == "PUT"
                and "manifests" in handler.path
                and handler.answer(201, handler.body()[:0], Docker_Content_Digest=document_digest)
            )
        if way == "status line" and not greeting:
            handler.wfile.write(b"HTTP/1.1 \x1b[2J\x07 x\r\n\r\n")
            handler.close_connection = True
            return True
        return False

    return act


@pytest.mark.parametrize("way", ["greeting", "code", "message", "realm", "location", "digest", "status line"])
@pytest.mark.parametrize(
    ("actions", "words"),
    [("", ["--verbose"]), ("true", []), ("", ["--format", "json"])],
    ids=["text", "runner", "json"],
)
def test_no_words_of_a_registry_steer_a_terminal_or_a_runner(
    at_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    way: str,
    actions: str,
    words: list[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", actions)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(at_home / "summary.md"))
    with scripted_registry() as registry:
        registry.fault = steering(way)
        assert main(["push", f"{registry.host}/acme/app:1", "--from-oci", "layout", *words]) in (4, 6)
    out, err = capfd.readouterr()
    summary = at_home / "summary.md"
    for text in (out, err, summary.read_text() if summary.exists() else ""):
        assert all(letter.isprintable() or letter == "\n" for letter in text), text
        commands = [line for line in text.split("\n") if line.lstrip().startswith("::")]
        assert all(line.startswith(("::group::", "::endgroup::", "::error", "::warning")) for line in commands)
    assert err.count("error: ") >= 1 or "::error" in err


# --- Names and proxies from the user's own side that would make two requests of one


@pytest.mark.parametrize(
    "text",
    ["registry.example/a\r\nX: y", "registry.example/a b", "registry.example/../a", "registry.example/a%2f..", "[::1"],
)
def test_a_reference_cannot_smuggle_a_request(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)


@pytest.mark.parametrize(
    "proxy",
    ["http://me:secret@[::1", "http://me:secret@proxy:99999", "socks5://me:secret@proxy", "http://", "gopher://x"],
)
def test_a_proxy_that_is_none_is_a_usage_error_without_its_password(proxy: str) -> None:
    with pytest.raises(UsageError, match="proxy of the environment") as caught:
        Registry("registry.example", Keychain(), Transport(Trust({"HTTPS_PROXY": proxy}, ()))).ping()
    assert "secret" not in caught.value.message + caught.value.hint
