"""A temporary copy of a build context for each side, so that the user's own files are never written to."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.context import Ignored, read_patterns
from buildopt.dockerfile.passes.result import SecondFile
from buildopt.errors import ToolError, UsageError
from buildopt.source import MAX_BYTES, Source

IGNORE = ".dockerignore"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: ``name`` is ``before`` or ``after``, ``source`` its Dockerfile, ``second`` other files that it
    brings, by their paths as the user has them. ``shown`` is how people are told of the Dockerfile."""

    name: str
    shown: str
    source: Source
    second: Mapping[Path, bytes]


def sides(before: Source, after: Source, files: Sequence[SecondFile]) -> tuple[Side, Side]:
    """Both sides of a proof; only the new one has the second files."""
    second = {Path(os.path.abspath(file.path)): file.text.encode("utf-8", "surrogateescape") for file in files}
    return Side("before", before.path, before, {}), Side("after", f"{before.path} as rewritten", after, second)


def own_ignore(dockerfile: Path) -> Path:
    """Where the ignore file lies that is for one Dockerfile only."""
    return dockerfile.with_name(f"{dockerfile.name}{IGNORE}")


class Workspace:
    """One side's copy of the context, and its Dockerfile. ``context`` is None where there is none."""

    def __init__(self, folder: Path, side: Side, context: Path | None) -> None:
        self.side, self.origin = side, None if context is None else Path(os.path.abspath(context))
        self.context = folder / side.name / "context"
        self.dockerfile = folder / side.name / "definition" / (Path(side.source.path).name or "Dockerfile")
        self._touched: set[str] = set()
        os.makedirs(self.context)
        os.makedirs(self.dockerfile.parent)
        self.write_dockerfile(side.source)
        ignore = own_ignore(Path(os.path.abspath(side.source.path)))
        data = side.second.get(ignore)
        if data is None and self.origin is not None:
            data = _read(ignore)
        if data is not None:
            own_ignore(self.dockerfile).write_bytes(data)
        if self.origin is None:
            return
        # What both leave out need not be copied; where the new side leaves out more, all is.
        ignored = None if side.second else patterns(data if data is not None else _read(self.origin / IGNORE))
        _copy(self.origin, self.context, ignored)
        for path, text in side.second.items():
            if path != ignore and self.origin in path.parents:
                _put(self.context / path.relative_to(self.origin), text)

    def write_dockerfile(self, source: Source) -> None:
        """Put another text in the Dockerfile's place."""
        self.dockerfile.write_bytes(source.to_bytes())

    def change(self, name: str, data: bytes) -> None:
        """Write a file of the copy until ``restore``."""
        self._touched.add(name)
        _put(self.context / name, data)

    def read(self, name: str) -> bytes:
        """A file of the copy; empty where there is none."""
        return _read(self.context / name) or b""

    def restore(self) -> None:
        """Make the copy what it was, Dockerfile included."""
        self.write_dockerfile(self.side.source)
        for name in self._touched:
            path = self.context / name
            path.unlink(missing_ok=True)
            if self.origin is not None and (self.origin / name).is_file():
                _link(self.origin / name, path)
        self._touched.clear()


def patterns(data: bytes | None) -> Ignored | None:
    """An ignore file's patterns; None where it leaves nothing out, or Docker would refuse it."""
    if not data:
        return None
    found = read_patterns(data.decode("utf-8-sig", "surrogateescape"))
    return Ignored(IGNORE, tuple(found)) if found else None


def files_below(context: Path, ignored: Ignored | None) -> Iterator[str]:
    """The files of a context that are sent to a build, as paths relative to it, in order."""
    for folder, folders, names in os.walk(context):
        base = os.path.relpath(folder, context)
        own = "" if base == "." else f"{base}/"
        folders[:] = sorted(name for name in folders if not (ignored and ignored.hides(own + name)))
        for name in sorted(names):
            if not (ignored and ignored.leaves_out(own + name)):
                yield own + name


def _copy(origin: Path, target: Path, ignored: Ignored | None) -> None:
    """Copy a folder with hard links where they can be had: no copied file is ever written to."""
    try:
        for folder, folders, names in os.walk(origin):
            base = os.path.relpath(folder, origin)
            own = "" if base == "." else f"{base}/"
            for name in list(folders):
                if ignored is not None and ignored.hides(own + name):
                    folders.remove(name)
                elif os.path.islink(os.path.join(folder, name)):
                    os.symlink(os.readlink(os.path.join(folder, name)), target / own / name)
                else:
                    (target / own / name).mkdir()
            for name in names:
                if name == IGNORE or not (ignored is not None and ignored.leaves_out(own + name)):
                    _link(Path(folder) / name, target / own / name)
        for folder, _, _ in os.walk(origin, topdown=False):
            copy = target / os.path.relpath(folder, origin)
            if copy.is_dir() and not copy.is_symlink():
                shutil.copystat(folder, copy)
    except OSError as error:
        raise ToolError(
            f"the build context cannot be copied: {error.filename}: {error.strerror}",
            hint="check permissions and free space; TMPDIR may name another disk",
        ) from error


def _link(path: Path, target: Path) -> None:
    kind = os.lstat(path).st_mode
    if stat.S_ISLNK(kind):
        os.symlink(os.readlink(path), target)
    elif stat.S_ISREG(kind):
        try:
            os.link(path, target)
        except OSError:  # another disk, or links to others' files are forbidden
            shutil.copy2(path, target)


def _put(path: Path, data: bytes) -> None:
    """Write a file anew: the old one may be a link to the user's own."""
    mode = None
    if path.is_file():
        mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if mode is not None:
        path.chmod(mode)


def _read(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="this is hardly a text file")
    return data
