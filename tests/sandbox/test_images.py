"""Layers and layouts as bytes; base images' trees without dpkg."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from buildopt.errors import UsageError
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact
from buildopt.sandbox import base_images, images, trees
from buildopt.sandbox.images import ImageConfig, write_layer, write_layout

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


def make_tree(root: Path) -> None:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_bytes(b"\x7fELF program")
    (root / "bin" / "tool").chmod(0o755)
    os.link(root / "bin" / "tool", root / "bin" / "twin")
    (root / "bin" / "link").symlink_to("tool")
    (root / "empty").mkdir()
    (root / "new").write_text("new\n")


def names(root: Path) -> list[str]:
    return [name for name, _ in trees.walk(root)]


def test_a_layer_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    make_tree(tmp_path / "two")
    os.utime(tmp_path / "two" / "new", (2_000_000_000, 2_000_000_000))
    first = write_layer(tmp_path / "one", names(tmp_path / "one"), tmp_path / "one.tar")
    second = write_layer(tmp_path / "two", reversed(names(tmp_path / "two")), tmp_path / "two.tar")
    assert (first.digest, first.size) == (second.digest, second.size)
    assert hashlib.sha256(first.file.read_bytes()).hexdigest() == first.digest.removeprefix("sha256:")


def test_a_layer_keeps_links_modes_and_empty_folders(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    layer = write_layer(tmp_path / "tree", names(tmp_path / "tree"), tmp_path / "layer.tar")
    with tarfile.open(layer.file) as tar:
        entries = {entry.name: entry for entry in tar}
    assert list(entries) == ["bin", "bin/link", "bin/tool", "bin/twin", "empty", "new"]
    assert entries["bin/link"].issym() and entries["bin/link"].linkname == "tool"
    assert entries["bin/twin"].islnk() and entries["bin/twin"].linkname == "bin/tool"
    assert entries["bin/tool"].mode == 0o755 and entries["empty"].isdir()
    assert all(entry.mtime <= images.EPOCH and entry.uname == "" for entry in entries.values())


def test_a_file_of_a_package_keeps_its_time(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "old").touch()
    os.utime(tmp_path / "tree" / "old", (1_000_000_000, 1_000_000_000))
    layer = write_layer(tmp_path / "tree", ["old"], tmp_path / "layer.tar")
    with tarfile.open(layer.file) as tar:
        assert tar.getmember("old").mtime == 1_000_000_000


def test_a_layout_is_whole(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    layer = write_layer(tmp_path / "tree", names(tmp_path / "tree"), tmp_path / "layer.tar")
    config = ImageConfig((("PATH", "/bin"),), ("tool",), folder="/work")
    platforms = {"linux/amd64": [layer], "linux/arm64": [layer]}
    write_layout(tmp_path / "layout", "latest", platforms, config)
    assert check(open_artifact(tmp_path / "layout")) == ()
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    outer = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    inner = json.loads((blobs / outer[0]["digest"].removeprefix("sha256:")).read_text())
    assert [entry["platform"]["architecture"] for entry in inner["manifests"]] == ["amd64", "arm64"]


@needs_root
def test_transplant_brings_what_scripts_made_and_nothing_of_the_other_architecture(tmp_path: Path) -> None:
    native, foreign = tmp_path / "native", tmp_path / "foreign"
    for root, triplet in ((native, "x86_64-linux-gnu"), (foreign, "aarch64-linux-gnu")):
        (root / "usr/lib" / triplet).mkdir(parents=True)
        (root / "usr/lib" / triplet / "libc.so").write_bytes(b"\x7fELF library")
    (native / "etc").mkdir()
    (native / "etc/shadow").write_text("root:*:\n")
    (native / "etc/shadow").chmod(0o640)
    os.chown(native / "etc/shadow", 0, 42)
    (native / "etc/awk").symlink_to("/usr/bin/mawk")
    (native / "etc/ld").symlink_to("/usr/lib/x86_64-linux-gnu/ld.so")
    (native / "etc/ld.so.cache").write_text("cache")
    (native / "made").write_bytes(b"\x7fELF made here")
    (native / "run").symlink_to("/elsewhere")
    (foreign / "run").mkdir()
    (native / "var/lib/dpkg/info").mkdir(parents=True)
    (native / "var/lib/dpkg/info/libc6:amd64.list").write_text("/.\n")
    (native / "var/lib/dpkg/triggers").write_text("libc-bin:amd64\n")
    trees.transplant(native, names(native), foreign, "amd64", "arm64")
    assert (foreign / "etc/shadow").read_text() == "root:*:\n"
    state = (foreign / "etc/shadow").stat()
    assert (state.st_mode & 0o777, state.st_gid) == (0o640, 42)
    assert os.readlink(foreign / "etc/awk") == "/usr/bin/mawk"
    assert os.readlink(foreign / "run") == "/elsewhere"
    assert (foreign / "var/lib/dpkg/triggers").read_text() == "libc-bin:arm64\n"
    found = names(foreign)
    for left in ("etc/ld", "etc/ld.so.cache", "made", "var/lib/dpkg/info/libc6:amd64.list"):
        assert left not in found
    assert not any("x86_64" in name for name in found)


def test_only_what_changed_counts(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("kept", "appended"):
        (tmp_path / "etc" / name).write_text(name)
    before = trees.marks(tmp_path)
    with open(tmp_path / "etc" / "appended", "a") as file:
        file.write(" more")
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "new").touch()
    assert sorted(trees.changed(tmp_path, before)) == ["etc/appended", "opt", "opt/new"]


@pytest.mark.parametrize(
    ("name", "folder", "expected"),
    [
        ("usr/bin/python3", False, True),
        ("usr/share/doc/curl/copyright", False, True),
        ("usr/share/doc/curl/README", False, False),
        ("usr/share/man/man1/ls.1", False, False),
        ("var/cache/apt/archives/x.deb", False, False),
        ("var/cache/apt/archives", True, True),
        ("dev/null", False, False),
        ("dev", True, True),
        ("usr/lib/python3/x.pyc", False, False),
    ],
)
def test_what_a_slim_image_has(name: str, folder: bool, expected: bool) -> None:
    assert trees.wanted(name, folder=folder) is expected


def test_unknown_names_and_platforms_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        base_images.prepare(["python:3.11-slmi"])
    assert "python:3.11-slim" in caught.value.hint
    with pytest.raises(UsageError, match="linux/s390x"):
        base_images.prepare(platforms=["linux/s390x"])
