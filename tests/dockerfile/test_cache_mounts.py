"""Cache mounts, manager by manager: where they go, what defeats them, what speaks against them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.rules import (
    apt_cache_mount_emptied_by_docker_clean,
    cache_mount_defeated,
    cache_mount_for_another_user,
    cache_mount_hides_needed_files,
    cache_mount_without_lock,
    cache_mount_wrong_directory,
    copy_before_install,
    late_argument_declared_early,
)
from buildopt.settings import LintSettings
from buildopt.source import Source

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((ROOT / "fixtures" / "passes").glob("*/*/before.Dockerfile"))
RULES = (
    apt_cache_mount_emptied_by_docker_clean,
    cache_mount_defeated,
    cache_mount_for_another_user,
    cache_mount_hides_needed_files,
    cache_mount_without_lock,
    cache_mount_wrong_directory,
    late_argument_declared_early,
)
JAR = 'FROM eclipse-temurin:17-jre\nCOPY --from=b /app.jar /\nCMD ["java", "-jar", "/app.jar"]\n'
BINARY = 'FROM debian:12\nCOPY --from=b /app /app\nCMD ["/app"]\n'
NODE = 'CMD ["node", "x.js"]\n'


def run(text: str, context: Path | None = None) -> Optimized:
    return optimize(Source("Dockerfile", text), context, only=("cache_mounts",))


def findings(text: str) -> set[tuple[str, str]]:
    dockerfile = parse(Source("Dockerfile", text))
    return {(rule.NAME, found.message) for rule in RULES for found in rule.check(dockerfile, LintSettings())}


# What each RUN becomes: the flags without their common start, and the command.
MOUNTED = {
    "apk": (
        "FROM alpine\nRUN apk add --no-cache git\n",
        "id=apk-alpine-$TARGETPLATFORM,target=/etc/apk/cache,sharing=locked",
        "apk add --update-cache git",
    ),
    "apk that asks for an index already": (
        "FROM alpine\nRUN apk add -U --no-cache git && rm -rf /var/cache/apk/*\n",
        "id=apk-alpine-$TARGETPLATFORM,target=/etc/apk/cache,sharing=locked",
        "apk add -U git",
    ),
    "apk after an update": (
        "FROM alpine\nRUN apk update && apk add git && rm -rf /var/cache/apk/*\n",
        "id=apk-alpine-$TARGETPLATFORM,target=/etc/apk/cache,sharing=locked",
        "apk update && apk add git",
    ),
    "apk without an index": (
        "FROM alpine\nRUN apk add git\n",
        "id=apk-alpine-$TARGETPLATFORM,target=/etc/apk/cache,sharing=locked",
        "apk add --update-cache git",
    ),
    "apk on the builder's own platform": (
        f"FROM --platform=$BUILDPLATFORM alpine:3.20 AS b\nRUN apk add --no-cache git\n{BINARY}",
        "id=apk-alpine-3.20,target=/etc/apk/cache,sharing=locked",
        "apk add --update-cache git",
    ),
    "dnf of a new Fedora": (
        "FROM fedora:42\nRUN dnf -y install git && dnf clean all && rm -rf /var/cache/dnf\n",
        "id=dnf-$TARGETPLATFORM,target=/var/cache/libdnf5,sharing=locked",
        "dnf -y install --refresh --setopt=keepcache=1 git",
    ),
    "dnf of Rocky": (
        "FROM rockylinux:9\nRUN dnf install -y git make && dnf clean all\n",
        "id=dnf-$TARGETPLATFORM,target=/var/cache/dnf,sharing=locked",
        "dnf install -y --refresh --setopt=keepcache=1 git make",
    ),
    "yum of CentOS 7": (
        "FROM centos:7\nRUN yum -y install git && yum clean all && rm -rf /var/cache/yum\n",
        "id=dnf-$TARGETPLATFORM,target=/var/cache/yum,sharing=locked",
        "yum -y install --setopt=keepcache=1 git",
    ),
    "yum of Amazon Linux 2023": (
        "FROM amazonlinux:2023\nRUN yum install -y git\n",
        "id=dnf-$TARGETPLATFORM,target=/var/cache/dnf,sharing=locked",
        "yum install -y --refresh --setopt=keepcache=1 git",
    ),
    "microdnf of UBI": (
        "FROM registry.access.redhat.com/ubi9/ubi-minimal\nRUN microdnf install -y git && microdnf clean all\n",
        "id=dnf-$TARGETPLATFORM,target=/var/cache/yum,sharing=locked",
        "microdnf install -y git",
    ),
    "zypper": (
        "FROM opensuse/leap:15.5\nRUN zypper -n install git && zypper clean -a\n",
        "id=zypper-leap-15.5-$TARGETPLATFORM,target=/var/cache/zypp,sharing=locked",
        "zypper -n install git",
    ),
    "pacman": (
        "FROM archlinux\nRUN pacman -Syu --noconfirm git && pacman -Scc --noconfirm\n",
        "target=/var/cache/pacman/pkg,sharing=locked",
        "pacman -Syu --noconfirm git",
    ),
    "uv": (
        'FROM python:3.12\nRUN uv sync --frozen --no-cache && uv cache clean\nCMD ["uv", "run", "app.py"]\n',
        "target=/root/.cache/uv",
        "uv sync --frozen",
    ),
    "uv moved": (
        "FROM python:3.12\nENV UV_CACHE_DIR=/opt/uv\nRUN uv pip install --system x && rm -rf $UV_CACHE_DIR\n",
        "target=/opt/uv",
        "uv pip install --system x",
    ),
    "poetry's whole folder, with its environments elsewhere": (
        "FROM python:3.12\nENV POETRY_VIRTUALENVS_IN_PROJECT=1 POETRY_CACHE_DIR=/tmp/c\n"
        'RUN poetry install --no-root && rm -rf "$POETRY_CACHE_DIR"\nCMD ["poetry", "run", "x"]\n',
        "target=/tmp/c",
        "poetry install --no-root",
    ),
    "poetry's whole folder, with its environments elsewhere by configuration": (
        "FROM python:3.12\nRUN poetry config virtualenvs.create false && poetry install && rm -rf ~/.cache/pypoetry\n",
        "target=/root/.cache/pypoetry",
        "poetry config virtualenvs.create false && poetry install",
    ),
    "pdm": ("FROM python:3.12\nRUN pdm sync --prod\n", "target=/root/.cache/pdm", "pdm sync --prod"),
    "pipenv": (
        "FROM python:3.12\nRUN pipenv install --system --deploy --clear\n",
        "target=/root/.cache/pipenv",
        "pipenv install --system --deploy",
    ),
    "pip and the folder above its cache": (
        "FROM python:3.12\nRUN pip install x && rm -rf /root/.cache /tmp/x\n",
        "target=/root/.cache/pip",
        "pip install x && rm -rf /tmp/x",
    ),
    "pip as a user that the file makes": (
        "FROM python:3.12\nRUN useradd -mu 1234 app\nUSER app\nRUN pip install --no-cache-dir x\n",
        "target=/home/app/.cache/pip,uid=1234,gid=1234",
        "pip install x",
    ),
    "pip as a number with a home folder": (
        "FROM python:3.12\nENV HOME=/data\nUSER 1001:0\nRUN pip install x\n",
        "target=/data/.cache/pip,uid=1001,gid=0",
        "pip install x",
    ),
    "pip on another C library": (
        "FROM python:3.12-alpine\nRUN pip install x\n",
        "id=pip-alpine,target=/root/.cache/pip",
        "pip install x",
    ),
    "pnpm on another C library": (
        f"FROM node:20-alpine\nRUN pnpm install\n{NODE}",
        "id=pnpm-alpine,target=/root/.local/share/pnpm/store",
        "pnpm install",
    ),
    "conda": (
        "FROM continuumio/miniconda3\nRUN conda env create -f e.yml && conda clean -afy\n",
        "target=/opt/conda/pkgs,sharing=locked",
        "conda env create -f e.yml",
    ),
    "yarn 1 as root": (
        f"FROM node:20\nRUN yarn install --frozen-lockfile && yarn cache clean\n{NODE}",
        "target=/usr/local/share/.cache/yarn,sharing=locked",
        "yarn install --frozen-lockfile",
    ),
    "yarn 1 moved": (
        f"FROM node:20\nENV YARN_CACHE_FOLDER=/y\nUSER node\nRUN yarn install --production\n{NODE}".replace(
            "/y", "/tmp/y"
        ),
        "target=/tmp/y,sharing=locked,uid=1000,gid=1000",
        "yarn install --production",
    ),
    "pnpm": (
        'FROM node:20\nENV PNPM_HOME="/pnpm"\nRUN pnpm install --prod && pnpm store prune\nCMD ["pnpm", "start"]\n',
        "target=/pnpm/store",
        "pnpm install --prod",
    ),
    "pnpm without a home": (
        f"FROM node:20\nRUN pnpm install\n{NODE}",
        "target=/root/.local/share/pnpm/store",
        "pnpm install",
    ),
    "npm, and a container that starts what is installed": (
        'FROM node:20\nUSER node\nWORKDIR /home/node\nCOPY package*.json ./\nRUN npm ci\nCMD ["npx", "serve"]\n',
        "target=/home/node/.npm,uid=1000,gid=1000",
        "npm ci",
    ),
    "conda moved": (
        "FROM condaforge/miniforge3\nENV CONDA_PKGS_DIRS=/p\nRUN mamba install -y x && mamba clean -a\n",
        "target=/p,sharing=locked",
        "mamba install -y x",
    ),
    "bun": (
        'FROM oven/bun\nRUN bun install --production --no-cache\nCMD ["bun", "run", "x.ts"]\n',
        "target=/root/.bun/install/cache",
        "bun install --production",
    ),
    "cargo": (
        f"FROM rust:1 AS b\nRUN cargo build --release && rm -rf $CARGO_HOME/registry\n{BINARY}",
        "target=/usr/local/cargo/registry,sharing=locked",
        "cargo build --release",
    ),
    "cargo of a distribution": (
        f"FROM alpine AS b\nRUN cargo +nightly build --release\n{BINARY}",
        "target=/root/.cargo/registry,sharing=locked",
        "cargo +nightly build --release",
    ),
    "maven": (
        f"FROM maven:3 AS b\nRUN mvn -B package\n{JAR}",
        "target=/root/.m2/repository,sharing=locked",
        "mvn -B package",
    ),
    "maven's wrapper": (
        f"FROM eclipse-temurin:17 AS b\nRUN ./mvnw -B install\n{JAR}",
        "target=/root/.m2/repository,sharing=locked",
        "./mvnw -B install",
    ),
    "maven, and folders taken out of a jar": (
        "FROM eclipse-temurin:17 AS b\nRUN ./mvnw install -DskipTests\nRUN mkdir d && (cd d; jar -xf ../target/*.jar)\n"
        "FROM eclipse-temurin:17\nARG D=/d\nCOPY --from=b ${D}/BOOT-INF/lib /app/lib\n"
        'ENTRYPOINT ["java", "-cp", "app:app/lib/*", "hello.Application"]\n',
        "target=/root/.m2/repository,sharing=locked",
        "./mvnw install -DskipTests",
    ),
    "gradle, where root's folder is a link": (
        f"FROM gradle:8-jdk17 AS b\nRUN gradle build\n{JAR}",
        "target=/home/gradle/.gradle/caches,sharing=locked",
        "gradle build",
    ),
    "gradle's wrapper": (
        f"FROM openjdk:17 AS b\nCOPY gradle.properties /root/.gradle/\nRUN ./gradlew build\n{JAR}",
        "target=/root/.gradle/caches,sharing=locked",
        "./gradlew build",
    ),
    ".NET": (
        'FROM mcr.microsoft.com/dotnet/sdk:8.0\nRUN dotnet publish -o /out\nCMD ["dotnet", "/out/a.dll"]\n',
        "target=/root/.nuget/packages,sharing=locked",
        "dotnet publish -o /out",
    ),
    ".NET that restores in the same RUN": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\n"
        "RUN dotnet restore && dotnet publish --no-restore -o /out && dotnet nuget locals all --clear\n"
        "FROM mcr.microsoft.com/dotnet/aspnet:8.0\nCOPY --from=b /out .\n",
        "target=/root/.nuget/packages,sharing=locked",
        "dotnet restore && dotnet publish --no-restore -o /out",
    ),
    "composer's image": (
        "FROM composer:2 AS b\nRUN composer install --no-dev\nFROM php:8\nCOPY --from=b /app/vendor /vendor\n",
        "target=/tmp/cache",
        "composer install --no-dev",
    ),
    "composer in another image": (
        "FROM php:8\nRUN composer install --no-cache && composer clear-cache\n",
        "target=/root/.composer/cache",
        "composer install",
    ),
    "bundler": (
        'FROM ruby:3.3\nRUN bundle install && rm -rf /usr/local/bundle/cache/*.gem\nCMD ["bundle", "exec", "puma"]\n',
        "target=/usr/local/bundle/cache,sharing=locked",
        "bundle install",
    ),
    "mix": (
        "FROM elixir:1.16\nRUN mix deps.get --only prod\n",
        "target=/root/.hex/packages",
        "mix deps.get --only prod",
    ),
    "cabal": (
        f"FROM haskell:9 AS b\nENV CABAL_DIR=/c\nRUN cabal update && cabal build\n{BINARY}",
        "target=/c/packages,sharing=locked",
        "cabal update && cabal build",
    ),
    "stack": (
        f"FROM haskell:9 AS b\nRUN stack build\n{BINARY}",
        "target=/root/.stack/pantry,sharing=locked",
        "stack build",
    ),
    "ccache": (
        f'FROM debian:12 AS b\nENV CCACHE_DIR=/ccache CC="ccache gcc"\nRUN make -j4\n{BINARY}',
        "target=/ccache",
        "make -j4",
    ),
    "sccache": (
        f"FROM debian:12 AS b\nENV SCCACHE_DIR=/s RUSTC_WRAPPER=/usr/bin/sccache\nRUN make && sccache -s\n{BINARY}",
        "target=/s",
        "make && sccache -s",
    ),
    "swift": (
        f"FROM swift:5.9 AS b\nRUN swift build -c release\n{BINARY}",
        "target=/root/.cache/org.swift.swiftpm,sharing=locked",
        "swift build -c release",
    ),
}


@pytest.mark.parametrize("name", MOUNTED)
def test_mounted(name: str) -> None:
    text, flag, command = MOUNTED[name]
    result = run(text)
    assert f"RUN --mount=type=cache,{flag} \\\n    {command}\n" in result.source.text, (
        result.source.text,
        result.refusals,
    )
    assert not result.refusals
    assert result.source.text.count("ARG TARGETPLATFORM") == flag.count("$TARGETPLATFORM")
    assert not run(result.source.text).changes
    assert findings(result.source.text) <= findings(text)


REFUSED = {
    "the folder above a cache, which only the install makes": (
        f"FROM node:20\nENV NPM_CONFIG_CACHE=/cache/npm\nRUN npm ci\nRUN chown -R node /cache\nUSER node\n{NODE}",
        "needs /cache, which only the install makes",
    ),
    "owners of a cache": (
        f"FROM node:20\nRUN npm ci\nRUN chown -R node:node /root/.npm && ls\n{NODE}",
        "needs /root/.npm, which only the install makes",
    ),
    "the folder above two caches": (
        "FROM python:3.12\nRUN pip install x\nRUN cd ~/.cache && chmod -R a+rX .\n",
        "needs /root/.cache, which only the install makes",
    ),
    "apk: packages of no repository": ("FROM alpine\nRUN apk add --no-cache ./x.apk\n", "package of no repository"),
    "apk: a command that asks for the platform": (
        'FROM alpine\nRUN apk add --no-cache git\nRUN [ -n "$TARGETPLATFORM" ] || exit 0\n',
        "it asks for TARGETPLATFORM",
    ),
    "apk: a cache of the image": (
        "FROM alpine\nRUN mkdir /etc/apk/cache && apk add --no-cache git\n",
        "decides what apk keeps",
    ),
    "apk: another root": ("FROM alpine\nRUN apk add --root /r --no-cache git\n", "puts the cache elsewhere"),
    "apk: a container that installs": (
        "FROM alpine\nRUN apk update && apk add x\nCMD apk add $MORE && sh\n",
        "runs apk in the container",
    ),
    "apk: the folder above removed": ("FROM alpine\nRUN apk add x && rm -rf /etc/apk\n", "which would be a mount"),
    "dnf: which Fedora": ("ARG V=42\nFROM fedora:$V\nRUN dnf install -y x\n", "is not known"),
    "dnf: an unknown image": ("FROM acme/base\nRUN dnf install -y x\n", "is not known"),
    "dnf: two folders": ("FROM acme/base\nRUN tdnf install -y x\n", "is not known"),
    "dnf: packages for later": ("FROM fedora:40\nRUN dnf install -y --downloadonly x\n", "with --downloadonly"),
    "dnf: another root": ("FROM fedora:40\nRUN dnf install -y --installroot /r x\n", "puts the cache elsewhere"),
    "dnf: packages copied": (
        "FROM fedora:40 AS a\nRUN dnf install -y x\nFROM fedora:40\nCOPY --from=a /var/cache/dnf /c\n",
        "takes /var/cache/dnf along",
    ),
    "pacman: packages copied": (
        "FROM archlinux\nRUN pacman -S --noconfirm x\nRUN cp /var/cache/pacman/pkg/* /r\n",
        "reads /var/cache/pacman/pkg",
    ),
    "zypper: an unknown distribution": ("FROM acme/base\nRUN zypper -n in x\n", "is not known"),
    "pip: other settings of a build": (
        'FROM python:3.12\nRUN CMAKE_ARGS="-DGGML_CUDA=on" pip install llama-cpp-python\n',
        "what is built with CMAKE_ARGS",
    ),
    "pip: other settings of builds in ENV": (
        "FROM python:3.12\nENV TORCH_CUDA_ARCH_LIST=8.0\nRUN pip install x\n",
        "what is built with TORCH_CUDA_ARCH_LIST",
    ),
    "pip: a program that may write beside the cache": (
        "FROM python:3.12\nRUN useradd -m -u 1000 app\nUSER app\nRUN pip install playwright && playwright install\n",
        "might have to write",
    ),
    "pip: a user without a number": (
        "FROM python:3.12\nRUN useradd -m app\nUSER app\nRUN pip install x\n",
        "uid and home folder of user app",
    ),
    "pip: a home folder that nobody makes": (
        "FROM python:3.12\nRUN useradd -u 1000 app\nUSER app\nRUN pip install x\n",
        "home folder of user app is not known",
    ),
    "pip: a number without a home folder": ("FROM python:3.12\nUSER 1234\nRUN pip install x\n", "is not known"),
    "pip: a configuration that nobody can read": (
        "FROM python:3.12\nCOPY pip.conf /etc/pip.conf\nRUN pip install --no-cache-dir x\n",
        "pip.conf may move the cache",
    ),
    "pip: a configuration that is written": (
        "FROM python:3.12\nRUN printf '[global]\\ncache-dir = /c\\n' > /etc/pip.conf\nRUN pip install x\n",
        "moves the cache",
    ),
    "pip: a link on the way": (
        "FROM python:3.12\nRUN ln -s /data/cache /root/.cache\nRUN pip install x\n",
        "may write into /root/.cache/pip",
    ),
    "uv: links into the cache": ("FROM python:3.12\nENV UV_LINK_MODE=symlink\nRUN uv sync\n", "links into the cache"),
    "uv: links into the cache by an option": (
        "FROM python:3.12\nRUN uv pip install --link-mode=symlink x\n",
        "links into the cache",
    ),
    "uv: a tool from the cache": ("FROM python:3.12\nRUN uvx ruff\nCMD uvx ruff\n", "may make an environment"),
    "uv: an environment that was not made": (
        "FROM python:3.12\nRUN uv pip install x\nCMD uv run y\n",
        "runs uv in the container",
    ),
    "uv: offline": ("FROM python:3.12\nRUN uv sync\nRUN uv sync --offline\n", "with --offline"),
    "poetry: as another user, with environments beside the cache": (
        "FROM python:3.12\nRUN useradd -m -u 1000 app\nUSER app\nRUN poetry install\n",
        "could not write there",
    ),
    "poetry: the folder above removed, with its environments": (
        "FROM python:3.12\nENV POETRY_CACHE_DIR=/c\nRUN poetry install && rm -rf $POETRY_CACHE_DIR\n",
        "which would be a mount",
    ),
    "poetry: set too late": (
        "FROM python:3.12\nRUN poetry install && poetry config virtualenvs.create false && rm -rf ~/.cache/pypoetry\n",
        "which would be a mount",
    ),
    "poetry: set": ("FROM python:3.12\nRUN poetry config cache-dir /c && poetry install\n", "config moves the cache"),
    "pdm: links into the cache": (
        "FROM python:3.12\nRUN pdm config install.cache on\nRUN pdm install\n",
        "moves the cache",
    ),
    "conda: an unknown image": (
        "FROM python:3.12\nRUN conda install -y x\n",
        "where conda keeps its packages in python is not known",
    ),
    "conda: what is there": ("FROM continuumio/miniconda3\nRUN conda install --offline x\n", "with --offline"),
    "conda: its folder copied": (
        "FROM continuumio/miniconda3 AS a\nRUN conda install -y x\nFROM debian:12\nCOPY --from=a /opt/conda /c\n",
        "takes /opt/conda/pkgs along",
    ),
    "conda: its folder searched": (
        "FROM continuumio/miniconda3\nRUN conda install -y x && find /opt/conda -name '*.a' -delete\n",
        "which would be a mount",
    ),
    "yarn: a later one": (f"FROM node:20\nCOPY .yarnrc.yml .\nRUN yarn install --immutable\n{NODE}", "a later yarn"),
    "yarn: corepack": (f"FROM node:20\nRUN corepack enable && yarn install\n{NODE}", "a later yarn"),
    "yarn: nobody can tell": (f"FROM node:20\nCOPY . .\nRUN yarn\n{NODE}", "cannot be told"),
    "yarn: as another user": (f"FROM node:20\nUSER node\nRUN yarn --production\n{NODE}", "could not write there"),
    "pnpm: what is there": (f"FROM node:20\nRUN pnpm fetch\nRUN pnpm install --offline\n{NODE}", "with --offline"),
    "pnpm: links into the store": (
        f"FROM node:20\nRUN pnpm install --package-import-method=hardlink\n{NODE}",
        "how pnpm links packages",
    ),
    "pnpm: for all projects": ("FROM node:20\nRUN pnpm add -g serve\nCMD serve\n", "for all projects"),
    "pnpm: moved": (f"FROM node:20\nRUN pnpm config set store-dir /s && pnpm i\n{NODE}", "config moves the cache"),
    "pnpm: a container that fetches": ("FROM node:20\nRUN pnpm install\nCMD pnpm dlx serve\n", "runs pnpm"),
    "bun: links into the cache": (f"FROM oven/bun\nRUN bun install --backend=symlink\n{NODE}", "links into the cache"),
    "npm: a configuration that nobody can read": (
        f"FROM node:20\nCOPY package.json .npmrc* ./\nRUN npm ci && npm cache clean -f\n{NODE}",
        ".npmrc may move the cache",
    ),
    "npm: what npx has fetched": (
        "FROM node:20\nRUN npm ci && npx -y serve --version\nCMD npx serve\n",
        "runs npm in the container",
    ),
    "deno": ("FROM denoland/deno\nRUN deno cache main.ts\n", "when the program runs"),
    "go: a library in the module cache": (
        'FROM golang:1.22\nRUN go get github.com/CosmWasm/wasmvm@v1 && go build -o /app .\nCMD ["/app"]\n',
        "in the module cache",
    ),
    "cargo: what is there": (f"FROM rust:1 AS b\nRUN cargo fetch\nRUN cargo build --frozen\n{BINARY}", "with --frozen"),
    "cargo: make may run it": (f"FROM rust:1 AS b\nRUN cargo fetch\nRUN make\n{BINARY}", "`make` may need"),
    "cargo: the whole home copied": (
        "FROM rust:1 AS b\nRUN cargo fetch\nFROM rust:1\nCOPY --from=b /usr/local/cargo /usr/local/cargo\n",
        "takes /usr/local/cargo/registry along",
    ),
    "cargo: vendored into the registry": (
        f"FROM rust:1 AS b\nCOPY vendor /usr/local/cargo/registry\nRUN cargo build\n{BINARY}",
        "may write into",
    ),
    "cargo: the container runs it": ("FROM rust:1\nRUN cargo build\nCMD cargo run\n", "runs cargo in the container"),
    "cargo: an image to work with": ("FROM rust:1\nRUN cargo fetch\n", "a person may run cargo"),
    "cargo: an unknown image": (f"FROM acme/rust AS b\nUSER root\nRUN cargo build\n{BINARY}", "is not known"),
    "maven: what is there": (f"FROM maven:3 AS b\nRUN mvn dependency:go-offline\nRUN mvn -o package\n{JAR}", "with -o"),
    "maven: what another RUN has installed": (
        f"FROM maven:3 AS b\nRUN mvn -f a install\nRUN mvn -f b package\n{JAR}",
        "what line 2 has installed",
    ),
    "maven: settings in the image": (
        f"FROM maven:3 AS b\nRUN mvn -s /usr/share/maven/ref/settings-docker.xml package\n{JAR}",
        "may put the repository elsewhere",
    ),
    "maven: another repository": (f"FROM maven:3 AS b\nRUN mvn -Dmaven.repo.local=/r package\n{JAR}", "elsewhere"),
    "maven: its repository copied": (
        "FROM maven:3 AS b\nRUN mvn package\nFROM maven:3\nCOPY --from=b /root/.m2 /root/.m2\nRUN mvn -o verify\n",
        "takes /root/.m2/repository along",
    ),
    "maven: its repository copied by a variable": (
        "FROM maven:3 AS b\nRUN mvn package\nFROM maven:3\nARG D=/root/.m2\nCOPY --from=b $D /root/.m2\nCMD mvn -o x\n",
        "takes /root/.m2/repository along",
    ),
    "maven: its repository copied by a variable that nobody knows": (
        "FROM maven:3 AS b\nRUN mvn package\nFROM maven:3\nARG D\nCOPY --from=b $D /x\nCMD java -jar /x\n",
        "may take /root/.m2/repository along",
    ),
    "maven: a class path": (
        f"FROM maven:3 AS b\nRUN mvn dependency:build-classpath -Dmdep.outputFile=cp\n{JAR}",
        "paths of the repository",
    ),
    "maven: a class path when it starts": (
        'FROM maven:3\nRUN mvn package\nCMD ["java", "-cp", "a:/root/.m2/repository/b.jar", "Main"]\n',
        "CMD reads /root/.m2/repository",
    ),
    "maven: it runs in the container": ('FROM maven:3\nRUN mvn package\nCMD ["mvn", "exec:java"]\n', "runs maven"),
    "maven: HOME means nothing to Java": (f"FROM maven:3 AS b\nENV HOME=/h\nRUN mvn package\n{JAR}", "not HOME"),
    "maven: the folder above copied": (
        f"FROM maven:3 AS b\nCOPY .m2 /root/.m2\nRUN mvn package\n{JAR}",
        "may write into /root/.m2/repository",
    ),
    "gradle: the folder above removed": (
        f"FROM openjdk:17 AS b\nRUN ./gradlew build && rm -rf ~/.gradle\n{JAR}",
        "which would be a mount",
    ),
    "gradle: what is there": (f"FROM gradle:8 AS b\nRUN gradle build --offline\n{JAR}", "with --offline"),
    "gradle: another home": (f"FROM gradle:8 AS b\nRUN gradle -g /g build\n{JAR}", "puts the cache elsewhere"),
    "gradle: a script later": (f"FROM gradle:8 AS b\nRUN gradle build\nRUN ./more.sh\n{JAR}", "./more.sh may need"),
    ".NET: no restore": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nRUN dotnet restore\nRUN dotnet publish --no-restore -o /o\n"
        "FROM mcr.microsoft.com/dotnet/aspnet:8.0\nCOPY --from=b /o .\n",
        "leave --no-restore out",
    ),
    ".NET: no build": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nRUN dotnet build\nFROM b\nRUN dotnet test --no-build\n",
        "leave --no-build out",
    ),
    ".NET: what is built finds its packages": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0\nRUN dotnet build\nCMD dotnet bin/Debug/net8.0/a.dll\n",
        "not known to be published",
    ),
    ".NET: it runs in the container": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0\nRUN dotnet restore\nCMD dotnet run\n",
        "not known to be published",
    ),
    ".NET: tools of the project": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nRUN dotnet tool restore\nRUN dotnet publish -o /o\n"
        "FROM scratch\nCOPY --from=b /o .\n",
        "`dotnet tool restore`",
    ),
    ".NET: packages copied": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nRUN dotnet publish -o /o\n"
        "FROM scratch\nCOPY --from=b /root/.nuget /root/.nuget\n",
        "takes /root/.nuget/packages along",
    ),
    ".NET: another user": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nRUN useradd -m -u 1000 a\nUSER a\nRUN dotnet publish -o /o\n"
        "FROM scratch\nCOPY --from=b /o .\n",
        "could not write there",
    ),
    "composer: for all projects": (
        "FROM php:8\nRUN composer global require x\nRUN composer install\n",
        "what is global",
    ),
    "bundler: elsewhere": ("FROM ruby:3.3\nENV BUNDLE_PATH=/b\nRUN bundle install\n", "BUNDLE_PATH puts"),
    "bundler: elsewhere by configuration": (
        "FROM ruby:3.3\nRUN bundle config set deployment true\nRUN bundle install\n",
        "bundle config may put",
    ),
    "bundler: its folder copied": (
        "FROM ruby:3.3 AS a\nRUN bundle install\nFROM ruby:3.3\nCOPY --from=a /usr/local/bundle /usr/local/bundle\n",
        "takes /usr/local/bundle/cache along",
    ),
    "cabal: nobody knows": (f"FROM haskell:9 AS b\nRUN cabal update && cabal build\n{BINARY}", "set CABAL_DIR"),
    "cabal: an index of another RUN": (
        f"FROM haskell:9 AS b\nENV CABAL_DIR=/c\nRUN cabal update\nRUN cabal build\n{BINARY}",
        "relies on lists of another RUN",
    ),
    "ccache: nobody knows": (f"FROM debian:12 AS b\nRUN ccache gcc x.c\n{BINARY}", "set CCACHE_DIR"),
    "ccache: its folder copied": (
        "FROM debian:12 AS b\nENV CCACHE_DIR=/c\nRUN ccache gcc x.c\nFROM debian:12\nCOPY --from=b /c /c\n",
        "takes /c along",
    ),
    "a mount somebody made": (
        "FROM python:3.12\nRUN --mount=type=bind,target=/root/.cache/uv uv sync\n",
        "something else is mounted",
    ),
}


@pytest.mark.parametrize(
    "text",
    [
        "FROM node:20\nENV NPM_CONFIG_CACHE=/cache/npm\nRUN mkdir -p /cache\nRUN npm ci\nRUN chown -R node /cache\n",
        "FROM node:20\nENV NPM_CONFIG_CACHE=/app/.npm\nWORKDIR /app\nRUN npm ci\nRUN chown -R node /app\n",
        "FROM node:20\nWORKDIR /app\nRUN npm ci\nRUN chmod 600 .npmrc && chown -R node /root && rm -rf /root/.npm\n",
    ],
)
def test_folders_that_are_there_without_an_install(text: str) -> None:
    assert run(text + NODE).changes


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, reason = REFUSED[name]
    result = run(text)
    assert result.source.text == text
    assert any(reason in refusal.reason for refusal in result.refusals), result.refusals


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (".npmrc", "cache=/c\n", ".npmrc moves the cache"),
        (".npmrc", "save-exact=true\n", ""),
    ],
)
def test_configuration_in_the_context_is_read(file: str, content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    for copied in (".", f"package.json {file} ./"):
        result = run(f"FROM node:20\nCOPY {copied if ' ' in copied else '. .'}\nRUN npm ci\n{NODE}", tmp_path)
        assert bool(result.changes) is not bool(reason)
        assert [refusal for refusal in result.refusals if reason in refusal.reason] == list(result.refusals)


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({"yarn.lock": "# yarn lockfile v1\n"}, True),
        ({"yarn.lock": "__metadata:\n  version: 8\n"}, False),
        ({"yarn.lock": "# yarn lockfile v1\n", "package.json": '{"packageManager": "yarn@4.1.0"}'}, False),
        ({"yarn.lock": "# yarn lockfile v1\n", "package.json": '{"packageManager": "yarn@1.22.22"}'}, True),
        ({"yarn.lock": "# yarn lockfile v1\n", ".yarnrc.yml": "yarnPath: x\n"}, False),
        ({"package.json": "[]"}, True),
    ],
)
def test_the_context_tells_which_yarn_it_is(files: dict[str, str], first: bool, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert bool(run(f"FROM node:20\nCOPY . .\nRUN yarn && yarn cache clean\n{NODE}", tmp_path).changes) is first


def test_what_a_copy_to_the_folder_above_brings_along(tmp_path: Path) -> None:
    text = f"FROM maven:3 AS b\nCOPY m2 /root/.m2\nRUN mvn -B package\n{JAR}"
    (tmp_path / "m2").mkdir()
    (tmp_path / "m2" / "settings.xml").write_text("<settings/>")
    assert run(text, tmp_path).changes
    (tmp_path / "m2" / "settings.xml").write_text("<localRepository>/r</localRepository>")
    assert not run(text, tmp_path).changes
    (tmp_path / "m2" / "settings.xml").unlink()
    (tmp_path / "m2" / "repository").mkdir()
    assert not run(text, tmp_path).changes


def test_dependencies_of_git_have_a_mount_of_their_own(tmp_path: Path) -> None:
    text = f"FROM rust:1 AS b\nCOPY . .\nRUN cargo build\n{BINARY}"
    (tmp_path / "Cargo.lock").write_text('source = "registry+https://github.com/rust-lang/crates.io-index"\n')
    assert "cargo/git" not in run(text, tmp_path).source.text
    (tmp_path / "Cargo.lock").write_text('source = "git+https://example.com/x#1"\n')
    assert "--mount=type=cache,target=/usr/local/cargo/git,sharing=locked \\\n" in run(text, tmp_path).source.text


def test_what_npm_builds_below_the_cache_folder_is_still_removed() -> None:
    text = "FROM python:3.12\nRUN pip install x && npm ci && rm -rf ~/.cache\n"
    result = run(text)
    assert "npm ci && rm -rf ~/.cache" in result.source.text
    assert ".cache/pip" not in result.source.text
    assert ["which would be a mount" in refusal.reason for refusal in result.refusals] == [True]


def test_the_platform_is_declared_once_and_as_the_author_writes() -> None:
    first = "from alpine as a\nrun apk add --no-cache x\n# why\nrun apk add --no-cache y\n"
    text = f"{first}from a\nrun apk add --no-cache z\n"
    after = run(text).source.text
    assert after.count("arg TARGETPLATFORM\n") == 1
    assert after.startswith("from alpine as a\narg TARGETPLATFORM\nrun --mount=")
    declared = text.replace("run apk add --no-cache x", "ARG TARGETPLATFORM\nrun apk add --no-cache x")
    assert run(declared).source.text.count("TARGETPLATFORM\n") == 1


def test_what_commands_read_is_no_command() -> None:
    text = "FROM python:3.12\nRUN cat <<E > /x\npip install y\nE\nRUN pip install z\n"
    assert run(text).source.text == text.replace(
        "RUN pip", "RUN --mount=type=cache,target=/root/.cache/pip \\\n    pip"
    )


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("cargo", f"FROM rust:1 AS b\nCOPY . .\nRUN cargo fetch\n{BINARY}"),
        (
            "dotnet",
            'FROM mcr.microsoft.com/dotnet/sdk:8.0\nCOPY . .\nRUN dotnet publish -o /o\nCMD ["dotnet", "/o/a.dll"]\n',
        ),
        ("go", f"FROM golang:1 AS b\nWORKDIR /a\nCOPY . .\nRUN go mod download\n{BINARY}"),
        ("gradle", f"FROM gradle:8 AS b\nWORKDIR /a\nCOPY . .\nRUN gradle build\n{JAR}"),
        ("mvn", f"FROM maven:3 AS b\nCOPY . .\nRUN mvn package\n{JAR}"),
        ("pnpm", f"FROM node:20\nCOPY . .\nRUN pnpm install\n{NODE}"),
        ("uv", "FROM python:3.12\nCOPY . .\nRUN uv sync\n"),
    ],
)
def test_copy_before_install_takes_the_mounts_for_what_they_are(tool: str, text: str) -> None:
    before, after = (parse(Source("Dockerfile", item)) for item in (text, run(text).source.text))
    assert list(copy_before_install.check(before, LintSettings())), tool
    assert not list(copy_before_install.check(after, LintSettings()))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}")
def test_no_rule_about_mounts_minds_what_was_added(path: Path) -> None:
    text = Source.read(path).text
    context = path.parent / "context"
    after = optimize(Source("Dockerfile", text), context if context.is_dir() else None, only=("cache_mounts",))
    assert findings(after.source.text) <= findings(text)


BLOCKS = st.sampled_from(
    [
        *(
            "RUN " + command + "\n"
            for command in (
                "apk add --no-cache git",
                "apk update && apk add git && rm -rf /var/cache/apk/*",
                "apk add git ; rm -rf /var/cache/apk/*",
                "dnf -y install git && dnf clean all",
                "sh -c 'apk add --no-cache git'",
                "uv sync --no-cache",
                "uv run app.py",
                "poetry install && rm -rf ~/.cache/pypoetry/cache ~/.cache/pypoetry/artifacts",
                "poetry config virtualenvs.create false",
                "pip install x && rm -rf ~/.cache",
                "yarn install --frozen-lockfile && yarn cache clean",
                "pnpm install \\\n  --prod",
                "cargo build --release",
                "make",
                "mvn install",
                "mvn -o package",
                "./gradlew build",
                "dotnet restore",
                "dotnet publish --no-restore -o /out",
                "bundle install && rm -rf /usr/local/bundle/cache",
                "useradd -m -u 1000 app",
                "cp -r /root /r",
                "ln -s /c /root/.cache",
                "cat <<E > /etc/apk/x\napk add --no-cache git\nE",
                "--mount=type=cache,target=/var/cache/apk apk add git",
                "--mount=type=cache,target=$X/y pip install x",
            )
        ),
        'RUN ["apk", "add", "--no-cache", "git"]\n',
        "RUN <<EOF\nset -e\napk add --no-cache git\nEOF\n",
        "USER app\n",
        "USER 1000\n",
        "USER root\n",
        "ENV HOME=/x\n",
        "ENV CARGO_HOME=/c POETRY_CACHE_DIR=/p POETRY_VIRTUALENVS_IN_PROJECT=1\n",
        "ARG TARGETPLATFORM\n",
        "ARG CARGO_HOME\n",
        "# why\n",
        "WORKDIR /app\n",
        "COPY . .\n",
        "COPY --from=0 /root /root\n",
        "FROM 0 AS top\n",
        "FROM --platform=$BUILDPLATFORM alpine AS tools\n",
        "FROM rust:1\n",
        'CMD ["/app/target/release/x"]\n',
        'CMD ["uv", "run", "x"]\n',
        "ONBUILD RUN apk add --no-cache git\n",
    ]
)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["alpine", "python:3.12", "node:20-alpine", "rust:1", "fedora:42", "maven:3", "ruby:3.3", "a/b"]),
    st.lists(BLOCKS, max_size=8),
)
def test_generated_files(base: str, blocks: list[str]) -> None:
    text = f"FROM {base}\n{''.join(blocks)}"
    result = run(text)
    if result.broken:
        assert result.source.text == text
        return
    assert not parse(result.source).errors
    assert not run(result.source.text).changes
    assert findings(result.source.text) <= findings(text)
    if text.count("FROM ") == 1 and ("--no-restore" in text or "mvn -o" in text):
        assert ("--no-restore" not in text or ".nuget" not in result.source.text) and (
            "mvn -o" not in text or ".m2" not in result.source.text
        )


def test_a_refusal_names_the_first_of_several_variables() -> None:
    names = [f"USE_{letter}" for letter in "QWERTYUIOP"]
    text = "FROM python:3.12\n" + "".join(f"ARG {name}=1\n" for name in names) + "RUN pip install --user flash-attn\n"
    assert [names[0] in refusal.reason for refusal in run(text).refusals] == [True]
