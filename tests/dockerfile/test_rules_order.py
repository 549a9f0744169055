"""Rules about the order of instructions and what ships: what fixtures would be crowded by."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source


def found(rule: str, text: str) -> list[Finding]:
    return lint(Source("Dockerfile", text), LintSettings(select=(rule,)))


LATE = "late-argument-declared-early"
UNFIXABLE = [
    (LATE, "FROM a\nARG COMMIT\nRUN apt-get install -y x\n", "nothing uses it"),
    (LATE, "FROM a\nARG COMMIT\nENV C=$COMMIT\nRUN npm ci\nRUN echo $C\n", "ENV would have to move too"),
    (LATE, "FROM a\nARG COMMIT A=1\nRUN npm ci\nRUN echo $COMMIT\n", "another argument stands beside it"),
    (LATE, "FROM a\n# the commit\nARG COMMIT\nRUN npm ci\nRUN echo $COMMIT\n", "its comment would stay behind"),
]


@pytest.mark.parametrize(("rule", "text", "why"), UNFIXABLE)
def test_what_cannot_be_fixed_is_left(rule: str, text: str, why: str) -> None:
    assert [item.fix for item in found(rule, text)] == [None], why
    source = Source("Dockerfile", text)
    assert fix(source, LintSettings(select=(rule,)), unsafe=True).source == source


ONE, TOOLS, WHOLE = "single-stage-build", "build-tools-in-final-image", "whole-context-in-final-stage"
GO = "FROM golang:1\nCOPY . .\nRUN go build -o /app .\n"
GCC = "FROM python:3\nRUN apt-get update && apt-get install -y gcc\nRUN pip install x\n"
STAGES = "FROM golang:1 AS build\nCOPY . .\nRUN go build -o /app .\nFROM debian:12\n"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (ONE, GO + 'CMD ["/app"]'),
        (ONE, GO + "CMD exec /app --port 80"),
        (ONE, GO + 'CMD ["bash", "/run.sh"]'),
        (ONE, 'FROM mcr.microsoft.com/dotnet/sdk:9.0\nRUN dotnet publish -o /o\nENTRYPOINT ["dotnet", "/o/a.dll"]'),
        (ONE, "FROM maven:3\nRUN mvn -B clean package\nCMD java -jar target/a.jar"),
        (ONE, 'FROM gcc:14\nRUN ./configure && make install\nCMD ["app"]'),
        (ONE, 'FROM node:22\nRUN npm ci && npm run build\nCMD ["npm", "start"]'),
        (TOOLS, GCC + 'CMD ["python", "a.py"]'),
        (TOOLS, 'FROM alpine\nRUN apk add --no-cache build-base\nRUN make\nCMD ["/app"]'),
        (TOOLS, 'FROM node\nRUN apt-get install -y make g++ && npm ci\nCMD ["node", "a.js"]'),
        (WHOLE, STAGES + "COPY . .\nCOPY --from=build /app /app"),
        (WHOLE, STAGES + "COPY --from=build /app /app\nCOPY . /src"),
    ],
)
def test_more_that_is_found(rule: str, text: str) -> None:
    assert len(found(rule, text)) == 1


SILENT = [
    (ONE, GO, "an image to work with"),
    (ONE, GO + 'CMD ["go", "run", "."]', "it compiles at run time"),
    (ONE, GO + "CMD bash", "a shell"),
    (ONE, 'FROM golang:1\nRUN go install example.org/tool@v1\nCMD ["tool"]', "a tool for Go"),
    (ONE, 'FROM golang:1\nRUN go test ./...\nCMD ["/app"]', "compiles nothing"),
    (ONE, 'FROM python:3\nRUN make\nCMD ["python"]', "another image"),
    (ONE, STAGES + 'COPY --from=build /app /app\nCMD ["/app"]', "two stages"),
    (TOOLS, GCC, "an image to work with"),
    (TOOLS, GCC + 'CMD ["pytest"]', "tests"),
    (TOOLS, 'FROM python:3\nRUN apt-get install -y gcc\nCMD ["a"]', "nothing is built"),
    (TOOLS, 'FROM alpine\nRUN apk add --virtual .b gcc && pip install x && apk del .b\nCMD ["a"]', "removed"),
    (WHOLE, STAGES + "COPY . .\nCOPY --from=build /app /app\nRUN go build .", "the last stage compiles too"),
    (WHOLE, "FROM python:3 AS b\nCOPY . .\nRUN pip install x\nFROM python:3\nCOPY --from=b /v /v\nCOPY . .", "Python"),
    (WHOLE, STAGES + "COPY config /etc\nCOPY --from=build /app /app", "not everything"),
    (LATE, "FROM a\nARG CACHEBUST\nRUN apt-get install -y x", "meant to break the cache"),
    (LATE, "ARG VERSION=1.2.3\nFROM a\nARG VERSION\nRUN apt-get install -y x", "pinned by the global default"),
    (LATE, "FROM a\nARG COMMIT\nRUN apt-get install -y x && ./configure", "a script may read it"),
    (LATE, "FROM a\nARG COMMIT\nFROM b\nRUN apt-get install -y x", "another stage"),
    (LATE, "FROM a\nARG COMMIT\nRUN apt-get update && echo x", "installs nothing"),
]


@pytest.mark.parametrize(("rule", "text", "why"), SILENT)
def test_near_misses_stay_silent(rule: str, text: str, why: str) -> None:
    assert found(rule, text) == [], why
