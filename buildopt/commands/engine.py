"""``buildopt engine``: a private Docker engine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from buildopt.commands.common import Output, output_options
from buildopt.engine import connection
from buildopt.errors import EngineError

_DIR = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the engine; several engines in different folders run side by side.",
)


@click.group()
def engine() -> None:
    """A private Docker engine that needs nothing installed: up, down, status, prune.

    On Debian and Ubuntu, as root. Nothing is installed on the system, and `down` leaves nothing behind but the build
    cache in its folder. Where a usable engine is already there, it is used and never touched.
    """


@engine.command(epilog="Example: buildopt engine up && buildopt build-once --platforms amd64,arm64")
@_DIR
@click.option("--private", is_flag=True, help="Start a private engine even if another one can be used.")
@click.option("--mirror", "mirrors", multiple=True, metavar="URL", help="Registry to ask before Docker Hub (several).")
@output_options()
def up(folder: Path | None, private: bool, mirrors: tuple[str, ...], output: Output) -> None:
    """Make sure that there is an engine: use the one that is there, or start a private one."""
    from buildopt.engine import daemon
    from buildopt.engine.folders import Folders

    found = None
    if not private and not mirrors and folder is None:
        try:
            found = connection.find(folder=folder)
        except EngineError:
            found = None
    if found is None:
        folders = Folders.at(folder)
        daemon.up(folders, mirrors=mirrors, say=output.message)
        found = connection.private(folders)
    if output.json:
        output.result(json.dumps({"version": 1, **describe(found)}) + "\n")
    else:
        output.result(f"using {found.description}: {', '.join(found.platforms)}\n")


def describe(found: connection.Engine) -> dict[str, object]:
    """An engine as JSON."""
    return {
        "running": True,
        "private": found.private,
        "description": found.description,
        "builder": found.builder,
        "platforms": list(found.platforms),
        "environment": {name: found.environment[name] for name in ("DOCKER_HOST",) if name in found.environment},
    }


@engine.command()
@_DIR
@output_options()
def down(folder: Path | None, output: Output) -> None:
    """End the private engine and undo all that it changed on the machine; its build cache stays."""
    from buildopt.engine import daemon
    from buildopt.engine.folders import Folders

    ended = daemon.down(Folders.at(folder))
    if output.json:
        output.result(json.dumps({"version": 1, "ended": ended}) + "\n")
    else:
        output.result("the private engine is down\n" if ended else "no private engine was up\n")
