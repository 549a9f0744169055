"""Where the record of the gates is kept: ``gates.json`` in a layout folder, or the entry of that name in a tar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildopt.build import artifact, tarball
from buildopt.errors import BuildoptError
from buildopt.oci import lock
from buildopt.oci.gate_record import SKIPPED, GateRecord, GateResult
from buildopt.oci.layout import GATES, Image, open_artifact, resolve


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one artifact, at ``path`` (a layout folder or a tar). ``kept`` are results of gates that do not run
    this time; ``layout`` is the folder that a tar was made of, if it still holds the same image."""

    path: Path
    digest: str
    kept: tuple[GateResult, ...] = ()
    layout: Path | None = None

    def write(self, gates: tuple[GateResult, ...]) -> None:
        """Put what is known of the gates in place, whole or not at all. Raises ToolError where it cannot be written."""
        known = {gate.key for gate in self.kept}
        told = (gate for gate in gates if gate.result != SKIPPED or gate.key not in known)
        record = GateRecord(self.digest, (*self.kept, *told))
        with artifact.writes(self.path):
            if self.path.is_dir():
                write_folder(self.path, record)
                return
            tarball.with_record(self.path, record.timeless().data())
            if self.layout is not None:
                write_folder(self.layout, record)
                tarball.stamp(self.layout, self.path)


def write_folder(folder: Path, record: GateRecord) -> None:
    """Put a record into a layout folder. Raises OSError."""
    artifact.replace(folder / GATES, record.data(), folder / f".{GATES}.partial")


def kept_layout(tar: Path, image: Image) -> Path | None:
    """The folder beside a tar that holds the very same image, if there is one."""
    folder = tar.with_name(f".{tar.name}.layout")
    try:
        return folder if folder.is_dir() and resolve(open_artifact(folder)).digest == image.digest else None
    except (BuildoptError, OSError):
        return None


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Keep builds out of a layout folder meanwhile. Raises BuildoptError where one is at work."""
    if folder is None:
        yield
        return
    with lock.writing(folder) as held:
        if not held:
            raise BuildoptError(f"a build or another test is at work in {folder}", hint="wait for it to end")
        yield
