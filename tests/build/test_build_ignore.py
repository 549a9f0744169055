"""Artifacts below the context are kept out of it, and the user's ignore files stay in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.build import ignore
from buildopt.build.ignore import Ignore
from buildopt.build.output import parse_output


def find(context: Path, output: str = ".buildopt/image", dockerfile: str = "Dockerfile") -> Ignore:
    return ignore.find(context, context / dockerfile, parse_output(output, context).written)


def test_an_output_elsewhere_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    assert find(tmp_path / "context", str(tmp_path / "image")) == Ignore()
    assert find(tmp_path / "context", "-") == Ignore()


def test_the_buildopt_folder_is_hidden_whole(tmp_path: Path) -> None:
    assert find(tmp_path).data == b".buildopt\n"
    assert find(tmp_path, "a/.buildopt/image").hidden == ("a/.buildopt",)


def test_an_earlier_buildopt_folder_is_hidden_too(tmp_path: Path) -> None:
    (tmp_path / ".buildopt").mkdir()
    assert find(tmp_path, "out/image").hidden == ("out/image", ".buildopt")
    assert find(tmp_path, "-").hidden == (".buildopt",)


def test_a_tar_is_hidden_with_what_lies_beside_it(tmp_path: Path) -> None:
    assert find(tmp_path, "out/app.tar").hidden == ("out/app.tar", "out/.app.tar.layout", "out/.app.tar.partial")


def test_the_users_lines_come_first(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("node_modules\n!.buildopt/keep")
    assert find(tmp_path).data == b"node_modules\n!.buildopt/keep\n.buildopt\n"
    (tmp_path / "Dockerfile.dockerignore").write_text("*.md\n")
    assert find(tmp_path).data == b"*.md\n.buildopt\n"


def test_an_empty_ignore_file_of_the_dockerfile_still_replaces_the_contexts(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("node_modules\n")
    (tmp_path / "Dockerfile.dockerignore").write_text("")
    assert find(tmp_path).data == b".buildopt\n"


@pytest.mark.parametrize("lines", [".buildopt\n", "x\n/.buildopt/\n", "./.buildopt\ny", "\ufeff.buildopt"])
def test_nothing_is_generated_where_the_user_hides_it(tmp_path: Path, lines: str) -> None:
    (tmp_path / ".dockerignore").write_text(lines)
    assert find(tmp_path) == Ignore()


@pytest.mark.parametrize(
    "lines", ["#.buildopt\n", ".buildopt/image/blobs\n", ".buildopt\n!.buildopt/image\n", "*.md\n"]
)
def test_lines_that_do_not_hide_it_for_sure_do_not_count(tmp_path: Path, lines: str) -> None:
    (tmp_path / ".dockerignore").write_text(lines)
    assert find(tmp_path).hidden == (".buildopt",)


def test_a_folder_above_hides_it(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("out\n")
    assert find(tmp_path, "out/deep/image") == Ignore()


def test_an_output_reached_by_a_symbolic_link_is_hidden_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "context/real").mkdir(parents=True)
    (tmp_path / "link").symlink_to("context/real")
    assert find(tmp_path / "context", str(tmp_path / "link/image")).hidden == ("real/image",)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("out/image", "out/image"),
        ("a*b?[c]", r"a\*b\?\[c\]"),
        ("#x", r"\#x"),
        ("!x", r"\!x"),
        (" x ", "?x?"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_a_path_becomes_a_pattern_for_itself(path: str, expected: str) -> None:
    assert ignore.pattern(path) == expected
