"""The record of gates, and what it makes of a push."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import artifacts
import pytest
from command_line import run

from buildopt.build import tarball
from buildopt.errors import ArtifactError, GateError, UsageError
from buildopt.oci import gate_record
from buildopt.oci.gate_record import GateRecord, GateResult
from buildopt.oci.layout import open_artifact, resolve

OTHER = "sha256:" + "0" * 64


def gates(*results: str) -> tuple[GateResult, ...]:
    return tuple(
        GateResult(f"gate {number}", "test", "linux/amd64", result, seconds=1.5, output=("a line",))
        for number, result in enumerate(results)
    )


def write(folder: Path, digest: str, *results: str) -> None:
    (folder / "gates.json").write_bytes(GateRecord(digest, gates(*results)).data())


def check(path: Path, *, allow: bool = False, require: bool = False) -> GateRecord | None:
    source = open_artifact(path)
    return gate_record.check(source, resolve(source), allow=allow, require=require)


def test_a_record_is_read_as_it_was_written() -> None:
    record = GateRecord(OTHER, gates("passed", "failed"), GateRecord("sha256:" + "1" * 64, gates("passed")))
    assert gate_record.parse(record.data()) == record


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (("passed", "skipped"), "passed"),
        (("passed", "interrupted"), "interrupted"),
        (("failed", "interrupted", "passed"), "failed"),
        (("skipped",), "skipped"),
        ((), "skipped"),
    ],
)
def test_the_verdict_is_that_of_the_worst_gate(results: tuple[str, ...], verdict: str) -> None:
    assert GateRecord(OTHER, gates(*results)).verdict == verdict


def test_an_artifact_without_a_record_is_pushed_unless_gates_are_required(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path)
    assert check(tmp_path) is None
    with pytest.raises(GateError, match="no gates have run"):
        check(tmp_path, require=True)


@pytest.mark.parametrize("result", ["failed", "interrupted"])
def test_a_failed_or_interrupted_gate_refuses_unless_allowed(tmp_path: Path, result: str) -> None:
    write(tmp_path, artifacts.make_layout(tmp_path), "passed", result)
    with pytest.raises(GateError, match="gate 1") as caught:
        check(tmp_path)
    assert caught.value.exit_code == 1
    assert "--allow-ungated" in caught.value.hint
    with pytest.raises(GateError):
        check(tmp_path, require=True)
    assert check(tmp_path, allow=True) is not None


def test_passed_gates_are_enough_and_skipped_ones_alone_are_not(tmp_path: Path) -> None:
    digest = artifacts.make_layout(tmp_path)
    write(tmp_path, digest, "passed", "skipped")
    assert check(tmp_path, require=True) is not None
    write(tmp_path, digest, "skipped")
    assert check(tmp_path) is not None
    with pytest.raises(GateError, match="skipped"):
        check(tmp_path, require=True)


def test_a_record_of_another_digest_is_none(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path)
    write(tmp_path, OTHER, "failed")
    assert check(tmp_path) is None
    write(tmp_path, OTHER, "passed")
    with pytest.raises(GateError):
        check(tmp_path, require=True)


def test_while_the_image_is_switched_the_old_one_is_still_refused(tmp_path: Path) -> None:
    digest = artifacts.make_layout(tmp_path)
    write(tmp_path, digest, "failed")
    before = (tmp_path / "gates.json").read_bytes()
    record = gate_record.announced(before, OTHER, gates("interrupted"))
    (tmp_path / "gates.json").write_bytes(record.data())
    with pytest.raises(GateError):
        check(tmp_path)
    assert gate_record.announced(before, digest, gates("interrupted")).replaced is None


def test_allowing_and_requiring_at_once_is_a_usage_error(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path)
    with pytest.raises(UsageError):
        check(tmp_path, allow=True, require=True)


DAMAGES = {
    "no JSON": b"{",
    "no object": b"[]",
    "another version": b'{"version":2}',
    "no gates": b'{"version":1,"digest":"' + OTHER.encode() + b'","verdict":"passed"}',
    "a verdict of its own": b'{"version":1,"digest":"' + OTHER.encode() + b'","verdict":"passed","gates":[]}',
    "a gate that is none": b'{"version":1,"digest":"' + OTHER.encode() + b'","verdict":"passed","gates":[7]}',
    "no digest": b'{"version":1,"verdict":"skipped","gates":[]}',
    "too deep": b'{"version":1,"digest":' + b"[" * 100_000,
    "empty": b"",
    "not UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("data", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_record_refuses(tmp_path: Path, data: bytes) -> None:
    artifacts.make_layout(tmp_path)
    (tmp_path / "gates.json").write_bytes(data)
    with pytest.raises(ArtifactError):
        gate_record.parse(data)
    with pytest.raises(GateError, match="damaged") as caught:
        check(tmp_path)
    assert caught.value.hint
    assert check(tmp_path, allow=True) is None


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_record_that_is_no_plain_file_refuses(tmp_path: Path, kind: str) -> None:
    artifacts.make_layout(tmp_path)
    if kind == "link":
        (tmp_path / "gates.json").symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "gates.json").mkdir()
    with pytest.raises(GateError, match="damaged"):
        check(tmp_path)


def test_letters_that_steer_a_terminal_are_not_shown(tmp_path: Path) -> None:
    record = GateRecord(OTHER, (GateResult("a\x1b[2Jb\nc", "scan", None, "failed", "r\x07", 0.0, ("\x1b]0;t",)),))
    (read,) = gate_record.parse(record.data()).gates
    assert (read.name, read.reason, read.output) == ("a [2Jb c", "r ", (" ]0;t",))


def test_a_tar_holds_the_record_right_after_oci_layout_without_times(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    digest = artifacts.make_layout(folder)
    write(folder, digest, "failed")
    image = resolve(open_artifact(folder))
    assert tarball.write_file(folder, image, tmp_path / "1.tar")
    assert not tarball.write_file(folder, image, tmp_path / "1.tar")
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert tar.getnames()[:3] == ["index.json", "oci-layout", "gates.json"]
    with pytest.raises(GateError):
        check(tmp_path / "1.tar")
    later = GateRecord(digest, tuple(GateResult(g.name, g.kind, g.platform, g.result) for g in gates("failed")))
    (folder / "gates.json").write_bytes(later.data())
    assert tarball.write_file(folder, image, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    write(folder, digest, "passed")
    assert tarball.write_file(folder, image, tmp_path / "2.tar")
    assert check(tmp_path / "2.tar", require=True) is not None


def test_a_damaged_record_makes_its_tar_refuse_too(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    artifacts.make_layout(folder)
    (folder / "gates.json").write_bytes(b"{")
    tarball.write_file(folder, resolve(open_artifact(folder)), tmp_path / "1.tar")
    with pytest.raises(GateError, match="damaged"):
        check(tmp_path / "1.tar")


def test_push_and_inspect_tell_of_a_refusal(tmp_path: Path) -> None:
    write(tmp_path / "image", artifacts.make_layout(tmp_path / "image"), "failed")
    refused = run(tmp_path, "push", "127.0.0.1:1/app:1", "--from-oci", "image", "--dry-run")
    assert refused.returncode == 1
    assert "gate 0 (linux/amd64) failed" in refused.stderr
    allowed = run(tmp_path, "push", "127.0.0.1:1/app:1", "--from-oci", "image", "--dry-run", "--allow-ungated")
    assert (allowed.returncode, "cannot be reached" in allowed.stderr) == (4, True)  # the gates let it pass
    both = run(tmp_path, "push", "127.0.0.1:1/app:1", "--from-oci", "image", "--allow-ungated", "--require-gates")
    assert both.returncode == 2
    shown = run(tmp_path, "inspect", "image")
    assert "gates  failed" in shown.stdout
    document = json.loads(run(tmp_path, "inspect", "image", "--format", "json").stdout)
    assert document["gates"]["verdict"] == "failed"
    assert document["gates"]["gates"][0]["name"] == "gate 0"
    (tmp_path / "image/gates.json").write_text("{")
    assert json.loads(run(tmp_path, "inspect", "image", "--format", "json").stdout)["gates"]["verdict"] == "damaged"
