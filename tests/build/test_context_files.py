"""Files of a context: which are read, what stands for them, when they are hashed again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from buildopt.build import context_files
from buildopt.build.context_files import Context, Hashes, Selection, differences, listing, read_listing
from buildopt.dockerfile.context import read_patterns

FILES = ("a", "a.md", "src/a.c", "src/b.c", "src/deep/x", "docs/a.md", "docs/in/b.md", "node_modules/m/i.js", "[x]/y")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("src")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to("../../../etc/passwd")
    return tmp_path


def names(root: Path, *sources: str, ignore: str = "", excludes: tuple[str, ...] = ()) -> list[str]:
    context = Context(str(root), read_patterns(ignore) or ())
    return [entry.path for entry in context.select(Selection(sources, excludes))]


def read(root: Path, hashes: Hashes, *sources: str) -> dict[str, str]:
    return read_listing(listing(hashes, str(root), Context(str(root)).select(Selection(sources or (".",)))))


def later(hashes: Hashes) -> Hashes:
    return Hashes(known=hashes.fresh)


def aged(root: Path) -> None:
    """As if all files had been written a while ago; their change time cannot be set, so it must pass."""
    time.sleep(2 * context_files._RACY / 1e9)


def test_what_sources_name(root: Path) -> None:
    assert names(root, "src") == ["src", "src/a.c", "src/b.c", "src/deep", "src/deep/x"]
    assert names(root, "/src/a.c") == names(root, "./src//a.c") == names(root, "../src/a.c") == ["src/a.c"]
    assert names(root, "src/*.c") == ["src/a.c", "src/b.c"]
    assert names(root, "s?c/d*") == ["src/deep", "src/deep/x"]
    assert names(root, "*/in") == ["docs/in", "docs/in/b.md"]
    assert names(root, "[[]x]") == ["[x]", "[x]/y"]
    assert names(root, "missing", "src/missing", "a/b", "[") == []
    assert names(root, "link") == ["link", "src", "src/a.c", "src/b.c", "src/deep", "src/deep/x"]
    assert names(root, "loop") == ["loop"] and names(root, "out") == ["out"]
    assert set(names(root, ".")) >= {*FILES, "link", "loop", "out"}


def test_what_is_ignored_is_not_read(root: Path) -> None:
    assert "node_modules" not in names(root, ".", ignore="node_modules\n")
    assert names(root, "docs", ignore="**/*.md\n!docs/in/b.md\n") == ["docs", "docs/in", "docs/in/b.md"]
    assert names(root, ".", ignore="*\n!src/a.c\n") == ["src", "src/a.c"]
    assert names(root, "docs", excludes=("*.md",)) == ["docs", "docs/in", "docs/in/b.md"]
    assert names(root, "docs", excludes=("**/*.md",)) == ["docs", "docs/in"]


def test_what_counts_and_what_does_not(root: Path) -> None:
    before = read(root, Hashes())
    os.utime(root / "a", (1, 1))
    assert read(root, Hashes()) == before
    os.chmod(root / "a", 0o700)
    (root / "src/a.c").write_text("other")
    (root / "new").mkdir()
    (root / "a.md").unlink()
    (root / "link").unlink()
    (root / "link").symlink_to("docs")
    os.chmod(root / "docs", 0o700)
    found, unknown = differences(before, read(root, Hashes()))
    assert found == [
        *[("mode changed", "a"), ("removed", "a.md"), ("changed", "link"), ("added", "new"), ("changed", "src/a.c")]
    ]
    assert unknown == ["docs"]


def test_unchanged_files_are_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(root)
    first = Hashes()
    before = read(root, first)
    (root / "a").write_text("A")
    read_again: list[str] = []
    real = Hashes._read

    def noted(self: Hashes, path: str) -> str | None:
        read_again.append(os.path.relpath(path, root))
        return real(self, path)

    monkeypatch.setattr(Hashes, "_read", noted)
    after = read(root, later(first))
    assert read_again == ["a"] and differences(before, after)[0] == [("changed", "a")]


def test_a_change_that_keeps_size_and_time_is_seen(root: Path) -> None:
    aged(root)
    first = Hashes()
    before = read(root, first)
    status = (root / "a").stat()
    (root / "a").write_text("b")
    os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert differences(before, read(root, later(first)))[0] == [("changed", "a")]


def test_a_file_that_has_just_changed_is_not_trusted(root: Path) -> None:
    (root / "a").write_text("1")
    first = Hashes()
    read(root, first, "a")
    assert first.fresh[str(root)] == {}


def test_what_is_known_is_kept_between_builds(root: Path, tmp_path: Path) -> None:
    aged(root)
    place, first = tmp_path / "hashes", Hashes()
    before = read(root, first, "src")
    first.save(place)
    second = Hashes.load(place)
    assert second.known == first.fresh and read(root, second, "src") == before
    modified = place.stat().st_mtime_ns
    second.save(place)
    assert place.stat().st_mtime_ns == modified
    for damage in (b"", b"x", b"\0" * 100, place.read_bytes()[:-5]):
        place.write_bytes(damage)
        assert Hashes.load(place).known == {}
    assert Hashes.load(tmp_path / "none").known == {}
    entries = {str(root): {"src/a.c": ["x"], "src/b.c": None}}
    assert read(root, Hashes(known=entries), "src") == before  # type: ignore[arg-type]


def test_without_time_files_are_told_apart_by_what_is_known(root: Path) -> None:
    hurried = read(root, Hashes(stopped=lambda: True), "src")
    assert "~" in hurried["src/a.c"]
    whole = read(root, Hashes(), "src")
    assert differences(hurried, whole) == ([], ["src/a.c", "src/b.c", "src/deep/x"])
    (root / "src/a.c").write_text("longer than before")
    found, unknown = differences(hurried, read(root, Hashes(), "src"))
    assert found == [("changed", "src/a.c")] and unknown == ["src/b.c", "src/deep/x"]


def test_odd_files_do_no_harm(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff\n \0"[:3])).write_text("x")
    (root / "new\nline").write_text("x")
    (root / "secret").write_text("x")
    found = read(root, Hashes())
    assert found["pipe"].startswith("s ") and "new\nline" in found and "\udcff\n " in found
    assert Context(str(root / "missing")).select(Selection((".",))) == []
