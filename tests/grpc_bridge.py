"""Makes a Docker engine a node of buildx's remote driver: dockerd serves BuildKit's gRPC on its own socket, after an
upgrade of the connection that the remote driver does not know."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


@contextmanager
def bridge(engine: str, path: Path) -> Iterator[str]:
    """A socket at ``path`` that speaks BuildKit's gRPC for the engine at the socket ``engine``; its address."""
    served: list[int] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            served.append(threading.get_ident())
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
                there.connect(engine)
                there.sendall(_UPGRADE)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += there.recv(1)
                assert head.startswith(b"HTTP/1.1 101"), head
                back = threading.Thread(target=_copy, args=(there, self.request), daemon=True)
                back.start()
                _copy(self.request, there)
                back.join()

    with socketserver.ThreadingUnixStreamServer(os.fspath(path), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            path.unlink()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
