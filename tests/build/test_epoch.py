"""What ``--source-date-epoch`` means, and what buildx is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from buildopt.build import epoch, plan
from buildopt.build.plan import Options
from buildopt.errors import UsageError
from buildopt.settings import Settings


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose last commit is from 1700000001."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    times = {"GIT_COMMITTER_DATE": "1700000001 +0200", "GIT_AUTHOR_DATE": "1500000000 +0000", "HOME": str(tmp_path)}
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        argv = ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words]
        subprocess.run(argv, cwd=folder, env={"PATH": "/usr/bin:/bin", **times}, check=True)
    return folder


def test_seconds_git_and_auto(repository: Path) -> None:
    assert epoch.resolve("1600000000", repository, {}) == 1600000000
    assert epoch.resolve("0", repository, {}) == 0
    assert epoch.resolve("git", repository, {"SOURCE_DATE_EPOCH": "5"}) == 1700000001, "the commit's, not the author's"
    assert epoch.resolve("auto", repository, {"SOURCE_DATE_EPOCH": "5"}) == 5
    assert epoch.resolve("auto", repository, {"SOURCE_DATE_EPOCH": ""}) == 1700000001


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "yesterday", "99999999999", "4294967296", "１７", "1700000000 ", "\n"]
)
def test_what_is_no_time_is_refused(text: str, repository: Path) -> None:
    with pytest.raises(UsageError, match="is not a time") as caught:
        epoch.resolve(text, repository, {})
    assert "seconds since 1970" in caught.value.hint
    with pytest.raises(UsageError, match=r"\$SOURCE_DATE_EPOCH is not a time"):
        epoch.resolve("auto", repository, {"SOURCE_DATE_EPOCH": text or "x"})


def test_without_a_commit_git_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository") as caught:
        epoch.resolve("git", tmp_path, {})
    assert "--source-date-epoch 1700000000" in caught.value.hint
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with pytest.raises(UsageError, match="does not have any commits yet"):
        epoch.resolve("auto", tmp_path, {})


def test_buildx_is_told_both_times(repository: Path) -> None:
    found = plan.make(Options(source_date_epoch="git"), Settings(), repository)
    words = found.arguments(Path("/layout"), Path("/metadata"), found.dockerfile)
    assert words[words.index("--build-arg") + 1] == "SOURCE_DATE_EPOCH=1700000001"
    assert words[words.index("--output") + 1].endswith(",rewrite-timestamp=true")
    without = plan.make(Options(), Settings(), repository, {"SOURCE_DATE_EPOCH": "5"})
    assert not any("EPOCH" in word or "rewrite" in word for word in without.arguments(Path(), Path(), Path()))


def test_the_time_is_said_once(repository: Path) -> None:
    options = Options(source_date_epoch="5", build_args=("SOURCE_DATE_EPOCH=6",))
    with pytest.raises(UsageError, match="say the same"):
        plan.make(options, Settings(), repository)
