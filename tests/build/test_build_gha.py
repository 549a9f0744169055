"""Scopes of the cache of GitHub Actions: which are read, which one is written, and when there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildopt.build import gha
from buildopt.build.gha import Scopes

BOTH = ("linux/amd64", "linux/arm64")
ACTIONS = {"GITHUB_ACTIONS": "true", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}


@pytest.fixture
def event(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "event.json").write_text(json.dumps({"repository": {"default_branch": "main"}}))
    return {**ACTIONS, "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}


def test_the_default_branch_reads_and_writes_its_own(event: dict[str, str]) -> None:
    assert gha.scopes("api", BOTH, event) == Scopes(("api.main",), "api.main")


def test_a_branch_reads_the_default_branch_too(event: dict[str, str]) -> None:
    branch = {**event, "GITHUB_REF_NAME": "feature"}
    assert gha.scopes("api", BOTH, branch) == Scopes(("api.feature", "api.main"), "api.feature")


def test_a_pull_request_reads_its_base(event: dict[str, str]) -> None:
    pull = {**event, "GITHUB_REF_NAME": "7/merge", "GITHUB_HEAD_REF": "fix", "GITHUB_BASE_REF": "release"}
    assert gha.scopes("api", BOTH, pull) == Scopes(("api.fix", "api.release", "api.main"), "api.fix")


def test_a_tag_writes_nothing(event: dict[str, str]) -> None:
    tag = {**event, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1"}
    assert gha.scopes("api", BOTH, tag) == Scopes(("api.main",), "")


def test_single_platforms_of_one_image_do_not_overwrite_each_other(event: dict[str, str]) -> None:
    amd64, arm64 = (gha.scopes("api", (name,), event) for name in BOTH)
    assert amd64.writes != arm64.writes
    assert amd64.reads == (amd64.writes, "api.main")


def test_branches_that_look_alike_stay_apart(event: dict[str, str]) -> None:
    one, other = (gha.scopes("api", BOTH, {**event, "GITHUB_REF_NAME": name}).writes for name in ("a/b", "a-b"))
    assert one != other and "/" not in one and "," not in one


@pytest.mark.parametrize("text", ["{", "[]", '{"repository": null}', ""])
def test_an_event_that_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "event.json").write_text(text)
    found = gha.scopes("api", BOTH, {**ACTIONS, "GITHUB_EVENT_PATH": str(tmp_path / "event.json")})
    assert found == Scopes(("api.main",), "api.main")


def test_builds_of_one_repository_have_names_of_their_own(tmp_path: Path) -> None:
    here = {"GITHUB_WORKSPACE": str(tmp_path)}
    names = [
        gha.identity("", tmp_path, tmp_path / "Dockerfile", None, here),
        gha.identity("", tmp_path / "api", tmp_path / "api/Dockerfile", None, here),
        gha.identity("", tmp_path / "api", tmp_path / "api/Dockerfile", "test", here),
        gha.identity("", tmp_path / "api", tmp_path / "api/b.Dockerfile", None, here),
        gha.identity("", tmp_path, tmp_path / "api/Dockerfile", None, here),
        gha.identity("web", tmp_path / "api", tmp_path / "api/Dockerfile", None, here),
    ]
    assert len(set(names)) == len(names)
    assert names[:2] == ["image", "api"]


def test_buildx_needs_a_token_and_an_address() -> None:
    assert gha.problem({"ACTIONS_RUNTIME_TOKEN": "x", "ACTIONS_RESULTS_URL": "https://x"}) == ("", "")
    assert "ACTIONS_RUNTIME_TOKEN" in gha.problem(ACTIONS)[0] and "github-runtime" in gha.problem(ACTIONS)[1]
    assert "outside GitHub Actions" in gha.problem({})[0]
