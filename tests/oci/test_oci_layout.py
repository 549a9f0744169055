"""Layout folders and tars are read the same way, and nothing leads out of them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import artifacts
import pytest

from buildopt.errors import ArtifactError
from buildopt.oci.check import check
from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import open_artifact, resolve


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout", names=("app:1", "app:latest"))
    return tmp_path / "layout"


@pytest.fixture
def tar(layout: Path, tmp_path: Path) -> Path:
    return artifacts.make_tar(layout, tmp_path / "image.tar")


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_folder_and_tar_are_the_same_image(layout: Path, tmp_path: Path, format_: int) -> None:
    tar = artifacts.make_tar(layout, tmp_path / "image.tar", format_=format_)
    one, two = (open_artifact(path) for path in (layout, tar))
    first, second = resolve(one), resolve(two)
    assert first == second
    assert first.names == ("app:1", "app:latest")
    assert [str(entry.platform) for entry in first.platforms] == ["linux/amd64", "linux/arm64"]
    assert [entry.attests for entry in first.attestations] == [
        str(entry.descriptor.digest) for entry in first.platforms
    ]
    assert one.digests() == two.digests()
    for digest in one.digests():
        assert one.read(digest) == two.read(digest)
        assert one.size(digest) == two.size(digest)


def test_children_come_before_parents(tmp_path: Path) -> None:
    inner = artifacts.put_json(
        tmp_path, {"manifests": [artifacts.put_image(tmp_path, "linux/amd64", [b"x"])]}, artifacts.INDEX
    )
    outer = artifacts.put_json(tmp_path, {"manifests": [inner, inner]}, artifacts.INDEX)
    artifacts.finish(tmp_path, [outer])
    image = resolve(open_artifact(tmp_path))
    assert [str(descriptor.digest) for descriptor, _ in image.indexes] == [inner["digest"], outer["digest"]]
    assert len(image.manifests) == 1


def test_pax_and_gnu_names_and_sizes_are_those_of_tarfile(tmp_path: Path, layout: Path) -> None:
    path = artifacts.make_tar(layout, tmp_path / "long.tar", format_=tarfile.PAX_FORMAT)
    artifacts.add_entry(path, tarfile.TarInfo("extra/" + "n" * 150 + "/ü"), b"content")
    source = open_artifact(path)
    assert resolve(source).names == ("app:1", "app:latest")


def test_a_missing_artifact_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact at") as caught:
        open_artifact(tmp_path / "none")
    assert "buildopt build-once" in caught.value.hint


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_folder_without_its_files_is_no_artifact(layout: Path, name: str) -> None:
    (layout / name).unlink()
    with pytest.raises(ArtifactError, match=f"no artifact at .*{name}"):
        open_artifact(layout)


def test_a_tar_of_an_old_docker_save_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    artifacts.add_entry(path, tarfile.TarInfo("manifest.json"), b"[]")
    with pytest.raises(ArtifactError, match="docker save"):
        open_artifact(path)


def test_two_images_in_one_artifact_are_named(layout: Path) -> None:
    other = artifacts.put_image(layout, "linux/s390x", [b"z"])
    index = json.loads((layout / "index.json").read_text())
    artifacts.finish(layout, [*index["manifests"], other])
    with pytest.raises(ArtifactError, match="holds 2 different images") as caught:
        resolve(open_artifact(layout))
    assert any(str(other["digest"]) in line for line in caught.value.detail)


def test_the_parts_of_an_image_may_be_listed_beside_it(layout: Path) -> None:
    image = resolve(open_artifact(layout))
    index = json.loads((layout / "index.json").read_text())
    whole = json.loads(artifacts.blob_path(layout, str(image.digest)).read_text())
    artifacts.finish(layout, [*whole["manifests"], *index["manifests"]])
    assert resolve(open_artifact(layout)).digest == image.digest
    assert check(open_artifact(layout)) == ()


def test_an_artifact_without_image_is_refused(layout: Path) -> None:
    artifacts.finish(layout, [])
    with pytest.raises(ArtifactError, match="holds no image"):
        resolve(open_artifact(layout))


def test_a_tampered_manifest_is_named(layout: Path) -> None:
    image = resolve(open_artifact(layout))
    digest = image.manifests[0].descriptor.digest
    path = artifacts.blob_path(layout, str(digest))
    path.write_bytes(path.read_bytes().replace(b"amd64", b"arm64") + b" ")
    with pytest.raises(ArtifactError, match=f"{digest}.*not what it says"):
        resolve(open_artifact(layout))


def test_a_missing_manifest_is_named(layout: Path) -> None:
    digest = resolve(open_artifact(layout)).manifests[0].descriptor.digest
    artifacts.blob_path(layout, str(digest)).unlink()
    with pytest.raises(ArtifactError, match=f"{digest} is missing"):
        resolve(open_artifact(layout))


def test_indexes_that_lie_too_deep_are_refused(tmp_path: Path) -> None:
    descriptor = artifacts.put_image(tmp_path, "linux/amd64", [b"x"])
    for _ in range(8):
        descriptor = artifacts.put_json(tmp_path, {"manifests": [descriptor]}, artifacts.INDEX)
    artifacts.finish(tmp_path, [descriptor])
    with pytest.raises(ArtifactError, match="deep"):
        resolve(open_artifact(tmp_path))


@pytest.mark.parametrize("place", ["blob", "folder", "index.json"])
def test_links_in_a_folder_are_refused(layout: Path, tmp_path: Path, place: str) -> None:
    if place == "blob":
        path = artifacts.blob_path(layout, str(resolve(open_artifact(layout)).digest))
    else:
        path = layout / {"folder": "blobs/sha256", "index.json": "index.json"}[place]
    moved = tmp_path / "moved"
    os.rename(path, moved)
    path.symlink_to(moved)
    with pytest.raises(ArtifactError, match="link or not a plain file"):
        resolve(open_artifact(layout))


def test_a_pipe_as_a_blob_does_not_hang(layout: Path) -> None:
    path = artifacts.blob_path(layout, str(resolve(open_artifact(layout)).digest))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArtifactError, match="not a plain file"):
        resolve(open_artifact(layout))


def _entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (_entry("blobs/sha256/x", tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
        (_entry("blobs/sha256/x", tarfile.LNKTYPE, "index.json"), "is a hard link"),
        (_entry("x", tarfile.CHRTYPE), "is a device"),
        (_entry("x", tarfile.BLKTYPE), "is a device"),
        (_entry("x", tarfile.FIFOTYPE), "is a pipe"),
        (_entry("../x"), "not a plain name"),
        (_entry("blobs/../../x"), "not a plain name"),
        (_entry("blobs\\x"), "not a plain name"),
        (_entry("/etc/passwd"), "absolute name"),
        (_entry("index.json"), "stands twice"),
        (_entry("./index.json"), "stands twice"),
        (_entry("blobs//../index.json"), "not a plain name"),
    ],
)
def test_a_tar_with_an_unsafe_entry_is_refused_by_name(tar: Path, entry: tarfile.TarInfo, reason: str) -> None:
    artifacts.add_entry(tar, entry)
    with pytest.raises(ArtifactError, match=reason) as caught:
        open_artifact(tar)
    assert entry.name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1] in caught.value.message


def test_a_pax_header_cannot_rename_an_entry_into_danger(layout: Path, tmp_path: Path) -> None:
    tar = artifacts.make_tar(layout, tmp_path / "pax.tar", format_=tarfile.PAX_FORMAT)
    entry = _entry("harmless")
    entry.pax_headers = {"path": "../../etc/cron.d/x"}
    artifacts.add_entry(tar, entry)
    with pytest.raises(ArtifactError, match="not a plain name"):
        open_artifact(tar)


def test_a_tar_that_ends_early_is_told_wherever_it_ends(tar: Path, tmp_path: Path) -> None:
    data = tar.read_bytes()
    with tarfile.open(tar) as opened:
        end = max(info.offset_data + info.size for info in opened)
    cut = tmp_path / "cut.tar"
    for length in range(512, end, 512 * 7 + 100):
        cut.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match=r"cut off|has no index\.json"):
            open_artifact(cut)


@pytest.mark.parametrize("data", [b"", b"not a tar", b"\x1f\x8b" + bytes(2000), b"x" * 5000])
def test_what_is_no_tar_is_called_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="not an OCI tar"):
        open_artifact(path)


def test_a_damaged_header_is_found(tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        offset = opened.getmembers()[3].offset
    data[offset + 10] ^= 1
    tar.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="damaged"):
        open_artifact(tar)


def test_an_entry_larger_than_the_tar_is_refused(tar: Path) -> None:
    entry = tarfile.TarInfo("big")
    entry.size = 1 << 40
    data = tar.read_bytes()
    tar.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + data)
    with pytest.raises(ArtifactError, match="cut off"):
        open_artifact(tar)


def test_nothing_is_written_while_a_tar_is_read(tar: Path) -> None:
    before = sorted(tar.parent.rglob("*"))
    source = open_artifact(tar)
    resolve(source)
    assert sorted(tar.parent.rglob("*")) == before


def test_a_blob_reads_like_a_file(tar: Path) -> None:
    source = open_artifact(tar)
    digest = resolve(source).blobs[1].digest
    whole = source.read(digest)
    with source.blob(digest) as blob:
        assert os.pread(blob.fd, blob.size, blob.offset) == whole
        assert blob.read(10) + b"".join(blob.blocks()) == whole
        assert blob.read() == b""
        blob.seek(-5, io.SEEK_END)
        assert blob.read(100) == whole[-5:]


def test_a_read_has_a_cap(tar: Path) -> None:
    source = open_artifact(tar)
    with pytest.raises(ArtifactError, match="larger than 10 bytes"):
        source.read(resolve(source).digest, 10)


def test_an_unknown_digest_is_missing(layout: Path, tar: Path) -> None:
    digest = Digest.of(b"unknown")
    for path in (layout, tar):
        source = open_artifact(path)
        assert not source.has(digest)
        with pytest.raises(ArtifactError, match="is missing"):
            source.blob(digest)
