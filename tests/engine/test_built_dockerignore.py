"""What a proposed .dockerignore leaves out changes no image, and no longer makes the build start anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

DOCKERFILE = """FROM golang:1.19 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -buildvcs=false -o /out/app .

FROM scratch
COPY --from=build /out/app /app
ENTRYPOINT ["/app"]
"""


def built(engine: Engine, context: Path, done: Path) -> tuple[dict[str, bytes], str]:
    """The files of the image, and what the build said of its steps."""
    argv = [*engine.buildx, "build", "--progress=plain", "--output", f"type=local,dest={done}", str(context)]
    said = process.run(argv, env=engine.environment, timeout=600).stderr
    files = {path.relative_to(done).as_posix(): path.read_bytes() for path in done.rglob("*") if path.is_file()}
    shutil.rmtree(done)
    return files, said


def test_nothing_changes_but_the_cache(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("golang:1.19")
    context = tmp_path / "context"
    (context / ".git").mkdir(parents=True)
    (context / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (context / ".github" / "workflows").mkdir(parents=True)
    (context / ".github" / "workflows" / "ci.yml").write_text("on: push\n")
    (context / "go.mod").write_text("module example.com/app\n\ngo 1.19\n")
    (context / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    (context / "Dockerfile").write_text(DOCKERFILE)
    proposed = optimize(Source.read(context / "Dockerfile"), context, only=("dockerignore",)).files
    assert [line for line in proposed[0].text.splitlines() if line[:1] not in ("", "#")] == [
        ".git",
        "Dockerfile",
        ".github",
    ]
    before, _ = built(engine, context, tmp_path / "before")
    proposed[0].path.write_text(proposed[0].text)
    after, _ = built(engine, context, tmp_path / "after")
    assert list(after) == ["app"]
    assert after == before
    (context / ".git" / "HEAD").write_text("another commit\n")
    (context / ".github" / "workflows" / "ci.yml").write_text("on: pull_request\n")
    again, said = built(engine, context, tmp_path / "again")
    assert again == before
    assert any(line.endswith("CACHED") for line in said.splitlines())
    assert " DONE " not in "".join(line for line in said.splitlines() if "go build" in line)
