"""BuildKit's raw progress, recorded from real builds, as events."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.build.progress import Event, Log, Progress, Step, Transfer, Warn

RECORDED = Path(__file__).parents[2] / "fixtures" / "progress"


def read(name: str) -> tuple[Progress, list[Event]]:
    progress = Progress()
    lines = (RECORDED / f"{name}.rawjson").read_text().splitlines(keepends=True)
    return progress, [event for line in lines for event in progress.feed(line)]


def test_a_first_build_of_two_platforms() -> None:
    progress, events = read("first")
    steps = progress.counted
    assert sorted((step.platform, step.stage, step.number, step.total) for step in steps) == [
        (f"linux/{name}", stage, number, total)
        for name in ("amd64", "arm64")
        for stage, number, total in (("base", 1, 2), ("base", 2, 2), ("stage-1", 1, 1))
    ]
    assert all(step.completed and step.seconds >= 0 and not step.cached for step in steps)
    assert {step.text for step in steps if step.stage == "stage-1"} == {"COPY data /data"}
    assert any(isinstance(event, Transfer) and event.current > 1_000_000 for event in events)


def test_a_second_build_is_all_cached_and_its_noise_is_not_shown() -> None:
    assert "(*service).Write failed" in (RECORDED / "second.rawjson").read_text()
    progress, _ = read("second")
    assert [step.reused for step in progress.counted] == [True] * 6
    assert not progress.messages


def test_a_failing_step_and_its_last_lines() -> None:
    progress, _ = read("failed_step")
    (first, *_) = [step for step in progress.steps.values() if step.failed]
    assert first.text.startswith("RUN --network=none echo one")
    assert list(progress.logs[first.id]) == ["one", "line 1", "line 2", "line 3", "line 4"]
    assert progress.messages[-1].startswith("ERROR: failed to build")


def test_a_line_that_was_drawn_again_and_again_counts_once() -> None:
    _, events = read("warnings")
    assert [event.text for event in events if isinstance(event, Log)] == [
        "1",
        "progress 12",
        "progress 23",
        "progress 3",
    ]


def test_warnings_have_their_line() -> None:
    _, events = read("warnings")
    warnings = [event for event in events if isinstance(event, Warn)]
    assert [(warning.line, warning.text.split(":")[0]) for warning in warnings] == [
        (1, "FromAsCasing"),
        (2, "MaintainerDeprecated"),
        (5, "SecretsUsedInArgOrEnv"),
    ]
    assert "(line" not in warnings[0].text


def feed_step(progress: Progress, name: str, **fields: object) -> Step:
    (event,) = progress.feed(json.dumps({"vertexes": [{"digest": name, "name": name, **fields}]}))
    assert isinstance(event, Step)
    return event


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[1/3] FROM docker.io/library/debian", ("", "", 1, 3)),
        ("[ 2/12] RUN x", ("", "", 2, 12)),
        ("[build  2/12] RUN x", ("", "build", 2, 12)),
        ("[linux/amd64 2/3] RUN x", ("linux/amd64", "", 2, 3)),
        ("[linux/arm/v7 build 2/3] RUN x", ("linux/arm/v7", "build", 2, 3)),
        ("[linux/amd64->arm64 build 2/3] RUN x", ("linux/amd64", "build", 2, 3)),
        ("[internal] load build context", ("", "", 0, 0)),
        ("exporting to oci image format", ("", "", 0, 0)),
    ],
)
def test_names_of_steps(name: str, expected: tuple[str, str, int, int]) -> None:
    step = feed_step(Progress(), name)
    assert (step.platform, step.stage, step.number, step.total) == expected


def test_from_is_neither_run_nor_cached() -> None:
    assert not feed_step(Progress(), "[1/2] FROM docker.io/library/debian:12").counts


def test_a_cancelled_step_did_not_fail() -> None:
    assert not feed_step(Progress(), "[1/2] RUN a", error='process "a": context canceled: context canceled').failed
    assert feed_step(Progress(), "[1/2] RUN a", error="exit code: 1").failed


def test_a_line_split_over_two_events_is_one() -> None:
    progress = Progress()
    feed_step(progress, "[1/1] RUN a", started="2026-01-01T00:00:00Z")
    events: list[Event] = []
    for part in (b"hel", b"lo\nwor", b"ld"):
        data = base64.b64encode(part).decode()
        events += progress.feed(json.dumps({"logs": [{"vertex": "[1/1] RUN a", "data": data}]}))
    events += progress.feed(
        json.dumps({"vertexes": [{"digest": "[1/1] RUN a", "name": "", "completed": "2026-01-01T00:00:01.5Z"}]})
    )
    assert [event.text for event in events if isinstance(event, Log)] == ["hello", "world"]
    assert progress.steps["[1/1] RUN a"].seconds == 1.5


def test_secrets_and_control_sequences_are_kept_from_people() -> None:
    progress = Progress(lambda text: text.replace("hunter22", "***"))
    feed_step(progress, "[1/1] ADD https://x/hunter22 /")
    data = base64.b64encode(b"\x1b[31mhunter22\x1b[0m \x1b]0;title\x07ok\n").decode()
    (log,) = progress.feed(json.dumps({"logs": [{"vertex": "[1/1] ADD https://x/hunter22 /", "data": data}]}))
    assert isinstance(log, Log) and log.text == "*** ok"
    assert all("hunter22" not in step.text for step in progress.steps.values())
    assert progress.feed("ERROR: hunter22 is wrong") == [] and list(progress.messages) == ["ERROR: *** is wrong"]


def test_an_error_that_only_looks_like_noise_is_kept() -> None:
    progress = Progress()
    progress.feed("ERROR: (*service).Write failed: rpc error: no space left on device")
    assert progress.messages


@given(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_nothing_from_outside_breaks_it(text: str, value: object) -> None:
    progress = Progress()
    progress.feed(text)
    for key in ("vertexes", "statuses", "logs", "warnings"):
        progress.feed(json.dumps({key: value}))
        names = (
            "digest",
            "name",
            "started",
            "completed",
            "cached",
            "error",
            "vertex",
            "id",
            "current",
            "data",
            "short",
        )
        progress.feed(json.dumps({key: [dict.fromkeys(names, value)]}))
        progress.feed(json.dumps({key: [{"digest": "a", "vertex": "a", **dict.fromkeys(names[1:], text)}]}))
