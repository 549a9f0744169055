"""Where records lie: ``.buildopt/records`` of the working folder, readable by its owner only.

``<id>.json`` is a record, ``trees/<name>`` a listing of copied files that records share, ``salt`` what the values of
secret-sounding arguments are hashed with. Whole files only (written aside, then renamed); the oldest go when there are
too many.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from buildopt.errors import ArtifactError, UsageError
from buildopt.history.records import Record, from_json

HOME = ".buildopt"
MAX_RECORDS = 200
MAX_BYTES = 50 << 20
"""All records and listings together."""
MAX_RECORD = 16 << 20
MAX_TREE = 256 << 20
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_SALT_BYTES = 32


@dataclass(slots=True)
class Store:
    """The records of one folder. ``damaged`` are the files that were passed over while reading."""

    folder: Path
    damaged: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, working_folder: Path) -> Store:
        """The store of a working folder; nothing is made before something is written."""
        return cls(working_folder / HOME / "records")

    def ids(self) -> list[str]:
        """All ids, the newest first."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return sorted(
            (name[:-5] for name in names if name.endswith(".json") and _ID.fullmatch(name[:-5])), reverse=True
        )

    def records(self) -> Iterator[Record]:
        """Every record that can be read, the newest first."""
        for name in self.ids():
            record = self._read(self.folder / f"{name}.json")
            if record is not None:
                yield record

    def _read(self, path: Path) -> Record | None:
        try:
            return read(path)
        except ArtifactError:
            self.damaged.append(path)
            return None

    def find(self, text: str, folder: Path) -> Record:
        """The record that a user means: an id, the beginning of one, its last part, or a path (from ``folder``).

        Raises UsageError where it is none or several, ArtifactError where it is damaged.
        """
        path = folder / text
        if "/" in text or text.endswith(".json"):
            if not path.is_file():
                shown = text if text.isprintable() else repr(text)
                raise UsageError(f"there is no record {shown}", hint="see .buildopt/records for what there is")
            return read(path)
        found = [name for name in self.ids() if name.startswith(text) or name.partition("-")[2].startswith(text)]
        if text in found:
            found = [text]
        if not found or not text:
            known = ", ".join(self.ids()[:3])
            hint = f"the latest are {known}" if known else "build first: buildopt build-once"
            raise UsageError(f"there is no record {text if text.isprintable() and text else repr(text)}", hint=hint)
        if len(found) > 1:
            raise UsageError(f"{text} is the beginning of {len(found)} records", hint=f"such as {', '.join(found[:3])}")
        return read(self.folder / f"{found[0]}.json")

    def write(self, record: Record, trees: Mapping[str, bytes]) -> None:
        """Keep a record and the listings that it names, then drop what is too much. Raises OSError."""
        self.prepare()
        for name, data in trees.items():
            path = self.folder / "trees" / name
            if path.exists():
                os.utime(path)  # wanted again: not to be dropped as an old one
            else:
                replace(path, zlib.compress(data, 1))
        replace(self.folder / f"{record.id}.json", record.to_json().encode())
        self.prune()

    def prepare(self) -> None:
        """Make the folder, kept out of git. Raises OSError."""
        home = self.folder.parent
        os.makedirs(self.folder / "trees", mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        if not (home / ".gitignore").exists():
            (home / ".gitignore").write_text("*\n")

    def tree(self, name: str) -> bytes | None:
        """A listing by its name; None where it is gone or damaged."""
        if not re.fullmatch(r"[0-9a-f]{16,64}", name):
            return None
        try:
            data = (self.folder / "trees" / name).read_bytes()
            reader = zlib.decompressobj()
            text = reader.decompress(data, MAX_TREE)
        except (OSError, zlib.error):
            return None
        return text if tree_name(text) == name else None

    def salt(self) -> bytes:
        """The key for hashes of secrets, made once. Raises OSError."""
        path = self.folder / "salt"
        for _ in range(2):
            with suppress(OSError):
                found = path.read_bytes()
                if len(found) == _SALT_BYTES:
                    return found
                _remove(path)
            self.prepare()
            temporary = path.with_name(f".salt.{secrets.token_hex(4)}")
            replace(temporary, secrets.token_bytes(_SALT_BYTES))
            with suppress(FileExistsError):  # of two builds at once one makes it
                os.link(temporary, path)
            _remove(temporary)
        return path.read_bytes()

    def prune(self, most: int = MAX_RECORDS, size: int = MAX_BYTES) -> int:
        """Drop the oldest records beyond ``most`` or ``size`` bytes, and listings that none names. Returns how many
        records went. The newest always stays."""
        hour_ago = time.time() - 3600
        for folder in (self.folder, self.folder / "trees"):
            for path in _files(folder, unfinished=True):
                if _modified(path) < hour_ago:  # left by a run that was killed
                    _remove(path)
        names = self.ids()
        sizes = {name: _size(self.folder / f"{name}.json") for name in names}
        trees = {path.name: path for path in _files(self.folder / "trees")}
        tree_sizes = {name: _size(path) for name, path in trees.items()}
        total = sum(sizes.values()) + sum(tree_sizes.values())
        if len(names) <= most and total <= size:
            return 0
        kept: list[str] = []
        wanted: set[str] = set()
        used = 0
        for name in names:
            record = self._read(self.folder / f"{name}.json")
            if record is None:
                continue
            new = {step.files for step in record.steps if step.files} - wanted
            used += sizes[name] + sum(tree_sizes.get(tree, 0) for tree in new)
            if kept and (len(kept) >= most or used > size):
                break
            kept.append(name)
            wanted |= new
        gone = [name for name in names if name not in kept]
        for name in gone:
            _remove(self.folder / f"{name}.json")
        for name, path in trees.items():
            # A build that runs at this moment may be about to name a fresh one.
            if name not in wanted and _modified(path) < hour_ago:
                _remove(path)
        return len(gone)


def read(path: Path) -> Record:
    """Read one record. Raises ArtifactError where it cannot be read or is none."""
    hint = "records are in .buildopt/records; a damaged one can be removed"
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_RECORD + 1)
        if len(data) > MAX_RECORD:
            raise ArtifactError(f"{path} is too large for a record", hint=hint)
        return from_json(data.decode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is no record of a build: {error}", hint=hint) from error


def new_id(seconds: float) -> str:
    """An id for a build that began at this time (seconds since 1970); it sorts by time."""
    moment = datetime.fromtimestamp(int(seconds), timezone.utc)
    fraction = int(seconds % 1 * 0x10000)
    return f"{moment:%Y%m%dT%H%M%SZ}-{fraction:04x}{secrets.token_hex(2)}"


def tree_name(data: bytes) -> str:
    """The name of a listing: a hash of what it says."""
    return hashlib.sha256(data).hexdigest()[:32]


def replace(path: Path, data: bytes) -> None:
    """Put a whole file in place at once, readable by its owner only. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _files(folder: Path, *, unfinished: bool = False) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.startswith(".") == unfinished]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
