"""What an artifact may try, one part a kind of attack: nothing of it leads a reader elsewhere, and each is named.

What a registry may try is in tests/registry/test_registry_attacks.py.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artifacts
import pytest
from click.testing import CliRunner

from buildopt import cli
from buildopt.errors import ArtifactError
from buildopt.oci import contents
from buildopt.oci.check import check
from buildopt.oci.descriptor import MAX_ENTRIES, OCI_INDEX, OCI_MANIFEST, Digest, parse_document
from buildopt.oci.layout import absent_layers, open_artifact, resolve

Json = artifacts.Json
HEX = "a" * 64
BLOB = f"blobs/sha256/{HEX}"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture
def tar(layout: Path, tmp_path: Path) -> Path:
    return artifacts.make_tar(layout, tmp_path / "image.tar")


# --- Entries of a tar that a reader who unpacks would follow, or that two readers would take for different things


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def raw(name: str, kind: bytes, size: bytes = b"00000000000", body: bytes = b"") -> bytes:
    """An entry as no writer of tars would make it: ``size`` is the header's field."""
    header = bytearray(entry(name).tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = kind
    header[124 : 124 + len(size)] = size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + body + bytes(-len(body) % 512)


def pax(**values: str) -> bytes:
    """An extended header with these values."""
    body = b""
    for key, value in values.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length = len(str(length)) + len(record)
        body += str(length).encode() + record
    return raw("extended", b"x", b"%011o" % len(body), body)


def long_name(name: str) -> bytes:
    """GNU's header for a long name."""
    body = name.encode() + b"\0"
    return raw("././@LongLink", b"L", b"%011o" % len(body), body)


def prepended(path: Path, data: bytes) -> None:
    path.write_bytes(data + path.read_bytes())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(BLOB, b"2"), "is a symbolic link"),
        (raw(BLOB, b"1"), "is a hard link"),
        (raw("null", b"3"), "is a device"),
        (raw("disk", b"4"), "is a device"),
        (raw("pipe", b"6"), "is a pipe"),
        (raw("sparse", b"S"), "is a sparse file"),
        (raw("continued", b"M"), "is no plain file"),
        (raw("old", b"V"), "is no plain file"),
        (raw("././@LongLink", b"K", b"00000000004", b"long"), "is no plain file"),
        (raw("../outside", b"0"), "not a plain name"),
        (raw("blobs/../../outside", b"0"), "not a plain name"),
        (raw("..", b"5"), "not a plain name"),
        (raw("/etc/cron.d/x", b"0"), "absolute name"),
        (raw("blobs\\sha256\\x", b"0"), "not a plain name"),
        (raw("index.json", b"0"), "stands twice"),
        (raw("./index.json", b"0"), "stands twice"),
        (raw(".//././index.json", b"0"), "stands twice"),
        (raw("index.json/", b"0"), "name of a folder"),
        (raw("index.json/.", b"0"), "name of a folder"),
        (raw("", b"0"), "name of a folder"),
        (raw("index.json", b"5"), "a folder and a file"),
        (raw("folder", b"5", b"00000001000", bytes(512)), "folder with content"),
        (raw("large", b"0", b"\x80" + b"\xff" * 11), "cut off"),
        (raw("negative", b"0", b"\xff" * 12), "no valid size"),
        (raw("odd", b"0", b"99999999999"), "no valid size"),
        (pax(path="../outside") + raw("harmless", b"0"), "not a plain name"),
        (pax(path="/etc/passwd") + raw("harmless", b"0"), "absolute name"),
        (pax(path="index.json") + raw("harmless", b"0"), "stands twice"),
        (pax(path="a\0/../b") + raw("harmless", b"0"), "not a plain name"),
        (pax(size="1" + "0" * 17) + raw("harmless", b"0"), "cut off"),
        (pax(size="1" + "0" * 30) + raw("harmless", b"0"), "no valid size"),
        (pax(size="-1") + raw("harmless", b"0"), "no valid size"),
        (pax(GNU__sparse__name="index.json") + raw("harmless", b"0"), "sparse"),
        (pax(path="one") + pax(path="two") + raw("harmless", b"0"), "two extended tar headers"),
        (pax(path="one") + long_name("two") + raw("harmless", b"0"), "two extended tar headers"),
        (long_name("../" * 60 + "outside") + raw("harmless", b"0"), "not a plain name"),
        (long_name("./" * 60 + "index.json") + raw("harmless", b"0"), "stands twice"),
        (raw("global", b"g", b"00000000022", b"18 path=index.json"), "names files"),
        (raw("extended", b"x", b"00000000004", b"9 a="), "cannot be read"),
        (raw("extended", b"x", b"%011o" % 5007, b"1" * 5000 + b" path=x\n"[:7]), "cannot be read"),
        (raw("extended", b"x", b"00000000012", b"00000012 a"), "cannot be read"),
        (raw("extended", b"x", b"00004000001", bytes(0o4000001)), "tar header of"),
    ],
)
def test_a_tar_with_a_dangerous_entry_is_refused(tar: Path, data: bytes, reason: str) -> None:
    prepended(tar, data)
    with pytest.raises(ArtifactError, match=reason):
        open_artifact(tar)


@pytest.mark.parametrize("name", ["./{}", ".//{}", "././{}", "blobs/./sha256/{hex}"])
def test_a_blob_that_stands_twice_is_refused_however_it_is_written(layout: Path, tar: Path, name: str) -> None:
    """Two readers would each take another one of them."""
    known = next((layout / "blobs" / "sha256").iterdir()).name
    artifacts.add_entry(tar, entry(name.format(f"blobs/sha256/{known}", hex=known)), b"something else")
    with pytest.raises(ArtifactError, match=rf"blobs/sha256/{known}.* stands twice"):
        open_artifact(tar)


def test_a_long_name_that_is_plain_is_read(layout: Path, tar: Path) -> None:
    name = next((layout / "blobs" / "sha256").iterdir())
    tar.write_bytes(b"")
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as out:
        for path in sorted((layout / "blobs" / "sha256").iterdir()):
            out.add(path, "./" * 60 + f"blobs/sha256/{path.name}")
        for part in ("index.json", "oci-layout"):
            out.add(layout / part, part)
    source = open_artifact(tar)
    assert source.read(Digest("sha256", name.name)) == name.read_bytes()


def test_extended_headers_take_no_more_time_than_their_bytes(tar: Path) -> None:
    """Were the rest of a header copied for each of its records, this would take a minute."""
    body = b"5 a=\n" * ((1 << 20) // 5)
    prepended(tar, (raw("extended", b"x", b"%011o" % len(body), body) + raw("file", b"5")) * 4)
    start = time.monotonic()
    open_artifact(tar)
    assert time.monotonic() - start < 15


def test_entries_without_end_are_refused(tar: Path) -> None:
    prepended(tar, raw("folder", b"5") * 40_001)
    with pytest.raises(ArtifactError, match="more than 40000 entries"):
        open_artifact(tar)


def test_every_unsafe_entry_is_listed_at_once(tar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepended(tar, raw("one", b"2") + raw("/two", b"0") + raw("../three", b"0") + raw("index.json", b"0"))
    assert cli.main(["inspect", str(tar), "--check", "--format", "json"]) == 5
    found = json.loads(capsys.readouterr().out)["problems"]
    problems = [problem["message"] for problem in found if problem["kind"] == "unsafe"]
    for name, problem in zip(("one", "/two", "../three", "index.json"), problems, strict=True):
        assert name in problem


# --- Layouts that lead elsewhere by links


@pytest.mark.parametrize("place", ["blobs", "blobs/sha256", "index.json", "oci-layout", "blob", "dangling", "folder"])
def test_a_layout_with_a_link_is_refused(layout: Path, tmp_path: Path, place: str) -> None:
    image = artifacts.blob_path(layout, str(resolve(open_artifact(layout)).digest))
    path = image if place in ("blob", "dangling", "folder") else layout / place
    os.rename(path, tmp_path / "moved")
    if place == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("moved" if place != "dangling" else "nothing"))
    with pytest.raises(ArtifactError, match="link or not a plain file"):
        resolve(open_artifact(layout))


def test_links_that_nothing_refers_to_are_found_by_a_check(layout: Path) -> None:
    (layout / "blobs" / "sha256" / HEX).symlink_to("/etc/passwd")
    assert [problem.kind for problem in check(open_artifact(layout)) if problem.fatal] == ["unsafe"]
    layer = resolve(open_artifact(layout)).blobs[1]
    path = artifacts.blob_path(layout, str(layer.digest))
    path.unlink()
    path.symlink_to("/dev/zero")
    assert [problem.kind for problem in check(open_artifact(layout)) if problem.fatal] == ["unsafe", "unsafe"]


# --- Digests that are no digests


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text[:-1] + "G",
        lambda text: text.upper(),
        lambda text: "../" * (len(text) // 3) + "x" * (len(text) % 3),
        lambda text: text[:-2] + "\r\n",
        lambda text: text + "\0",
        lambda text: f" {text}",
        lambda text: text[:-1] + "٣",
        lambda text: "",
    ],
)
def test_a_digest_follows_the_grammar_of_its_algorithm(algorithm: str, change: Callable[[str], str]) -> None:
    good = hashlib.new(algorithm, b"x").hexdigest()
    assert str(Digest.parse(f"{algorithm}:{good}")) == f"{algorithm}:{good}"
    with pytest.raises(ArtifactError, match="not a digest"):
        Digest.parse(f"{algorithm}:{change(good)}")


@pytest.mark.parametrize("text", [f"sha384:{'a' * 96}", f"SHA256:{HEX}", f"sha256+b64:{HEX}", HEX, f"sha512:{HEX}"])
def test_other_algorithms_are_none(text: str) -> None:
    with pytest.raises(ArtifactError, match="not a digest"):
        Digest.parse(text)


@pytest.mark.parametrize("key", ["config", "layers", "manifests", "subject"])
@pytest.mark.parametrize("digest", [f"sha256:{'../' * 21}x", "sha256:" + "A" * 64, "sha1:" + "a" * 40])
def test_a_digest_is_read_strictly_in_every_place(key: str, digest: str) -> None:
    bad = {"mediaType": "a/b", "digest": digest, "size": 1}
    good = {**bad, "digest": f"sha256:{HEX}"}
    document: dict[str, object] = {"manifests": [good]} if key == "manifests" else {"config": good, "layers": [good]}
    document[key] = [bad] if key in ("layers", "manifests") else bad
    with pytest.raises(ArtifactError, match="not a digest"):
        parse_document(json.dumps(document).encode())


# --- Layers that are elsewhere


def test_foreign_layers_are_named_with_where_they_are_said_to_be(tmp_path: Path) -> None:
    layer = artifacts.put(tmp_path, b"far", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    artifacts.blob_path(tmp_path, str(layer["digest"])).unlink()
    layer["urls"] = ["https://far.example/layer\x1b[2J"]
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"config": config, "layers": [layer]}, OCI_MANIFEST)])
    source = open_artifact(tmp_path)
    assert [str(blob.digest) for blob in absent_layers(source, resolve(source))] == [layer["digest"]]
    for words in ((), ("--check",)):
        out = CliRunner().invoke(cli.buildopt, ["inspect", str(tmp_path), *words]).stdout
        assert "https://far.example/layer" in out and "\x1b" not in out


# --- Documents that are two things at once, or not what they are called


LAYER = {"mediaType": artifacts.LAYER, "digest": f"sha256:{HEX}", "size": 3}
BOTH = {"schemaVersion": 2, "config": LAYER, "layers": [LAYER], "manifests": [{**LAYER, "mediaType": OCI_MANIFEST}]}


@pytest.mark.parametrize(
    ("document", "media_type", "reason"),
    [
        (BOTH, OCI_MANIFEST, "manifest and an index at once"),
        (BOTH, OCI_INDEX, "manifest and an index at once"),
        ({"manifests": [], "config": LAYER}, OCI_INDEX, "manifest and an index at once"),
        ({"manifests": [], "Layers": [LAYER]}, OCI_INDEX, "some readers take for layers"),
        ({"layers": [], "config": LAYER, "MANIFESTS": []}, OCI_MANIFEST, "some readers take for manifests"),
        ({"layers": [], "config": LAYER, "manifeſts": []}, OCI_MANIFEST, "some readers take for manifests"),
        ({"layers": [], "config": {**LAYER, "Digest": "x"}}, OCI_MANIFEST, "some readers take for digest"),
        ({"layers": [], "config": LAYER, "MediaType": OCI_INDEX}, OCI_MANIFEST, "some readers take for mediaType"),
        ({"mediaType": OCI_INDEX, "config": LAYER, "layers": []}, OCI_MANIFEST, "its descriptor says"),
        ({"mediaType": OCI_MANIFEST, "manifests": []}, OCI_INDEX, "its descriptor says"),
        ({"mediaType": OCI_MANIFEST, "manifests": []}, "", "is an index but called"),
        ({"mediaType": OCI_INDEX, "config": LAYER, "layers": []}, "", "has no manifests but is called"),
    ],
)
def test_a_document_with_two_meanings_is_refused(document: object, media_type: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        parse_document(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize(
    "text", ['{"manifests": [], "manifests": []}', '{"manifests":[],"annotations":{"a":"","a":""}}']
)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="stands twice"):
        parse_document(text.encode())


def test_inline_data_that_is_not_its_digest_is_refused() -> None:
    empty = {"mediaType": "a/b", "digest": str(Digest.of(b"{}")), "size": 2}
    for data in ("", "e30", "W10=", "e30=\n", "e30=e30=", 7, "bm90aGluZw=="):
        with pytest.raises(ArtifactError, match="carries data that is not"):
            parse_document(json.dumps({"config": {**empty, "data": data}, "layers": []}).encode())


# --- Bombs


def nested(folder: Path, depth: int) -> None:
    descriptor = artifacts.put_image(folder, "linux/amd64", [b"x"])
    for _ in range(depth):
        descriptor = artifacts.put_json(folder, {"manifests": [descriptor, descriptor]}, OCI_INDEX)
    artifacts.finish(folder, [descriptor])


def many(folder: Path) -> None:
    """Indexes of indexes with more manifests, all of them there, than any image has."""
    config = artifacts.put(folder, b"{}", artifacts.CONFIG)
    indexes = [
        artifacts.put_json(
            folder,
            {
                "manifests": [
                    artifacts.put_json(folder, {"config": config, "layers": [], "n": [part, number]}, OCI_MANIFEST)
                    for number in range(MAX_ENTRIES // 2 + 1)
                ]
            },
            OCI_INDEX,
        )
        for part in range(2)
    ]
    artifacts.finish(folder, [artifacts.put_json(folder, {"manifests": indexes}, OCI_INDEX)])


def large(folder: Path) -> None:
    """Manifests that are each as large as they may be."""
    config = artifacts.put(folder, b"{}", artifacts.CONFIG)
    padding = "x" * (4 * 1024 * 1024 - 1000)
    manifests = [
        artifacts.put_json(folder, {"config": config, "layers": [], "n": number, "padding": padding}, OCI_MANIFEST)
        for number in range(20)
    ]
    artifacts.finish(folder, [artifacts.put_json(folder, {"manifests": manifests}, OCI_INDEX)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: nested(folder, 40), "deep"),
        (many, "more than 2000 manifests"),
        (large, "larger than 64 MiB"),
        (lambda folder: (folder / "index.json").write_bytes(b"[" * 2_000_000), "nested too deeply|not valid JSON"),
        (lambda folder: (folder / "index.json").write_bytes(b'{"a":' * 500_000), "nested too deeply|not valid JSON"),
        (lambda folder: os.truncate(folder / "index.json", 1 << 33), "larger than 4 MiB"),
        (lambda folder: os.truncate(folder / "oci-layout", 1 << 33), "larger than 4 MiB"),
        (
            lambda folder: (folder / "index.json").write_text('{"manifests": [' + "1" * 100_000 + "]}"),
            "JSON|not a desc",
        ),
    ],
)
def test_a_bomb_does_not_go_off(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    artifacts.make_layout(tmp_path)
    make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match=reason):
            resolve(open_artifact(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


def test_a_layer_that_unpacks_without_end_is_left_and_nothing_else_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MAX_UNPACKED", 1 << 30)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as out:
        for _ in range(1100):
            out.write(bytes(1 << 20))
    artifacts.finish(tmp_path, [artifacts.put_image(tmp_path, "linux/amd64", [packed.getvalue()])])
    source = open_artifact(tmp_path)
    tracemalloc.start()
    try:
        assert [problem.kind for problem in check(source)] == []
        (problem,) = (problem for problem in check(source, contents=True) if problem.fatal)
        assert "unpacks to more than 1 GiB" in problem.message
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# --- Whatever a document says

VALUES: list[object] = [None, True, 0, -1, 1e300, 10**30, "", [], {}, "a/b", [None], [[]], {"a": None}, "\x1b[2J"]


def changed(document: Json, chance: random.Random) -> Json:
    """The document with something in it gone, or something else."""
    places: list[tuple[Any, Any]] = []

    def look(value: object) -> None:
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in inside:
            places.append((value, key))
            look(inner)

    look(document)
    for holder, key in chance.sample(places, min(len(places), chance.choice((1, 1, 2)))):
        if isinstance(holder, dict) and chance.random() < 0.2:
            holder.pop(str(key), None)
        else:
            holder[key] = chance.choice([*VALUES, f"sha256:{HEX}", OCI_INDEX, OCI_MANIFEST])
    return document


@pytest.mark.parametrize("which", ["config", "manifest", "index", "index.json"])
def test_what_cannot_be_pushed_is_always_listed_and_nothing_is_a_bug(tmp_path: Path, which: str) -> None:
    chance = random.Random(which)
    refused = 0
    for number in range(60):
        folder = tmp_path / str(number)

        def made(name: str, document: Json) -> Json:
            return changed(document, chance) if name == which else document

        layer = artifacts.put(folder, b"layer", artifacts.LAYER)
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        content = made("config", {"os": "linux", "architecture": "amd64", "rootfs": rootfs})
        config = artifacts.put(folder, json.dumps(content).encode(), artifacts.CONFIG)
        manifest = made("manifest", {"config": config, "layers": [layer, layer], "subject": dict(layer)})
        image = artifacts.put_json(folder, manifest, OCI_MANIFEST)
        entries = [{**image, "platform": {"os": "linux", "architecture": "amd64"}}]
        entries.append(artifacts.put_attestation(folder, image))
        index = artifacts.put_json(folder, made("index", {"manifests": entries}), OCI_INDEX)
        artifacts.finish(folder, [index])
        outer = made("index.json", json.loads((folder / "index.json").read_text()))
        (folder / "index.json").write_text(json.dumps(outer))
        source = open_artifact(folder)
        problems = check(source, contents=True)
        assert all(problem.message.isprintable() for problem in problems)
        try:
            resolve(source)
        except ArtifactError as error:
            refused += 1
            assert error.message.isprintable()
            assert any(problem.fatal for problem in problems), error.message
    assert refused > 10 or which == "config"


# --- Words that would steer a terminal


def test_nothing_of_an_artifact_steers_a_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    image = artifacts.put_image(tmp_path, "linux/amd64", [b"x"])
    statement = artifacts.put(tmp_path, b"{}", "application/vnd.in-toto+json")
    statement["annotations"] = {"in-toto.io/predicate-type": evil}
    config = artifacts.put(tmp_path, b"{}", artifacts.CONFIG)
    attestation = artifacts.put_json(tmp_path, {"config": config, "layers": [statement]}, OCI_MANIFEST)
    annotations = {"vnd.docker.reference.type": evil, "vnd.docker.reference.digest": evil}
    index = artifacts.put_json(tmp_path, {"manifests": [image, {**attestation, "annotations": annotations}]}, OCI_INDEX)
    name = {"annotations": {"io.containerd.image.name": evil}}
    artifacts.finish(tmp_path, [{**index, **name}])
    outputs = [
        CliRunner().invoke(cli.buildopt, ["inspect", str(tmp_path), *words]).output for words in ((), ("--check",))
    ]
    artifacts.finish(
        tmp_path, [{**index, **name}, {**image, **name}, {**artifacts.put_image(tmp_path, "a/b", []), **name}]
    )
    with pytest.raises(ArtifactError, match="2 different images") as caught:
        resolve(open_artifact(tmp_path))
    for text in (*outputs, *caught.value.detail):
        assert all(letter.isprintable() or letter == "\n" for letter in text), text
