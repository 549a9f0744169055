"""Whom a push trusts and which way it goes: certificates by file, folder and registry, client certificates, proxies.

All of it over real TLS. Names that are not this machine's lead to loopback by a proxy, or by the resolver of one test.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import artifacts
import pytest
from scripted import Scripted, scripted_registry
from tunnels import tunnels

from buildopt import process
from buildopt.errors import UsageError
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust
from buildopt.sandbox import programs
from buildopt.sandbox.certificates import Certificates, make_certificates

NAME = "registry.example"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", (NAME, "other.example"))


@pytest.fixture
def secure(certificates: Certificates) -> Iterator[Scripted]:
    with scripted_registry((certificates.certificate, certificates.key)) as scripted:
        yield scripted


@contextmanager
def wanting_certificates(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A registry that speaks to nobody without a certificate of its authority."""
    known = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, certificate: Path, key: Path) -> None:
        known(self, certificate, key)
        self.verify_mode = ssl.CERT_REQUIRED
        self.load_verify_locations(certificates.ca_file)

    with monkeypatch.context() as while_it_starts:
        while_it_starts.setattr(ssl.SSLContext, "load_cert_chain", load)
        started = scripted_registry((certificates.certificate, certificates.key))
        scripted = started.__enter__()
    try:
        yield scripted
    finally:
        started.__exit__(None, None, None)


def place(scripted: Scripted) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(scripted.url).port or 0


def ping(host: str, trust: Trust) -> None:
    Registry(host, Keychain(), Transport(trust)).ping()


def folder_for(registry: str, base: Path, certificates: Certificates) -> Path:
    """A folder as /etc/docker/certs.d has them."""
    folder = base / registry
    folder.mkdir(parents=True)
    shutil.copy(certificates.ca_file, folder / "ca.crt")
    return folder


def with_client(folder: Path, certificates: Certificates) -> None:
    shutil.copy(certificates.token_certificate, folder / "client.cert")
    shutil.copy(certificates.token_key, folder / "client.key")


def test_a_client_certificate_is_shown_to_its_registry_and_the_artifact_arrives(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = artifacts.make_layout(tmp_path / "layout")
    source = open_artifact(tmp_path / "layout")
    with wanting_certificates(certificates, monkeypatch) as scripted:
        with_client(folder_for(scripted.host, tmp_path / "certs.d", certificates), certificates)
        target = Target(Reference.parse(f"{scripted.host}/acme/app:1"))
        trust = Trust({}, (tmp_path / "nothing", tmp_path / "certs.d"))
        report = push(PushPlan(source, resolve(source), (target,)), Keychain(), trust)
        assert report.ok and report.digest == digest
        assert ("acme/app", digest) in scripted.manifests


@pytest.mark.parametrize("registry", ["127.0.0.1", "127.0.0.1:1", "other.example", "localhost:{port}"])
def test_another_registrys_client_certificate_is_not(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    with wanting_certificates(certificates, monkeypatch) as scripted:
        folder_for(scripted.host, tmp_path, certificates)
        other = folder_for(registry.format(port=place(scripted)[1]), tmp_path, certificates)
        with_client(other, certificates)
        with pytest.raises(RegistryError):
            ping(scripted.host, Trust({}, (tmp_path,)))
        assert not scripted.seen


def test_a_client_certificate_that_cannot_be_used_is_named(certificates: Certificates, tmp_path: Path) -> None:
    folder = folder_for(NAME, tmp_path, certificates)
    shutil.copy(certificates.token_certificate, folder / "client.cert")
    trust = Trust({}, (tmp_path,))
    with pytest.raises(UsageError, match=r"client\.cert") as caught:
        trust.context(NAME)
    assert ".key" in caught.value.hint
    openssl = programs.installed_or_fetched("openssl", "openssl")
    argv = [openssl, "pkey", "-in", str(certificates.token_key), "-aes128", "-passout", "pass:word"]
    process.run([*argv, "-out", str(folder / "client.key")])
    with pytest.raises(UsageError, match=r"client\.cert"):  # and nobody is asked for the password
        trust.context(NAME)
    (folder / "client.key").write_text("nonsense")
    with pytest.raises(UsageError, match=r"client\.cert"):
        trust.context(NAME)
    (folder / "client.cert").unlink()
    (folder / "ca.crt").write_text("nonsense")
    with pytest.raises(UsageError, match=r"ca\.crt"):
        trust.context(NAME)


def test_a_folder_of_certificates_is_trusted(secure: Scripted, certificates: Certificates, tmp_path: Path) -> None:
    openssl = programs.installed_or_fetched("openssl", "openssl")
    found = process.run([openssl, "x509", "-in", certificates.ca_file, "-noout", "-subject_hash"]).text.strip()
    (tmp_path / f"{found}.0").write_bytes(certificates.ca_file.read_bytes())
    ping(secure.host, Trust({"SSL_CERT_DIR": str(tmp_path)}, ()))
    with pytest.raises(RegistryError, match="is not trusted"):
        ping(secure.host, Trust({"SSL_CERT_DIR": str(tmp_path / "empty")}, ()))


def test_another_registrys_authority_is_not_trusted(
    secure: Scripted, certificates: Certificates, tmp_path: Path
) -> None:
    folder_for("other.example", tmp_path, certificates)
    with pytest.raises(RegistryError, match="is not trusted"):
        ping(secure.host, Trust({}, (tmp_path,)))
    assert not secure.seen


def test_a_proxy_is_spoken_to_by_tls_and_the_artifact_arrives(
    secure: Scripted, certificates: Certificates, tmp_path: Path
) -> None:
    digest = artifacts.make_layout(tmp_path / "layout", size=300_000)
    source = open_artifact(tmp_path / "layout")
    pair = (certificates.certificate, certificates.key)
    with tunnels({f"{NAME}:443": place(secure)}, pair) as (proxy, heard):
        trust = Trust({"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": proxy}, ())
        target = Target(Reference.parse(f"{NAME}/acme/app:1"))
        report = push(PushPlan(source, resolve(source), (target,)), Keychain(), trust)
        assert report.ok and ("acme/app", digest) in secure.manifests
        assert heard and all(entry.startswith(f"CONNECT {NAME}:443 ") for entry in heard)


def test_a_proxy_that_refuses_is_told(secure: Scripted, certificates: Certificates) -> None:
    with tunnels({}) as (proxy, heard):
        address = proxy.replace("://", "://me:hush-hush@")
        trust = Trust({"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": address}, ())
        with pytest.raises(RegistryError, match="403") as caught:
            ping(NAME, trust)
        assert heard and "hush-hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("excluded", ["", "other.example", f"{NAME}.evil.example", "gistry.example"])
def test_without_an_exception_the_proxy_is_used(secure: Scripted, certificates: Certificates, excluded: str) -> None:
    with tunnels({f"{NAME}:443": place(secure)}) as (proxy, heard):
        ping(NAME, Trust({"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": proxy, "NO_PROXY": excluded}, ()))
        assert len(heard) == 1 and secure.count("GET", "^/v2/$") == 1


@pytest.mark.parametrize("excluded", [NAME, ".example", "other.example, example", "*"])
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_with_one_it_is_not(
    secure: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, excluded: str, variable: str
) -> None:
    known = socket.getaddrinfo

    def look_up(host: str, *words: object) -> object:
        return known("127.0.0.1" if host == NAME else host, *cast("tuple[int, ...]", words))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with tunnels({}) as (proxy, heard):
        trust = Trust({"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": proxy, variable: excluded}, ())
        ping(f"{NAME}:{place(secure)[1]}", trust)
        assert not heard and secure.count("GET", "^/v2/$") == 1


def test_this_machine_is_never_reached_by_a_proxy(secure: Scripted, certificates: Certificates) -> None:
    with tunnels({secure.host: place(secure)}) as (proxy, heard), scripted_registry() as plain:
        environ = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"), proxy)
        trust = Trust({**environ, "SSL_CERT_FILE": str(certificates.bundle)}, ())
        ping(secure.host, trust)
        ping(plain.host, trust)
        assert not heard


def test_plain_http_is_for_this_machine_only(certificates: Certificates) -> None:
    with scripted_registry() as plain:
        ping(plain.host, Trust(folders=()))
        before = len(plain.seen)
        with tunnels({f"{NAME}:443": place(plain), f"{NAME}:80": place(plain)}) as (proxy, heard):
            trust = Trust({"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}, ())
            with pytest.raises(RegistryError):
                ping(NAME, trust)
            assert all(entry.startswith("CONNECT") for entry in heard)
        assert len(plain.seen) == before


def test_a_token_server_is_trusted_by_what_is_kept_for_its_registry(certificates: Certificates, tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "layout")
    source = open_artifact(tmp_path / "layout")
    pair = (certificates.certificate, certificates.key)
    with scripted_registry(pair) as tokens, scripted_registry(pair) as scripted:
        tokens.fault = lambda handler: handler.answer(200, b'{"token": "good"}')
        challenge = f'Bearer realm="{tokens.url}/token",service="x"'
        scripted.fault = lambda handler: (
            handler.headers.get("Authorization") != "Bearer good"
            and handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate=challenge)
        )
        target = Target(Reference.parse(f"{scripted.host}/acme/app:1"))
        plan = PushPlan(source, resolve(source), (target,))
        (outcome,) = push(plan, Keychain(), Trust({}, (tmp_path / "certs.d",))).outcomes
        assert outcome.problem is not None and outcome.problem.kind == "certificate"
        folder_for(scripted.host, tmp_path / "certs.d", certificates)
        assert push(plan, Keychain(), Trust({}, (tmp_path / "certs.d",))).ok
        other = Target(Reference.parse(f"{tokens.host}/acme/app:1"))
        report = push(PushPlan(source, plan.image, (other,)), Keychain(), Trust({}, (tmp_path / "certs.d",)))
        assert report.outcomes[0].problem is not None and report.outcomes[0].problem.kind == "certificate"


def test_a_proxy_that_is_not_there_is_named() -> None:
    trust = Trust({"HTTPS_PROXY": "http://me:hush-hush@127.0.0.1:9"}, ())
    with pytest.raises(RegistryError, match=r"the proxy 127\.0\.0\.1:9 on the way to registry\.example") as caught:
        ping("registry.example", trust)
    assert "HTTPS_PROXY" in caught.value.hint


def test_a_proxy_that_wants_other_credentials_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 407 no, hush-hush is wrong\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        trust = Trust({"HTTPS_PROXY": f"http://me:hush-hush@127.0.0.1:{server.getsockname()[1]}"}, ())
        with pytest.raises(RegistryError, match="wants other credentials") as caught:
            ping("registry.example", trust)
    assert "hush" not in caught.value.message + caught.value.hint
    assert not caught.value.transient
