"""apt and pip: what fixtures cannot show, the profile ``hadolint``; and fixes that append, in files of all kinds."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source

RULES = (
    *("apt-lists-left", "pip-cache-left-in-image", "apk-cache-left-in-image", "dnf-cache-left-in-image"),
    *("zypper-cache-left-in-image", "yarn-cache-left-in-image", "npm-cache-left-in-image"),
    *("missing-apt-yes", "missing-dnf-yes", "missing-zypper-non-interactive", "zypper-dist-upgrade"),
    *("apt-instead-of-apt-get", "apt-get-without-no-install-recommends"),
)


def source(text: str) -> Source:
    return Source("Dockerfile", text if "FROM" in text else f"FROM debian:12\n{text}\n")


def found(text: str, rule: str, profile: str = "recommended") -> list[Finding]:
    findings = lint(source(text), LintSettings(profile=profile))
    return [finding for finding in findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("rule", "text", "ours", "theirs"),
    [
        # Stages that never become images.
        ("apt-lists-left", "FROM a AS b\nRUN apt-get update\nFROM c\nCOPY --from=b / /", 1, 0),
        ("pip-cache-left-in-image", "FROM a AS b\nRUN pip install x\nFROM c\nCOPY --from=b /x /x", 0, 1),
        # Mounts.
        ("apt-lists-left", "RUN --mount=type=cache,target=/var/lib/apt apt-get update", 0, 1),
        ("pip-cache-left-in-image", "RUN --mount=type=cache,target=/root/.cache pip install x", 0, 1),
        # Clean-ups.
        ("apt-lists-left", "RUN apt-get update && rm -rf /tmp/x", 1, 0),
        ("apt-lists-left", "RUN rm -rf /var/lib/apt/lists/* && apt-get update", 1, 0),
        ("apt-lists-left", "RUN clean() { rm -rf /var/lib/apt/lists; }; apt-get update; clean", 0, 0),
        ("apt-lists-left", "RUN apt-get update; rm -rf /var/lib/apt/lists; apt-get update; rm -r /var/lib/apt", 0, 0),
        ("apt-lists-left", "RUN apt-get update && find /var/lib/apt/lists -delete", 0, 1),
        ("apt-lists-left", "RUN apt-get update && apt-get install -y x && apt-get distclean", 0, 1),
        ("apt-lists-left", "RUN apt-get update && rm -rf '/var/lib/apt/lists/*'", 1, 0),
        ("pip-cache-left-in-image", "RUN pip install x && rm -rf ~/.cache/pip", 0, 1),
        # Variables.
        ("pip-cache-left-in-image", "RUN export PIP_NO_CACHE_DIR=0 && pip install x", 0, 1),
        ("pip-cache-left-in-image", "ENV PIP_NO_CACHE_DIR=off\nRUN pip install x", 0, 1),
        ("pip-cache-left-in-image", "ENV PIP_NO_CACHE_DIR=\nRUN pip install x", 1, 1),
        ("pip-cache-left-in-image", "RUN export PIP_NO_CACHE_DIR=1 && pip install x", 0, 0),
        ("pip-cache-left-in-image", "ARG PIP_NO_CACHE_DIR=1\nRUN pip install x", 0, 1),
        ("pip-cache-left-in-image", "RUN PIP_NO_CACHE_DIR=1; pip install x", 1, 0),
        # What hadolint sees of a command line.
        ("missing-apt-yes", "RUN apt-get remove x", 1, 0),
        ("missing-apt-yes", "RUN sudo apt-get install x", 1, 0),
        ("missing-apt-yes", "RUN yes | apt-get install x", 0, 1),
        ("missing-apt-yes", "RUN apt-get -q -q install x", 0, 0),
        ("missing-apt-yes", 'RUN ["apt-get", "install", "x"]', 1, 1),
        ("apt-instead-of-apt-get", "RUN sudo apt update", 1, 0),
        ("apt-instead-of-apt-get", 'RUN ["apt", "update"]', 1, 1),
        ("apt-get-without-no-install-recommends", "RUN apt-get -o APT::Install-Recommends=0 install -y x", 0, 1),
        ("apt-get-without-no-install-recommends", "RUN apt-get --no-install-recommends=true install -y x", 0, 0),
        ("apt-get-without-no-install-recommends", "RUN apt install -y x", 1, 0),
    ],
)
def test_the_profile_hadolint_decides_as_hadolint(rule: str, text: str, ours: int, theirs: int) -> None:
    assert len(found(text, rule)) == ours
    assert len(found(text, rule, "hadolint")) == theirs


@pytest.mark.parametrize(
    ("rule", "text", "why"),
    [
        ("missing-apt-yes", 'RUN ["apt-get", "install", "x"]', "an exec form's words are strings"),
        ("pip-cache-left-in-image", 'RUN ["pip", "install", "x"]', "an exec form's words are strings"),
    ],
)
def test_what_cannot_be_fixed_is_left(rule: str, text: str, why: str) -> None:
    assert [finding.fix for finding in found(text, rule)] == [None], why


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("RUN dnf install -y x", "RUN dnf install -y x && dnf clean all"),
        ("RUN sudo yum -y update", "RUN sudo yum -y update && sudo yum clean all"),
        ("RUN microdnf install -y x \\\n    y", "RUN microdnf install -y x \\\n    y \\\n    && microdnf clean all"),
        ("RUN npm ci", "RUN npm ci && npm cache clean --force"),
        ("RUN apk add x", "RUN apk add --no-cache x"),
        ("RUN apk update && apk add x", "RUN apk add --no-cache x"),
        ("RUN dnf remove \\\n  x && dnf clean all", "RUN dnf remove -y \\\n  x && dnf clean all"),
        ("RUN <<E\nset -e\nnpm ci\nE", "RUN <<E\nset -e\nnpm ci\nnpm cache clean --force\nE"),
        ("ONBUILD RUN apk add x", "ONBUILD RUN apk add --no-cache x"),
    ],
)
def test_safe_fixes(text: str, fixed: str) -> None:
    before = source(text)
    settings = LintSettings(select=RULES)
    assert fix(before, settings).source.text == source(fixed).text
    windows = before.replace(before.text.replace("\n", "\r\n"))
    assert fix(windows, settings).source.text == source(fixed).text.replace("\n", "\r\n")
