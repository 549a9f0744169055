"""HTTP as a registry client needs it: kept connections, time limits, large blocks; nothing is followed or retried."""

from __future__ import annotations

import base64
import contextlib
import re
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from buildopt import __version__
from buildopt.errors import UsageError
from buildopt.oci.descriptor import MAX_DOCUMENT
from buildopt.oci.reference import is_loopback
from buildopt.registry.failure import Answer, RegistryError, proxy_refused, unreachable
from buildopt.registry.secrets import Secrets
from buildopt.registry.trust import Trust

BLOCK = 1 << 17
"""Bytes that are sent at once. The time limit of sending counts for each block as a whole: on a slow line, which dozens
of connections share, each must get through in that time."""
CONNECT_SECONDS = 15.0
SEND_SECONDS = 120.0
ANSWER_SECONDS = 120.0
STUCK_SECONDS = 1.0
"""How long the answer of a server that stopped reading is waited for: it is there already, or there is none."""
MAX_LINES = 500
"""Lines of an answer's head, with those of answers that are only a first word."""
READ_SECONDS = 600.0
"""A registry may take minutes to store a large blob after its last byte arrived; for all else, silence is silence."""
_LONGEST_LINE = 65536
_AGENT = f"buildopt/{__version__}"


class Body(Protocol):
    """What is sent: it is read in blocks and can be read again from its start."""

    def read(self, count: int = -1, /) -> bytes: ...

    def seek(self, position: int, /) -> int: ...


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


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
        self._count = 0

    def readline(self, limit: int = -1) -> bytes:
        line = self._file.readline(limit)
        if self._count and not line:
            raise IncompleteRead(b"")
        self._count += 1
        if self._count > MAX_LINES:  # such as "100 Continue" for ever
            raise HTTPException("the head of the answer has no end")
        return line

    def close(self) -> None:
        self._file.close()


class _TooLarge(Exception):
    """An answer has more bytes than anybody wants."""


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

    def _read_status(self) -> tuple[str, int, str]:
        """The status line. Python knows 100, and takes any other word ahead of the answer for the answer."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            while self.fp.readline(_LONGEST_LINE).strip():
                pass

    def content(self, cap: int) -> bytes:
        """The whole body. Raises IncompleteRead where it ends early, _TooLarge where it has more than ``cap`` bytes."""
        if self.length is not None and self.length > cap:
            raise _TooLarge
        data = self.read() if self.length is not None else self.read(cap + 1)
        if len(data) > cap:
            raise _TooLarge
        return data


class _Connection(HTTPConnection):
    """Plain HTTP, to an origin or to a proxy (``proxy_headers``) that is told the whole address."""

    response_class = _Response

    def __init__(self, host: str, port: int, *, proxy_headers: Mapping[str, str] | None = None) -> None:
        super().__init__(host, port)
        self.proxy_headers = proxy_headers
        self.used = False

    def open(self, seconds: float) -> None:
        """Connect, within a time limit that sending has not: a slow uplink needs more than a connect does."""
        self.timeout = seconds
        self.connect()
        if isinstance(self.sock, socket.socket):
            _sockets.add(self.sock)
        self.sock.settimeout(SEND_SECONDS)

    def usable(self) -> bool:
        """Whether the other side still listens, as far as is known: it has nothing to say unless it hangs up."""
        # What TLS sends after its handshake may still wait to be read where nothing was asked yet.
        return self.sock is not None and not (self.used and _readable(self.sock))


class _Secure(_Connection):
    """HTTPS. Through a proxy that is itself spoken to by TLS (``outer``), one TLS runs inside the other."""

    default_port = 443

    def __init__(self, host: str, port: int, context: ssl.SSLContext, outer: ssl.SSLContext | None = None) -> None:
        super().__init__(host, port)
        self._context = context
        self._outer = outer

    def connect(self) -> None:
        tunnelled: str | None = getattr(self, "_tunnel_host", None)
        name = tunnelled or self.host
        if self._outer is None:
            super().connect()
            self.sock = self._context.wrap_socket(self.sock, server_hostname=name)
            return
        from urllib3.util.ssltransport import SSLTransport

        outer, proxy = self._outer, self.host
        self._create_connection = lambda *words: outer.wrap_socket(
            socket.create_connection(*words), server_hostname=proxy
        )
        super().connect()
        _sockets.add(self.sock)
        self.sock = SSLTransport(self.sock, self._context, server_hostname=name)


def _readable(sock: Any) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, to be sent over any connection to its origin."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body | bytes | None
    cap: int
    seconds: float | None

    def exchange(self, connection: _Connection) -> Answer:
        """Send it and read its answer; the connection is closed where it cannot be used again.

        Raises OSError and HTTPException where there is no whole answer, _TooLarge where it has too many bytes.
        """
        seconds = self.seconds
        if seconds is None:
            seconds = ANSWER_SECONDS if self.body is None or isinstance(self.body, bytes) else READ_SECONDS
        if connection.sock is None:
            connection.open(min(CONNECT_SECONDS, seconds))
        connection.used = True
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if connection.proxy_headers is not None:
            target = self.url
        connection.putrequest(self.method, target, skip_host=True)  # it asks for bytes as they are, not packed
        connection.putheader("Host", parts.netloc)
        for name, value in {"User-Agent": _AGENT, **(connection.proxy_headers or {}), **self.headers}.items():
            connection.putheader(name, value)
        if isinstance(self.body, bytes) and "Content-Length" not in self.headers:
            connection.putheader("Content-Length", str(len(self.body)))
        hung_up: OSError | None = None
        try:
            self._send(connection)
        except (BrokenPipeError, ConnectionResetError, TimeoutError, ssl.SSLEOFError) as error:
            hung_up = error  # perhaps it said why, before it had all of the body
            seconds = STUCK_SECONDS if isinstance(error, TimeoutError) else ANSWER_SECONDS
        connection.sock.settimeout(seconds)
        try:
            response = cast("_Response", connection.getresponse())
            data = response.content(self.cap)
        except (OSError, HTTPException):
            if hung_up is not None:
                raise hung_up from None
            raise
        if hung_up is not None or response.will_close:
            connection.close()
        else:
            connection.sock.settimeout(SEND_SECONDS)
        return Answer(response.status, _flat(response.msg.items()), data)

    def _send(self, connection: _Connection) -> None:
        if self.body is None or isinstance(self.body, bytes):
            connection.endheaders(self.body)
            return
        connection.endheaders()
        while block := self.body.read(BLOCK):
            connection.sock.sendall(block)


def _flat(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        name, value = name.lower(), value.strip()
        if found.get(name) != value or name != "content-length":  # which some say twice
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


_ADDRESS = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::[0-9]{1,5})?(?:[/?][\x21-\x5b\x5d-\x7e]*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what credentials belong to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute URL. Raises RegistryError where it is none of http or https, plainly written."""
        try:
            # What two readers of addresses would not read alike, such as a backslash in a host, is none.
            parts = urlsplit(url if _ADDRESS.fullmatch(url) else "")
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError("protocol", "the registry pointed to something that is no web address")
        return cls(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme])

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    @property
    def authority(self) -> str:
        """Host and port as people write them: the usual port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class _Pool:
    """The connections to one origin that nobody uses at this moment."""

    def __init__(self, make: Callable[[], _Connection]) -> None:
        self.new = make
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def take(self) -> tuple[_Connection, bool]:
        """A connection, and whether it was used or connected before."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if connection.usable():
                return connection, True
            connection.close()
        return self.new(), False

    def give(self, connection: _Connection) -> None:
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Transport:
    """Sends single requests over kept connections; safe to be used by many threads."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self.secrets = Secrets()
        self._answered: set[Origin] = set()
        self._lenders: dict[Origin, str] = {}
        self._pools: dict[Origin, _Pool] = {}
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
        request = _Request(method, url, headers, body, cap, seconds)
        pool = self._pool(origin)
        connection, kept = pool.take()
        try:
            try:
                answer = request.exchange(connection)
            except (RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                # The registry ended a connection that was kept for longer than it liked: no failure of its own.
                if not kept or not (body is None or isinstance(body, bytes)):
                    raise
                connection.close()
                connection = pool.new()
                answer = request.exchange(connection)
        except _TooLarge as error:
            connection.close()
            raise RegistryError("protocol", f"the answer of {origin.host} is larger than {cap} bytes") from error
        except (HTTPException, ValueError, OSError) as error:
            connection.close()
            failure = unreachable(error, origin.authority, self.secrets.hide, self._proxy_of(origin))
            failure.answered = origin in self._answered
            raise failure from error
        except BaseException:
            connection.close()
            raise
        self._answered.add(origin)
        if connection.sock is not None:
            pool.give(connection)
        if answer.status == 407:
            raise proxy_refused(origin.authority)
        return answer

    def prepare(self, url: str) -> None:
        """Connect to an origin, so that a request finds a connection. That it cannot be done shows at the request."""
        origin = Origin.of(url)
        pool = self._pool(origin)
        connection = pool.new()
        try:
            connection.open(CONNECT_SECONDS)
        except (HTTPException, ValueError, OSError):
            connection.close()
        else:
            pool.give(connection)

    def _pool(self, origin: Origin) -> _Pool:
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = _Pool(self._maker(origin))
            return self._pools[origin]

    def trust_as(self, url: str, registry: str) -> None:
        """Trust the origin of ``url`` by the certificates that are kept for a registry, too: its token server's."""
        self._lenders.setdefault(Origin.of(url), registry)

    def _proxy_of(self, origin: Origin) -> str:
        """Host and port of the proxy on the way, without its user; empty where there is none."""
        proxy = self.trust.proxy(origin.scheme, origin.host, origin.port)
        return urlsplit(proxy).netloc.rpartition("@")[2]

    def _maker(self, origin: Origin) -> Callable[[], _Connection]:
        proxy = self.trust.proxy(origin.scheme, origin.host, origin.port)
        lender = self._lenders.get(origin, "")
        context = self.trust.context(origin.authority, lender) if origin.scheme == "https" else None
        if not proxy:
            if context is None:
                return lambda: _Connection(origin.host, origin.port)
            secure = context
            return lambda: _Secure(origin.host, origin.port, secure)
        return self._through(proxy, origin, context)

    def _through(self, proxy: str, origin: Origin, context: ssl.SSLContext | None) -> Callable[[], _Connection]:
        """How to connect by a proxy."""
        try:
            parts = urlsplit(proxy)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("the proxy of the environment is no http or https address", hint="check HTTPS_PROXY")
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # what looks like a host is then the start of a secret
            words = "the password of the proxy has a character that ends it"
            raise UsageError(words, hint="in HTTPS_PROXY, write %23 for #, %2F for / and %3F for ?")
        host, port = parts.hostname, port or {"http": 80, "https": 443}[parts.scheme]
        headers = {}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            basic = base64.b64encode(pair.encode()).decode()
            headers["Proxy-Authorization"] = f"Basic {basic}"
            self.secrets.add([basic, unquote(parts.password or "")])
        if context is None:
            return lambda: _Connection(host, port, proxy_headers=headers)
        inner = context
        outer = self.trust.context(host) if parts.scheme == "https" else None

        def tunnel() -> _Connection:
            connection = _Secure(host, port, inner, outer)
            connection.set_tunnel(origin.host, origin.port, headers)
            return connection

        return tunnel

    def close(self) -> None:
        """Close every kept connection."""
        for pool in self._pools.values():
            pool.close()
