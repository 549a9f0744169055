"""What the passes make of a Dockerfile is built, and compared with what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).parents[2] / "buildopt" / "sandbox" / "project"


def optimized(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context)
    assert result.changes, result.refusals
    assert not result.refusals
    return result.source.text


def built(engine: Engine, context: Path, text: str, script: str, folder: Path) -> list[str]:
    """The lines that a script wrote in the last stage of a Dockerfile."""
    last = text.count("FROM ") - 1
    lines = [text.rstrip("\n"), "USER root", f"RUN <<END\nset -e\n(\n{script}\n) > /out\nEND"]
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text("\n".join([*lines, "FROM scratch", f"COPY --from={last} /out /", ""]))
    done = folder / "done"
    shutil.rmtree(done, ignore_errors=True)
    argv = [*engine.buildx, "build", "--file", str(dockerfile), "--output", f"type=local,dest={done}", str(context)]
    process.run(argv, env=engine.environment, timeout=800)
    return (done / "out").read_text().splitlines()


def test_apt_and_pip(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("python:3.11-slim")
    context = tmp_path / "context"
    context.mkdir()
    before = """FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends \\
    # a small one
    ed \\
    && apt-get clean \\
    && rm -rf /var/lib/apt/lists/* /tmp/*
RUN pip install --no-cache-dir six && pip cache purge
CMD ["python"]
"""
    after = optimized(before, context)
    look = """ed --version > /dev/null && python -c 'import six'
find /var/cache/apt /var/lib/apt/lists -name '*.deb' -o -name '*Packages*'
ls -A /root/.cache 2> /dev/null || echo no cache
pip cache dir
dpkg-query -W | cut -f1"""
    found = built(engine, context, after, look, tmp_path)
    assert found == built(engine, context, before, look, tmp_path)
    assert found[:2] == ["no cache", "/root/.cache/pip"]  # where the mount was, and nothing of it in the image
    probe = "FROM python:3.11-slim\nRUN --mount=type=cache,target=/var/cache/apt ls /var/cache/apt/archives > /kept\n"
    assert any(line.startswith("ed_") for line in built(engine, context, probe, "cat /kept", tmp_path))


def test_npm_as_node(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    context = tmp_path / "context"
    context.mkdir()
    (context / "package.json").write_text(json.dumps({"name": "a", "dependencies": {"is-number": "7.0.0"}}))
    before = """FROM node:18-slim
WORKDIR /home/node/app
RUN chown node:node .
USER node
COPY --chown=node:node package.json ./
RUN npm install && npm cache clean --force
CMD ["node"]
"""
    after = optimized(before, context)
    assert "uid=1000,gid=1000" in after
    look = """node -e 'console.log(require("/home/node/app/node_modules/is-number")(5))'
ls -A /home/node/.npm/_cacache 2> /dev/null || echo no cache
stat -c %U /home/node/app/node_modules /home/node"""
    assert built(engine, context, after, look, tmp_path) == ["true", "no cache", "node", "node"]


def test_the_sandbox_project(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("golang:1.19")
    base_image("debian:bookworm-slim")
    after = optimized((PROJECT / "Dockerfile").read_text(), PROJECT)
    look = "greet --version\npwd\necho $CGO_ENABLED\nls /usr/local/go /go 2> /dev/null || echo no compiler"
    assert built(engine, PROJECT, after, look, tmp_path) == ["greet 1.0.0", "/src", "0", "no compiler"]


def test_go_stages_share_modules_and_objects(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("golang:1.19")
    base_image("debian:bookworm-slim")
    before = """FROM golang:1.19 AS deps
WORKDIR /src
COPY go.mod ./
RUN go mod download
FROM deps AS build
COPY . .
RUN CGO_ENABLED=0 go build -o /greet .
FROM debian:bookworm-slim
COPY --from=build /greet /greet
CMD ["/greet"]
"""
    after = optimized(before, PROJECT)
    assert after.count("target=/root/.cache/go-build") == 2
    assert built(engine, PROJECT, after, "/greet --version", tmp_path) == ["greet 1.0.0"]


def test_heredoc_and_exec_form_with_mounts(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("debian:bookworm-slim")
    before = """FROM debian:bookworm-slim
RUN <<EOF
set -e
apt-get update
apt-get install -y --no-install-recommends netbase
rm -rf /var/lib/apt/lists/*
EOF
RUN ["apt-get", "update"]
"""
    after = optimized(before, tmp_path)
    assert after.count("--mount=type=cache,target=/var/lib/apt/lists,sharing=locked") == 2
    look = "test -f /etc/services && find /var/lib/apt/lists -name '*Packages*' | wc -l"
    assert built(engine, tmp_path, after, look, tmp_path) == ["0"]
