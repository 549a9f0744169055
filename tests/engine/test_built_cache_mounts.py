"""The cache mounts that are added: they are filled, used again, and leave nothing in the image."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

PLATFORM = "linux/arm64" if platform.machine() == "aarch64" else "linux/amd64"


@dataclass(frozen=True)
class Case:
    """A build: ``look`` prints what must be the same before and after, ``target`` is the folder of the mount."""

    base: str
    text: str
    look: str
    target: str
    owner: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


_PYPROJECT = '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six==1.16.0"]\n'
# Not every mirror of PyPI has the interface that poetry takes by default.
_SOURCE = '[[tool.poetry.source]]\nname = "simple"\nurl = "https://pypi.org/simple/"\npriority = "primary"\n'
_PACKAGE = json.dumps({"name": "a", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}})
_IS_NUMBER = "cd /app && node -e 'console.log(require(\"is-number\")(5))' ; find node_modules -type l -lname '*store*'"

SLOW = ("poetry", "pdm", "pipenv")
CASES = {
    "pip as a user that is made": Case(
        "python:3.11-slim",
        "FROM python:3.11-slim\nRUN useradd -m -u 1000 app\nUSER app\n"
        "RUN pip install --no-cache-dir --user --use-pep517 docopt==0.6.2\n",
        "su app -c 'python -c \"import docopt; print(docopt.__version__)\"'; ls -A /home/app",
        "/home/app/.cache/pip",
        ",uid=1000,gid=1000",
    ),
    "uv": Case(
        "python:3.11-slim",
        "FROM python:3.11-slim\nRUN pip install uv\nWORKDIR /app\nCOPY . .\n"
        'RUN uv sync --no-install-project && rm -rf /root/.cache/uv\nCMD ["python"]\n',
        "/app/.venv/bin/python -c 'import six; print(six.__version__)'; find /app/.venv -type l -lname '*cache*'",
        "/root/.cache/uv",
        files={"pyproject.toml": _PYPROJECT},
    ),
    "poetry, with its environment beside the cache": Case(
        "python:3.11-slim",
        "FROM python:3.11-slim\nRUN pip install --no-cache-dir poetry\nWORKDIR /app\nCOPY . .\n"
        "RUN poetry lock && poetry install --no-root\n",
        "cd /app && poetry run python -c 'import six; print(six.__version__)'",
        "/root/.cache/pypoetry/artifacts",
        files={"pyproject.toml": _PYPROJECT + _SOURCE},
    ),
    "pdm": Case(
        "python:3.11-slim",
        "FROM python:3.11-slim\nRUN pip install pdm==2.22.4 'hishel<0.1' unearth==0.17.5\nWORKDIR /app\n"
        "COPY . .\nRUN pdm install --no-self\n",
        "cd /app && .venv/bin/python -c 'import six; print(six.__version__)'",
        "/root/.cache/pdm",
        files={"pyproject.toml": _PYPROJECT},
    ),
    "pipenv": Case(
        "python:3.11-slim",
        "FROM python:3.11-slim\nRUN pip install pipenv\nWORKDIR /app\nCOPY . .\n"
        "RUN pipenv install --system --skip-lock\n",
        "python -c 'import docopt; print(docopt.__version__)'",
        "/root/.cache/pipenv",
        files={"Pipfile": '[packages]\ndocopt = "==0.6.2"\n'},
    ),
    "npm": Case(
        "node:18-slim",
        "FROM node:18-slim\nWORKDIR /app\nCOPY package.json ./\nRUN npm install && npm cache clean --force\n"
        'CMD ["node"]\n',
        _IS_NUMBER,
        "/root/.npm",
        files={"package.json": _PACKAGE},
    ),
    "yarn 1": Case(
        "node:18-slim",
        "FROM node:18-slim\nWORKDIR /app\nRUN npm install --global --force yarn@1.22.22\nCOPY package.json ./\n"
        'RUN yarn install --non-interactive && yarn cache clean\nCMD ["node"]\n',
        _IS_NUMBER,
        "/usr/local/share/.cache/yarn",
        files={"package.json": _PACKAGE},
    ),
    "pnpm, whose links into the store become copies": Case(
        "node:18-slim",
        "FROM node:18-slim\nWORKDIR /app\nRUN npm install --global pnpm@9\nCOPY package.json ./\n"
        'RUN pnpm install\nCMD ["node"]\n',
        _IS_NUMBER,
        "/root/.local/share/pnpm/store",
        files={"package.json": _PACKAGE},
    ),
    "pnpm in PNPM_HOME": Case(
        "node:18-slim",
        "FROM node:18-slim\nENV PNPM_HOME=/pnpm PATH=/pnpm:$PATH\nWORKDIR /app\nRUN npm install --global pnpm@9\n"
        'COPY package.json ./\nRUN pnpm install && pnpm prune --prod\nCMD ["node"]\n',
        _IS_NUMBER,
        "/pnpm/store",
        files={"package.json": _PACKAGE},
    ),
}


def built(engine: Engine, folder: Path, context: Path, text: str, script: str) -> list[str]:
    """The lines that a script writes in the last stage."""
    last = text.count("FROM ") - 1
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(
        f"{text}USER root\nRUN <<END\nset -e\n(\n{script}\n) > /out\nEND\nFROM scratch\nCOPY --from={last} /out /\n"
    )
    done = folder / "done"
    shutil.rmtree(done, ignore_errors=True)
    argv = [*engine.buildx, "build", "--file", str(dockerfile), "--output", f"type=local,dest={done}", str(context)]
    process.run(argv, env=engine.environment, timeout=800)
    return (done / "out").read_text().splitlines()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith(SLOW) else []) for name in CASES]
)
def test_mounts_are_filled_used_and_not_in_the_image(
    name: str, engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    case = CASES[name]
    base_image(case.base)
    context = tmp_path / "context"
    context.mkdir()
    for path, text in case.files.items():
        (context / path).write_text(text)
    result = optimize(Source("Dockerfile", case.text), context, only=("cache_mounts",))
    after = result.source.text
    mount = f"--mount=type=cache,target={case.target}"
    assert mount in after, result.refusals
    look = f"{case.look}\nls -A {case.target} 2> /dev/null || true"
    before = built(engine, tmp_path, context, case.text, case.look)
    assert built(engine, tmp_path, context, after, look) == before
    flag = next(word for word in after.split() if word.startswith(mount))
    probe = f"FROM {case.base}\nRUN {flag} find {case.target} -type f | wc -l > /count\n"
    [count] = built(engine, tmp_path, context, probe, "cat /count")
    assert int(count) > 0
    # What a network without anything cannot give, the mount does.
    again = after.replace("\n", "\nENV AGAIN=1\n", 1)
    assert built(engine, tmp_path, context, again, look) == before


def test_an_id_holds_the_platform_for_stages_on_stages_too(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    base_image("debian:bookworm-slim")
    context = tmp_path / "context"
    context.mkdir()
    mount = "--mount=type=cache,id=x-$TARGETPLATFORM,target=/c"
    text = (
        f"FROM debian:bookworm-slim AS a\nARG TARGETPLATFORM\nRUN {mount} touch /c/one\n"
        f"FROM a\nRUN {mount} touch /c/two\nRUN --mount=type=cache,id=x-{PLATFORM},target=/c ls /c > /there\n"
    )
    assert built(engine, tmp_path, context, text, "cat /there; ls -d /c 2> /dev/null || true") == ["one", "two"]
