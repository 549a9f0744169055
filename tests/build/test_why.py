"""Why steps missed: from records alone, and how that is shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildopt.build.why import PlatformMisses, explain
from buildopt.build.why_causes import CERTAIN, LIKELY, NOT_SURE, Cause
from buildopt.history.records import FAILED, UNFINISHED, UNKNOWN, Record, Step, Variable
from buildopt.report import why as report

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BASE = "docker.io/library/debian:12@sha256:" + "1" * 64
TREES: dict[str, dict[str, str]] = {
    "t1": {"a": "f 644 1 aa", "b": "f 644 1 bb"},
    "t2": {"a": "f 644 1 cc", "b": "f 644 1 bb"},
    "t3": {"a": "f 644 1 ~5", "b": "f 644 1 bb"},
    "many": {f"file{number:02}": "f 644 1 aa" for number in range(25)},
    "odd": {"a": "f 644 1 aa", "b": "f 644 1 bb", "\x1b[31mred\n": "f 644 1 aa"},
}


def step(number: int, text: str, ran: bool = False, **fields: object) -> Step:
    made = Step("", number, text, (AMD64,), number, not ran, seconds=float(number) if ran else 0.0)
    made = replace(made, needs=(number - 2,) if number > 1 else (), parts={"instruction": text})
    return replace(made, **fields)  # type: ignore[arg-type]


def record(*steps: Step, number: int = 1, **fields: object) -> Record:
    keyed: list[Step] = []
    for entry in steps:
        parts = {**entry.parts, **({} if entry.needs else {"base": entry.parts.get("base", BASE)})}
        own = [sorted(parts.items()), entry.variables, entry.files, [keyed[need].key for need in entry.needs]]
        keyed.append(replace(entry, parts=parts, key=hashlib.sha256(repr(own).encode()).hexdigest()))
    made = Record(f"20260101T0000{number:02}Z-00000000", "", 9.0, True, "/c", "/c/Dockerfile", "b", (AMD64,))
    made = replace(made, steps=tuple(keyed), text="FROM debian:12\n")
    return replace(made, **fields)  # type: ignore[arg-type]


def said(now: Record, *before: Record) -> PlatformMisses:
    def tree(name: str) -> Mapping[str, str] | None:
        return TREES.get(name)

    return explain(now, before, tree)[0]


def causes(now: Record, *before: Record) -> Sequence[Cause]:
    (miss,) = said(now, *before).misses
    return miss.causes


FIRST = record(step(1, "COPY a /a"), step(2, "RUN one"), step(3, "RUN two"))


def test_everything_cached() -> None:
    assert said(replace(FIRST, id="20260101T000009Z-00000000"), FIRST).misses == ()


def test_the_first_step_stands_for_those_after_it() -> None:
    now = record(step(1, "COPY a /a"), step(2, "RUN uno", True), step(3, "RUN two", True), number=2)
    found = said(now, FIRST)
    (miss,) = found.misses
    assert (miss.step.number, miss.steps, miss.seconds, miss.compared) == (2, 2, 5.0, FIRST.id)
    assert miss.causes == (Cause("instruction", "the instruction changed", CERTAIN, ("- RUN one", "+ RUN uno")),)
    assert (found.total, found.cached, found.seconds) == (3, 1, 5.0)


@pytest.mark.parametrize(
    ("steps", "text", "detail"),
    [
        ((step(1, "COPY a /a"), step(2, "RUN new", True), step(3, "RUN one", True)), "added", ("+ RUN new",)),
        ((step(1, "COPY a /a"), step(2, "RUN two", True)), "removed before it", ("- RUN one",)),
        ((*FIRST.steps, step(4, "RUN end", True)), "added", ("+ RUN end",)),
    ],
)
def test_instructions_put_in_and_taken_out(steps: tuple[Step, ...], text: str, detail: tuple[str, ...]) -> None:
    if text == "added" and len(steps) == 3:
        steps = (*steps, step(4, "RUN two", True))
    (cause,) = causes(record(*steps, number=2), FIRST)
    assert cause.kind == "instruction" and text in cause.text and cause.detail == detail


def test_the_same_inputs_were_evicted() -> None:
    now = record(step(1, "COPY a /a", True), step(2, "RUN one", True), step(3, "RUN two", True), number=2)
    (cause,) = causes(now, FIRST)
    assert (cause.kind, cause.certainty) == ("evicted", LIKELY)
    (cause,) = causes(replace(now, syntax="docker/dockerfile:1"), FIRST)
    assert cause.certainty == NOT_SURE and "# syntax" in cause.text
    (cause,) = causes(replace(now, no_cache=True), FIRST)
    assert (cause.kind, cause.certainty) == ("no-cache", CERTAIN)


def test_a_build_at_the_same_time_is_no_eviction() -> None:
    now = record(step(1, "COPY a /a", True), step(2, "RUN one", True), number=2, started="2026-01-01T00:00:05Z")
    (cause,) = causes(now, replace(FIRST, started="2026-01-01T00:00:00Z"))
    assert (cause.kind, cause.certainty) == ("concurrent", LIKELY)
    assert causes(now, replace(FIRST, started="2025-12-31T23:59:00Z"))[0].kind == "evicted"


def test_what_did_not_end_well_is_not_evicted() -> None:
    failed = record(step(1, "COPY a /a"), step(2, "RUN one", True, state=FAILED), ok=False)
    now = record(step(1, "COPY a /a"), step(2, "RUN one", True, state=FAILED), number=2, ok=False)
    assert causes(now, failed)[0].kind == "unfinished"
    assert causes(now, failed, FIRST)[0].kind == "evicted"


def test_a_step_that_was_not_reached_is_no_miss() -> None:
    now = record(step(1, "COPY a /a"), step(2, "RUN bad", True, state=FAILED), number=2, ok=False)
    rest = step(3, "RUN two", cached=False, state=UNFINISHED)
    assert len(said(replace(now, steps=(*now.steps, rest)), FIRST).misses) == 1


def test_the_base_image_moved() -> None:
    moved = BASE.replace("1" * 64, "2" * 64)
    now = record(step(1, "COPY a /a", True, parts={"instruction": "COPY a /a", "base": moved}), number=2)
    (cause,) = causes(now, FIRST)
    assert cause.kind == "base-image" and "debian:12 moved" in cause.text
    assert cause.detail == (f"- sha256:{'1' * 64}", f"+ sha256:{'2' * 64}")


def test_another_base_image_by_its_line_or_by_an_argument() -> None:
    other = step(1, "COPY a /a", True, parts={"instruction": "COPY a /a", "base": BASE.replace(":12@", ":13@")})
    (cause,) = causes(record(other, number=2, text="FROM debian:13\n"), FIRST)
    assert cause.kind == "instruction" and cause.detail == ("- FROM debian:12", "+ FROM debian:13")
    text = "ARG V=12\nFROM debian:$V\n"
    (cause,) = causes(record(other, number=2, text=text, arguments={"V": "13"}), replace(FIRST, text=text))
    assert cause.kind == "build-argument" and cause.text == 'the build argument V changed: not set → "13"'


def files(tree: str, ran: bool = True, number: int = 2, **fields: object) -> Record:
    return record(step(1, "COPY . /a", ran, files=tree), number=number, **fields)


def test_files() -> None:
    (cause,) = causes(files("t2"), files("t1", False, 1))
    assert (cause.kind, cause.certainty, cause.detail) == ("files", CERTAIN, ("changed: a",))
    (cause,) = causes(files("many"), files("t1", False, 1, ignore="x"))
    assert cause.text == "copied files changed: 2 removed, 25 added; the .dockerignore changed"
    assert len(cause.detail) == 11 and cause.detail[-1] == "… and 17 more"
    assert causes(files("t3"), files("t1", False, 1))[0].certainty == NOT_SURE
    for unknown in (UNKNOWN, "gone"):
        (cause,) = causes(files(unknown), files("t1", False, 1))
        assert (cause.kind, cause.certainty) == ("files", NOT_SURE)
    (cause,) = causes(files("odd"), files("t1", False, 1))
    assert cause.detail == ("added: \\x1b[31mred\\x0a",)


def variable(value: str, definition: str, *arguments: str, name: str = "A", kind: str = "arg") -> Variable:
    return Variable(name, kind, value, definition, 2, arguments)


@pytest.mark.parametrize(
    ("old", "new", "given", "kind", "text"),
    [
        (variable("1", "ARG A=1"), variable("2", "ARG A=2"), ({}, {}), "instruction", "ARG A changed (line 2)"),
        (
            *(variable("1", "ARG A=1"), variable("2", "ARG A=1", "A"), ({}, {"A": "2"})),
            *("build-argument", 'the build argument A changed: not set → "2"'),
        ),
        (
            *(variable("1", "ARG A", "A"), variable("2", "ARG A", "A"), ({"A": "1"}, {"A": "2"})),
            *("build-argument", 'the build argument A changed: "1" → "2"'),
        ),
        (
            *(variable("#1", "ARG A", "A"), variable("#2", "ARG A", "A"), ({"A": "#1"}, {"A": "#2"})),
            *("build-argument", "the build argument A changed (its value is not shown)"),
        ),
        (
            *(None, variable("1", "ENV A=1", kind="env"), ({}, {})),
            *("instruction", "ENV A was added (line 2)"),
        ),
        (variable("1", "ARG A=1"), None, ({}, {}), "instruction", "ARG A was removed"),
        (
            *(variable("#1", "ARG A=***"), variable("#2", "ARG A=***"), ({}, {})),
            *("instruction", "ARG A changed (line 2)"),
        ),
    ],
)
def test_variables_that_run_sees(
    old: Variable | None, new: Variable | None, given: tuple[dict[str, str], dict[str, str]], kind: str, text: str
) -> None:
    before = record(step(1, "RUN x", variables=(old,) if old else ()), arguments=given[0])
    now = record(step(1, "RUN x", True, variables=(new,) if new else ()), number=2, arguments=given[1])
    (cause,) = causes(now, before)
    assert (cause.kind, cause.text) == (kind, text)


def test_never_built() -> None:
    now = record(step(1, "COPY a /a", True), number=2)
    assert "first build on record" in causes(now)[0].text
    assert "never built by b" in causes(now, replace(FIRST, builder="other"))[0].text
    assert "of this Dockerfile" in causes(now, replace(FIRST, dockerfile="/c/other", steps=()))[0].text
    arm = replace(now, platforms=(ARM64,), steps=(replace(now.steps[0], platforms=(ARM64,), key="x"),))
    assert causes(arm, FIRST)[0].text == f"never built for {ARM64}"


def test_of_several_builds_the_last_one_counts() -> None:
    second = record(step(1, "COPY a /a"), step(2, "RUN uno", True), number=2)
    third = record(step(1, "COPY a /a"), step(2, "RUN eins", True), number=3)
    (miss,) = said(third, second, FIRST).misses
    assert miss.compared == second.id and miss.causes[0].detail == ("- RUN uno", "+ RUN eins")


def test_the_fewest_differences_are_the_cause() -> None:
    plain = record(step(1, "RUN x", variables=(variable("1", "ARG A=1"),)))
    once = record(step(1, "RUN x", True, variables=(variable("9", "ARG A=1", "A"),)), number=2, arguments={"A": "9"})
    now = record(step(1, "RUN y", True, variables=(variable("1", "ARG A=1"),)), number=3)
    assert [cause.kind for cause in causes(now, once, plain)] == ["instruction"]


def test_both_ways_of_showing_it() -> None:
    now = record(step(1, "COPY . /a", True, files="odd"), step(2, "RUN two", True), number=2, platforms=(AMD64, ARM64))
    now = replace(now, steps=tuple(replace(entry, platforms=(AMD64, ARM64)) for entry in now.steps))
    before = replace(files("t1", False, 1), platforms=(AMD64, ARM64))
    before = replace(before, steps=tuple(replace(entry, platforms=(AMD64, ARM64)) for entry in before.steps))
    explained = explain(now, [before], TREES.get)
    text = report.text(now, explained, Path("/c"))
    assert text == (
        f"{now.id}  Dockerfile, 9.0 s, 0 of 2 steps cached\n\n"
        "linux/amd64, linux/arm64: 0 of 2 steps cached each\n"
        "  Dockerfile:1  COPY . /a\n"
        "    copied files changed: 1 added\n"
        "      added: \\x1b[31mred\\x0a\n"
        "    cost: 3.0 s and 3.0 s, this step and 1 step after it\n"
    )
    document = json.loads(report.document(now, explained))
    assert document["version"] == 1 and document["platforms"][1]["misses"][0]["causes"][0]["kind"] == "files"
    assert "everything was cached" in report.text(before, explain(before, [], TREES.get), Path("/c"))
