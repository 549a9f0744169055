"""A proxy before a registry, on loopback, that does chosen things wrong at chosen steps of the protocol.

It passes requests on to a registry without sign-in and hands out and wants tokens by itself, so that they can expire
whenever a run says so. What it is to do wrong, where and how often is a list of ``Fault``s; without any it is a plain
proxy. It writes down what it was asked. With ``Tls`` it speaks TLS to both sides, and what goes wrong goes wrong inside
of it, or to it.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from buildopt.sandbox.certificates import Certificates

USER, PASSWORD = "octocat", "hush-hush"
STALL_SECONDS = 8.0
"""How long a stall lasts unless the client gives up before."""
BLOBS = ("head-blob", "post", "put")
MANIFESTS = ("head-manifest", "put-manifest", "put-tag", "get-tag", "read-back")
STEPS = ("ping", "token", *BLOBS, "mount", *MANIFESTS)
ALWAYS = 1 << 30
SHORT_USES = 20
"""Requests that a short token is good for."""
CORKED_SECONDS = 0.2
"""After which Linux sends what TCP_CORK held back, whatever else was to go with it."""

Act = Callable[["Handler", random.Random], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to fail: at which steps, and the kinds of error that a push may end with because of it.

    ``survived``: so many times in a row must not make a push fail. ``silent``: nobody must even hear of it.
    """

    name: str
    act: Act
    steps: tuple[str, ...]
    problems: tuple[str, ...]
    survived: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS is spoken, to clients and to the registry."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    ca_file: str

    @classmethod
    def of(cls, certificates: Certificates) -> Tls:
        """With a certificate for loopback, and trust in its authority alone."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificates.certificate, certificates.key)
        client = ssl.create_default_context(cafile=str(certificates.ca_file))
        return cls(server, client, str(certificates.ca_file))


@dataclass(slots=True)
class Fault:
    """A kind at a step, from its ``first`` request on (0: the very first), ``times`` times."""

    kind: Kind
    step: str
    first: int = 0
    times: int = 1
    fired: int = 0
    late: bool = False
    """The machine was too busy to do it all in one moment, so that more was seen of it than is meant."""

    def __str__(self) -> str:
        often = "always" if self.times == ALWAYS else f"{self.times}x"
        return f"{self.kind.name} at {self.step} ({often}, from request {self.first})"


@dataclass(slots=True)
class Seen:
    """A request, in the order of arrival, and the registry's own answer to it: 0 where it was not asked."""

    step: str
    path: str
    authorization: str
    status: int


@dataclass(slots=True)
class Reply:
    """The registry's answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Front:
    """One address of the proxy. ``elsewhere`` is another one, used as the place that uploads are sent off to."""

    upstream: str
    tls: Tls | None = None
    url: str = ""
    signs_in: bool = False
    elsewhere: Front | None = None
    faults: list[Fault] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)
    seen: list[Seen] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    """How many requests each is still good for."""
    issued: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    tagged: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """``host:port``, as references begin."""
        return urlsplit(self.url).netloc

    def begin(self, faults: list[Fault], *, signs_in: bool, seed: str) -> None:
        """Forget everything and do these things wrong from now on."""
        with self.lock:
            self.faults, self.signs_in, self.chance = faults, signs_in, random.Random(seed)
            self.seen.clear()
            self.tokens.clear()
            self.counts.clear()
            self.tagged.clear()

    def chosen(self, step: str) -> tuple[Fault | None, random.Random]:
        """The fault of a request that arrives now, and its source of chance."""
        with self.lock:
            number = self.counts[step]
            self.counts[step] += 1
            chance = random.Random(self.chance.random())
            for fault in self.faults:
                if fault.step == step and number >= fault.first and fault.fired < fault.times:
                    fault.fired += 1
                    return fault, chance
        return None, chance

    def token(self, uses: int) -> str:
        """A new token for so many requests."""
        with self.lock:
            self.issued += 1
            self.tokens[f"secret-token-{self.issued}"] = uses
            return f"secret-token-{self.issued}"

    def accepts(self, token: str) -> bool:
        """Whether a token is good for one request more."""
        with self.lock:
            self.tokens[token] = self.tokens.get(token, 0) - 1
            return self.tokens[token] >= 0


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    left = 0
    passed = 0
    served = 0
    polite = True
    late = False
    token_uses = ALWAYS

    def setup(self) -> None:
        self._upstream: http.client.HTTPConnection | None = None
        self.connection = self.request
        first, tls = self.request.recv(1, socket.MSG_PEEK), self.front.tls
        if first and (first == b"\x16") is not (tls is not None):  # what Go's servers answer
            sent, spoken = ("HTTPS", "HTTP") if tls is None else ("HTTP", "HTTPS")
            said = f"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an {sent} request to an {spoken} server.\n"
            self.request.sendall(said.encode())
            raise ConnectionAbortedError
        if tls is not None:
            fault, chance = self.front.chosen("handshake")
            if fault is not None:
                fault.kind.act(self, chance)
                raise ConnectionAbortedError
            self.request = tls.server.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        try:
            super().handle()
        finally:
            if self._upstream is not None:
                self._upstream.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def finish(self) -> None:
        try:
            super().finish()
            if self.front.tls is not None and self.polite:
                self._notify()
        except (OSError, ValueError):
            pass  # the connection was cut
        finally:
            self.request.close()

    @property
    def front(self) -> Front:
        return self.server.front

    def do_GET(self) -> None:
        self.left, self.passed = int(self.headers.get("Content-Length") or 0), 0
        if self.path.startswith(MOVED):
            self.path = "/v2/" + self.path.removeprefix(MOVED)
        step = self._step()
        fault, chance = self.front.chosen(step)
        self.polite = fault is None or chance.random() < 0.5
        seen = Seen(step, self.path, self.headers.get("Authorization") or "", 0)
        with self.front.lock:
            self.front.seen.append(seen)
        try:
            if fault is None:
                self.send(self.behave())
            else:
                fault.kind.act(self, chance)
        finally:
            seen.status = self.passed
            if fault is not None:
                fault.late |= self.late
            self.served += 1
        if self.left:
            self.close_connection = True

    do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_GET

    def _step(self) -> str:
        path = urlsplit(self.path).path
        if path in ("/v2/", "/token"):
            return "ping" if path == "/v2/" else "token"
        if "/blobs/" in path:
            what = {"HEAD": "head-blob", "PUT": "put", "POST": "mount" if "mount=" in self.path else "post"}
            return what.get(self.command, self.command)
        if ":" in path.rpartition("/")[2]:
            return {"HEAD": "head-manifest", "PUT": "put-manifest"}.get(self.command, self.command)
        if self.command == "PUT":
            self.front.tagged.add(path)
            return "put-tag"
        return "read-back" if path in self.front.tagged else "get-tag"

    def take(self, count: int | None = None) -> bytes:
        """So many bytes of the request's body, or all that is left of it."""
        data = self.rfile.read(self.left if count is None else min(count, self.left))
        self.left -= len(data)
        return data

    def some(self, chance: random.Random) -> None:
        """Read a part of the body, to a random byte."""
        self.take(chance.randrange(self.left + 1))

    def behave(self) -> Reply:
        """What a plain proxy would answer."""
        if urlsplit(self.path).path == "/token":
            return self._token()
        kept = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.front.signs_in and not self.front.accepts(kept):
            return self.challenge()
        return self.forward()

    def forward(self) -> Reply:
        """The registry's own answer."""
        if self._upstream is None:
            tls, address = self.front.tls, self.front.upstream
            self._upstream = (
                http.client.HTTPConnection(address, timeout=30)
                if tls is None
                else http.client.HTTPSConnection(address, timeout=30, context=tls.client)
            )
        length = self.left
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        body = self.take()
        if len(body) < length:
            raise ConnectionError("the client left in the middle of a body")
        self._upstream.request(self.command, self.path, body or None, headers)
        response = self._upstream.getresponse()
        data = response.read()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _OWN_ANSWER}
        if self.command != "HEAD":
            kept["Content-Length"] = str(len(data))
        self.passed = response.status
        return Reply(response.status, kept, data)

    def challenge(self) -> Reply:
        """401, with where to get a token."""
        self.take()
        self.front.signs_in = True
        header = f'Bearer realm="{self.front.url}/token?time={self.front.issued}",service="proxy"'
        return problem(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": header})

    def _token(self) -> Reply:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization", expected) != expected or "scope" not in parse_qs(
            urlsplit(self.path).query
        ):
            return problem(401, "UNAUTHORIZED", "wrong credentials")
        body = json.dumps({"token": self.front.token(self.token_uses), "expires_in": 300}).encode()
        return Reply(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def send(self, reply: Reply, *, cut: float = 0.0) -> None:
        """Answer; ``cut``: without this part of it, one byte at least."""
        data = self.written(reply)
        self.connection.sendall(data[: int((len(data) - 1) * (1 - cut))] if cut else data)
        if cut or "close" in reply.headers.get("Connection", ""):
            self.close()

    def written(self, reply: Reply) -> bytes:
        """An answer as it goes over the wire."""
        head = f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Odd')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items()) + "\r\n"
        return head.encode("latin-1") + (reply.body if self.command != "HEAD" else b"")

    def close(self) -> None:
        """End the connection in the usual way; in TLS, half of the time, without its own farewell."""
        self.close_connection = True
        if self.front.tls is not None and self.polite:
            self._notify()
        self.connection.shutdown(socket.SHUT_WR)

    def _notify(self) -> None:
        """TLS's farewell; the other side's is not waited for."""
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(0.0)
            with suppress(OSError, ValueError):
                self.connection.unwrap()

    def raw(self, data: bytes) -> None:
        """Write below TLS."""
        socket.socket.sendall(self.connection, data)

    def reset(self) -> None:
        """End the connection with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def stall(self) -> None:
        """Neither read nor write until the client leaves."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        poll.poll(STALL_SECONDS * 1000)
        self.reset()


MOVED = "/moved/by/the/registry/"
_OWN = frozenset({"content-length", "authorization", "connection"})
_OWN_ANSWER = frozenset({"transfer-encoding", "connection"})


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as the distribution specification shapes it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(
        status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}, body
    )


class Server(ThreadingHTTPServer):
    """Holds what its handlers share."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, front: Front) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        # Small, so that a body that nobody reads is felt by who sends it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.front = front

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what this is about."""


@contextmanager
def faulty_proxy(upstream: str, tls: Tls | None = None) -> Iterator[Front]:
    """A proxy before the registry at ``upstream`` (``host:port``) that runs as long as the block."""
    front = Front(upstream, tls)
    server = Server(front)
    front.url = f"http{'s' if tls is not None else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# What can go wrong. Each takes the place of the answer to one request.


def _reset(handler: Handler, chance: random.Random) -> None:
    handler.reset()


def _reset_in_body(handler: Handler, chance: random.Random) -> None:
    handler.some(chance)
    handler.reset()


def _reset_after(handler: Handler, chance: random.Random) -> None:
    handler.behave()
    handler.reset()


def _close_in_body(handler: Handler, chance: random.Random) -> None:
    handler.some(chance)
    handler.close()


def _stall(handler: Handler, chance: random.Random) -> None:
    handler.stall()


def _stall_in_body(handler: Handler, chance: random.Random) -> None:
    handler.some(chance)
    handler.stall()


def _stall_after(handler: Handler, chance: random.Random) -> None:
    handler.behave()
    handler.stall()


def _stall_in_answer(handler: Handler, chance: random.Random) -> None:
    handler.behave()
    handler.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
    handler.stall()


def _early_answer(handler: Handler, chance: random.Random) -> None:
    handler.some(chance)
    handler.send(problem(503, "UNAVAILABLE", "restarting", {"Connection": "close"}))


def _status(status: int, *, after: bool = False) -> Act:
    def act(handler: Handler, chance: random.Random) -> None:
        if after:
            handler.behave()
        handler.take()
        page = b"<html><head><title>Bad gateway</title></head></html>\r\n"
        if chance.random() < 0.5:
            handler.send(Reply(status, {"Content-Type": "text/html", "Content-Length": str(len(page))}, page))
        else:
            handler.send(problem(status, "UNKNOWN", "try again"))

    return act


def _limit(form: str) -> Act:
    def act(handler: Handler, chance: random.Random) -> None:
        handler.take()
        headers, message = {}, "too many requests"
        if form == "seconds":
            headers = {"Retry-After": chance.choice(["0", "0.1", "1"])}
        elif form == "date":
            date = datetime.now(timezone.utc) + timedelta(seconds=chance.choice([-30, 1]))
            headers = {"Retry-After": format_datetime(date, usegmt=True)}
        elif form == "body":
            message = f"retry-after: {chance.uniform(1, 90):.6f}ms, allowed: 44000/minute"
        elif form == "hours":
            headers = {"Retry-After": "21600"}
        elif form == "garbage":
            headers = {
                "Retry-After": chance.choice(["soon", "-1", "99999999999999999999", "Mon, 99 Foo 20x6", " ", "1e9"])
            }
        handler.send(problem(429, "TOOMANYREQUESTS", message, headers))

    return act


def _secondary(handler: Handler, chance: random.Random) -> None:
    handler.take()
    body = b'{"documentation_url":"https://docs.github.com/","message":"You have exceeded a secondary rate limit."}'
    handler.send(Reply(403, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body))


def _truncated(handler: Handler, chance: random.Random) -> None:
    """Cut anywhere, in the headers too."""
    handler.send(handler.behave(), cut=chance.random())


_GARBAGE = (
    b"\x00\xff\xfe nothing that anybody knows\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
)
_GARBLED = (
    b"Content-Length: -5\r\n\r\n",
    b"Content-Length: five\r\n\r\n",
    b"Content-Length: 5, 7\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"Location: http://[\r\nWWW-Authenticate: \x80=\xff\r\nContent-Length: 2\r\n\r\n{}",
    b": nameless\r\n no header\r\n\r\n",
)


def _garbage(handler: Handler, chance: random.Random) -> None:
    """No HTTP at all."""
    handler.take()
    handler.connection.sendall(chance.choice(_GARBAGE))
    handler.close()


def _garbled(handler: Handler, chance: random.Random) -> None:
    """HTTP that says nothing sensible."""
    handler.take()
    status = chance.choice([b"200", b"201", b"202", b"301", b"307", b"401", b"404", b"599"])
    handler.connection.sendall(b"HTTP/1.1 " + status + b" Odd\r\n" + chance.choice(_GARBLED))
    handler.close()


def _expired(handler: Handler, chance: random.Random) -> None:
    """All tokens are void at once, in half of the cases only after the registry did what was asked."""
    if chance.random() < 0.5:
        handler.behave()
    with handler.front.lock:
        handler.front.tokens.clear()
    handler.send(handler.challenge())


def _other_digest(handler: Handler, chance: random.Random) -> None:
    reply = handler.behave()
    for name in [name for name in reply.headers if name.lower() == "docker-content-digest"]:
        del reply.headers[name]
    if reply.status < 400:
        reply.headers["Docker-Content-Digest"] = f"sha256:{chance.getrandbits(256):064x}"
    handler.send(reply)


def _other_bytes(handler: Handler, chance: random.Random) -> None:
    reply = handler.behave()
    place = chance.randrange(len(reply.body) or 1)
    if reply.body:
        reply.body = reply.body[:place] + bytes([reply.body[place] ^ 1]) + reply.body[place + 1 :]
    handler.send(reply)


def _lost(handler: Handler, chance: random.Random) -> None:
    """Taken, says the proxy; the registry never hears of it."""
    handler.take()
    handler.send(Reply(201, {"Content-Length": "0", "Location": handler.path.partition("?")[0]}))


def _seems_there(handler: Handler, chance: random.Random) -> None:
    handler.send(Reply(200, {"Content-Length": "5"}, b"12345"))


def _closed_when_idle(handler: Handler, chance: random.Random) -> None:
    """Answered as it should be, and closed in the same packet: nothing may be sent there any more."""
    reply = handler.behave()
    handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    began = time.monotonic()
    handler.send(reply)
    handler.close()
    handler.late = time.monotonic() - began > CORKED_SECONDS / 2


def _closed_at_reuse(handler: Handler, chance: random.Random) -> None:
    """A connection that was used before ends as the next request arrives."""
    if not handler.served:
        handler.send(handler.behave())
    elif chance.random() < 0.5:
        handler.close()
    else:
        handler.reset()


def _expired_in_body(handler: Handler, chance: random.Random) -> None:
    """All tokens are void; that is told, and the connection ended, before all of the body is there."""
    handler.some(chance)
    with handler.front.lock:
        handler.front.tokens.clear()
    left, handler.left = handler.left, 0
    reply = handler.challenge()
    handler.left = left
    reply.headers["Connection"] = "close"
    handler.send(reply)


def _short_token(handler: Handler, chance: random.Random) -> None:
    handler.token_uses = SHORT_USES
    handler.send(handler.behave())
    handler.token_uses = ALWAYS


def _moved(handler: Handler, chance: random.Random) -> None:
    """The upload goes to a path of the registry's own choice, in full or from the root."""
    reply = handler.behave()
    for name in [name for name in reply.headers if name.lower() == "location"]:
        parts = urlsplit(reply.headers[name])
        base = handler.front.url if chance.random() < 0.5 else ""
        reply.headers[name] = f"{base}{MOVED}{parts.path.removeprefix('/v2/')}?{parts.query}"
    handler.send(reply)


# What goes wrong with TLS itself: in the handshake, before anything is asked, and in the records of an answer.


def _silence_then(end: str) -> Act:
    def act(handler: Handler, chance: random.Random) -> None:
        if chance.random() < 0.5:
            handler.connection.recv(1 << 16)  # the client's first words
        if end == "reset":
            handler.reset()
        elif end == "stall":
            handler.stall()
        else:
            handler.connection.shutdown(socket.SHUT_WR)
            time.sleep(0.01)

    return act


def _half_handshake(end: str) -> Act:
    def act(handler: Handler, chance: random.Random) -> None:
        handler.connection.recv(1 << 16)
        hello = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + chance.randbytes(116)
        handler.connection.sendall(hello[: chance.randrange(1, len(hello))])
        if end == "stall":
            handler.stall()
        else:
            handler.connection.shutdown(socket.SHUT_WR)
            time.sleep(0.01)

    return act


def _alert(handler: Handler, chance: random.Random) -> None:
    handler.connection.recv(1 << 16)
    handler.connection.sendall(b"\x15\x03\x03\x00\x02\x02" + chance.choice([b"\x28", b"\x50"]))


def _in_a_record(end: str) -> Act:
    """A part of the answer, then a part of a record, then an end; or a record that nobody sealed."""

    def act(handler: Handler, chance: random.Random) -> None:
        reply = handler.behave()
        data = handler.written(reply)
        handler.connection.sendall(data[: chance.randrange(len(data))])
        record = b"\x17\x03\x03\x10\x00" + chance.randbytes(4096)
        handler.polite = False
        handler.raw(record if end == "garbage" else record[: chance.randrange(1, len(record))])
        if end == "reset":
            handler.reset()
        elif end == "stall":
            handler.stall()
        else:
            handler.close()

    return act


def _no_session(status: int) -> Act:
    def act(handler: Handler, chance: random.Random) -> None:
        handler.take()
        handler.send(problem(status, "BLOB_UPLOAD_UNKNOWN" if status == 404 else "RANGE_INVALID", "no such upload"))

    return act


def _sent_elsewhere(handler: Handler, chance: random.Random) -> None:
    reply = handler.behave()
    elsewhere = handler.front.elsewhere
    for name in [name for name in reply.headers if name.lower() == "location"]:
        parts = urlsplit(reply.headers[name])
        assert elsewhere is not None
        reply.headers[name] = f"{elsewhere.url}{parts.path}?{parts.query}"
    handler.send(reply)


_WITH_BODY = ("put", "put-manifest", "put-tag")
_HELD = ("put", "mount", "put-manifest", "put-tag")
_ANY = ("unreachable", "server", "protocol", "refused", "digest", "credentials", "permission", "not-found")
_TOLD = tuple(step for step in STEPS if not step.startswith("head-"))
_SMALL = tuple(step for step in STEPS if step not in ("ping", "put"))
_REPEATED = tuple(step for step in STEPS if step not in ("ping", "token"))

KINDS = (
    Kind("reset", _reset, STEPS, ("unreachable",), 2),
    Kind("reset in the body", _reset_in_body, _WITH_BODY, ("unreachable",), 2),
    Kind("reset after it was done", _reset_after, STEPS, ("unreachable",), 2),
    Kind("closed in the body", _close_in_body, _WITH_BODY, ("unreachable",), 2),
    Kind("stall", _stall, STEPS, ("timeout",), 2),
    Kind("stall in the body", _stall_in_body, _WITH_BODY, ("timeout",), 2),
    Kind("stall after it was done", _stall_after, _HELD, ("timeout",), 2),
    Kind("stall in the answer", _stall_in_answer, _REPEATED, ("timeout",), 2),
    Kind("503 in the body", _early_answer, _WITH_BODY, ("server", "unreachable"), 2),
    *(Kind(str(status), _status(status), STEPS, ("server",), 2) for status in (408, 425, 500, 502, 503, 504)),
    Kind("500 after it was done", _status(500, after=True), _REPEATED, ("server",), 2),
    *(Kind(f"429, {form}", _limit(form), STEPS, ("rate-limit",), 2) for form in ("seconds", "date", "body", "garbage")),
    Kind("429, hours", _limit("hours"), STEPS, ("rate-limit",), 0),
    Kind("403, secondary limit", _secondary, _TOLD, ("rate-limit",), 2),
    # An answer without a body cannot be told from any other 403.
    Kind("403 without words", _secondary, ("head-blob", "head-manifest"), ("permission", "credentials"), 0),
    Kind("truncated", _truncated, STEPS, ("unreachable",), 2),
    Kind("garbage", _garbage, STEPS, ("unreachable",), 2),
    Kind("garbled", _garbled, STEPS, _ANY, 0),
    Kind("expired token", _expired, _REPEATED, ("credentials", "permission"), 1),
    Kind("another digest", _other_digest, ("head-blob", "head-manifest", *_WITH_BODY), ("digest", "server"), 1),
    Kind("other bytes", _other_bytes, ("get-tag", "read-back"), ("digest",), 0),
    Kind("lost", _lost, _HELD, ("server", "digest"), 1),
    Kind("seems there", _seems_there, ("head-blob", "head-manifest"), ("server",), 1),
    Kind("no such session", _no_session(404), ("put",), ("server",), 2),
    Kind("session used up", _no_session(416), ("put",), ("server",), 2),
    Kind("sent elsewhere", _sent_elsewhere, ("post",), (), ALWAYS),
    Kind("sent to another path", _moved, ("post",), (), ALWAYS),
    Kind("closed when idle", _closed_when_idle, STEPS, (), ALWAYS, silent=True),
    Kind("closed at reuse", _closed_at_reuse, _SMALL, (), ALWAYS, silent=True),
    Kind("expired in the body", _expired_in_body, ("put",), ("credentials", "permission", "unreachable"), 1),
    Kind("short tokens", _short_token, ("token",), (), ALWAYS),
)
TLS_KINDS = (
    Kind("handshake reset", _silence_then("reset"), ("handshake",), ("unreachable",), 2),
    Kind("handshake closed", _silence_then("close"), ("handshake",), ("unreachable",), 2),
    Kind("stall in the handshake", _silence_then("stall"), ("handshake",), ("timeout",), 2),
    Kind("half a handshake", _half_handshake("close"), ("handshake",), ("unreachable",), 2),
    Kind("stall in half a handshake", _half_handshake("stall"), ("handshake",), ("timeout",), 2),
    Kind("alert", _alert, ("handshake",), ("unreachable",), 2),
    Kind("reset in a record", _in_a_record("reset"), STEPS, ("unreachable",), 2),
    Kind("closed in a record", _in_a_record("close"), STEPS, ("unreachable",), 2),
    Kind("stall in a record", _in_a_record("stall"), _REPEATED, ("timeout",), 2),
    Kind("a record of garbage", _in_a_record("garbage"), STEPS, ("unreachable",), 2),
)
ALL_KINDS = (*KINDS, *TLS_KINDS)
PAIRS = tuple((kind, step) for kind in KINDS for step in kind.steps)
TLS_PAIRS = tuple((kind, step) for kind in ALL_KINDS for step in kind.steps)
