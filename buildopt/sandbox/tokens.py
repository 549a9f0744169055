"""A token server like that of ghcr.io: ``GET /token`` with basic auth gives an RS256 token for a registry.

It runs as a program (``main``) so that it can outlive who started it. What
it does like ghcr.io: a wrong password is 403 ``DENIED``, POST is not served, a user without the right to push gets a
token without it, and the reply says nothing of the token's life unless ``expires_in`` is set.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import ssl
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from buildopt import process
from buildopt.sandbox import background, programs
from buildopt.sandbox.certificates import Certificates

ISSUER = "buildopt sandbox"
# The registry accepts a token for so long after its end, to make up for clocks that differ.
REGISTRY_LEEWAY_SECONDS = 60
DEFAULT_LIFE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class User:
    """Who may do what: ``actions`` on the ``repositories`` that match (globs). No name: without credentials."""

    name: str
    password: str
    actions: tuple[str, ...] = ("pull", "push", "delete")
    repositories: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class TokenService:
    """How tokens are made. ``expires_in`` is their life in seconds: for the registry too, and said in the reply."""

    service: str
    users: tuple[User, ...]
    expires_in: int | None = None

    def user(self, name: str, password: str) -> User | None:
        """The user of these credentials; None where they are wrong."""
        for user in self.users:
            same = hmac.compare_digest(user.password.encode(), password.encode())
            if user.name == name and same:
                return user
        return None

    def access(self, user: User, scopes: Sequence[str]) -> list[dict[str, object]]:
        """What of ``scopes`` (``repository:NAME:pull,push``) this user gets."""
        granted: list[dict[str, object]] = []
        for scope in (part for entry in scopes for part in entry.split()):
            match = re.fullmatch(r"([a-z]+)(?:\([a-z]+\))?:(.+):([a-z,*]*)", scope)
            if match is None:
                continue
            kind, name, actions = match.groups()
            known = any(fnmatchcase(name, pattern) for pattern in user.repositories)
            allowed = [action for action in actions.split(",") if known and action in user.actions]
            granted.append({"type": kind, "name": name, "actions": allowed})
        return granted


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes RS256 tokens with the openssl program."""

    openssl: str
    key: Path
    certificate: Path

    def token(self, claims: Mapping[str, object]) -> str:
        """A signed JWT whose x5c header carries the signer's certificate."""
        pem = self.certificate.read_text(encoding="ascii")
        encoded = "".join(pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0].split())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [encoded]}
        text = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        signed = process.run([self.openssl, "dgst", "-sha256", "-sign", self.key], data=text.encode())
        return f"{text}.{_base64url(signed.stdout)}"


def start_token_server(
    folder: Path, service: TokenService, certificates: Certificates, *, host: str = "127.0.0.1", port: int = 0
) -> background.Background:
    """Start a token server whose configuration and log are in ``folder``. Raises ToolError where it does not start."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "tokens.json"
    document = {
        "service": asdict(service),
        "openssl": programs.installed_or_fetched("openssl", "openssl"),
        "certificates": {"folder": str(certificates.folder), "names": certificates.names},
        "host": host,
        "port": port,
    }
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps(document), encoding="utf-8")
    packages = Path(__file__).parent.parent.parent
    run = "import sys; sys.path.insert(0, sys.argv[1]); from buildopt.sandbox import tokens; tokens.main(sys.argv[2])"
    argv = [sys.executable, "-c", run, str(packages), str(configuration)]
    return background.start("the token server", argv, mark=configuration, log=folder / "tokens.log")


class TokenServer(ThreadingHTTPServer):
    """The HTTP server: a thread a connection, TLS handshakes in those threads."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: TokenService, signer: Signer, certificates: Certificates):
        super().__init__(address, TokenHandler)
        self.service = service
        self.signer = signer
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log in one line what went wrong with a connection, such as a client that does not trust us."""
        sys.stderr.write(f"{client_address}: {sys.exc_info()[1]!r}\n")


class TokenHandler(BaseHTTPRequestHandler):
    """Answers ``GET /token?service=&scope=``."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: TokenServer

    def do_GET(self) -> None:
        """Give a token for what the user may do."""
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if address.path != "/token":
            self.reply(404, _error("NOT_FOUND", "not found"))
            return
        service = self.server.service
        name, password = _credentials(self.headers.get("Authorization", ""))
        user = service.user(name, password)
        if user is None and name:
            self.reply(403, _error("DENIED", "denied"))
            return
        if user is None:
            self.reply(401, _error("UNAUTHORIZED", "authentication required"))
            return
        life = DEFAULT_LIFE_SECONDS if service.expires_in is None else service.expires_in
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user.name,
            "aud": service.service,
            "iat": now,
            "nbf": now - REGISTRY_LEEWAY_SECONDS,
            "exp": now + life - (REGISTRY_LEEWAY_SECONDS if service.expires_in is not None else 0),
            "jti": uuid.uuid4().hex,
            "access": service.access(user, query.get("scope", ())),
        }
        answer: dict[str, object] = {"token": self.server.signer.token(claims)}
        if service.expires_in is not None:
            answer["expires_in"] = service.expires_in
        self.reply(200, answer)

    def do_POST(self) -> None:
        """Like ghcr.io: there is no OAuth2 endpoint."""
        self.close_connection = True
        self.reply(405, _error("UNSUPPORTED", "The operation is unsupported."))

    def reply(self, status: int, document: Mapping[str, object]) -> None:
        """Send a JSON answer."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(configuration: str) -> None:
    """Serve until ended by a signal."""
    document = json.loads(Path(configuration).read_text(encoding="utf-8"))
    described = document["service"]
    users = tuple(
        User(user["name"], user["password"], tuple(user["actions"]), tuple(user["repositories"]))
        for user in described["users"]
    )
    service = TokenService(described["service"], users, described["expires_in"])
    certificates = Certificates(Path(document["certificates"]["folder"]), tuple(document["certificates"]["names"]))
    signer = Signer(document["openssl"], certificates.token_key, certificates.token_certificate)
    server = TokenServer((document["host"], document["port"]), service, signer, certificates)
    sys.stderr.write(f"listening on https://{document['host']}:{server.server_address[1]}\n")
    sys.stderr.flush()
    server.serve_forever()


def _credentials(header: str) -> tuple[str, str]:
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "malformed", ""
    return name, password


def _error(code: str, message: str) -> Mapping[str, object]:
    return {"errors": [{"code": code, "message": message}]}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
