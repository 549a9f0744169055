"""What a proof needs to know of a Dockerfile."""

from __future__ import annotations

import pytest

from buildopt.prove import stages
from buildopt.source import Source


def source(text: str) -> Source:
    return Source("Dockerfile", text)


GO = "ARG V=1\nFROM golang:$V"
ONE = GO + "\nCOPY . .\nRUN go build\n"


@pytest.mark.parametrize(
    ("after", "split"),
    [
        ("FROM golang:1\nCOPY go.mod .\nCOPY . .\nRUN go build\n", False),
        (GO + "\nCOPY go.mod .\nCOPY . .\nRUN --mount=type=cache,target=/c go build\n", False),
        (GO + " AS build\nRUN go build\nFROM golang:$V\nCOPY --from=build /a /a\n", True),
        (GO + " AS build\nRUN go build\nFROM golang:$V\nCOPY --from=0 /a /a\n", True),
        (
            GO + " AS build\nRUN go build\nFROM golang:$V\nRUN --mount=from=build,target=/b cp /b/a /\n",
            True,
        ),
        (GO + " AS build\nRUN go build\nFROM golang:$V AS last\nCOPY a /a\nFROM last\n", False),
        (GO + " AS b\nRUN go build\nFROM golang:$V AS last\nCOPY --from=b a /a\nFROM last\n", True),
        (GO + " AS build\nCOPY . .\nRUN go build\nFROM build\n", False),
        (GO + " AS build\nRUN go build\nFROM golang:$V\nCOPY --from=nginx /a /a\n", False),
        ("FROM golang:1 AS build\nRUN go build\nFROM scratch\nCOPY --from=build /a /a\n", True),
    ],
)
def test_whether_stages_were_split(after: str, split: bool) -> None:
    assert stages.leaves_behind(source(ONE), source(after), None) is split


def test_a_file_with_the_same_stages_is_not_split() -> None:
    text = "FROM a AS b\nFROM c\nCOPY --from=b /x /x\n"
    assert not stages.leaves_behind(source(text), source(text.replace("/x /x", "/x /y")), None)


@pytest.mark.parametrize(
    ("after", "other"),
    [
        ("ARG V=1\nFROM golang:$V AS last\nRUN x\n", False),
        ("ARG V=2\nFROM golang:$V\n", True),
        ("FROM golang:1\n", True),
        ("ARG V=1\nFROM golang:$V AS build\nFROM build\n", False),
        ("ARG V=1\nFROM golang:$V AS build\nFROM debian\n", True),
        ("ARG V=1\nFROM golang:$V AS build\nFROM scratch\n", True),
    ],
)
def test_whether_the_base_image_is_another_one(after: str, other: bool) -> None:
    assert stages.other_base(source(ONE), source(after), None) is other


def test_the_base_image_alone() -> None:
    head = "# syntax=docker/dockerfile:1\nARG V=1\n"
    text = head + "FROM a AS b\nFROM --platform=linux/amd64 c:$V AS d\nRUN x\nFROM d\nRUN y\n"
    assert stages.base_text(source(text), None) == head + "FROM --platform=linux/amd64 c:$V\n"
    assert stages.base_text(source(text), "b") == head + "FROM a\n"
    assert stages.base_text(source("FROM scratch\nCOPY a b\n"), None) is None


def test_every_image_is_fetched_once() -> None:
    text = (
        "ARG V=1\nFROM a:$V AS b\nFROM b AS c\nCOPY --from=nginx:1 /x /x\nCOPY --from=b /x /x\nCOPY --from=0 /y /y\n"
        "RUN --mount=type=bind,from=tools,target=/t true\nFROM a:$V\nFROM scratch\n"
    )
    assert stages.probe_text(source(text)) == (
        "ARG V=1\nFROM a:$V AS buildopt-0\nFROM nginx:1 AS buildopt-1\nFROM tools AS buildopt-2\nFROM scratch\n"
        "COPY --from=buildopt-0 /buildopt-nothing* /\nCOPY --from=buildopt-1 /buildopt-nothing* /\n"
        "COPY --from=buildopt-2 /buildopt-nothing* /\n"
    )
    assert stages.probe_text(source("FROM scratch\nCOPY a b\n")) is None


def test_where_cache_mounts_are() -> None:
    text = (
        "FROM a\nARG HOME=/h\nWORKDIR /w\nRUN --mount=type=cache,target=$HOME/.cache --mount=type=cache,dst=rel x\n"
        "RUN --mount=type=bind,target=/b --mount=type=cache,target=$UNKNOWN x\n"
    )
    assert stages.cache_targets(source(text)) == ("/h/.cache", "/w/rel")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("COPY . .", (".",)),
        ("COPY a b/ ./c/d/* /x/", ("a", "b", "c/d/*")),
        ("ADD https://a.b/c.tar /x", ()),
        ("COPY --from=other a b", ()),
        ('COPY ["a b", "/x"]', ("a b",)),
        ("COPY <<EOF /x\na\nEOF", ()),
        ("RUN --mount=type=bind,source=src,target=/s x", ("src",)),
        ("RUN --mount=target=/s x", (".",)),
        ("RUN --mount=type=cache,target=/s x", ()),
    ],
)
def test_what_is_copied_from_the_context(line: str, found: tuple[str, ...]) -> None:
    assert stages.copied_sources(source(f"FROM a\n{line}\n")) == found
