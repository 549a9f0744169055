"""The token server over TLS: what it grants, what it refuses."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildopt import process
from buildopt.sandbox.background import Background
from buildopt.sandbox.certificates import Certificates, make_certificates
from buildopt.sandbox.tokens import TokenService, User, start_token_server

USERS = (
    User("octocat", "secret"),
    User("reader", "read", ("pull",)),
    User("guest", "guest", ("pull", "push"), ("team/*",)),
    User("", "", ("pull",), ("public/*",)),
)


@dataclass(frozen=True)
class Answer:
    status: int
    document: dict[str, Any]

    @property
    def claims(self) -> dict[str, Any]:
        return decoded(self.document["token"].split(".")[1])

    @property
    def access(self) -> list[dict[str, Any]]:
        return list(self.claims["access"])


@dataclass(frozen=True)
class Client:
    server: Background
    certificates: Certificates

    def get(self, query: str, user: str = "", password: str = "", method: str = "GET") -> Answer:
        request = urllib.request.Request(f"https://{self.server.address}/{query}", method=method)
        if user:
            encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        context = ssl.create_default_context(cafile=str(self.certificates.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=20) as reply:
                return Answer(reply.status, json.load(reply))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error))


def decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("tokens")
    certificates = make_certificates(folder / "certificates")
    server = start_token_server(folder / "server", TokenService("ghcr.io", USERS), certificates)
    yield Client(server, certificates)
    server.stop()
    assert not server.alive()


def test_a_user_gets_what_was_asked_for(client: Client) -> None:
    answer = client.get("token?service=ghcr.io&scope=repository:acme/app:pull,push", "octocat", "secret")
    assert answer.access == [{"type": "repository", "name": "acme/app", "actions": ["pull", "push"]}]
    assert answer.claims["sub"] == "octocat" and answer.claims["aud"] == "ghcr.io"
    assert list(answer.document) == ["token"], "like ghcr.io, it does not say how long a token lives"


@pytest.mark.parametrize(
    "query",
    ["scope=repository:a:pull&scope=repository:b/c:pull,push", "scope=repository:a:pull%20repository:b/c:pull,push"],
)
def test_several_scopes(client: Client, query: str) -> None:
    answer = client.get(f"token?service=ghcr.io&{query}", "octocat", "secret")
    assert [(entry["name"], entry["actions"]) for entry in answer.access] == [
        ("a", ["pull"]),
        ("b/c", ["pull", "push"]),
    ]


@pytest.mark.parametrize("user", ["octocat", "nobody"])
def test_wrong_credentials_are_denied_as_by_ghcr(client: Client, user: str) -> None:
    answer = client.get("token?service=ghcr.io", user, "wrong")
    assert answer.status == 403
    assert answer.document == {"errors": [{"code": "DENIED", "message": "denied"}]}


def test_a_reader_gets_no_push(client: Client) -> None:
    answer = client.get("token?scope=repository:acme/app:pull,push", "reader", "read")
    assert answer.access == [{"type": "repository", "name": "acme/app", "actions": ["pull"]}]


@pytest.mark.parametrize(("name", "actions"), [("team/app", ["pull", "push"]), ("other/app", [])])
def test_rights_end_at_a_users_repositories(client: Client, name: str, actions: list[str]) -> None:
    answer = client.get(f"token?scope=repository:{name}:pull,push", "guest", "guest")
    assert answer.access[0]["actions"] == actions


def test_without_credentials_only_what_is_public(client: Client) -> None:
    assert client.get("token?scope=repository:public/x:pull").access[0]["actions"] == ["pull"]
    assert client.get("token?scope=repository:acme/x:pull").access[0]["actions"] == []


def test_no_login_without_a_scope_gives_rights(client: Client) -> None:
    assert client.get("token?service=ghcr.io", "octocat", "secret").access == []


def test_post_is_not_served(client: Client) -> None:
    assert client.get("token", method="POST").status == 405


def test_other_paths_are_not_found(client: Client) -> None:
    assert client.get("other").status == 404


def test_the_signature_is_the_certificates(client: Client, tmp_path: Path) -> None:
    token = client.get("token?service=ghcr.io", "octocat", "secret").document["token"]
    header, claims, signature = token.split(".")
    assert decoded(header)["alg"] == "RS256"
    der = base64.b64decode(decoded(header)["x5c"][0])
    (tmp_path / "certificate").write_bytes(der)
    key = process.run(["openssl", "x509", "-inform", "DER", "-in", tmp_path / "certificate", "-noout", "-pubkey"])
    (tmp_path / "key").write_bytes(key.stdout)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    argv = ["openssl", "dgst", "-sha256", "-verify", f"{tmp_path}/key", "-signature", f"{tmp_path}/signature"]
    assert "Verified OK" in process.run(argv, data=f"{header}.{claims}".encode()).text


def test_a_short_life_is_said_and_ends_when_said(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    service = TokenService("ghcr.io", (User("octocat", "secret"),), expires_in=3)
    server = start_token_server(tmp_path / "server", service, certificates)
    try:
        before = time.time()
        answer = Client(server, certificates).get("token", "octocat", "secret")
        assert answer.document["expires_in"] == 3
        # The registry adds a minute to the end that a token names.
        assert abs(answer.claims["exp"] + 60 - (before + 3)) < 2
        anonymous = Client(server, certificates).get("token")
        assert anonymous.status == 401, "nobody may do anything without credentials here"
    finally:
        server.stop()
