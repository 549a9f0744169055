"""What the demo needs around it: the project, an engine, base images and two registries with their credentials."""

from __future__ import annotations

import base64
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildopt import settings
from buildopt.engine import connection, daemon, packages
from buildopt.engine.folders import Folders
from buildopt.errors import EngineError, UsageError
from buildopt.sandbox import base_images, registries
from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.tokens import User

PROJECT = Path(__file__).parent / "project"
IMAGES = ("golang:1.19", "debian:bookworm-slim")
PLATFORMS = ("linux/amd64", "linux/arm64")
USER = "ada"


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything that runs. ``push_environment`` holds what lets a client into the registries."""

    project: Path
    engine: connection.Engine
    build_contexts: tuple[str, ...]
    push_environment: Mapping[str, str]
    destinations: tuple[str, ...]


def new_folder(folder: Path | None) -> Path:
    """Make the demo's folder: ``folder``, which must be new or empty, else the first free ``buildopt-demo``.

    Raises UsageError, and EngineError where the demo cannot run: it needs root on a Debian family system.
    """
    packages.require_apt(
        "the demo makes base images and registries from Debian packages: it", "run it as root on Debian or Ubuntu"
    )
    if folder is None:
        candidates = (Path(f"buildopt-demo{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
        folder = next(candidate for candidate in candidates if not os.path.lexists(candidate))
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not empty", hint="name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        hint = "name a folder that can be written to"
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}", hint=hint) from error
    return folder.absolute()


def write_project(folder: Path) -> Path:
    """Write the small Go project into ``folder/greet`` and return that."""
    project = folder / "greet"
    shutil.copytree(PROJECT, project)
    (project / "dockerignore").rename(project / ".dockerignore")
    return project


def change_source(project: Path) -> None:
    """Change one line of the program, to something that no build has seen."""
    path = project / "main.go"
    before, _, after = path.read_text().partition('const version = "')
    path.write_text(f'{before}const version = "1.{time.time_ns()}{after[after.index(chr(34)) :]}')


@contextmanager
def laboratory(folder: Path, *, keep: bool, say: Callable[[str], None]) -> Iterator[Lab]:
    """The project, an engine and two registries; what was started ends with the block, unless ``keep``.

    A usable engine that is there is used and gets the base images as named contexts; a private one finds them in a
    mirror, under their own names. Raises EngineError, ToolError.
    """
    with ExitStack() as stack:
        end = (lambda _function, *_arguments: None) if keep else stack.callback
        project = write_project(folder)
        layouts = base_images.prepare(IMAGES, platforms=PLATFORMS, say=say)
        build_contexts: tuple[str, ...] = ()
        try:
            engine = connection.find()
            build_contexts = tuple(f"{name}=oci-layout://{layout}:{_tag(name)}" for name, layout in layouts.items())
        except EngineError:
            mirror = base_images.start_mirror(folder / "mirror", layouts)
            end(registries.stop_registry, mirror.folder)
            say("starting a private engine")
            folders = Folders.at(None)
            end(daemon.down, folders)
            daemon.up(folders, mirrors=(mirror.url,), say=say)
            engine = connection.private(folders)
        say("starting two registries: one with tokens like GHCR, one with basic auth like ECR")
        ghcr_password, ecr_password = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        certificates = make_certificates(folder / "registries" / "certificates", ["127.0.0.1"])
        ghcr = registries.start_ghcr(folder / "registries" / "ghcr", certificates, [User(USER, ghcr_password)])
        end(registries.stop_registry, ghcr.folder)
        ecr = registries.start_ecr(folder / "registries" / "ecr", certificates, ecr_password)
        end(registries.stop_registry, ecr.folder)
        destinations = (f"{ghcr.authority}/acme/greet", f"{ecr.authority}/greet")
        passwords = {ghcr.authority: (USER, ghcr_password), ecr.authority: ("AWS", ecr_password)}
        write_credentials(folder / "registries" / "docker", passwords)
        (project / settings.FILE_NAME).write_text(_configuration(destinations))
        environment = {"DOCKER_CONFIG": str(folder / "registries" / "docker"), "SSL_CERT_FILE": str(ghcr.bundle)}
        yield Lab(project, engine, build_contexts, {**os.environ, **environment}, destinations)


def end(folder: Path) -> list[Path]:
    """End the registries that a demo in ``folder`` left running, and return their folders."""
    ended = []
    for name in ("mirror", "registries/ghcr", "registries/ecr"):
        if registries.running_registry(folder / name) is not None:
            registries.stop_registry(folder / name)
            ended.append(folder / name)
    return ended


def _tag(name: str) -> str:
    return name.partition(":")[2]


def write_credentials(folder: Path, passwords: Mapping[str, tuple[str, str]]) -> None:
    """Write a docker configuration as ``docker login`` would: user and password by registry."""
    folder.mkdir(parents=True, mode=0o700)
    auths = {
        host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for host, (user, password) in passwords.items()
    }
    path = folder / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": auths}, indent=2))


def _configuration(destinations: tuple[str, ...]) -> str:
    lines = "".join(f"    - {destination}\n" for destination in destinations)
    return f"build: {{platforms: [amd64, arm64]}}\npush:\n  tags: [demo]\n  to:\n{lines}"
