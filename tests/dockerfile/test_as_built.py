"""A stage that a variable in FROM leads to: rules judge the file as it is built, rewrites hold for any argument."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.as_built import as_built
from buildopt.dockerfile.bases import base_of
from buildopt.dockerfile.lint import fix, lint
from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.scope import walk
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source


def bases(text: str) -> list[tuple[int | None, tuple[int, ...]]]:
    return [(stage.base_index, stage.other_bases) for stage in as_built(parse(Source("-", text))).stages]


def found(name: str, text: str, profile: str = "recommended") -> list[Finding]:
    return lint(Source("-", text), LintSettings(profile, select=(name,)))


def lines(name: str, text: str, profile: str = "recommended") -> list[int]:
    return [finding.start[0] for finding in found(name, text, profile)]


TWO = "FROM alpine:3.22 AS base-a\nFROM debian:12 AS base-b\n"


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (f"ARG V=b\n{TWO}FROM base-$V\n", (1, (0,))),
        (f"ARG V=B\n{TWO}FROM base-${{V}}\n", (1, (0,))),
        (f"{TWO}FROM base-${{V:-a}}\n", (0, (1,))),
        (f"ARG A=a\nARG V=$A\n{TWO}FROM base-$V\n", (0, (1,))),
        (f"ARG V=base-b\n{TWO}FROM $V\n", (1, (0,))),
        (f"{TWO}FROM base-$TARGETARCH\n", (None, (0, 1))),
        (f"ARG V\n{TWO}FROM base-$V\n", (None, (0, 1))),
        (f"ARG V=c\n{TWO}FROM base-$V\n", (None, ())),
        (f"ARG V=debian:12\n{TWO}FROM $V\n", (None, ())),
        (f"{TWO}FROM $V\n", (None, ())),
        (f"{TWO}FROM other-$V\n", (None, ())),
        (f"{TWO}FROM base-a\n", (0, ())),
    ],
)
def test_the_default_decides_and_else_all_that_fit_are_known(
    text: str, last: tuple[int | None, tuple[int, ...]]
) -> None:
    assert bases(text)[-1] == last


def test_a_file_whose_variables_lead_to_no_stage_stays_the_same() -> None:
    dockerfile = parse(Source("-", f"ARG V=12\n{TWO}FROM debian:$V\n"))
    assert as_built(dockerfile) is dockerfile


def test_the_parsed_file_does_not_know() -> None:
    dockerfile = parse(Source("-", f"ARG V=a\n{TWO}FROM base-$V\n"))
    as_built(dockerfile)
    assert (dockerfile.stages[-1].base_index, dockerfile.stages[-1].other_bases) == (None, ())


def test_a_scope_has_what_all_bases_agree_on() -> None:
    text = (
        'FROM a AS base-a\nENV X=1 Y=1 Z=1\nARG P=1 Q=1\nUSER app\nWORKDIR /x\nSHELL ["/bin/bash", "-c"]\n'
        'FROM b AS base-b\nENV X=1 Y=2\nARG P=1 Q=2\nUSER app\nWORKDIR /y\nSHELL ["/bin/ash", "-c"]\n'
        "FROM base-$V\nRUN true\n"
    )
    scope = list(walk(as_built(parse(Source("-", text)))))[-1][2]
    assert scope.env == {"X": "1", "Y": None}
    assert scope.args == {"P": "1", "Q": None}
    assert (scope.user, scope.workdir, scope.shell) == ("app", None, ("/bin/sh", "-c"))
    assert scope.shell_is_set
    assert {"Y", "Z", "P", "Q"} <= scope.open_names
    assert "X" not in scope.open_names


def test_what_other_bases_set_otherwise_is_not_certain() -> None:
    first, second = "FROM a AS base-a\nENV X=1 Y=1\nWORKDIR /x\n", "FROM b AS base-b\nENV X=1\nWORKDIR /y\n"
    text = f"ARG V=a\n{first}{second}FROM base-$V\nRUN x\n"
    scope = list(walk(as_built(parse(Source("-", text)))))[-1][2]
    assert (scope.env, scope.workdir) == ({"X": "1", "Y": "1"}, "/x")
    assert scope.open_names == {"Y"}
    assert not scope.workdir_is_certain


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("FROM alpine:3 AS base-a\nFROM alpine:3 AS base-b\nFROM base-$V\n", "alpine"),
        ("FROM alpine:3 AS base-a\nFROM debian:12 AS base-b\nFROM base-$V\n", None),
        ("ARG V=b\nFROM alpine:3 AS base-a\nFROM debian:12 AS base-b\nFROM base-$V AS c\nFROM c\n", "debian"),
    ],
)
def test_the_image_that_a_stage_goes_back_to(text: str, name: str | None) -> None:
    dockerfile = as_built(parse(Source("-", text)))
    base = base_of(dockerfile, dockerfile.stages[-1])
    assert (base.repository if base is not None else None) == name


SET = 'WORKDIR /x\nSHELL ["/bin/bash", "-o", "pipefail", "-c"]\nENV PIP_NO_CACHE_DIR=1\n'
USE = "COPY a .\nRUN curl x | tee y\nRUN pip install foo==1\n"
NAMES = ("copy-to-relative-path-without-workdir", "pipe-without-pipefail", "pip-cache-left-in-image")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"ARG V=a\nFROM debian:12 AS base-a\n{SET}FROM base-$V AS f\n{USE}", False),
        (f"ARG V=a\nFROM debian:12 AS base-a\n{SET}FROM debian:12 AS base-b\nFROM base-$V AS f\n{USE}", False),
        (f"ARG V=b\nFROM debian:12 AS base-a\n{SET}FROM debian:12 AS base-b\nFROM base-$V AS f\n{USE}", True),
        (f"ARG V=c\nFROM debian:12 AS base-a\n{SET}FROM base-$V AS f\n{USE}", True),
        (f"FROM a AS base-amd64\n{SET}FROM b AS base-arm64\n{SET}FROM base-$TARGETARCH\n{USE}", False),
        (f"FROM a AS base-amd64\n{SET}FROM b AS base-arm64\nFROM base-$TARGETARCH\n{USE}", True),
    ],
)
def test_what_the_base_stage_sets(name: str, text: str, wrong: bool) -> None:
    assert bool(found(name, text)) == wrong


def test_shells_that_differ_may_both_see_failures() -> None:
    text = (
        'FROM alpine:3 AS base-a\nSHELL ["/bin/ash", "-eo", "pipefail", "-c"]\n'
        'FROM debian:12 AS base-b\nSHELL ["/bin/bash", "-o", "pipefail", "-c"]\nFROM base-$V\nRUN curl x | tee y\n'
    )
    assert lines("DL4006", text) == []


def test_folders_that_differ_are_set_all_the_same() -> None:
    text = "FROM a AS build-amd64\nWORKDIR /x\nFROM b AS build-arm64\nWORKDIR /y\nFROM build-${TARGETARCH}\nCOPY a .\n"
    assert lines("DL3045", text) == []


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ("", "sub is relative: write /x/sub"),
        ("FROM debian:12 AS base-b\nWORKDIR /x\n", "sub is relative: write /x/sub"),
        (
            "FROM debian:12 AS base-b\nWORKDIR /y\n",
            "sub is relative to a folder that the base image decides: use an absolute path",
        ),
    ],
)
def test_a_relative_folder_is_told_but_not_written(between: str, message: str) -> None:
    text = f"ARG V=a\nFROM debian:12 AS base-a\nWORKDIR /x\n{between}FROM base-$V\nWORKDIR sub\n"
    assert [(item.message, item.fix) for item in found("relative-workdir", text)] == [(message, None)]
    assert fix(Source("-", text), LintSettings(select=("relative-workdir",)), unsafe=True).source.text == text


def test_a_drive_may_be_that_of_another_base() -> None:
    text = "ARG V=a\nFROM debian:12 AS base-a\nFROM {base} AS f\nWORKDIR C:/app\n"
    assert lines("relative-workdir", text.format(base="base-$V")) == []
    assert lines("relative-workdir", text.format(base="base-a")) == [4]


def test_a_fix_that_needs_no_base_stays_as_it_was() -> None:
    text = "ARG V=a\nFROM debian:12 AS base-a\nFROM base-$V\nRUN wget https://a/x\nRUN pip install a==1\n"
    assert [item.fix is not None and item.fix.safe for item in found("DL3042", text)] == [True]
    # GNU's wget is known to be there only as long as nobody names another base.
    assert [item.fix is not None and item.fix.safe for item in found("DL3047", text)] == [False]


def test_the_wget_of_an_alpine_base() -> None:
    rest = "FROM base-$V\nRUN wget https://a/x\n"
    assert lines("DL3047", f"ARG V=a\nFROM alpine:3 AS base-a\n{rest}") == []
    assert lines("DL3047", f"FROM alpine:3 AS base-a\nFROM alpine:3 AS base-b\n{rest}") == []
    assert lines("DL3047", f"FROM alpine:3 AS base-a\n{rest.replace('base-', 'other-')}") == [3]


END = "FROM scratch\nCOPY --from=x /app /app\n"
GO = "ARG TARGETARCH\nRUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -o /app .\n"
NATIVE = "FROM --platform=$BUILDPLATFORM golang AS base-{}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"ARG V=alpine\n{NATIVE.format('alpine')}FROM base-${{V}} AS x\n{GO}{END}", []),
        (f"{NATIVE.format('a')}{NATIVE.format('b')}FROM base-${{V}} AS x\n{GO}{END}", []),
        (f"{NATIVE.format('a')}FROM golang AS base-b\nFROM base-${{V}} AS x\n{GO}{END}", [3]),
        (f"ARG V=a\nFROM golang AS base-a\nFROM base-${{V}} AS x\n{GO}{END}", [2]),
    ],
)
def test_the_platform_of_the_base_stage_holds(text: str, found: list[int]) -> None:
    assert lines("emulated-build-step", text) == found
    settings = LintSettings(select=("emulated-build-step",))
    assert fix(Source("-", text), settings, unsafe=True).source.text == text


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("missing-healthcheck", "HEALTHCHECK NONE\n"),
        ("missing-image-source-label", "LABEL org.opencontainers.image.source=https://a/b\n"),
    ],
)
def test_an_image_has_what_its_base_stage_has(name: str, instruction: str) -> None:
    one, two = f"FROM alpine AS base-a\n{instruction}", f"FROM alpine AS base-b\n{instruction}"
    rest = "FROM base-$V\nCMD a\n"
    assert lines(name, f"ARG V=a\n{one}{rest}", "strict") == []
    assert lines(name, f"{one}{two}{rest}", "strict") == []
    assert lines(name, f"{one}FROM alpine AS base-b\n{rest}", "strict") == [4]
    assert lines(name, f"ARG V=b\n{one}FROM alpine AS base-b\n{rest}", "strict") == [5]


def test_a_cache_mount_for_another_user_than_that_of_the_base_stage() -> None:
    text = (
        "ARG V=a\nFROM python:3.13 AS base-a\nRUN useradd -u 1000 -m app\nUSER app\nFROM base-$V\n"
        "RUN --mount=type=cache,target=/root/.cache/pip pip install a==1\n"
    )
    assert [(item.start[0], item.fix) for item in found("cache-mount-for-another-user", text)] == [(6, None)]


@pytest.mark.parametrize(("base", "fixed"), [("base-$V", False), ("base-a", False), ("debian:12", True)])
def test_lists_that_a_later_stage_may_need_stay(base: str, fixed: bool) -> None:
    text = f"FROM debian:12 AS base-a\nRUN apt-get update\nFROM {base}\nRUN apt-get install -y curl\n"
    assert [item.fix is not None for item in found("apt-lists-left", text)] == [fixed]


def test_hadolint_knows_no_such_base() -> None:
    text = f"ARG V=a\nFROM debian:12 AS base-a\n{SET}FROM base-$V AS f\n{USE}"
    assert lines("DL3042", text, "hadolint") == [9]


def test_nothing_is_rewritten_across_a_base_that_an_argument_may_change() -> None:
    text = (
        "# syntax=docker/dockerfile:1\nARG V=a\nFROM python:3.13 AS base-a\nUSER root\nWORKDIR /x\n{base}\n"
        "COPY . .\nRUN pip install -r requirements.txt\nCMD python app.py\n"
    )
    named = optimize(Source("-", text.format(base="FROM base-a AS f")))
    variable = optimize(Source("-", text.format(base="FROM base-$V AS f")))
    image = optimize(Source("-", text.format(base="FROM base-$W AS f")))
    assert named.changes
    assert variable.source.text.replace("$V", "$W") == image.source.text
