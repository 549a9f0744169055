"""A smaller base runs what the full one ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

DOCKERFILE = """FROM python:3.11
WORKDIR /app
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY . .
CMD ["python", "app.py"]
"""


def said(engine: Engine, context: Path, text: str) -> str:
    """What the container of a Dockerfile prints."""
    done = context.parent / "done"
    text = f"{text}RUN python app.py > /said\nFROM scratch\nCOPY --from=0 /said /\n"
    (context.parent / "Dockerfile").write_text(text)
    argv = [*engine.buildx, "build", "--file", str(context.parent / "Dockerfile")]
    process.run([*argv, "--output", f"type=local,dest={done}", str(context)], env=engine.environment, timeout=600)
    return (done / "said").read_text()


def test_a_python_program(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("python:3.11")
    base_image("python:3.11-slim")
    context = tmp_path / "context"
    context.mkdir()
    (context / "requirements.txt").write_text("click==8.1.7\nPyYAML==6.0.1\n")
    (context / "app.py").write_text("import click, sqlite3, ssl, yaml\nprint(click.__name__, yaml.safe_load('a: 1'))\n")
    after = optimize(Source("Dockerfile", DOCKERFILE), context, only=("slim_runtime",)).source.text
    assert after == DOCKERFILE.replace("python:3.11", "python:3.11-slim")
    assert said(engine, context, after) == said(engine, context, DOCKERFILE) == "click {'a': 1}\n"
