"""Whom to trust and which proxies to use."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from buildopt.errors import UsageError
from buildopt.oci.reference import is_loopback

CERTIFICATE_FOLDERS = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Trust:
    """Whom to trust and which proxies to use, from an environment and folders of certificates by registry."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, folders: tuple[Path, ...] = CERTIFICATE_FOLDERS
    ) -> None:
        self.environ = environ or {}
        self.folders = folders
        self._lock = threading.Lock()
        self._known: ssl.SSLContext | None = None

    def prepare(self) -> None:
        """Begin to read the certificates that are trusted everywhere, which takes a while, beside what comes next."""
        threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        with suppress(UsageError):  # who needs them hears of it
            self._usual()

    def context(self, registry: str, lender: str = "") -> ssl.SSLContext:
        """TLS for one registry (``host`` or ``host:port``), or for what the registry ``lender`` names: then that one's
        authorities count as well, but its key is for itself. Raises UsageError where a certificate cannot be read.
        """
        names = [name for name in (registry, lender) if name]
        authorities = [path for base in self.folders for name in names for path in _listed(base / name, ".crt")]
        certificates = [path for base in self.folders for path in _listed(base / registry, ".cert")]
        if not authorities and not certificates:
            return self._usual()
        context = self._new()
        for authority in authorities:
            _load(context, str(authority), None)
        for certificate in certificates:
            try:
                # A key with a password of its own is refused: nobody is asked for it in the middle of a push.
                context.load_cert_chain(certificate, certificate.with_suffix(".key"), password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    f"{certificate} cannot be used", hint="it needs a .key file of the same name beside it"
                ) from error
        return context

    def _usual(self) -> ssl.SSLContext:
        """The one of all registries without certificates of their own."""
        with self._lock:
            if self._known is None:
                self._known = self._new()
            return self._known

    def _new(self) -> ssl.SSLContext:
        file, folder = self.environ.get("SSL_CERT_FILE"), self.environ.get("SSL_CERT_DIR")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if file or folder:
            _load(context, file, folder)
        else:
            context.load_default_certs()
            if not context.get_ca_certs() and not _default_folder():
                _load(context, next((bundle for bundle in _BUNDLES if os.path.exists(bundle)), None), None)
        return context

    def proxy(self, scheme: str, host: str, port: int = 443) -> str:
        """The proxy to use for a host, empty for none; this machine is never reached through one."""
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        found = next((self.environ[name] for name in names if self.environ.get(name)), "")
        excluded = self.environ.get("no_proxy") or self.environ.get("NO_PROXY") or ""
        if not found or is_loopback(host) or _excluded(host, port, excluded.split(",")):
            return ""
        return found if "://" in found else f"http://{found}"


def _default_folder() -> bool:
    """Whether OpenSSL's own folder of certificates holds some: it loads them only when it needs them."""
    folder = ssl.get_default_verify_paths().capath
    return folder is not None and os.path.isdir(folder) and bool(os.listdir(folder))


def _load(context: ssl.SSLContext, file: str | None, folder: str | None) -> None:
    if not file and not folder:
        return
    try:
        context.load_verify_locations(file or None, folder or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificates of {file or folder} cannot be read", hint="check SSL_CERT_FILE, SSL_CERT_DIR and certs.d"
        ) from error


def _listed(folder: Path, suffix: str) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == suffix)
    except OSError:
        return ()


def _excluded(host: str, port: int, patterns: list[str]) -> bool:
    import ipaddress  # few have this set

    host = host.lower().strip("[]")
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for pattern in (entry.strip().lower() for entry in patterns):
        if pattern == "*":
            return True
        if not pattern:
            continue
        if address is not None and "/" in pattern:
            try:
                if address in ipaddress.ip_network(pattern, strict=False):
                    return True
            except ValueError:
                continue
        name, of_port = pattern.lstrip("*"), ""
        if pattern.startswith("["):
            name, _, of_port = pattern[1:].partition("]")
        elif pattern.count(":") == 1:
            name, _, of_port = name.rpartition(":")
        if of_port.lstrip(":") not in ("", str(port)):
            continue
        if host == name.lstrip(".") or (address is None and host.endswith("." + name.lstrip("."))):
            return True
    return False
