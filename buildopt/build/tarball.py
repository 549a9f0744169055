"""A layout folder as a tar: the same bytes for the same image, ``index.json`` first, so that a reader of a stream
knows at once what comes. Bytes are moved by the kernel where it can."""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from buildopt.build.artifact import needed, writes
from buildopt.build.output import STAMP, partial
from buildopt.errors import ArtifactError
from buildopt.oci import gate_record, tarfile_index
from buildopt.oci import layout as oci

_BLOCK = 1 << 20
# What the kernel answers where it cannot copy between these two files: plain reads and writes do the rest.
_NOT_SO = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ESPIPE})


def write_file(layout: Path, image: oci.Image, path: Path) -> bool:
    """Write the tar beside ``path``, then put it in place by rename. Raises ToolError, such as for a full disk.

    Returns False where the tar of this very image is already there, untouched since it was written.
    """
    if _stamp(layout, path) == _read(layout / STAMP):
        return False
    temporary = partial(path)
    with writes(path):
        os.makedirs(path.parent, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write(layout, image, descriptor)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        stamp(layout, path)
    return True


def stamp(layout: Path, path: Path) -> None:
    """Note that the tar at ``path`` is the one of ``layout``, so that it is not written again for nothing."""
    (layout / STAMP).write_bytes(_stamp(layout, path))


def _stamp(layout: Path, path: Path) -> bytes:
    """What tells a tar from any other, and from itself once it was touched; empty where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return b""
    fields = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return " ".join(map(str, fields)).encode() + b"\n" + _read(layout / "index.json") + (_record(layout) or b"")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b"-"


def _record(layout: Path) -> bytes | None:
    """The record of the gates as a tar has it: without times, so that equal images and verdicts give equal bytes."""
    data = oci.FolderSource(layout, b"").gates()
    try:
        return None if data is None else gate_record.parse(data).timeless().data()
    except ArtifactError:
        return data  # damaged: the tar is to refuse as well


def write(layout: Path, image: oci.Image, out: int) -> None:
    """Write the tar of ``image`` to the file descriptor ``out``, which may be a pipe.

    A record of the gates in ``layout`` goes with it, right after oci-layout.
    """
    files = {name: (layout / name).read_bytes() for name in ("index.json", "oci-layout")}
    record = _record(layout)
    files |= {oci.GATES: record} if record is not None else {}
    write_source(oci.FolderSource(layout, b""), image, out, files)


def write_source(source: oci.ArtifactSource, image: oci.Image, out: int, files: Mapping[str, bytes]) -> None:
    """Write a tar of ``image`` out of any artifact that holds its blobs. ``files`` come first, in their order."""
    total = 0
    for name, data in files.items():
        total += _plain(out, _header(name, len(data)) + data + _padding(len(data)))
    for name, kind in (("blobs", tarfile.DIRTYPE), *_folders(image)):
        total += _plain(out, _header(name, 0, kind))
    blobs = needed(image)
    for digest in sorted(blobs):
        size = blobs[digest].size
        total += _plain(out, _header(f"blobs/{digest.algorithm}/{digest.hex}", size))
        inline = blobs[digest].data
        if inline is not None and not source.has(digest):
            total += _plain(out, inline + _padding(size))
            continue
        with source.blob(digest) as blob:
            _copy(out, blob.fd, blob.offset, size)
        total += size + _plain(out, _padding(size))
    end = 2 * tarfile.BLOCKSIZE
    _plain(out, b"\0" * (end + -(total + end) % tarfile.RECORDSIZE))


def with_record(path: Path, record: bytes) -> None:
    """Put a record of the gates into a tar, in place of the one that it has; all else stays byte for byte.

    A new tar is written beside it and takes its place. Raises ArtifactError where it is none, OSError.
    """
    path = Path(os.path.realpath(path))
    temporary = partial(path)
    with open(path, "rb", buffering=0) as stream:
        entries, end = tarfile_index.entries_and_end(stream, path)
        after, old = entries["oci-layout"], entries.get(oci.GATES)
        start = after[0] + after[1] + len(_padding(after[1]))
        resume = start
        if old is not None:
            start, resume = old[0] - tarfile.BLOCKSIZE, old[0] + old[1] + len(_padding(old[1]))
        entry = _header(oci.GATES, len(record)) + record + _padding(len(record))
        total = start + len(entry) + end - resume
        with open(temporary, "wb", buffering=0) as out:
            try:
                os.fchmod(out.fileno(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode))
                _copy(out.fileno(), stream.fileno(), 0, start)
                _plain(out.fileno(), entry)
                _copy(out.fileno(), stream.fileno(), resume, end - resume)
                closing = 2 * tarfile.BLOCKSIZE
                _plain(out.fileno(), b"\0" * (closing + -(total + closing) % tarfile.RECORDSIZE))
            except BaseException:
                os.unlink(temporary)
                raise
    os.replace(temporary, path)


def _folders(image: oci.Image) -> Iterator[tuple[str, bytes]]:
    for algorithm in sorted({digest.algorithm for digest in needed(image)}):
        yield f"blobs/{algorithm}", tarfile.DIRTYPE


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """No times, no owners: nothing in the tar but the image."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.mode = size, kind, 0o755 if kind == tarfile.DIRTYPE else 0o444
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


def _plain(out: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]
    return len(data)


def _copy(out: int, source: int, start: int, size: int) -> None:
    """Copy ``size`` bytes from byte ``start`` of ``source`` to ``out``."""
    done = 0
    for way in (_copy_file_range, _sendfile):
        try:
            while done < size:
                count = way(out, source, start + done, size - done)
                if not count:
                    break
                done += count
        except OSError as error:
            if error.errno not in _NOT_SO:
                raise
    while done < size:
        block = os.pread(source, min(_BLOCK, size - done), start + done)
        if not block:
            raise OSError(errno.EIO, "a blob became shorter while it was read")
        done += _plain(out, block)


def _copy_file_range(out: int, source: int, offset: int, count: int) -> int:
    if not hasattr(os, "copy_file_range"):  # Linux only
        return 0
    return os.copy_file_range(source, out, count, offset_src=offset)


def _sendfile(out: int, source: int, offset: int, count: int) -> int:
    return os.sendfile(out, source, offset, min(count, 1 << 30))
