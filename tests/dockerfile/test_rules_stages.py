"""Rules about stages, case by case: what fixtures would need many files for."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import lint
from buildopt.settings import LintSettings
from buildopt.source import Source


def lines(name: str, text: str) -> list[int]:
    return [finding.start[0] for finding in lint(Source("-", text), LintSettings(select=(name,)))]


NODE = "FROM node:22 AS build\nCOPY . .\nRUN npm run build\n"
GO = "FROM golang:1.24 AS build\nCOPY . .\nRUN go build -o /app .\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{NODE}FROM nginx:1.29\nCOPY . /src\nCOPY --from=build /dist /usr/share/nginx/html\n", [5]),
        (f"{GO}FROM gcr.io/distroless/static\nCOPY . .\nCOPY --from=0 /app /app\n", [5]),
        (f"{GO}FROM scratch\nADD ./ /\nCOPY --from=build /app /app\n", [5]),
        (f"{GO}FROM alpine:3\nCOPY ./templates /t\nCOPY --from=build /app /app\n", []),
        (f"{GO}FROM alpine:3\nCOPY . .\nCOPY --from=other/image /app /app\n", []),
        (f"{GO}FROM alpine:3\nCOPY . .\n", []),
        (f"{GO}FROM alpine:3\nCOPY . .\nCOPY --from=build /etc/certs /app/vendor/x /y/\n", []),
        (f"{NODE}FROM php:8.4-apache\nCOPY . .\nCOPY --from=build /public/build public/build\n", []),
        (f"{NODE}FROM python:3.13\nCOPY . .\nCOPY --from=build /dist static\n", []),
        (f"{NODE}FROM registry.example.com/team/base\nCOPY . .\nCOPY --from=build /dist static\n", []),
        (f"{GO}FROM node:22\nCOPY . .\nCOPY --from=build /app /usr/bin/tool\n", []),
        ("FROM node:22 AS deps\nCOPY package.json .\nRUN npm ci\nFROM node:22\nCOPY . .\nCOPY --from=deps /x /x\n", []),
        ("FROM golang:1 AS build\nCOPY main.go .\nRUN go build\nFROM alpine\nCOPY . .\nCOPY --from=build /x /x\n", []),
        (f"{GO}FROM $BASE\nCOPY . .\nCOPY --from=build /app /app\n", []),
    ],
)
def test_whole_context_in_final_stage(text: str, found: list[int]) -> None:
    assert lines("whole-context-in-final-stage", text) == found


END = "FROM alpine:3\nCOPY --from=build /app /app\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"FROM golang:1 AS build\nRUN go build\n{END}ARG TARGETARCH\n", [1]),
        (f"FROM golang:1 AS build\nRUN <<E\nGOARCH=$TARGETARCH go build\nE\n{END}", [1]),
        (f"FROM golang:1 AS build\nENV CGO_ENABLED=0\nRUN go build -o /app ./cmd\nARG TARGETPLATFORM\n{END}", [1]),
        (f"# TARGETARCH\nFROM golang:1 AS build\nRUN go build\n{END}", []),
        (f"FROM golang:1 AS build\nRUN go build # $MY_TARGETARCH\n{END}", []),
        (f"FROM golang:1 AS build\nENV GOARCH=amd64\nRUN go build\n{END}ARG TARGETARCH\n", []),
        (f"FROM --platform=linux/amd64 golang:1 AS build\nRUN go build\n{END}ARG TARGETARCH\n", []),
        (f"FROM --platform=$BUILDPLATFORM golang:1 AS b\nFROM b AS build\nRUN go build\n{END}", []),
        ("FROM golang:1\nARG TARGETARCH\nRUN go build\n", []),
        ("FROM golang:1 AS base\nARG TARGETARCH\nRUN go build\nFROM base\n", []),
        (f"FROM golang:1 AS build\nRUN go install example.com/x@v1\nARG TARGETARCH\n{END}", []),
        (f"FROM rust:1 AS build\nARG TARGETARCH\nRUN cargo build --target x86_64-unknown-linux-musl\n{END}", []),
        (f"FROM rust:1 AS build\nARG TARGETARCH\nRUN cargo install --path .\n{END}", [1]),
        (f"FROM rust:1 AS build\nARG TARGETARCH\nRUN cargo install cargo-chef\n{END}", []),
    ],
)
def test_emulated_build_step(text: str, found: list[int]) -> None:
    assert lines("emulated-build-step", text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM rust:1\nRUN cargo build --release\nCMD ./target/release/app\n", [1]),
        ("FROM maven:3\nRUN mvn -B -q package\nENTRYPOINT java -jar target/app.jar\n", [1]),
        ("FROM gradle:8\nRUN ./gradlew :app:bootJar\nCMD java -jar app.jar\n", [1]),
        ("FROM mcr.microsoft.com/dotnet/sdk:9.0\nRUN dotnet publish -c Release\nCMD dotnet app.dll\n", [1]),
        ("FROM gcc:15\nRUN cmake -B b . && cmake --build b\nCMD b/app\n", [1]),
        ("FROM docker.io/library/node:22\nRUN npm ci && npm run build\nCMD npm start\n", [1]),
        ("FROM node:22\nRUN yarn build\nCMD node dist/main.js\n", [1]),
        ("FROM node:22\nRUN npm run build && npm prune --omit=dev\nCMD node dist/main.js\n", []),
        ("FROM node:22\nRUN npm ci\nCMD node main.js\n", []),
        ("FROM node:22\nRUN npm run build\nCMD npm run dev\n", []),
        ("FROM golang:1\nRUN go build ./...\n", []),
        ("FROM golang:1\nRUN go build ./...\nCMD go test ./...\n", []),
        ("FROM golang:1\nRUN go build ./...\nCMD bash\n", []),
        ("FROM golang:1\nRUN go install example.com/tool@latest\nCMD tool\n", []),
        ("FROM rust:1\nRUN cargo install ripgrep\nCMD rg\n", []),
        ("FROM debian:12\nRUN make\nCMD app\n", []),
        ("FROM $BASE\nRUN go build\nCMD app\n", []),
    ],
)
def test_single_stage_build(text: str, found: list[int]) -> None:
    assert lines("single-stage-build", text) == found


UPDATE = "RUN apt-get update\n"
BOTH = f"FROM debian:12 AS base-bookworm\n{UPDATE}FROM debian:13 AS base-trixie\n{UPDATE}"
COPIED = "FROM scratch AS bin\nCOPY --from=build /x /x\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"ARG V=bookworm\n{BOTH}FROM base-${{V}} AS build\nRUN make\n{COPIED}", []),
        (f"ARG V=bookworm\n{BOTH}FROM base-${{V}}\n", [3, 5]),
        (f"ARG V\n{BOTH}FROM Base-$V AS build\n{COPIED}FROM build\n", [3, 5]),
        (f"{BOTH}FROM base-${{V:-${{W:-bookworm}}}} AS build\n{COPIED}", []),
        (f"ARG V\n{BOTH}FROM other-${{V}} AS build\n{COPIED}", [3, 5]),
        (f"ARG R=docker.io\nFROM debian AS app\n{UPDATE}FROM $R/app AS build\n{COPIED}", [3]),
        # A name that is all variable is that of a stage where its default is.
        (f"ARG B=base-trixie\n{BOTH}FROM $B AS build\n{COPIED}", []),
        (f"ARG B=base-trixie\n{BOTH}FROM $B\n", [3, 5]),
        (f"ARG B=base-trixie\nFROM a AS build\n{UPDATE}{BOTH}FROM $B\nCOPY --from=build /x /x\n", [5, 7]),
        (f"ARG B=debian:12\nFROM debian AS build\n{UPDATE}FROM $B\nCOPY --from=build /x /x\n", []),
        (f"ARG B\nFROM debian AS build\n{UPDATE}FROM $B\nCOPY --from=build /x /x\n", []),
        # What is copied whole ships with what it is copied into.
        (f"FROM debian AS all\n{UPDATE}FROM a AS build\nCOPY --from=all / /\n{COPIED}", []),
        (f"FROM debian AS all\n{UPDATE}FROM scratch\nCOPY --from=all / /\n", [2]),
    ],
)
def test_stages_that_can_reach_an_image(text: str, found: list[int]) -> None:
    assert lines("apt-lists-left", text) == found


WHOLE = "COPY --from=xx / /\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"FROM --platform=$BUILDPLATFORM tonistiigi/xx:1.5.0 AS xx\nFROM alpine\n{WHOLE}", []),
        (f"ARG V=1\nFROM ghcr.io/tonistiigi/xx:$V@sha256:{'a' * 64} AS xx\nFROM alpine\n{WHOLE}", []),
        ("FROM alpine\nCOPY --from=docker.io/tonistiigi/xx / /\n", []),
        (f"FROM acme/xx AS xx\nFROM alpine\n{WHOLE}", [3]),
        (f"FROM mytonistiigi/xx AS xx\nFROM alpine\n{WHOLE}", [3]),
        (f"FROM acme/x AS xx\nFROM alpine AS build\n{WHOLE}{COPIED}", []),
        (f"FROM acme/x AS xx\nFROM alpine AS build\n{WHOLE}FROM build\n", [3]),
    ],
)
def test_a_whole_file_system(text: str, found: list[int]) -> None:
    assert lines("whole-filesystem-copied", text) == found
    like_hadolint = LintSettings(profile="hadolint", select=("whole-filesystem-copied",))
    assert len(lint(Source("-", text), like_hadolint)) == 1
