"""Real registries on loopback: Debian's docker-registry with TLS, basic auth or tokens.

A registry belongs to a folder: its configuration, log, state and (unless told otherwise) its storage. It is a process
of its own and may outlive who started it: ``start_registry`` and ``stop_registry`` are the two halves of
``registry_server``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildopt.errors import ToolError
from buildopt.sandbox import background, programs, tokens
from buildopt.sandbox.background import Background
from buildopt.sandbox.certificates import Certificates

GHCR = "ghcr.io"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
STATE = "registry.json"
BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Basic:
    """Basic auth with one user; ``realm`` is the text of the challenge."""

    user: str
    password: str
    realm: str = "registry"


@dataclass(frozen=True, slots=True)
class Token:
    """Bearer tokens of the token server at ``realm``, for ``service``."""

    realm: str
    service: str


@dataclass(frozen=True, slots=True)
class RunningRegistry:
    """A registry that runs. ``name`` is the host that clients call it by: an address or a name made to lead there."""

    folder: Path
    storage: Path
    name: str
    host: str
    server: Background
    certificates: Certificates | None = None
    token_server: Background | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.server.port

    @property
    def process_id(self) -> int:
        """The registry's own process."""
        return self.server.process_id

    @property
    def log(self) -> Path:
        """Its log: one line a request."""
        return self.server.log

    @property
    def authority(self) -> str:
        """What an image reference begins with: ``ghcr.io`` or ``127.0.0.1:5000``."""
        usual = 443 if self.certificates is not None else 80
        return self.name if self.port == usual else f"{self.name}:{self.port}"

    @property
    def url(self) -> str:
        """Its address, such as ``https://127.0.0.1:5000``."""
        return f"{'https' if self.certificates is not None else 'http'}://{self.authority}"

    @property
    def ca_file(self) -> Path | None:
        """The authority that signed its certificate; None without TLS."""
        return self.certificates.ca_file if self.certificates is not None else None

    @property
    def bundle(self) -> Path | None:
        """What a client's ``SSL_CERT_FILE`` is to name; None without TLS."""
        return self.certificates.bundle if self.certificates is not None else None


@contextmanager
def registry_server(
    folder: Path,
    *,
    auth: Basic | Token | None = None,
    tls: Certificates | None = None,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    storage: Path | None = None,
) -> Iterator[RunningRegistry]:
    """A registry that runs as long as the block; arguments and errors are those of ``start_registry``."""
    running = start_registry(folder, auth=auth, tls=tls, name=name, host=host, port=port, storage=storage)
    try:
        yield running
    finally:
        stop_registry(running.folder)


def start_registry(
    folder: Path,
    *,
    auth: Basic | Token | None = None,
    tls: Certificates | None = None,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    storage: Path | None = None,
    token_server: Background | None = None,
) -> RunningRegistry:
    """Start a registry in ``folder`` and return once it answers; it runs until ``stop_registry(folder)``.

    Port 0 is a free one, chosen by the kernel as the registry binds it. ``storage`` (default: in ``folder``) keeps its
    blobs and may be one that another registry wrote. Deleting is allowed. What was left by a registry of this
    folder that was killed is cleared away.
    Raises ToolError where one runs in this folder already, or with its log's last lines where it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = _recorded(folder)
    if running is not None and running.server.alive():
        raise ToolError(
            f"a registry already runs in {folder} (process {running.process_id})",
            hint="stop it first, or use another folder",
        )
    if running is not None and running.token_server is not None:
        running.token_server.stop()
    storage = storage if storage is not None else folder / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    configuration = folder / "config.yml"
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps(_configuration(folder, storage, auth, tls, host, port)), encoding="utf-8")
    executable = programs.from_suite("docker-registry", "docker-registry")
    server = background.start(
        "docker-registry",
        [executable, "serve", str(configuration)],
        mark=configuration,
        log=folder / "registry.log",
        hint=f"see {folder / 'registry.log'}; where the port is taken, choose another one",
    )
    started = RunningRegistry(folder, storage, name or host, host, server, tls, token_server)
    _record(started)
    return started


def stop_registry(folder: Path) -> None:
    """End the registry of this folder, and its token server; nothing happens where none runs."""
    running = _recorded(folder)
    if running is None:
        return
    running.server.stop()
    if running.token_server is not None:
        running.token_server.stop()
    (folder / STATE).unlink(missing_ok=True)


def running_registry(folder: Path) -> RunningRegistry | None:
    """The registry that runs in this folder, whoever started it."""
    running = _recorded(folder)
    return running if running is not None and running.server.alive() else None


def start_ghcr(
    folder: Path,
    certificates: Certificates,
    users: Sequence[tokens.User],
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    expires_in: int | None = None,
) -> RunningRegistry:
    """A registry with tokens like ghcr.io, ended by ``stop_registry``: its token server is at another port.

    A user without a name says what may be done without credentials. ``expires_in`` is the tokens' life in seconds.
    Raises ToolError like ``start_registry``.
    """
    service = name or host
    described = tokens.TokenService(service, tuple(users), expires_in)
    server = tokens.start_token_server(folder / "tokens", described, certificates, host=host)
    try:
        auth = Token(f"https://{service}:{server.port}/token", service)
        return start_registry(folder, auth=auth, tls=certificates, name=name, host=host, port=port, token_server=server)
    except BaseException:
        server.stop()
        raise


def start_ecr(
    folder: Path,
    certificates: Certificates,
    password: str,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> RunningRegistry:
    """A registry with basic auth like ECR (user ``AWS``), ended by ``stop_registry``. Raises ToolError likewise."""
    auth = Basic("AWS", password, f"https://{name or host}/")
    return start_registry(folder, auth=auth, tls=certificates, name=name, host=host, port=port)


@contextmanager
def stopped_after(running: RunningRegistry) -> Iterator[RunningRegistry]:
    """The registry as a block: stopped at its end."""
    try:
        yield running
    finally:
        stop_registry(running.folder)


def bcrypt_line(user: str, password: str) -> str:
    """A line of an htpasswd file, hashed by the C library's crypt (the registry takes bcrypt only).

    Raises ToolError where that library is missing or knows no bcrypt.
    """
    salt = "".join(secrets.choice(BCRYPT_ALPHABET) for _ in range(21)) + "."
    # The least cost: the registry hashes at every request, and these passwords guard nothing.
    setting = f"$2b$04${salt}"
    try:
        library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    except OSError as error:
        raise ToolError("libcrypt was not found", hint="install libcrypt1") from error
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    hashed = library.crypt(password.encode(), setting.encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise ToolError("this machine's libcrypt knows no bcrypt", hint="install libcrypt1")
    return f"{user}:{hashed.decode()}\n"


def _configuration(
    folder: Path, storage: Path, auth: Basic | Token | None, tls: Certificates | None, host: str, port: int
) -> dict[str, object]:
    http: dict[str, object] = {"addr": f"{host}:{port}", "secret": secrets.token_hex(16)}
    if tls is not None:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    configuration: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http,
    }
    if isinstance(auth, Basic):
        passwords = folder / "htpasswd"
        passwords.touch(mode=0o600)
        passwords.write_text(bcrypt_line(auth.user, auth.password), encoding="utf-8")
        configuration["auth"] = {"htpasswd": {"realm": auth.realm, "path": str(passwords)}}
    elif isinstance(auth, Token):
        if tls is None:
            raise ToolError("a registry with tokens needs certificates", hint="give tls as well")
        configuration["auth"] = {
            "token": {
                "realm": auth.realm,
                "service": auth.service,
                "issuer": tokens.ISSUER,
                "rootcertbundle": str(tls.ca_file),
            }
        }
    return configuration


def _record(running: RunningRegistry) -> None:
    """Write down what is needed to end it from another process."""
    servers = {"registry": running.server, "tokens": running.token_server}
    document = {
        "storage": str(running.storage),
        "name": running.name,
        "host": running.host,
        "certificates": [str(running.certificates.folder), *running.certificates.names] if running.certificates else [],
        "servers": {
            key: [server.name, server.process_id, server.mark, str(server.log), server.address]
            for key, server in servers.items()
            if server is not None
        },
    }
    temporary = running.folder / f"{STATE}.{os.getpid()}"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    os.replace(temporary, running.folder / STATE)


def _recorded(folder: Path) -> RunningRegistry | None:
    try:
        document = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    servers = {
        key: Background(name, process_id, mark, Path(log), address)
        for key, (name, process_id, mark, log, address) in document["servers"].items()
    }
    known = document["certificates"]
    certificates = Certificates(Path(known[0]), tuple(known[1:])) if known else None
    return RunningRegistry(
        folder,
        Path(document["storage"]),
        document["name"],
        document["host"],
        servers["registry"],
        certificates,
        servers.get("tokens"),
    )
