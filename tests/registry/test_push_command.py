"""``buildopt push`` and ``buildopt inspect`` as people type them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import artifacts
import pytest
from scripted import Scripted

from buildopt.cli import main

CI = ("GITHUB_ACTIONS", "GITHUB_REF", "GITHUB_HEAD_REF", "GITHUB_STEP_SUMMARY")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an artifact at the usual place, no credentials and no configuration."""
    artifacts.make_layout(tmp_path / ".buildopt" / "image")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", *CI):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setenv("GITHUB_REF_TYPE", "branch")
    monkeypatch.setenv("GITHUB_REF_NAME", "feature/x")
    return tmp_path


def tags(registry: Scripted, repository: str) -> set[str]:
    return {name for place, name in registry.manifests if place == repository and ":" not in name}


def test_the_json_has_the_promised_shape(registry: Scripted, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = f"{registry.host}/acme/app:1"
    code = main(["push", ref, "--optional", "127.0.0.1:1/a/b:1", "--format", "json", "--report", "report.json", "-q"])
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert json.loads((folder / "report.json").read_text()) == document
    assert set(document) == {"version", "digest", "ok", "destinations"}
    first, second = document["destinations"]
    keys = "reference digest ok optional error bytes_sent bytes_mounted bytes_present seconds"
    assert set(first) == set(second) == set(keys.split())
    assert (first["reference"], first["ok"], first["error"], first["optional"]) == (ref, True, None, False)
    assert (second["ok"], second["optional"], set(second["error"])) == (False, True, {"kind", "message", "hint"})


def test_configured_destinations_and_tags(registry: Scripted, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = registry.host
    (folder / "buildopt.yaml").write_text(
        f'push:\n  tags: ["{{version}}", "{{branch}}-{{sha}}"]\n'
        f"  to: [{host}/acme/app, {host}/acme/fixed:as-typed, {{ref: '127.0.0.1:1/a', optional: true}}]\n"
    )
    assert main(["push"]) == 0
    assert tags(registry, "acme/app") == {"feature-x-0123456"}
    assert tags(registry, "acme/fixed") == {"as-typed"}
    assert "no version here: left out" in capsys.readouterr().err
    assert main(["push", f"{host}/acme/other", "--tag", "a", "--tag", "{sha}"]) == 0
    assert tags(registry, "acme/other") == {"a", "0123456"}


def test_without_any_tag_it_is_latest_and_says_so(registry: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", f"{registry.host}/acme/app"]) == 0
    assert tags(registry, "acme/app") == {"latest"}
    assert "using latest" in capsys.readouterr().err


def test_dry_run_sends_nothing(registry: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", f"{registry.host}/acme/app:1", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"→  {registry.host}/acme/app:1  new" in out and "dry run: nothing was sent" in out
    assert {entry.method for entry in registry.seen} == {"GET", "HEAD"}
    assert not registry.blobs and not registry.manifests


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from-oci", "ghcr.io/acme/app:1"], 2, "hint: buildopt push ghcr.io/acme/app:1 --from-oci"),
        (
            ["ghcr.io/a/b", "--from-oci", "ghcr.io/acme/app"],
            2,
            "hint: buildopt push ghcr.io/a/b ghcr.io/acme/app --from-oci",
        ),
        (
            ["--from-oci=ghcr.io/a/b:1", "ghcr.io/a/c:2", "--tag", "{sha} x", "--dry-run"],
            2,
            "hint: buildopt push ghcr.io/a/b:1 ghcr.io/a/c:2 --tag '{sha} x' --dry-run --from-oci",
        ),
        (["--from-oci", "acme/app"], 2, "hint: buildopt push acme/app --from-oci"),
        (["ghcr.io/acme/app:1", "--from-oci", "./none"], 5, "no artifact at none"),
        (["ghcr.io/acme/app:1", "--from-oci", "none.tar"], 5, "no artifact at none.tar"),
        ([], 2, "no destination"),
        (["ghcr.io/Acme/app:1"], 2, "lowercase"),
        (["ghcr.io/acme/app:1", "--tag", "x"], 2, "every REF has a tag already"),
        (["ghcr.io/acme/app", "--tag", "{version}"], 2, "has no version here"),
        (["ghcr.io/acme/app", "--tag", "{vers}"], 2, "unknown field {vers}"),
        (["ghcr.io/acme/app", "--tag", "a b"], 2, "not a tag"),
        (["ghcr.io/acme/app:1", "--platform", "s390x"], 2, "no image for s390x"),
    ],
)
def test_what_cannot_be_pushed_says_why(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", *words]) == code
    assert said in capsys.readouterr().err


def test_several_images_need_a_ref(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "buildopt.yaml").write_text("images: {api: {context: api}, web: {context: web}}\n")
    assert main(["push"]) == 2
    assert "api, web" in capsys.readouterr().err


def test_inspect_shows_what_push_sends(registry: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--format", "json", "--check"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main(["push", f"{registry.host}/acme/app:1", "--format", "json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == document["digest"]
    assert [entry["platform"] for entry in document["platforms"]] == ["linux/amd64", "linux/arm64"]
    assert document["attestations"][0]["of"] == document["platforms"][0]["digest"]
    assert document["attestations"][0]["predicates"] == ["https://slsa.dev/provenance/v1"]
    assert (document["ok"], document["problems"]) == (True, [])


def test_inspect_check_of_a_tampered_artifact_is_exit_5(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = max((folder / ".buildopt/image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    path.write_bytes(b"x" * path.stat().st_size)
    assert main(["inspect"]) == 0
    assert main(["inspect", "--check"]) == 5
    assert f"problem: sha256:{path.name} is not what it says" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nowhere/report.json", "."])
def test_a_report_that_cannot_be_written_is_refused_before_the_push(
    registry: Scripted, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["push", f"{registry.host}/acme/app:1", "--report", name]) == 2
    assert "error: --report " in capsys.readouterr().err
    assert not registry.seen


def test_what_was_not_pushed_is_an_error_on_stderr_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "127.0.0.1:1/a/b:1", "--optional", "127.0.0.1:1/c:1", "--quiet"]) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: 1 of 1 not pushed: 127.0.0.1:1/a/b:1: 127.0.0.1:1 cannot be reached")
    assert second.startswith("  hint: ")


@pytest.mark.parametrize(
    ("push", "said"),
    [
        ("{to: [localhost:1/a, {ref: Ghcr.io/Acme/App}]}", "push.to[1]: not an image reference: 'Ghcr.io/Acme/App'"),
        ("{to: [localhost:1/a], tags: ['{brunch}']}", "push.tags: unknown field {brunch}"),
        ("{to: [localhost:1/a], tags: ['a b']}", "push.tags: not a tag: 'a b'"),
    ],
)
def test_a_wrong_word_of_the_configuration_is_told_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], push: str, said: str
) -> None:
    (folder / "buildopt.yaml").write_text(f"push: {push}\n")
    assert main(["push"]) == 2
    assert f"error: {folder / 'buildopt.yaml'}: {said}" in capsys.readouterr().err
    assert main(["push", "localhost:1/a", "--tag", "a b"]) == 2
    assert capsys.readouterr().err.startswith("error: not a tag: 'a b'")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_without_colours_has_bars_and_the_reason_once(quiet: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    environment.pop("CI", None)
    argv = [sys.executable, "-m", "buildopt", "push", "127.0.0.1:1/a/b:1", *(["--quiet"] if quiet else [])]
    shown = b""
    with subprocess.Popen(argv, env=environment, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        with suppress(OSError):  # how its other end being closed shows
            while chunk := os.read(ours, 1 << 16):
                shown += chunk
    os.close(ours)
    text = shown.decode()
    assert running.returncode == 4
    assert ("\x1b[2K" in text and "looking" in text) is not quiet
    assert not re.search(r"\x1b\[3[0-9]m", text)
    end = text[text.index("digest sha256:") :]
    assert end.count("Connection refused") == end.count("hint: ") == 1
    assert end.rstrip().endswith("error: 1 of 1 not pushed")
