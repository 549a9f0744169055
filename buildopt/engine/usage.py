"""What a private engine keeps on disk, and freeing it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from buildopt.engine import api, cleanup, connection, packages
from buildopt.engine.folders import Folders
from buildopt.errors import EngineError

_SECONDS = 600.0  # looking through or removing many gigabytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of build cache and images, and what the disk has left."""

    cache: int
    images: int
    disk_free: int


@dataclass(frozen=True, slots=True)
class Freed:
    """Bytes that were freed."""

    cache: int
    images: int


def usage(folders: Folders) -> Usage:
    """What the running private engine keeps. Raises EngineError where it does not answer."""
    from tenacity import retry, retry_if_exception_message, stop_after_attempt, wait_fixed

    # The engine counts snapshots while builds end theirs, and fails on one that is gone by then.
    again = retry(
        retry=retry_if_exception_message(match=r".*NotFound: snapshot"),
        stop=stop_after_attempt(5),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    document = again(api.ask)(folders.socket, f"{_version(folders)}/system/df", timeout=_SECONDS)
    cache = sum(int(record.get("Size") or 0) for record in document.get("BuildCache") or [])
    return Usage(cache, int(document.get("LayersSize") or 0), shutil.disk_usage(folders.root).free)


def prune(folders: Folders, *, everything: bool = False) -> Freed:
    """Free build cache and images that nothing uses; with ``everything``, also what later builds would still use.

    An engine that is down can only lose everything. Raises EngineError where it is down and that was not asked for.
    """
    if connection.running(folders) is None:
        if not everything:
            raise EngineError(
                f"no private engine is up in {folders.root}",
                hint="run: buildopt engine up --private, or remove everything with: buildopt engine prune --all",
            )
        return Freed(_remove_data(folders), 0)
    version = _version(folders)
    cache = api.ask(folders.socket, f"{version}/build/prune?all={int(everything)}", method="POST", timeout=_SECONDS)
    dangling = "false" if everything else "true"
    filters = f"%7B%22dangling%22%3A%5B%22{dangling}%22%5D%7D"  # {"dangling":["true"]}
    images = api.ask(folders.socket, f"{version}/images/prune?filters={filters}", method="POST", timeout=_SECONDS)
    return Freed(int(cache.get("SpaceReclaimed") or 0), int(images.get("SpaceReclaimed") or 0))


def _version(folders: Folders) -> str:
    """The path of the API's version 1.44, whose answers are read here, or of an older engine's own."""
    own = str(api.ask(folders.socket, "/version").get("ApiVersion", "1.44"))
    return f"/v{min((own, '1.44'), key=lambda version: int(version.rpartition('.')[2]))}"


def _remove_data(folders: Folders) -> int:
    """Remove all that an engine keeps while it is down."""
    if not folders.data.exists():
        return 0
    packages.require_root()
    with packages.locked(folders.lock):
        cleanup.clear(folders)
        size = _size(folders.data)
        shutil.rmtree(folders.data)
    return size


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
