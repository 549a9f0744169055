"""BuildKit's checks, and what their fixtures cannot show: triggers, arguments, findings without a fix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.settings import LintSettings
from buildopt.source import Source

STRICT = LintSettings(profile="strict")


def found(text: str, alias: str, settings: LintSettings = STRICT) -> list[int]:
    """The lines in which the check of that name finds something."""
    return [item.start[0] for item in lint(Source("-", text), replace(settings, select=(alias,)))]


CASES = [
    # Names of stages
    ("DuplicateStageName", "FROM a AS x\nFROM b AS X\nFROM c AS y\nFROM d AS x\n", [2, 4]),
    ("DL3024", "FROM a AS x\nFROM b AS X\nFROM c AS y\nFROM d AS x\n", [4]),
    ("DuplicateStageName", "FROM a AS 1x\nFROM b AS 1x\n", []),
    ("StageNameCasing", "FROM a AS x.Y-z\nFROM b as low\n", [1]),
    ("ReservedStageName", "FROM a AS scratch\nFROM a AS Context\nFROM a AS scratches\n", [1, 2]),
    ("DL3063", "FROM a AS scratch\nFROM a AS Context\n", [1]),
    # Empty lines
    ("NoEmptyContinuation", "FROM a\nRUN b \\\n\n c\nRUN d \\\n # e\n f\n", [3]),
    ("NoEmptyContinuation", "FROM a\nONBUILD RUN b \\\n \t\n c\n", [3]),
    ("NoEmptyContinuation", "# escape=`\nFROM a\nRUN b \\\n\nRUN c `\n\n d\n", [6]),
    ("NoEmptyContinuation", "FROM a\nRUN b \\\n\n", [3]),
    # FROM
    ("UndefinedArgInFrom", "ARG A\nFROM x$A$B${C:-d}\nFROM $TARGETARCH$TARGETSTAGE\n", [2, 2]),
    ("UndefinedArgInFrom", "FROM --platform=$TARGETPLATFROM a\n", [1]),
    ("UndefinedArgInFrom", "FROM '$A'b\nFROM \\$A\n", []),
    ("UndefinedArgInFrom", "FROM a\nARG B=1\nFROM c:$B\n", [3]),
    ("InvalidDefaultArgInFrom", "ARG A\nFROM x:$A\nFROM x$A\nFROM $A\n", [2, 4]),
    ("InvalidDefaultArgInFrom", "ARG A=${B:?no}\nFROM x:$A\n", []),
    ("InvalidDefaultArgInFrom", f"FROM {'a' * 64}\nFROM {'a' * 63}\nFROM {'a' * 256}\n", [1, 3]),
    ("InvalidDefaultArgInFrom", "FROM a..b\nFROM a__b\nFROM a___b\nFROM a--b\nFROM -a\nFROM a//b\n", [1, 3, 5, 6]),
    ("InvalidDefaultArgInFrom", "FROM Host/a\nFROM a/B\nFROM a.B/c\nFROM localhost/A\nFROM [::1]:5000/a\n", [2, 4]),
    ("InvalidDefaultArgInFrom", "FROM a:5000/b\nFROM a:b/c\nFROM a@sha256:ab\n", [2, 3]),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a\nFROM --platform=$BUILDPLATFORM a\n", [1]),
    ("RedundantTargetPlatform", "FROM --platform=${A:-$TARGETPLATFORM} a\nFROM --platform=linux/$TARGETARCH a\n", []),
    (
        "FromPlatformFlagConstDisallowed",
        "FROM --platform=linux/arm a AS x\nFROM --platform=linux/arm a AS linux\n",
        [1],
    ),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux a AS amd64\nFROM --platform=x86_64 a AS x86\n", [2]),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=nonsense a\nFROM --platform=a/b/c/d a\n", []),
    # Instructions that are replaced
    ("MultipleInstructionsDisallowed", 'FROM a\nCMD ["b"]\nCMD ["c"]\nONBUILD CMD ["d"]\nCMD ["e"]\n', [2, 3]),
    ("MultipleInstructionsDisallowed", 'FROM a AS x\nCMD ["b"]\nFROM x\nCMD ["c"]\n', []),
    # Ports
    ("ExposeInvalidFormat", "FROM a\nEXPOSE 80:81 :82 1.2.3.4::83\nONBUILD EXPOSE 84:85\n", [2, 2]),
    ("ExposeInvalidFormat", "FROM a\nEXPOSE 80:http 80:90000\n", []),
    ("ExposeProtoCasing", "FROM a\nARG P=TCP\nEXPOSE 80/$P 81/TCP 82/HTTP 83/tcp 84\nONBUILD EXPOSE 85/UDP\n", [3, 3]),
    ("DL3011", "FROM a\nEXPOSE 65535 65536 1-70000 $P\n", [2, 2]),
    # Variables
    ("UndefinedVar", "FROM scratch\nENV A=$B C=$PATH\nRUN $D\nCMD $E\nLABEL $F=$G\n", [2, 5, 5]),
    ("UndefinedVar", "FROM scratch\nARG A\nARG B=$A$C\nENV D=$D\nENV E=$D\n", [3, 4]),
    ("UndefinedVar", "FROM alpine AS x\nARG A\nFROM x\nENV B=$A$C\n", [4]),
    ("UndefinedVar", "ARG A=alpine\nFROM $A:3\nENV B=$A\n", [3]),
    ("UndefinedVar", "FROM docker.io/library/debian@sha256:00\nENV B=$A\n", [2]),
    ("UndefinedVar", "FROM mine/debian\nENV B=$A\n", []),
    ("UndefinedVar", "FROM scratch AS x\nONBUILD ENV A=$B\nFROM x\nENV C=$A\n", [3]),
    (
        "UndefinedVar",
        "FROM scratch AS x\nONBUILD ENV A=$B\nFROM x\nFROM x\nCOPY --from=1 /a /\nFROM x AS y\nFROM y\n",
        [6],
    ),
    ("UndefinedVar", "FROM scratch\nCOPY <<E /\n$A\n'$B' \\$C\nE\nCOPY <<'E' /\n$D\nE\n", [3, 4]),
    ("UndefinedVar", "FROM scratch\nADD --chown=$A --checksum=$B https://c /\n", [2, 2]),
    ("UndefinedVar", "FROM scratch\nCOPY --exclude=$A b /\n", []),
    ("UndefinedVar", "FROM scratch\nRUN --mount=type=cache,id=$A,target=/b$C true\n", [2, 2]),
    ("UndefinedVar", "FROM scratch\nENV A=$BUILDKIT_SBOM_SCAN_STAGE\n", []),
    ("UndefinedVar", "FROM acme/app\nENV A=$TARGETARCH B=$NODE_VERSION\n", [2]),
    ("UndefinedVar", "FROM node:22\nENV A=$HOME B=$NODE_VERSION\n", [2]),
    ("UndefinedVar", "FROM python:3 AS x\nFROM x\nENV A=$PYTHONPATH B=$PYTHON_VERSION C=$LANG\n", [3]),
    ("UndefinedVar", "FROM golang:1.23\nENV A=$GOPATH B=$GOBIN C=$HOME\n", [2]),
    (
        "UndefinedVar",
        "FROM acme/app\nENV JAVA_HOME=/j\nENV D=$JAVA_HOM$JAVA_HOME2$JVAA_HOME$JAVA_ROOT\n",
        [3, 3],
    ),
    ("UndefinedVar", "ARG SHA=1\nARG TAG_VERSION=2\nFROM acme/app\nLABEL a=$SHA b=$TAG_VERSION\n", [4]),
    # Working folders
    ("WorkdirRelativePath", "FROM a\nWORKDIR b\nWORKDIR c\nFROM a\nWORKDIR /b\nWORKDIR c\n", [2]),
    ("DL3000", "FROM a\nWORKDIR b\nWORKDIR c\nFROM a\nWORKDIR /b\nWORKDIR c\n", [2, 3, 6]),
    ("WorkdirRelativePath", "FROM a AS x\nWORKDIR /b\nFROM x\nWORKDIR c\n", []),
    ("WorkdirRelativePath", "FROM a\nARG B\nWORKDIR $B\nFROM a\nARG B=/c\nWORKDIR $B\n", [3]),
    ("WorkdirRelativePath", "FROM debian\nWORKDIR ${A}b\nFROM acme/app\nWORKDIR ${A}b\n", [2]),
    ("WorkdirRelativePath", "FROM debian\nWORKDIR C:\\\\x\nFROM microsoft/nanoserver\nWORKDIR C:\\\\x\n", [2]),
    ("WorkdirRelativePath", "ARG B=debian\nARG V=12\nFROM debian:$V\nWORKDIR C:/x\nFROM $B\nWORKDIR C:/x\n", [4]),
    ("WorkdirRelativePath", "ARG B\nFROM $B\nWORKDIR C:/x\nFROM acme/app\nWORKDIR C:/x\n", []),
    ("WorkdirRelativePath", "ARG B=a/servercore:1\nFROM $B AS x\nWORKDIR C:/x\nFROM x\nWORKDIR C:/y\n", []),
    ("WorkdirRelativePath", "FROM debian\nWORKDIR ${PATH:-a}\n", []),
    ("WorkdirRelativePath", "FROM a\nONBUILD WORKDIR b\n", []),
    # Secrets
    (
        "SecretsUsedInArgOrEnv",
        "ARG TOKEN\nFROM a\nARG TOKEN\nENV A_KEY=1 PUBLIC_KEY=2 KEYS=3\nONBUILD ENV KEY=4\n",
        [3, 4],
    ),
    # Casing
    ("ConsistentInstructionCasing", "arg A\narg B\nFROM a\nRUN b\nrun c\n", [5]),
    ("LegacyKeyValueFormat", "FROM a\nENV b c\nONBUILD ENV d e\n", [2]),
    ("InvalidDefinitionDescription", "# b is\nFROM a AS b\n# nothing\nFROM c AS d\n# e\n# of it\nARG e\n", [4, 7]),
]


@pytest.mark.parametrize(("alias", "text", "lines"), CASES)
def test_checks_find_what_buildkit_and_hadolint_find(alias: str, text: str, lines: list[int]) -> None:
    assert found(text, alias) == lines


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("undefined-variable", "FROM scratch\nENV A=$B\n"),
        ("undefined-variable", "FROM scratch\nENV VERSION1=1\nENV A=$VERSION2\n"),
        ("undefined-variable", "FROM scratch AS x\nONBUILD ENV A=$PAHT\nFROM x\n"),
        ("undefined-argument-in-from", "ARG AB\nFROM a$AC\n"),
        ("undefined-argument-in-from", "FROM a:1${VERSION}\n"),
        ("multiple-instructions", 'FROM a\n# why\nCMD ["b"]\nCMD ["c"]\n'),
        ("expose-invalid-format", "FROM a\nARG P=80:80\nEXPOSE $P\n"),
        ("expose-invalid-format", 'FROM a\nEXPOSE "80:80"\n'),
        ("expose-protocol-casing", "FROM a\nARG P=TCP\nEXPOSE 80/$P\n"),
        ("redundant-target-platform", "ARG TARGETPLATFORM=linux/arm\nFROM --platform=$TARGETPLATFORM a\n"),
        ("relative-workdir", "FROM a\nARG B\nWORKDIR $B\n"),
        ("relative-workdir", "FROM debian\nWORKDIR /a\nWORKDIR C:/x\n"),
    ],
)
def test_what_cannot_be_fixed_is_left(name: str, text: str) -> None:
    source, settings = Source("-", text), LintSettings(select=(name,))
    assert [finding.fix for finding in lint(source, settings)] == [None]
    assert fix(source, settings, unsafe=True).source == source


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("stage-name-casing", "FROM a AS B\nCOPY --from=B /b /\n", "FROM a AS b\nCOPY --from=B /b /\n"),
        ("stage-name-casing", "FROM a AS B\nFROM B\n", "FROM a AS b\nFROM b\n"),
        (
            "stage-name-casing",
            "FROM a AS B\nFROM c\nCOPY --from='B' /b /\n",
            "FROM a AS b\nFROM c\nCOPY --from='B' /b /\n",
        ),
        (
            "stage-name-casing",
            "FROM a AS B\nFROM c AS b\nCOPY --from=B x y\n",
            "FROM a AS b\nFROM c AS b\nCOPY --from=b x y\n",
        ),
        ("empty-continuation-line", "FROM a\nRUN b \\\n\n\n # c\n\n d", "FROM a\nRUN b \\\n # c\n d"),
        ("empty-continuation-line", "FROM a\nRUN b \\\n  ", "FROM a\nRUN b \\\n"),
        ("multiple-instructions", "FROM a\nCMD b\nCMD c\nCMD d", "FROM a\nCMD d"),
        ("redundant-target-platform", "FROM \\\n--platform=$TARGETPLATFORM a", "FROM \\\na"),
        ("expose-protocol-casing", "FROM a\nEXPOSE 80/TCP/TCP 81/Udp", "FROM a\nEXPOSE 80/TCP/TCP 81/udp"),
    ],
)
def test_safe_fixes(name: str, before: str, after: str) -> None:
    assert fix(Source("-", before), LintSettings(select=(name,))).source.text == after


def test_one_argument_is_declared_for_all_that_use_it() -> None:
    text = "from alpine\n# one\nlabel a=$TARGETOS\nlabel b=$TARGETOS\n"
    settings = LintSettings(select=("undefined-variable",))
    assert fix(Source("-", text), settings).source.text == text, "whether it was meant to be empty nobody knows"
    fixed = fix(Source("-", text), settings, unsafe=True).source.text
    assert fixed == "from alpine\narg TARGETOS\n# one\nlabel a=$TARGETOS\nlabel b=$TARGETOS\n"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("ARG A=1\nFROM scratch\nENV B=$A\n", "repeat ARG A in this stage"),
        ("FROM scratch\nENV B=$TARGETOS\n", "write ARG TARGETOS in this stage first"),
        ("FROM scratch\nENV B=1 C=$B\n", "the same ENV sets it"),
        ("FROM scratch\nENV B=/b:$B\n", "leave it out of its own value"),
        ("FROM scratch\nENV B=$PAHT\n", "did you mean PATH?"),
        ("FROM scratch\nENV BB=1 BA=1\nENV C=$BC\n", "did you mean BB?"),
        ("FROM scratch\nENV BB=1 BA=1\nENV BB=2\nENV C=$BC\n", "did you mean BA?"),
        ("FROM scratch AS x\nONBUILD USER $B\nFROM x\n", "an ONBUILD USER of the base"),
        ("FROM scratch\nENV B=$SOMETHING\n", "declare it with ARG"),
        ("ARG VERSION\nFROM a:1${VERSOIN}\n", "did you mean VERSION?"),
        ("FROM a:1${VERSION}\n", "declare it with ARG above the first FROM"),
    ],
)
def test_advice_suits_the_variable(text: str, advice: str) -> None:
    names = LintSettings(select=("undefined-variable", "undefined-argument-in-from"))
    assert [advice in finding.message for finding in lint(Source("-", text), names)] == [True]


def test_hadolint_names_the_later_of_two_instructions() -> None:
    text = "FROM a\nHEALTHCHECK CMD b\nHEALTHCHECK NONE\nENTRYPOINT c\nENTRYPOINT d\n"
    like_hadolint = LintSettings(profile="hadolint")
    assert found(text, "DL3012") == [2] and found(text, "DL3012", like_hadolint) == [3]
    assert found(text, "DL4004") == [4] and found(text, "DL4004", like_hadolint) == [5]


@pytest.mark.parametrize("name", ["Dockerfile.dockerignore", ".dockerignore"])
def test_ignored_files_are_those_of_the_file_beside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ignored\n")
    text = "FROM a\nCOPY kept /\nCOPY ignored /\n"
    (tmp_path / "Dockerfile").write_text(text)
    settings = LintSettings(select=("CopyIgnoredFile",))
    assert [item.start[0] for item in lint(Source.read(tmp_path / "Dockerfile"), settings)] == [3]
    assert found(text, "CopyIgnoredFile") == []


def test_a_dockerfile_has_an_ignore_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a\nCOPY one two /\n")
    (tmp_path / ".dockerignore").write_text("one\n")
    (tmp_path / "Dockerfile.dockerignore").write_text("two\n")
    found = lint(Source.read(tmp_path / "Dockerfile"), LintSettings(select=("ignored-file-copied",)))
    assert [finding.message.split(",")[0] for finding in found] == ["Dockerfile.dockerignore leaves out two"]


@pytest.mark.parametrize(
    ("above", "apart"),
    [
        ("# hadolint ignore=DL3006\n", None),
        ("# hadolint shell=powershell\n", None),
        ("# buildopt global ignore=relative-workdir\n", None),
        ("# shellcheck disable=SC2086\n", None),
        ("# all start here # hadolint ignore=DL3006\n", None),
        ("# renovate: datasource=docker depName=debian\n", None),
        ("# base of all\n# hadolint ignore=DL3006\n", None),
        ("# why\n#\n# hadolint ignore=DL3006\n", None),
        ("# why\n# hadolint ignore=DL3006\n#\n", None),
        ("# why\n# hadolint ignore=DL3006\n", "# why\n#\n# hadolint ignore=DL3006\n"),
        ("#\n# why\n", "#\n# why\n#\n"),
        ("# hadolint ignore=DL3006\n# why\n", "# hadolint ignore=DL3006\n# why\n#\n"),
        ("# hadolint shell of the base\n", "# hadolint shell of the base\n#\n"),
    ],
)
def test_a_comment_for_a_tool_is_no_description(above: str, apart: str | None) -> None:
    text = f"ARG V\n{above}FROM debian AS base\n"
    settings = replace(STRICT, select=("InvalidDefinitionDescription",))
    assert found(text, "InvalidDefinitionDescription") == ([] if apart is None else [text.count("\n")])
    fixed = fix(Source("-", text), settings).source.text
    assert fixed == f"ARG V\n{above if apart is None else apart}FROM debian AS base\n"
    assert found(fixed, "InvalidDefinitionDescription") == []
    assert found(fixed, "DL3006") == ([] if "DL3006" in above else [fixed.count("\n")])
