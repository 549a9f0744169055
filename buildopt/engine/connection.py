"""The engine that builds: one that is already there, or our private one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildopt.engine import api, builders, existing
from buildopt.engine.folders import Folders
from buildopt.engine.programs import Programs
from buildopt.engine.state import State
from buildopt.errors import EngineError

# They would lead our commands to another engine or builder than the one that was chosen.
_OVERRIDES = ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION",
              "BUILDX_BUILDER", "BUILDKIT_HOST")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engine:
    """How to talk to an engine.

    ``docker`` and ``buildx`` are the first words of commands, to be run with exactly ``environment``. ``builder`` is
    the name for ``--builder``, None for the one that buildx takes by itself. ``platforms`` is what it can build, empty
    where that is not known before the first build. ``contents`` is the folder with its blobs, where it is on this
    machine and may be read. ``nodes`` are the machines of a builder that may have several.
    """

    docker: tuple[str, ...]
    buildx: tuple[str, ...]
    environment: Mapping[str, str]
    builder: str | None
    platforms: tuple[str, ...]
    private: bool
    description: str
    contents: Path | None = None
    nodes: tuple[existing.Node, ...] = ()


def find(
    *,
    folder: Path | None = None,
    builder: str | None = None,
    environment: Mapping[str, str] | None = None,
    making: Callable[[str], None] | None = None,
) -> Engine:
    """The engine to build with: the named builder, else one that is already there, else the private one in ``folder``.

    An engine that is already there is docker's current one, or buildx's current or any other builder, as far as it can
    export OCI images. ``environment`` is by default this process's. Where there is an engine but nothing on it that can
    export them, and ``making`` is given, a builder of our own is made there, and ``making`` is told.
    Raises EngineError where there is none.
    """
    environment = os.environ if environment is None else environment
    folders = Folders.at(folder)
    try:
        found = existing.look(environment, Programs(folders.prefix), builder)
    except EngineError as error:
        ours = find_private(folders, environment) if builder is None else None
        if ours is not None:
            return ours
        if making is None or not isinstance(error, existing.CannotExport) or error.named:
            raise
        found = builders.make(error.clients, environment, error.message, making)
    clients = found.clients
    return Engine(
        clients.docker,
        clients.buildx,
        dict(environment),
        found.name,
        found.platforms,
        False,
        found.description,
        found.contents,
        found.nodes,
    )


def find_private(folders: Folders, environment: Mapping[str, str] | None = None) -> Engine | None:
    """The private engine in a folder, None where it is not up."""
    found = running(folders)
    if found is None:
        return None
    tools = Programs(folders.prefix)
    return Engine(
        docker=(str(tools.docker),),
        buildx=(str(tools.buildx),),
        environment=private_environment(folders, tools, os.environ if environment is None else environment),
        builder="default",
        platforms=found.platforms,
        private=True,
        description=f"private engine, Docker {found.version}, in {folders.root}",
        contents=existing.contents_of(str(folders.data / "docker")),
    )


def private(folders: Folders, environment: Mapping[str, str] | None = None) -> Engine:
    """The private engine in a folder. Raises EngineError where it is not up."""
    found = find_private(folders, environment)
    if found is None:
        raise EngineError(f"no private engine is up in {folders.root}", hint="run: buildopt engine up --private")
    return found


def running(folders: Folders) -> State | None:
    """The private engine's record where it runs and answers, and whoever starts it has written all of it."""
    found = State.load(folders.state)
    return found if found is not None and found.version and found.alive and api.answers(folders.socket) else None


def private_environment(folders: Folders, tools: Programs, base: Mapping[str, str]) -> dict[str, str]:
    """The environment that leads clients to the private engine, whatever the user has set for others."""
    kept = {name: value for name, value in base.items() if name not in _OVERRIDES}
    path = f"{tools.docker.parent}:{base.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "DOCKER_HOST": f"unix://{folders.socket}", "BUILDX_CONFIG": f"{folders.root}/buildx"}
