"""A proxy before a registry, on loopback, that does chosen things wrong at chosen steps of the protocol.

It passes requests on to a registry without sign-in and hands out and wants tokens by itself, so that they can expire
whenever a run says so. What it is to do wrong, where and how often is a list of ``Fault``s; without any it is a plain
proxy. It writes down what it was asked.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "octocat", "hush-hush"
STALL_SECONDS = 8.0
"""How long a stall lasts unless the client gives up before."""
BLOBS = ("head-blob", "post", "put")
MANIFESTS = ("head-manifest", "put-manifest", "put-tag", "get-tag", "read-back")
STEPS = ("ping", "token", *BLOBS, "mount", *MANIFESTS)
ALWAYS = 1 << 30

Act = Callable[["Handler", random.Random], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to fail: at which steps, and the kinds of error that a push may end with because of it.

    ``survived``: so many times in a row must not make a push fail.
    """

    name: str
    act: Act
    steps: tuple[str, ...]
    problems: tuple[str, ...]
    survived: int


@dataclass(slots=True)
class Fault:
    """A kind at a step, from its ``first`` request on (0: the very first), ``times`` times."""

    kind: Kind
    step: str
    first: int = 0
    times: int = 1
    fired: int = 0

    def __str__(self) -> str:
        often = "always" if self.times == ALWAYS else f"{self.times}x"
        return f"{self.kind.name} at {self.step} ({often}, from request {self.first})"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived, and the registry's own answer to it: 0 where it was not asked."""

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
    url: str = ""
    signs_in: bool = False
    elsewhere: Front | None = None
    faults: list[Fault] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)
    seen: list[Seen] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
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

    def token(self) -> str:
        """A new token."""
        with self.lock:
            self.issued += 1
            self.tokens.add(f"secret-token-{self.issued}")
            return f"secret-token-{self.issued}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    left = 0
    passed = 0

    def handle(self) -> None:
        self._upstream: http.client.HTTPConnection | None = None
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS at a plain port: what Go's servers answer
            self.connection.sendall(
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n"
            )
            return
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
        except (OSError, ValueError):
            return  # the connection was cut

    @property
    def front(self) -> Front:
        return self.server.front

    def do_GET(self) -> None:
        self.left, self.passed = int(self.headers.get("Content-Length") or 0), 0
        step = self._step()
        fault, chance = self.front.chosen(step)
        try:
            if fault is None:
                self.send(self.behave())
            else:
                fault.kind.act(self, chance)
        finally:
            with self.front.lock:
                authorization = self.headers.get("Authorization") or ""
                self.front.seen.append(Seen(step, self.path, authorization, self.passed))
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
        if self.front.signs_in and kept not in self.front.tokens:
            return self.challenge()
        return self.forward()

    def forward(self) -> Reply:
        """The registry's own answer."""
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(self.front.upstream, timeout=30)
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
        body = json.dumps({"token": self.front.token(), "expires_in": 300}).encode()
        return Reply(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def send(self, reply: Reply, *, cut: float = 0.0) -> None:
        """Answer; ``cut``: without this part of it, one byte at least."""
        head = f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Odd')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items()) + "\r\n"
        data = head.encode("latin-1") + (reply.body if self.command != "HEAD" else b"")
        self.connection.sendall(data[: int((len(data) - 1) * (1 - cut))] if cut else data)
        if cut or "close" in reply.headers.get("Connection", ""):
            self.close()

    def close(self) -> None:
        """End the connection in the usual way."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)

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
def faulty_proxy(upstream: str) -> Iterator[Front]:
    """A proxy before the registry at ``upstream`` (``host:port``) that runs as long as the block."""
    front = Front(upstream)
    server = Server(front)
    front.url = f"http://127.0.0.1:{server.server_address[1]}"
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
    Kind("another digest", _other_digest, ("head-blob", "head-manifest", *_WITH_BODY), ("digest",), 1),
    Kind("other bytes", _other_bytes, ("get-tag", "read-back"), ("digest",), 0),
    Kind("lost", _lost, _HELD, ("server", "digest"), 1),
    Kind("seems there", _seems_there, ("head-blob", "head-manifest"), ("server",), 1),
    Kind("no such session", _no_session(404), ("put",), ("server",), 2),
    Kind("session used up", _no_session(416), ("put",), ("server",), 2),
    Kind("sent elsewhere", _sent_elsewhere, ("post",), (), ALWAYS),
)
PAIRS = tuple((kind, step) for kind in KINDS for step in kind.steps)
