"""Packages without a version: what fixtures cannot show, and where the profile ``hadolint`` decides otherwise."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import lint
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source

PINS = (
    *("unpinned-apt-package", "unpinned-pip-package", "unpinned-npm-package", "unpinned-apk-package", "unpinned-gem"),
    *("unpinned-dnf-package", "unpinned-zypper-package", "unpinned-go-tool"),
)


def found(text: str, profile: str = "recommended") -> list[Finding]:
    source = Source("Dockerfile", text if "FROM" in text else f"FROM debian:12\n{text}\n")
    return [finding for finding in lint(source, LintSettings(profile=profile)) if finding.rule in PINS]


def rules(text: str, profile: str = "recommended") -> list[str]:
    return [finding.rule for finding in found(text, profile)]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("RUN apt-get update && apt-get install -y curl", (2, 23)),
        ("RUN sudo apt-get install -y curl", (2, 5)),
        ("RUN bash -c 'apt-get install -y curl'", (2, 14)),
        ('RUN ["apt-get", "install", "-y", "curl"]', (2, 7)),
        ("RUN <<E\nset -e\napt-get install -y curl\nE", (4, 1)),
        ("ONBUILD RUN apt-get install -y curl", (2, 13)),
        ("RUN if true; then \\\n  # why\n  apt-get install -y curl; fi", (4, 3)),
        ("SHELL ['x']\nRUN apt-get install -y curl", (3, 5)),
    ],
)
def test_commands_are_found_where_they_are(text: str, start: tuple[int, int]) -> None:
    findings = found(text)
    assert [finding.rule for finding in findings] == ["unpinned-apt-package"]
    assert findings[0].start == start


def test_a_message_names_three_packages_at_most() -> None:
    assert found("RUN pip install a")[0].message.startswith("a has no version: ")
    assert found("RUN pip install a b c")[0].message.startswith("a, b and c have no version: ")
    assert found("RUN pip install a b==1 c d e")[0].message.startswith("a, c and 2 more have no version: ")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("RUN yum install -y a", "DL3033"),
        ("RUN dnf install -y a", "DL3041"),
        ("RUN microdnf install -y a", "DL3041"),
        ("RUN dnf5 install -y a", "DL3041"),
    ],
)
def test_yum_and_dnf_have_a_code_each(text: str, code: str) -> None:
    assert [finding.aliases for finding in found(text)] == [(code,)]


@pytest.mark.parametrize(
    "text",
    [
        'RUN apt-get install -y $A ${A} "$A" `cat a` $(cat a) linux-headers-$(uname -r)',
        'RUN pip install $A a==$B "a-$B"',
        "RUN npm install $A a@$B",
        "RUN apk add $A a=$B a-$B",
        "RUN gem install $A a:$B",
        "RUN dnf install -y $A a-$B",
        "RUN zypper -n install $A a=$B",
        "RUN go install $A a.b/c@$B",
    ],
)
def test_what_is_not_known_is_not_judged(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian:12\nRUN sed -i s/deb.debian.org/snapshot.debian.org/ /etc/apt/sources.list\nRUN apt-get install a",
        "FROM debian:12 AS a\nENV PIP_CONSTRAINT=/c.txt\nFROM a\nRUN pip install flask",
        "FROM golang:1\nRUN git clone https://example.com/x && cd x && go install example.com/x/cmd/y",
        "FROM golang:1\nCOPY go.mod ./\nRUN go get example.com/x",
        "FROM golang:1 AS a\nADD . /src\nFROM a\nRUN go run example.com/x",
        "FROM golang:1\nRUN --mount=type=bind,target=. go install example.com/x",
    ],
)
def test_versions_may_be_fixed_elsewhere(text: str) -> None:
    assert rules(text) == []


def test_a_module_of_one_stage_says_nothing_about_another() -> None:
    text = "FROM golang:1 AS a\nCOPY . .\nFROM golang:1\nRUN go install example.com/x"
    assert rules(text) == ["unpinned-go-tool"]


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        # Values of options and unknown words count for hadolint.
        ("RUN apt-get install -o A::B a=1", 0, 1),
        ("RUN apt-get install $A", 0, 1),
        ("RUN apt-get install a-", 0, 1),
        ("RUN pip install .[dev]", 0, 1),
        ("RUN pip install a.zip", 0, 1),
        ("RUN npm install file:./a", 0, 1),
        ("RUN npm install --omit dev", 0, 1),
        ("RUN apk add '!a'", 0, 1),
        ("RUN apk add --root /x a=1", 0, 1),
        ("RUN gem install a -v2", 0, 1),
        ("RUN dnf install -y --enablerepo a b-1", 0, 1),
        ("RUN dnf install -y a-1*", 0, 1),
        ("RUN zypper -n in -t pattern a", 0, 1),
        ("RUN go run main.go", 0, 1),
        ("RUN go install std", 0, 1),
        # What hadolint takes for pinned, or does not see.
        ("RUN pip install -r a.txt b", 1, 0),
        ("RUN pip install . b", 1, 0),
        ("RUN npm install a@latest", 1, 0),
        ("RUN npm i a", 1, 0),
        ("RUN gem install --no-document a", 1, 0),
        ("RUN sudo apt-get install a", 1, 0),
        ("RUN sh -c 'apt-get install a'", 1, 0),
        ("RUN /usr/bin/apt-get install a", 1, 0),
        ("RUN apt install a", 1, 0),
        ("RUN go install a.b/c@main", 1, 0),
        # Both.
        ("RUN exec apt-get install a", 1, 1),
        ('RUN ["apt-get", "install", "a"]', 1, 1),
        ("RUN python3 -m pip install a", 1, 1),
        ("RUN npm install a/b", 1, 1),
        ("RUN pip install git+https://example.com/a", 1, 1),
        ("RUN pip install git+https://example.com/a@v1", 0, 0),
        ("RUN npm install git://example.com/a.git#v1", 0, 0),
    ],
)
def test_the_profile_hadolint_decides_as_hadolint(text: str, ours: int, theirs: int) -> None:
    assert len(rules(text)) == ours
    assert len(rules(text, "hadolint")) == theirs
