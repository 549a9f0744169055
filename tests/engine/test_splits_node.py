"""Node.js files are built as they were and split: what containers run, and every file that they keep, is the same."""

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

# What an installer notes about its own work.
NOTES = ("node_modules/.package-lock.json", "node_modules/.yarn-integrity", "node_modules/.modules.yaml", "lock.yaml")
LISTING = r"""find {folder} -xdev \( -type f -o -type l \) -printf '%P %M %U:%G %l ' \
    \( -type f -exec sha256sum {{}} \; -o -print \)"""


def split(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    return result.source.text


def built(engine: Engine, context: Path, text: str, script: str, folder: Path) -> list[str]:
    """The lines that a script wrote in the last stage, run as the user and in the folder that a container has."""
    last = text.count("FROM ") - 1
    dockerfile, done = folder / "Dockerfile", folder / "done"
    marked = text.rstrip("\n").replace("\nFROM ", "\nFROM ").splitlines()
    end = ["RUN <<END", "set -e", f"(\n{script}\n) > /tmp/out 2>&1", "END", "FROM scratch"]
    dockerfile.write_text("\n".join([*marked, *end, f"COPY --from={last} /tmp/out /", ""]))
    shutil.rmtree(done, ignore_errors=True)
    argv = [*engine.buildx, "build", "--file", str(dockerfile), "--output", f"type=local,dest={done}", str(context)]
    process.run(argv, env=engine.environment, timeout=800)
    return (done / "out").read_text().splitlines()


def files(engine: Engine, context: Path, text: str, where: str, folder: Path) -> dict[str, str]:
    """Mode, owner, target and content of each file below ``where``."""
    found = {}
    for line in built(engine, context, text, LISTING.format(folder=where), folder):
        name, _, facts = line.partition(" ")
        if not name.endswith(NOTES):
            found[name] = facts
    return found


def same(engine: Engine, context: Path, before: str, where: str, run: str, folder: Path) -> tuple[list[str], set[str]]:
    """What both print (it must be the same), and the files that only the old image has."""
    after = split(before, context)
    output = built(engine, context, before, run, folder)
    assert built(engine, context, after, run, folder) == output
    old, new = (files(engine, context, text, where, folder) for text in (before, after))
    assert new
    assert {name: facts for name, facts in old.items() if name in new} == new
    return output, old.keys() - new.keys()


def project(folder: Path, package: dict[str, object], files: dict[str, str]) -> Path:
    context = folder / "context"
    for name, text in {**files, "package.json": json.dumps({"name": "app", "version": "1.0.0", **package})}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return context


COMPILED = {
    "src/index.ts": "import isNumber from 'is-number';\nimport { readFileSync } from 'fs';\n"
    "console.log(isNumber(5), readFileSync('data/a.txt', 'utf8').trim(), process.cwd(), process.getuid!());\n",
    "tsconfig.json": json.dumps(
        {
            "compilerOptions": {"outDir": "dist", "module": "commonjs", "esModuleInterop": True, "types": ["node"]},
            "include": ["src"],
        }
    ),
    "data/a.txt": "data\n",
    ".gitignore": ".env\n",
}
PACKAGE: dict[str, object] = {
    "scripts": {"build": "tsc", "start": "node dist/index.js", "prepare": "tsc --version"},
    "dependencies": {"is-number": "7.0.0"},
    "devDependencies": {"typescript": "5.4.5", "@types/node": "18.19.0", "@types/is-number": "7.0.5"},
}


def test_npm(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    context = project(tmp_path, PACKAGE, COMPILED)
    before = """FROM node:18-slim
WORKDIR /app
COPY package*.json ./
RUN npm install
COPY . .
RUN npm run build
CMD ["npm", "start"]
"""
    output, left = same(engine, context, before, "/app", "npm start --silent", tmp_path)
    assert output == ["true data /app 0"]
    assert "src/index.ts" in left
    assert any(name.startswith("node_modules/typescript/") for name in left)
    assert not any(name.startswith("node_modules/is-number/") for name in left)


def test_yarn_as_node(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    package = {**PACKAGE, "scripts": {"build": "tsc", "start": "node dist/index.js"}}
    context = project(tmp_path, package, COMPILED)
    before = """FROM node:18-slim
RUN mkdir -p /home/node/app && chown -R node:node /home/node/app
WORKDIR /home/node/app
COPY --chown=node:node package.json ./
USER node
RUN yarn install
COPY --chown=node:node . .
RUN yarn build
CMD ["yarn", "start"]
"""
    output, left = same(
        engine, context, before, "/home/node/app", "yarn --silent start 2> /dev/null; stat -c %U . dist data", tmp_path
    )
    assert output == ["true data /home/node/app 1000", "node", "node", "node"]
    assert {name for name in left if name.startswith("node_modules/typescript/")}


def test_pnpm_given_to_node(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    context = project(tmp_path, PACKAGE, COMPILED)
    before = """FROM node:18-slim
RUN npm install -g pnpm@9
WORKDIR /app
COPY . .
RUN pnpm install && pnpm build && chown -R node:node /app
USER node
CMD ["node", "dist/index.js"]
"""
    output, left = same(engine, context, before, "/app", "node dist/index.js; stat -c %U . dist node_modules", tmp_path)
    assert output == ["true data /app 1000", "node", "node", "node"]
    assert {name for name in left if name.startswith("node_modules/.pnpm/typescript")}


def test_static_site(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    package: dict[str, object] = {
        "scripts": {"build": "vite build"},
        "type": "module",
        "devDependencies": {"vite": "5.2.0"},
    }
    page = "<!doctype html><title>site</title><script type=module src=/main.js></script>\n"
    context = project(tmp_path, package, {"index.html": page, "main.js": "document.title = 'x';\n"})
    before = """FROM node:18-slim
RUN npm install -g serve@14.2.0
WORKDIR /site
COPY . .
RUN npm install
RUN npm run build
CMD ["serve", "-s", "dist", "-l", "3000"]
"""
    ask = """serve -s dist -l 3000 > /dev/null 2>&1 &
server=$!
node -e '
const ask = (left) => fetch("http://127.0.0.1:3000/deep/link").then((r) => r.text()).then((t) => console.log(t.trim()))
  .catch(() => left ? setTimeout(ask, 200, left - 1) : process.exit(1));
ask(100)'
kill $server"""
    output, left = same(engine, context, before, "/site", ask, tmp_path)
    assert any("<title>site</title>" in line for line in output)
    assert {"main.js", "package.json"} <= left
    assert any(name.startswith("node_modules/") for name in left)


def test_folders_of_several_users(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("node:18-slim")
    context = project(tmp_path, PACKAGE, COMPILED)
    before = """FROM node:18-slim
RUN mkdir -p /app/uploads /app/cache
WORKDIR /app
COPY . .
RUN npm install && npm run build && chown -R node:node uploads && chmod 700 uploads && chmod 777 cache
USER node
CMD ["npm", "start"]
"""
    look = "stat -c '%n %U %a' . uploads cache data dist node_modules; node dist/index.js"
    output, left = same(engine, context, before, "/app", look, tmp_path)
    assert output[1:3] == ["uploads node 700", "cache root 777"]
    assert not any(name.startswith("src/") for name in left)  # all of the folder is copied, for its owners and modes
