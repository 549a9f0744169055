"""Node.js files: what is split and how, and what must be left alone and why."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.splits.node_code import read_code
from buildopt.dockerfile.splits.node_project import loose_json
from buildopt.source import Source

HEAD = "FROM node:20\nWORKDIR /app\nCOPY . .\n"
PLAIN = f'{HEAD}RUN npm ci\nRUN npm run build\nCMD ["node", "dist/index.js"]\n'
SERVER: dict[str, object] = {
    "scripts": {"build": "tsc", "start": "node dist/index.js"},
    "dependencies": {"express": "4"},
    "devDependencies": {"typescript": "5"},
}
SOURCES = {
    "src/index.ts": "import express from 'express';\n",
    "tsconfig.json": '{"compilerOptions": {"outDir": "dist"}} // plain\n',
}


def package(**changes: object) -> dict[str, object]:
    return {**SERVER, **changes}


def scripts(**changes: str) -> dict[str, object]:
    return package(scripts={"build": "tsc", "start": "node dist/index.js", **changes})


def run(
    folder: Path, text: str, manifest: Mapping[str, object] = SERVER, files: Mapping[str, str] | None = None
) -> Optimized:
    written = {**(SOURCES if files is None else files), "package.json": json.dumps(manifest)}
    for name, content in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return optimize(Source("Dockerfile", text), folder, only=("split_stages",))


def runtime(result: Optimized) -> str:
    assert result.changes, result.refusals
    assert not result.refusals
    return result.source.text.rsplit("\n\nFROM ", 1)[1]


def with_source(text: str, **more: str) -> dict[str, str]:
    return {**SOURCES, "src/index.ts": text, **more}


# What the runtime stage must have (or, behind a !, must not have).
SPLIT: dict[str, tuple[str, Mapping[str, object], Mapping[str, str] | None, list[str]]] = {
    "sources and tests stay behind": (
        PLAIN,
        SERVER,
        {**SOURCES, "test/a.test.ts": "import 'jest';", "jest.config.js": "", "public/a.html": ""},
        ["./dist\n", "./public\n", "!src", "!test", "!jest", "!tsconfig"],
    ),
    "a folder that is spoken of": (
        PLAIN,
        SERVER,
        with_source("import express from 'express';\nexpress.static('./src/files');\n"),
        ["./src\n"],
    ),
    "data of any name": (PLAIN, SERVER, {**SOURCES, "things/a.bin": "", "rules/a.yaml": ""}, ["./things", "./rules"]),
    "paths that are looked up": (
        PLAIN.replace('"node", ', '"node", "-r", "tsconfig-paths/register", '),
        package(dependencies={"express": "4", "tsconfig-paths": "4"}),
        None,
        ["/app/tsconfig.json"],
    ),
    "the folder of a link": (
        PLAIN,
        package(dependencies={"express": "4", "shared": "file:./shared"}),
        {**SOURCES, "shared/index.ts": ""},
        ["./shared\n"],
    ),
    "a main of package.json": (
        PLAIN.replace("dist/index.js", "."),
        package(main="dist/index.js"),
        None,
        ['CMD ["node", "."]'],
    ),
    "a build that nobody knows": (
        PLAIN,
        scripts(build="make everything"),
        None,
        ["COPY --from=build /app ./\n", "!./dist"],
    ),
    "tsc beside the sources": (
        PLAIN.replace("dist/index.js", "src/index.js"),
        SERVER,
        {**SOURCES, "tsconfig.json": "{}"},
        ["COPY --from=build /app ./\n"],
    ),
    "an import of types alone": (
        PLAIN,
        package(devDependencies={"typescript": "5", "types-only": "1"}),
        with_source("import type { A } from 'types-only';\nimport { type B } from 'types-only';\n"),
        ["./dist\n"],
    ),
    "what is imported in tests alone": (
        PLAIN,
        package(devDependencies={"typescript": "5", "nock": "1"}),
        {**SOURCES, "src/a.spec.ts": "import nock from 'nock';"},
        ["./dist\n"],
    ),
    "no dependencies at all": (
        PLAIN,
        {"scripts": {"build": "tsc"}, "devDependencies": {"typescript": "5"}},
        with_source("console.log(1);\n"),
        ["./dist\n", "!node_modules"],
    ),
    "a package that RUN adds": (
        PLAIN.replace("RUN npm run", "RUN npm install express\nRUN npm run"),
        {"scripts": {"build": "tsc"}, "devDependencies": {"typescript": "5"}},
        None,
        ["./node_modules\n"],
    ),
    "packages for compiling": (
        PLAIN.replace("WORKDIR", "RUN apt-get update\nRUN apt-get install -y python3 make g++\nWORKDIR"),
        SERVER,
        None,
        ["!apt-get"],
    ),
    "packages for compiling where programs are started": (
        PLAIN.replace("WORKDIR", "RUN apt-get update\nRUN apt-get install -y python3 make g++\nWORKDIR"),
        SERVER,
        with_source("import { spawn } from 'child_process';\nspawn('python3');\n"),
        ["RUN apt-get update\nRUN apt-get install -y python3 make g++\n"],
    ),
    "virtual packages that are deleted again": (
        PLAIN.replace("node:20", "node:20-alpine")
        .replace("WORKDIR", "RUN apk add --no-cache --virtual .gyp python3 make g++\nWORKDIR")
        .replace("CMD", "RUN apk del .gyp\nCMD"),
        SERVER,
        None,
        ["!apk"],
    ),
    "a package in one RUN with the build": (
        f"{HEAD}RUN apt-get update && apt-get install -y ffmpeg && npm ci && npm run build\nCMD npm start\n",
        SERVER,
        None,
        ["RUN apt-get update && apt-get install -y ffmpeg\n"],
    ),
    "a registry for builds alone": (
        PLAIN.replace("RUN npm ci", "RUN npm config set registry https://r.example && npm ci"),
        SERVER,
        None,
        ["!registry"],
    ),
    "what is removed": (PLAIN.replace("CMD", "RUN rm -rf data\nCMD"), SERVER, {**SOURCES, "data/a": ""}, ["!data"]),
    "what is moved": (
        PLAIN.replace("CMD", "RUN mv dist out\nCMD").replace("dist/index.js", "out/index.js"),
        SERVER,
        None,
        ["./out\n", "!dist"],
    ),
    "folders of other owners": (
        PLAIN.replace("CMD", "RUN chown -R node:node dist\nCMD"),
        SERVER,
        None,
        ["COPY --from=build /app ./\n"],
    ),
    "removals by a pattern": (
        PLAIN.replace("CMD", "RUN rm -rf src *.md\nCMD"),
        SERVER,
        None,
        ["COPY --from=build /app ./\n"],
    ),
    "a user of its own": (
        "FROM node:20\nRUN useradd -m app\nWORKDIR /app\nCOPY . .\n"
        "RUN npm ci && npm run build && chown -R app:app /app\n"
        'USER app\nCMD ["node", "dist/index.js"]\n',
        SERVER,
        None,
        ["RUN useradd -m app\n", "RUN chown -R app:app /app\n", "--chown=app:app /app/dist ./dist\n"],
    ),
    "programs of node_modules by PATH": (
        f"{HEAD}ENV PATH=/app/node_modules/.bin:$PATH\nRUN npm ci && npm run build\nCMD next start\n",
        {"scripts": {"build": "next build"}, "dependencies": {"next": "14"}, "devDependencies": {"eslint": "8"}},
        {"pages/index.js": "", "next.config.js": "module.exports = {};", "public/a": ""},
        ["/app/next.config.js", "./.next\n", "./public\n", "!pages"],
    ),
    "settings that Git hides": (PLAIN, SERVER, {**SOURCES, ".gitignore": "/.env\n"}, ["/app/.env* ./"]),
    "settings that the build does not see": (
        PLAIN,
        SERVER,
        {**SOURCES, ".gitignore": "/.env\n", ".dockerignore": ".env\n"},
        ["!.env"],
    ),
    "Corepack's package manager": (
        f"{HEAD}RUN corepack enable\nRUN pnpm install\nRUN pnpm build\nCMD pnpm start\n",
        SERVER,
        {**SOURCES, "pnpm-lock.yaml": ""},
        ["/root/.cache/node/corepack /root/.cache/node/corepack\n", "RUN corepack enable\n"],
    ),
    "a platform's variables stay": (
        f"{HEAD}ARG PORT=3000\nENV PORT=$PORT\nRUN npm ci && npm run build\nEXPOSE $PORT\nCMD npm start\n",
        SERVER,
        None,
        ["ARG PORT=3000\nENV PORT=$PORT\n", "EXPOSE $PORT\n"],
    ),
    "preview of vite": (
        f"{HEAD}RUN npm ci && npm run build\nCMD npx vite preview --host\n",
        {"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}},
        {"src/main.ts": "", "index.html": "", "vite.config.ts": "import { defineConfig } from 'vite';"},
        ["/app/vite.config.ts", "./node_modules\n", "./dist\n", "!src"],
    ),
    **{
        f"a folder that is called build is served, not built: {command}": (
            f"{HEAD}RUN npm ci && npm run build\n{instruction}\n",
            {
                "scripts": {"build": "remix build", "start": command},
                "dependencies": {"@remix-run/node": "1", "@remix-run/serve": "1"},
                "devDependencies": {"@remix-run/dev": "1"},
            },
            {"app/root.tsx": "import '@remix-run/node';", "remix.config.js": "", "public/a.ico": ""},
            ["/app/remix.config.js", "./node_modules\n", "./build\n", "./public\n", f"{instruction}\n"],
        )
        for command, instruction in (
            ("remix-serve build", "CMD npm start"),
            ("NODE_ENV=production remix-serve build", 'CMD ["npm", "run", "start"]'),
            ("node ./node_modules/@remix-run/serve/dist/cli.js build", "CMD npm start"),
            ("none", 'CMD ["npx", "remix-serve", "build"]'),
            ("nothing", 'CMD ["npx", "@remix-run/serve", "build"]'),
            ("no script", 'CMD ["npx", "--yes", "@remix-run/serve@1.19.3", "build"]'),
            ("no program", 'ENTRYPOINT ["./node_modules/.bin/remix-serve"]\nCMD ["build"]'),
        )
    },
    "a folder that React Router serves": (
        f"{HEAD}RUN npm ci && npm run build\nCMD npm start\n",
        {
            "scripts": {"build": "react-router build", "start": "react-router-serve build"},
            "dependencies": {"@react-router/node": "7", "@react-router/serve": "7"},
            "devDependencies": {"@react-router/dev": "7", "vite": "6"},
        },
        {
            "app/root.tsx": "import '@react-router/node';",
            "vite.config.ts": "import { reactRouter } from '@react-router/dev/vite';",
        },
        ["./node_modules\n", "./build\n", "!vite.config"],
    ),
}


@pytest.mark.parametrize("name", SPLIT)
def test_split(name: str, tmp_path: Path) -> None:
    text, manifest, files, wanted = SPLIT[name]
    stage = runtime(run(tmp_path, text, manifest, files))
    for piece in wanted:
        assert (piece[1:] not in stage) if piece.startswith("!") else (piece in stage), stage


# How dev dependencies are taken out again.
PRUNES = {
    "npm": ("FROM node:20", "npm ci", "RUN npm prune --omit=dev\n"),
    "an old npm": ("FROM node:12-alpine", "npm ci", "RUN npm prune --production\n"),
    "an old npm that is installed": (
        "FROM node:20\nRUN npm install -g npm@6.14.18",
        "npm ci",
        "RUN npm prune --production\n",
    ),
    "a new npm that is installed": ("FROM node:12\nRUN npm i -g npm@8", "npm ci", "RUN npm prune --omit=dev\n"),
    "an old npm by its codename": ("FROM node:erbium", "npm ci", "RUN npm prune --production\n"),
    "peers as they were": (
        "FROM node:20",
        "npm install --legacy-peer-deps --no-audit",
        "RUN npm prune --omit=dev --legacy-peer-deps\n",
    ),
    "yarn": (
        "FROM node:20",
        "yarn",
        "RUN yarn install --production --frozen-lockfile --ignore-scripts --prefer-offline\n",
    ),
    "pnpm": ("FROM node:20", "pnpm install", "RUN pnpm prune --prod\n"),
    "none": ("FROM node:20", "npm ci --omit=dev", ""),
}


@pytest.mark.parametrize("name", PRUNES)
def test_prune(name: str, tmp_path: Path) -> None:
    base, install, expected = PRUNES[name]
    text = PLAIN.replace("FROM node:20", base).replace("npm ci", install)
    text = text.replace("npm run", f"{install.split()[0]} run")
    result = run(tmp_path, text, files={**SOURCES, "yarn.lock": "# yarn lockfile v1\n"})
    assert result.changes, result.refusals
    build = result.source.text.split("\n\nFROM ")[0]
    assert build.split("RUN ")[-1] == (expected[4:-1] if expected else text.split("RUN ")[2].split("\n")[0])


# What needs dev dependencies keeps them: only sources stay behind.
SHIPPED: dict[str, tuple[Mapping[str, object], Mapping[str, str], str]] = {
    "an import": (
        package(devDependencies={"typescript": "5", "pg": "8"}),
        with_source("import pg from 'pg';\n"),
        "src/index.ts imports pg, a dev dependency",
    ),
    "an import of an import": (
        package(devDependencies={"typescript": "5", "left-pad": "1"}),
        with_source("import './a';\n", **{"src/a.ts": "export const b = require('left-pad');\n"}),
        "src/a.ts imports left-pad, a dev dependency",
    ),
    "a worker": (
        package(devDependencies={"typescript": "5", "left-pad": "1"}),
        with_source("new Worker('./workers/a.js');\n", **{"workers/a.js": "require('left-pad');\n"}),
        "workers/a.js imports left-pad, a dev dependency",
    ),
    "a name": (
        package(devDependencies={"typescript": "5", "pretty-thing": "1"}),
        with_source("export const transport = { target: 'pretty-thing' };\n"),
        "src/index.ts names pretty-thing, a dev dependency",
    ),
    "what libraries load": (
        package(devDependencies={"typescript": "5", "mysql2": "1"}),
        SOURCES,
        "mysql2 is a dev dependency that libraries load when they run",
    ),
    "what nobody lists": (
        SERVER,
        with_source("import lodash from 'lodash';\n"),
        "src/index.ts imports lodash, which package.json does not list",
    ),
    "helpers of the compiler": (
        SERVER,
        {**SOURCES, "tsconfig.json": '{"compilerOptions": {"outDir": "dist", "importHelpers": true}}'},
        "tslib, which the compiled code needs, is not among the dependencies",
    ),
    "a program of its own": (
        package(devDependencies={"typescript": "5", "knex": "1"}),
        with_source("import { exec } from 'child_process';\nexec('npx knex migrate:latest');\n"),
        "src/index.ts may run what npx or npm finds, a dev dependency",
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_dev_dependencies_that_are_needed_are_shipped(name: str, tmp_path: Path) -> None:
    manifest, files, why = SHIPPED[name]
    result = run(tmp_path, PLAIN, manifest, files)
    assert "prune" not in result.source.text
    assert "./node_modules\n" in runtime(result)
    assert result.changes[0].why.endswith(f"dev dependencies are shipped, because {why}")


def test_a_lock_file_tells_what_is_there_without_dev_dependencies(tmp_path: Path) -> None:
    packages = {"": {}, "node_modules/lodash": {}, "node_modules/chai": {"dev": True}}
    files = with_source("import lodash from 'lodash';\n", **{"package-lock.json": json.dumps({"packages": packages})})
    assert "npm prune" in run(tmp_path, PLAIN, files=files).source.text
    (tmp_path / "src" / "index.ts").write_text("import chai from 'chai';\n")
    assert "npm prune" not in optimize(Source("Dockerfile", PLAIN), tmp_path, only=("split_stages",)).source.text


REFUSED: dict[str, tuple[str, Mapping[str, object], Mapping[str, str] | None, str]] = {
    "sources compiled at the start": (
        PLAIN.replace("dist/index.js", "index.js"),
        package(dependencies={"@babel/register": "7"}),
        {**SOURCES, "index.js": "require('@babel/register');\nrequire('./src');\n"},
        "@babel/register compiles sources when the container starts",
    ),
    "a package with a scope is not the one without": (
        f"{HEAD}RUN npm ci && npm run build\nCMD npx @babel/node dist/index.js\n",
        package(dependencies={"express": "4", "@babel/node": "7"}),
        None,
        "`@babel/node dist/index.js` works with the sources",
    ),
    "a package with a scope that nothing installs": (
        f"{HEAD}RUN npm ci && npm run build\nCMD npx @own/serve dist\n",
        SERVER,
        None,
        "where @own/serve comes from is not known",
    ),
    "a server that builds": (
        f"{HEAD}RUN npm ci && npm run build\nCMD npx remix build\n",
        package(dependencies={"@remix-run/dev": "1"}),
        None,
        "`remix build` builds when the container starts",
    ),
    "a loader of TypeScript": (
        PLAIN.replace('"node", ', '"node", "-r", "ts-node/register", '),
        package(dependencies={"express": "4", "ts-node": "10"}),
        None,
        "ts-node/register compiles sources",
    ),
    "TypeScript itself": (PLAIN.replace("dist/index.js", "src/index.ts"), SERVER, None, "works with the sources"),
    "nodemon": (
        PLAIN.replace('"node"', '"npx", "nodemon"'),
        package(devDependencies={"nodemon": "3"}),
        None,
        "nodemon",
    ),
    "an output outside": (
        PLAIN.replace("dist/index.js", "/srv/index.js"),
        SERVER,
        None,
        "/srv/index.js is not a part of the project",
    ),
    "a file beside the project": (
        "FROM node:20\nCOPY . /src\nWORKDIR /src/app\nRUN npm ci && npm run build\nCMD npm start\n",
        SERVER,
        None,
        "files beside the project may be needed",
    ),
    "links beside the project": (PLAIN, package(dependencies={"a": "file:../a"}), None, "linked from ../a"),
    "folders of the system": (
        PLAIN.replace("WORKDIR /app\n", ""),
        SERVER,
        {**SOURCES, "bin/a.js": ""},
        "among the folders of the system",
    ),
    "an owner before the folder is there": (
        "FROM node:20\nCOPY . /app\nRUN chown -R node:node /app\nWORKDIR /app\n"
        "RUN npm ci && npm run build\nCMD npm start\n",
        SERVER,
        None,
        "/app is not there yet",
    ),
    "a secret of yarn": (
        f"{HEAD}RUN --mount=type=secret,id=t yarn install\nRUN yarn build\nCMD yarn start\n",
        SERVER,
        {**SOURCES, "yarn.lock": ""},
        "needs a secret",
    ),
    "patches that yarn would undo": (
        f"{HEAD}RUN yarn install\nRUN yarn build\nCMD yarn start\n",
        scripts(postinstall="patch-package"),
        {**SOURCES, "yarn.lock": ""},
        "scripts change what Yarn installs",
    ),
    "yarn without a lock file": (
        f"{HEAD}RUN yarn install --pure-lockfile\nRUN yarn build\nCMD yarn start\n",
        SERVER,
        None,
        "there is no yarn.lock",
    ),
    "modules removed again": (PLAIN.replace("CMD", "RUN rm -rf node_modules\nCMD"), SERVER, None, "is removed again"),
    "a base that builds": (PLAIN.replace("node:20", "node:8-onbuild"), SERVER, None, "ON BUILD"),
    "a script of the context": (
        PLAIN.replace("RUN npm run build", "RUN bash build.sh && npm run build"),
        SERVER,
        {**SOURCES, "build.sh": ""},
        "runs a script",
    ),
    "another program": (PLAIN.replace('"node"', '"deno"'), SERVER, None, "where deno comes from is not known"),
    "a process manager of a manager": (
        PLAIN.replace("RUN npm ci", "RUN npm i -g pm2\nRUN npm ci").replace(
            '"node", "dist/index.js"', '"pm2-runtime", "npm", "--", "start"'
        ),
        SERVER,
        None,
        "what it starts is not followed",
    ),
    "http-server without a folder": (
        PLAIN.replace("RUN npm ci", "RUN npm i -g http-server\nRUN npm ci").replace(
            '"node", "dist/index.js"', '"http-server"'
        ),
        SERVER,
        None,
        "http-server without a folder",
    ),
    "two package managers": (PLAIN.replace("RUN npm ci", "RUN npm ci\nRUN yarn"), SERVER, None, "both npm and yarn"),
    "a loop of scripts": (
        PLAIN.replace('"node", "dist/index.js"', '"npm", "start"'),
        scripts(start="npm start"),
        None,
        "leads too far",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    text, manifest, files, reason = REFUSED[name]
    result = run(tmp_path, text, manifest, files)
    assert not result.changes, result.source.text
    assert len(result.refusals) == 1
    assert reason in result.refusals[0].reason


ASKS_GIT = {
    "by a program": (SERVER, with_source("import {execSync} from 'child_process';\nexecSync('git rev-parse HEAD');\n")),
    "by a package": (package(dependencies={"express": "4", "simple-git": "3"}), SOURCES),
}


@pytest.mark.parametrize("name", ASKS_GIT)
def test_what_asks_git_needs_its_folder(name: str, tmp_path: Path) -> None:
    manifest, files = ASKS_GIT[name]
    assert run(tmp_path, PLAIN, manifest, files).changes
    brought = {**files, ".git/HEAD": "ref: refs/heads/main\n"}
    result = run(tmp_path, PLAIN, manifest, brought)
    assert not result.changes
    assert "may ask Git, and .git is a part of the image" in result.refusals[0].reason
    assert run(tmp_path, PLAIN, manifest, {**brought, ".dockerignore": ".git\n"}).changes


def test_without_a_context_nothing_is_known() -> None:
    result = optimize(Source("Dockerfile", PLAIN), None, only=("split_stages",))
    assert [refusal.reason for refusal in result.refusals] == [
        "only package.json and the sources tell what is needed at run time: give --context"
    ]


def test_files_that_build_nothing_are_not_spoken_of(tmp_path: Path) -> None:
    text = f'{HEAD}RUN npm ci\nCMD ["node", "index.js"]\n'
    result = run(tmp_path, text, files={"index.js": ""})
    assert not result.changes
    assert not result.refusals


@pytest.mark.parametrize("content", ["", "[]", "{", '{"scripts": 1, "dependencies": []}', "\ufeff{}", '{"name": 3}'])
def test_any_package_json_is_survived(content: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(content)
    result = optimize(Source("Dockerfile", PLAIN), tmp_path, only=("split_stages",))
    assert len(result.refusals) == 1


def test_line_endings_stay(tmp_path: Path) -> None:
    text = run(tmp_path, PLAIN.replace("\n", "\r\n")).source.text
    assert text.count("\n") == text.count("\r\n") > PLAIN.count("\n")


def test_code_is_read() -> None:
    code = read_code(
        "// import 'a';\n/* import 'b'; */\nimport c, { type d } from 'c';\nimport type e from 'e';\n"
        "import {\n  f,\n} from 'f';\n"
        "export * from './g';\nexport type { h } from 'h';\nconst i = require('i/j');\nimport('k');\nimport 'l';\n"
    )
    assert code.imports == {"c", "f", "./g", "i/j", "k", "l"}
    assert not code.dynamic
    assert read_code("require(name)").dynamic
    assert read_code("import(`./${name}.js`)").dynamic


def test_code_between_two_comments_is_no_comment() -> None:
    code = read_code("/* one */ import a from 'a';\nimport b from 'b';\n/* two */\nimport c from 'c';\n")
    assert code.imports == {"a", "b", "c"}


@pytest.mark.parametrize(
    "piece", ["import ", "import type ", "import {", "from 'a' ", "/*\n", "/* */ x\n", "/*\n// x\n"]
)
def test_code_is_read_in_one_go(piece: str) -> None:
    began = time.process_time()
    read_code(piece * (400_000 // len(piece)))
    assert time.process_time() - began < 2  # 8 seconds and more where each piece is looked behind to the end


def test_json_with_comments_is_read() -> None:
    text = '{\n  // one\n  "a": "http://b", /* two */\n  "c": [1, 2,],\n}\n'
    assert loose_json(text) == {"a": "http://b", "c": [1, 2]}
    assert loose_json("[]") == {}
    assert loose_json("nothing") == {}


FIRST = (
    "FROM node:20\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\n"
    'COPY . .\nRUN npm run build\nCMD ["node", "dist/index.js"]\n'
)
LOCKED = {**SOURCES, "package-lock.json": "{}"}
# What the build may do to node_modules, or what pruning reads comes with the sources: node_modules is pruned behind it.
PRUNED_BEHIND: dict[str, tuple[str, Mapping[str, object], Mapping[str, str]]] = {
    "all sources come first": (PLAIN, SERVER, LOCKED),
    "the lock file comes later": (FIRST.replace(" package-lock.json", ""), SERVER, LOCKED),
    "settings of npm come later": (FIRST, SERVER, {**LOCKED, ".npmrc": "legacy-peer-deps=true\n"}),
    "node_modules is copied": (FIRST, SERVER, {**LOCKED, "node_modules/a/index.js": ""}),
    "packages are patched": (FIRST.replace("RUN npm run", "RUN npx patch-package\nRUN npm run"), SERVER, LOCKED),
    "packages are patched by a script": (FIRST, scripts(build="tsc", postbuild="patch-package"), LOCKED),
    "a client is generated": (
        FIRST.replace("RUN npm run", "RUN npx prisma generate\nRUN npm run"),
        package(dependencies={"express": "4", "prisma": "5", "@prisma/client": "5"}),
        {**LOCKED, "prisma/schema.prisma": 'generator client {\n  provider = "prisma-client-js"\n}\n'},
    ),
    "a file is put there": (FIRST, scripts(build="tsc && cp src/index.ts node_modules/express/"), LOCKED),
    "a setting": (FIRST.replace("WORKDIR", "ARG MODE\nWORKDIR"), SERVER, LOCKED),
    "the runtime stage has that name": (FIRST.replace("node:20", "node:20 AS production"), SERVER, LOCKED),
}


@pytest.mark.parametrize("name", PRUNED_BEHIND)
def test_dependencies_get_no_stage_of_their_own_where_the_build_may_show_in_them(name: str, tmp_path: Path) -> None:
    result = run(tmp_path, *PRUNED_BEHIND[name])
    assert result.changes or result.refusals
    assert "dependencies AS" not in result.source.text
    if result.changes:
        text = result.source.text
        assert text.index("npm prune") > text.index("npm run build")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\nCOPY . .", "\nCOPY . ."),
        ("\n\n\nCOPY . .", "\nCOPY . ."),
        ("\n# the sources\nCOPY . .", "\n# the sources\nCOPY . ."),
    ],
)
def test_dependencies_have_a_stage_that_build_and_pruning_start_from(before: str, after: str, tmp_path: Path) -> None:
    result = run(tmp_path, FIRST.replace("\nCOPY . .", before), SERVER, LOCKED)
    assert (
        "FROM node:20 AS dependencies\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\n\n"
        "FROM dependencies AS production\nRUN npm prune --omit=dev\n\n"
        f"FROM dependencies AS build{after}\nRUN npm run build\n\nFROM node:20\n"
    ) in result.source.text
    assert "COPY --from=production /app/node_modules ./node_modules\n" in result.source.text
    assert not optimize(result.source, tmp_path, only=("split_stages",)).changes


def test_the_stage_of_dependencies_keeps_the_name_of_a_build_stage_and_the_casing(tmp_path: Path) -> None:
    text = FIRST.replace("node:20", "node:20 as builder").replace("FROM", "from").replace("RUN", "run")
    text = text.replace("WORKDIR /app", "workdir /app\nworkdir sub\nworkdir ..")
    result = run(tmp_path, text, SERVER, LOCKED)
    assert "from node:20 as dependencies\n" in result.source.text
    assert "\n\nfrom dependencies as production\nrun npm prune --omit=dev\n\nfrom dependencies as builder\nCOPY" in (
        result.source.text
    )


def test_nothing_is_pruned_by_a_lock_file_that_may_not_fit_what_is_installed(tmp_path: Path) -> None:
    text = FIRST.replace("npm ci", "npm install").replace("RUN npm run", "RUN npx patch-package\nRUN npm run")
    result = run(tmp_path, text, SERVER, {**LOCKED, "test/a.test.ts": ""})
    assert "prune" not in result.source.text
    assert "package-lock.json of the sources may not fit what is installed" in f"{result.changes}{result.refusals}"
