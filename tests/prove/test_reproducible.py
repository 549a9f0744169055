"""Two builds of one image are compared; what differs is named with the instruction that made it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import artifacts
import pytest
import zstandard

from buildopt.oci import layout as oci
from buildopt.prove.reproducible import PlatformComparison, compare
from buildopt.report import reproducible as report

Member = tuple[str, bytes, dict[str, object]]


def member(name: str, data: bytes = b"", **fields: object) -> Member:
    return name, data, fields


def packed(*members: Member, level: int = 6, pax: bool = True) -> bytes:
    """A gzipped layer."""
    out = io.BytesIO()
    kind = tarfile.PAX_FORMAT if pax else tarfile.USTAR_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data, fields in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), level, mtime=0)


Steps = Sequence[tuple[str, bytes | None]]


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., oci.ArtifactSource]:
    """Writes an image of one platform whose history says which step made which layer."""

    def make(name: str, steps: Steps, *, media_type: str = artifacts.LAYER, **config: object) -> oci.ArtifactSource:
        folder = tmp_path / name
        folder.mkdir()
        layers = [layer for _, layer in steps if layer is not None]
        document = {
            "os": "linux",
            "architecture": "amd64",
            "created": "2026-01-01T00:00:00Z",
            "history": [
                {"created_by": text, **({} if layer is not None else {"empty_layer": True})} for text, layer in steps
            ],
            "rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(unpacked(one)).hexdigest()}" for one in layers]},
            **config,
        }
        described = artifacts.put(folder, json.dumps(document).encode(), artifacts.CONFIG)
        blobs = [artifacts.put(folder, layer, media_type) for layer in layers]
        manifest = artifacts.put_json(folder, {"config": described, "layers": blobs}, artifacts.MANIFEST)
        artifacts.finish(folder, [manifest])
        return oci.open_artifact(folder)

    return make


def unpacked(layer: bytes) -> bytes:
    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


def one(found: Sequence[PlatformComparison]) -> PlatformComparison:
    (item,) = found
    return item


BASE = packed(member("etc/base", b"base"))


def test_the_same_bytes_are_the_same(image: Callable[..., oci.ArtifactSource]) -> None:
    steps = [("COPY a / # buildkit", BASE)]
    found = one(compare(image("a", steps), image("b", steps)))
    assert found.same and found.platform == "linux/amd64" and found.first is not None
    assert not found.settings and not found.layers
    assert list(report.text((found,), timed=False)) == [f"reproducible: linux/amd64 is {found.first} twice"]
    assert report.document((found,))["same"] is True


def test_each_way_to_differ_is_named(image: Callable[..., oci.ArtifactSource]) -> None:
    old = packed(
        member("content", b"one"), member("mode"), member("owner"), member("time"), member("kind"), member("gone"),
        member("second", mtime=1_700_000_000.25), member("link", type=tarfile.SYMTYPE, linkname="a"),
        member(".wh.removed"), member("hard", type=tarfile.LNKTYPE, linkname="etc/base"), member("same", b"same"),
    )  # fmt: skip
    new = packed(
        member("content", b"two!"), member("mode", mode=0o755), member("owner", uid=1), member("time", mtime=0),
        member("kind", type=tarfile.DIRTYPE), member("second", mtime=1_700_000_000.5),
        member("link", type=tarfile.SYMTYPE, linkname="b"), member("same", b"same"), member("new"),
    )  # fmt: skip
    first = image("a", [("COPY a /", BASE), ("ENV A=1", None), ("RUN   x # buildkit", old)])
    second = image("b", [("COPY a /", BASE), ("ENV A=1", None), ("RUN   x # buildkit", new)])
    found = one(compare(first, second))
    assert not found.same and not found.only_times and not found.settings
    (layer,) = found.layers
    assert (layer.number, layer.instruction) == (2, "RUN x")
    assert {file.path: file.what for file in layer.files} == {
        "/content": "content", "/mode": "mode", "/owner": "owner", "/time": "time", "/kind": "type", "/gone": "lost",
        "/second": "time", "/link": "target", "/new": "new", "/removed": "removed", "/hard": "hard link",
    }  # fmt: skip
    details = {file.path: file.detail for file in layer.files}
    assert details["/content"] == "was 3 bytes, is 4"
    assert details["/mode"] == "was 0644, is 0755" and details["/owner"] == "was 0:0, is 1:0"
    assert details["/time"] == "time was 2023-11-14 22:13:20, is 1970-01-01 00:00:00"
    assert details["/second"] == "time was 2023-11-14 22:13:20.250000, is 2023-11-14 22:13:20.500000"
    assert details["/hard"] == "to /etc/base by the first build alone" and layer.count == 11
    (told,) = json.loads(json.dumps(report.document((found,))))["platforms"]
    assert told["same"] is False and told["first"] != told["second"]
    assert (told["layers"][0]["number"], told["layers"][0]["count"]) == (2, 11)
    assert told["layers"][0]["files"][0] == {"path": "/content", "what": "content", "detail": "was 3 bytes, is 4"}
    lines = list(report.text((found,), timed=True))
    assert "  layer 2: RUN x" in lines and "    /mode: mode (was 0644, is 0755)" in lines
    assert "--source-date-epoch" not in lines[-1] and "hint" in lines[-1]


def test_order_and_compression_are_told_apart_from_content(image: Callable[..., oci.ArtifactSource]) -> None:
    a, b = member("a", b"a"), member("b", b"b")
    pairs = [
        (packed(a, b), packed(b, a), "the same files in another order"),
        (packed(a, b, level=1), packed(a, b, level=0), "the same content, compressed in another way"),
        (packed(a, b, pax=True), packed(member("a", b"a", uname="x"), b), "only what tar notes beside them"),
    ]
    for number, (old, new, note) in enumerate(pairs):
        steps = (image(f"a{number}", [("RUN x", old)]), image(f"b{number}", [("RUN x", new)]))
        (layer,) = one(compare(*steps)).layers
        assert note in layer.note and not layer.files and layer.count == 0, note


def test_a_step_that_makes_a_layer_only_once(image: Callable[..., oci.ArtifactSource]) -> None:
    after = packed(member("after"))
    first = image("a", [("RUN maybe", BASE), ("COPY after /", after)])
    second = image("b", [("RUN maybe", None), ("COPY after /", after)])
    found = one(compare(first, second))
    (layer,) = found.layers
    assert (layer.instruction, layer.note) == ("RUN maybe", "only the first build wrote a layer here")
    assert layer.second is None
    assert [item.name for item in found.settings] == ["history[0].empty_layer"]


def test_settings_are_compared_steps_together_and_secrets_left_out(image: Callable[..., oci.ArtifactSource]) -> None:
    def history(second: int) -> list[dict[str, object]]:
        return [{"created": f"0{second}:{number}", "created_by": f"RUN |1 TOKEN=hunter{second}"} for number in (1, 2)]

    settings = {"config": {"Env": ["A=1"], "Labels": {"built": "hunter1"}}}
    other = {"config": {"Env": ["A=2"], "Labels": {"built": "x" * 1000}}}
    first = image("a", [("", BASE), ("", BASE)], history=history(1), **settings)
    second = image("b", [("", BASE), ("", BASE)], history=history(2), created="2026-01-02T00:00:00Z", **other)
    found = one(compare(first, second, lambda text: text.replace("hunter1", "***").replace("hunter2", "***")))
    assert "hunter" not in repr(found)
    values = {item.name: (item.before, item.after) for item in found.settings}
    assert values["config.Env[0]"] == ("A=1", "A=2")
    assert values["created"] == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert values["history[0].created (and 1 more)"] == ("01:1", "02:1")
    assert len(values["config.Labels.built"][1] or "") < 400


def test_times_alone_lead_to_the_option_for_them(image: Callable[..., oci.ArtifactSource]) -> None:
    first = image("a", [("COPY a /", packed(member("a")))])
    second = image("b", [("COPY a /", packed(member("a", mtime=1)))], created="2026-01-02T00:00:00Z")
    found = one(compare(first, second))
    assert found.only_times
    *_, hint = report.text((found,), timed=False)
    assert "--source-date-epoch git" in hint and "nothing else differs" in hint


def test_layers_of_zstd_are_read_too(image: Callable[..., oci.ArtifactSource]) -> None:
    kind = artifacts.LAYER.replace("gzip", "zstd")

    def zstd(data: bytes) -> bytes:
        return zstandard.compress(gzip.decompress(packed(member("a", data))))

    first = image("a", [("COPY a /", zstd(b"1"))], media_type=kind)
    second = image("b", [("COPY a /", zstd(b"2"))], media_type=kind)
    (layer,) = one(compare(first, second)).layers
    assert [item.path for item in layer.files] == ["/a"]


def test_a_platform_that_only_one_build_has(tmp_path: Path) -> None:
    for name, platforms in (("both", ("linux/amd64", "linux/arm64")), ("one", ("linux/amd64",))):
        images = [artifacts.put_image(tmp_path / name, platform, [BASE]) for platform in platforms]
        artifacts.finish(tmp_path / name, [artifacts.put_json(tmp_path / name, {"manifests": images}, artifacts.INDEX)])
    found = compare(oci.open_artifact(tmp_path / "both"), oci.open_artifact(tmp_path / "one"))
    assert [item.same for item in found] == [True, False]
    missing = {item.platform: item.second for item in found}
    assert missing["linux/arm64"] is None and missing["linux/amd64"] is not None
    assert any("does not have it" in line for line in report.text(found, timed=False))


def test_many_files_are_counted_and_the_first_named(image: Callable[..., oci.ArtifactSource]) -> None:
    old = packed(*(member(f"f{number:05}", b"1") for number in range(1500)))
    new = packed(*(member(f"f{number:05}", b"2") for number in range(1500)))
    found = one(compare(image("a", [("RUN x", old)]), image("b", [("RUN x", new)])))
    assert (found.layers[0].count, len(found.layers[0].files)) == (1500, 1000)
    assert any(line.strip() == "and 1488 more" for line in report.text((found,), timed=True))
