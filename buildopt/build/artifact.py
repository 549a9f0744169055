"""Where a build's image is kept, so that the last good one is valid at every moment.

BuildKit never writes into the live layout folder. It writes into ``.staging/<run>/layout`` inside it, which starts
with links to the blobs that the live layout already has, so that they are not sent again. ``publish`` then

1. moves the new blobs into ``blobs/`` (a rename: a blob is there whole or not at all),
2. replaces ``index.json`` by rename (before: the old image; after: the new one),
3. removes the blobs that nothing refers to any more, unless somebody is reading them.

Whatever ends the process between two of these leaves a valid layout; the next run clears what was left over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from buildopt.build import provenance
from buildopt.build.output import HOME, STAGING, Output, check_folder
from buildopt.errors import ArtifactError, BuildoptError, ToolError
from buildopt.oci import gate_record, lock
from buildopt.oci import layout as oci
from buildopt.oci.descriptor import IMAGE_NAME, OCI_INDEX, REFERENCE_NAME, Descriptor, Digest
from buildopt.oci.reference import Reference

LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
_BLOCK = 1 << 20
Names = Sequence[str | Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Staging:
    """A build's own folder: BuildKit writes to ``layout``; ``folder`` has room for what else the build needs.

    ``linked`` are the live blobs that the layout started with.
    """

    live: Path
    folder: Path
    linked: frozenset[Digest]

    @property
    def layout(self) -> Path:
        """Where BuildKit writes."""
        return self.folder / "layout"

    @property
    def definition(self) -> Path:
        """Where a copy of the Dockerfile may lie; the same for each run, for provenance tells of it."""
        return self.live / STAGING / "definition"


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a build: its image, and how many blobs came new, were there already, and were removed."""

    image: oci.Image
    new: int
    kept: int
    pruned: int


Announce = Callable[[oci.ArtifactSource, oci.Image], tuple[gate_record.GateResult, ...]]


@contextmanager
def staged(output: Output) -> Iterator[Staging]:
    """Lock the live layout, clear what an interrupted run left, and make a staging folder that ends with the block.

    Raises BuildoptError where another build has the folder, ToolError where it cannot be written.
    """
    if output.layout is None:
        with tempfile.TemporaryDirectory(prefix="buildopt-") as folder, _staged(Path(folder)) as staging:
            yield staging
        return
    with writes(output.layout):
        os.makedirs(output.layout, exist_ok=True)
        _ignore_home(output.path)
    with _staged(output.layout) as staging:
        yield staging


@contextmanager
def _staged(live: Path) -> Iterator[Staging]:
    with lock.writing(live) as held:
        if not held:
            raise _held(live)
        check_folder(live)
        # A fresh name each time: a buildx that outlived its killed parent must not meet the folder of the next run.
        folder = live / STAGING / secrets.token_hex(4)
        with writes(live):
            _remove(live / STAGING)
            os.makedirs(folder / "layout" / "blobs")
            (live / STAGING / "holder").write_text(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
            linked = _link_blobs(live, folder / "layout")
        try:
            yield Staging(live, folder, linked)
        finally:
            _remove(live / STAGING)


def _held(live: Path) -> BuildoptError:
    try:
        holder = (live / STAGING / "holder").read_text()
    except OSError:
        holder = "another process"
    return BuildoptError(
        f"another build is writing to {live} ({holder})", hint="wait for it to end, or choose another path with -o"
    )


def _ignore_home(path: Path) -> None:
    """Keep a ``.buildopt`` folder out of git, wherever on the way to the artifact it stands."""
    for parent in (path, *path.parents):
        if parent.name == HOME and parent.is_dir() and not (parent / ".gitignore").exists():
            (parent / ".gitignore").write_text("*\n")


def _link_blobs(live: Path, staging: Path) -> frozenset[Digest]:
    """Give the staging layout every sound blob of the live image; return which."""
    try:
        image = oci.resolve(oci.open_artifact(live))
        published = (live / "index.json").stat().st_mtime_ns
    except (BuildoptError, OSError):
        return frozenset()  # no image yet, or a damaged one: everything is sent anew
    linked = set()
    for blob in needed(image).values():
        path = _blob(live, blob.digest)
        if not _sound(path, blob, published):
            continue
        target = _blob(staging, blob.digest)
        os.makedirs(target.parent, exist_ok=True)
        if not _link(path, target):
            break
        linked.add(blob.digest)
    return frozenset(linked)


def _sound(path: Path, blob: Descriptor, published: int) -> bool:
    """Whether a live blob is what its name says: the right size, and its bytes too if it changed after publishing."""
    try:
        status = os.lstat(path)
        if status.st_size != blob.size or path.is_symlink():
            return False
        return status.st_mtime_ns <= published or file_digest(path, blob.digest.algorithm) == blob.digest
    except OSError:
        return False


def file_digest(path: Path, algorithm: str) -> Digest:
    """The digest of a file's bytes."""
    state = hashlib.new(algorithm)
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
    return Digest(algorithm, state.hexdigest())


def _link(path: Path, target: Path) -> bool:
    """Hard link, or a copy (shared blocks where the file system has them) where links are not to be had."""
    try:
        os.link(path, target)
    except OSError:
        try:
            shutil.copyfile(path, target)
            shutil.copystat(path, target)
        except OSError:  # such as a full disk: BuildKit can still send what is missing
            _unlink(target)
            return False
    return True


def link_all(source: Path, target: Path) -> None:
    """Give a layout every blob of another one, as far as links are to be had: what is missing is sent."""
    for folder, _, names in os.walk(source / "blobs"):
        place = target / os.path.relpath(folder, source)
        os.makedirs(place, exist_ok=True)
        for name in names:
            with suppress(OSError):
                os.link(os.path.join(folder, name), place / name, follow_symlinks=False)


def needed(image: oci.Image) -> Mapping[Digest, Descriptor]:
    """Every blob of an image, documents included; foreign layers and inline content need no file."""
    found = {blob.digest: blob for blob in image.blobs if not blob.foreign}
    found |= {entry.descriptor.digest: entry.descriptor for entry in image.manifests}
    found |= {descriptor.digest: descriptor for descriptor, _ in image.indexes}
    return found


def publish(
    staging: Staging,
    digest: str,
    names: Names = (),
    gates: Announce | tuple[gate_record.GateResult, ...] = (),
    *,
    exact: bool = False,
) -> Published:
    """Make the staged image the live one. ``digest`` is the one that BuildKit reported, ``names`` what ``-t`` said.

    Where nothing but times in attestations differs, the live image stays; not so with ``exact``.

    ``gates`` are those that will run on it, or tell which: until they have, their record refuses the image. Without
    any, a record of this very image stays, and one of another image goes.

    Raises ArtifactError where BuildKit did not write that image whole, ToolError where the folder cannot be written.
    """
    source = oci.open_artifact(staging.layout)
    image = oci.resolve(source)
    if str(image.digest) != digest:
        raise ArtifactError(f"BuildKit reported {digest} but wrote {image.digest}", hint="run the build again")
    live = staging.live
    before = None if exact else _unchanged(staging, source, image)
    image = before or image
    blobs = needed(image)
    for blob in blobs.values():
        _check_staged(staging.layout, blob)
    announced = gates(source, image) if callable(gates) else gates
    with writes(live):
        if _contents(live / "oci-layout") != LAYOUT_FILE:
            replace(live / "oci-layout", LAYOUT_FILE, staging.folder / "oci-layout")
        new = [digest for digest in blobs if digest not in staging.linked]
        for wanted in new:
            _move(_blob(staging.layout, wanted), _blob(live, wanted))
        if announced:  # before the switch, so that there is no moment at which the new image looks as if it had none
            record = gate_record.announced(_contents(live / oci.GATES), str(image.digest), announced)
            replace(live / oci.GATES, record.data(), staging.folder / oci.GATES)
        # Written even where it says the same: its time is what tells sound blobs from those changed later.
        replace(live / "index.json", index_bytes(image.descriptor, names), staging.folder / "index.json")
        if gate_record.stale(_contents(live / oci.GATES), str(image.digest), changed=before is None):
            _unlink(live / oci.GATES)
        pruned = prune(live, frozenset(blobs))
    return Published(image, len(new), len(blobs) - len(new), pruned)


def _unchanged(staging: Staging, source: oci.ArtifactSource, image: oci.Image) -> oci.Image | None:
    """The live image where it is whole and the staged one differs from it in nothing but when it was built."""
    try:
        live = oci.open_artifact(staging.live)
        before = oci.resolve(live)
    except BuildoptError:
        return None
    if needed(before).keys() <= staging.linked and provenance.same_but_times((live, before), (source, image)):
        return before
    return None


def _check_staged(layout: Path, blob: Descriptor) -> None:
    try:
        size = os.lstat(_blob(layout, blob.digest)).st_size
    except FileNotFoundError:
        if blob.data is not None:  # carried by its descriptor; readers may still want the file
            path = _blob(layout, blob.digest)
            os.makedirs(path.parent, exist_ok=True)
            path.write_bytes(blob.data)
            return
        raise ArtifactError(
            f"BuildKit did not write {blob.digest}", hint="run the build again with --no-cache"
        ) from None
    if size != blob.size:
        raise oci.wrong_size(layout, blob, size)


def _move(source: Path, target: Path) -> None:
    os.makedirs(target.parent, exist_ok=True)
    os.replace(source, target)


def index_bytes(descriptor: Descriptor, names: Names) -> bytes:
    """index.json of one image: one entry for each name, all of one digest. Equal images give equal bytes.

    A name may be given as the annotations that say it.
    """
    base: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    platform = descriptor.platform
    if platform is not None:
        fields = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
        base["platform"] = {key: value for key, value in fields.items() if value}
    told = [name_annotations(name) if isinstance(name, str) else dict(name) for name in names]
    entries = [{**base, "annotations": annotations} for annotations in told] or [base]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(document, separators=(",", ":")).encode()


def name_annotations(name: str) -> dict[str, str]:
    """How containerd and others find an image's name in index.json."""
    reference = Reference.parse(name)
    tag = reference.tag or "latest"
    return {IMAGE_NAME: f"{reference.name}:{tag}", REFERENCE_NAME: tag}


def prune(live: Path, keep: frozenset[Digest]) -> int:
    """Remove every blob but those of ``keep``; return how many. Nothing is removed while somebody reads the layout."""
    with lock.pruning(live) as alone:
        if not alone:
            return 0
        pruned = 0
        try:
            for digest in oci.FolderSource(live, b"").digests() - keep:
                _unlink(_blob(live, digest))
                pruned += 1
        except OSError:  # the new image is in place and whole: what stays behind goes with the next build
            return pruned
        _remove(live / "ingest")  # BuildKit's, where the folder was once its direct output
        return pruned


def replace(path: Path, data: bytes, temporary: Path) -> None:
    """Put a whole file in place at once; ``temporary`` lies on the same file system."""
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def writes(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing below ``path`` into errors that say so."""
    try:
        yield
    except BrokenPipeError as error:
        raise ToolError(f"the reader of {path} left before it had everything", hint="see what it said") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise ToolError(
            f"cannot write to {path}: {error.strerror or error}", hint="check its permissions, or choose another -o"
        ) from error


def disk_full(path: Path) -> ToolError:
    """The error for a full disk below ``path``."""
    return ToolError(
        f"no space left on the disk of {path}; the last good artifact is as it was",
        hint="free some space there, or choose a path on another disk with -o",
    )


def _blob(layout: Path, digest: Digest) -> Path:
    return layout / "blobs" / digest.algorithm / digest.hex


def _contents(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _unlink(path: Path) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _remove(folder: Path) -> None:
    """Remove a folder of ours; what cannot be removed now is in nobody's way and goes with the next run."""
    if folder.is_symlink():
        _unlink(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
