"""build-once as a step of GitHub Actions: groups, annotations, the summary, and nothing that a build could command."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildopt.engine.connection import Engine

pytestmark = pytest.mark.engine
DOCKERFILE = """from scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/sh
RUN echo "::error::injected"; echo "##[group]injected"
RUN echo the last words; exit 3
"""


@pytest.fixture
def project(tmp_path: Path, busybox_context: Path) -> Path:
    """A repository whose Dockerfile lies in a folder."""
    shutil.copytree(busybox_context, tmp_path / "repository/app")
    (tmp_path / "repository/.git").mkdir()
    (tmp_path / "repository/app/Dockerfile").write_text(DOCKERFILE)
    return tmp_path / "repository"


def build(engine: Engine, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "buildopt", "build-once", "app", "--platforms", "amd64", *words]
    environment = {**engine.environment, **variables}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_a_failed_step_is_annotated_and_summarized(project: Path, engine: Engine) -> None:
    summary = project / "summary.md"
    done = build(engine, project, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 3 and not done.stdout
    lines = done.stderr.splitlines()
    begin, end = lines.index("::group::buildopt build-once"), lines.index("::endgroup::")
    assert any(line.endswith("| ::error::injected") for line in lines[begin:end])
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert [line.partition(" ")[0].partition("::b")[0] for line in commands] == [
        "::group", "::endgroup::", "::warning", "::error",
    ]  # fmt: skip
    assert commands[2].startswith("::warning file=app/Dockerfile,line=1,title=docker build check::")
    assert "ConsistentInstructionCasing" in commands[2]
    assert commands[3].startswith("::error file=app/Dockerfile,line=5,title=docker build::RUN echo the last words")
    assert "##[" not in done.stderr
    assert lines.index("  the last words") > end
    assert "**Failed:**" in summary.read_text() and "the last words" in summary.read_text()


def test_outside_actions_there_are_no_commands(project: Path, engine: Engine) -> None:
    (project / "app/Dockerfile").write_text(DOCKERFILE.replace("exit 3", "exit 0"))
    done = build(engine, project)
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert "note   app/Dockerfile:1: ConsistentInstructionCasing" in done.stderr


def test_a_terminal_gets_rows_that_are_gone_at_the_end(project: Path, engine: Engine) -> None:
    (project / "app/Dockerfile").write_text(DOCKERFILE.replace("exit 3", "sleep 1"))
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "buildopt", "build-once", "app", "--platforms", "amd64", "--no-cache"]
    environment = {**engine.environment, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("CI", None)
    with subprocess.Popen(argv, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    text = shown.decode()
    assert running.returncode == 0
    assert "\x1b[2K" in text and "steps done, " in text and " cached" in text, "rows were drawn"
    assert "RUN echo the last words" in text.rpartition("\x1b[2K")[0]
    assert "steps cached" in text.rpartition("\x1b[2K")[2], "and are gone at the end"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # its other end is closed
        return b""
