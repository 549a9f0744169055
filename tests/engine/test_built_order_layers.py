"""Installs before and behind the copy of the sources are built, and every file of both images is compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.late_installs import late_installs
from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

SUM = "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng=="
PACKAGE = {
    "name": "shop",
    "version": "1.0.0",
    "scripts": {"build": "mkdir -p dist && cp src/index.js dist/"},
    "dependencies": {"is-number": "7.0.0"},
}
LOCK = {
    "name": "shop",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": {"name": "shop", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}},
        "node_modules/is-number": {
            "version": "7.0.0",
            "resolved": "https://registry.npmjs.org/is-number/-/is-number-7.0.0.tgz",
            "integrity": SUM,
            "engines": {"node": ">=0.12.0"},
        },
    },
}
NODE: Mapping[str, object] = {
    "package.json": PACKAGE,
    "package-lock.json": LOCK,
    "src/index.js": "console.log(require('is-number')(5))\n",
    "src/deep/a.js": "",
    "start.sh": "#!/bin/sh\n",
}
YARN = {
    **{name: text for name, text in NODE.items() if name != "package-lock.json"},
    "yarn.lock": "# yarn lockfile v1\n\n\nis-number@7.0.0:\n"
    '  version "7.0.0"\n'
    '  resolved "https://registry.yarnpkg.com/is-number/-/is-number-7.0.0.tgz#7535345b896734d5f80c4d06c50955527a14f12b"\n'
    f"  integrity {SUM}\n",
}
PNPM = {
    **{name: text for name, text in NODE.items() if name != "package-lock.json"},
    "pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n"
    "  excludeLinksFromLockfile: false\n\n"
    "importers:\n\n  .:\n    dependencies:\n      is-number:\n        specifier: 7.0.0\n        version: 7.0.0\n\n"
    "packages:\n\n  is-number@7.0.0:\n    resolution: {integrity: " + SUM + "}\n    engines: {node: '>=0.12.0'}\n\n"
    "snapshots:\n\n  is-number@7.0.0: {}\n",
}
PYTHON: Mapping[str, object] = {
    "requirements.txt": "-r more/base.txt\n",
    "more/base.txt": "six==1.16.0\n",
    "app/__init__.py": "import six\n",
    "pyproject.toml": '[project]\nname = "app"\nversion = "1"\ndependencies = ["six==1.16.0"]\n'
    'requires-python = ">=3.9"\nreadme = "README.md"\n\n[build-system]\nrequires = ["hatchling"]\n'
    'build-backend = "hatchling.build"\n',
    "README.md": "# app\n",
}

# The base image, the context, and the Dockerfile behind its FROM.
SLOW = ("poetry",)
CASES: Mapping[str, tuple[str, Mapping[str, object], str]] = {
    "npm ci": ("node:18-slim", NODE, "WORKDIR /app\nCOPY . .\nRUN npm ci && npm run build\n"),
    "npm install": ("node:18-slim", NODE, "COPY . /app\nWORKDIR /app\nRUN npm install\n"),
    "a folder below, a mode and an owner": (
        "node:18-slim",
        {f"web/{name}": text for name, text in NODE.items()},
        "COPY --chown=1000:1000 . /srv/site\nRUN cd /srv/site/web && npm ci\n",
    ),
    "given away": (
        "node:18-slim",
        NODE,
        "WORKDIR /app\nCOPY . .\nRUN chown -R node:node /app\nUSER node\nRUN npm ci\n",
    ),
    "moved along": (
        "node:18-slim",
        NODE,
        "WORKDIR /app\nCOPY . .\nRUN cp start.sh go.sh && chmod +x go.sh\nRUN npm ci\nRUN ls\n",
    ),
    "yarn": ("node:18-slim", YARN, "WORKDIR /app\nCOPY . .\nRUN yarn && yarn build\n"),
    "pnpm": (
        "node:18-slim",
        PNPM,
        "RUN npm install -g pnpm@9.15.0\nWORKDIR /app\nCOPY . .\nRUN pnpm install\nRUN pnpm build\n",
    ),
    "pip": (
        "python:3.11-slim",
        PYTHON,
        "WORKDIR /app\nCOPY . .\nRUN pip install -U pip && pip install -r requirements.txt\n",
    ),
    "poetry": (
        "python:3.11-slim",
        {
            **PYTHON,
            "pyproject.toml": '[tool.poetry]\nname = "app"\nversion = "1"\ndescription = ""\nauthors = []\n'
            'readme = "README.md"\n\n[tool.poetry.dependencies]\npython = ">=3.9"\nsix = "1.16.0"\n\n'
            '[[tool.poetry.source]]\nname = "index"\nurl = "https://pypi.org/simple/"\npriority = "primary"\n\n'
            '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n',
        },
        "RUN pip install poetry==1.8.5 && poetry config virtualenvs.create false\n"
        "WORKDIR /app\nCOPY . .\nRUN poetry install --no-interaction\n",
    ),
    "uv": (
        "python:3.11-slim",
        PYTHON,
        "ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never\nRUN pip install uv==0.5.14\nWORKDIR /app\n"
        "COPY . .\nRUN uv sync\n",
    ),
}
# Caches, and what holds times or is made of them.
SKIPPED = (
    *(
        "-name __pycache__",
        "-name _logs",
        "-name _cacache",
        "-name .modules.yaml",
        "-name pnpm-state.json",
        "-name '.pnpm-workspace-state*'",
    ),
    *(
        "-path root/.cache",
        "-path root/.local/share/pnpm",
        "-path usr/local/share/.cache",
        "-name uv_cache.json",
        "-path '*/app-1.dist-info/RECORD'",
    ),
)
FIND = f"find app srv home usr/local root -xdev \\( {' -o '.join(SKIPPED)} \\) -prune -o"
LOOK = f"cd /\n{FIND} -printf '%y %m %u:%g %p %l\\n' | sort\n{FIND} -type f -exec sha256sum {{}} + | sort -k 2"


def write(folder: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2) + "\n")


def contents(engine: Engine, context: Path, text: str, folder: Path) -> list[str]:
    """Every path of the image that such a Dockerfile makes, with what there is to know of it."""
    lines = [text.rstrip("\n"), "USER root", f"RUN <<END\nset -e\n(\n{LOOK}\n) > /out 2> /dev/null || true\nEND"]
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text("\n".join([*lines, "FROM scratch", "COPY --from=0 /out /", ""]))
    done = folder / "done"
    shutil.rmtree(done, ignore_errors=True)
    argv = [*engine.buildx, "build", "--no-cache", "--file", str(dockerfile), "--output", f"type=local,dest={done}"]
    process.run([*argv, str(context)], env=engine.environment, timeout=800)
    return (done / "out").read_text().splitlines()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in CASES])
def test_the_images_hold_the_same(name: str, engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base, files, body = CASES[name]
    base_image(base)
    context = tmp_path / "context"
    write(context, files)
    if (context / "start.sh").exists():
        (context / "src").chmod(0o750)
        (context / "start.sh").chmod(0o640)
    before = f"FROM {base}\n{body}"
    result = optimize(Source("Dockerfile", before), context, only=("order_layers",))
    assert result.changes, result.refusals
    after = result.source.text
    assert late_installs(parse(Source("Dockerfile", before)))
    assert not late_installs(parse(result.source))
    found = contents(engine, context, after, tmp_path)
    wanted = contents(engine, context, before, tmp_path)
    assert any("is-number" in line or "six" in line for line in wanted)
    assert found == wanted
