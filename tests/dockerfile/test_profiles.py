"""Which rules are on in which profile, and how grave their findings are there."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import chosen, lint
from buildopt.dockerfile.profiles import HADOLINT
from buildopt.dockerfile.rules import RULES
from buildopt.finding import Severity
from buildopt.settings import PROFILES, LintSettings
from buildopt.source import Source

OLD = Source("Dockerfile", "FROM debian:latest\nMAINTAINER a\nRUN apt-get update\n")


def found(settings: LintSettings) -> dict[str, Severity]:
    return {finding.rule: finding.severity for finding in lint(OLD, settings)}


def test_strict_has_all_rules_and_recommended_fewer() -> None:
    recommended, strict, hadolint = (chosen(LintSettings(profile=name)) for name in PROFILES)
    assert strict == RULES
    assert set(recommended) < set(strict)
    assert all(set(rule.ALIASES) & HADOLINT.keys() or rule.NAME == "shellcheck" for rule in hadolint)


def test_every_code_of_hadolint_has_a_rule() -> None:
    aliases = {alias for rule in RULES for alias in rule.ALIASES}
    assert HADOLINT.keys() - aliases == set()


def test_the_hadolint_profile_has_its_severities() -> None:
    ours, theirs = found(LintSettings()), found(LintSettings(profile="hadolint"))
    assert ours["deprecated-maintainer"] is not Severity.ERROR
    assert theirs["deprecated-maintainer"] is Severity.ERROR
    assert theirs["apt-lists-left"] is Severity.INFO


def test_the_hadolint_profile_says_nothing_that_hadolint_would_not() -> None:
    source = Source("Dockerfile", "FROM a:1 as b\nARG AUTH\nADD https://x.example/y /z\n")
    assert [finding.rule for finding in lint(source, LintSettings(profile="hadolint"))] == []
    assert "from-as-casing" in [finding.rule for finding in lint(source)]


def test_a_rule_that_is_selected_runs_in_any_profile() -> None:
    for profile in PROFILES:
        for name in ("unpinned-base-digest", "security"):
            source = Source("Dockerfile", "FROM debian:12\n")
            settings = LintSettings(profile=profile, select=(name,))
            assert "unpinned-base-digest" in [finding.rule for finding in lint(source, settings)]


@pytest.mark.parametrize("name", ["deprecated-maintainer", "DL4000", "maintainerdeprecated"])
def test_severities_can_be_changed_by_any_name(name: str) -> None:
    for profile in PROFILES:
        settings = LintSettings(profile=profile, severity=((name, "style"),))
        assert found(settings)["deprecated-maintainer"] is Severity.STYLE


def test_an_alias_selects_only_the_findings_that_have_it() -> None:
    source = Source("Dockerfile", "FROM debian\nFROM debian:latest\n")
    for code, line in (("DL3006", 1), ("DL3007", 2)):
        assert [finding.start[0] for finding in lint(source, LintSettings(select=(code,)))] == [line]
        left = lint(source, LintSettings(ignore=(code,)))
        assert line not in [finding.start[0] for finding in left if {"DL3006", "DL3007"} & set(finding.aliases)]


def test_rules_look_at_files_without_a_stage() -> None:
    source = Source("Dockerfile", "RUN apt-get install curl\nONBUILD RUN apt-get install curl\n")
    lines = [finding.start[0] for finding in lint(source, LintSettings(select=("DL3014",)))]
    assert lines == [1, 2]
