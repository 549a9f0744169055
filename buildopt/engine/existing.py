"""Looking for an engine that is already there, by asking it, docker and buildx; nothing is started or changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from buildopt import process
from buildopt.engine import api
from buildopt.engine.programs import Programs
from buildopt.errors import EngineError, ToolError

# These drivers run a BuildKit of their own, which exports OCI. The docker driver does where images are containerd's.
_OWN_BUILDKIT = ("docker-container", "kubernetes", "remote", "cloud")
_PLUGIN_FOLDERS = ("/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins",
                   "/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins")  # fmt: skip
_SECONDS = 30.0  # for a remote engine or builder to answer
UP_HINT = "run: buildopt engine up"
BUILDX_HINT = f"install docker-buildx (Docker's own packages call it docker-buildx-plugin), or {UP_HINT} --private"


@dataclass(frozen=True, slots=True)
class Clients:
    """The first words of docker and buildx commands."""

    docker: tuple[str, ...]
    buildx: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of a builder: what it can build, and of that what it was ``chosen`` for (``--platform``)."""

    platforms: tuple[str, ...]
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Builder:
    """What buildx says about a builder. ``platforms`` is empty where it has not run yet, ``problem`` why it cannot."""

    name: str
    driver: str
    platforms: tuple[str, ...]
    problem: str = ""
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Existing:
    """A builder that can be used. ``name`` is None for the one that buildx takes by itself."""

    clients: Clients
    name: str | None
    platforms: tuple[str, ...]
    description: str
    contents: Path | None = None
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Info:
    """What an engine says about itself."""

    version: str
    containerd_store: bool
    root: str = ""


class CannotExport(EngineError):
    """The engine runs, but cannot export OCI images, and no builder is there that can. ``clients`` reach it; ``named``
    says that this very builder was asked for."""

    def __init__(self, problem: str, clients: Clients, *, named: bool) -> None:
        hint = (
            "run: docker buildx create --use --name buildopt (or turn on the feature containerd-snapshotter "
            "in /etc/docker/daemon.json), or: buildopt engine up --private"
        )
        super().__init__(problem, hint=hint)
        self.clients = clients
        self.named = named


def look(environment: Mapping[str, str], tools: Programs, name: str | None = None) -> Existing:
    """The builder called ``name``, else the best one that is there.

    ``tools`` lends clients that the machine lacks. Raises EngineError where there is none that can export OCI.
    """
    if name is None and not answering(environment) and not _has_builders(environment):
        raise _nothing(environment)
    clients = find_clients(environment, tools)
    try:
        builder = inspect_builder(clients.buildx, environment, name)
    except ToolError as error:
        if name is not None:
            hint = f"see: {' '.join(clients.buildx)} ls"
            raise EngineError(f"there is no builder {name}", hint=hint, detail=error.detail) from error
        raise EngineError(
            "buildx cannot tell which builder it uses", hint=f"see: {' '.join(clients.buildx)} inspect",
            detail=error.detail,
        ) from error  # fmt: skip
    if builder.driver in _OWN_BUILDKIT:
        return of_builder(clients, builder, name)
    host = endpoint(environment, builder.name)  # the docker driver's builders are called like their contexts
    if builder.driver == "docker":
        found = engine_info(environment, clients, host)
        if found.containerd_store:
            contents = contents_of(found.root) if host.startswith("unix://") else None
            return Existing(clients, name, builder.platforms, f"Docker {found.version} at {host}", contents)
        problem = f"Docker {found.version} at {host} cannot export OCI images: it has no containerd image store"
    elif not builder.driver:
        # An engine that does not answer: buildx cannot even tell which driver it would use.
        problem = f"there is no container engine: nothing answers at {host}"
        raise EngineError(problem, hint=UP_HINT, detail=[builder.problem] if builder.problem else ())
    else:
        problem = f"builder {builder.name} has an unknown driver, {builder.driver}"
    other = None if name is not None else _other_builder(clients, environment)
    if other is None:
        raise CannotExport(problem, clients, named=name is not None)
    name = other.name
    with suppress(ToolError):
        other = inspect_builder(clients.buildx, environment, name)
    return of_builder(clients, other, name)


def of_builder(clients: Clients, builder: Builder, name: str | None) -> Existing:
    """A builder with a BuildKit of its own, to be called by ``name``."""
    described = f"builder {builder.name} ({builder.driver})"
    return Existing(clients, name, builder.platforms, described, nodes=builder.nodes)


def inspect_builder(buildx: Sequence[str], environment: Mapping[str, str], name: str | None) -> Builder:
    """Ask buildx about a builder, by default the current one. Raises ToolError."""
    argv = [*buildx, "inspect", *([name] if name else [])]
    text = process.run(argv, env=environment, timeout=_SECONDS).text
    # The first of each: nodes have names too.
    fields = dict(reversed(re.findall(r"^(Name|Driver):[ \t]+(\S+)", text, re.MULTILINE)))
    nodes = tuple(_node(part) for part in re.split(r"^Name:", text, flags=re.MULTILINE)[2:])  # the first is its own
    words = [platform for node in nodes for platform in node.platforms]
    problem = re.search(r"^Error:[ \t]+(.+)$", text, re.MULTILINE)
    return Builder(
        fields.get("Name", name or ""),
        fields.get("Driver", ""),
        tuple(dict.fromkeys(words)),
        problem[1].strip() if problem else "",
        nodes,
    )


def _node(text: str) -> Node:
    """One node as ``buildx inspect`` prints it, from behind its ``Name:`` on."""
    line = re.search(r"^Platforms:[ \t]+(.+)$", text, re.MULTILINE)
    words = [word.strip() for word in line[1].split(",")] if line else []
    return Node(
        tuple(dict.fromkeys(word.rstrip("*") for word in words if word)),
        tuple(word[:-1] for word in words if word.endswith("*")),
    )


def endpoint(environment: Mapping[str, str], context: str | None = None) -> str:
    """Where docker's engine is, such as ``unix:///var/run/docker.sock``; by default that of the current context."""
    if context is None:
        if environment.get("DOCKER_HOST"):
            return environment["DOCKER_HOST"]
        context = environment.get("DOCKER_CONTEXT") or str(_configuration(environment).get("currentContext") or "")
    if context not in ("", "default"):
        digest = hashlib.sha256(context.encode()).hexdigest()
        described = _json(_docker_folder(environment) / "contexts" / "meta" / digest / "meta.json")
        try:
            return str(described["Endpoints"]["docker"]["Host"])
        except (KeyError, TypeError):
            return f"context {context}"
    return environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def answering(environment: Mapping[str, str]) -> bool:
    """Whether docker's current engine can be asked; for one that is not on this machine docker itself finds out."""
    host = endpoint(environment)
    if host.startswith("tcp://"):
        return _listens(host)
    return api.answers(host.removeprefix("unix://")) if host.startswith("unix://") else True


def _listens(host: str) -> bool:
    """Whether anything takes connections at ``tcp://HOST:PORT``; what is no such address docker itself refuses."""
    try:
        address = urlsplit(host)
        where = (address.hostname or "127.0.0.1", address.port or 2375)
    except ValueError:
        return True
    try:
        socket.create_connection(where, timeout=_SECONDS / 3).close()
    except OSError:
        return False
    return True


def engine_info(environment: Mapping[str, str], clients: Clients, host: str) -> Info:
    """Ask an engine about itself. Raises EngineError where it does not answer."""
    if host.startswith("unix://"):
        document = api.ask(host.removeprefix("unix://"), "/info")
    else:
        try:
            shown = process.run([*clients.docker, "info", "--format", "{{json .}}"], env=environment, timeout=_SECONDS)
            document = json.loads(shown.text)
        except (ToolError, ValueError) as error:
            detail = error.detail if isinstance(error, ToolError) else ()
            raise EngineError(f"no engine answers at {host}", hint=UP_HINT, detail=detail) from error
    if not document.get("ServerVersion"):
        raise EngineError(f"no engine answers at {host}", hint=UP_HINT, detail=document.get("ServerErrors") or ())
    store = ["driver-type", "io.containerd.snapshotter.v1"] in (document.get("DriverStatus") or [])
    return Info(str(document["ServerVersion"]), store, str(document.get("DockerRootDir") or ""))


def contents_of(root: str) -> Path | None:
    """Where an engine with the data folder ``root`` keeps blobs by digest; None where this process cannot read them.

    Its containerd is its own, the machine's, or that of a private engine.
    """
    folders = (Path(root, "containerd/daemon"), Path(root).parent / "containerd", Path("/var/lib/containerd"))
    for folder in folders if os.path.isabs(root) else ():
        contents = folder / "io.containerd.content.v1.content" / "blobs"
        if os.access(contents / "sha256", os.R_OK | os.X_OK):
            return contents
    return None


def find_clients(environment: Mapping[str, str], tools: Programs) -> Clients:
    """The user's docker and buildx, or those of ``tools``. Raises EngineError where there is no buildx."""
    docker = process.which("docker", path=environment.get("PATH")) or (str(tools.docker) if tools.present else None)
    if docker is not None and docker != str(tools.docker) and _has_plugin(docker, environment):
        return Clients((docker,), (docker, "buildx"))
    buildx = process.which("docker-buildx", path=environment.get("PATH"))
    buildx = buildx or (str(tools.buildx) if tools.present else None)
    if buildx is None:
        raise EngineError("docker has no buildx" if docker else "there is no docker command", hint=BUILDX_HINT)
    return Clients((docker or "docker",), (buildx,))


def _has_plugin(docker: str, environment: Mapping[str, str]) -> bool:
    extra = _configuration(environment).get("cliPluginsExtraDirs") or []
    folders = [_docker_folder(environment) / "cli-plugins", *map(Path, extra), *map(Path, _PLUGIN_FOLDERS)]
    if any(os.access(folder / "docker-buildx", os.X_OK) for folder in folders):
        return True
    return process.run([docker, "buildx", "version"], env=environment, timeout=_SECONDS, check=False).returncode == 0


def _has_builders(environment: Mapping[str, str]) -> bool:
    """Whether builders were ever made: only then is it worth asking without an engine."""
    folder = Path(environment.get("BUILDX_CONFIG") or _docker_folder(environment) / "buildx") / "instances"
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _other_builder(clients: Clients, environment: Mapping[str, str]) -> Builder | None:
    """The best builder with a BuildKit of its own, where the current one has none: one that runs before others."""
    argv = [*clients.buildx, "ls", "--format", "{{json .}}"]
    shown = process.run(argv, env=environment, timeout=_SECONDS, check=False)
    stopped = None
    for line in shown.text.splitlines():
        try:
            document = json.loads(line)
            found = Builder(str(document["Name"]), str(document["Driver"]), tuple(_platforms(document)))
            running = any(node.get("Status") == "running" for node in document.get("Nodes") or [])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if found.driver in _OWN_BUILDKIT:
            if running:
                return found
            stopped = stopped or found
    return stopped


def _platforms(document: dict[str, Any]) -> Iterator[str]:
    for node in document.get("Nodes") or []:
        for platform in node.get("Platforms") or []:
            yield platform if isinstance(platform, str) else f"{platform['os']}/{platform['architecture']}"


def _nothing(environment: Mapping[str, str]) -> EngineError:
    """The error for no engine, with the reason where something was meant to be there."""
    host = endpoint(environment)
    path = Path(host.removeprefix("unix://"))
    if host != "unix:///var/run/docker.sock" or os.path.exists(path):
        refused = os.path.exists(path) and not os.access(path, os.W_OK)
        reason = f"{path} may not be used by this user" if refused else f"nothing answers at {host}"
        return EngineError(f"there is no container engine: {reason}", hint=UP_HINT)
    return EngineError("there is no container engine", hint=UP_HINT)


def _docker_folder(environment: Mapping[str, str]) -> Path:
    return Path(
        environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or os.path.expanduser("~")) / ".docker"
    )


def _configuration(environment: Mapping[str, str]) -> dict[str, Any]:
    return _json(_docker_folder(environment) / "config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
