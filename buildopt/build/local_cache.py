"""A cache in a folder (``--cache local=DIR``): one build at a time, and no larger than what it holds.

BuildKit replaces index.json and leaves everything that the one before referred to where it is, for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from buildopt.build.cache import Cache
from buildopt.errors import BuildoptError, ToolError
from buildopt.oci import lock

OWNER = ".buildopt-cache"
"""File in the folder that says which build wrote it last."""
_DOCUMENT = 16 << 20


@contextmanager
def held(caches: Sequence[Cache]) -> Iterator[None]:
    """Keep other builds out of the folders for as long as the block runs, then remove what is no longer needed there.

    Raises BuildoptError where another build has one, ToolError where it cannot be made.
    """
    folders = list(dict.fromkeys(entry.folder for entry in caches if entry.folder is not None))
    with ExitStack() as stack:
        for folder in folders:
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise ToolError(
                    f"the cache {folder} cannot be made: {error.strerror}", hint="choose another folder with --cache"
                ) from error
            if not stack.enter_context(lock.writing(folder)):
                raise BuildoptError(
                    f"another build is using the cache in {folder}", hint="give each build a folder of its own"
                )
        yield
        for folder in folders:
            prune(folder)


def owned(folder: Path, identity: str) -> str:
    """Note whose cache it is; the name of the build that wrote it before, where that was another one."""
    path = folder / OWNER
    before = ""
    with suppress(OSError):
        before = path.read_text("utf-8", "replace").strip()
    if before != identity:
        with suppress(OSError):
            path.write_text(f"{identity}\n")
    return before if before != identity else ""


def prune(folder: Path) -> int:
    """Remove the blobs that index.json does not lead to, and what was never finished; return how many bytes went."""
    try:
        found = _mentioned((folder / "index.json").read_bytes())
    except OSError:
        return 0
    keep: set[str] = set()
    pending = list(found)
    freed = 0
    with suppress(OSError):
        while pending:
            digest = pending.pop()
            if digest in keep:
                continue
            keep.add(digest)
            path = folder / "blobs" / "sha256" / digest
            if path.exists() and path.stat().st_size <= _DOCUMENT and path.open("rb").read(1) == b"{":
                pending += _mentioned(path.read_bytes())
        for path in (folder / "blobs" / "sha256").iterdir():
            if path.name not in keep and re.fullmatch(r"[0-9a-f]{64}", path.name):
                freed += path.stat().st_size
                path.unlink()
    return freed


def _mentioned(data: bytes) -> list[str]:
    return [digest.decode() for digest in re.findall(rb"sha256:([0-9a-f]{64})", data)]
