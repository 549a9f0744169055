"""What engines and tools write: tars read where they lie, docker save's, compressed ones, several images, parts."""

from __future__ import annotations

import base64
import errno
import gzip
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import artifacts
import pytest
from click.testing import CliRunner
from scripted import Scripted, scripted_registry

from buildopt import cli, process
from buildopt.cli import main
from buildopt.errors import ArtifactError
from buildopt.oci.check import check
from buildopt.oci.descriptor import DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, Digest
from buildopt.oci.layout import open_artifact, resolve

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
NAME = "io.containerd.image.name"
TAG = "org.opencontainers.image.ref.name"


def pushed(registry: Scripted, path: Path, *words: str, code: int = 0) -> str:
    """Push an artifact; what was told."""
    argv = ["push", f"{registry.host}/acme/app:1", "--from-oci", str(path), *words]
    done = CliRunner().invoke(cli.buildopt, argv, standalone_mode=False)
    if isinstance(done.exception, ArtifactError):
        assert code == done.exception.exit_code
        return "\n".join((done.exception.message, done.exception.hint, *done.exception.detail))
    assert done.exception is None, done.exception
    assert done.return_value == code, done.output
    return done.output


def held(registry: Scripted) -> str:
    """The digest behind the tag that ``pushed`` writes."""
    return str(Digest.of(registry.manifests["acme/app", "1"][0]))


# --- A tar is read where it lies


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # not one byte can be written to a file
from buildopt.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["push"], ["push", "--dry-run"], ["inspect", "--check"]], ids=" ".join)
def test_not_one_byte_is_written_while_a_tar_is_read(tmp_path: Path, words: list[str]) -> None:
    digest = artifacts.make_layout(tmp_path / "layout", size=2_000_000)
    tar = artifacts.make_tar(tmp_path / "layout", tmp_path / "image.tar")
    (tmp_path / "tmp").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with scripted_registry() as registry:
        argv = [sys.executable, "-B", "-c", LIMITED, *words]
        argv += [f"{registry.host}/acme/app:1", "--from-oci", str(tar)] if words[0] == "push" else [str(tar)]
        environ = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "GITHUB_ACTIONS": ""}
        done = process.run(argv, env=environ, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        assert digest in done.text
        if words == ["push"]:
            assert held(registry) == digest
    assert sorted(tmp_path.rglob("*")) == before


# --- Tars that are compressed


def zstandard(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.compress(data)
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    ("name", "pack", "program"), [("gzip", gzip.compress, "gunzip"), ("zstd", zstandard, "unzstd")]
)
def test_a_compressed_tar_says_how_to_unpack_it(
    tmp_path: Path, name: str, pack: object, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts.make_layout(tmp_path / "layout")
    tar = artifacts.make_tar(tmp_path / "layout", tmp_path / "image.tar")
    packed = tmp_path / "my image.tar.packed"
    assert callable(pack)
    packed.write_bytes(pack(tar.read_bytes()))
    for words in (["inspect", str(packed)], ["push", "127.0.0.1:1/a:1", "--from-oci", str(packed)]):
        assert cli.main(words) == 5
        err = capsys.readouterr().err
        assert f"it is compressed with {name}" in err and f"{program} -c '{packed}' > image.tar" in err
    found = process.which(program)
    if found is not None:
        (tmp_path / "image.tar").write_bytes(process.run([found, "-c", str(packed)]).stdout)
        assert open_artifact(tmp_path / "image.tar")


# --- docker save, which writes an OCI layout since version 25


def docker_save(folder: Path, tar: Path, images: dict[str, artifacts.Json]) -> Path:
    """A tar as docker save writes it: blobs, index.json, and its own manifest.json and repositories beside them."""
    entries = []
    for name, descriptor in images.items():
        tag = name.rpartition(":")[2]
        entries.append({**descriptor, "annotations": {NAME: f"docker.io/library/{name}", TAG: tag}})
    artifacts.finish(folder, entries)
    (folder / "manifest.json").write_text(json.dumps([{"Config": "x", "RepoTags": list(images), "Layers": []}]))
    (folder / "repositories").write_text("{}")
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as out:
        for path in sorted(folder.rglob("*")):
            out.add(path, str(path.relative_to(folder)), recursive=False)
    return tar


def unnamed(descriptor: artifacts.Json) -> artifacts.Json:
    return {key: value for key, value in descriptor.items() if key != "platform"}


def test_docker_save_of_one_image_is_pushed(tmp_path: Path) -> None:
    image = unnamed(artifacts.put_image(tmp_path / "saved", "linux/amd64", [b"layer"]))
    tar = docker_save(tmp_path / "saved", tmp_path / "saved.tar", {"app:1": image, "app:latest": image})
    assert resolve(open_artifact(tar)).names == ("docker.io/library/app:1", "docker.io/library/app:latest")
    with scripted_registry() as registry:
        pushed(registry, tar)
        assert held(registry) == image["digest"]


@pytest.mark.parametrize("wanted", ["docker.io/library/two:7", "library/two:7", "two:7", "7", "digest"])
def test_of_several_saved_images_one_is_chosen(tmp_path: Path, wanted: str) -> None:
    one, two = (unnamed(artifacts.put_image(tmp_path / "saved", "linux/amd64", [data])) for data in (b"1", b"2"))
    tar = docker_save(tmp_path / "saved", tmp_path / "saved.tar", {"one:1": one, "two:7": two})
    with scripted_registry() as registry:
        told = pushed(registry, tar, code=5)
        assert "holds 2 different images" in told and "--image NAME" in told
        for name, image in (("one:1", one), ("two:7", two)):
            assert f"{image['digest']} 'docker.io/library/{name}'" in told
        assert not registry.seen
        assert "is called 'three'" in pushed(registry, tar, "--image", "three", code=5)
        pushed(registry, tar, "--image", str(two["digest"]) if wanted == "digest" else wanted)
        assert held(registry) == two["digest"]
    out = CliRunner().invoke(cli.buildopt, ["inspect", str(tar), "--check", "--image", "two:7"]).output
    assert str(two["digest"]) in out and "problem" not in out


def test_an_image_that_an_engine_saved_in_part_is_pushed_by_platform(tmp_path: Path) -> None:
    """An engine that pulled one platform saves the index of all of them, and that one platform."""
    names = ("linux/amd64", "linux/arm64", "linux/s390x")
    images = [artifacts.put_image(tmp_path / "saved", name, [name.encode()]) for name in names]
    index = artifacts.put_json(tmp_path / "saved", {"manifests": images}, artifacts.INDEX)
    for image in (images[0], images[2]):
        artifacts.blob_path(tmp_path / "saved", str(image["digest"])).unlink()
    tar = docker_save(tmp_path / "saved", tmp_path / "saved.tar", {"app:1": index})
    with scripted_registry() as registry:
        told = pushed(registry, tar, code=5)
        assert f"{images[0]['digest']} is missing" in told and "linux/amd64" in told
        assert "--platform linux/arm64" in told
        assert not registry.seen
        pushed(registry, tar, "--platform", "linux/arm64")
        assert held(registry) == images[1]["digest"]
    missing = [problem for problem in check(open_artifact(tar)) if problem.kind == "missing"]
    assert len(missing) == 2


# --- Other shapes


def test_docker_media_types_are_kept(tmp_path: Path) -> None:
    config = artifacts.put(tmp_path, b'{"os": "linux", "architecture": "amd64"}', DOCKER_CONFIG)
    layer = artifacts.put(tmp_path, gzip.compress(b"layer"), DOCKER_LAYER)
    image = artifacts.put_json(tmp_path, {"config": config, "layers": [layer]}, DOCKER_MANIFEST)
    entry = {**image, "platform": {"os": "linux", "architecture": "amd64"}}
    index = artifacts.put_json(tmp_path, {"manifests": [entry]}, DOCKER_LIST)
    artifacts.finish(tmp_path, [index])
    with scripted_registry() as registry:
        pushed(registry, tmp_path)
        assert registry.manifests["acme/app", "1"][1] == DOCKER_LIST
        assert registry.manifests["acme/app", str(image["digest"])][1] == DOCKER_MANIFEST


def test_nested_indexes_are_pushed_from_the_inside(tmp_path: Path) -> None:
    deepest = artifacts.put_json(
        tmp_path, {"manifests": [artifacts.put_image(tmp_path, "linux/amd64", [b"x"])]}, artifacts.INDEX
    )
    middle = artifacts.put_json(tmp_path, {"manifests": [deepest]}, DOCKER_LIST)
    outer = artifacts.put_json(tmp_path, {"manifests": [middle, deepest]}, artifacts.INDEX)
    artifacts.finish(tmp_path, [outer])
    with scripted_registry() as registry:
        pushed(registry, tmp_path)
        assert held(registry) == outer["digest"]
        order = [entry.path.rpartition("/")[2] for entry in registry.seen if entry.method == "PUT"]
        order = [name for name in order if name in (deepest["digest"], middle["digest"], "1")]
        assert order == [deepest["digest"], middle["digest"], "1"]


def test_an_artifact_without_config_and_layers_is_pushed_with_its_subject(tmp_path: Path) -> None:
    """As oras writes it: the empty config is not even there."""
    image = artifacts.put_image(tmp_path, "linux/amd64", [b"x"])
    empty = {"mediaType": OCI_EMPTY, "digest": str(Digest.of(b"{}")), "size": 2}
    subject = {key: image[key] for key in ("mediaType", "digest", "size")}
    document: artifacts.Json = {
        "artifactType": "application/vnd.acme.note",
        "config": {**empty, "data": "e30="},
        "layers": [empty],
        "subject": subject,
    }
    note = artifacts.put_json(tmp_path, document, artifacts.MANIFEST)
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": [image, note]}, artifacts.INDEX)])
    with scripted_registry() as registry:
        pushed(registry, tmp_path)
        assert registry.blobs["acme/app", str(Digest.of(b"{}"))] == b"{}"
        assert ("acme/app", str(note["digest"])) in registry.manifests
    assert not [problem for problem in check(open_artifact(tmp_path), contents=True) if problem.fatal]


def test_a_manifest_that_its_descriptor_carries_needs_no_blob(tmp_path: Path) -> None:
    image = artifacts.put_image(tmp_path, "linux/amd64", [b"x"])
    path = artifacts.blob_path(tmp_path, str(image["digest"]))
    carried = {**image, "data": base64.b64encode(path.read_bytes()).decode()}
    path.unlink()
    index = artifacts.put_json(tmp_path, {"manifests": [carried]}, artifacts.INDEX)
    artifacts.finish(tmp_path, [index])
    with scripted_registry() as registry:
        pushed(registry, tmp_path)
        assert held(registry) == index["digest"]
    assert check(open_artifact(tmp_path), contents=True) == ()


def test_foreign_layers_are_told_before_the_push(tmp_path: Path) -> None:
    layer = artifacts.put(tmp_path, b"far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    artifacts.blob_path(tmp_path, str(layer["digest"])).unlink()
    layer["urls"] = ["https://far.example/layer"]
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    document: artifacts.Json = {"config": config, "layers": [layer]}
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, document, artifacts.MANIFEST)])
    with scripted_registry() as registry:
        told = pushed(registry, tmp_path)
    assert f"not sent: layer {layer['digest']}; it is said to be at https://far.example/layer" in told


# --- Everything that is wrong, at once


def gzipped_tar(name: str) -> tuple[bytes, bytes]:
    """A layer, and what it unpacks to."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as out:
        out.addfile(tarfile.TarInfo(name))
    return gzip.compress(plain.getvalue()), plain.getvalue()


def image_of(folder: Path, layers: list[artifacts.Json], diff_ids: list[str], **changes: object) -> artifacts.Json:
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **changes}
    config = artifacts.put(folder, json.dumps(document).encode(), artifacts.CONFIG)
    image = artifacts.put_json(folder, {"config": config, "layers": layers}, artifacts.MANIFEST)
    return {**image, "platform": {"os": "linux", "architecture": "amd64"}}


def kinds(path: Path) -> list[tuple[str, bool]]:
    return sorted((problem.kind, problem.fatal) for problem in check(open_artifact(path), contents=True))


GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


@pytest.mark.parametrize("pack", ["gzip", "zstd", "none", "members"])
def test_layers_are_compared_with_what_the_config_says(tmp_path: Path, pack: str) -> None:
    _, plain = gzipped_tar("file")
    packed = {
        "gzip": gzip.compress(plain),
        "zstd": zstandard(plain),
        "none": plain,
        "members": gzip.compress(plain[:100]) + gzip.compress(plain[100:]) + bytes(512),
    }[pack]
    media_type = {"gzip": GZIP, "zstd": ZSTD, "none": artifacts.LAYER, "members": GZIP}[pack]
    layer = artifacts.put(tmp_path, packed, media_type)
    artifacts.finish(tmp_path, [image_of(tmp_path, [layer], [str(Digest.of(plain))])])
    assert kinds(tmp_path) == []
    artifacts.finish(tmp_path, [image_of(tmp_path, [layer], [str(Digest.of(b"other"))])])
    assert ("diff-id", True) in kinds(tmp_path)


def test_a_config_that_says_nothing_of_its_layers_is_noted(tmp_path: Path) -> None:
    layer = artifacts.put(tmp_path, b"layer", artifacts.LAYER)
    config = artifacts.put(tmp_path, b'{"os": "linux", "architecture": "amd64"}', artifacts.CONFIG)
    artifacts.finish(
        tmp_path, [artifacts.put_json(tmp_path, {"config": config, "layers": [layer]}, artifacts.MANIFEST)]
    )
    assert kinds(tmp_path) == [("diff-id", False)]


def test_what_an_encrypted_layer_unpacks_to_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = artifacts.put(tmp_path, b"not for us", f"{GZIP}+encrypted")
    artifacts.finish(tmp_path, [image_of(tmp_path, [layer], [str(Digest.of(b"other"))])])
    assert kinds(tmp_path) == [("diff-id", False)]
    assert main(["inspect", "--check", str(tmp_path)]) == 0
    *_, note, last = capsys.readouterr().out.splitlines()
    assert note.startswith("note: layer sha256:") and "is encrypted" in note
    assert last == "every blob is there and is what it says"


def test_everything_that_is_wrong_is_listed(tmp_path: Path) -> None:
    packed, plain = gzipped_tar("file")
    good = artifacts.put(tmp_path, packed, GZIP)
    diff_id = str(Digest.of(plain))
    gone = artifacts.put(tmp_path, b"gone", GZIP)
    artifacts.blob_path(tmp_path, str(gone["digest"])).unlink()
    short = artifacts.put(tmp_path, b"a blob that was cut off", artifacts.LAYER)
    artifacts.blob_path(tmp_path, str(short["digest"])).write_bytes(b"a blob")
    changed = artifacts.put(tmp_path, b"some bytes", artifacts.LAYER)
    artifacts.blob_path(tmp_path, str(changed["digest"])).write_bytes(b"same bytes")
    cut = artifacts.put(tmp_path, packed[:-9], GZIP)
    plain_one = artifacts.put(tmp_path, plain, ZSTD)
    broken = artifacts.put(tmp_path, b'{"rootfs": ', artifacts.CONFIG)
    bad: artifacts.Json = {"mediaType": "no type", "digest": "sha256:x", "size": -1}
    images = [
        image_of(tmp_path, [good, gone, short], [diff_id] * 3),
        image_of(tmp_path, [good, changed], [diff_id] * 2, n=1),
        image_of(tmp_path, [good, cut], [str(Digest.of(b"wrong")), diff_id], n=2),
        image_of(tmp_path, [plain_one], [diff_id], architecture="arm64"),
        image_of(tmp_path, [good, good], [diff_id], n=3),
        artifacts.put_json(tmp_path, {"config": broken, "layers": [good]}, artifacts.MANIFEST),
        artifacts.put_json(tmp_path, {"config": bad, "layers": [bad, gone, {**good, "digest": 7}]}, artifacts.MANIFEST),
        artifacts.put(tmp_path, b"no document", "application/vnd.acme.none"),
        {**artifacts.put_image(tmp_path, "linux/amd64", [b"y"]), "mediaType": artifacts.INDEX},
        artifacts.put_attestation(tmp_path, {"digest": f"sha256:{'0' * 64}"}),
    ]
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": images}, artifacts.INDEX)])
    assert kinds(tmp_path) == [
        ("attestation", True),
        ("diff-id", True),  # of another content
        ("diff-id", True),  # two layers, one of which the config knows
        ("digest", True),  # changed
        ("digest", True),  # short
        ("invalid", True),  # the broken config
        ("invalid", True),  # three bad descriptors of one manifest
        ("invalid", True),
        ("invalid", True),
        ("layer", True),  # cut off
        ("media-type", False),  # called zstd
        ("media-type", True),  # an image called an index
        ("media-type", True),  # no document
        ("missing", True),
        ("platform", False),
        ("size", True),
    ]
    out = CliRunner().invoke(cli.buildopt, ["inspect", str(tmp_path), "--check", "--format", "json"]).stdout
    assert json.loads(out)["ok"] is False


def test_too_many_open_files_are_told_for_a_tar_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts.make_layout(tmp_path / "layout")
    source = open_artifact(artifacts.make_tar(tmp_path / "layout", tmp_path / "image.tar"))
    (digest, *_) = source.digests()

    def full(fd: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", full)
    with pytest.raises(ArtifactError, match="Too many open files"):
        source.blob(digest)
