"""The rule missing-dockerignore, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.lint import lint
from buildopt.dockerfile.rules import missing_dockerignore
from buildopt.settings import LintSettings
from buildopt.source import Source

ONLY = LintSettings(select=("missing-dockerignore",))
WHOLE = "FROM node:22\nCOPY . .\nRUN npm ci && npm run build\n"


def messages(folder: Path, text: str = WHOLE, name: str = "Dockerfile") -> list[str]:
    (folder / name).write_text(text)
    return [finding.message for finding in lint(Source.read(folder / name), ONLY)]


def fill(folder: Path, *names: str, size: int = 1500) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)


def test_what_is_sent_needlessly_is_measured(tmp_path: Path) -> None:
    fill(
        tmp_path, ".git/objects/a", "package.json", "node_modules/a/b.js", "node_modules/a/c/d.js", "src/__pycache__/x"
    )
    (found,) = messages(tmp_path)
    assert found.startswith("no .dockerignore: 6.0 kB of .git, __pycache__ and node_modules needlessly sent")


@pytest.mark.parametrize(
    ("ignored", "found"),
    [
        (".git\n**/node_modules\n", ""),
        ("*\n!src\n", ""),
        ("node_modules\n", "1.5 kB of .git"),
        (".git/objects\nnode_modules/*\n", ""),
        ("# .git\n\n", "3.0 kB of .git and node_modules"),
        ("*\n!node_modules\n", "1.5 kB of node_modules"),
    ],
)
def test_an_ignore_file_that_lets_too_much_in(tmp_path: Path, ignored: str, found: str) -> None:
    fill(tmp_path, ".git/objects/a", "package.json", "node_modules/a/b.js", "src/a.js")
    (tmp_path / ".dockerignore").write_text(ignored)
    expected = [f".dockerignore lets in {found} that no image needs: leave them out"] if found else []
    assert messages(tmp_path) == expected
    (tmp_path / ".dockerignore").write_text("")
    (tmp_path / "web.Dockerfile.dockerignore").write_text(ignored)
    own = [f"web.Dockerfile{message}" for message in expected]
    assert messages(tmp_path, name="web.Dockerfile") == own


@pytest.mark.parametrize(
    "text",
    [
        "FROM node:22\nCOPY package.json ./\nRUN npm ci\n",
        "FROM node:22 AS a\nCOPY --from=a . .\n",
        "FROM node:22\nCOPY --exclude=.git . .\n",
        "FROM node:22\nCOPY . .\nCOPY elsewhere.json ./\n",
        "FROM node:22\nCOPY <<EOF .\nEOF\n",
    ],
)
def test_silent_where_not_all_is_copied_or_the_context_is_another_one(tmp_path: Path, text: str) -> None:
    fill(tmp_path, "package.json")
    assert messages(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM node:22\nCOPY . .\nRUN npm ci\nCMD node dist/main.js\n", ["node_modules"]),
        ("FROM node:22\nCOPY . .\nCMD node dist/main.js\n", []),
        ("FROM node:22\nCOPY . .\nCOPY node_modules /n\nRUN npm install && npm run build\n", ["dist"]),
        ("FROM maven:3\nCOPY . .\nRUN mvn -B package\n", []),
        ("FROM rust:1\nCOPY . .\nRUN cargo build --release\n", []),
    ],
)
def test_only_what_the_build_makes_itself_is_needless(tmp_path: Path, text: str, found: list[str]) -> None:
    fill(tmp_path, "package.json", "node_modules/a", "dist/main.js", "target/x")
    (tmp_path / ".dockerignore").write_text("none\n")
    assert [message.split(" of ")[1].split(" that ")[0] for message in messages(tmp_path, text)] == found


def test_versions_may_be_taken_from_git(tmp_path: Path) -> None:
    fill(tmp_path, ".git/HEAD")
    (tmp_path / ".dockerignore").write_text("none\n")
    assert messages(tmp_path, "FROM a\nCOPY . .\nRUN make\n") != []
    assert messages(tmp_path, "FROM a\nCOPY . .\nRUN git rev-parse HEAD > /version\n") == []
    assert messages(tmp_path, "FROM a\nCOPY . .\nCOPY .git/HEAD /x\n") == []


def test_the_context_may_be_a_folder_above(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    fill(tmp_path, ".git/HEAD")
    assert len(messages(folder)) == 1
    (tmp_path / ".dockerignore").write_text(".git\n")
    assert messages(folder) == []


def test_texts_that_are_no_file_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "Dockerfile", "a\0b", "x" * 5000):
        assert lint(Source(name, WHOLE), ONLY) == []


def test_looking_at_the_disk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_dockerignore, "_MAX_ENTRIES", 30)
    fill(tmp_path, *(f".git/{number}" for number in range(50)), size=100)
    (found,) = messages(tmp_path)
    assert "at least " in found and 2000 <= 1000 * float(found.split("at least ")[1].split(" kB")[0]) <= 3000
