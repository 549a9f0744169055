"""A layout as a tar: the same bytes each time, readable by others, index.json first."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt.build import artifact, tarball
from buildopt.build.artifact import publish, staged
from buildopt.build.output import parse_output, partial
from buildopt.errors import ToolError
from buildopt.oci import layout as oci

MakeImage = Callable[..., str]
LAYERS = (b"x" * 3_000_000, b"", b"y" * 512, b"z" * 511)


@pytest.fixture
def live(tmp_path: Path, make_image: MakeImage) -> Path:
    with staged(parse_output("image", tmp_path)) as staging:
        publish(staging, make_image(staging.layout, *LAYERS))
    return tmp_path / "image"


def image(path: Path) -> oci.Image:
    return oci.resolve(oci.open_artifact(path))


def test_the_tar_reads_back(live: Path, tmp_path: Path) -> None:
    tarball.write_file(live, image(live), tmp_path / "out/app.tar")
    source = oci.open_artifact(tmp_path / "out/app.tar")
    assert image(tmp_path / "out/app.tar").digest == image(live).digest
    for digest in artifact.needed(image(live)):
        assert source.read(digest) == oci.open_artifact(live).read(digest)
    assert os.listdir(tmp_path / "out") == ["app.tar"]


def test_index_and_layout_file_come_first_and_blobs_sorted(live: Path, tmp_path: Path) -> None:
    tarball.write_file(live, image(live), tmp_path / "app.tar")
    with tarfile.open(tmp_path / "app.tar") as tar:
        names = tar.getnames()
        assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(0, 0, "")}
    assert names[:4] == ["index.json", "oci-layout", "blobs", "blobs/sha256"]
    assert names[4:] == sorted(names[4:]) and len(names) == 4 + len(artifact.needed(image(live)))
    assert (tmp_path / "app.tar").stat().st_size % tarfile.RECORDSIZE == 0


def test_equal_images_give_equal_bytes_however_they_are_copied(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(22, "not here")

    tarball.write_file(live, image(live), tmp_path / "1.tar")
    monkeypatch.setattr(os, "copy_file_range", refuse)
    tarball.write_file(live, image(live), tmp_path / "2.tar")
    monkeypatch.setattr(os, "sendfile", refuse)
    tarball.write_file(live, image(live), tmp_path / "3.tar")
    monkeypatch.delattr(os, "copy_file_range")
    tarball.write_file(live, image(live), tmp_path / "4.tar")
    assert len({(tmp_path / f"{number}.tar").read_bytes() for number in (1, 2, 3, 4)}) == 1


def test_a_pipe_gets_the_same_bytes(live: Path, tmp_path: Path) -> None:
    tarball.write_file(live, image(live), tmp_path / "app.tar")
    reader, writer = os.pipe()
    parts: list[bytes] = []

    def drain() -> None:
        while part := os.read(reader, 1 << 16):
            parts.append(part)

    thread = threading.Thread(target=drain)
    thread.start()
    tarball.write(live, image(live), writer)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(parts) == (tmp_path / "app.tar").read_bytes()


def test_a_tar_that_is_there_already_is_not_written_again(live: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.tar"
    assert tarball.write_file(live, image(live), path)
    before = path.stat()
    assert not tarball.write_file(live, image(live), path)
    assert path.stat() == before


@pytest.mark.parametrize("change", ["touched", "removed", "replaced", "other image", "no stamp"])
def test_a_tar_that_is_not_that_one_any_more_is_written_again(
    live: Path, tmp_path: Path, make_image: MakeImage, change: str
) -> None:
    path = tmp_path / "app.tar"
    tarball.write_file(live, image(live), path)
    good = path.read_bytes()
    if change == "touched":  # one byte, with the times put back
        times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        path.write_bytes(good[:2000] + bytes([good[2000] ^ 1]) + good[2001:])
        os.utime(path, ns=times)
    elif change == "removed":
        path.unlink()
    elif change == "replaced":
        (tmp_path / "other").write_bytes(good)
        os.replace(tmp_path / "other", path)
    elif change == "no stamp":
        (live / ".tar").unlink()
    else:
        with staged(parse_output("image", tmp_path)) as staging:
            publish(staging, make_image(staging.layout, b"another"))
    assert tarball.write_file(live, image(live), path)
    assert (path.read_bytes() == good) is (change != "other image")
    assert image(path).digest == image(live).digest


def test_a_failed_write_leaves_the_old_tar(live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    tarball.write_file(live, image(live), tmp_path / "app.tar")
    before = (tmp_path / "app.tar").read_bytes()
    (live / ".tar").unlink()
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(ToolError, match="no space left"):
        tarball.write_file(live, image(live), tmp_path / "app.tar")
    assert (tmp_path / "app.tar").read_bytes() == before
    assert not partial(tmp_path / "app.tar").exists()


def test_a_blob_that_shrinks_meanwhile_is_an_error(live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = image(live)
    path = live / "blobs/sha256" / max(found.blobs, key=lambda blob: blob.size).digest.hex
    real = os.copy_file_range

    def cut(source: int, *args: int, **kwargs: int) -> int:
        os.truncate(path, 10)
        return real(source, *args, **kwargs)

    monkeypatch.setattr(os, "copy_file_range", cut)
    with pytest.raises(ToolError):
        tarball.write_file(live, found, tmp_path / "app.tar")
    assert not (tmp_path / "app.tar").exists()
