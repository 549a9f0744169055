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


SILENT = [
    (LATE, "FROM a\nARG CACHEBUST\nRUN apt-get install -y x", "meant to break the cache"),
    (LATE, "ARG VERSION=1.2.3\nFROM a\nARG VERSION\nRUN apt-get install -y x", "pinned by the global default"),
    (LATE, "FROM a\nARG COMMIT\nRUN apt-get install -y x && ./configure", "a script may read it"),
    (LATE, "FROM a\nARG COMMIT\nFROM b\nRUN apt-get install -y x", "another stage"),
    (LATE, "FROM a\nARG COMMIT\nRUN apt-get update && echo x", "installs nothing"),
]


@pytest.mark.parametrize(("rule", "text", "why"), SILENT)
def test_near_misses_stay_silent(rule: str, text: str, why: str) -> None:
    assert found(rule, text) == [], why
