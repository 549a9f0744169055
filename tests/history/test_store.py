"""Records: what is written is what is read, damage is passed over, the oldest go."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.errors import ArtifactError, UsageError
from buildopt.history.records import PlatformImage, Record, Step, Variable, from_json
from buildopt.history.store import Store, new_id, tree_name

STEP = Step(
    stage="build",
    number=2,
    text="RUN make",
    platforms=("linux/amd64",),
    line=7,
    seconds=1.5,
    key="k",
    parts={"instruction": "RUN make", "user": ""},
    files="0123456789abcdef",
    variables=(Variable("A", "arg", "1", "ARG A=1", 3, ("A",)),),
)
RECORD = Record(
    id="20260101T000000Z-00000000",
    started="2026-01-01T00:00:00Z",
    seconds=2.5,
    ok=True,
    context="/c",
    dockerfile="/c/Dockerfile",
    builder="b",
    platforms=("linux/amd64",),
    images=(PlatformImage("linux/amd64", "sha256:00", 5),),
    steps=(STEP, replace(STEP, number=3, needs=(0,), cached=True)),
    arguments={"A": "1"},
    bases={"debian": "sha256:11"},
)


def at(number: int) -> Record:
    return replace(RECORD, id=f"20260101T0000{number:02}Z-0000000{number % 10}", steps=())


def test_a_record_is_read_as_it_was_written() -> None:
    assert from_json(RECORD.to_json()) == RECORD


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_whatever_a_text_holds(text: str, parts: dict[str, str]) -> None:
    record = replace(RECORD, text=text, error=text, steps=(replace(STEP, text=text, parts=parts),))
    assert from_json(record.to_json()) == record


def test_names_of_files_that_are_no_utf8_survive() -> None:
    record = replace(RECORD, text=b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert from_json(record.to_json()) == record


def test_unknown_fields_and_missing_ones_are_passed_over() -> None:
    document = json.loads(RECORD.to_json()) | {"version": 7, "new": [1]}
    document["steps"][0]["new"] = {"a": None}
    del document["bases"]
    read = from_json(json.dumps(document))
    assert read.bases == {} and read.steps == RECORD.steps and read.version == 7


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", '{"version": 1}', '{"version": "1", "id": "x"}', "[" * 100000, "\0"),
        json.dumps(json.loads(RECORD.to_json()) | {"steps": [1]}),
        json.dumps(json.loads(RECORD.to_json()) | {"steps": {"a": 1}}),
        json.dumps(json.loads(RECORD.to_json()) | {"seconds": "long"}),
        json.dumps(json.loads(RECORD.to_json()) | {"arguments": ["A"]}),
        RECORD.to_json().replace('"needs":[0]', '"needs":[1]'),
        RECORD.to_json().replace('"needs":[0]', '"needs":[-1]'),
        RECORD.to_json()[:-20],
    ],
)
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        from_json(text)
    store = Store.of(tmp_path)
    store.write(at(1), {})
    store.write(at(2), {})
    (store.folder / f"{at(1).id}.json").write_text(text)
    assert [record.id for record in store.records()] == [at(2).id]
    assert store.damaged == [store.folder / f"{at(1).id}.json"]
    with pytest.raises(ArtifactError, match="no record of a build"):
        store.find(at(1).id, tmp_path)


def test_a_record_is_found_by_its_beginning_its_end_and_its_path(tmp_path: Path) -> None:
    store = Store.of(tmp_path)
    for number in (1, 2):
        store.write(at(number), {})
    for text in (at(2).id, at(2).id[:16], at(2).id[-8:], f".buildopt/records/{at(2).id}.json"):
        assert store.find(text, tmp_path).id == at(2).id
    with pytest.raises(UsageError, match="beginning of 2 records"):
        store.find("2026", tmp_path)
    for text in ("3", "", "no/such", "../x.json", "*"):
        with pytest.raises(UsageError, match="there is no record"):
            store.find(text, tmp_path)


def test_ids_sort_by_time() -> None:
    ids = [new_id(seconds) for seconds in (0, 0.001, 0.5, 0.9999, 1, 60, 86400, 2_000_000_000)]
    assert ids == sorted(ids) and ids[0].startswith("19700101T000000Z-")


def test_the_folder_is_its_owners_and_out_of_git(tmp_path: Path) -> None:
    store = Store.of(tmp_path)
    store.write(at(1), {})
    assert (tmp_path / ".buildopt/.gitignore").read_text() == "*\n"
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.folder.rglob("*"))
    assert store.salt() == store.salt() and len(store.salt()) == 32
    (store.folder / "salt").write_bytes(b"short")
    assert len(store.salt()) == 32


def test_listings_are_shared_and_checked(tmp_path: Path) -> None:
    store, data = Store.of(tmp_path), b"x" * 1000
    name = tree_name(data)
    store.write(at(1), {name: data})
    store.write(at(2), {name: data})
    assert store.tree(name) == data
    for odd in ("", "?", "../salt", "0" * 32):
        assert store.tree(odd) is None
    (store.folder / "trees" / name).write_bytes(b"damaged")
    assert store.tree(name) is None


def test_the_oldest_go(tmp_path: Path) -> None:
    store = Store.of(tmp_path)
    step = replace(STEP, files="")
    for number in range(9):
        data = bytes([number]) * 10
        made = replace(at(number), steps=(replace(step, files=tree_name(data)),))
        store.write(made, {tree_name(data): data})
    old = time.time() - 7200
    for path in (store.folder / "trees").iterdir():
        os.utime(path, (old, old))
    (store.folder / "trees/.unfinished.00").write_bytes(b"")
    os.utime(store.folder / "trees/.unfinished.00", (old, old))
    assert store.prune(most=4) == 5
    assert store.ids() == [at(number).id for number in (8, 7, 6, 5)]
    assert {path.name for path in (store.folder / "trees").iterdir()} == {
        tree_name(bytes([number]) * 10) for number in (8, 7, 6, 5)
    }
    assert store.prune(size=1) == 3 and store.ids() == [at(8).id]


def test_a_listing_of_a_build_that_runs_now_stays(tmp_path: Path) -> None:
    store = Store.of(tmp_path)
    store.write(at(1), {tree_name(b"now"): b"now"})
    store.write(at(2), {})
    store.prune(most=1)
    assert store.tree(tree_name(b"now")) == b"now"
