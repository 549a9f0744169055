"""Rules about caches: what cannot be fixed, and near misses that would crowd the fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source


def found(rule: str, text: str) -> list[Finding]:
    return lint(Source("Dockerfile", text), LintSettings(select=(rule,)))


PIP = "RUN --mount=type=cache,target=/root/.cache/pip"
UNFIXABLE = [
    ("cache-mount-defeated", f"FROM python:3\n{PIP} pip install \\\n# why\n --no-cache-dir x", "the comment would go"),
    ("cache-mount-defeated", f"FROM python:3\n{PIP} PIP_NO_CACHE_DIR=1 pip install x", "a variable of the command"),
    ("cache-mount-defeated", f"FROM python:3\nENV PIP_NO_CACHE_DIR=on\n{PIP} pip install x", "ENV may be needed"),
    ("cache-mount-defeated", f"FROM python:3\n{PIP} pip install x; rm -rf /root/.cache/pip/*", "rm hides a failure"),
    ("cache-mount-defeated", f"FROM python:3\n{PIP} pip install x && (pip cache purge)", "in a subshell"),
    (
        "cache-mount-defeated",
        f"FROM python:3\n{PIP} bash -c 'pip install '\\''x'\\'' --no-cache-dir'",
        "in a quoted script",
    ),
    (
        "cache-mount-defeated",
        "FROM alpine\nRUN --mount=type=cache,target=/var/cache/apk apk add --no-cache x",
        "apk then needs an index",
    ),
    (
        "apt-cache-mount-emptied-by-docker-clean",
        "FROM debian:12\nRUN --mount=type=cache,target=/var/cache/apt apt-get install x\nCOPY x /etc/apt/apt.conf.d/",
        None,
    ),
    ("cache-mount-wrong-directory", "FROM x\nRUN --mount=type=cache,target=~/.npm npm ci", "whose home is not known"),
    (
        "cache-mount-wrong-directory",
        "FROM python:3\nRUN --mount=type=cache,target=/root/.cache/pip uv pip install x",
        "the cache of another manager",
    ),
    (
        "cache-mount-wrong-directory",
        "FROM debian:12\nRUN --mount=type=cache,target=/var/cache/apk,sharing=locked apt-get update",
        "the cache of another distribution",
    ),
    (
        "cache-mount-wrong-directory",
        "FROM node:22\nRUN corepack enable\nRUN --mount=type=cache,target=/root/.cache/yarn yarn install",
        "which yarn it is nobody knows here",
    ),
    (
        "cache-mount-for-another-user",
        "FROM python:3\nUSER app\nRUN --mount=type=cache,target=/root/.cache/pip pip install x",
        "whose uid is not known",
    ),
    (
        "cache-mount-wrong-directory",
        "FROM debian:12\nRUN --mount=type=cache,target=/var/apt/cache apt-get update && apt-get install -y x",
        "which of its folders is meant nobody knows",
    ),
    (
        "cache-mount-for-another-user",
        "FROM python:3\nUSER app\nRUN --mount=type=cache,target=/home/app/.cache/pip pip install x",
        "whose uid is not known",
    ),
    ("copy-before-install", "FROM node:22\nCOPY . .\nRUN npm ci", "where the manifests are nobody here knows"),
    ("cache-mount-missing", "FROM python:3\nRUN pip install x", "that is what optimize is for"),
]


@pytest.mark.parametrize(("rule", "text", "why"), UNFIXABLE)
def test_what_cannot_be_fixed_is_left(rule: str, text: str, why: str | None) -> None:
    assert [item.fix for item in found(rule, text)] == ([None] if why else []), why
    source = Source("Dockerfile", text)
    assert fix(source, LintSettings(select=(rule,)), unsafe=True).source == source


SILENT = [
    ("copy-before-install", "FROM node:22\nCOPY . .\nRUN --network=none npm ci", "no downloads"),
    ("copy-before-install", "FROM node:22\nCOPY --from=x . .\nRUN npm ci", "not the context"),
    ("copy-before-install", "FROM node:22\nCOPY . /app\nRUN cd /other && npm ci", "another folder"),
    ("copy-before-install", "FROM node:22\nCOPY . /app\nRUN cd $X && npm ci", "an unknown folder"),
    ("copy-before-install", "FROM python:3\nCOPY . .\nRUN pip install -r $FILE", "an unknown manifest"),
    ("copy-before-install", "FROM python:3\nCOPY . .\nRUN pip install -r https://example.org/r.txt", "a remote one"),
    (
        "copy-before-install",
        "FROM python:3\nCOPY . .\nRUN echo x > requirements.txt; pip install -r requirements.txt",
        "",
    ),
    ("copy-before-install", "FROM golang\nCOPY . .\nRUN go build ./... && go mod tidy", "needs the sources"),
    ("copy-before-install", "FROM golang\nCOPY . .\nRUN go mod download example.org/x@v1", "one by name"),
    (
        "copy-before-install",
        "FROM rust\nCOPY . .\nRUN cargo install --path . && cargo build --offline",
        "no manifest alone",
    ),
    ("copy-before-install", "FROM maven\nCOPY . .\nRUN mvn clean && mvn -o package && ./mvnw test", "offline"),
    ("copy-before-install", "FROM node\nONBUILD COPY . .\nONBUILD RUN npm ci", "another build"),
    ("copy-before-install", "FROM node\nCOPY package.json .\nCOPY . .\nFROM node\nRUN npm ci", "another stage"),
    (
        "cache-mount-wrong-directory",
        "FROM python:3\nRUN --mount=type=cache,target=/root/.cache/pip uv pip install x && make",
        "make may run pip",
    ),
    (
        "cache-mount-wrong-directory",
        "FROM maven:3\nENV HOME=/a\nRUN --mount=type=cache,target=/root/.m2 mvn package",
        "Java asks the user database",
    ),
    (
        "cache-mount-wrong-directory",
        "FROM node:22\nENV HOME=/a\nRUN --mount=type=cache,target=/usr/local/share/.cache/yarn yarn",
        "root's, whatever HOME says",
    ),
    (
        "cache-mount-hides-needed-files",
        "FROM x\nRUN --mount=type=cache,target=/root/.nuget/packages dotnet restore --packages /p\n"
        "ENV NUGET_PACKAGES=/p\nRUN dotnet build --no-restore",
        "restored elsewhere",
    ),
    (
        "cache-mount-hides-needed-files",
        "FROM node\nWORKDIR /a\nRUN --mount=type=cache,target=/a/node_modules npm ci && cp -r node_modules /b\n"
        'COPY . /a/node_modules/\nCMD ["npm", "start"]',
        "something is copied there",
    ),
    (
        "cache-mount-for-another-user",
        "FROM python:3\nRUN --mount=type=cache,target=/c/.npm chown -R 5 /c/.npm\nUSER 5\n"
        "RUN --mount=type=cache,target=/c/.npm npm ci",
        "it was given away",
    ),
    (
        "copy-before-install",
        "FROM node\nCOPY --from=deps /a/node_modules node_modules\nCOPY . .\nRUN npm ci",
        "brought",
    ),
    ("copy-before-install", "FROM node\nCOPY pnpm-lock.yaml .\nRUN pnpm fetch\nCOPY . .\nRUN pnpm install", "fetched"),
    (
        "copy-before-install",
        "FROM rust\nCOPY --from=plan /r.json .\nRUN cargo chef cook --release\nCOPY . .\nRUN cargo build --release",
        "built before",
    ),
    ("copy-before-install", "FROM gradle\nCOPY *.gradle .\nRUN gradle help\nCOPY . .\nRUN gradle build", "fetched"),
    (
        "copy-before-install",
        "FROM maven\nCOPY pom.xml .\nRUN mvn a.b:go-offline-maven-plugin:resolve\nCOPY . .\nRUN mvn package",
        "fetched",
    ),
    ("cache-mount-missing", "FROM python:3\nRUN {{ cookiecutter.x }} pip install x", "a template"),
    ("cache-mount-missing", "# syntax=docker/dockerfile:1.0\nFROM python:3\nRUN pip install x", "no mounts there"),
    ("cache-mount-missing", "FROM python:3\nRUN pip install x\nCOPY", "a broken file"),
]


@pytest.mark.parametrize(("rule", "text", "why"), SILENT)
def test_near_misses_stay_silent(rule: str, text: str, why: str) -> None:
    assert found(rule, text) == [], why


@pytest.mark.parametrize(
    ("line", "count"), [("flask==3.1", 1), ("-e .", 0), ("./lib", 0), (".[dev]", 0), ("-r x.txt", 1)]
)
def test_requirements_that_are_the_sources_themselves(tmp_path: Path, line: str, count: int) -> None:
    (tmp_path / "requirements.txt").write_text(f"requests\n{line}\n")
    source = Source(str(tmp_path / "Dockerfile"), "FROM python:3\nCOPY . .\nRUN pip install -r requirements.txt\n")
    assert len(lint(source, LintSettings(select=("copy-before-install",)))) == count


def test_packages_of_the_same_repository_need_the_sources(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"a": "file:packages/a"}}')
    source = Source(str(tmp_path / "Dockerfile"), "FROM node:22\nCOPY . .\nRUN npm ci\n")
    assert lint(source, LintSettings(select=("copy-before-install",))) == []


@pytest.mark.parametrize(
    "text",
    [
        "COPY . .\nRUN sh -c 'pip install -r requirements.txt'",
        "COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules\nCOPY . .\nRUN npm install",
        "COPY ./backend ./app\nWORKDIR /app\nRUN python3 -m poetry install",
        "COPY . .\nRUN mix deps.get --only prod",
        "ADD ./ /a/\nWORKDIR /a\nRUN yarn --frozen-lockfile && yarn build",
        "COPY web /w\nRUN npm --prefix /w ci",
        "COPY package.json .\nCOPY . .\nRUN pnpm i --frozen-lockfile",
        "COPY --chown=1:1 . /s\nWORKDIR /s/x\nRUN dotnet publish -c Release",
        "COPY . .\nRUN gradle build --no-daemon -x test",
        "COPY . .\nRUN ./mvnw -q package",
        "COPY . .\nRUN pip install -U pip && python3 -m pip install --user -r requirements.txt",
        "COPY . .\nRUN cd sub && bundle install --jobs 4",
    ],
)
def test_installs_of_many_kinds_are_found(text: str) -> None:
    assert len(found("copy-before-install", f"FROM x\n{text}\n")) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FROM python:3\nRUN --mount=type=cache,target=~/pip/.cache pip install x", "/root/.cache/pip"),
        ("FROM python:3\nRUN --mount=type=cache,target=~/.cache pip install x", "/root/.cache"),
        ("FROM rust:1\nRUN --mount=type=cache,target=$HOME/.cargo/registry cargo build", "/usr/local/cargo/registry"),
        ("FROM golang:1\nRUN --mount=type=cache,target=${HOME}/go go build .", "/go"),
        ("FROM node:22\nUSER node\nRUN --mount=type=cache,target=~/.npm npm ci", "/home/node/.npm"),
        ("FROM node:22\nENV HOME=/h\nRUN --mount=type=cache,target=~/.npm npm ci", "/h/.npm"),
        (
            "FROM node:22\nENV HOME=/h\nRUN --mount=type=cache,target=/h/.cache/yarn yarn",
            "/usr/local/share/.cache/yarn",
        ),
        ("FROM composer:2\nRUN --mount=type=cache,target=/root/.composer/cache composer install", "/tmp/cache"),
    ],
)
def test_the_right_folder_is_named(text: str, wanted: str) -> None:
    [finding] = found("cache-mount-wrong-directory", text)
    assert finding.fix is not None and finding.fix.title == f"mount {wanted}"


def test_modules_that_lead_into_a_mount() -> None:
    mount = "RUN --mount=type=cache,target=/app/node_modules/.pnpm pnpm install"
    text = f"FROM node:22\nWORKDIR /app\n{mount}\nCOPY . .\nRUN pnpm build\n"
    assert len(found("cache-mount-hides-needed-files", text)) == 1
