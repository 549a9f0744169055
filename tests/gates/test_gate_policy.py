"""Size, user, labels and attestations; flags and configuration; scans."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import artifacts
import gate_images
import pytest
from command_line import run

from buildopt.build import artifact, tarball
from buildopt.errors import UsageError
from buildopt.gates import plan, policy
from buildopt.gates.plan import Command, GateFlags
from buildopt.gates.run import Run, Where, tasks
from buildopt.oci.gate_record import GateRecord, GateResult
from buildopt.oci.layout import open_artifact, resolve
from buildopt.settings import Gates, Settings

PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n4242:x:0:0::/:/bin/sh\n"


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("", "no USER is set"),
        ("root", "USER root"),
        ("0", "USER 0"),
        ("0:0", "USER 0:0"),
        ("00:1000", "USER 00"),
        ("root:app", "USER root:app"),
        (":1000", "no USER is set"),
        ("toor", "has the number 0"),
        ("4242", "has the number 0"),
        ("nobody", "has no such user"),
        ("app", ""),
        ("app:app", ""),
        ("1000", ""),
        ("65532:65532", ""),
    ],
)
def test_who_is_root(tmp_path: Path, user: str, problem: str) -> None:
    source, image = gate_images.make(tmp_path, gate_images.layer({"etc/passwd": PASSWD}), settings={"User": user})
    judged = policy.non_root(source, image)
    assert problem in judged.problem
    assert bool(judged.problem) == bool(problem)


def test_accounts_are_those_of_the_uppermost_layer_also_through_links(tmp_path: Path) -> None:
    cases: tuple[tuple[str, gate_images.Files, str], ...] = (
        ("changed", {"etc/passwd": b"app:x:0:0::/:/bin/sh\n"}, "has the number 0"),
        ("removed", {"etc/passwd": None}, "no /etc/passwd"),
        ("emptied", {"etc/.wh..opq": b"", "etc/hosts": b""}, ""),
        ("link", {"etc/passwd": "../nix/passwd", "nix/passwd": b"app:x:0:0::/:/bin/sh\n"}, "has the number 0"),
        ("folder", {"etc": "/real", "real/passwd": b"app:x:0:0::/:/bin/sh\n"}, "has the number 0"),
        ("loop", {"etc/passwd": "/etc/passwd"}, "no /etc/passwd"),
    )
    for name, upper, problem in cases:
        layers = [gate_images.layer({"etc/passwd": PASSWD}), gate_images.layer(upper), gate_images.layer({"a": b""})]
        source, image = gate_images.make(tmp_path / name, *layers, settings={"User": "app"})
        judged = policy.non_root(source, image)
        assert problem in judged.problem, name
        assert bool(judged.problem) == bool(problem), name


def test_numbers_need_no_accounts_and_windows_has_no_root(tmp_path: Path) -> None:
    source, image = gate_images.make(tmp_path / "a", settings={"User": "1000"})
    assert policy.non_root(source, image).problem == ""
    source, image = gate_images.make(tmp_path / "b", settings={"User": "app"})
    assert "no /etc/passwd" in policy.non_root(source, image).problem
    source, image = gate_images.make(tmp_path / "c", platform=("windows", "amd64"))
    assert policy.non_root(source, image).skipped


def test_the_size_counts_compressed_and_the_heaviest_layers_are_named(tmp_path: Path) -> None:
    layers = [os.urandom(50_000), os.urandom(3000)]
    _, image = gate_images.make(tmp_path, *layers, steps=["COPY big /", "#ENV A=b", "COPY small /"])
    assert policy.size(image, image.size).problem == ""
    judged = policy.size(image, image.size - 1)
    assert "compressed, the budget is" in judged.problem
    assert judged.lines[0].endswith("COPY big /")


def test_labels_must_have_a_value(tmp_path: Path) -> None:
    _, image = gate_images.make(tmp_path, settings={"Labels": {"a": "1", "empty": " "}})
    assert policy.labels(image, ["a"]).problem == ""
    assert policy.labels(image, ["a", "b", "empty"]).problem == "it has no label b, empty"


def test_attestations_by_short_name_and_by_type(tmp_path: Path) -> None:
    _, image = gate_images.make(tmp_path, predicates=["https://slsa.dev/provenance/v0.2", "https://example.org/x"])
    assert policy.attestations(image, ["provenance", "https://example.org/x"]).problem == ""
    assert "no sbom: build with --sbom" in policy.attestations(image, ["provenance", "sbom"]).problem


def test_flags_and_configuration_add_up() -> None:
    settings = Settings(gates=Gates(test=("a",), scan=("b {oci}",), labels=("x",), test_timeout=5))
    flags = GateFlags(("c",), ("b {oci}",), ("labels=y,z", "max-size=1MB", "non-root", "no-secrets=a/*,b"))
    made = plan.make(flags, settings, Path("/work"))
    assert [command.text for command in made.tests] == ["a", "c"]
    assert made.policy.labels == ("x", "y", "z")
    assert (made.policy.max_size, made.policy.non_root, made.policy.allowed_secrets) == (10**6, True, ("a/*", "b"))
    assert made.policy.test_timeout == 5
    assert plan.make(GateFlags(), Settings(), Path()).empty


@pytest.mark.parametrize(
    "flags",
    [
        GateFlags(gates=("nonroot",)),
        GateFlags(gates=("max-size",)),
        GateFlags(gates=("max-size=lots",)),
        GateFlags(gates=("non-root=1",)),
        GateFlags(gates=("labels=",)),
        GateFlags(tests=("  ",)),
        GateFlags(scans=("trivy {digset}",)),
        GateFlags(tests=("a",), test_timeout="soon"),
        GateFlags(tests=("a",), test_platforms=("pentium",)),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors_with_a_hint(flags: GateFlags) -> None:
    with pytest.raises(UsageError) as caught:
        plan.make(flags, Settings(), Path())
    assert caught.value.hint


def test_commands_after_two_dashes_are_run_word_by_word() -> None:
    (command,) = plan.make(GateFlags(words=("/app", "a b", "$HOME")), Settings(), Path()).tests
    assert command.words == ("/app", "a b", "$HOME")
    assert command.text == "/app 'a b' '$HOME'"
    (line,) = plan.make(GateFlags(words=("/app --version",)), Settings(), Path()).tests
    assert (line.words, line.text) == ((), "/app --version")


def scan(folder: Path, *commands: str, timeout: float = 20.0) -> list[GateResult]:
    source = open_artifact(folder)
    image = resolve(source)
    made = plan.GatePlan(
        scans=tuple(Command(text, folder.parent) for text in commands), policy=Gates(scan_timeout=timeout)
    )
    layout = folder if folder.is_dir() else None
    where = Where(source, image, layout, None, {**os.environ, "MY_TOKEN": "hunter2-hunter2"})
    return list(Run(made, tasks(made, source, image, ""), where).all())


def test_scans_are_told_from_their_exit_status(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "image")
    good, bad, absent, late = scan(
        tmp_path / "image", "true", "echo first; echo why >&2; exit 4", "no-such-scanner {oci}", "sleep 60", timeout=1.0
    )
    assert good.result == "passed"
    assert (bad.result, bad.reason, bad.output) == ("failed", "exit status 4", ("first", "why"))
    assert (absent.result, absent.reason[:15]) == ("failed", "exit status 127")
    assert "did not end within 1 s" in late.reason


ODD = [
    "my image",
    "a;touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "it's",
    'say "x"',
    "ünï",
    "-rf",
    "a\nb",
    "*",
    "{tar}",
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("quoted", ["{oci}", '"{oci}"', "'{oci}'", "$(echo {oci})"])
def test_nothing_of_a_path_can_be_read_as_a_command(tmp_path: Path, name: str, quoted: str) -> None:
    folder = tmp_path / name
    digest = artifacts.make_layout(folder)
    (gate,) = scan(
        folder, f"grep -q {digest} {quoted}/index.json && sh -c 'ls {{oci}}/blobs' && test {{digest}} = {digest}"
    )
    assert gate.result == "passed", gate.output
    assert not (tmp_path / "pwned").exists()
    assert sorted(os.listdir(tmp_path)) == [name]


def test_a_scan_runs_once_for_each_platform_that_it_names(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "image")
    gates = scan(tmp_path / "image", "echo {platform}", "echo {digest}")
    assert [(gate.platform, gate.output[0][:11]) for gate in gates] == [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64"),
        (None, "sha256:" + gates[2].output[0][7:11]),
    ]


def test_a_tar_is_made_of_a_folder_and_a_folder_of_a_tar(tmp_path: Path) -> None:
    digest = artifacts.make_layout(tmp_path / "image")
    artifacts.make_tar(tmp_path / "image", tmp_path / "image.tar")
    of_folder = scan(tmp_path / "image", f"tar -xOf {{tar}} index.json | grep -q {digest}")
    of_tar = scan(tmp_path / "image.tar", f"grep -q {digest} {{oci}}/index.json && test {{tar}} = {tmp_path}/image.tar")
    blobs = scan(tmp_path / "image.tar", 'cd {oci}/blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c')
    assert [gate.result for gate in (*of_folder, *of_tar, *blobs)] == ["passed"] * 3


def test_output_and_names_hold_no_secrets_and_nothing_that_steers_a_terminal(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "image")
    (gate,) = scan(tmp_path / "image", "echo $MY_TOKEN; printf '\\033[2Jx\\n'; true --password=hunter3x")
    assert gate.output == ("***", " [2Jx")
    assert "hunter3x" not in gate.name


def test_a_record_is_put_into_any_tar_and_nothing_else_changes(tmp_path: Path) -> None:
    digest = artifacts.make_layout(tmp_path / "image", names=())
    artifacts.make_layout(tmp_path / "image")
    image = resolve(open_artifact(tmp_path / "image"))
    foreign = artifacts.make_tar(tmp_path / "image", tmp_path / "foreign.tar", format_=tarfile.PAX_FORMAT)
    foreign.chmod(0o640)
    record = GateRecord(digest, (GateResult("a", "test", None, "passed"),)).timeless()
    long = GateRecord(digest, tuple(GateResult("b" * 600, "test", str(n), "failed") for n in range(9))).timeless()
    for one in (record, long, record):
        tarball.with_record(foreign, one.data())
        source = open_artifact(foreign)
        assert source.gates() == one.data()
        assert resolve(source).digest == image.digest
        for blob in artifact.needed(image):
            assert source.read(blob) == open_artifact(tmp_path / "image").read(blob)
    assert subprocess.run(["tar", "-tf", foreign], capture_output=True, check=True).stderr == b""
    assert foreign.stat().st_mode & 0o777 == 0o640
    own = tmp_path / "own.tar"
    tarball.write_file(tmp_path / "image", image, own)
    before = own.read_bytes()
    (tmp_path / "image/gates.json").write_bytes(record.data())
    tarball.write_file(tmp_path / "image", image, own)
    written = own.read_bytes()
    own.write_bytes(before)
    tarball.with_record(own, record.data())
    assert own.read_bytes() == written


def test_the_command_without_an_engine(tmp_path: Path) -> None:
    gate_images.make(tmp_path / "image", settings={"User": "1000", "Labels": {"a": "b"}})
    words = ("test", "--from-oci", "image", "--gate", "non-root", "--gate", "max-size=1MB")
    assert run(tmp_path, *words).returncode == 0
    failed = run(tmp_path, *words, "--gate", "labels=c", "--format", "json", "--quiet")
    document = json.loads(failed.stdout)
    assert (failed.returncode, document["verdict"], document["recorded"]) == (1, "failed", True)
    assert run(tmp_path, "push", "127.0.0.1:1/a:1", "--from-oci", "image", "--dry-run").returncode == 1
    for wrong in (
        ("test", "--from-oci", "image"),
        ("test", "--from-oci", "image", "--gate", "non-rot"),
        ("test", "image"),
        ("test", "--from-oci", "image", "--platform", "arm64", "--gate", "non-root"),
    ):
        done = run(tmp_path, *wrong)
        assert (done.returncode, "hint:" in done.stderr) == (2, True), wrong
    assert run(tmp_path, "test", "--from-oci", "nowhere", "--gate", "non-root").returncode == 5
    # What is known of other gates and platforms stays.
    artifacts.make_layout(tmp_path / "two")
    assert run(tmp_path, "test", "--from-oci", "two", "--gate", "labels=x").returncode == 1
    one = ("test", "--from-oci", "two", "--platform", "amd64", "--gate", "max-size=1MB")
    assert run(tmp_path, *one).returncode == 0
    record = json.loads((tmp_path / "two/gates.json").read_text())
    assert [(gate["name"], gate["platform"], gate["result"]) for gate in record["gates"]] == [
        ("labels", "linux/amd64", "failed"),
        ("labels", "linux/arm64", "failed"),
        ("max-size", "linux/amd64", "passed"),
    ]


def test_a_failure_is_not_forgotten_because_another_gate_passes(tmp_path: Path) -> None:
    artifacts.make_layout(tmp_path / "image")
    push = ("push", "127.0.0.1:1/a:1", "--from-oci", "image", "--dry-run")
    assert run(tmp_path, "test", "--from-oci", "image", "--scan", "false").returncode == 1
    passed = run(tmp_path, "test", "--from-oci", "image", "--scan", "true")
    assert (passed.returncode, "push still refuses it: false failed before" in passed.stderr) == (0, True)
    assert run(tmp_path, *push).returncode == 1
    assert run(tmp_path, "test", "--from-oci", "image", "--scan", "true", "--anew").returncode == 0
    assert run(tmp_path, *push, "--require-gates").returncode == 4  # it is asked for what it holds: nobody is there


def test_a_record_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    gate_images.make(tmp_path / "image", settings={"User": "1000"})
    (tmp_path / "image/.gates.json.partial").mkdir()
    done = run(tmp_path, "test", "--from-oci", "image", "--gate", "non-root")
    assert done.returncode == 0
    assert done.stderr.count("the gates are not recorded") == 1
