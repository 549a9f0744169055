"""``buildopt engine``: a private Docker engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildopt.commands.common import Output, output_options
from buildopt.commands.engine_config import config
from buildopt.errors import EngineError

if TYPE_CHECKING:
    from buildopt.engine.connection import Engine


def _dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="The private engine of this folder; those of different folders run side by side.",
    )(function)


@click.group()
def engine() -> None:
    """A Docker engine that needs nothing installed: up, down, status, prune; config for several machines.

    On Debian and Ubuntu, as root. Nothing is installed on the system, and `down` leaves nothing behind but the cache in
    the engine's folder. Where a usable engine is already there, it is used and never touched.
    """


@engine.command(epilog="Example: buildopt engine up && buildopt build-once --platforms amd64,arm64")
@_dir_option
@click.option("--private", is_flag=True, help="Start a private engine even where another one can be used.")
@click.option("--mirror", "mirrors", multiple=True, metavar="URL", help="Registry to ask before Docker Hub (several).")
@output_options()
def up(folder: Path | None, private: bool, mirrors: tuple[str, ...], output: Output) -> None:
    """Make sure that there is an engine: use the one that is there, or start a private one.

    --dir and --mirror are about a private engine and so imply --private.
    """
    from buildopt.engine import connection, daemon
    from buildopt.engine.folders import Folders

    found = None
    if not (private or mirrors or folder):
        found = _existing(output)
    if found is None:
        folders = Folders.at(folder)
        daemon.up(folders, mirrors=mirrors, say=output.message)
        found = connection.private(folders)
        if folder is not None and folders != Folders.at():
            output.message(f"for builds with it: export DOCKER_HOST={found.environment['DOCKER_HOST']}")
    if output.json:
        output.result(json.dumps({"version": 1, **_document(found)}) + "\n")
    else:
        output.result(f"{_line(found)}\n")


@engine.command(epilog="Example: buildopt engine status --format json")
@_dir_option
@output_options()
def status(folder: Path | None, output: Output) -> int:
    """Show which engine builds use, what it can build and how much it keeps. Exit code 3 where there is none."""
    from buildopt.engine import connection
    from buildopt.engine.folders import Folders

    folders = Folders.at(folder)
    try:
        found = connection.private(folders) if folder else connection.find()
    except EngineError as error:
        if output.json:
            output.result(json.dumps({"version": 1, "running": False, "reason": error.message}) + "\n")
        else:
            output.result(f"{error.message}\n")
            output.message(f"  hint: {error.hint}")
        return error.exit_code
    document, lines = _document(found), [_line(found)]
    if found.private:
        from buildopt.engine import usage

        used = usage.usage(folders)
        document |= {"folder": str(folders.root), "log": str(folders.log), "cache_bytes": used.cache}
        document |= {"image_bytes": used.images, "disk_free_bytes": used.disk_free}
        lines.append(f"build cache {size(used.cache)}, images {size(used.images)}, {size(used.disk_free)} free on disk")
    output.result(json.dumps({"version": 1, **document}) + "\n" if output.json else "\n".join(lines) + "\n")
    return 0


@engine.command(epilog="Example: buildopt engine down")
@_dir_option
@output_options()
def down(folder: Path | None, output: Output) -> None:
    """End the private engine and undo all that it changed on the machine; its cache stays."""
    from buildopt.engine import daemon
    from buildopt.engine.folders import Folders

    ended = daemon.down(Folders.at(folder))
    if output.json:
        output.result(json.dumps({"version": 1, "ended": ended}) + "\n")
    else:
        output.result("the private engine is down\n" if ended else "no private engine was up\n")


@engine.command(epilog="Example: buildopt engine prune --all")
@_dir_option
@click.option("--all", "everything", is_flag=True, help="Also what later builds would use; works while it is down too.")
@output_options()
def prune(folder: Path | None, everything: bool, output: Output) -> None:
    """Free the private engine's unused build cache and images, and say how much that was."""
    from buildopt.engine import usage
    from buildopt.engine.folders import Folders

    freed = usage.prune(Folders.at(folder), everything=everything)
    if output.json:
        document = {"version": 1, "cache_bytes": freed.cache, "image_bytes": freed.images}
        output.result(json.dumps(document) + "\n")
    else:
        output.result(f"freed {size(freed.cache)} of build cache and {size(freed.images)} of images\n")


engine.add_command(config)


def _existing(output: Output) -> Engine | None:
    """The engine that builds would use now. One that is there but no good is worth a message."""
    from buildopt.engine import connection

    try:
        return connection.find()
    except EngineError as error:
        if not error.message.startswith("there is no"):
            output.message(error.message)
        return None


def _document(found: Engine) -> dict[str, object]:
    return {
        "running": True,
        "private": found.private,
        "description": found.description,
        "builder": found.builder,
        "platforms": list(found.platforms),
        "docker_host": found.environment.get("DOCKER_HOST"),
    }


def _line(found: Engine) -> str:
    plain = [
        platform for platform in found.platforms if not platform.startswith("linux/amd64/")
    ]  # amd64 implies v2, v3
    return f"{found.description}: {', '.join(plain) or 'its platforms are known after its first build'}"


def size(count: float) -> str:
    """Bytes for people, such as ``1.5 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
