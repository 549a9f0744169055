"""A Python file is built as one stage and as two: the images hold the same, and the program says the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.prove.proving import prove
from buildopt.prove.smoke import SmokeOptions
from buildopt.source import Source

pytestmark = pytest.mark.engine

DOCKERFILE = """FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends make pkg-config && rm -rf /var/lib/apt/lists/*
RUN groupadd -r -g 990 app && useradd -r -u 990 -g app app
ENV VIRTUAL_ENV=/opt/venv
RUN python -m venv $VIRTUAL_ENV
ENV PATH="$VIRTUAL_ENV/bin:$PATH"
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=app:app . .
RUN mkdir -p /app/media && chown app:app /app/media
USER app
CMD ["python", "main.py"]
"""


@pytest.mark.slow
def test_two_stages_are_one_image(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("python:3.11-slim")
    context = tmp_path / "context"
    context.mkdir()
    files = {
        "Dockerfile": DOCKERFILE,
        "requirements.txt": "idna==3.7\n",
        "main.py": "import sys\n\nimport idna\n\nprint(sys.prefix, idna.__version__)\n",
    }
    for name, text in files.items():
        (context / name).write_text(text)
    before = Source.read(context / "Dockerfile")
    after = optimize(before, context, only=("split_stages",))
    assert after.changes, after.refusals
    proof = prove(
        before, after.source, context, engine, smoke=SmokeOptions(("python main.py",)), scenarios=(), folder=tmp_path
    )
    assert proof.reasons == ()
    assert proof.equal
    for run in proof.smoke:
        assert (run.before.stdout.strip(), run.before.status) == ("/opt/venv 3.7", 0), run.before.stderr
        assert run.after.stdout == run.before.stdout
