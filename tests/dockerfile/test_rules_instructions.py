"""What the fixtures of rules about instructions cannot show: no fix, unsafe fixes, no finding, and hadolint's ways."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.runs import runs
from buildopt.finding import Finding
from buildopt.settings import LintSettings
from buildopt.source import Source

HADOLINT = LintSettings(profile="hadolint")


def found(name: str, text: str, settings: LintSettings | None = None) -> list[Finding]:
    chosen = settings or LintSettings(select=(name,))
    return [finding for finding in lint(Source("Dockerfile", text), chosen) if finding.rule == name]


UNFIXABLE = [
    ("sudo-in-run", "FROM a:1\nUSER app\nRUN sudo make", "it would run as app"),
    ("sudo-in-run", "FROM a:1\nUSER 0\nRUN sudo -u app make", "app is meant"),
    ("sudo-in-run", 'FROM a:1\nRUN ["sudo", "make"]', "the exec form's words have other spans"),
    ("sudo-in-run", 'FROM a:1\nRUN bash -c "sudo echo \\"x\\""', "the words of this script have no places"),
    ("sudo-in-run", "FROM a:1\nRUN sudo \\\n# why\n  make", "the comment would be lost"),
    ("sudo-in-run", "FROM a:1\nRUN sudo -v", "nothing is left"),
    ("sudo-in-run", "FROM a:1\nRUN sudo $TOOL", "it is not known what runs"),
    ("sudo-in-run", "FROM a:1\nRUN echo A | xargs sudo A=1 make", "an assignment would be a command"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN cd /src && make", "the folder would stay"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN cd /src && make\nWORKDIR srv", "it is relative"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN cd /src && make || true\nWORKDIR /srv", "|| would also hide the cd"),
    ("cd-instead-of-workdir", "FROM a:1\n# why\nRUN cd /src && make\nWORKDIR /srv", "whose comment is it?"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN cd /src && echo $OLDPWD\nWORKDIR /srv", "the old folder is asked for"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN --mount=target=src cd /src && make\nWORKDIR /srv", "a relative mount"),
    ("cd-instead-of-workdir", "FROM a:1\nRUN mkdir /x && cd /x\nWORKDIR /srv", "the cd is lost"),
    ("copy-several-to-file", 'FROM a:1\nENV X=y\nCOPY a b "$X"', "the slash may be in the variable"),
    ("copy-from-unknown-stage", "FROM a:1\nCOPY --from=composer /a /b", "no stage has a name like this"),
    ("copy-from-unknown-stage", "FROM a:1\nCOPY --from=7 /a /b", "a number"),
    ("copy-from-unknown-stage", "FROM a:1\nCOPY --from=late /a /b\nFROM b:1 AS late", "the stage comes later"),
    ("shell-form-command", "FROM a:1\nHEALTHCHECK CMD a\nCMD a b; c", "two commands"),
]


@pytest.mark.parametrize(("name", "text", "why"), UNFIXABLE)
def test_what_cannot_be_fixed_is_found_and_left(name: str, text: str, why: str) -> None:
    assert [finding.fix for finding in found(name, text)] == [None], why
    source = Source("Dockerfile", text)
    assert fix(source, LintSettings(select=(name,)), unsafe=True).source == source


@pytest.mark.parametrize(
    ("name", "text", "safe"),
    [
        ("sudo-in-run", "FROM a:1\nUSER root\nRUN sudo make", True),
        ("sudo-in-run", "FROM a:1\nRUN sudo make", False),
        ("sudo-in-run", "FROM a:1\nUSER root\nRUN A=1 sudo make", False),
        ("sudo-in-run", "FROM a:1\nENV A=1\nUSER root\nRUN sudo make", False),
        ("sudo-in-run", "FROM a:1\nUSER root\nONBUILD RUN sudo make", False),
        ("cd-instead-of-workdir", "FROM a:1\nRUN cd /src && make\nWORKDIR /srv", True),
        ("copy-several-to-file", "FROM a:1\nCOPY a b c", True),
        ("copy-from-unknown-stage", "FROM a:1 AS build\nFROM b:1\nCOPY --from=biuld a c", False),
        ("shell-form-command", "FROM a:1\nENTRYPOINT a b", False),
    ],
)
def test_how_safe_a_fix_is(name: str, text: str, safe: bool) -> None:
    fixes = [finding.fix for finding in found(name, text)]
    assert [one.safe for one in fixes if one is not None] == [safe]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("command-useless-in-container", "FROM a:1\nRUN if ps aux; then make; fi"),
        ("command-useless-in-container", "FROM a:1\nRUN ps aux > /list"),
        ("command-useless-in-container", "FROM a:1\nRUN service x start && service x stop"),
        ("command-useless-in-container", "FROM a:1\nRUN vim -es -c q"),
        ("last-user-is-root", "FROM a:1\nARG WHO=root\nUSER ${WHO}"),
        ("archive-copied-then-extracted", "FROM a:1\nCOPY a.gz /\nRUN gunzip /a.gz"),
        ("archive-copied-then-extracted", "FROM a:1\nCOPY a.tar /\nRUN tar -xf $(ls /a.tar)"),
        ("archive-copied-then-extracted", "FROM a:1\nCOPY a.tar /\nRUN tar --wildcards -xf /a.tar"),
        ("archive-copied-then-extracted", "FROM a:1\nCOPY a.tar /\nONBUILD RUN tar -xf /a.tar"),
        ("copy-from-unknown-stage", "FROM a:1 AS b\nFROM c:1\nCOPY --from=B a b"),
        ("copy-from-unknown-stage", "FROM a:1\nCOPY --from=node:22 a b"),
        ("inline-ignore-comment", "FROM a:1\n# see hadolint ignore\nRUN a"),
        ("secret-in-arg-or-env", "ARG TOKEN\nFROM a:1"),
        ("latest-or-untagged-base", "ARG A\nFROM $A\nFROM b:1 AS c\nFROM C"),
        ("add-instead-of-copy", "FROM a:1\nADD $X /"),
    ],
)
def test_what_is_fine_is_left_alone(name: str, text: str) -> None:
    assert found(name, text) == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("FROM a:1\nRUN (cd /src; make)", ["DL3003"]),
        ("FROM a:1\nONBUILD RUN cd /src", []),
        ("FROM a:1\nRUN bash -c 'cd /src; sudo x'", []),
        ("FROM a:1\nRUN env sudo x; /usr/bin/sudo x", []),
        ("FROM a:1\nRUN exec sudo x", ["DL3004"]),
        ("FROM a:1\nRUN service a start && make", ["DL3001"]),
        ("FROM a:1\nRUN sudo service a start", ["DL3004"]),
        ("FROM a:1 AS x\nUSER root\nFROM b:1\nUSER 1", ["DL3002", "DL3066"]),
        ('FROM a:1\nUSER "root"', ["DL3066"]),
        ("FROM a:1\nCOPY x.gz /\nRUN gunzip -f /x.gz", ["DL3010"]),
        ("FROM a:1\nCOPY x.tar /\nRUN tar xf /x.tar", []),
        ("FROM a:1\nWORKDIR /a\nCOPY a b .", ["DL3021"]),
        ("FROM a:1\nONBUILD COPY a b /c", []),
        ("FROM a:1 AS B\nFROM b:1\nCOPY --from=b /a /b", ["DL3022"]),
        ("FROM a:1\nCOPY --from=x/y /a /b", ["DL3022"]),
        ("FROM a:1 AS b\nCOPY --from=b /a /b", ["DL3023"]),
        ("FROM a:1 AS b\nCOPY --from=0 /a /b", []),
        ("FROM $A", []),
        ("FROM $A:latest", ["DL3007"]),
        ("FROM a/$B", ["DL3006"]),
        ("FROM a:1 AS b\nFROM B", ["DL3006"]),
        ("FROM a:1\nADD $X /", ["DL3020"]),
        ("FROM a:1\nADD x.tar.zst /", ["DL3020"]),
        ("FROM a:1\nONBUILD ADD x /", []),
        ('FROM a:1\nSHELL ["x"]\nCMD a', ["DL3025"]),
        ("FROM a:1\nHEALTHCHECK CMD a", ["DL3025"]),
        ("FROM a:1\nHEALTHCHECK NONE", []),
        ("ARG MY_TOKEN\nFROM a:1", ["DL3064"]),
        ("FROM a:1\nENV USERNAME=x MY_SECRET=y", ["DL3064"]),
        ("FROM a:1\nENV APIKEY=x", []),
        ("FROM a:1\nENV A=1 B='$A'", ["DL3044"]),
        ("FROM a:1\nENV A=1 B=${A:-x}", []),
        ("ARG A=1\nFROM a:1\nENV A=1 B=$A", []),
        ("FROM a:1\nONBUILD WORKDIR /x\nCOPY a b", ["DL3045"]),
        ("FROM a:1 AS B\nWORKDIR /x\nFROM b\nCOPY a b", ["DL3006", "DL3045"]),
        ("FROM a:1\nWORKDIR /x\nFROM a:2\nCOPY a b", []),
        ("FROM a:1\nRUN sudo useradd -u 123456 x", ["DL3004"]),
        ('FROM a:1\nRUN ["useradd", "-u", "123456", "x"]', ["DL3046"]),
        ("FROM a:1\nRUN bash -c 'wget x; curl y | z'", []),
        ('FROM a:1\nRUN ["wget", "x"]\nUSER 1\nRUN curl y', ["DL3047", "DL4001"]),
        ("FROM a:1\nRUN sh -c 'a && b'\nRUN c", ["DL3059"]),
        ("FROM a:1\nRUN if [ -f x ]; then a; fi\nRUN $X/c || true", ["DL3059"]),
        ("FROM a:1\nRUN { a; b; } | c", ["DL4006"]),
        ("FROM a:1\nRUN a > b/$(c | d)", ["DL4006"]),
        ('FROM a:1\nSHELL ["/bin/bash", "-o pipefail", "-c"]\nRUN a | b', []),
        ("FROM a:1\nRUN /bin/ln -s x /bin/sh", []),
        ("ENV A=1\nRUN b\nARG C\nFROM a:1", ["DL3061", "DL3061"]),
        ("ARG C", []),
        ("ONBUILD FROM a:1", ["DL3061", "DL3043"]),
        ("FROM a:1\nARG A\nUSER ${A}x:$B", []),
        ("FROM a:1\nARG A B\nUSER $B", ["DL3066"]),
    ],
)
def test_the_profile_hadolint_sees_what_hadolint_sees(text: str, codes: list[str]) -> None:
    findings = lint(Source("Dockerfile", text), HADOLINT)
    assert [alias for finding in findings for alias in finding.aliases if alias.startswith("DL")] == codes


def test_fixes_are_offered_in_the_profile_hadolint_too() -> None:
    source = Source("Dockerfile", "FROM a:1\nADD a.py /\nRUN cd /src && make\nWORKDIR /srv\nCOPY a b /c\n")
    assert fix(source, HADOLINT).source.text == (
        "FROM a:1\nCOPY a.py /\nWORKDIR /src\nRUN make\nWORKDIR /srv\nCOPY a b /c/\n"
    )


def test_an_untagged_base_is_ignored_by_the_name_of_that_finding_only() -> None:
    text = "# hadolint global ignore=DL3006\nFROM a\nFROM b:latest\n"
    assert [finding.aliases for finding in found("latest-or-untagged-base", text)] == [("DL3007",)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("FROM a:1\n# hadolint shell=powershell\nRUN a\nRUN b", []),
        ("FROM a:1\nRUN a\n# hadolint shell=pwsh # why\n\nRUN b", ["a"]),
        ("# hadolint shell=powershell\nFROM a:1\nRUN a\nFROM b:1\nRUN b", []),
        ("FROM a:1\nRUN a\n# hadolint shell=powershell\nFROM b:1\nRUN b", ["a", "b"]),
        ("FROM a:1 AS x\n# hadolint shell=cmd.exe\nRUN a\nFROM x\nRUN b\nFROM c:1\nRUN c", ["c"]),
        ('FROM a:1\n# hadolint shell=powershell\nRUN a\nSHELL ["/bin/bash", "-c"]\nRUN b', ["b"]),
        ("FROM a:1\n# hadolint shell=powershell\nRUN a\n# hadolint shell=bash\nRUN b", ["b"]),
        ("FROM a:1\nRUN a \\\n# hadolint shell=powershell\n  b\nRUN c", ["a   b", "c"]),
        ("FROM a:1\n# hadolint shell=powershell\n#\nRUN a", []),
        ("FROM a:1\n# hadolint shell=zebra\nRUN a", ["a"]),
        ("FROM a:1\n# hadolint shell=powershell -c\nRUN a", ["a"]),
    ],
)
def test_a_comment_tells_the_shell_of_the_base(text: str, read: list[str]) -> None:
    assert [run.script.text for run in runs(parse(Source("Dockerfile", text)))] == read


CORE = "mcr.microsoft.com/windows/servercore:ltsc2022"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"FROM {CORE}\nRUN a", []),
        ("FROM golang:1.24-nanoserver\nRUN a", []),
        ("FROM mcr.microsoft.com/dotnet/framework/sdk:4.8\nRUN a", []),
        ("FROM registry.example.com/base:ltsc2025\nRUN a", []),
        ("FROM --platform=windows/amd64 acme/a:1\nRUN a", []),
        ("ARG ON=windows/amd64\nFROM --platform=$ON acme/a:1\nRUN a", []),
        (f"ARG BASE={CORE}\nFROM $BASE\nRUN a", []),
        ("ARG TAG\nFROM mcr.microsoft.com/windows/nanoserver:$TAG\nRUN a", []),
        ("# escape=`\nARG BASE\nFROM $BASE\nRUN a", []),
        ("# escape=`\nFROM ${BASE}:1\nRUN a", []),
        (f"FROM {CORE} AS x\nRUN a\nFROM x\nRUN b\nFROM debian:12\nRUN c", ["c"]),
        (f"FROM {CORE}\nONBUILD RUN a", []),
        (f'FROM {CORE}\nRUN a\nSHELL ["C:\\\\bin\\\\bash.exe", "-c"]\nRUN b', ["b"]),
        (f"FROM {CORE}\n# hadolint shell=bash\nRUN a", ["a"]),
        (f"# hadolint shell=sh\nFROM {CORE}\nRUN a", ["a"]),
        ("FROM --platform=linux/amd64 debian:12\nRUN a", ["a"]),
        ("FROM --platform=linux/amd64 dockcross/windows-static-x64\nRUN a", ["a"]),
        ("# escape=`\nFROM --platform=linux/arm64 $BASE\nRUN a", ["a"]),
        ("ARG BASE\nFROM $BASE\nRUN a", ["a"]),
        ("# escape=`\nARG BASE=debian:12\nFROM $BASE\nRUN a", ["a"]),
        ("# escape=`\nFROM debian:12\nRUN a", ["a"]),
    ],
)
def test_windows_has_no_sh_unless_the_file_says_so(text: str, read: list[str]) -> None:
    assert [run.script.text for run in runs(parse(Source("Dockerfile", text)))] == read


def test_commands_of_windows_are_not_judged_as_those_of_sh() -> None:
    source = Source("Dockerfile", f"FROM {CORE}\nRUN wget http://x | y\nRUN cd C:\\x && a\nRUN b\nRUN c\n")
    judged = {"pipe-without-pipefail", "wget-without-quiet-progress", "cd-instead-of-workdir", "consecutive-runs"}
    assert not judged & {finding.rule for finding in lint(source, LintSettings(profile="strict"))}
    assert fix(source, LintSettings(select=tuple(sorted(judged))), unsafe=True).source == source
