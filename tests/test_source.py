"""Sources, spans and edits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.errors import UsageError
from buildopt.source import MAX_BYTES, Edit, Source, Span, apply_edits, unified_diff, write_atomic


@given(st.binary())
def test_any_bytes_come_back(data: bytes) -> None:
    assert Source.from_bytes("x", data).to_bytes() == data


@given(st.text(alphabet="ab\n\r", max_size=40), st.data())
def test_position_agrees_with_counting(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    before = text[:offset]
    assert Source("x", text).position(offset) == (before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def test_a_byte_order_mark_is_no_column() -> None:
    assert Source("x", "\ufeffFROM a").position(1) == (1, 1)


@given(
    st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.text(max_size=3)), max_size=4)
)
def test_edits_touch_only_their_spans(text: str, triples: list[tuple[int, int, str]]) -> None:
    edits = [Edit(Span(min(a, b), max(a, b)), new) for a, b, new in triples]
    try:
        result = apply_edits(text, edits)
    except ValueError:
        clash = any(a.span.overlaps(b.span) for i, a in enumerate(edits) for b in edits[i + 1 :])
        assert clash or any(edit.span.end > len(text) for edit in edits)
        return
    expected = text
    for edit in sorted(edits, key=lambda item: item.span, reverse=True):
        expected = expected[: edit.span.start] + edit.text + expected[edit.span.end :]
    assert result == expected


def test_two_insertions_at_one_point_clash_and_neighbours_do_not() -> None:
    assert Span(3, 3).overlaps(Span(3, 3))
    assert Span(2, 4).overlaps(Span(3, 3))
    assert not Span(2, 3).overlaps(Span(3, 3))
    assert not Span(2, 3).overlaps(Span(3, 5))


def test_diff_says_when_the_last_newline_is_missing() -> None:
    diff = unified_diff(Source("D", "FROM a"), Source("D", "FROM b\n"))
    assert "-FROM a\n\\ No newline at end of file\n+FROM b\n" in diff


def test_write_keeps_mode_and_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "Dockerfile", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["Dockerfile", "link"]


def test_write_keeps_the_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    target = tmp_path / "Dockerfile"
    target.write_bytes(b"old")
    os.chown(target, 1234, 2345)
    write_atomic(target, b"new")
    assert (target.stat().st_uid, target.stat().st_gid, target.read_bytes()) == (1234, 2345, b"new")


def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, b"new")
        assert os.read(reader, 9) == b"new" and pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_pipe_can_be_named_by_its_number() -> None:
    reader, writer = os.pipe()
    try:
        write_atomic(Path(f"/dev/fd/{writer}"), b"new")
        assert os.read(reader, 9) == b"new"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_read_only_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "Dockerfile"
    target.write_bytes(b"old")
    target.chmod(0o444)
    if os.geteuid() == 0:  # root may write everything: ask as somebody else
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(UsageError, match="Dockerfile cannot be written: it is read-only"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["Dockerfile"]


def test_what_to_do_about_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        write_atomic(tmp_path / "no" / "such", b"new")
    assert missing.value.hint == "make its folder first"
    with pytest.raises(UsageError) as folder:
        write_atomic(tmp_path, b"new")
    assert folder.value.hint == "name a file"


def test_reading_what_is_not_there_or_no_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Source.read(tmp_path / "Dockerfile")
    with pytest.raises(UsageError, match="is a folder"):
        Source.read(tmp_path)
    (tmp_path / "huge").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="larger than"):
        Source.read(tmp_path / "huge")
