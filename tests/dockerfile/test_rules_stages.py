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
