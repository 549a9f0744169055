"""AWS on loopback: moto's server for the API, an imitation of ECR Public's API, and ECR's way of refusing people."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.backends import get_backend
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from scripted import Handler

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PUBLIC = "public.ecr.aws"
PASSWORD = f"{ACCOUNT}-auth-token"
"""What moto gives as the password of ECR."""
SECRET = "never-to-be-shown"


@contextmanager
def moto_server() -> Iterator[str]:
    """The address of moto's server; it shares its state with ``repositories``."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def repositories() -> dict[str, dict[str, object]]:
    """The repositories that AWS has, with their settings."""
    backends: Any = get_backend("ecr")
    backend = backends[ACCOUNT][REGION]
    return {
        name: {"tags": entry.image_tag_mutability, "scan": entry.image_scanning_configuration["scanOnPush"]}
        for name, entry in backend.repositories.items()
    }


def forget() -> None:
    """Leave nothing in moto."""
    for service in ("ecr", "sts"):
        backends: Any = get_backend(service)
        backends.reset()


@dataclass
class PrivateRegistry:
    """What ECR does before anything else: Basic, 403 for a password that has expired, and no repository by itself."""

    passwords: set[str] = field(default_factory=lambda: {PASSWORD})
    denied: set[str] = field(default_factory=set)

    def __call__(self, handler: Handler) -> bool:
        authorization = handler.headers.get("Authorization") or ""
        if not authorization:
            realm = f'Basic realm="https://{ECR}/",service="ecr.amazonaws.com"'
            return handler.error(401, "UNAUTHORIZED", "Not Authorized", WWW_Authenticate=realm)
        if authorization not in {f"Basic {encoded('AWS', password)}" for password in self.passwords}:
            said = "Your authorization token has expired. Reauthenticate and try again."
            return handler.error(403, "DENIED", said)
        repository = re.split("/(?:blobs|manifests|tags)/", handler.path.removeprefix("/v2/"))[0]
        if repository in self.denied:
            said = "User: arn:aws:iam::1:user/x is not authorized to perform: ecr:InitiateLayerUpload"
            return handler.error(403, "DENIED", said)
        if repository and repository not in repositories():
            return handler.error(404, "NAME_UNKNOWN", f"The repository with name '{repository}' does not exist")
        if "/tags/list" in handler.path:
            return handler.answer(200, b'{"tags": null}')
        return False


def encoded(user: str, password: str) -> str:
    """User and password as Basic has them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


Answerer = Callable[[str, dict[str, object]], tuple[int, dict[str, object]]]


@contextmanager
def api_server(answer: Answerer) -> Iterator[str]:
    """The address of a server of AWS's JSON protocol: ``answer`` gets an operation and its input."""

    class Api(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            values = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            status, document = answer(operation, values)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class PublicApi:
    """The API of ECR Public for an account whose registry has an alias."""

    alias: str = "acme"
    made: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __call__(self, operation: str, values: dict[str, object]) -> tuple[int, dict[str, object]]:
        self.asked.append(operation)
        if operation == "GetAuthorizationToken":
            token = encoded("AWS", SECRET)
            return 200, {"authorizationData": {"authorizationToken": token, "expiresAt": 4102444800}}
        if operation == "DescribeRegistries":
            alias = {"name": self.alias, "status": "ACTIVE", "primaryRegistryAlias": True, "defaultRegistryAlias": True}
            return 200, {"registries": [{"registryId": ACCOUNT, "aliases": [alias]}]}
        if operation == "DescribeRepositories":
            names = values["repositoryNames"]
            assert isinstance(names, list)
            if names[0] not in self.made:
                return 400, {"__type": "RepositoryNotFoundException", "message": "no such repository"}
            return 200, {"repositories": [{"repositoryName": names[0]}]}
        assert operation == "CreateRepository"
        assert set(values) == {"repositoryName"}
        name = str(values["repositoryName"])
        if name in self.made:
            return 400, {"__type": "RepositoryAlreadyExistsException", "message": f"{name} already exists"}
        self.made.append(name)
        return 200, {"repository": {"repositoryName": name}}
