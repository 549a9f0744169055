"""Tags are made of what the workflow job or git says."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import artifacts
import pytest
from scripted import scripted_registry

from buildopt.cli import main
from buildopt.errors import UsageError
from buildopt.registry.tags import Checkout, checkout, fan_out, fill, fit, named, values

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
        ({"GITHUB_REF": "refs/heads/feature/new-auth"}, {"branch": "feature-new-auth"}),
        (
            {"GITHUB_REF": "refs/heads/Fix/JIRA-12_x.y", "GITHUB_SHA": SHA},
            {"branch": "Fix-JIRA-12_x.y", "sha": "0123456"},
        ),
        ({"GITHUB_REF": "refs/tags/v1.2.3-rc.1", "GITHUB_SHA": SHA}, {"version": "1.2.3-rc.1", "sha": "0123456"}),
        ({"GITHUB_REF": "refs/tags/1.2.3+5", "GITHUB_SHA": SHA}, {"version": "1.2.3-5", "sha": "0123456"}),
        (
            {"GITHUB_REF": "refs/pull/12/merge", "GITHUB_HEAD_REF": "feature/x", "GITHUB_SHA": SHA},
            {"branch": "feature-x", "sha": "0123456"},
        ),
        ({"GITHUB_REF": "refs/pull/12/merge", "GITHUB_SHA": SHA}, {"branch": "pr-12", "sha": "0123456"}),
        (
            {"CI_COMMIT_SHA": SHA, "CI_COMMIT_BRANCH": "a/b", "CI_COMMIT_REF_NAME": "a/b"},
            {"branch": "a-b", "sha": "0123456"},
        ),
        (
            {"CI_COMMIT_SHA": SHA, "CI_COMMIT_TAG": "v2.0.0", "CI_COMMIT_REF_NAME": "v2.0.0"},
            {"version": "2.0.0", "sha": "0123456"},
        ),
        (
            {"CI_COMMIT_SHA": SHA, "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "mr", "CI_COMMIT_REF_NAME": "mr"},
            {"branch": "mr", "sha": "0123456"},
        ),
    ],
)
def test_a_workflow_job_says_what_it_builds(tmp_path: Path, environ: dict[str, str], found: dict[str, str]) -> None:
    assert values(environ, tmp_path, NOW) == {"date": "20260304", **found}


def git(folder: Path, *words: str) -> str:
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    user = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    done = subprocess.run(["git", *user, *words], cwd=folder, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_git_says_what_is_checked_out(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "release/2")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    expected = {"date": "20260304", "branch": "release-2", "sha": git(tmp_path, "rev-parse", "HEAD")[:7]}
    assert values({}, tmp_path, NOW) == expected
    git(tmp_path, "tag", "v2.0")
    assert values({}, tmp_path, NOW) == {**expected, "version": "2.0"}


def test_before_the_first_commit_there_is_a_branch_only(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    assert checkout({}, tmp_path) == Checkout("main")


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    git(tmp_path, "checkout", "-q", "--detach")
    assert checkout({}, tmp_path) == Checkout(sha=git(tmp_path, "rev-parse", "HEAD"))


def test_a_shallow_clone_knows_its_commit_and_the_tags_that_it_fetched(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    git(tmp_path / "whole", "init", "-q", "-b", "main")
    for number in range(3):
        git(tmp_path / "whole", "commit", "-q", "--allow-empty", "-m", f"{number}")
    git(tmp_path / "whole", "tag", "-a", "-m", "release", "v1.2.3")
    source = f"file://{tmp_path / 'whole'}"
    git(tmp_path, "clone", "-q", "--depth=1", "--no-tags", source, "shallow")
    sha = git(tmp_path / "whole", "rev-parse", "HEAD")
    assert checkout({}, tmp_path / "shallow") == Checkout("main", sha)
    git(tmp_path / "shallow", "fetch", "-q", "--depth=1", "--tags")
    assert checkout({}, tmp_path / "shallow").version == "1.2.3"


@pytest.mark.parametrize(
    ("tags", "version"),
    [
        (("v1.2.9", "v1.2.10", "stable"), "1.2.10"),
        (("v1.2.3", "v1.2.3-rc.2"), "1.2.3"),
        (("stable", "2.0"), "2.0"),
        (("nightly",), "nightly"),
    ],
)
def test_of_several_tags_the_version_counts(tmp_path: Path, tags: tuple[str, ...], version: str) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    for tag in tags:
        git(tmp_path, "tag", tag)
    assert checkout({}, tmp_path).version == version


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


def test_a_long_branch_is_shortened_and_the_commit_is_kept() -> None:
    text, missing = fill("{branch}-{sha}", {"branch": "b" * 128, "sha": "0123456"})
    assert (text, len(text), missing) == ("b" * 120 + "-0123456", 128, ())
    assert fill("x-{branch}-{branch}", {"branch": "a." * 60})[0] == f"x-{'a.' * 30}a-{'a.' * 30}a"


@pytest.mark.parametrize(
    ("version", "tags"),
    [
        ("1.2.3", "1.2.3 1.2 1 latest"),
        ("v1.2.3", "v1.2.3 v1.2 v1 latest"),
        ("10.20.30", "10.20.30 10.20 10 latest"),
        ("0.2.5", "0.2.5 0.2 latest"),
        ("0.0.1", "0.0.1 0.0 latest"),
        ("1.2.3-rc.1", "1.2.3-rc.1"),
        ("1.2.3-0.3.7", "1.2.3-0.3.7"),
        ("1.2.3+5", "1.2.3-5"),
        ("1.2.3-rc.1+sha.5114f85", "1.2.3-rc.1-sha.5114f85"),
        ("2024.1.15", "2024.1.15 2024.1 2024 latest"),
    ],
)
def test_a_version_has_its_shorter_names(version: str, tags: str) -> None:
    assert " ".join(fan_out(version)) == tags


@pytest.mark.parametrize("text", ["1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "nightly", "", "1.2.3 "])
def test_what_is_no_version_has_none(text: str) -> None:
    with pytest.raises(UsageError, match="no semantic version"):
        fan_out(text)


@pytest.mark.parametrize(
    ("templates", "tag", "names"),
    [
        ("", "v1.2.3", "1.2.3 1.2 1 latest"),
        ("{version}", "v1.2.3", "1.2.3 1.2 1 latest"),
        ("{version} {sha} latest", "v1.2.3", "1.2.3 1.2 1 0123456 latest"),
        ("nightly", "v1.2.3", "1.2.3 1.2 1 nightly latest"),
        ("2.0.0 {version}", "v1.2.3", "2.0.0 2.0 2 1.2.3 1.2 1 latest"),
        ("1.2.3-{sha}", "v1.2.3", "1.2.3 1.2 1 1.2.3-0123456 latest"),
        ("{version} {version}", "v1.2.3+5", "1.2.3-5"),
        ("3.1.0", "", "3.1.0 3.1 3 latest"),
    ],
)
def test_versions_among_the_tags_are_fanned_out_and_each_is_there_once(templates: str, tag: str, names: str) -> None:
    found = named(templates.split(), Checkout("main", SHA, tag), semver=True)
    assert (" ".join(found.names), found.versioned) == (names, True)


def test_without_being_asked_nothing_is_fanned_out() -> None:
    found = named(["{version}", "a", "a"], Checkout("main", SHA, "v1.2.3"))
    assert (found.names, found.versioned) == (("1.2.3", "a"), False)
    assert named(["{branch}", "x"], Checkout(tag="v1.2.3"), semver=True).left_out == (("{branch}", ("branch",)),)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an artifact, outside of CI and of git."""
    artifacts.make_layout(tmp_path / ".buildopt" / "image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "CI_", "GITLAB_"))]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "tag", "said"),
    [
        (["127.0.0.1:1/a"], "", "--semver: there is no version here"),
        (["127.0.0.1:1/a", "--tag", "x"], "nightly", "--semver: the git tag 'nightly' is no semantic version"),
        (["127.0.0.1:1/a:1.2.3"], "", "buildopt push 127.0.0.1:1/a --tag 1.2.3 --semver"),
    ],
)
def test_semver_without_a_version_says_what_to_do(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    tag: str,
    said: str,
) -> None:
    if tag:
        monkeypatch.setenv("GITHUB_REF", f"refs/tags/{tag}")
    assert main(["push", *words, "--semver"]) == 2
    error = capsys.readouterr().err
    assert said in error and "hint: " in error


def test_semver_pushes_every_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(here))
    with scripted_registry() as registry:
        (here / "buildopt.yaml").write_text(
            f"push: {{semver: true, tags: ['{{sha}}'], to: [{registry.host}/acme/app]}}"
        )
        monkeypatch.setenv("GITHUB_SHA", SHA)
        monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
        assert main(["push"]) == 0
        assert "there is no version here: no tags of semver" in capsys.readouterr().err
        assert {name for _, name in registry.manifests if ":" not in name} == {"0123456"}
        monkeypatch.setenv("GITHUB_REF", "refs/tags/v1.2.3")
        assert main(["push"]) == 0
        assert "tags: 1.2.3, 1.2, 1, 0123456, latest" in capsys.readouterr().err
        names = {name for _, name in registry.manifests if ":" not in name}
        assert names == {"0123456", "1.2.3", "1.2", "1", "latest"}
        assert main(["push", f"{registry.host}/acme/other", "--tag", "0.4.1", "--semver"]) == 0
        assert {name for place, name in registry.manifests if place == "acme/other" and ":" not in name} == {
            "0.4.1", "0.4", "latest",
        }  # fmt: skip
