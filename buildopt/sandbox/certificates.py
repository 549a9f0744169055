"""A certificate authority of one's own for registries on loopback: made by openssl in a few hundredths of a second."""

from __future__ import annotations

import ipaddress
import os
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt import process
from buildopt.sandbox import programs

NAMES = ("localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")
DAYS = "30"
DAY_SECONDS = "86400"
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """A folder with a CA, a server certificate signed by it, and a key pair for signing tokens.

    ``bundle`` is the CA followed by the machine's own authorities: what a client's ``SSL_CERT_FILE`` names.
    """

    folder: Path
    names: tuple[str, ...]

    @property
    def ca_file(self) -> Path:
        """The authority's certificate alone."""
        return self.folder / "ca.crt"

    @property
    def bundle(self) -> Path:
        """The authority's certificate and those that the machine trusts anyway."""
        return self.folder / "bundle.crt"

    @property
    def certificate(self) -> Path:
        """The server's certificate, followed by the authority's."""
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        """The server's private key."""
        return self.folder / "server.key"

    @property
    def token_certificate(self) -> Path:
        """The certificate that tokens carry as their x5c header."""
        return self.folder / "token.crt"

    @property
    def token_key(self) -> Path:
        """The RSA key that signs tokens."""
        return self.folder / "token.key"


def make_certificates(folder: Path, names: Sequence[str] = ()) -> Certificates:
    """Make (or take again) certificates in ``folder`` for loopback and for ``names``: host names or IP addresses.

    What is there already is taken again where it covers the same names and holds for another day at least.
    Raises ToolError where openssl fails or cannot be had.
    """
    wanted = tuple(dict.fromkeys((*NAMES, *names)))
    made = Certificates(folder, wanted)
    openssl = programs.installed_or_fetched("openssl", "openssl")
    if _still_good(openssl, made):
        return made
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    _authority(openssl, made)
    kinds = [_alternative(name) for name in wanted]
    _signed(openssl, made, "server", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "serverAuth", ",".join(kinds))
    _signed(openssl, made, "token", ["rsa:2048"], "clientAuth", "")
    authority = made.ca_file.read_bytes()
    made.certificate.write_bytes(made.certificate.read_bytes() + authority)
    made.bundle.write_bytes(authority + system_bundle())
    (folder / "names").write_text("\n".join(wanted), encoding="utf-8")  # last: it says that the folder is whole
    return made


def system_bundle() -> bytes:
    """The certificates that this machine trusts, as one PEM text; empty where it has none."""
    for candidate in (ssl.get_default_verify_paths().cafile, *SYSTEM_BUNDLES):
        if candidate and os.path.isfile(candidate):
            return Path(candidate).read_bytes()
    return b""


def _still_good(openssl: str, made: Certificates) -> bool:
    try:
        if (made.folder / "names").read_text(encoding="utf-8").split("\n") != list(made.names):
            return False
    except OSError:
        return False
    checked = process.run([openssl, "x509", "-checkend", DAY_SECONDS, "-noout", "-in", made.certificate], check=False)
    return checked.returncode == 0


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _authority(openssl: str, made: Certificates) -> None:
    config = made.folder / "openssl.cnf"  # the machine's own configuration must not add or change anything
    config.write_text("[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = unused\n", encoding="utf-8")
    argv = [openssl, "req", "-x509", "-config", str(config), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += ["-nodes", "-days", DAYS, "-subj", "/CN=buildopt sandbox authority", "-keyout", str(made.folder / "ca.key")]
    argv += ["-out", str(made.ca_file), "-addext", "basicConstraints=critical,CA:TRUE"]
    argv += ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash"]
    process.run(argv)


def _signed(openssl: str, made: Certificates, name: str, kind: Sequence[str], usage: str, alternatives: str) -> None:
    folder = made.folder
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    argv = [openssl, "req", "-config", str(folder / "openssl.cnf"), "-newkey", *kind, "-nodes"]
    subject = f"/CN=buildopt sandbox {name}"
    process.run([*argv, "-subj", subject, "-keyout", folder / f"{name}.key", "-out", request])
    lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", f"extendedKeyUsage={usage}"]
    lines += ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"]
    lines += [f"subjectAltName={alternatives}"] if alternatives else []
    extensions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    argv = [openssl, "x509", "-req", "-in", str(request), "-CA", str(made.ca_file), "-CAkey", str(folder / "ca.key")]
    argv += ["-CAcreateserial", "-days", DAYS, "-sha256", "-extfile", str(extensions)]
    process.run([*argv, "-out", folder / f"{name}.crt"])
    request.unlink()
    extensions.unlink()
