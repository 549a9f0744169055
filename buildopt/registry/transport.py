"""HTTP as a registry client needs it: trust, proxies, time limits and large blocks; nothing is followed or retried."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from buildopt import __version__
from buildopt.errors import UsageError
from buildopt.oci.descriptor import MAX_DOCUMENT
from buildopt.oci.reference import is_loopback
from buildopt.registry.failure import Answer, RegistryError, unreachable

BLOCK = 1 << 20
CONNECT_SECONDS = 15.0
SEND_SECONDS = 120.0
ANSWER_SECONDS = 120.0
READ_SECONDS = 600.0
"""A registry may take minutes to store a large blob after its last byte arrived; for all else, silence is silence."""
CERTIFICATE_FOLDERS = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Body(Protocol):
    """What is sent: it is read in blocks and can be read again from its start."""

    def read(self, count: int = -1, /) -> bytes: ...

    def seek(self, position: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust and which proxies to use, from an environment and folders of certificates by registry."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    folders: tuple[Path, ...] = CERTIFICATE_FOLDERS

    def context(self, registry: str) -> ssl.SSLContext:
        """TLS for one registry (``host`` or ``host:port``). Raises UsageError where a certificate cannot be read."""
        file, folder = self.environ.get("SSL_CERT_FILE"), self.environ.get("SSL_CERT_DIR")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if file or folder:
            _load(context, file, folder)
        else:
            context.load_default_certs()
            if not context.get_ca_certs() and not _default_folder():
                _load(context, next((bundle for bundle in _BUNDLES if os.path.exists(bundle)), None), None)
        for base in self.folders:
            for authority in _listed(base / registry, ".crt"):
                _load(context, str(authority), None)
            for certificate in _listed(base / registry, ".cert"):
                try:
                    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
                except (OSError, ssl.SSLError) as error:
                    raise UsageError(
                        f"{certificate} cannot be used", hint="it needs a .key file of the same name beside it"
                    ) from error
        return context

    def proxy(self, scheme: str, host: str) -> str:
        """The proxy to use for a host, empty for none; this machine is never reached through one."""
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        found = next((self.environ[name] for name in names if self.environ.get(name)), "")
        excluded = self.environ.get("no_proxy") or self.environ.get("NO_PROXY") or ""
        if not found or is_loopback(host) or _excluded(host, excluded.split(",")):
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


def _excluded(host: str, patterns: list[str]) -> bool:
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
        name = pattern.lstrip("*").rpartition(":")[0] if pattern.count(":") == 1 else pattern.lstrip("*")
        if host == name.lstrip(".") or (address is None and host.endswith("." + name.lstrip("."))):
            return True
    return False


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _patient(connection: HTTPConnection) -> None:
    # urllib3 keeps the time limit of the connect for sending too; a slow uplink needs more than a connect does.
    if connection.sock is not None:
        connection.sock.settimeout(SEND_SECONDS)
        _sockets.add(connection.sock)


def hang_up() -> None:
    """End every open connection of this process, so that no thread waits for an answer any longer."""
    for open_socket in list(_sockets):
        with contextlib.suppress(OSError):
            # Not SSLSocket's own method: it would pull the TLS object from under the thread that uses it.
            socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


class _Lines:
    """The lines of an answer's head, which must not end before the empty one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begun = False

    def readline(self, limit: int = -1) -> bytes:
        line = self._file.readline(limit)
        if self._begun and not line:
            raise IncompleteRead(b"")
        self._begun = True
        return line

    def close(self) -> None:
        self._file.close()


class _Response(HTTPResponse):
    """Python takes a head that breaks off for a whole one, with whatever headers arrived."""

    def begin(self) -> None:
        file = self.fp
        self.fp = cast("Any", _Lines(file))
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = file


class _Plain(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        _patient(self)


class _Secure(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        _patient(self)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what credentials belong to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute URL. Raises RegistryError where it is none of http or https."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise RegistryError("protocol", "the registry pointed to something that is no web address")
        return cls(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme])

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Transport:
    """Sends single requests over kept connections; safe to be used by many threads."""

    def __init__(self, trust: Trust, *, connections: int = 8) -> None:
        self.trust = trust
        self._connections = connections
        self._pools: dict[Origin, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | bytes | None = None,
        *,
        cap: int = MAX_DOCUMENT,
        seconds: float | None = None,
    ) -> Answer:
        """Send one request and read at most ``cap`` bytes of its answer, whatever its status is.

        ``seconds`` is how long each part of the answer may take; the usual time where it is left out.
        Raises RegistryError where there is no answer or it ends early.
        """
        origin = Origin.of(url)
        pool = self._pool(origin)
        if seconds is None:
            seconds = ANSWER_SECONDS if body is None or isinstance(body, bytes) else READ_SECONDS
        try:
            response = pool.urlopen(
                method,
                url,
                headers={"User-Agent": f"buildopt/{__version__}", **headers},
                body=body,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
            )
            data = response.read(cap + 1) if method != "HEAD" else b""
            if len(data) > cap:
                response.close()
                raise RegistryError("protocol", f"the answer of {origin.host} is larger than {cap} bytes")
            if method != "HEAD":
                response.read(1)  # nothing is left; only this tells an answer that ended early from a whole one
            response.drain_conn()
            response.release_conn()
        except (urllib3.exceptions.HTTPError, HTTPException, UnicodeError, OSError) as error:
            raise unreachable(error, _shown(origin)) from error
        return Answer(response.status, _flat(response.headers), data)

    def _pool(self, origin: Origin) -> urllib3.PoolManager:
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._make(origin)
            return self._pools[origin]

    def _make(self, origin: Origin) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._connections, "block": False, "blocksize": BLOCK}
        if origin.scheme == "https":
            options["ssl_context"] = self.trust.context(_shown(origin))
        proxy = self.trust.proxy(origin.scheme, origin.host)
        manager: urllib3.PoolManager
        if proxy:
            manager = _proxy(proxy, options)
        else:
            manager = urllib3.PoolManager(2, **options)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager

    def close(self) -> None:
        """Close every kept connection."""
        for pool in self._pools.values():
            pool.clear()


def _proxy(url: str, options: Mapping[str, Any]) -> urllib3.PoolManager:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("the proxy of the environment is no http or https address", hint="check HTTPS_PROXY")
    headers = None
    if parts.username:
        from urllib.parse import unquote

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=pair)
    place = parts.netloc.rpartition("@")[2]
    return urllib3.ProxyManager(f"{parts.scheme}://{place}", 2, proxy_headers=headers, **options)


def _shown(origin: Origin) -> str:
    """The registry as people write it: the usual port left out."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == {"http": 80, "https": 443}[origin.scheme] else f"{host}:{origin.port}"


def _flat(headers: urllib3.HTTPHeaderDict) -> dict[str, str]:
    return {name.lower(): ", ".join(headers.getlist(name)) for name in headers}
