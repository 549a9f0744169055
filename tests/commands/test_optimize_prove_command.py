"""``buildopt optimize`` with second files and ``--prove``, as far as no engine is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

APT = "FROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y --no-install-recommends ed\nCOPY . /app\n"
APT += 'CMD ["ed", "/app/app.py"]\n'
DONE = 'FROM debian:bookworm-slim\nCMD ["true"]\n'


def run(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command where no engine can be found."""
    environment = {
        **os.environ,
        "PATH": "/nowhere",
        "DOCKER_HOST": f"unix://{folder}/none",
        "HOME": str(folder / "home"),
    }
    environment.pop("XDG_CACHE_HOME", None)
    return subprocess.run(
        [sys.executable, "-m", "buildopt", "optimize", *words],
        cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "app.py").write_text("print(1)\n")
    (folder / "Dockerfile").write_text(APT)
    return folder


def test_where_nothing_changes_nothing_is_built(project: Path) -> None:
    (project / "Dockerfile").write_text(DONE)
    done = run(project, "--prove", "--smoke", "true")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing was built" in done.stderr
    document = json.loads(run(project, "--prove", "--format", "json").stdout)
    assert (document["changed"], document["proof"]) == (False, None)


def test_without_an_engine_nothing_is_written(project: Path) -> None:
    done = run(project, "--prove", "-w")
    assert done.returncode == 3
    assert "there is no container engine" in done.stderr
    assert (project / "Dockerfile").read_text() == APT


def test_stdin_that_copies_needs_a_context(project: Path) -> None:
    done = run(project, "--prove", "-", stdin=APT)
    assert done.returncode == 2
    assert "--context DIR" in done.stderr
    # With one, or where nothing is copied, only the engine is missing.
    assert run(project, "--prove", "-", "--context", ".", stdin=APT).returncode == 3
    assert run(project, "--prove", "-", stdin=APT.replace("COPY . /app\n", "")).returncode == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--smoke", "true"], "--smoke is for the builds of --prove"),
        (["--build-arg", "A=b"], "--build-arg is for the builds of --prove"),
        (["--builder", "x"], "--builder is for the builds of --prove"),
        (["--prove", "--smoke", " "], "--smoke has no command"),
        (["--prove", "--smoke", "a 'b"], "cannot be read"),
        (["--prove", "--platforms", "amd65"], "unknown platform"),
        (["--prove", "--secret", "id=a,src=nowhere"], "has no file nowhere"),
        (["--also", "nothing"], "no such pass: nothing"),
        (["--prove", "-o", "-", "--format", "markdown"], "both want stdout"),
        (["--prove", "--check", "-w"], "--check changes nothing"),
    ],
)
def test_usage(project: Path, words: list[str], told: str) -> None:
    done = run(project, *words)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_file_is_listed_and_written_only_with_w(project: Path) -> None:
    words = ("--only", "dockerignore")
    shown = run(project, *words)
    assert shown.returncode == 0
    assert "+++ b/.dockerignore" in shown.stdout
    assert "would be written .dockerignore" in shown.stderr
    assert not (project / ".dockerignore").exists()
    document = json.loads(run(project, *words, "--format", "json").stdout)
    (file,) = document["files"]
    assert (file["path"], file["changed"], document["changed"]) == (".dockerignore", True, True)
    assert file["why"]
    assert "proof" not in document
    assert run(project, *words, "--check").returncode == 1
    filtered = run(project, *words, "-o", "-")
    assert filtered.stdout == APT
    assert "+++ b/.dockerignore" in filtered.stderr
    assert not (project / ".dockerignore").exists()
    written = run(project, *words, "-w")
    assert written.returncode == 0
    assert "written .dockerignore" in written.stderr
    assert ".git" in (project / ".dockerignore").read_text().splitlines()
    assert (project / "Dockerfile").read_text() == APT
    assert run(project, *words, "--check").returncode == 0
    assert json.loads(run(project, *words, "--format", "json").stdout)["changed"] is False


def test_markdown_of_a_rewrite(project: Path) -> None:
    shown = run(project, "--format", "markdown", "--only", "cache_mounts").stdout
    assert shown.startswith("## buildopt optimize\n\n- **cache mounts for apt** (line 2): ")
    assert "<details><summary>Diff</summary>\n\n```diff\n--- a/Dockerfile\n" in shown


def test_platforms_without_a_proof_say_that_they_change_nothing(project: Path) -> None:
    done = run(project, "--platforms", "amd64,arm64")
    assert done.returncode == 0
    assert "--platforms says what --prove builds" in done.stderr
