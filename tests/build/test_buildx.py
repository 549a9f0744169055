"""One buildx build, with a program in buildx's place that fails as BuildKit does."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.build import buildx
from buildopt.build.artifact import Staging
from buildopt.build.plan import BuildPlan, Options, make
from buildopt.build.progress import Event
from buildopt.errors import ToolError
from buildopt.settings import Settings

ONE, OTHER = "qkiisvhqaebk1l45ygqk76tvf", "v8gu7j04x6hyb23nx9dzav4fb"
CANCELED = f"failed to commit {ONE} to {OTHER} during finalize: snapshot {ONE} does not exist: not found"
DIGEST = f"sha256:{'a' * 64}"
# Fails so many times with an error, then writes a digest.
PROGRAM = """#!/bin/sh
if [ $1 = prune ]; then
    echo $5 >> {folder}/pruned
    exit
fi
echo "$2" >> {folder}/runs
if [ $(wc -l < {folder}/runs) -le {failures} ]; then
    echo 'ERROR: failed to build: failed to solve: {error}' >&2
    exit 1
fi
echo '{{"containerimage.digest": "{digest}"}}' > "{folder}/staging/metadata.json"
"""


class Nobody:
    """Watches nothing."""

    def line(self, line: str) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""


def plan(folder: Path) -> BuildPlan:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return make(Options(output=str(folder.parent / "image")), Settings(), folder)


def run(tmp_path: Path, failures: int, error: str) -> tuple[str, int]:
    """The digest, and how often the program ran."""
    program = tmp_path / "buildx"
    program.write_text(PROGRAM.format(folder=tmp_path, failures=failures, error=error, digest=DIGEST))
    program.chmod(0o755)
    (tmp_path / "context").mkdir()
    staging = Staging(tmp_path, tmp_path / "staging", frozenset())
    staging.layout.mkdir(parents=True)
    try:
        built = buildx.build(
            plan(tmp_path / "context"), [str(program)], staging, Nobody(), environment={"PATH": "/usr/bin:/bin"}
        )
    finally:
        runs = (tmp_path / "runs").read_text().count("\n")
    return built.digest, runs


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildx, "PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_what_a_killed_build_takes_along_is_made_again(tmp_path: Path, failures: int) -> None:
    assert run(tmp_path, failures, CANCELED) == (DIGEST, failures + 1)
    words = (tmp_path / "runs").read_text().split()
    assert words == ["--progress"] * min(failures + 1, 2) + ["--no-cache"] * (failures > 1)
    pruned = (tmp_path / "pruned").read_text().split() if failures else []
    assert set(pruned) == ({f"id={ONE}", f"id={OTHER}"} if failures else set())


def test_it_is_not_tried_for_ever(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"snapshot {ONE} does not exist"):
        run(tmp_path, 9, CANCELED)
    assert (tmp_path / "runs").read_text().count("\n") == 3


def test_no_other_failure_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="exit code: 1"):
        run(tmp_path, 1, "process did not complete successfully: exit code: 1")
    assert (tmp_path / "runs").read_text().count("\n") == 1
