"""A builder of our own, for engines that cannot export OCI images by themselves: made once, then found by its name."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from buildopt import process
from buildopt.engine import existing
from buildopt.engine.existing import Clients, Existing
from buildopt.errors import EngineError, ToolError

NAME = "buildopt"
DRIVER = "docker-container"
_SECONDS = 600.0  # for the engine to fetch BuildKit's image and start it
_HINT = (
    "turn on the feature containerd-snapshotter in /etc/docker/daemon.json, let the engine reach Docker Hub "
    "(moby/buildkit), or: buildopt engine up --private"
)


def creating(clients: Clients) -> list[str]:
    """The command that makes the builder and starts it."""
    return [*clients.buildx, "create", "--name", NAME, "--driver", DRIVER, "--bootstrap"]


def make(clients: Clients, environment: Mapping[str, str], problem: str, say: Callable[[str], None]) -> Existing:
    """Make the builder ``buildopt`` where docker's engine is now. ``problem`` says why it takes one, ``say`` is told.

    Raises EngineError where that fails; nothing is left behind then.
    """
    argv = creating(clients)
    say(f"{problem}: making a builder that can, once: {shlex.join(['docker', 'buildx', *argv[len(clients.buildx) :]])}")
    try:
        process.run(argv, env=environment, timeout=_SECONDS)
    except ToolError as error:
        if "existing instance" in " ".join(error.detail):  # another build was faster
            return _made(clients, environment)
        process.run([*clients.buildx, "rm", "--force", NAME], env=environment, timeout=_SECONDS, check=False)
        raise EngineError(
            f"{problem}, and a builder that can could not be made", hint=_HINT, detail=error.detail or [error.message]
        ) from error
    return _made(clients, environment)


def _made(clients: Clients, environment: Mapping[str, str]) -> Existing:
    try:
        found = existing.inspect_builder(clients.buildx, environment, NAME)
    except ToolError as error:
        raise EngineError(
            f"the builder {NAME} was made but does not answer",
            hint=f"docker buildx inspect {NAME}",
            detail=error.detail,
        ) from error
    return existing.of_builder(clients, found, found.name)
