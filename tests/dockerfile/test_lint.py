"""Choosing rules, ignore comments, and fixing to a fixed point."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from buildopt.dockerfile.lint import chosen, fix, lint, unknown_names
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.rules import RULES
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Source, Span

ADD = "ADD a.py /b\n"


LOOKED_AT = ("add-instead-of-copy", "deprecated-maintainer", "from-as-casing")


def rules_of(text: str, **options: tuple[str, ...]) -> list[str]:
    found = lint(Source("Dockerfile", text), LintSettings(**options))  # type: ignore[arg-type]
    return [finding.rule for finding in found if finding.rule in LOOKED_AT]


@pytest.mark.parametrize("name", ["add-instead-of-copy", "DL3020", "dl3020", "correctness"])
def test_names_aliases_and_categories_select_and_ignore(name: str) -> None:
    text = f"FROM a:1\n{ADD}"
    assert rules_of(text, select=(name,)) == ["add-instead-of-copy"]
    assert rules_of(text, ignore=(name,)) == []


def test_ignore_wins_over_select() -> None:
    assert chosen(LintSettings(select=("style",), ignore=("style",))) == ()
    assert len(chosen(LintSettings(profile="strict"))) == len(RULES)


@pytest.mark.parametrize(
    "text",
    [
        f"FROM a:1\n# hadolint ignore=DL3020\n{ADD}",
        f"FROM a:1\n# hadolint ignore=DL3008,DL3020\n{ADD}",
        f"FROM a:1\n# buildopt ignore=add-instead-of-copy\n\n# why\n{ADD}",
        f"FROM a:1\n# hadolint ignore=DL3020\n#\n{ADD}",
        f"FROM a:1\n#\n# hadolint ignore=DL3020\n#\n# why\n{ADD}",
        "FROM a:1\nADD \\\n # buildopt ignore=DL3020\n a.py /b\n",
        f"# hadolint global ignore=DL3020\nFROM a:1\n{ADD}",
        f"FROM a:1\n# buildopt global ignore=add-instead-of-copy\nUSER x\n{ADD}",
    ],
)
def test_comments_silence_a_finding(text: str) -> None:
    assert rules_of(text) == []


def test_an_empty_comment_below_leaves_an_ignore_in_use() -> None:
    source = Source("Dockerfile", "FROM debian:12\n# hadolint ignore=DL4006\n#\nRUN a | b\n")
    names = {finding.rule for finding in lint(source, LintSettings(profile="strict"))}
    assert not names & {"pipe-without-pipefail", "unused-ignore"}


@pytest.mark.parametrize(
    "text",
    [
        f"FROM a:1\n# hadolint ignore=DL3008\n{ADD}",
        f"FROM a:1\n# hadolint ignore=DL3020\nUSER x\n{ADD}",
        f"FROM a:1\n{ADD}# hadolint ignore=DL3020\n",
        f"# check=skip=all\nFROM a:1\n{ADD}",
    ],
)
def test_comments_for_something_else_do_not(text: str) -> None:
    assert rules_of(text) == ["add-instead-of-copy"]


def test_buildkits_directive_skips_its_checks() -> None:
    body = "FROM a:1 as b\nMAINTAINER c\n"
    assert rules_of(f"# check=skip=FromAsCasing;error=true\n{body}") == ["deprecated-maintainer"]
    assert rules_of(f"# check=skip=all\n{body}") == []


def test_unknown_names_are_found_but_codes_of_hadolint_pass() -> None:
    assert unknown_names(["DL3008", "DL9999", "SC2086", "style", "aptlists"]) == ["aptlists"]
    assert unknown_names(["dl3008", "DL9999", "sc2086", "style", "SC20861"], selected=True) == ["DL9999", "SC20861"]


def test_fixes_that_overlap_take_turns_and_the_end_is_stable() -> None:
    source = Source("Dockerfile", "from a:1 as b\nRUN apt update && apt install x\nADD c.py d.py /e/\nCMD f g\n")
    fixed = fix(source, unsafe=True)
    assert fixed.source.text.splitlines() == [
        "FROM a:1 AS b",
        "RUN apt-get update && apt-get install -y --no-install-recommends x && rm -rf /var/lib/apt/lists/*",
        "COPY c.py d.py /e/",
        'CMD ["f", "g"]',
    ]
    assert fix(fixed.source, unsafe=True).count == 0


def test_a_fix_that_changes_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("Dockerfile", "FROM a:1\n")
    same = Fix("write a:1", (Edit(Span(5, 8), "a:1"),))
    finding = Finding("r", "m", source, Span(5, 8), Severity.WARNING, Category.STYLE, (), same)
    rule = SimpleNamespace(NAME="r", ALIASES=(), CATEGORY=Category.STYLE, check=lambda dockerfile, settings: [finding])
    monkeypatch.setattr("buildopt.dockerfile.lint.chosen", lambda settings: (rule,))
    assert [found.fix for found in lint(source)] == [None]
    assert fix(source).count == 0


def test_fixes_that_undo_each_other_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(dockerfile: Dockerfile, settings: LintSettings) -> list[Finding]:
        source = dockerfile.source
        other = Fix("the other", (Edit(Span(5, 6), "b" if source.text[5] == "a" else "a"),))
        return [Finding("r", "m", source, Span(5, 6), Severity.WARNING, Category.STYLE, (), other)]

    rule = SimpleNamespace(NAME="r", ALIASES=(), CATEGORY=Category.STYLE, check=check)
    monkeypatch.setattr("buildopt.dockerfile.lint.chosen", lambda settings: (rule,))
    source = Source("Dockerfile", "FROM a:1\n")
    fixed = fix(source)
    assert (fixed.source, fixed.count) == (source, 0)


PARTS = [
    *("FROM a:1\n", "from a as b\n", "RUN apt-get update && apt install x", " \\\n  # c\n", "\n", "\n", "ENV a b c\n"),
    *(
        "ADD x /y\n",
        'ADD ["x", "/y"]\n',
        "CMD a 'b c'\n",
        "ENTRYPOINT x\n",
        "WORKDIR a\n",
        "WORKDIR /a\n",
        'SHELL ["x"]\n',
    ),
    *(
        "RUN <<E\npip install x\nE\n",
        'MAINTAINER a "b"\n',
        "# escape=`\n",
        "ONBUILD ADD a /b\n",
        "run pip install x",
        " `\n",
    ),
    *(
        "LABEL a 'b\n",
        "é\u2003",
        "\r\n",
        "USER x\n",
        "\\",
        '"',
        'RUN sh -c "apt-get install x"\n',
        "${A:-",
        "<<E",
        "\x00",
    ),
]


@pytest.mark.parametrize("seed", range(60))
def test_fixing_anything_ends_and_brings_no_syntax_error(seed: int) -> None:
    dice = random.Random(seed)
    source = Source("Dockerfile", "FROM a:1\n" + "".join(dice.choice(PARTS) for _ in range(dice.randint(1, 25))))
    fixed = fix(source, unsafe=True)
    assert len(parse(fixed.source).errors) <= len(parse(source).errors)
    assert fix(fixed.source, unsafe=True).source == fixed.source


@pytest.mark.parametrize(
    ("above", "silent"),
    [("", True), ("#\n", False), ("# why\n", False), ("\n", False), ("# hadolint ignore=DL3059\n", False)],
)
def test_hadolint_looks_only_at_the_line_above(above: str, silent: bool) -> None:
    text = f"FROM debian:12\n# hadolint ignore=DL4006\n{above}RUN a | b\n"
    for profile, expected in (("hadolint", silent), ("recommended", True)):
        found = lint(Source("Dockerfile", text), LintSettings(profile=profile))
        assert any("DL4006" in finding.aliases for finding in found) is not expected


def test_hadolint_reads_windows_as_sh() -> None:
    text = "FROM mcr.microsoft.com/windows/servercore:ltsc2022\nRUN dir | findstr x\n"
    for profile, expected in (("hadolint", True), ("recommended", False)):
        found = lint(Source("Dockerfile", text), LintSettings(profile=profile))
        assert any("DL4006" in finding.aliases for finding in found) is expected
