"""Locks on a layout folder: one writer, any number of readers. Nothing is left behind; they end with the process.

The folder itself is locked against a second writer. Its ``blobs`` folder is locked by readers, so that a build that
finishes meanwhile leaves the blobs of the image being read where they are.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildopt.errors import ArtifactError

_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What is said of a path where no folder can be: whoever opens it next says so better."""


@contextmanager
def writing(folder: Path) -> Iterator[bool]:
    """Keep other writers out of a layout folder. Yields False, at once, where another one has it."""
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        yield held


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Keep the blobs of the layout at ``path`` from being pruned. For a tar it does nothing."""
    with _locked(path / "blobs", fcntl.LOCK_SH):
        yield


@contextmanager
def pruning(folder: Path) -> Iterator[bool]:
    """Keep readers out while blobs are removed. Yields False, at once, where somebody reads."""
    with _locked(folder / "blobs", fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        yield held


@contextmanager
def _locked(folder: Path, operation: int) -> Iterator[bool]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise ArtifactError(f"{folder} cannot be read: {error.strerror}", hint="check its permissions") from error
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
