"""A recorded build as people see it: plain lines, rows on a terminal, or raw JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from buildopt.build.progress import Log, Progress, Step, Transfer
from buildopt.report import live

RECORDED = Path(__file__).parents[2] / "fixtures" / "progress"


def play(name: str, view: live.View) -> None:
    progress = Progress()
    with view:
        for line in (RECORDED / f"{name}.rawjson").read_text().splitlines(keepends=True):
            view.line(line)
            for event in progress.feed(line):
                view.event(event)


def plain(name: str) -> list[str]:
    lines: list[str] = []
    play(name, live.Plain(lines.append, "app/Dockerfile"))
    return lines


def rich(name: str, width: int = 100) -> str:
    out = io.StringIO()
    play(name, live.Rich(Console(file=out, force_terminal=True, width=width, color_system=None), "app/Dockerfile"))
    return out.getvalue()


def test_plain_lines_of_a_first_build() -> None:
    lines = plain("first")
    assert "run    linux/amd64 base 1/2 COPY busybox-amd64 /bin/busybox" in lines
    assert len([line for line in lines if line.startswith("run")]) == 6
    assert len([line for line in lines if line.startswith("done")]) == 6
    assert not any("internal" in line or "exporting" in line for line in lines), (
        "BuildKit's own quick steps are not told"
    )


def test_plain_lines_of_a_cached_build() -> None:
    assert sorted(plain("second")) == [
        "cached linux/amd64 base 1/2 COPY busybox-amd64 /bin/busybox",
        "cached linux/amd64 base 2/2 COPY busybox-amd64 /bin/sh",
        "cached linux/amd64 stage-1 1/1 COPY data /data",
        "cached linux/arm64 base 1/2 COPY busybox-arm64 /bin/busybox",
        "cached linux/arm64 base 2/2 COPY busybox-arm64 /bin/sh",
        "cached linux/arm64 stage-1 1/1 COPY data /data",
    ]


def test_plain_lines_of_a_failed_build() -> None:
    lines = plain("failed_step")
    assert "       3/3 | line 4" in lines
    assert lines[-1].startswith("failed 3/3 RUN --network=none echo one")


def test_a_step_in_several_stretches_is_announced_and_finished_once() -> None:
    lines: list[str] = []
    progress = Progress()

    def vertex(name: str, started: int, completed: int | None = None, error: str = "") -> None:
        times = {"started": f"2026-01-01T00:00:{started:02}Z"}
        if completed is not None:
            times["completed"] = f"2026-01-01T00:00:{completed:02}Z"
        entry = {"digest": name, "name": name, "error": error, **times}
        for event in progress.feed(json.dumps({"vertexes": [entry]})):
            view.event(event)

    base, run = "[linux/arm64 1/2] FROM debian:12", "[linux/arm64 2/2] RUN make"
    with live.Plain(lines.append) as view:
        vertex(base, 1)
        vertex(base, 1, 2)
        vertex(base, 10)
        vertex(base, 10, 14)
        vertex(run, 14)
        vertex(run, 14, 15)
        vertex(run, 16)
        vertex(run, 16, 20)
    assert lines == [
        "run    linux/arm64 1/2 FROM debian:12",
        "done   linux/arm64 1/2 (5.0 s)",
        "run    linux/arm64 2/2 RUN make",
        "done   linux/arm64 2/2 (5.0 s)",
    ]
    del lines[:]
    progress = Progress()
    with live.Plain(lines.append) as view:
        vertex(base, 1, 2)
        vertex(run, 14, 15)
        vertex(run, 16)
        vertex(run, 16, 20, "exit code: 1")
    assert [line.split()[0] for line in lines] == ["run", "done", "run", "failed"]


def test_steps_of_the_same_name_are_told_apart() -> None:
    lines: list[str] = []
    with live.Plain(lines.append) as view:
        for name in ("a", "b"):
            step = Step(name, "[2/2] RUN make", "RUN make", number=2, total=2, started=1.0)
            view.event(step)
            view.event(Log(step, "hello"))
            view.event(replace(step, completed=3.0))
    assert lines == [
        "run    2/2 RUN make",
        "       2/2 | hello",
        "run    2/2 RUN make #2",
        "       2/2 #2 | hello",
        "done   2/2 (2.0 s)",
        "done   2/2 #2 (2.0 s)",
    ]


def test_each_remark_is_made_once() -> None:
    remarks = [line for line in plain("warnings") if line.startswith("note")]
    assert len(remarks) == len(set(remarks)) == 3
    assert remarks[0].startswith("note   app/Dockerfile:1: FromAsCasing")


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.rawjson")))
def test_every_recording_can_be_shown_on_a_terminal(name: str) -> None:
    for width in (20, 80, 200):
        assert rich(name, width)


def test_rich_tells_what_is_done() -> None:
    text = rich("second")
    assert text.count("cached ") >= 6 and "6 of 6 steps done, 6 cached" in text
    assert "failed 3/3 RUN" in rich("failed_step").replace("\n", " ")


def test_text_of_a_build_is_no_markup() -> None:
    out = io.StringIO()
    view = live.Rich(Console(file=out, force_terminal=True, width=100, color_system=None))
    with view:
        view.event(Step("a", "a", "RUN echo [red]x[/red] [/]", number=1, total=1, started=1.0))
        view.event(Step("a", "a", "RUN echo [red]x[/red] [/]", number=1, total=1, started=1.0, completed=2.0))
    assert "RUN echo [red]x[/red] [/]" in out.getvalue()


def test_a_bar_shows_how_far_a_transfer_is() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    view = live.Rich(console)
    step = Step("a", "exporting to oci image format", "exporting to oci image format", started=1.0)
    view.event(step)
    view.event(Transfer(step, "layer", 50, 100, False))
    view.event(Transfer(step, "other", 100, 100, True))
    assert view.rows["a"].totals() == (150, 200)
    console.print(view.table())
    assert "━" in out.getvalue()


def test_raw_json_passes_lines_as_they_are_but_the_noise() -> None:
    passed: list[str] = []
    play("second", live.RawJson(passed.append))
    lines = (RECORDED / "second.rawjson").read_text().splitlines(keepends=True)
    assert passed == [line for line in lines if line.startswith("{")]
    assert len(passed) < len(lines)


@pytest.mark.parametrize(
    ("name", "terminal", "environment", "chosen"),
    [
        ("auto", True, {}, "rich"),
        ("auto", False, {}, "plain"),
        ("auto", True, {"TERM": "dumb"}, "plain"),
        ("auto", True, {"CI": "true"}, "plain"),
        ("rich", False, {}, "rich"),
        ("rawjson", True, {}, "rawjson"),
    ],
)
def test_auto_is_rich_on_a_terminal_only(name: str, terminal: bool, environment: dict[str, str], chosen: str) -> None:
    assert live.choose(name, terminal=terminal, environment=environment) == chosen


def test_internal_steps_are_told_where_asked_for() -> None:
    lines: list[str] = []
    play("first", live.Plain(lines.append, internal=True))
    assert any("internal" in line for line in lines)


def test_bytes_of_an_export_are_asked_for() -> None:
    view = live.Rich(Console(file=io.StringIO(), force_terminal=True, width=100), received=lambda: 5_000_000)
    view.event(Step("1", "exporting to oci image format", "exporting to oci image format", started=1.0))
    out = io.StringIO()
    Console(file=out, width=100).print(view.table())
    assert "5.0 MB" in out.getvalue()
