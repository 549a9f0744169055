"""A registry on loopback that has every image: whatever name and tag is asked for, the answer is one small stub.

A real registry would need each name put into it beforehand; names that Dockerfiles put together from variables are only
known once BuildKit asks for them.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# One image for all: BuildKit takes an image without an index for whatever platform it wants.
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }
).encode()
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": _digest(CONFIG),
            "size": len(CONFIG),
        },
        "layers": [],
    }
).encode()
_BLOBS = {_digest(data): data for data in (CONFIG, MANIFEST)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        manifest = re.fullmatch(r"/v2/.+/manifests/([^/]+)", path)
        blob = re.fullmatch(r"/v2/.+/blobs/([^/]+)", path)
        if path == "/v2/":
            self._answer(200, b"{}", "application/json")
        elif manifest is not None and (":" not in manifest[1] or manifest[1] == _digest(MANIFEST)):
            self._answer(200, MANIFEST, MANIFEST_TYPE)
        elif blob is not None and blob[1] in _BLOBS:
            self._answer(200, _BLOBS[blob[1]], "application/octet-stream")
        else:
            self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', "application/json")

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 200:
            self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests read what comes back."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients drop connections as they please."""


@contextmanager
def stub_registry() -> Iterator[str]:
    """The address of a registry that runs as long as the block, such as ``http://127.0.0.1:5000``."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
