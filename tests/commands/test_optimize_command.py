"""``buildopt optimize`` as people type it: what is wrong is said in one line, with what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run

from buildopt.source import MAX_BYTES

_FILE = "FROM debian:12\nRUN apt-get update && apt-get install -y curl\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("nowhere",), "nowhere does not exist", "check the path"),
        ((".",), ". is a folder, not a file", "name the file in it: buildopt optimize Dockerfile"),
        (("api",), "api is a folder, not a file", "name the file in it: buildopt optimize api/Dockerfile"),
        (("loop",), "loop cannot be read: Too many levels of symbolic links", "check where the links lead to"),
        (("a" * 300,), f"{'a' * 300} cannot be read: File name too long", "check the path"),
        (
            ("-q", "-o", "loop"),
            "loop cannot be written: Too many levels of symbolic links",
            "check where the links lead to",
        ),
        (("--only", "order-layer"), "no such pass: order-layer", "did you mean order_layers?"),
        (("--context", "nowhere"), "nowhere is not a folder", "--context is the folder that is sent to the build"),
        (
            ("--config", "nowhere.yaml"),
            "nowhere.yaml cannot be read: No such file or directory",
            "check the path given with --config",
        ),
        (("-w", "--check"), "--check changes nothing, -w and -o do", "leave one of them out"),
        (
            ("--skip", "cache_mounts", "--only", "order_layers", "--only", "cache-mounts"),
            "--skip cache_mounts and --only cache_mounts exclude each other",
            "leave one of them out",
        ),
        (
            ("--also", "slim_runtime", "--skip", "slim-runtime"),
            "--skip slim_runtime and --also slim_runtime exclude each other",
            "leave one of them out",
        ),
    ],
)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...], message: str, hint: str) -> None:
    (tmp_path / "api").mkdir()
    for folder in (tmp_path, tmp_path / "api"):
        (folder / "Dockerfile").write_text(_FILE)
    (tmp_path / "loop").symlink_to("loop")
    done = run(tmp_path, "optimize", *words)
    assert done.stderr == f"error: {message}\n  hint: {hint}\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert (tmp_path / "Dockerfile").read_text() == _FILE


def test_a_pass_may_be_written_with_dashes(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(_FILE)
    done = [run(tmp_path, "optimize", "--only", name) for name in ("cache-mounts", "cache_mounts")]
    assert done[0].stdout == done[1].stdout
    assert "--mount=type=cache" in done[0].stdout
    explained = [run(tmp_path, "explain", name).stdout for name in ("cache-mounts", "cache_mounts", "Cache-Mounts")]
    assert explained[0].startswith("cache_mounts: pass\n")
    assert len(set(explained)) == 1


def test_stdin_that_is_closed_or_endless(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "buildopt", "optimize", "-"]
    closed = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert closed.stderr == "error: standard input is closed\n  hint: write a Dockerfile to it, or name one\n"
    endless = run(tmp_path, "optimize", "-", stdin="#" * (MAX_BYTES + 1))
    assert endless.stderr == "error: standard input is larger than 8 MiB\n  hint: this is hardly a Dockerfile\n"
    assert (closed.returncode, endless.returncode) == (2, 2)


def test_a_broken_file_is_an_error_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FRM a\n")
    done = {name: run(tmp_path, "optimize", "--format", name) for name in ("text", "json", "markdown")}
    assert {item.returncode for item in done.values()} == {1}
    assert done["text"].stderr.startswith("error line 1: unknown instruction: FRM")
    assert json.loads(done["json"].stdout)["refused"][0]["pass"] == "parse"
    assert "**Error**, line 1: unknown instruction: FRM" in done["markdown"].stdout
    assert "Nothing to change" not in done["markdown"].stdout


@pytest.mark.parametrize("name", ["text", "json", "markdown"])
def test_check_tells_by_its_exit_code(tmp_path: Path, name: str) -> None:
    (tmp_path / "Dockerfile").write_text(_FILE)
    assert run(tmp_path, "optimize", "--check", "--format", name).returncode == 1
    assert (tmp_path / "Dockerfile").read_text() == _FILE
    assert run(tmp_path, "optimize", "-w", "--format", name).returncode == 0
    assert run(tmp_path, "optimize", "--check", "--format", name).returncode == 0
