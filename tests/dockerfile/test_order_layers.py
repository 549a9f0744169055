"""What order_layers moves and what it refuses, case by case; each context is written for the case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildopt.dockerfile.late_installs import late_installs
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.parse import parse
from buildopt.source import Source

PACKAGE: dict[str, object] = {"name": "shop", "version": "1.0.0", "dependencies": {"a": "^1.0.0"}}
LOCK = {"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": PACKAGE}}
NODE: Mapping[str, object] = {"package.json": PACKAGE, "package-lock.json": LOCK, "src/a.js": "", "start.sh": ""}
PIP: Mapping[str, object] = {"requirements.txt": "flask==3\n", "app.py": ""}
START = "FROM node:22\nWORKDIR /app\nCOPY . .\n"


def project(folder: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def run(text: str, context: Path | None) -> Optimized:
    return optimize(Source("Dockerfile", text), context, only=("order_layers",))


def package(**more: object) -> dict[str, object]:
    changed = {**PACKAGE, **more}
    return {**NODE, "package.json": changed, "package-lock.json": {**LOCK, "packages": {"": changed}}}


# Context, Dockerfile, and what it becomes.
MOVED: Mapping[str, tuple[Mapping[str, object], str, str]] = {
    "an option names the folder": (
        {f"web/{name}": content for name, content in NODE.items()},
        START + "RUN npm --prefix web ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY web/package.json web/package-lock.json ./web/\n"
        "RUN npm --prefix web ci\nCOPY . .\n",
    ),
    "a subshell keeps its folder to itself": (
        {f"web/{name}": content for name, content in NODE.items()},
        START + "RUN (cd web && npm ci) && npm --prefix web run build\n",
        "FROM node:22\nWORKDIR /app\nCOPY web/package.json web/package-lock.json ./web/\n"
        "RUN (cd web && npm ci)\nCOPY . .\nRUN npm --prefix web run build\n",
    ),
    "what follows may stay with the install": (
        NODE,
        START + "RUN npm ci && npm cache clean --force && mkdir -p /data\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN npm ci && npm cache clean --force && mkdir -p /data\nCOPY . .\n",
    ),
    "cd behind the install is said again": (
        {f"web/{name}": content for name, content in NODE.items()},
        START + "RUN cd web && npm ci && cd .. && make\n",
        "FROM node:22\nWORKDIR /app\nCOPY web/package.json web/package-lock.json ./web/\n"
        "RUN cd web && npm ci && cd ..\nCOPY . .\nRUN cd web && cd .. && make\n",
    ),
    "a variable in the destination": (
        PIP,
        "FROM python:3.12\nENV HOME_OF=/srv/x\nCOPY . $HOME_OF\nWORKDIR $HOME_OF\n"
        "RUN pip install -r requirements.txt\n",
        "FROM python:3.12\nENV HOME_OF=/srv/x\nCOPY requirements.txt $HOME_OF/\nWORKDIR $HOME_OF\n"
        "RUN pip install -r requirements.txt\nCOPY . $HOME_OF\n",
    ),
    "a folder of the context": (
        {f"api/{name}": content for name, content in PIP.items()},
        "FROM python:3.12\nCOPY api /srv/api\nRUN pip install -r /srv/api/requirements.txt\n",
        "FROM python:3.12\nCOPY api/requirements.txt /srv/api/\nRUN pip install -r /srv/api/requirements.txt\n"
        "COPY api /srv/api\n",
    ),
    "a wildcard": (
        PIP,
        "FROM python:3.12\nWORKDIR /app\nCOPY * ./\nRUN pip install -r requirements.txt\n",
        "FROM python:3.12\nWORKDIR /app\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\nCOPY * ./\n",
    ),
    "a copy to another place stays": (
        {**NODE, "nginx.conf": ""},
        START + "COPY nginx.conf /etc/nginx/nginx.conf\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "COPY nginx.conf /etc/nginx/nginx.conf\nRUN npm ci\nCOPY . .\n",
    ),
    "copies into the sources keep their order": (
        {**NODE, "conf/prod.env": ""},
        START + "COPY conf/prod.env .env\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n"
        "COPY conf/prod.env .env\n",
    ),
    "commands on sources move along": (
        NODE,
        START + "RUN chmod +x start.sh && sed -i 's/\\r$//' start.sh\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n"
        "RUN chmod +x start.sh && sed -i 's/\\r$//' start.sh\n",
    ),
    "folders of the sources get their modes and owners behind the install": (
        {**NODE, "storage/.keep": "", "views/cache/.keep": ""},
        START + "RUN mkdir -p storage/logs && chown -R node:node storage && chmod -Rf 775 storage views/cache\n"
        "RUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n"
        "RUN mkdir -p storage/logs && chown -R node:node storage && chmod -Rf 775 storage views/cache\n",
    ),
    "what is given away arrives as what it becomes": (
        NODE,
        START + "RUN adduser x && chown -R x:x /app\nUSER x\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN adduser x && chown -R x:x /app\n"
        "USER x\nRUN npm ci\nCOPY --chown=x:x . .\n",
    ),
    "given away with the install": (
        NODE,
        START + "RUN npm ci && chown -R node:node /app && rm -rf /tmp/*\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN npm ci && chown -R node:node /app && rm -rf /tmp/*\nCOPY --chown=node:node . .\n",
    ),
    "caches are cleaned both times": (
        {"pyproject.toml": '[tool.poetry]\nname = "x"\n'},
        "FROM python:3.12\nENV POETRY_CACHE_DIR=/tmp/c\nWORKDIR /app\nCOPY . .\n"
        "RUN poetry install && rm -rf $POETRY_CACHE_DIR\n",
        "FROM python:3.12\nENV POETRY_CACHE_DIR=/tmp/c\nWORKDIR /app\nCOPY pyproject.toml ./\n"
        "RUN poetry install --no-root && rm -rf $POETRY_CACHE_DIR\nCOPY . .\n"
        "RUN poetry install && rm -rf $POETRY_CACHE_DIR\n",
    ),
    "requirements as PowerShell writes them": (
        {"requirements.txt": "flask==3\n".encode("utf-16").decode("latin-1")},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "FROM python:3.12\nWORKDIR /app\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\nCOPY . .\n",
    ),
    "a manifest that was changed before is copied again": (
        NODE,
        "FROM node:22\nWORKDIR /app\nCOPY package*.json ./\nRUN npm pkg set version=3.0.0\nCOPY . .\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package*.json ./\nRUN npm pkg set version=3.0.0\n"
        "COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n",
    ),
    "a manifest that is copied too late for the first install": (
        {**NODE, **PIP},
        START + "RUN npm ci\nCOPY package*.json ./\nRUN pip install -r requirements.txt\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json requirements.txt ./\nRUN npm ci\n"
        "COPY package*.json ./\nRUN pip install -r requirements.txt\nCOPY . .\n",
    ),
    "no lockfile: what npm writes stays": (
        {"package.json": PACKAGE},
        START + "RUN npm install\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json ./\nRUN npm install\nCOPY . .\n",
    ),
    "a rewritten lockfile, and a global install that does not read it": (
        {**NODE, "package-lock.json": {**LOCK, "name": "other"}},
        START + "RUN npm install && npm install -g serve\nRUN npm i --global pm2\nRUN npm run build\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN npm install && npm install -g serve\nCOPY . .\nRUN npm i --global pm2\nRUN npm run build\n",
    ),
    "a rewritten lockfile that no image gets": (
        {**NODE, "package-lock.json": {**LOCK, "lockfileVersion": 1}},
        "FROM node:22 AS b\nWORKDIR /app\nCOPY . .\nRUN npm install\nRUN npm run build\n"
        "FROM nginx\nCOPY --from=b /app/dist /x\n",
        "FROM node:22 AS b\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm install\nCOPY . .\n"
        "RUN npm run build\nFROM nginx\nCOPY --from=b /app/dist /x\n",
    ),
    "hooks without a repository": (
        package(scripts={"prepare": "husky install || echo none", "postinstall": "npm run p", "p": "patch-package"}),
        START + "RUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n",
    ),
    "what Nuxt prepares, and its build makes anew": (
        package(scripts={"postinstall": "nuxt prepare", "build": "nuxt build"}, devDependencies={"nuxt": "^3.8.0"}),
        START + "RUN npm ci && echo installed\nRUN npm run build\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci && echo installed\nCOPY . .\n"
        "RUN npm run build\n",
    ),
    "what SvelteKit prepares, and Vite makes anew": (
        package(
            scripts={"prepare": "svelte-kit sync || echo ''", "build": "cross-env A=b vite build"},
            devDependencies={"@sveltejs/kit": "^2.0.0"},
        ),
        START + "RUN npm ci && npm run build\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n",
    ),
    "Remix sets up its own package": (
        package(scripts={"postinstall": "remix setup node"}),
        START + "RUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n",
    ),
    "an archive of the project": (
        {**package(dependencies={"own": "file:lib/own.tgz"}), "lib/own.tgz": ""},
        START + "RUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "COPY lib/own.tgz ./lib/\nRUN npm ci\nCOPY . .\n",
    ),
    "other scripts are none of the install's business": (
        package(scripts={"build": "tsc", "prepublishOnly": "npm run build", "start": "node ."}),
        START + "RUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n",
    ),
    "scripts that are ignored": (
        package(scripts={"postinstall": "node build.js"}),
        START + "RUN npm ci --ignore-scripts\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci --ignore-scripts\nCOPY . .\n",
    ),
    "a backtick": (
        NODE,
        "# escape=`\n" + START + "RUN --mount=type=cache,target=/a --mount=type=cache,target=/b npm ci `\n  && make\n",
        "# escape=`\nFROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN --mount=type=cache,target=/a --mount=type=cache,target=/b npm ci\nCOPY . .\n"
        "RUN --mount=type=cache,target=/a `\n    --mount=type=cache,target=/b `\n    make\n",
    ),
    "a version that is told, whatever .nvmrc says": (
        {**NODE, ".nvmrc": "18\n"},
        "FROM node:22\nENV NODE=20.1\nWORKDIR /app\nCOPY . .\nRUN nvm install $NODE && n lts && fnm use v18\n"
        "RUN npm ci\n",
        "FROM node:22\nENV NODE=20.1\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN nvm install $NODE && n lts && fnm use v18\nRUN npm ci\nCOPY . .\n",
    ),
    "a version that is read from a manifest": (
        NODE,
        START + "RUN n auto && nvm install && rustup target add x\nRUN npm ci\n",
        "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\n"
        "RUN n auto && nvm install && rustup target add x\nRUN npm ci\nCOPY . .\n",
    ),
    "a version that is told, whatever package.json says": (
        {**PIP, "package.json": PACKAGE, ".python-version": "3.9\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\n"
        "RUN corepack enable && corepack prepare pnpm@9.1.0 --activate && uv venv --python 3.12 /opt/venv\n"
        "RUN pip install -r requirements.txt\n",
        "FROM python:3.12\nWORKDIR /app\nCOPY requirements.txt ./\n"
        "RUN corepack enable && corepack prepare pnpm@9.1.0 --activate && uv venv --python 3.12 /opt/venv\n"
        "RUN pip install -r requirements.txt\nCOPY . .\n",
    ),
    "a version for another folder": (
        {**PIP, "rust/rust-toolchain.toml": ""},
        "FROM rust:1\nWORKDIR /app\nCOPY . .\nRUN rustup component add clippy\nRUN pip install -r requirements.txt\n",
        "FROM rust:1\nWORKDIR /app\nCOPY requirements.txt ./\nRUN rustup component add clippy\n"
        "RUN pip install -r requirements.txt\nCOPY . .\n",
    ),
    "comments stay with what they are about": (
        NODE,
        "FROM node:22\nWORKDIR /app\n# Install the dependencies\nCOPY . .\nRUN npm ci\n\n# Build\nRUN make\n",
        "FROM node:22\nWORKDIR /app\n# Install the dependencies\nCOPY package.json package-lock.json ./\nRUN npm ci\n"
        "COPY . .\n\n# Build\nRUN make\n",
    ),
}

# Context, Dockerfile, and a part of the reason.
DOTNET = {"app.csproj": "<Project></Project>", "a.cs": ""}
NUGET = '<configuration><packageSources><clear /><add key="own" value="VALUE" /></packageSources></configuration>'
RESTORE = "FROM mcr.microsoft.com/dotnet/sdk:8.0\nWORKDIR /app\nCOPY . .\nRUN dotnet restore\n"
REFUSED: Mapping[str, tuple[Mapping[str, object], str, str]] = {
    "what Nuxt prepares, and a check reads before the build": (
        package(
            scripts={"postinstall": "nuxt prepare", "build": "nuxt build", "check": "vue-tsc"},
            devDependencies={"nuxt": "3.1.0"},
        ),
        START + "RUN npm ci\nRUN npm run check && npm run build\n",
        "what comes next is not the build",
    ),
    "what Nuxt prepares, and a script before the build reads": (
        package(
            scripts={"postinstall": "nuxt prepare", "prebuild": "vue-tsc", "build": "nuxt build"},
            devDependencies={"nuxt": "3.1.0"},
        ),
        START + "RUN npm ci\nRUN npm run build\n",
        "what comes next is not the build",
    ),
    "what Nuxt prepares for a server that is not built": (
        package(scripts={"postinstall": "nuxt prepare"}, dependencies={"nuxt": "3"}),
        START + 'RUN npm ci\nCMD ["npx", "nuxt", "dev"]\n',
        "what comes next is not the build",
    ),
    "what an unknown release of SvelteKit prepares": (
        package(
            scripts={"prepare": "svelte-kit sync", "build": "vite build"},
            devDependencies={"@sveltejs/kit": "1.0.0-next.1"},
        ),
        START + "RUN npm ci && npm run build\n",
        "runs `svelte-kit sync`",
    ),
    "what SvelteKit prepares elsewhere": (
        package(
            scripts={"prepare": "svelte-kit sync", "build": "if true; then vite build; fi"},
            devDependencies={"@sveltejs/kit": "2"},
        ),
        START + "RUN npm ci && npm run build\n",
        "what comes next is not the build",
    ),
    "hooks with a repository": (
        {**package(scripts={"prepare": "husky install"}), ".git/HEAD": ""},
        START + "RUN npm ci\n",
        "hooks into .git",
    ),
    "hooks of a package": (
        {**package(devDependencies={"yorkie": "2"}), ".git/HEAD": ""},
        START + "RUN npm ci\n",
        "hooks",
    ),
    "prepare builds": (package(scripts={"prepare": "npm run b", "b": "tsc"}), START + "RUN npm ci\n", "runs `tsc`"),
    "postinstall behind another command": (
        package(scripts={"postinstall": "echo a && ./x.sh"}),
        START + "RUN npm ci\n",
        "runs `./x.sh`",
    ),
    "modes of where the packages go": (
        {**PIP, "lib/x.py": ""},
        "FROM python:3.12\nENV PIP_TARGET=/app/lib/deps\nWORKDIR /app\nCOPY . .\nRUN chmod -R 755 lib\n"
        "RUN pip install -r requirements.txt\n",
        "may change",
    ),
    "modes of where the environment is": (
        {**PIP, "lib/x.py": ""},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN python -m venv lib/v\nENV PATH=/app/lib/v/bin:$PATH\n"
        "RUN chmod -R 755 lib\nRUN pip install -r requirements.txt\n",
        "may change",
    ),
    "a native module of the project": ({**NODE, "binding.gyp": ""}, START + "RUN npm ci\n", "binding.gyp"),
    "a folder as dependency": (
        package(dependencies={"x": "link:./x"}),
        START + "RUN npm ci\n",
        "folder of the project",
    ),
    "a folder as dependency, short": (
        package(dependencies={"x": "../x"}),
        START + "RUN npm ci\n",
        "folder of the project",
    ),
    "settings that name files": ({**NODE, ".npmrc": "cafile=ca.pem\n"}, START + "RUN npm ci\n", ".npmrc sets cafile"),
    "a workspace above": (
        {"package.json": {"workspaces": ["web"]}, **{f"web/{name}": content for name, content in NODE.items()}},
        START + "RUN cd web && npm ci\n",
        "lies above the folder of the install",
    ),
    "a program in a workspace": (
        {**package(workspaces=["a"]), "a/package.json": {"name": "a", "bin": "x.js"}},
        START + "RUN npm ci\n",
        "has a bin",
    ),
    "modules in a workspace": (
        {**package(workspaces=["a"]), "a/package.json": {"name": "a"}, "a/node_modules/x/i.js": ""},
        START + "RUN npm ci\n",
        "a/node_modules is in the context too",
    ),
    "a newer lockfile than npm": (
        NODE,
        START.replace("22", "14") + "RUN npm install\nRUN npm prune\n",
        "lockfileVersion 3",
    ),
    "npm 7 and its lockfile": (
        NODE,
        START.replace("22", "16.3-slim") + "RUN npm install\nRUN npm prune\n",
        "lockfileVersion 3",
    ),
    "peers that the install leaves out": (
        {**NODE, "package-lock.json": {**LOCK, "packages": {"": PACKAGE, "node_modules/b": {"peer": True}}}},
        START + 'RUN npm install --legacy-peer-deps\nCMD ["npm", "ci"]\n',
        "other rules for peer dependencies",
    ),
    "peers that the install adds": (
        {
            **NODE,
            "package-lock.json": {
                **LOCK,
                "packages": {"": PACKAGE, "node_modules/a": {"peerDependencies": {"b": "1"}}},
            },
        },
        START + "RUN npm install\nRUN npm prune\n",
        "other rules for peer dependencies",
    ),
    "the newest npm": (
        {**NODE, "package-lock.json": {**LOCK, "lockfileVersion": 1}},
        START.replace("22", "12") + "RUN npm install -g npm && npm install\nRUN npm prune\n",
        "lockfileVersion 1",
    ),
    "another npm": (NODE, START + "RUN npm install -g npm@6 && npm install\nRUN npm prune\n", "lockfileVersion 3"),
    "a lockfile of another version of the project": (
        {**NODE, "package.json": {**PACKAGE, "version": "2.0.0"}},
        START + "RUN npm install\nRUN npm prune\n",
        "does not fit package.json (version)",
    ),
    "a lockfile that a later install reads": (
        {**NODE, "package-lock.json": {**LOCK, "lockfileVersion": 1}},
        "FROM node:22 AS b\nWORKDIR /app\nCOPY . .\nRUN npm install\nRUN make && npm ci\n"
        "FROM nginx\nCOPY --from=b /app/d /x\n",
        "lockfileVersion 1",
    ),
    "the lockfile removed": (NODE, START + "RUN rm package-lock.json && npm install\n", "`rm package-lock.json`"),
    "a manifest changed": (NODE, START + "RUN sed -i s/a/b/ .npmrc2 *.json\nRUN npm ci\n", "`sed -i s/a/b/"),
    "a script in between": (NODE, START + "RUN ./start.sh\nRUN npm ci\n", "is a program of the sources"),
    "an unknown program in between": (NODE, START + "RUN make setup\nRUN npm ci\n", "may need the sources"),
    "sources read in between": (
        NODE,
        START + "RUN apt-get install -y $(cat src/a.js)\nRUN npm ci\n",
        "given a file of the sources",
    ),
    **{
        f"{pin} tells `{command}` a version": (
            {**NODE, pin: "20\n"},
            f"{START}RUN {command}\nRUN npm ci\n",
            f"`{command}` may read a version",
        )
        for command, pin in (
            ("rustup target add x", "rust-toolchain"),
            ("rustup show", "rust-toolchain.toml"),
            ("nvm install", ".nvmrc"),
            ("nvm install --no-progress", ".nvmrc"),
            ("nvm use $VERSION", ".nvmrc"),
            ("n auto", ".node-version"),
            ("n auto", ".n-node-version"),
            ("fnm use", ".nvmrc"),
            ("fnm install", ".node-version"),
        )
    },
    "a version in a folder above": (
        {f"web/{name}": content for name, content in NODE.items()} | {".nvmrc": "20\n"},
        START + "RUN cd web && nvm install && npm ci\n",
        "`nvm install` may read a version",
    ),
    "a version in a manifest that the install does not read": (
        {**PIP, "package.json": PACKAGE},
        START + "RUN n auto\nRUN pip install -r requirements.txt\n",
        "`n auto` may read a version",
    ),
    "a package manager in a manifest that the install does not read": (
        {**PIP, "package.json": PACKAGE},
        START + "RUN corepack enable && corepack prepare --activate\nRUN pip install -r requirements.txt\n",
        "`corepack prepare --activate` may read a version",
    ),
    **{
        f".python-version tells `{command}` a version": (
            {**PIP, ".python-version": "3.9\n"},
            f"FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN {command}\nRUN pip install -r requirements.txt\n",
            f"`{command}` may read a version",
        )
        for command in ("uv venv", "uv venv /opt/venv", "uv python install")
    },
    **{
        f"`{command}` starts a program": (NODE, f"{START}RUN {command}\nRUN npm ci\n", "may need the sources")
        for command in ("rustup run stable make", "n exec 18 make", "n use 18 x", "nvm exec 18 make", "fnm exec make")
    },
    "a copied archive": (
        {**NODE, "x.tar.gz": ""},
        START + "ADD x.tar.gz /opt\nRUN npm ci\n",
        "ADD may unpack x.tar.gz",
    ),
    "a download among the sources": (NODE, START + "ADD https://x.example/y ./\nRUN npm ci\n", "not in the context"),
    "another stage's files among the sources": (
        NODE,
        "FROM node:22 AS a\nFROM node:22\nWORKDIR /app\nCOPY . .\nCOPY --from=a /out/src ./src\nRUN npm ci\n",
        "covered by the sources",
    ),
    "a heredoc is not cut": (NODE, START + "RUN <<EOF\nset -e\nnpm ci\nmake\nEOF\n", "heredoc"),
    "a failure that does not count": (NODE, START + "RUN npm ci && make || true\n", "not joined to it by &&"),
    "a semicolon": (NODE, START + "RUN npm ci; make\n", "not joined to it by &&"),
    "what was installed, given away at the end": (
        NODE,
        START + "RUN npm ci && make && chown -R node:node .\n",
        "chown would store what was installed again",
    ),
    "a second install that may fail": (
        {"pyproject.toml": '[tool.poetry]\nname = "x"\n'},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN poetry install || true\n",
        "inside another command",
    ),
    "copies of different owners": (
        {**NODE, "lib/b.js": ""},
        "FROM node:22\nWORKDIR /app\nCOPY --chown=1 . .\nCOPY lib ./src\nRUN npm ci\n",
        "different flags",
    ),
    "in the background": (NODE, START + "RUN npm ci & make\n", "not joined to it by &&"),
    "pushd": (NODE, START + "RUN pushd . && npm ci && make\n", "sets variables"),
    "a variable": (NODE, START + "RUN X=1 && npm ci && make $X\n", "sets variables"),
    "an environment": (NODE, START + "RUN . ./env.sh && npm ci && make\n", "sets variables"),
    "a clean-up behind the build": (NODE, START + "RUN npm ci && make && npm prune\n", "cleans up"),
    "a mounted manifest": (
        NODE,
        START + "RUN --mount=type=bind,source=src,target=/app/src npm ci\n",
        "what is mounted here",
    ),
    "a relative destination and another folder": (
        {f"app/{name}": content for name, content in NODE.items()},
        "FROM node:22\nWORKDIR /srv\nCOPY app app\nWORKDIR /srv/app\nRUN npm ci\n",
        "relative to a working folder",
    ),
    "a variable that changes": (
        NODE,
        "FROM node:22\nENV D=/a\nCOPY . $D\nENV D=/b\nRUN cd /a && npm ci\n",
        "ENV changes what the copy means",
    ),
    "flags that are not known": (NODE, "FROM node:22\nCOPY --exclude=x . /a\nRUN cd /a && npm ci\n", "--exclude"),
    "a volume": (NODE, START + "VOLUME /app/src\nRUN npm ci\n", "VOLUME"),
    "a home folder": ({**NODE, ".ssh/config": ""}, "FROM node:22\nCOPY . /root\nRUN cd /root && npm ci\n", ".ssh"),
    "folders of the system": ({**NODE, "lib/a": ""}, "FROM node:22\nCOPY . /\nRUN npm ci\n", "lib of the context"),
    "owned differently": (NODE, START + "RUN chown -R node /app\nUSER node\nRUN npm ci\n", "`chown -R node /app`"),
    "a mode for all": (NODE, START + "RUN chmod -R 755 .\nRUN npm ci\n", "`chmod -R 755 .`"),
    "commands as another user": (NODE, START + "RUN chmod +x start.sh\nUSER node\nRUN npm ci\n", "`chmod +x start.sh`"),
    "requirements of the project": (
        {**PIP, "requirements.txt": "-e .[dev]\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "`-e .[dev]`",
    ),
    "requirements in a folder": (
        {**PIP, "requirements.txt": "libs/own\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "`libs/own`",
    ),
    "requirements by a file's address": (
        {**PIP, "requirements.txt": "own @ file:///app/own\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "own @ file",
    ),
    "wheels of the project": (
        {**PIP, "requirements.txt": "--find-links wheels\nx\n", "wheels/x.whl": ""},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "--find-links wheels",
    ),
    "wheels by the environment": (
        {**PIP, "wheels/x.whl": ""},
        "FROM python:3.12\nENV PIP_FIND_LINKS=/app/wheels\nWORKDIR /app\nCOPY . .\n"
        "RUN pip install -r requirements.txt\n",
        "PIP_FIND_LINKS names",
    ),
    "requirements that do not exist": (
        {"app.py": ""},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "does not come from the context",
    ),
    "a path in poetry": (
        {"pyproject.toml": '[tool.poetry.dependencies]\nx = {path = "x"}\n'},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN poetry install --no-root\n",
        "by path",
    ),
    "versions from git": (
        {"pyproject.toml": "[tool.poetry-dynamic-versioning]\nenable = true\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN poetry install\n",
        "plugin of poetry",
    ),
    "an environment in the context": (
        {"pyproject.toml": "[project]\nname = 'x'\n", ".venv/bin/python": ""},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN uv sync\n",
        ".venv is in the context too",
    ),
    "a lockfile of uv that may change": (
        {"pyproject.toml": "[project]\nname = 'x'\nversion = '1'\n", "uv.lock": "version = 1\n"},
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN uv sync\n",
        "use --locked",
    ),
    "an unknown plugin of composer": (
        {"composer.json": {}, "composer.lock": {"packages": [{"name": "a/b", "type": "composer-plugin"}]}},
        "FROM composer:2\nWORKDIR /app\nCOPY . .\nRUN composer install\n",
        "the plugin a/b",
    ),
    "a script of composer for each package": (
        {"composer.json": {"scripts": {"post-package-install": "x"}}, "composer.lock": {"packages": []}},
        "FROM composer:2\nWORKDIR /app\nCOPY . .\nRUN composer install\n",
        "post-package-install",
    ),
    "a replaced module that is not there": (
        {"go.mod": "module x\n\nreplace a => ../a\n"},
        "FROM golang:1.22\nWORKDIR /app\nCOPY . .\nRUN go mod download\n",
        "replaces a module by ../a",
    ),
    "another go.mod": (
        {"go.mod": "module a\n", "go.alt.mod": "module a\n", "main.go": ""},
        "FROM golang:1.22\nWORKDIR /app\nCOPY . .\nRUN go mod download -modfile=go.alt.mod\n",
        "the command names another go.mod",
    ),
    "a folder of NuGet packages": (
        {**DOTNET, "nuget.config": NUGET.replace("VALUE", "LocalPackages")},
        RESTORE,
        "nuget.config names folders of the project",
    ),
    "such a folder in single quotes": (
        {**DOTNET, "nuget.config": NUGET.replace('"VALUE"', "'..\\pkgs'")},
        RESTORE,
        "nuget.config names folders of the project",
    ),
    "a condition of MSBuild": (
        {"app.csproj": "<Project><PackageReference Condition=\"Exists('a.proto')\" /></Project>", "a.proto": ""},
        RESTORE,
        "app.csproj refers to other files",
    ),
    "a file above a project": (
        {"app.csproj": "<Project>$([MSBuild]::GetDirectoryNameOfFileAbove(., a.txt))</Project>", "a.txt": ""},
        RESTORE,
        "app.csproj refers to other files",
    ),
    "the programs of a member, as a folder": (
        {
            **NODE,
            "package.json": {**PACKAGE, "workspaces": ["a"]},
            "a/package.json": {"name": "a", "directories": {"bin": "bin"}},
            "a/bin/x": "",
        },
        START + "RUN npm ci\n",
        "has a bin",
    ),
    "a broken ignore file": ({**NODE, ".dockerignore": "[\n"}, START + "RUN npm ci\n", ".dockerignore is malformed"),
    "a manifest that is no JSON": (
        {**NODE, "package.json": "{"},
        START + "RUN npm ci\n",
        "package.json cannot be read",
    ),
}


@pytest.mark.parametrize("name", MOVED)
def test_the_install_comes_first(name: str, tmp_path: Path) -> None:
    files, before, after = MOVED[name]
    context = project(tmp_path, files)
    if "PowerShell" in name:
        (context / "requirements.txt").write_bytes("flask==3\n".encode("utf-16"))
    assert late_installs(parse(Source("Dockerfile", before)))
    result = run(before, context)
    assert result.source.text == after, result.refusals
    assert not late_installs(parse(result.source))
    assert not run(after, context).changes
    assert all(change.why.count("\n") == 0 for change in result.changes)


@pytest.mark.parametrize("name", REFUSED)
def test_a_reason_is_given(name: str, tmp_path: Path) -> None:
    files, text, reason = REFUSED[name]
    result = run(text, project(tmp_path, files))
    assert result.source.text == text
    assert len(result.refusals) == 1
    assert reason in result.refusals[0].reason


def test_what_a_project_of_dotnet_refers_to_comes_along(tmp_path: Path) -> None:
    files = {
        "App/App.csproj": "<Project><ProjectReference Include='..\\Lib\\Lib.csproj' /></Project>",
        "Lib/Lib.csproj": "<Project></Project>",
        "nuget.config": NUGET.replace("VALUE", "https://packages.example/v3/index.json"),
        "App/a.cs": "",
    }
    result = run(RESTORE.replace("restore", "restore App/App.csproj"), project(tmp_path, files))
    assert result.changes, result.refusals
    first = result.source.text.partition("RUN ")[0]
    assert all(name in first for name in ("App/App.csproj", "Lib/Lib.csproj", "nuget.config"))


PYTHON = {"requirements.txt": "flask\n", "other.txt": "", "certs/ca.pem": "", "wheels/a.whl": "", "main.py": ""}
NAMED = {
    "in ENV": "ENV PIP_CONSTRAINT=other.txt\nCOPY . .\nRUN pip install -r requirements.txt\n",
    "in ARG": "ARG PIP_CONSTRAINT=other.txt\nCOPY . .\nRUN pip install -r requirements.txt\n",
    "in the command's own environment": "COPY . .\nRUN PIP_CONSTRAINT=./other.txt pip install -r requirements.txt\n",
    "by env": "COPY . .\nRUN env PIP_FIND_LINKS=wheels pip install -r requirements.txt\n",
    "by export": "COPY . .\nRUN export PIP_CONSTRAINT=other.txt && pip install -r requirements.txt\n",
    "as a folder": "ENV PIP_FIND_LINKS=wheels PIP_NO_INDEX=1\nCOPY . .\nRUN pip install -r requirements.txt\n",
    "as certificates": "ENV REQUESTS_CA_BUNDLE=other.txt\nCOPY . .\nRUN pip install -r requirements.txt\n",
    "from another folder": "COPY . .\nRUN cd certs && PIP_CERT=ca.pem pip install -r ../requirements.txt\n",
}


@pytest.mark.parametrize("name", NAMED)
def test_what_a_variable_names_must_be_there(name: str, tmp_path: Path) -> None:
    text = f"FROM python:3.12\nWORKDIR /app\n{NAMED[name]}"
    result = run(text, project(tmp_path, PYTHON))
    assert result.source.text == text
    assert "names a file of the sources" in result.refusals[0].reason


def test_what_says_for_whom_the_build_is_names_no_folder(tmp_path: Path) -> None:
    context = project(tmp_path, {**PYTHON, "test/a.py": "", "app.py": ""})
    start = "FROM python:3.12\nENV NODE_ENV=test FLASK_APP=app.py\nWORKDIR /app\n"
    result = run(f"{start}COPY . .\nRUN pip install -r requirements.txt\n", context)
    assert result.changes


REWRITTEN: Mapping[str, tuple[Mapping[str, object], str]] = {
    "by a newer npm": ({**NODE, "package-lock.json": {**LOCK, "lockfileVersion": 1}}, "RUN npm install\nRUN make\n"),
    "for another version": ({**NODE, "package.json": {**PACKAGE, "version": "2"}}, 'RUN npm i\nCMD ["npm", "start"]\n'),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_it_is_said_that_the_image_has_the_lock_file_of_the_sources(name: str, tmp_path: Path) -> None:
    files, text = REWRITTEN[name]
    result = run(START + text, project(tmp_path, files))
    assert result.source.text.index("npm i") < result.source.text.index("COPY . .")
    assert "the image has package-lock.json as the sources have it" in result.changes[0].why


def test_a_linked_manifest_is_left_alone(tmp_path: Path) -> None:
    context = project(tmp_path, {"real/package.json": PACKAGE})
    (context / "package.json").symlink_to("real/package.json")
    result = run(START + "RUN npm install\n", context)
    assert not result.changes
    assert "package.json is a symbolic link" in result.refusals[0].reason


def test_without_a_context_nothing_is_shown() -> None:
    result = run(START + "RUN npm ci\n", None)
    assert not result.changes
    assert result.refusals[0].reason == "only the context tells what `npm ci` reads of the project: give --context"


def test_each_stage_on_its_own(tmp_path: Path) -> None:
    context = project(tmp_path, {**NODE, **PIP})
    python = "FROM python:3.12\nWORKDIR /py\nCOPY . .\nRUN pip install -r requirements.txt\n"
    result = run(START + "RUN npm ci\n" + python + "RUN ./build\n", context)
    assert [change.lines for change in result.changes] == [(3, 4), (7, 8)]
    assert not late_installs(parse(result.source))


# Arguments, without any context.
ARGUMENTS = {
    "below the packages": (
        "FROM debian:12\nARG GIT_SHA\nRUN apt-get update && apt-get install -y git\nRUN echo $GIT_SHA > /v\n",
        "FROM debian:12\nRUN apt-get update && apt-get install -y git\nARG GIT_SHA\nRUN echo $GIT_SHA > /v\n",
    ),
    "with its label": (
        "FROM debian:12\nARG REVISION\nLABEL rev=$REVISION\nRUN apk add git\nCMD x\n",
        "FROM debian:12\nRUN apk add git\nARG REVISION\nLABEL rev=$REVISION\nCMD x\n",
    ),
    "to what might read it": (
        "FROM debian:12\nARG COMMIT\nRUN apk add git\nRUN make\nRUN echo $COMMIT\n",
        "FROM debian:12\nRUN apk add git\nARG COMMIT\nRUN make\nRUN echo $COMMIT\n",
    ),
    "crlf": (
        "FROM debian:12\r\nARG COMMIT\r\nRUN apk add git\r\nRUN echo $COMMIT",
        "FROM debian:12\r\nRUN apk add git\r\nARG COMMIT\r\nRUN echo $COMMIT",
    ),
    "a version may be read by anything": ("FROM debian:12\nARG VERSION\nRUN apk add git\nRUN echo $VERSION\n", None),
    "a value that is meant to stay": ("FROM debian:12\nARG GIT_SHA=abc123\nRUN apk add git\nRUN echo $GIT_SHA\n", None),
    "used at once": ("FROM debian:12\nARG GIT_SHA\nRUN apk add git && echo $GIT_SHA\n", None),
    "hidden by ENV": ("FROM debian:12\nARG GIT_SHA\nENV GIT_SHA=1\nRUN apk add git\nRUN echo $GIT_SHA\n", None),
    "a label that is set again": (
        "FROM debian:12\nARG COMMIT\nLABEL a=$COMMIT\nRUN apk add git\nLABEL a=b\nRUN make\n",
        None,
    ),
    "unused here": ("FROM debian:12 AS a\nARG COMMIT\nRUN apk add git\nFROM a\nRUN echo $COMMIT\n", None),
    "the whole environment": ("FROM debian:12\nARG COMMIT\nRUN apk add git && env > /e\nRUN echo $COMMIT\n", None),
    "nothing is installed": ("FROM debian:12\nARG COMMIT\nRUN mkdir /a\nRUN echo $COMMIT\n", None),
    "by name of a name": ("FROM debian:12\nARG COMMIT\nRUN x=COMMI; apk add ${!x}\nRUN echo $COMMIT\n", None),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str) -> None:
    before, after = ARGUMENTS[name]
    result = run(before, None)
    assert result.source.text == (after or before)
    assert not run(result.source.text, None).changes


BLOCKS = st.sampled_from(
    [
        "COPY . .\n",
        "COPY . /app\n",
        "# the sources\nADD . /app/\n",
        "COPY package*.json ./\n",
        "COPY src ./src\n",
        "COPY --chown=node:node . .\n",
        "COPY nginx.conf /etc/nginx.conf\n",
        "RUN npm ci\n",
        "RUN npm ci && npm run build\n",
        "RUN npm install \\\n    # why\n    && npm run build \\\n    && npm test\n",
        "RUN cd web && npm ci && npm run build\n",
        "RUN set -ex; npm ci; make\n",
        "RUN pip install -r requirements.txt\n",
        "RUN pip install -U pip && pip install -r requirements.txt && python setup.py install\n",
        "RUN apt-get update && apt-get install -y git\n",
        "RUN chmod +x start.sh\n",
        "RUN chown -R node:node /app\n",
        "RUN make\n",
        "USER node\n",
        "WORKDIR /app\n",
        "WORKDIR web\n",
        "ENV A=b\n",
        "ARG GIT_SHA\n",
        "LABEL a=$GIT_SHA\n",
        "RUN echo $GIT_SHA\n",
        "\n",
        "# a comment\n",
        "FROM python:3.12 AS b\n",
        "FROM node:22\n",
        "COPY --from=0 /app/dist ./dist\n",
        "VOLUME /data\n",
        'CMD ["x"]\n',
    ]
)


@settings(deadline=None, max_examples=300)
@given(blocks=st.lists(BLOCKS, max_size=10))
def test_generated_files_keep_their_instructions(blocks: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    context = tmp_path_factory.getbasetemp() / "generated"
    if not context.exists():
        nested = {f"web/{name}": content for name, content in NODE.items()}
        project(context, {**NODE, **PIP, **nested, "nginx.conf": "", "setup.py": ""})
    text = f"FROM node:22\n{''.join(blocks)}"
    before = parse(Source("Dockerfile", text))
    result = run(text, context)
    after = parse(result.source)
    assert not after.errors
    assert not run(result.source.text, context).changes
    assert sorted(_others(before)) == sorted(item for item in _others(after) if item not in _manifests(before, after))
    assert _commands(before) == _commands(after)
    assert len(result.source.text.split("#")) == len(text.split("#"))


def _others(dockerfile: Dockerfile) -> list[str]:
    """All but RUN, and the owners that a copy may be given."""
    found = [item.logical.text for item in dockerfile.instructions if item.keyword != "RUN"]
    return [item.replace(" --chown=node:node", "") for item in found]


def _manifests(before: Dockerfile, after: Dockerfile) -> list[str]:
    """The copies that were added: each names manifests alone."""
    return [
        item
        for item in _others(after)
        if item not in _others(before)
        and all(word.endswith((".json", ".txt")) for word in item.split()[1:-1])
        and item.startswith("COPY")
    ]


def _commands(dockerfile: Dockerfile) -> list[str]:
    """The commands of all RUN, in whatever order; ``cd`` and ``set`` may be said again."""
    words = " ; ".join(item.arguments.text for item in dockerfile.instructions if item.keyword == "RUN")
    found = [" ".join(part.split()) for part in words.replace("&&", ";").split(";")]
    return sorted(part for part in found if not part.startswith(("cd ", "set ")))


def test_a_file_that_ends_with_the_install_and_no_line_break(tmp_path: Path) -> None:
    (tmp_path / "composer.json").write_text("{}")
    (tmp_path / "composer.lock").write_text("{}")
    (tmp_path / "index.php").write_text("<?php\n")
    text = "FROM php:8.2-cli\nWORKDIR /app\nCOPY . .\nRUN composer install"
    result = optimize(Source("Dockerfile", text), tmp_path, only=("order_layers",))
    assert result.source.text == (
        "FROM php:8.2-cli\nWORKDIR /app\nCOPY composer.json composer.lock ./\n"
        "RUN composer install --no-scripts --no-autoloader\nCOPY . .\nRUN composer install"
    )
