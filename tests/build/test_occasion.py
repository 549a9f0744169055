"""``platforms-when``: a pull request builds for one platform, a tag for all; flags win, and the choice is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.build import occasion, plan
from buildopt.build.plan import BuildPlan, Options
from buildopt.errors import UsageError
from buildopt.settings import load

BOTH = ("linux/amd64", "linux/arm64")
WHEN = "{pull_request: amd64, tag: all, release: [all, riscv64], push: [arm64], schedule: [s390x, 386]}"


def make(
    folder: Path, when: str, environment: dict[str, str], *typed: str, platforms: str = "amd64, arm64"
) -> BuildPlan:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "buildopt.yaml").write_text(f"build: {{platforms: [{platforms}], platforms-when: {when}}}\n")
    return plan.make(Options(platforms=typed), load(folder / "buildopt.yaml"), folder, environment)


def github(event: str, kind: str = "branch") -> dict[str, str]:
    return {"GITHUB_EVENT_NAME": event, "GITHUB_REF_TYPE": kind}


@pytest.mark.parametrize(
    ("environment", "platforms", "key"),
    [
        ({}, BOTH, ""),
        (github("pull_request"), ("linux/amd64",), "pull_request"),
        (github("pull_request_target"), ("linux/amd64",), "pull_request"),
        (github("push"), ("linux/arm64",), "push"),
        (github("push", "tag"), BOTH, "tag"),
        (github("workflow_dispatch", "tag"), BOTH, "tag"),
        (github("release", "tag"), (*BOTH, "linux/riscv64"), "release"),
        (github("schedule"), ("linux/s390x", "linux/386"), "schedule"),
        (github("workflow_dispatch"), BOTH, ""),
        ({"GITHUB_EVENT_NAME": "", "GITHUB_REF_TYPE": "tag"}, BOTH, ""),
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, ("linux/amd64",), "pull_request"),
        ({"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "v1"}, BOTH, "tag"),
        ({"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": ""}, ("linux/arm64",), "push"),
    ],
)
def test_the_occasion_chooses(
    tmp_path: Path, environment: dict[str, str], platforms: tuple[str, ...], key: str
) -> None:
    found = make(tmp_path, WHEN, environment)
    assert found.platforms == platforms
    assert found.because.startswith(f"build.platforms-when.{key}, for ") if key else found.because == ""


def test_a_tag_that_has_no_key_is_a_push(tmp_path: Path) -> None:
    found = make(tmp_path, "{push: [arm64]}", github("push", "tag"))
    assert found.platforms == ("linux/arm64",) and "GITHUB_EVENT_NAME=push" in found.because


def test_flags_win(tmp_path: Path) -> None:
    found = make(tmp_path, WHEN, github("pull_request"), "arm64")
    assert found.platforms == ("linux/arm64",) and found.because == ""


def test_all_without_platforms_is_the_engine_s_own(tmp_path: Path) -> None:
    assert make(tmp_path, "{tag: all}", github("push", "tag"), platforms="").platforms == ()


def test_of_several_images_each_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api/Dockerfile").write_text("FROM scratch\n")
    text = (
        "images: {api: {context: api, platforms: [amd64, arm64], platforms-when: {pull_request: [amd64]}}, web: {}}\n"
    )
    (tmp_path / "buildopt.yaml").write_text(text)
    found = plan.make(Options(context="api"), load(tmp_path / "buildopt.yaml"), tmp_path, github("pull_request"))
    assert found.platforms == ("linux/amd64",)
    assert found.because == "images.api.platforms-when.pull_request, for GITHUB_EVENT_NAME=pull_request"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{pull_requests: [amd64]}", "unknown key 'pull_requests'"),
        ("{branch: [amd64]}", "unknown key 'branch'"),
        ("{tag: []}", "build.platforms-when.tag: is empty"),
        ("{tag: }", "build.platforms-when.tag: is empty"),
        ("{tag: {a: b}}", "must be text, not a mapping"),
        ("[amd64]", "must be a mapping, not a list"),
        ("{tag: [amd46]}", "buildopt.yaml: build.platforms-when.tag: unknown platform: 'amd46'"),
        ("{tag: al}", "unknown platform: 'al'"),
    ],
)
def test_what_is_wrong_is_said_on_every_occasion(tmp_path: Path, when: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")) as caught:
        make(tmp_path, when, {})
    assert caught.value.hint or "mapping" in message


def test_the_hint_names_the_nearest_event(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make(tmp_path, "{pull-request: [amd64]}", {})
    assert caught.value.hint == "did you mean pull_request?"


def test_no_environment_at_all() -> None:
    assert occasion.events({}) == ()
