"""A record of a build, made from what buildx says and from what lies in the context."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from buildopt.build import plan as plans
from buildopt.build.progress import Event, Progress
from buildopt.build.recording import Recording, recording
from buildopt.errors import ToolError
from buildopt.history.records import Record, Step
from buildopt.history.store import Store
from buildopt.settings import Settings

DOCKERFILE = """FROM debian:12 AS build
COPY . /src
RUN make
FROM debian:12
ARG API_TOKEN
COPY --from=build /out /out
RUN echo $API_TOKEN
"""
BASE = "[build 1/3] FROM docker.io/library/debian:12@sha256:" + "a" * 64


class Nobody:
    """A view that shows nothing."""

    def line(self, line: str) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "main.c").write_text("int main;")
    return tmp_path


def feed(made: Recording, *vertices: tuple[str, str, str]) -> None:
    """What buildx says: id, name, ids of inputs; what ends with ``!`` ran, all else was cached."""
    progress, view = Progress(), made.watching(Nobody())
    for identity, name, inputs in vertices:
        listed = ",".join(f'"{entry}"' for entry in inputs.split())
        times = '"started":"2026-01-01T00:00:00Z","completed":"2026-01-01T00:00:02Z"'
        cached = "false" if name.endswith("!") else "true"
        vertex = f'{{"digest":"{identity}","name":"{name.rstrip("!")}","inputs":[{listed}],{times},"cached":{cached}}}'
        for event in progress.feed(f'{{"vertexes":[{vertex}]}}'):
            view.event(event)


def build(folder: Path, *vertices: tuple[str, str, str], **options: object) -> Record:
    plan = plans.make(plans.Options(**options), Settings(), folder, {})  # type: ignore[arg-type]
    with recording(plan, folder, builder="b", native="linux/amd64", environment={}) as made:
        feed(made, *vertices)
        made.digest = "sha256:00"
    assert made.problem == "" and made.written
    return Store.of(folder).find(made.id, folder)


STEPS = (
    ("f", BASE, ""),
    ("c", "[build 2/3] COPY . /src", "f"),
    ("r", "[build 3/3] RUN make!", "c"),
    ("e", "[stage-1 2/3] COPY --from=build /out /out", "f r"),
    ("x", "[stage-1 3/3] RUN echo hunter2-hunter2!", "e"),
)


def of(record: Record, text: str) -> Step:
    return next(step for step in record.steps if step.text.startswith(text))


def test_a_build_is_recorded(folder: Path) -> None:
    record = build(folder, *STEPS, build_args=("API_TOKEN=hunter2-hunter2",))
    assert (record.ok, record.context, record.dockerfile, record.cached) == (True, ".", "Dockerfile", 2)
    assert [(step.text, step.line, step.needs, step.matched) for step in record.steps] == [
        ("COPY . /src", 2, (), True),
        ("RUN make", 3, (0,), True),
        ("COPY --from=build /out /out", 6, (1,), True),
        ("RUN echo $API_TOKEN", 7, (2,), True),
    ]
    assert of(record, "RUN make").seconds == 2.0 and of(record, "COPY .").parts["base"].endswith("a" * 64)
    tree = Store.of(folder).tree(of(record, "COPY .").files)
    assert tree is not None and b"main.c" in tree and b".buildopt" not in tree
    assert "hunter2" not in record.to_json() and record.arguments["API_TOKEN"].startswith("#")


def test_steps_of_the_base_image_come_before_those_of_the_file(folder: Path) -> None:
    extra = ("o", "[build 2/4] ONBUILD RUN setup", "f")
    vertices = (STEPS[0], extra, ("c", "[build 3/4] COPY . /src", "o"), ("r", "[build 4/4] RUN make!", "c"), *STEPS[3:])
    record = build(folder, *vertices)
    assert of(record, "RUN make").line == 3 and of(record, "COPY . /src").line == 2
    assert not of(record, "ONBUILD").matched


def test_a_step_that_two_stages_share_has_one_name(folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM a AS x\nCOPY . /s\nRUN one\nFROM a\nCOPY . /s\nRUN two\nCOPY --from=x / /x\n"
    )
    record = build(
        folder,
        ("c", "[x 2/3] COPY . /s", ""),
        ("r", "[x 3/3] RUN one", "c"),
        ("t", "[stage-1 3/4] RUN two", "c"),
        ("e", "[stage-1 4/4] COPY --from=x / /x", "t r"),
    )
    assert [(step.line, step.text) for step in record.steps if step.stage == "stage-1"] == [
        *[(6, "RUN two"), (7, "COPY --from=x / /x")]
    ]


def test_a_build_that_fails_or_is_interrupted_is_recorded(folder: Path) -> None:
    plan = plans.make(plans.Options(build_args=("API_TOKEN=hunter2-hunter2",)), Settings(), folder, {})
    for error in (ToolError("RUN hunter2-hunter2 failed"), KeyboardInterrupt()):
        with (
            pytest.raises(type(error)),
            recording(plan, folder, builder="b", native="", environment={}) as made,
        ):
            feed(made, *STEPS[:2])
            raise error
        assert made.written
    interrupted, failed = Store.of(folder).records()
    assert (interrupted.ok, interrupted.error) == (False, "interrupted")
    assert (failed.ok, failed.error) == (False, "RUN *** failed")


def test_nothing_is_recorded_where_no_step_began(folder: Path) -> None:
    plan = plans.make(plans.Options(), Settings(), folder, {})
    for vertices in ((), (("i", "[internal] load build definition", ""),)):
        with pytest.raises(ToolError), recording(plan, folder, builder="b", native="", environment={}) as made:
            feed(made, *vertices)
            raise ToolError("no engine")
    assert Store.of(folder).ids() == []


def test_a_broken_dockerfile_and_a_missing_one_disturb_nothing(folder: Path) -> None:
    plan = plans.make(plans.Options(), Settings(), folder, {})
    for text in ("FROM\n", "RUN x\n", "\0", None):
        if text is None:
            (folder / "Dockerfile").unlink()
        else:
            (folder / "Dockerfile").write_text(text)
        with recording(plan, folder, builder="b", native="", environment={}) as made:
            feed(made, *STEPS)
            made.digest = "sha256:00"
        assert made.written and not any(step.matched for step in Store.of(folder).find(made.id, folder).steps)


def test_the_commit_is_noted(folder: Path) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (["init", "-q"], ["add", "main.c"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    record = build(folder, *STEPS)
    assert (record.commit, record.dirty) == (head, False)
    (folder / "main.c").write_text("other")
    assert build(folder, *STEPS).dirty
