"""build-once, killed at random moments: a short form of benchmarks/kills.py."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from kills import Kill, Project, choose, left_running

from buildopt.engine.connection import Engine

pytestmark = pytest.mark.engine
# Late moments, where the artifact is being put in its place.
LATE = (Kill("image", True, 0.9), Kill("image.tar", True, 0.95))


def test_killed_at_random_moments_the_artifact_is_the_old_or_the_new_one(tmp_path: Path, engine: Engine) -> None:
    project = Project(tmp_path, {**os.environ, **engine.environment})
    outcomes = [project.kill(kill) for kill in (*itertools.islice(choose(seed=7), 4), *LATE)]
    assert [f"{item.kill}: {item.problem}" for item in outcomes if item.problem] == []
    assert sum(item.state == "old" for item in outcomes) >= 1, "some kills come before the end"
    assert left_running(project.folder, patience=30) == []
