"""The Docker API over its Unix socket: requests that need neither the docker command nor an HTTP library."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from buildopt.errors import EngineError


def request(path: Path | str, target: str, *, method: str = "GET", timeout: float = 10.0) -> bytes:
    """The body of the answer. ``timeout`` is in seconds without a byte.

    Raises EngineError where nothing answers or the answer is an error.
    """
    head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    received = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(head.encode())
            while chunk := connection.recv(1 << 16):
                received += chunk
    except OSError as error:
        reason = error.strerror or "no answer in time"
        raise EngineError(f"no engine answers at {path}: {reason}", hint="run: buildopt engine up") from error
    header, _, body = bytes(received).partition(b"\r\n\r\n")
    words = header.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise EngineError(f"what answers at {path} is no Docker engine")
    if not words[1].startswith(b"2"):
        raise EngineError(f"the engine refused {method} {target.partition('?')[0]}: {_message(body)}")
    return body


def ask(path: Path | str, target: str, *, method: str = "GET", timeout: float = 10.0) -> dict[str, Any]:
    """The answer as a JSON object. Raises EngineError like ``request``."""
    try:
        document = json.loads(request(path, target, method=method, timeout=timeout))
    except ValueError as error:
        raise EngineError(f"what answers at {path} is no Docker engine") from error
    if not isinstance(document, dict):
        raise EngineError(f"what answers at {path} is no Docker engine")
    return document


def answers(path: Path | str, *, timeout: float = 2.0) -> bool:
    """Whether an engine answers."""
    try:
        return request(path, "/_ping", timeout=timeout).strip() == b"OK"
    except EngineError:
        return False


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()[:200]
