"""Blobs of an engine on this machine: offered as links, copied and checked where the image needs them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildopt.build import nearby
from buildopt.engine.existing import contents_of
from buildopt.errors import ArtifactError, ToolError
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact

MakeImage = Callable[..., str]
LARGE = b"x" * (nearby.SMALLEST + 1)
OTHER = b"y" * nearby.SMALLEST


@pytest.fixture
def store(tmp_path: Path, make_image: MakeImage) -> Path:
    """An engine's blobs: those of an image with two large layers and small ones."""
    make_image(tmp_path / "engine", LARGE, OTHER, b"small")
    return tmp_path / "engine" / "blobs"


def write_around(layout: Path, make_image: MakeImage, *layers: bytes) -> None:
    """What BuildKit does: write the blobs that are not there, and index.json."""
    make_image(layout, *layers)


def test_needed_blobs_are_copied_and_the_others_dropped(tmp_path: Path, store: Path, make_image: MakeImage) -> None:
    layout = tmp_path / "layout"
    offered = nearby.offer(store, layout)
    assert len(offered) == 2
    write_around(layout, make_image, LARGE, b"another")
    assert nearby.take(layout, offered) == 1
    assert sum(path.name in offered for path in (layout / "blobs/sha256").iterdir()) == 1
    assert not [problem for problem in check(open_artifact(layout)) if problem.fatal]
    copied = next(path for path in (layout / "blobs/sha256").iterdir() if path.stat().st_size == len(LARGE))
    assert copied.stat().st_ino != (store / "sha256" / copied.name).stat().st_ino
    assert copied.stat().st_mode & 0o777 == 0o644


def test_what_the_last_artifact_has_stays(tmp_path: Path, store: Path, make_image: MakeImage) -> None:
    layout = tmp_path / "layout"
    make_image(layout, LARGE)
    offered = nearby.offer(store, layout)
    assert len(offered) == 1
    write_around(layout, make_image, LARGE, OTHER)
    assert nearby.take(layout, offered) == 1


def test_a_damaged_blob_of_the_engine_is_not_taken(tmp_path: Path, store: Path, make_image: MakeImage) -> None:
    layout = tmp_path / "layout"
    path = next(path for path in (store / "sha256").iterdir() if path.stat().st_size == len(LARGE))
    path.write_bytes(LARGE[:-1] + b"?")
    offered = nearby.offer(store, layout)
    write_around(layout, make_image, LARGE)
    with pytest.raises(ArtifactError, match="damaged"):
        nearby.take(layout, offered)


@pytest.fixture
def elsewhere(store: Path) -> Iterator[Path]:
    """The same blobs on another file system, where the machine has one in memory."""
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == store.stat().st_dev:
        pytest.skip("there is but one file system to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        shutil.copytree(store, Path(folder, "blobs"))
        yield Path(folder, "blobs")


def test_a_store_on_another_file_system(tmp_path: Path, elsewhere: Path, make_image: MakeImage) -> None:
    layout = tmp_path / "layout"
    offered = nearby.offer(elsewhere, layout)
    assert len(offered) == 2
    write_around(layout, make_image, LARGE)
    assert nearby.take(layout, offered) == 1
    assert not any(path.is_symlink() for path in (layout / "blobs/sha256").iterdir())
    assert not [problem for problem in check(open_artifact(layout)) if problem.fatal]


def test_a_blob_that_the_engine_removed_meanwhile_is_named(
    tmp_path: Path, elsewhere: Path, make_image: MakeImage
) -> None:
    layout = tmp_path / "layout"
    offered = nearby.offer(elsewhere, layout)
    write_around(layout, make_image, LARGE)
    for path in (elsewhere / "sha256").iterdir():
        path.unlink()
    with pytest.raises(ArtifactError, match="removed sha256:"):
        nearby.take(layout, offered)


def test_nothing_is_offered_from_a_store_that_is_not_there(tmp_path: Path, make_image: MakeImage) -> None:
    assert nearby.offer(tmp_path / "nowhere", tmp_path / "layout") == frozenset()
    make_image(tmp_path / "layout", LARGE)
    assert nearby.take(tmp_path / "layout", frozenset()) == 0


def test_other_files_of_the_store_are_passed_over(tmp_path: Path, store: Path) -> None:
    (store / "sha256" / "ingest").write_bytes(LARGE)
    (store / "sha256" / ("A" * 64)).write_bytes(LARGE)
    os.symlink("/etc/passwd", store / "sha256" / ("0" * 64))
    assert len(nearby.offer(store, tmp_path / "layout")) == 2


def test_a_full_disk_while_copying_is_said(
    tmp_path: Path, store: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = tmp_path / "layout"
    offered = nearby.offer(store, layout)
    write_around(layout, make_image, LARGE)

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ToolError, match="no space left on the disk"):
        nearby.take(layout, offered)


@pytest.mark.parametrize("place", ["docker/containerd/daemon", "containerd"])
def test_where_an_engine_keeps_its_blobs(tmp_path: Path, place: str) -> None:
    blobs = tmp_path / place / "io.containerd.content.v1.content/blobs"
    (blobs / "sha256").mkdir(parents=True)
    assert contents_of(str(tmp_path / "docker")) == blobs


def test_an_engine_that_does_not_say_where_it_is(tmp_path: Path) -> None:
    assert contents_of("") is None
    assert contents_of("relative") is None


def test_what_has_come_is_counted_without_what_was_there(tmp_path: Path, store: Path, make_image: MakeImage) -> None:
    layout = tmp_path / "layout"
    assert nearby.received(layout) == 0
    nearby.offer(store, layout)
    assert nearby.received(layout) == 0
    (layout / "ingest/one").mkdir(parents=True)
    (layout / "ingest/one/data").write_bytes(b"12345")
    (layout / "blobs/sha256" / ("e" * 64)).write_bytes(b"123")
    assert nearby.received(layout) == 8


def test_it_is_offered_while_something_else_runs(tmp_path: Path, store: Path) -> None:
    with nearby.offering(store, tmp_path / "layout") as offered:
        pass
    assert len(offered) == 2
    with nearby.offering(None, tmp_path / "nothing") as offered:
        pass
    assert not offered and not (tmp_path / "nothing").exists()
