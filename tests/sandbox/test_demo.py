"""The folder of the demo."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from buildopt import cli
from buildopt.engine import packages
from buildopt.sandbox import demo


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder is made before anything else of the demo, which takes root and Debian."""
    monkeypatch.setattr(packages, "require_apt", lambda who, hint: None)
    monkeypatch.chdir(tmp_path)


def test_the_first_free_name_is_taken() -> None:
    Path("buildopt-demo").mkdir()
    Path("buildopt-demo-2").symlink_to("nowhere")
    assert demo.new_folder(None) == Path("buildopt-demo-3").absolute()


@pytest.mark.parametrize("words", [[], ["new"], ["a/b/c"]])
def test_a_folder_that_cannot_be_made_is_no_bug(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path, *_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refused)  # root may write everywhere
    assert cli.main(["demo", *words]) == 2
    name = words[0] if words else "buildopt-demo"
    assert capsys.readouterr().err == (
        f"error: cannot write to {name}: Permission denied\n  hint: name a folder that can be written to\n"
    )


def test_a_file_on_the_way_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert cli.main(["demo", "file/new"]) == 2
    assert "cannot write to file/new: Not a directory" in capsys.readouterr().err


def test_an_empty_folder_that_is_read_only_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert cli.main(["demo", "empty"]) == 2
    assert "cannot write to empty: Permission denied" in capsys.readouterr().err
