"""Blobs of an engine on this machine: copied by the kernel, rather than sent through the engine's API.

The engine's store keeps every blob under its digest, as a layout does. Links to its large blobs in the staging layout
make BuildKit take them for sent already; those that the image turns out to need are copied afterwards, and checked.
It is of no account whose store it is: what has the right digest is the right blob.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from buildopt.build.artifact import file_digest, needed, writes
from buildopt.errors import ArtifactError
from buildopt.oci import layout as oci
from buildopt.oci.descriptor import Descriptor

# Sending a smaller one takes no longer than looking at it.
SMALLEST = 1 << 20
# Of a store with more blobs than that the newest are offered; fewer where links are symbolic, for those take longer.
MOST = 4096
_MOST_SYMBOLIC = 256
_WORKERS = 4


@contextmanager
def offering(store: Path | None, layout: Path) -> Iterator[set[str]]:
    """``offer`` beside the block, in which BuildKit builds: what it exports in the end it looks for only then.

    The set has what was offered once the block has ended.
    """
    offered: set[str] = set()
    if store is None:
        yield offered
        return
    thread = threading.Thread(target=lambda: offered.update(offer(store, layout)))
    thread.start()
    try:
        yield offered
    finally:
        thread.join()


def offer(store: Path, layout: Path) -> frozenset[str]:
    """Link the large blobs of an engine's ``store`` (a folder such as ``…/blobs``) into a layout; return which."""
    folder = layout / "blobs" / "sha256"
    found = []
    try:
        os.makedirs(folder, exist_ok=True)
        with os.scandir(store / "sha256") as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_size >= SMALLEST and re.fullmatch(r"[0-9a-f]{64}", entry.name):
                    found.append((status.st_mtime_ns, entry.name))
        near = os.stat(store / "sha256").st_dev == os.stat(folder).st_dev
    except OSError:  # it may be emptied meanwhile, or not be for us to read
        return frozenset()
    names = [name for _, name in sorted(found, reverse=True)[: MOST if near else _MOST_SYMBOLIC]]
    return frozenset(name for name in names if _linked(store / "sha256" / name, folder / name, near))


def _linked(blob: Path, link: Path, near: bool) -> bool:
    try:
        if near:
            os.link(blob, link)
        else:
            os.symlink(blob, link)
    except OSError:  # such as one that the last artifact has too
        return False
    return True


def take(layout: Path, offered: frozenset[str]) -> int:
    """Copy those blobs ``offered`` to a layout that its image needs, drop the links to the others; return how many.

    Raises ArtifactError where one is gone or not what its name says, ToolError where the copy cannot be written.
    """
    if not offered:
        return 0
    blobs = needed(oci.resolve(oci.open_artifact(layout)))
    wanted = [blob for digest, blob in blobs.items() if digest.algorithm == "sha256" and digest.hex in offered]
    for name in offered - {blob.digest.hex for blob in wanted}:
        os.unlink(layout / "blobs" / "sha256" / name)
    if not wanted:
        return 0
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool, writes(layout):
        for done in [pool.submit(_take, layout, blob) for blob in wanted]:
            done.result()
    return len(wanted)


def received(layout: Path) -> int:
    """Bytes that BuildKit has sent to a layout so far, which it does not tell of itself."""
    count = 0
    with suppress(OSError):  # files come and go while it is looked at
        for path in (*(layout / "ingest").glob("*/data"), *(layout / "blobs" / "sha256").iterdir()):
            status = path.lstat()
            count += status.st_size if status.st_nlink == 1 else 0
    return count


def _take(layout: Path, blob: Descriptor) -> None:
    path = layout / "blobs" / "sha256" / blob.digest.hex
    temporary = path.with_name(f"{path.name}.copy")
    try:
        shutil.copyfile(path, temporary)
    except FileNotFoundError as error:
        raise ArtifactError(f"the engine removed {blob.digest} meanwhile", hint="run the build again") from error
    if file_digest(temporary, "sha256") != blob.digest:
        raise ArtifactError(
            f"the engine's copy of {blob.digest} is damaged", hint="clear its cache: docker buildx prune --all"
        )
    os.replace(temporary, path)
