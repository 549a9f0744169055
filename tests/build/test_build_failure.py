"""Recorded failures of real builds: each is told in one line that names what failed and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.build import failure
from buildopt.build.artifact import Staging
from buildopt.build.ignore import Ignore
from buildopt.build.output import Output
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Progress
from buildopt.errors import EngineError, ToolError

RECORDED = Path(__file__).parents[2] / "fixtures" / "progress"
NAMES = {
    "failed_step": "bad", "missing_base": "mb2", "missing_file": "c", "syntax": "s", "missing_frontend": "syn",
    "copy_from_missing": "cf", "copy_from_missing_file": "cf2", "empty_from": "ea",
}  # fmt: skip


def explain(folder: Path, lines: list[str], name: str = "Dockerfile", platforms: tuple[str, ...] = ()) -> ToolError:
    plan = BuildPlan(
        context=folder,
        dockerfile=folder / name,
        shown=f"app/{name}",
        platforms=platforms,
        output=Output("folder", folder / "image", folder / "image"),
        ignore=Ignore(),
    )
    progress = Progress()
    for line in lines:
        progress.feed(line)
    return failure.failure(plan, progress, 1, Staging(folder, folder / ".staging/x", frozenset()))


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (
            "failed_step",
            'app/bad.Dockerfile:5: RUN --network=none echo one && for i in 1 2 3 4; do echo "line $i"; done; exit 7'
            " failed on linux/amd64: exit code: 7",
        ),
        ("missing_base", "app/mb2.Dockerfile:1: base image debain:12 not found (its registry cannot be reached)"),
        (
            "missing_file",
            "app/c.Dockerfile:2: COPY nofile /x failed on linux/amd64: /nofile is not in the build context",
        ),
        ("syntax", "app/s.Dockerfile:2: unknown instruction: RNU (did you mean ENV?)"),
        (
            "missing_frontend",
            "app/syn.Dockerfile:1: Dockerfile frontend nosuch.invalid/frontend:1 not found"
            " (its registry cannot be reached)",
        ),
        ("copy_from_missing", "app/cf.Dockerfile:2: image nope not found (its registry cannot be reached)"),
        (
            "copy_from_missing_file",
            "app/cf2.Dockerfile:4: COPY --from=a /x /x failed on linux/amd64: /x is not in a",
        ),
        ("empty_from", "app/ea.Dockerfile:1: base name (${X}) should not be blank"),
    ],
)
def test_recorded_failures(tmp_path: Path, recording: str, message: str) -> None:
    lines = (RECORDED / f"{recording}.rawjson").read_text().splitlines(keepends=True)
    error = explain(tmp_path, lines, f"{NAMES[recording]}.Dockerfile", ("linux/amd64",))
    assert error.message == message
    assert error.hint
    assert error.exit_code == 3


def test_a_verdict_that_was_cut_is_told_by_its_step(tmp_path: Path) -> None:
    recorded = (RECORDED / "missing_base.rawjson").read_text().splitlines(keepends=True)
    lines = [line for line in recorded if not line.startswith("ERROR:")]
    verdict = 'ERROR: failed to run Build function: .../debain/manifests/12": dial tcp 127.0.0.1:1: connection refused'
    error = explain(tmp_path, [*lines, verdict], "mb2.Dockerfile")
    assert error.message.startswith(
        "app/mb2.Dockerfile:1: base image docker.io/library/debain:12 not found (its registry"
    )


def test_the_last_lines_of_the_failed_step_are_its_detail(tmp_path: Path) -> None:
    lines = (RECORDED / "failed_step.rawjson").read_text().splitlines(keepends=True)
    assert explain(tmp_path, lines, "bad.Dockerfile").detail == ("one", "line 1", "line 2", "line 3", "line 4")


SOLVE = "ERROR: failed to build: failed to solve: "
METADATA = SOLVE + "acme/base:1: failed to resolve source metadata for docker.io/acme/base:1: "


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (METADATA + "docker.io/acme/base:1: not found", "base image acme/base:1 not found (its registry does not have"),
        (
            METADATA + "pull access denied, repository does not exist or may require authorization",
            "base image acme/base:1 not found (or its registry refuses it)",
        ),
        (METADATA + "no match for platform in manifest: not found", "acme/base:1 has no variant for linux/s390x"),
        (SOLVE + 'target stage "nope" could not be found', "has no stage nope"),
        ("ERROR: failed to build: something new", "the build failed: something new"),
        ("something without a verdict", "the build failed: buildx ended with exit status 1"),
    ],
)
def test_failures_by_their_words(tmp_path: Path, line: str, message: str) -> None:
    assert message in explain(tmp_path, [line], platforms=("linux/s390x",)).message


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: failed to build: OCI exporter is not supported for the docker driver. Switch to a different driver",
        "ERROR: failed to build: Multi-platform build is not supported for the docker driver.",
        "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        'ERROR: failed to build: no builder "nope" found',
    ],
)
def test_what_the_engine_cannot_do_is_the_engines(tmp_path: Path, line: str) -> None:
    assert isinstance(explain(tmp_path, [line]), EngineError)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = SOLVE + "failed to copy: write /x/.staging/blob: no space left on device"
    monkeypatch.setattr(failure, "NEARLY_FULL", 0)
    assert "no space left on the engine's disk" in explain(tmp_path, [line]).message
    monkeypatch.setattr(failure, "NEARLY_FULL", 1 << 62)
    assert f"no space left on the disk of {tmp_path / 'image'}" in explain(tmp_path, [line]).message
