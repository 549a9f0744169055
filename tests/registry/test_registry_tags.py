"""Tags are made of what the workflow job or git says."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from buildopt.errors import UsageError
from buildopt.registry.tags import fill, fit, values

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=timezone.utc)
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        (
            {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "feature/Über x", "GITHUB_SHA": SHA},
            {"branch": "feature-ber-x", "sha": "0123456"},
        ),
        (
            {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.2.3", "GITHUB_SHA": SHA},
            {"version": "1.2.3", "sha": "0123456"},
        ),
        (
            {"GITHUB_REF_NAME": "12/merge", "GITHUB_HEAD_REF": "fix", "GITHUB_REF_TYPE": "branch", "GITHUB_SHA": SHA},
            {"branch": "fix", "sha": "0123456"},
        ),
        ({"GITHUB_REF": "refs/heads/main", "GITHUB_SHA": SHA}, {"branch": "main", "sha": "0123456"}),
    ],
)
def test_a_workflow_job_says_what_it_builds(tmp_path: Path, environ: dict[str, str], found: dict[str, str]) -> None:
    assert values(environ, tmp_path, NOW) == {"date": "20260304", **found}


def test_git_says_what_is_checked_out(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        user = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        done = subprocess.run(
            ["git", *user, *words], cwd=tmp_path, env=environ, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "release/2")
    git("commit", "-q", "--allow-empty", "-m", "one")
    expected = {"date": "20260304", "branch": "release-2", "sha": git("rev-parse", "HEAD")[:7]}
    assert values({}, tmp_path, NOW) == expected
    git("tag", "v2.0")
    assert values({}, tmp_path, NOW) == {**expected, "version": "2.0"}


def test_outside_of_git_there_is_only_the_date(tmp_path: Path) -> None:
    assert values({"GIT_CEILING_DIRECTORIES": str(tmp_path)}, tmp_path, NOW) == {"date": "20260304"}


def test_a_template_is_filled_or_says_what_is_missing() -> None:
    assert fill("{branch}-{sha}", {"branch": "main", "sha": "0123456"}) == ("main-0123456", ())
    assert fill("{version}", {}) == ("", ("version",))
    assert fill("plain", {}) == ("plain", ())
    with pytest.raises(UsageError, match=r"unknown field \{brunch\}"):
        fill("{brunch}", {})


@pytest.mark.parametrize(
    ("text", "tag"), [("a/b", "a-b"), ("-.x", "x"), ("x" * 200, "x" * 128), ("ä", ""), ("1.0+b", "1.0-b")]
)
def test_any_name_is_made_fit_for_a_tag(text: str, tag: str) -> None:
    assert fit(text) == tag
