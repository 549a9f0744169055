"""``buildopt why`` on a real engine: a table of changes, each judged by what is said of the build after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from staged_changes import AMD64, CHANGES, TOKEN, Project, Verdict, verdicts

from buildopt.engine.connection import Engine
from buildopt.history.store import Store
from buildopt.sandbox.registries import start_registry, stopped_after

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine, busybox_context: Path) -> Iterator[Project]:
    """A project with its base images in a registry on loopback."""
    folder = tmp_path_factory.mktemp("why")
    with stopped_after(start_registry(folder / "registry")) as running:
        made = Project(folder, engine, running.url.partition("://")[2], busybox_context)
        made.make()
        yield made


@pytest.fixture(scope="module")
def judged(project: Project) -> list[Verdict]:
    """Every change's verdict, made one after the other."""
    return list(verdicts(project))


def why(project: Project, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "buildopt", "why", *words],
        cwd=project.context,
        env=project.environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_no_change_is_explained_wrongly(judged: list[Verdict]) -> None:
    assert [entry for entry in judged if entry.verdict == "wrong"] == []
    assert len(judged) == len(CHANGES) >= 24


def test_hardly_any_change_is_unsure(judged: list[Verdict]) -> None:
    unsure = [entry for entry in judged if entry.verdict == "not sure"]
    assert len(unsure) * 10 <= len(judged), unsure


def test_the_command_tells_of_the_last_build_and_of_others(project: Project, judged: list[Verdict]) -> None:
    store = Store.of(project.context)
    newest, *_, oldest = store.ids()
    text = why(project)
    assert text.startswith(newest) and "VERSION=$TARGETARCH" in text and "linux/amd64, linux/arm64: " in text
    first = json.loads(why(project, oldest, "--format", "json"))
    assert first["version"] == 1 and first["record"] == oldest
    assert {cause["kind"] for miss in first["platforms"][0]["misses"] for cause in miss["causes"]} == {"never-built"}
    assert why(project, str(store.folder / f"{oldest}.json")) == why(project, oldest[-8:]) == why(project, oldest)
    assert "there is no record nothing" in why(project, "nothing", code=2)


def test_a_build_that_was_all_cached(project: Project, judged: list[Verdict]) -> None:
    project.build()
    project.build()
    assert f"{AMD64}: everything was cached" in why(project)


def test_records_hold_no_secrets_and_are_their_owners_alone(project: Project, judged: list[Verdict]) -> None:
    folder = Store.of(project.context).folder
    assert folder.stat().st_mode & 0o777 == 0o700
    texts = [path.read_text() for path in folder.glob("*.json")]
    assert len(texts) >= len(CHANGES) and not any(TOKEN in text for text in texts)
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.json")} == {0o600}


def test_a_folder_that_cannot_hold_records_fails_no_build(project: Project, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {project.registry}/team/base:1\nRUN echo unrecorded\n")
    (context / ".buildopt").mkdir()
    (context / ".buildopt/records").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "buildopt", "build-once", "--format", "json", "-o", os.fspath(tmp_path / "image")],
        cwd=context,
        env=project.environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 and json.loads(done.stdout)["record"] is None
    assert "warning: no record of this build" in done.stderr
