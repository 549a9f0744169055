"""TLS, certificates and proxies."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from scripted import scripted_registry
from tunnels import tunnels

from buildopt.errors import UsageError
from buildopt.oci.descriptor import Digest
from buildopt.registry import transport
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust
from buildopt.sandbox.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", ("registry.example",))


def ping(host: str, trust: Trust) -> None:
    Registry(host, Keychain(), Transport(trust)).ping()


def test_a_certificate_is_trusted_by_file_or_by_registry(certificates: Certificates, tmp_path: Path) -> None:
    with scripted_registry((certificates.certificate, certificates.key)) as scripted:
        ping(scripted.host, Trust({"SSL_CERT_FILE": str(certificates.bundle)}, ()))
        folder = tmp_path / scripted.host
        folder.mkdir()
        (folder / "ca.crt").write_bytes(certificates.ca_file.read_bytes())
        ping(scripted.host, Trust({}, (tmp_path,)))


def test_an_unknown_certificate_is_refused_even_on_this_machine(certificates: Certificates) -> None:
    with scripted_registry((certificates.certificate, certificates.key)) as scripted:
        with pytest.raises(RegistryError, match="is not trusted") as caught:
            ping(scripted.host, Trust(folders=()))
        assert (caught.value.kind, caught.value.transient) == ("certificate", False)
        assert not scripted.seen


def test_a_certificate_for_another_name_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    with scripted_registry((certificates.certificate, certificates.key)) as scripted:
        host = scripted.host.replace("127.0.0.1", "127.0.0.9")
        with pytest.raises(RegistryError):
            ping(host, Trust({"SSL_CERT_FILE": str(certificates.bundle)}, ()))


def test_a_bundle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.pem"):
        Trust({"SSL_CERT_FILE": str(tmp_path / "nothing.pem")}, ()).context("ghcr.io")


def test_from_https_nothing_leads_to_http(certificates: Certificates) -> None:
    trust = Trust({"SSL_CERT_FILE": str(certificates.bundle)}, ())
    with scripted_registry((certificates.certificate, certificates.key)) as secure, scripted_registry() as plain:
        secure.fault = lambda handler: (
            "blobs" in handler.path and handler.answer(307, Location=f"{plain.url}{handler.path}")
        )
        registry = Registry(secure.host, Keychain(), Transport(trust))
        with pytest.raises(RegistryError, match="without encryption"):
            registry.has_blob("acme/app", Digest.of(b""))
        assert not plain.seen


def test_a_proxy_is_used_and_tls_ends_at_the_registry(certificates: Certificates) -> None:
    with scripted_registry((certificates.certificate, certificates.key)) as scripted:
        host, port = scripted.host.split(":")
        with tunnels({"registry.example:443": (host, int(port))}) as (proxy, heard):
            with_user = proxy.replace("http://", "http://me:secret@")
            environ = {"SSL_CERT_FILE": str(certificates.bundle), "HTTPS_PROXY": with_user}
            ping("registry.example", Trust(environ, ()))
            assert heard[0].startswith("CONNECT registry.example:443 ")
            assert "proxy-authorization: basic bWU6c2VjcmV0".lower() in heard[0].lower()
            assert scripted.count("GET", "^/v2/$") == 1


@pytest.mark.parametrize(
    ("host", "excluded", "proxied"),
    [
        ("ghcr.io", "", True),
        ("ghcr.io", "ghcr.io", False),
        ("ghcr.io", ".io", False),
        ("api.ghcr.io", "ghcr.io", False),
        ("notghcr.io", "ghcr.io", True),
        ("ghcr.io", "*", False),
        ("ghcr.io", "example.com, *.ghcr.io ,ghcr.io:443", False),
        ("ghcr.io", "ghcr.io:5000", True),
        ("::1:2", "[::1:2]:443", False),
        ("::1:2", "[::1:2]:444", True),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("127.0.0.1", "", False),
        ("localhost", "", False),
    ],
)
def test_no_proxy_is_honoured(host: str, excluded: str, proxied: bool) -> None:
    trust = Trust({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": excluded})
    assert bool(trust.proxy("https", host)) is proxied


def test_a_proxy_without_scheme_is_http() -> None:
    assert Trust({"https_proxy": "proxy.example:3128"}).proxy("https", "ghcr.io") == "http://proxy.example:3128"


@pytest.mark.parametrize("folder", ["registry.example:443", "registry.example"])
def test_certificates_are_kept_under_the_name_as_it_is_written(
    folder: str, certificates: Certificates, tmp_path: Path
) -> None:
    place = tmp_path / folder
    place.mkdir()
    (place / "ca.crt").write_bytes(certificates.ca_file.read_bytes())
    sender = transport.Transport(Trust(folders=(tmp_path,)))
    Registry("registry.example:443", Keychain(), sender)
    connection = sender._pool(transport.Origin.of("https://registry.example/")).new()
    assert isinstance(connection, transport._Secure)
    own = ssl.PEM_cert_to_DER_cert(certificates.ca_file.read_text())
    assert own in connection._context.get_ca_certs(binary_form=True)


def test_no_part_of_a_proxys_password_is_told() -> None:
    trust = Trust({"HTTPS_PROXY": "http://bob:12#34@proxy.example:3128"})
    with pytest.raises(UsageError) as raised:
        ping("ghcr.io", trust)
    assert "12" not in raised.value.message and "%23" in raised.value.hint


def test_a_body_gets_through_a_line_that_is_slow(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is sent in its time, though a megabyte would not be."""
    monkeypatch.setattr(transport, "SEND_SECONDS", 0.6)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    size = 6_000_000
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) as connection:
                data = connection.recv(65536)
                left = size - len(data.partition(b"\r\n\r\n")[2])
                while left > 0 and (data := connection.recv(16384)):
                    time.sleep(0.012)
                    left -= len(data)
                connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        sender = transport.Transport(Trust({"SSL_CERT_FILE": str(certificates.bundle)}))
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        answer = sender.send("PUT", url, {"Content-Length": str(size)}, io.BytesIO(bytes(size)))
        thread.join()
    assert answer.status == 201
