"""The user's context is copied, and never written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildopt.dockerfile.passes.result import SecondFile
from buildopt.errors import UsageError
from buildopt.prove import scenarios
from buildopt.prove.scenarios import Scenario, automatic
from buildopt.prove.workspace import Workspace, files_below, patterns, sides
from buildopt.source import Source


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    (folder / "src/main.py").write_text("print(1)\n")
    (folder / "src/main.py").chmod(0o755)
    (folder / "requirements.txt").write_text("six\n")
    os.symlink("src/main.py", folder / "link")
    os.symlink("src", folder / "folder-link")
    (folder / "empty").mkdir(mode=0o700)
    return folder


def made(tmp_path: Path, context: Path | None, *files: SecondFile) -> tuple[Workspace, Workspace]:
    text = "FROM a\nCOPY . .\n"
    path = "Dockerfile" if context is None else str(context / "Dockerfile")
    pair = sides(Source(path, text), Source(path, f"{text}# more\n"), files)
    old, new = (Workspace(tmp_path / "work", side, context) for side in pair)
    return old, new


def listed(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        content = os.readlink(path) if path.is_symlink() else "/" if path.is_dir() else path.read_text()
        found[str(path.relative_to(folder))] = content
    return found


def test_a_copy_is_like_the_context(tmp_path: Path, context: Path) -> None:
    for workspace in made(tmp_path, context):
        assert listed(workspace.context) == listed(context)
        assert (workspace.context / "empty").stat().st_mode == (context / "empty").stat().st_mode
        assert (workspace.context / "src/main.py").stat().st_mode & 0o777 == 0o755


def test_changes_are_made_in_the_copy_and_undone(tmp_path: Path, context: Path) -> None:
    before = listed(context)
    old, _ = made(tmp_path, context)
    old.change("src/main.py", b"other\n")
    old.change("new/file", b"new\n")
    assert (old.context / "src/main.py").read_text() == "other\n"
    assert (old.context / "src/main.py").stat().st_mode & 0o777 == 0o755
    assert listed(context) == before
    old.restore()
    assert (old.context / "src/main.py").read_text() == "print(1)\n"
    assert not (old.context / "new/file").exists()
    assert listed(context) == before


def test_what_an_ignore_file_hides_is_not_copied(tmp_path: Path, context: Path) -> None:
    (context / "node_modules").mkdir()
    (context / "node_modules/x").write_text("x")
    (context / ".dockerignore").write_text("node_modules\n*.txt\n!requirements.txt\n.dockerignore\n")
    (context / "notes.txt").write_text("x")
    old, _ = made(tmp_path, context)
    assert {"node_modules", "node_modules/x", "notes.txt"}.isdisjoint(listed(old.context))
    assert {"requirements.txt", ".dockerignore"} <= listed(old.context).keys()


def test_second_files_are_for_the_new_side_only(tmp_path: Path, context: Path) -> None:
    (context / ".dockerignore").write_text("requirements.txt\n")
    file = SecondFile("dockerignore", context / ".dockerignore", "requirements.txt\n", "src\n", "why")
    old, new = made(tmp_path, context, file)
    assert (old.context / ".dockerignore").read_text() == "requirements.txt\n"
    assert (new.context / ".dockerignore").read_text() == "src\n"
    assert (new.context / "requirements.txt").exists()
    assert (context / ".dockerignore").read_text() == "requirements.txt\n"


def test_the_ignore_file_of_one_dockerfile_lies_beside_it(tmp_path: Path, context: Path) -> None:
    own = context / "Dockerfile.dockerignore"
    own.write_text("src\n")
    old, new = made(tmp_path, context, SecondFile("dockerignore", own, "src\n", "link\n", "why"))
    assert old.dockerfile.with_name("Dockerfile.dockerignore").read_text() == "src\n"
    assert new.dockerfile.with_name("Dockerfile.dockerignore").read_text() == "link\n"


def test_without_a_context_there_is_an_empty_one(tmp_path: Path) -> None:
    old, _ = made(tmp_path, None)
    assert listed(old.context) == {}
    assert old.dockerfile.read_text() == "FROM a\nCOPY . .\n"


def test_scenarios_change_the_copy(tmp_path: Path, context: Path) -> None:
    overlay = tmp_path / "overlay"
    (overlay / "src").mkdir(parents=True)
    (overlay / "src/main.py").write_text("print(2)\n")
    old, _ = made(tmp_path, context)
    Scenario("x", "x", overlay, (("requirements.txt", b"\n"),), (("FROM a", "FROM b"),)).apply(old)
    assert (old.context / "src/main.py").read_text() == "print(2)\n"
    assert (old.context / "requirements.txt").read_text() == "six\n\n"
    assert old.dockerfile.read_text() == "FROM b\nCOPY . .\n"
    old.restore()
    assert old.dockerfile.read_text() == "FROM a\nCOPY . .\n"


def test_scenarios_that_change_nothing_are_refused(tmp_path: Path, context: Path) -> None:
    old, _ = made(tmp_path, context)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="has no files"):
        Scenario("x", "x", overlay=tmp_path / "nothing").apply(old)
    with pytest.raises(UsageError, match="has no 'FROM z'"):
        Scenario("x", "x", replaced=(("FROM z", "FROM b"),)).apply(old)


def chosen(folder: Path, names: str, copied: tuple[str, ...] = (".",)) -> dict[str, str]:
    """File by scenario."""
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n")
    found, notes = automatic(list(files_below(folder, None)), copied, folder)
    assert len(found) + len(notes) == 3
    return {item.name: item.appended[0][0] for item in found if item.appended}


@pytest.mark.parametrize(
    ("names", "source", "manifest"),
    [
        ("app.py requirements.txt README.md", "app.py", "requirements.txt"),
        ("src/a.ts src/index.ts package.json package-lock.json tests/x.ts", "src/index.ts", "package.json"),
        ("cmd/x/main.go go.mod go.sum", "cmd/x/main.go", "go.mod"),
        ("setup.py pkg/__init__.py tests/test_a.py", "pkg/__init__.py", "setup.py"),
        ("src/main/java/App.java pom.xml", "src/main/java/App.java", "pom.xml"),
        ("index.html style.css", "index.html", None),
        ("Makefile data.bin", None, None),
        ("a/requirements-dev.txt a/b.c", "a/b.c", "a/requirements-dev.txt"),
    ],
)
def test_what_is_changed_is_what_people_change(
    tmp_path: Path, names: str, source: str | None, manifest: str | None
) -> None:
    found = chosen(tmp_path, names)
    assert (found.get(scenarios.SOURCE), found.get(scenarios.DEPENDENCY)) == (source, manifest)


def test_only_what_the_build_copies_is_changed(tmp_path: Path) -> None:
    assert chosen(tmp_path, "a.py src/b.py package.json", ("src", "package*.json")) == {
        "source": "src/b.py",
        "dependency": "package.json",
    }


def test_a_changed_source_still_means_the_same(tmp_path: Path) -> None:
    found, _ = automatic(["a.py"], ["."], tmp_path)
    assert [item.name for item in found] == ["unchanged"]  # there is no such file
    (tmp_path / "a.py").write_text("x")
    found, _ = automatic(["a.py"], ["."], tmp_path)
    assert found[1].appended == (("a.py", b"\n# buildopt: a changed source\n"),)


def test_patterns_of_ignore_files(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(files_below(tmp_path, patterns(b".git\nb\n!b/d\n"))) == ["a", "b/d"]
    assert patterns(b"") is None
    assert patterns(None) is None
