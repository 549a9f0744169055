"""A registry over real sockets that keeps blobs and manifests like any other, and misbehaves where a test says so."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    authorization: str
    content_type: str


@dataclass
class Scripted:
    """What the registry holds, what it saw, and ``fault``: a function that may answer a request in its place."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    fault: Callable[[Handler], bool] = lambda handler: False
    gullible: bool = False
    """It takes a manifest whatever that names, and does not say what it stored."""
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """``host:port``, as references begin."""
        return urlsplit(self.url).netloc

    def count(self, method: str, pattern: str) -> int:
        """How many requests of a method had a path that matches."""
        return sum(1 for entry in self.seen if entry.method == method and re.search(pattern, entry.path))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer leaves in two parts; the second is not to wait for anything
    server: Server

    def handle(self) -> None:
        if not isinstance(self.connection, ssl.SSLSocket) and self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            return  # TLS at a plain port
        super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def scripted(self) -> Scripted:
        return self.server.scripted

    def answer(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Send an answer; header names use underscores."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def error(self, status: int, code: str, message: str, **headers: str) -> bool:
        """Send an error of the distribution specification, after the body was read."""
        self.body()
        return self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def body(self) -> bytes:
        """The request's body; empty the second time."""
        length = int(self.headers.get("Content-Length") or 0)
        del self.headers["Content-Length"]
        return self.rfile.read(length)

    def reset(self, after: int = 0) -> bool:
        """Read some bytes of the body, then cut the connection with a reset."""
        self.rfile.read(min(after, int(self.headers.get("Content-Length") or 0)))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        return True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return  # the test cut the connection

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_GET

    def _serve(self) -> None:
        headers = self.headers
        with self.scripted.lock:
            self.scripted.seen.append(
                Seen(self.command, self.path, headers.get("Authorization") or "", headers.get("Content-Type") or "")
            )
        if not self.scripted.fault(self):
            self.registry()

    def registry(self) -> bool:
        """Behave."""
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/v2/":
            return self.answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+)/(blobs/uploads|blobs|manifests)/(.*)", path)
        if match is None:
            return self.error(404, "NAME_UNKNOWN", "no such thing")
        repository, kind, name = match.groups()
        serve = {"blobs": self._blob, "blobs/uploads": self._upload, "manifests": self._manifest}[kind]
        return serve(repository, name, query)

    def _blob(self, repository: str, name: str, query: dict[str, list[str]]) -> bool:
        data = self.scripted.blobs.get((repository, name))
        return self.answer(404) if data is None else self.answer(200, data)

    def _upload(self, repository: str, name: str, query: dict[str, list[str]]) -> bool:
        scripted = self.scripted
        if self.command == "POST":
            mounted = scripted.blobs.get((query.get("from", [""])[0], query.get("mount", [""])[0]))
            if mounted is not None:
                scripted.blobs[repository, query["mount"][0]] = mounted
                return self._stored(query["mount"][0])
            with scripted.lock:
                session = f"{len(scripted.sessions)}"
                scripted.sessions[session] = "new"
            return self.answer(202, Location=f"/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb%3D{session}&x=")
        if self.command == "DELETE":
            return self.answer(204)
        if scripted.sessions.get(name) != "new" or query.get("_state") != [f"a/b={name}"] or "&x=" not in self.path:
            return self.error(416, "BLOB_UPLOAD_INVALID", "this session got bytes already, or its address was rebuilt")
        scripted.sessions[name] = "used"
        data = self.body()
        digest = query["digest"][0]
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        scripted.blobs[repository, digest] = data
        return self._stored(digest)

    def _stored(self, digest: str) -> bool:
        """Say that something was stored, and what, unless this is a registry that does not say."""
        return self.answer(201) if self.scripted.gullible else self.answer(201, Docker_Content_Digest=digest)

    def _manifest(self, repository: str, name: str, query: dict[str, list[str]]) -> bool:
        manifests = self.scripted.manifests
        if self.command == "PUT":
            data, kind = self.body(), self.headers.get("Content-Type") or ""
            document = json.loads(data)
            missing = [
                entry["digest"]
                for entry in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]
                if (repository, entry["digest"]) not in self.scripted.blobs and not entry.get("urls")
            ]
            missing += [
                entry["digest"]
                for entry in document.get("manifests", [])
                if (repository, entry["digest"]) not in manifests
            ]
            if (missing and not self.scripted.gullible) or document.get("mediaType", kind) != kind:
                return self.error(400, "MANIFEST_BLOB_UNKNOWN", f"unknown: {missing}")
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            manifests[repository, name] = manifests[repository, digest] = (data, kind)
            return self._stored(digest)
        held = manifests.get((repository, name))
        return self.answer(404) if held is None else self.answer(200, held[0], Content_Type=held[1])


class Server(ThreadingHTTPServer):
    """Holds the state for its handlers."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, scripted: Scripted) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripted = scripted

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what these tests are about."""


@contextmanager
def scripted_registry(certificate: tuple[Path, Path] | None = None) -> Iterator[Scripted]:
    """A registry on loopback, over TLS where a certificate and its key are given."""
    scripted = Scripted()
    server = Server(scripted)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scripted.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
