"""`.dockerignore`: its patterns, and how the last one that matches decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.context import Ignored, ignored_by, read_patterns


def hidden(text: str, path: str) -> bool:
    patterns = read_patterns(text)
    assert patterns is not None
    return Ignored(".dockerignore", tuple(patterns)).hides(path)


CASES = [
    ("a", ["a", "a/b", "a/b/c"], ["b", "b/a", "ab", "A"]),
    ("/a/", ["a", "a/b"], ["b/a"]),
    ("./a/../b", ["b"], ["a"]),
    ("a/*", ["a/b", "a/b/c"], ["a", "b"]),
    ("a/**", ["a/b", "a/b/c"], ["a"]),
    ("*", ["a", "a/b", "."], []),
    ("**", ["a", "a/b", "."], []),
    ("**/*", ["a", "a/b", "."], []),
    (".", [], [".", "a"]),
    ("*.md", ["a.md"], ["b/a.md", "a.mdx", "amd"]),
    ("**/*.md", ["a.md", "b/a.md", "c/b/a.md"], ["a.txt"]),
    ("**/a", ["a", "b/a", "b/a/c"], ["ab", "ba"]),
    ("**a", ["a", "ba", "c/ba"], ["ab"]),
    ("**/b/**", ["a/b/c", "b/c"], ["b", "a/b"]),
    ("a/**/b", ["a/b", "a/c/b", "a/c/d/b"], ["b", "ab"]),
    ("a**c", ["a/c", "ac", "a/b/c"], ["abc"]),
    ("a**", ["a", "ab", "a/b"], ["b"]),
    ("?", ["a", "b/c"], ["ab", "."]),
    ("a[b-d]", ["ab", "ad"], ["ae", "a"]),
    ("a[^b]", ["ac", "a]"], ["ab"]),
    ("a\\*", ["a*"], ["ab"]),
    ("a(b", ["a(b"], ["ab"]),
    ("a+b", ["a+b"], ["aab"]),
    ("  a  \n\tb\r\n", ["a", "b"], []),
    ("#a\n # b", ["# b"], ["a", "#a"]),
    ("a\n!a/b", [], ["a", "a/b"]),
    ("a\n!a/b", ["a/c"], []),
    ("!a/b\na", ["a/c"], ["a"]),
    ("*\n!src/**", ["a"], ["src", "src/b", "."]),
    ("*\n! a", ["b"], ["a"]),
    ("a\n!**/*.txt", [], ["a", "a/b"]),
    ("a\n!b/c", ["a"], ["b"]),
    ("", [], ["a", "."]),
]


@pytest.mark.parametrize(("text", "out", "kept"), CASES)
def test_patterns_leave_out_what_docker_leaves_out(text: str, out: list[str], kept: list[str]) -> None:
    assert [path for path in (*out, *kept) if hidden(text, path)] == out


@pytest.mark.parametrize("text", ["!", "[", "a[", "a[]", "a\\", "!  \na"])
def test_a_malformed_file_says_nothing(text: str) -> None:
    assert read_patterns(text) is None


def test_only_a_dockerfile_on_disk_has_a_context(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("\ufeffa\n", encoding="utf-8")
    assert ignored_by(str(tmp_path / "Dockerfile")) is None
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    found = ignored_by(str(tmp_path / "Dockerfile"))
    assert found is not None and found.hides("a") and found.path == ".dockerignore"
    assert ignored_by("-") is None and ignored_by("a\0b") is None
