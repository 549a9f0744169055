"""The live layout is valid at every moment, whatever ends a build."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from buildopt.build import artifact
from buildopt.build.artifact import Published, publish, staged
from buildopt.build.output import STAGING, Output, parse_output
from buildopt.errors import ArtifactError, BuildoptError, ToolError, UsageError
from buildopt.oci import layout as oci
from buildopt.oci import lock
from buildopt.oci.descriptor import Digest

MakeImage = Callable[..., str]
OLD = (b"base" * 1000, b"old" * 500)
NEW = (b"base" * 1000, b"new" * 700, b"more")


def output(folder: Path) -> Output:
    return parse_output(str(folder), Path("/"))


def build(folder: Path, make_image: MakeImage, layers: tuple[bytes, ...], statement: object = None) -> Published:
    """What a build does, without a BuildKit."""
    with staged(output(folder)) as staging:
        digest = make_image(staging.layout, *layers, statement=statement)
        return publish(staging, digest)


def check(folder: Path) -> str:
    """Every blob of the live image is there and is what it says; returns the image's digest."""
    source = oci.open_artifact(folder)
    image = oci.resolve(source)
    for blob in artifact.needed(image).values():
        assert artifact.file_digest(folder / "blobs" / "sha256" / blob.digest.hex, "sha256") == blob.digest
    return str(image.digest)


def blobs(folder: Path) -> set[str]:
    return set(os.listdir(folder / "blobs" / "sha256"))


def test_first_build_makes_a_layout(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    published = build(live, make_image, OLD)
    assert check(live) == str(published.image.digest)
    assert published.new == len(blobs(live)) and published.kept == 0
    assert sorted(os.listdir(live)) == ["blobs", "index.json", "oci-layout"]


def test_staging_starts_with_the_live_blobs_and_unchanged_ones_stay_the_same_file(
    tmp_path: Path, make_image: MakeImage
) -> None:
    live = tmp_path / "image"
    build(live, make_image, OLD)
    before = {name: (live / "blobs/sha256" / name).stat().st_ino for name in blobs(live)}
    with staged(output(live)) as staging:
        assert set(os.listdir(staging.layout / "blobs/sha256")) == before.keys()
        published = publish(staging, make_image(staging.layout, *OLD))
    assert (published.new, published.pruned) == (0, 0)
    assert {name: (live / "blobs/sha256" / name).stat().st_ino for name in blobs(live)} == before


def test_changed_build_prunes_what_is_stale(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    build(live, make_image, OLD)
    published = build(live, make_image, NEW)
    image = oci.resolve(oci.open_artifact(live))
    assert blobs(live) == {digest.hex for digest in artifact.needed(image)}
    assert published.pruned > 0 and published.kept == 3  # the common layer, and each platform's own one


def test_nothing_is_pruned_while_somebody_reads(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    build(live, make_image, OLD)
    old = blobs(live)
    with lock.reading(live):
        assert build(live, make_image, NEW).pruned == 0
        assert old <= blobs(live)
    assert build(live, make_image, NEW).pruned > 0


def test_index_has_one_entry_for_each_name(tmp_path: Path, make_image: MakeImage) -> None:
    with staged(output(tmp_path / "image")) as staging:
        publish(staging, make_image(staging.layout, *OLD), ("app:1.0", "ghcr.io/acme/app"))
    document = json.loads((tmp_path / "image/index.json").read_bytes())
    assert [entry["annotations"] for entry in document["manifests"]] == [
        {"io.containerd.image.name": "docker.io/library/app:1.0", "org.opencontainers.image.ref.name": "1.0"},
        {"io.containerd.image.name": "ghcr.io/acme/app:latest", "org.opencontainers.image.ref.name": "latest"},
    ]
    assert len({entry["digest"] for entry in document["manifests"]}) == 1


def test_inner_index_keeps_its_bytes(tmp_path: Path, make_image: MakeImage) -> None:
    with staged(output(tmp_path / "image")) as staging:
        digest = make_image(staging.layout, *OLD)
        data = (staging.layout / "blobs/sha256" / digest[7:]).read_bytes()
        publish(staging, digest)
    assert (tmp_path / "image/blobs/sha256" / digest[7:]).read_bytes() == data


# --- what can be there already --------------------------------------------------------------------------------------


def test_a_folder_that_is_no_layout_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/blobs").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="neither empty nor an OCI layout"):
        output(tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        output(tmp_path / "file")
    with pytest.raises(UsageError, match=r"cannot be made: .* is a file"):
        output(tmp_path / "file" / "below")


def test_a_symbolic_link_to_a_layout_is_followed_once(tmp_path: Path, make_image: MakeImage) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    build(tmp_path / "link", make_image, OLD)
    assert (tmp_path / "link").is_symlink()
    check(tmp_path / "real")


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
def test_a_damaged_layout_is_repaired(tmp_path: Path, make_image: MakeImage, name: str, damage: str) -> None:
    live = tmp_path / "image"
    digest = str(build(live, make_image, OLD).image.digest)
    if damage == "missing":
        (live / name).unlink()
    else:
        (live / name).write_bytes(b"" if damage == "empty" else b"{{")
    assert str(build(live, make_image, OLD).image.digest) == digest
    assert check(live) == digest


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_blob_is_sent_again(tmp_path: Path, make_image: MakeImage, damage: str) -> None:
    live = tmp_path / "image"
    build(live, make_image, OLD)
    for path in list((live / "blobs/sha256").iterdir()):
        data = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
            status = (live / "index.json").stat()
            os.utime(path, ns=(status.st_mtime_ns + 10**9, status.st_mtime_ns + 10**9))
        build(live, make_image, OLD)
        check(live)


def test_a_copied_layout_is_trusted_only_after_its_blobs_were_hashed(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    build(live, make_image, OLD)
    later = (live / "index.json").stat().st_mtime_ns + 10**9
    for path in (live / "blobs/sha256").iterdir():
        os.utime(path, ns=(later, later))
    assert build(live, make_image, OLD).new == 0


def test_leftovers_of_an_interrupted_first_build_are_no_obstacle(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    (live / STAGING / "abc/layout/ingest").mkdir(parents=True)
    (live / "oci-layout").write_bytes(artifact.LAYOUT_FILE)
    build(live, make_image, OLD)
    assert sorted(os.listdir(live)) == ["blobs", "index.json", "oci-layout"]


def test_buildopt_folder_ignores_itself(tmp_path: Path, make_image: MakeImage) -> None:
    build(tmp_path / ".buildopt/image", make_image, OLD)
    assert (tmp_path / ".buildopt/.gitignore").read_text() == "*\n"


# --- two at once ----------------------------------------------------------------------------------------------------


def test_a_second_build_into_one_folder_is_told_who_has_it(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    with staged(output(live)) as staging:
        with pytest.raises(BuildoptError, match=rf"process {os.getpid()}, since \d\d:"), staged(output(live)):
            pass
        publish(staging, make_image(staging.layout, *OLD))
    check(live)


def test_locks_end_with_the_block(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    with lock.writing(tmp_path) as first, lock.writing(tmp_path) as second:
        assert first and not second
    with lock.writing(tmp_path) as third:
        assert third
    descriptor = os.open(tmp_path / "blobs", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    with lock.pruning(tmp_path) as alone, lock.reading(tmp_path):
        assert not alone
    os.close(descriptor)


# --- whatever BuildKit did ------------------------------------------------------------------------------------------


def test_another_digest_than_reported_is_refused(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    digest = str(build(live, make_image, OLD).image.digest)
    with pytest.raises(ArtifactError, match="BuildKit reported"), staged(output(live)) as staging:
        make_image(staging.layout, *NEW)
        publish(staging, "sha256:" + "0" * 64)
    assert check(live) == digest


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_an_incomplete_image_is_not_published(tmp_path: Path, make_image: MakeImage, damage: str) -> None:
    live = tmp_path / "image"
    digest = str(build(live, make_image, OLD).image.digest)
    with pytest.raises(ArtifactError), staged(output(live)) as staging:
        new = make_image(staging.layout, *NEW)
        layer = staging.layout / "blobs/sha256" / Digest.of(NEW[1]).hex
        if damage == "missing":
            layer.unlink()
        else:
            layer.write_bytes(NEW[1][:-1])
        publish(staging, new)
    assert check(live) == digest
    assert not (live / STAGING).exists()


def test_links_are_copied_where_they_are_not_to_be_had(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    live = tmp_path / "image"
    build(live, make_image, OLD)
    monkeypatch.setattr(os, "link", refuse)
    assert build(live, make_image, OLD).new == 0
    build(live, make_image, NEW)
    check(live)


# --- interrupted at every step --------------------------------------------------------------------------------------

OPERATIONS = ("link", "replace", "unlink", "fsync", "open", "write", "makedirs", "mkdir", "rmdir", "scandir", "listdir")


class Killed(BaseException):
    """The end of the process: nothing is caught, nothing is cleaned up after it."""


@contextmanager
def ending(
    monkeypatch: pytest.MonkeyPatch, at: int, error: Callable[[], BaseException], *, after: bool, dead: bool
) -> Iterator[list[int]]:
    """Let operation number ``at`` fail (``after`` it was done, or before); ``dead``: and all later ones too."""
    count = [0]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == at or (dead and count[0] > at):
                if after and count[0] == at:
                    function(*args, **kwargs)
                raise error()
            return function(*args, **kwargs)

        return operation

    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield count


def operations(tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many operations a changed build takes."""
    live = tmp_path / "count"
    build(live, make_image, OLD)
    with ending(monkeypatch, -1, Killed, after=False, dead=False) as count:
        build(live, make_image, NEW)
    assert count[0] > 30
    return count[0]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_the_artifact_is_the_old_or_the_new_one(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    total = operations(tmp_path, make_image, monkeypatch)
    seen = set()
    for at in range(1, total + 1):
        live = tmp_path / f"image{at}"
        old = str(build(live, make_image, OLD).image.digest)
        with pytest.raises(Killed), ending(monkeypatch, at, Killed, after=after, dead=True):
            build(live, make_image, NEW)
        digest = check(live)
        seen.add(digest == old)
        new = str(build(live, make_image, NEW).image.digest)
        assert check(live) == new != old
        assert sorted(os.listdir(live)) == ["blobs", "index.json", "oci-layout"]
        assert blobs(live) == {entry.hex for entry in artifact.needed(oci.resolve(oci.open_artifact(live)))}
    assert seen == {True, False}


def test_first_build_killed_at_any_step_is_mended_by_the_next(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = operations(tmp_path, make_image, monkeypatch)
    for at in range(1, total):
        live = tmp_path / f"image{at}"
        with ending(monkeypatch, at, Killed, after=True, dead=True):
            try:
                build(live, make_image, OLD)
            except Killed:
                pass
            else:
                break
        build(live, make_image, OLD)
        check(live)
        assert sorted(os.listdir(live)) == ["blobs", "index.json", "oci-layout"]
    else:
        pytest.fail("never got to the end")


def test_a_full_disk_at_any_step_is_said_and_leaves_a_valid_artifact(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> OSError:
        return OSError(errno.ENOSPC, "No space left on device")

    total = operations(tmp_path, make_image, monkeypatch)
    said = 0
    for at in range(1, total + 1):
        live = tmp_path / f"image{at}"
        build(live, make_image, OLD)
        with ending(monkeypatch, at, full, after=False, dead=False):
            try:
                build(live, make_image, NEW)
            except (BuildoptError, OSError) as error:
                said += isinstance(error, ToolError) and "no space left" in error.message
        check(live)
        build(live, make_image, NEW)
        check(live)
    assert said > 5


# --- unchanged but for its provenance -------------------------------------------------------------------------------


def statement(started: str, **parameters: str) -> object:
    metadata = {"buildInvocationID": started, "buildStartedOn": started, "buildFinishedOn": started, "other": 1}
    return {"_type": "x", "predicate": {"invocation": parameters, "metadata": metadata}}


def test_a_build_that_differs_only_in_its_times_keeps_the_digest(tmp_path: Path, make_image: MakeImage) -> None:
    live = tmp_path / "image"
    first = build(live, make_image, OLD, statement("monday"))
    second = build(live, make_image, OLD, statement("tuesday"))
    assert second.image.digest == first.image.digest
    assert second.new == 0
    assert check(live) == str(first.image.digest)


def test_the_name_that_buildx_makes_up_for_a_layout_does_not_count(tmp_path: Path, make_image: MakeImage) -> None:
    digests = set()
    for store in ("1hut10hacr910gasd6gj01p4r", "2abcdefghijklmnopqrstuvwx"):
        base = f"oci-layout://{store}:latest@sha256:5c66"
        digests.add(build(tmp_path / "image", make_image, OLD, statement("x", base=base)).image.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("layers", "other"),
    [(NEW, statement("tuesday")), (OLD, statement("tuesday", target="release")), (OLD, None)],
    ids=["another layer", "another parameter", "no provenance any more"],
)
def test_a_build_that_differs_otherwise_does_not(
    tmp_path: Path, make_image: MakeImage, layers: tuple[bytes, ...], other: object
) -> None:
    live = tmp_path / "image"
    first = build(live, make_image, OLD, statement("monday"))
    second = build(live, make_image, layers, other)
    assert second.image.digest != first.image.digest
    assert check(live) == str(second.image.digest)
