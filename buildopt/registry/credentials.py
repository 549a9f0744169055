"""Where credentials are kept: Docker's configuration, its credential helpers, and containers' auth.json.

No secret is ever part of a ``repr``, a message or a program's arguments.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.errors import ToolError, UsageError
from buildopt.registry.failure import RegistryError

HELPER_TIMEOUT = 30.0
"""Seconds that a credential helper may take; some ask a person."""
HELPER_ANSWER = 1 << 20
"""Bytes that it may say."""
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_PODMAN = "/run/containers"
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, or an identity token, or a registry token to be sent as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, in the forms in which it is sent; nothing so short that it stands in other words."""
        found = (self.password, self.identity_token, self.registry_token, self.basic().removeprefix("Basic "))
        return tuple(secret for secret in found if len(secret) > 3)


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials that were made for this run, and the seconds from now that they hold."""

    credentials: Credentials
    seconds: float


@dataclass(frozen=True, slots=True)
class _File:
    """One configuration file: its entries by host (containers: also by repository), and its helpers."""

    path: Path
    entries: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""


@dataclass(frozen=True, slots=True)
class Keychain:
    """The credentials that this user has, in the order in which they are asked: Docker's file first."""

    files: tuple[_File, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Keychain:
        """Read the files that ``environ`` points to. Raises UsageError where one cannot be read or is no JSON."""
        home = Path(environ.get("HOME") or os.path.expanduser("~"))  # a user without a name has none
        docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        paths = [docker]
        if environ.get("REGISTRY_AUTH_FILE"):
            paths.append(Path(environ["REGISTRY_AUTH_FILE"]))
        if environ.get("XDG_RUNTIME_DIR"):
            paths.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
        elif hasattr(os, "getuid"):  # where Podman writes without one, such as for root
            paths.append(Path(f"{_PODMAN}/{os.getuid()}/auth.json"))
        paths.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json")
        given = environ.get("DOCKER_AUTH_CONFIG")  # as GitLab's runner and newer clients of Docker take them
        first = [_parsed(Path("DOCKER_AUTH_CONFIG"), given.encode())] if given else []
        files = (*first, *(_read(path) for path in dict.fromkeys(paths)))
        return cls(tuple(file for file in files if file is not None), environ)

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        """The credentials for a registry, None where there are none.

        Raises RegistryError where the credential helper that is responsible fails.
        """
        problem: RegistryError | None = None
        for file in self.files:
            for helper in dict.fromkeys(name for name in (_for_host(file.helpers, registry), file.store) if name):
                try:
                    found = self._ask(helper, registry)
                except RegistryError as error:
                    problem = problem or error
                    continue
                if found is not None:
                    return found
            entry = _entry(file.entries, registry, repository)
            if entry is not None and not re.fullmatch(r"[\x21-\x7e]*", entry.registry_token):
                raise RegistryError(
                    "credentials",
                    f"the registrytoken for {registry} in {file.path} is not a token",
                    hint="sign in again with docker login",
                )
            if entry is not None:
                return entry
        if problem is not None:
            raise problem
        return None

    def place(self, registry: str, repository: str) -> str:
        """What tells repositories of a registry with credentials of their own apart: a path, empty for all others."""
        paths = (_path(key) for file in self.files for key in file.entries if _same(_host(key), registry))
        return max((path for path in paths if _covers(path, repository)), key=len, default="")

    def _ask(self, helper: str, registry: str) -> Credentials | None:
        from buildopt import process

        program = f"docker-credential-{helper}"
        if not _HELPER_NAME.fullmatch(helper):
            raise RegistryError("credentials", f"not a credential helper: {helper!r}", hint="mend config.json")
        server = _HUB_KEY if registry in _HUB_NAMES else registry
        try:
            path = process.which(program, path=self.environ.get("PATH") or os.defpath)
            if path is None:
                raise process.missing(program)
            done = process.ask(
                [path, "get"], server.encode(), env=self.environ, timeout=HELPER_TIMEOUT, most=HELPER_ANSWER
            )
        except ToolError as error:
            raise RegistryError(
                "credentials", f"no credentials for {registry}: {error.message}", hint=f"install or mend {program}"
            ) from error
        if done.returncode != 0:
            said = f"{done.text} {done.stderr}".lower()
            if "not found" in said or "no credentials" in said:
                return None
            # What it printed may hold a secret: it is not repeated.
            raise RegistryError(
                "credentials",
                f"{program} failed for {registry} with exit status {done.returncode}",
                hint=f"run: echo {server} | {program} get",
            )
        try:
            answer = json.loads(done.stdout)
            username, secret = answer.get("Username", ""), answer.get("Secret", "")
        except (ValueError, AttributeError, RecursionError):
            # Not as its cause: a decoder's error holds the whole answer.
            raise RegistryError(
                "credentials", f"{program} gave no valid answer for {registry}", hint="update the helper"
            ) from None
        if not isinstance(username, str) or not isinstance(secret, str) or not secret:
            return None
        return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)


def _read(path: Path) -> _File | None:
    try:
        return _parsed(path, path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error


def _parsed(path: Path, data: bytes) -> _File:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        # Not as its cause: a decoder's error holds all of it.
        raise UsageError(f"{path} is not valid JSON", hint="mend it, or sign in again with docker login") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not a JSON object", hint="mend it, or sign in again with docker login")
    auths, helpers, store = document.get("auths"), document.get("credHelpers"), document.get("credsStore")
    return _File(
        path,
        {key: value for key, value in auths.items() if isinstance(value, dict)} if isinstance(auths, dict) else {},
        {key: value for key, value in helpers.items() if isinstance(value, str)} if isinstance(helpers, dict) else {},
        store if isinstance(store, str) else "",
    )


def _host(key: str) -> str:
    """The registry that a key of ``auths`` stands for: keys may be URLs."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _path(key: str) -> str:
    """The repository or namespace that a key of ``auths`` is for, empty for a whole registry."""
    path = "" if "://" in key else key.partition("/")[2].rstrip("/")
    return "" if path in ("v1", "v2") else path  # what Docker's clients once wrote behind the host


def _covers(path: str, repository: str) -> bool:
    return not path or f"{repository}/".startswith(f"{path}/")


def _same(host: str, registry: str) -> bool:
    return host.lower() == registry or (host in _HUB_NAMES and registry in _HUB_NAMES)


def _for_host(helpers: Mapping[str, str], registry: str) -> str:
    return next((name for key, name in helpers.items() if _same(_host(key), registry)), "")


def _entry(entries: Mapping[str, Mapping[str, object]], registry: str, repository: str) -> Credentials | None:
    """The most special entry that fits: containers' files may have one a repository or namespace."""
    best: tuple[int, Credentials] | None = None
    for key, entry in entries.items():
        if not _same(_host(key), registry):
            continue
        path = _path(key)
        if not _covers(path, repository):
            continue
        found = _credentials(entry)
        if found is not None and (best is None or len(path) > best[0]):
            best = (len(path), found)
    return best[1] if best is not None else None


def _credentials(entry: Mapping[str, object]) -> Credentials | None:
    def text(key: str) -> str:
        value = entry.get(key)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth"):
        try:
            username, _, password = base64.b64decode(text("auth")).decode().partition(":")
        except ValueError:
            return None
        password = password.rstrip("\0")
    if text("identitytoken"):
        return Credentials(username, identity_token=text("identitytoken"))
    if text("registrytoken"):
        return Credentials(username, registry_token=text("registrytoken"))
    return Credentials(username, password) if username and password else None
