"""Artifacts of single platforms become one, whatever their order and form; what cannot be one is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import artifacts
import pytest
from artifacts import Json
from click.testing import CliRunner

from buildopt import cli
from buildopt.build import merge
from buildopt.oci import layout as oci
from buildopt.oci.check import check
from buildopt.oci.descriptor import Index
from buildopt.oci.gate_record import FAILED, PASSED, GateRecord, GateResult

MakePart = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def part(folder: Path) -> MakePart:
    """Writes an artifact of one platform, as BuildKit does: an index with an attestation, or a plain manifest."""

    def make(
        name: str,
        platform: str = "linux/amd64",
        *,
        seed: str = "",
        attested: bool = True,
        names: Sequence[str] = (),
        annotations: Json | None = None,
        tar: bool = False,
    ) -> Path:
        path = folder / name
        image = artifacts.put_image(path, platform, [b"shared", f"{platform} {seed}".encode()])
        top: Json = {key: value for key, value in image.items() if key != "platform"}
        if attested:
            document: Json = {"manifests": [image, artifacts.put_attestation(path, image)]}
            top = artifacts.put_json(
                path, document | ({"annotations": annotations} if annotations else {}), artifacts.INDEX
            )
        tops = [{**top, "annotations": {"org.opencontainers.image.ref.name": one}} for one in names] or [top]
        artifacts.finish(path, tops)
        if not tar:
            return path
        artifacts.make_tar(path, folder / f"{name}.tar")
        shutil.rmtree(path)
        return folder / f"{name}.tar"

    return make


def run(*words: object, code: int = 0) -> tuple[str, str]:
    """Run ``buildopt merge``; stdout and stderr."""
    import contextlib
    import io

    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = cli.main(["merge", *map(str, words)])
    assert isinstance(out.buffer, io.BytesIO)
    assert found == code, err.getvalue()
    return out.buffer.getvalue().decode(), err.getvalue()


def whole(path: Path) -> oci.Image:
    source = oci.open_artifact(path)
    assert check(source) == ()
    return oci.resolve(source)


def test_any_order_any_form_one_digest(part: MakePart) -> None:
    parts = [part("c", "linux/s390x", attested=False), part("a", tar=True), part("b", "linux/arm64")]
    digests = set()
    for number, order in enumerate(itertools.permutations(parts)):
        digests.add(run(*order, "-o", f"out{number}{'.tar' if number % 2 else ''}")[0].strip())
    (digest,) = digests
    image = whole(Path("out0"))
    assert str(image.digest) == digest == str(whole(Path("out1.tar")).digest)
    assert [str(entry.platform) for entry in image.platforms] == ["linux/amd64", "linux/arm64", "linux/s390x"]
    assert [entry.attests for entry in image.attestations] == [str(e.descriptor.digest) for e in image.platforms[:2]]
    assert isinstance(image.document, Index)
    assert [entry.attestation for entry in image.document.manifests] == [False, False, False, True, True]
    originals = {
        str(entry.descriptor.digest): entry.manifest.data for one in parts for entry in merge.read(one).image.manifests
    }
    assert {str(entry.descriptor.digest): entry.manifest.data for entry in image.manifests} == originals


def test_json_says_where_each_platform_came_from(part: MakePart) -> None:
    out, err = run(part("a"), part("b", "linux/arm64"), "-o", "out", "--format", "json", "-q")
    document = json.loads(out)
    assert not err and document["version"] == 1 and document["attestations"] == 2
    assert document["digest"] == str(whole(Path("out")).digest)
    assert [(one["platform"], Path(one["from"]).name) for one in document["platforms"]] == [
        ("linux/amd64", "a"), ("linux/arm64", "b"),
    ]  # fmt: skip


def test_the_index_is_written_as_go_writes_it(part: MakePart) -> None:
    run(part("a", attested=False), part("b", "linux/arm64", annotations={"z": "1 < 2 & ü", "a": "x"}), "-o", "out")
    image = whole(Path("out"))
    assert isinstance(image.document, Index)
    text = image.document.data.decode()
    assert text.startswith('{\n  "schemaVersion": 2,\n  "mediaType": "application/vnd.oci.image.index.v1+json",\n')
    assert '"annotations": {\n    "a": "x",\n    "z": "1 \\u003c 2 \\u0026 ü"\n  }\n}' in text
    assert '"platform": {\n        "architecture": "amd64",\n        "os": "linux"\n      }' in text


def test_blobs_of_folders_are_linked_and_parts_stay_as_they_were(part: MakePart) -> None:
    a, b = part("a"), part("b", "linux/arm64", tar=True)
    before = {path: path.read_bytes() for path in [*a.rglob("*"), b] if path.is_file()}
    run(a, b, "-o", "out")
    shared = "blobs/sha256/" + hashlib.sha256(b"shared").hexdigest()
    assert os.stat(a / shared).st_ino == os.stat(Path("out") / shared).st_ino
    shutil.rmtree("out")
    assert {path: path.read_bytes() for path in before} == before


def test_one_platform_twice(part: MakePart) -> None:
    a, again = part("a"), part("again", tar=True)
    assert run(a, again, "-o", "same")[0] == run(a, "-o", "alone")[0], "the same digest twice is no conflict"
    _, err = run(a, part("other", seed="other"), "-o", "out", code=2)
    assert "two different images of linux/amd64" in err and err.count("sha256:") == 2 and "other: " in err
    assert not Path("out").exists()


@pytest.mark.parametrize(("one", "other"), [("linux/arm64", "linux/arm64/v8"), ("linux/arm", "linux/arm/v7")])
def test_two_words_for_one_platform(folder: Path, part: MakePart, one: str, other: str) -> None:
    second = folder / "second"
    image = artifacts.put_image(second, other, [b"second"])
    system, architecture, variant = other.split("/")
    image["platform"] = {"os": system, "architecture": architecture, "variant": variant}
    artifacts.finish(second, [artifacts.put_json(second, {"manifests": [image]}, artifacts.INDEX)])
    assert "two different images of" in run(part("first", one), second, "-o", "out", code=2)[1]


def test_two_windows_of_different_versions_are_two_platforms(folder: Path) -> None:
    for version in ("10.0.20348.1", "10.0.17763.2"):
        image = artifacts.put_image(folder / version, "windows/amd64", [version.encode()])
        image["platform"] = {"os": "windows", "architecture": "amd64", "os.version": version}
        artifacts.finish(
            folder / version, [artifacts.put_json(folder / version, {"manifests": [image]}, artifacts.INDEX)]
        )
    run("10.0.20348.1", "10.0.17763.2", "-o", "out")
    image_index = whole(Path("out")).document
    versions = [entry["platform"]["os.version"] for entry in json.loads(image_index.data)["manifests"]]
    assert versions == ["10.0.17763.2", "10.0.20348.1"]


def test_names(part: MakePart) -> None:
    a = part("a", names=["app:1"])
    assert whole_names(run(a, part("b", "linux/arm64", names=["app:1"]), "-o", "out")) == ("app:1",)
    assert whole_names(run(a, part("c", "linux/arm64"), "-o", "out")) == ("app:1",)
    other = part("d", "linux/arm64", names=["web:1", "web:2"])
    _, err = run(a, other, "-o", "out", code=2)
    assert "different names" in err and "app:1" in err and "web:1, web:2" in err and "-t NAME" in err
    assert whole_names(run(a, other, "-o", "out", "-t", "ghcr.io/acme/app:2")) == ("ghcr.io/acme/app:2",)
    assert "cannot carry a digest" in run(a, "-o", "out", "-t", f"x@sha256:{'0' * 64}", code=2)[1]


def whole_names(_: object) -> tuple[str, ...]:
    return whole(Path("out")).names


def test_annotations_that_all_have_stay(part: MakePart) -> None:
    a, b = part("a", annotations={"x": "1", "y": "1"}), part("b", "linux/arm64", annotations={"x": "1", "y": "2"})
    _, err = run(a, b, part("c", "linux/386", attested=False), "-o", "out")
    assert "left out: y" in err
    document = whole(Path("out")).document
    assert isinstance(document, Index) and dict(document.annotations) == {"x": "1"}


def test_damaged_parts_are_refused_before_anything_is_written(part: MakePart, folder: Path) -> None:
    a, b = part("a"), part("b", "linux/arm64")
    blob = b / "blobs/sha256" / hashlib.sha256(b"shared").hexdigest()
    blob.write_bytes(b"changed")
    _, err = run(a, b, "-o", "out", code=5)
    assert f"{b} is damaged" in err and not Path("out").exists()
    blob.unlink()
    assert "is missing" in run(a, b, "-o", "out", code=5)[1]
    assert "no artifact at nothing" in run(a, "nothing", "-o", "out", code=5)[1]
    (folder / "notes").write_text("x")
    run(a, "notes", "-o", "out", code=5)
    assert "neither empty nor an OCI layout" in run(a, "-o", ".", code=2)[1]


def test_nothing_to_run(folder: Path) -> None:
    path = folder / "only"
    image = artifacts.put_image(path, "linux/amd64", [b"x"])
    artifacts.finish(
        path, [artifacts.put_json(path, {"manifests": [artifacts.put_attestation(path, image)]}, artifacts.INDEX)]
    )
    assert "holds nothing that can be run" in run(path, "-o", "out", code=5)[1]
    config = artifacts.put(folder / "chart", b"{}", "application/vnd.cncf.helm.config.v1+json")
    manifest = artifacts.put_json(folder / "chart", {"config": config, "layers": []}, artifacts.MANIFEST)
    artifacts.finish(folder / "chart", [manifest])
    assert "is no image of a platform" in run("chart", "-o", "out", code=5)[1]
    nowhere = artifacts.put(folder / "nowhere", b'{"os": "linux"}', artifacts.CONFIG)
    artifacts.finish(
        folder / "nowhere",
        [artifacts.put_json(folder / "nowhere", {"config": nowhere, "layers": []}, artifacts.MANIFEST)],
    )
    assert "does not say its platform" in run("nowhere", "-o", "out", code=5)[1]


def test_a_part_may_be_the_output(part: MakePart) -> None:
    a, b = part("a"), part("b", "linux/arm64")
    digest = run(a, b, "-o", "out")[0]
    assert run(a, b, "-o", "a")[0] == digest
    assert str(whole(a).digest) == digest.strip() and sorted(os.listdir(a)) == ["blobs", "index.json", "oci-layout"]
    tar = part("t", "linux/arm64", tar=True)
    run("out", tar, "-o", tar, "--quiet")
    assert str(whole(tar).digest) == digest.strip()


def gated(path: Path, result: str) -> None:
    gate = GateResult("app --version", "test", None, result, "" if result == PASSED else "exit 1")
    (path / "gates.json").write_bytes(GateRecord(str(merge.read(path).image.digest), (gate,)).data())


def test_what_gates_said_goes_with_the_whole(part: MakePart) -> None:
    a, b = part("a"), part("b", "linux/arm64")
    run(a, b, "-o", "out")
    assert not Path("out/gates.json").exists()
    gated(a, PASSED)
    assert "counts as not gated: no gates have passed on" in run(a, b, "-o", "out")[1]
    assert not Path("out/gates.json").exists()
    gated(b, PASSED)
    run(a, b, "-o", "out")
    record = json.loads(Path("out/gates.json").read_text())
    assert record["verdict"] == PASSED and record["digest"] == str(whole(Path("out")).digest)
    assert {gate["platform"] for gate in record["gates"]} == {"linux/amd64", "linux/arm64"}
    gated(b, FAILED)
    run(a, b, "-o", "out")
    record = json.loads(Path("out/gates.json").read_text())
    assert record["verdict"] == FAILED and "replaced" not in record
    (a / "gates.json").unlink()
    run(a, b, "-o", "out.tar")
    gates = oci.open_artifact(Path("out.tar")).gates()
    assert gates is not None and json.loads(gates)["verdict"] == FAILED


def test_wrong_usage(part: MakePart) -> None:
    a = part("a")
    assert "Missing option '-o'" in run(a, code=2)[1]
    assert "Missing argument" in run("-o", "out", code=2)[1]
    assert "nothing else" in run(a, "-o", "-", "--format", "json", code=2)[1]
    assert CliRunner().invoke(cli.buildopt, ["merge", "--help"]).exit_code == 0


def test_a_tar_whose_reader_left_is_an_error(part: MakePart) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "buildopt", "merge", str(part("a")), str(part("b", "linux/arm64")), "-o", "-"]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 3
    assert "error: the reader of stdout left before it had everything" in done.stderr
