"""A proxy on loopback that leads names to places: registries that are reached as if they were on the internet."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tunnels(
    places: Mapping[str, tuple[str, int]], certificate: tuple[Path, Path] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A proxy that takes CONNECT to the names of ``places`` (``host:port``), and refuses all others.

    Yields its address (by TLS where it has a certificate), and what it was told: request line and headers each time.
    """
    heard: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=tunnel, args=(client,), daemon=True).start()

    def tunnel(plain: socket.socket) -> None:
        try:
            with plain if context is None else context.wrap_socket(plain, server_side=True) as client:
                lead(client)
        except OSError:
            return

    def lead(client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = client.recv(4096)
            if not part:
                return
            data += part
        heard.append(data.decode())
        place = places.get(heard[-1].split(" ")[1])
        if place is None or not data.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(place) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(client, server)

    def pump(client: socket.socket, server: socket.socket) -> None:
        ends = {client: server, server: client}
        while True:
            waiting = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
            for ready in waiting or select.select(list(ends), [], [])[0]:
                part = ready.recv(65536)
                if not part:
                    return
                ends[ready].sendall(part)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        listener.close()
