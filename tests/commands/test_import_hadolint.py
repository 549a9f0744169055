"""``--import-hadolint``: a .hadolint.yaml becomes the lint section of buildopt.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_line import BAD, run
from hypothesis import given
from hypothesis import strategies as st

from buildopt import settings
from buildopt.dockerfile.hadolint_file import rule_name, translate
from buildopt.dockerfile.rules import RULES
from buildopt.errors import UsageError
from buildopt.settings import LintSettings

FULL = """# what we agreed on
ignored:
  # A comment above
  # in two lines
  - DL3020
  # - DL3999
  - SC2086   # quoted where it matters: "$@"
  - DL9999
  - misspelt
override:
  error: [DL3014]
  warning:
    - SC1091
    - DL3014
  info:
  style: []
trustedRegistries:
  - docker.io
  - "*.gcr.io"
  - my-company.com:5000
label-schema: {author: text, "org.opencontainers.image.version": semver, 'yes': hash}
strict-labels: true
failure-threshold: warning
no-fail: false
format: gitlab_codeclimate
no-color: true
disable-ignore-pragma: true
"""
WRITTEN = """lint:
  profile: hadolint
  ignore:
    - add-instead-of-copy  # DL3020: A comment above in two lines
    - SC2086  # quoted where it matters: "$@"
    - DL9999
  registries:
    - docker.io
    - "*.gcr.io"
    - "my-company.com:5000"
  labels:
    author: text
    org.opencontainers.image.version: semver
    "yes": hash
  severity:
    missing-apt-yes: error
    SC1091: warning
  strict-labels: true
  fail-on: warning
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "Dockerfile").write_text(BAD.replace("a:1", "debian"))
    return tmp_path


def test_every_key_finds_its_place_or_is_named(folder: Path) -> None:
    (folder / ".hadolint.yaml").write_text(FULL)
    done = run(folder, "lint", "--import-hadolint")
    assert (folder / "buildopt.yaml").read_text() == WRITTEN
    assert done.stderr.splitlines()[:5] == [
        "wrote the lint section of buildopt.yaml from .hadolint.yaml",
        "misspelt is no rule of hadolint: left out",
        "format: gitlab_codeclimate is no configuration here: there is --format text, json, sarif, github, markdown",
        "no-color: give --no-color, or set NO_COLOR=1",
        "disable-ignore-pragma: comments that ignore a rule are always honoured",
    ]
    assert done.returncode == 1 and "DL3020" not in done.stdout and "DL3006" in done.stdout, "it lints with it"


def test_what_is_written_reads_back_as_it_was_meant() -> None:
    assert translate("x", FULL.encode()).yaml() == WRITTEN


def test_toml_says_the_same(tmp_path: Path) -> None:
    translation = translate("x", FULL.encode())
    (tmp_path / "buildopt.yaml").write_text(translation.yaml())
    (tmp_path / "pyproject.toml").write_text(translation.toml())
    from_yaml = settings.load(tmp_path / "buildopt.yaml").lint
    assert settings.load(tmp_path / "pyproject.toml").lint == from_yaml
    assert from_yaml.ignore == ("add-instead-of-copy", "SC2086", "DL9999")
    assert dict(from_yaml.labels)["yes"] == "hash"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", LintSettings(profile="hadolint")),
        ("{}", LintSettings(profile="hadolint")),
        ("ignored: DL3020", LintSettings(profile="hadolint", ignore=("add-instead-of-copy",))),
        ("ignored: [dl3020, DL3020]", LintSettings(profile="hadolint", ignore=("add-instead-of-copy",))),
        ("ignored:\noverride:\n", LintSettings(profile="hadolint")),
        ("trustedRegistries: docker.io", LintSettings(profile="hadolint", registries=("docker.io",))),
        ("no-fail: true\nfailure-threshold: error", LintSettings(profile="hadolint", fail_on="never")),
        ("failure-threshold: none", LintSettings(profile="hadolint", fail_on="style")),
        ("failure-threshold: ignore", LintSettings(profile="hadolint", fail_on="style")),
        (
            "override: {style: [DL3020], error: [DL3020]}",
            LintSettings(profile="hadolint", severity=(("add-instead-of-copy", "error"),)),
        ),
    ],
)
def test_shorter_files(tmp_path: Path, text: str, expected: LintSettings) -> None:
    path = tmp_path / "buildopt.yaml"
    path.write_text(translate(".hadolint.yaml", text.encode()).yaml())
    assert settings.load(path).lint == expected


@pytest.mark.parametrize(
    ("text", "comments"),
    [
        ("ignored: [DL3020, DL3014] # both", ["DL3020", "DL3014: both"]),
        ("ignored:\n- DL3020#x\n- DL3014 #y", ["DL3014: y"]),
        ("# top\nignored:\n- DL3020\n\n- DL3014", ["DL3020", "DL3014"]),
        ("ignored: [\n  # a\n  DL3020, # b\n  DL3014\n]", ["DL3020: b", "DL3014"]),
        ("ignored:\n- DL3020 ### c ###\n", ["DL3020: c ###"]),
    ],
)
def test_reasons_stay_with_their_codes(text: str, comments: list[str]) -> None:
    assert [entry.comment for entry in translate("x", text.encode()).ignore] == comments


def test_a_name_stands_for_a_code_only_where_both_mean_the_same() -> None:
    names = {rule.NAME: {alias for alias in rule.ALIASES if alias.startswith(("DL", "SC"))} for rule in RULES}
    for code in {code for codes in names.values() for code in codes}:
        owners = [name for name, codes in names.items() if code in codes]
        same = len(owners) == 1 and names[owners[0]] == {code}
        assert rule_name(code) == (owners[0] if same else code)
    assert rule_name("dl3020") == "add-instead-of-copy"
    assert rule_name("DL9999") == "DL9999"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("ignored: [DL30", "f:1: ", "mend the YAML"),
        ("a: 1\n---\nb: 2\n", "f:2: ", "mend the YAML"),
        ("- DL3008", "f:1: must be a mapping", "keys: ignored, override"),
        ("\ntrusted-registries: [a]", "f:2: unknown key 'trusted-registries'", "did you mean trustedRegistries?"),
        ("override: {ignore: [DL3008]}", "f:1: override: unknown key 'ignore'", "error"),
        ("override: [DL3008]", "f:1: override: must be a mapping", ""),
        ("ignored: {a: b}", "f:1: ignored: must be text", ""),
        ("ignored:\n- [DL3008]", "f:2: ignored: must be text", ""),
        ("ignored:\n- ", "f:2: ignored: must be text", ""),
        ("label-schema: {a: b}", "f:1: label-schema: a: 'b' is unknown", "semver"),
        ("failure-threshold: Warning", "f:1: failure-threshold: 'Warning' is unknown", "none"),
        ("no-fail: maybe", "f:1: no-fail: must be true or false", ""),
        ("ignored: []\nignored: []", "f:2: ignored stands there twice", ""),
        ("ignored: !x [a", "f:1: ", "mend the YAML"),
    ],
)
def test_mistakes_are_named_with_their_line(text: str, problem: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        translate("f", text.encode())
    assert problem in caught.value.message and hint in caught.value.hint


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(FULL)), st.integers(0, 9), st.text("\n\r\x85#-:[]{},'\" &*!|>%@`DL39yes~", max_size=5)
        )
    )
)
def test_whatever_is_in_it_becomes_a_section_or_an_error(edits: list[tuple[int, int, str]]) -> None:
    text = FULL
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    try:
        translation = translate("f", text.encode())
    except UsageError as error:
        assert error.message.startswith("f:")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "buildopt.yaml"
        path.write_text(translation.yaml())
        lint = settings.load(path).lint
    assert (lint.registries, lint.labels, lint.severity) == (
        translation.registries,
        translation.labels,
        translation.severity,
    )
    assert lint.ignore == tuple(entry.text for entry in translation.ignore)


@pytest.mark.parametrize("newline", ["\r", "\r\n", "\x85"])
def test_other_ends_of_lines(newline: str) -> None:
    text = newline.join(("ignored:", "- DL3020 # why", "- |", "  DL3014", ""))
    assert [(entry.text, entry.comment) for entry in translate("f", text.encode()).ignore] == [
        ("add-instead-of-copy", "DL3020: why"),
        ("missing-apt-yes", "DL3014"),
    ]


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(UsageError, match="f: not valid YAML"):
        translate("f", b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "before",
    [
        b"build: {context: .}\n",
        b"# ours\nbuild:\n  context: .   # here",
        b"build: {context: .}\r\n# end\r\n",
        b"# nothing yet\n",
        b"",
        b"---\nbuild: {context: .}\n",
    ],
)
def test_the_section_is_appended_and_the_rest_stays(folder: Path, before: bytes) -> None:
    (folder / ".hadolint.yml").write_text("ignored: [DL3020]\n")
    (folder / "buildopt.yaml").write_bytes(before)
    done = run(folder, "lint", "--import-hadolint")
    after = (folder / "buildopt.yaml").read_bytes()
    assert after.startswith(before) and "wrote the lint section of buildopt.yaml from .hadolint.yml" in done.stderr
    assert (b"\r\n" in after) == (b"\r\n" in before) and after.count(b"\n") - after.count(b"\r\n") in (
        0,
        after.count(b"\n"),
    )
    loaded = settings.load(folder / "buildopt.yaml")
    assert loaded.lint == LintSettings(profile="hadolint", ignore=("add-instead-of-copy",))


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        (b"lint: {ignore: [DL3006]}\n", "buildopt.yaml has a lint section already"),
        (b"lint:\n", "buildopt.yaml has a lint section already"),
        (b"{build: {context: .}}\n", "nothing can be appended to buildopt.yaml"),
        (b"build: {context: .}\n...\n", "nothing can be appended to buildopt.yaml"),
    ],
)
def test_what_cannot_be_written_is_shown(folder: Path, before: bytes, problem: str) -> None:
    (folder / ".hadolint.yaml").write_text("ignored: [DL3020]\n")
    (folder / "buildopt.yaml").write_bytes(before)
    done = run(folder, "lint", "--import-hadolint")
    assert (done.returncode, done.stdout) == (2, "") and problem in done.stderr
    assert "  lint:\n    profile: hadolint\n    ignore:\n      - add-instead-of-copy  # DL3020\n" in done.stderr
    assert (folder / "buildopt.yaml").read_bytes() == before


def test_a_broken_configuration_is_said_to_be_broken(folder: Path) -> None:
    (folder / ".hadolint.yaml").write_text("ignored: [DL3020]\n")
    (folder / "buildopt.yaml").write_text("pushh: {}\n")
    done = run(folder, "lint", "--import-hadolint")
    assert done.returncode == 2 and "unknown key 'pushh'" in done.stderr


def test_a_configuration_in_pyproject_is_not_hidden(folder: Path) -> None:
    (folder / ".hadolint.yaml").write_text("ignored: [DL3020]\n")
    (folder / "pyproject.toml").write_text("[tool.buildopt.build]\ncontext = '.'\n")
    done = run(folder, "lint", "--import-hadolint")
    assert done.returncode == 2 and "pyproject.toml holds the configuration" in done.stderr
    assert '  [tool.buildopt.lint]\n  profile = "hadolint"\n  ignore = ["add-instead-of-copy"]\n' in done.stderr
    assert not (folder / "buildopt.yaml").exists()


def test_the_nearest_file_up_to_the_repository_counts(folder: Path) -> None:
    inner = folder / "svc" / "api"
    inner.mkdir(parents=True)
    (folder / ".hadolint.yaml").write_text("ignored: [DL3020]\n")
    assert "from .hadolint.yaml" in run(inner, "lint", "--import-hadolint").stderr
    assert (folder / "buildopt.yaml").exists() and not (inner / "buildopt.yaml").exists()
    (folder / "svc" / ".git").mkdir()
    done = run(inner, "lint", "--import-hadolint")
    assert done.returncode == 2 and "there is no .hadolint.yaml here or above" in done.stderr


def test_standard_input_is_judged_by_it_too(folder: Path) -> None:
    (folder / ".hadolint.yaml").write_text("ignored: [DL3006]\n")
    done = run(folder, "lint", "--import-hadolint", "-", stdin=BAD)
    assert done.stdout == "-:2:1: error add-instead-of-copy (DL3020) nothing to download or unpack here: use COPY\n"


def test_the_environment_of_hadolint_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".hadolint.yaml").write_text("ignored: [DL3006]\n")
    monkeypatch.setenv("HADOLINT_IGNORE", "DL3020")
    monkeypatch.setenv("HADOLINT_NOFAIL", "1")
    done = run(folder, "lint", "--import-hadolint")
    assert done.returncode == 1 and "DL3020" in done.stdout
    assert (folder / "buildopt.yaml").read_text() == "lint:\n  profile: hadolint\n  ignore:\n    - DL3006\n"


def test_another_configuration_cannot_stand_beside_it(folder: Path) -> None:
    (folder / ".hadolint.yaml").write_text("{}")
    (folder / "other.yaml").touch()
    done = run(folder, "lint", "--import-hadolint", "--config", "other.yaml")
    assert done.returncode == 2 and "leave out one of them" in done.stderr
    assert not (folder / "buildopt.yaml").exists()


PEER = Path(sys.executable).parent / "hadolint"
DOCKERFILE = """FROM quay.io/foo/bar AS build
LABEL maintainer="x" version="one"
RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*
RUN cd /tmp && make
FROM gcr.io/a/b:1
# hadolint ignore=DL3020
ADD a.py /b
MAINTAINER me
CMD python app.py
"""


@pytest.mark.skipif(not PEER.exists(), reason="hadolint is not installed")
@pytest.mark.parametrize(
    "text",
    [
        "{}\n",
        "ignored: [DL3008, DL4000]\n",
        "override: {error: [DL3006], style: [DL3003, DL3006, DL4000]}\n",
        "override: {style: [DL3003, DL3006, DL3008, DL3015, DL3025, DL4000]}\nfailure-threshold: warning\n",
        "trustedRegistries: [quay.io]\n",
        'trustedRegistries: ["*.io"]\n',
        "label-schema: {version: semver, vendor: text}\nstrict-labels: true\n",
        "strict-labels: true\n",
        "no-fail: true\n",
        "ignored: [DL4000]\nfailure-threshold: error\n",
        "ignored: [DL4000]\nfailure-threshold: none\n",
    ],
)
def test_both_find_the_same(folder: Path, text: str) -> None:
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / ".hadolint.yaml").write_text(text)
    theirs = subprocess.run([PEER, "-f", "json", "Dockerfile"], cwd=folder, capture_output=True, text=True, check=False)
    ours = run(folder, "lint", "--import-hadolint", "--format", "json", "Dockerfile")
    assert ours.returncode == theirs.returncode
    found = [(code, item) for item in json.loads(ours.stdout)["findings"] for code in item["aliases"]]
    assert {(code, item["line"], item["severity"]) for code, item in found if code.startswith(("DL", "SC"))} == {
        (item["code"], item["line"], item["level"]) for item in json.loads(theirs.stdout)
    }
