"""Where an artifact goes: ``-o`` as data, checked before anything is built."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from buildopt.errors import UsageError

STAGING = ".staging"
"""Folder inside a live layout in which a build works."""
STAMP = ".tar"
"""File inside the layout beside a tar that says which tar was made of it."""
HOME = ".buildopt"
"""Folder for what buildopt makes in a project."""
_OWN_NAMES = frozenset({STAGING, STAMP, "blobs", "ingest", "index.json", "oci-layout", ".gitignore", "gates.json"})


@dataclass(frozen=True, slots=True)
class Output:
    """Where the artifact goes: ``kind`` is ``folder``, ``tar`` or ``stdout``.

    ``layout`` is the live layout folder: ``path`` itself, for a tar the folder kept beside it, for stdout None
    (a temporary one). ``redirected`` is the file that stdout was redirected to.
    """

    kind: str
    path: Path
    layout: Path | None
    redirected: Path | None = None

    @property
    def written(self) -> tuple[Path, ...]:
        """Every path that a build may write."""
        if self.layout is None:
            return () if self.redirected is None else (self.redirected,)
        return (self.layout,) if self.kind == "folder" else (self.path, self.layout, partial(self.path))


def partial(tar: Path) -> Path:
    """The temporary name of a tar that is being written."""
    return tar.with_name(f".{tar.name}.partial")


def parse_output(text: str, folder: Path) -> Output:
    """Read ``-o``: a layout folder, a name ending in .tar, or ``-``. ``folder`` is what it is relative to.

    Raises UsageError where something else is already there.
    """
    if text == "-":
        return Output("stdout", Path("-"), None, _file_of_stdout())
    path = Path(os.path.abspath(folder / text))
    if path.name.endswith(".tar") and not path.is_dir():
        layout = path.with_name(f".{path.name}.layout")
        check_folder(layout)
        if path.exists() and not path.is_file():
            raise UsageError(f"{text} is not a plain file", hint="choose another path with -o")
        return Output("tar", path, layout)
    real = Path(os.path.realpath(path))
    check_folder(real, text)
    return Output("folder", path, real)


def _file_of_stdout() -> Path | None:
    try:
        plain = stat.S_ISREG(os.fstat(1).st_mode)
        return Path(os.readlink("/proc/self/fd/1")) if plain else None
    except OSError:  # closed, or no /proc
        return None


def check_folder(folder: Path, shown: str = "") -> None:
    """Raise UsageError unless a folder is absent, empty or a layout (even one that a build left unfinished)."""
    shown = shown or str(folder)
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if nearest == folder:
            raise UsageError(f"{shown} is a file", hint="-o takes a folder, a name ending in .tar, or -") from None
        if not nearest.is_dir():
            raise UsageError(f"{shown} cannot be made: {nearest} is a file", hint="choose another path") from None
        return
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}", hint="check its permissions") from error
    if names and "oci-layout" not in names and not {"index.json", "blobs"} <= names and not names <= _OWN_NAMES:
        raise UsageError(
            f"{shown} is neither empty nor an OCI layout; nothing was written",
            hint="choose another folder with -o, or empty that one",
        )
