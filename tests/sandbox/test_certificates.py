"""Certificates as clients see them: real TLS handshakes."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from buildopt import process
from buildopt.sandbox.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", ["ghcr.io", "127.0.0.9"])


def handshake(made: Certificates, name: str, trusted: Path) -> str:
    """The subject of the certificate that a client gets which wants ``name`` and trusts ``trusted``."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=str(trusted))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True):
                pass
        except OSError:
            pass  # the client hung up: it says why

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            found = connection.getpeercert()
            assert found is not None
            return str(found["subject"])
    finally:
        ours.close()
        thread.join()
        theirs.close()


@pytest.mark.parametrize("name", ["ghcr.io", "localhost", "127.0.0.1", "127.0.0.9", "::1"])
def test_a_client_that_trusts_the_authority_accepts_every_name(made: Certificates, name: str) -> None:
    assert "sandbox server" in handshake(made, name, made.ca_file)
    assert "sandbox server" in handshake(made, name, made.bundle)


def test_another_name_is_refused(made: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="example"):
        handshake(made, "example.com", made.ca_file)


def test_another_authority_is_refused(made: Certificates, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "ghcr.io", other.ca_file)


def test_certificates_are_taken_again_for_the_same_names_only(tmp_path: Path) -> None:
    first = make_certificates(tmp_path / "made", ["a.example"]).certificate.read_bytes()
    assert make_certificates(tmp_path / "made", ["a.example"]).certificate.read_bytes() == first
    assert make_certificates(tmp_path / "made", ["b.example"]).certificate.read_bytes() != first


def test_a_half_made_folder_is_made_anew(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "made")
    (made.folder / "names").unlink()
    made.certificate.unlink()
    assert make_certificates(tmp_path / "made").certificate.is_file()


def test_private_keys_are_not_readable_by_others(made: Certificates) -> None:
    assert made.folder.stat().st_mode & 0o077 == 0


def test_tokens_are_signed_with_rsa(made: Certificates) -> None:
    shown = process.run(["openssl", "x509", "-noout", "-text", "-in", made.token_certificate]).text
    assert "rsaEncryption" in shown
