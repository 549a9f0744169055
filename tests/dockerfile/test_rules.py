"""Every rule: its fixtures, and that name, headings, examples and fixtures belong together.

A folder of fixtures holds ``before.Dockerfile`` (findings, and near misses that must stay silent), ``findings.txt`` (as
printed) and ``after.Dockerfile``: what the fixes make of it, or for a rule without fixes what a person would.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.rules import RULES, Rule
from buildopt.finding import Severity
from buildopt.report.text import findings_text
from buildopt.settings import LintSettings
from buildopt.source import Source

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dockerfile"
HEADINGS = ["What it does", "Why", "Example", "Use instead", "References"]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.NAME))


@pytest.fixture(autouse=True)
def _extra(request: pytest.FixtureRequest) -> None:
    """One rule needs a program that an extra brings."""
    called = getattr(request.node, "callspec", None)
    if called is not None and getattr(called.params.get("rule"), "NAME", "") == "shellcheck":
        request.getfixturevalue("with_shellcheck")


# Rules that find nothing until they are told what is wanted.
_LICENSES = (("org.opencontainers.image.licenses", "spdx"),)
SETTINGS = {
    "untrusted-registry": LintSettings(registries=("docker.io", "*.example.com")),
    "missing-label": LintSettings(labels=_LICENSES),
    "empty-label": LintSettings(labels=_LICENSES),
    "superfluous-label": LintSettings(labels=_LICENSES, strict_labels=True),
    "invalid-label-value": LintSettings(
        labels=(
            *_LICENSES,
            ("u", "url"),
            ("e", "email"),
            ("v", "semver"),
            ("h", "hash"),
            ("t", "rfc3339"),
            ("x", "text"),
        )
    ),
}


def only(rule: Rule) -> LintSettings:
    return replace(SETTINGS.get(rule.NAME, LintSettings()), select=(rule.NAME,))


def read(rule: Rule, name: str) -> Source:
    return Source.from_bytes(name, (FIXTURES / rule.NAME / name).read_bytes())


@pytest.fixture(autouse=True)
def _among_the_fixtures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rules look at what lies beside the Dockerfile, such as ``before.Dockerfile.dockerignore``."""
    if "rule" in request.fixturenames:
        monkeypatch.chdir(FIXTURES / request.getfixturevalue("rule").NAME)


@every_rule
def test_findings_are_those_written_down(rule: Rule) -> None:
    found = lint(read(rule, "before.Dockerfile"), only(rule))
    assert findings_text(found) == (FIXTURES / rule.NAME / "findings.txt").read_text()
    assert found, "a rule's fixture must show what it finds"


@every_rule
def test_fixes_lead_to_after_and_no_further(rule: Rule) -> None:
    before, after = read(rule, "before.Dockerfile"), read(rule, "after.Dockerfile")
    fixable = any(finding.fix is not None for finding in lint(before, only(rule)))
    once = fix(before, only(rule), unsafe=True).source
    assert once.text == (after.text if fixable else before.text)
    assert fix(once, only(rule), unsafe=True).source.text == once.text
    assert lint(after, only(rule)) == []
    assert parse(after).errors == () or rule.NAME == "syntax-error"


@every_rule
def test_a_fix_keeps_line_endings_and_what_it_does_not_touch(rule: Rule) -> None:
    before, after = read(rule, "before.Dockerfile"), read(rule, "after.Dockerfile")
    if all(finding.fix is None for finding in lint(before, only(rule))):
        pytest.skip("nothing to fix")
    windows = before.replace(before.text.replace("\n", "\r\n"))
    fixed = fix(windows, only(rule), unsafe=True).source.text
    assert fixed.replace("\r\n", "\n") == after.text


@every_rule
def test_safe_fixes_alone_settle_no_unsafe_finding(rule: Rule) -> None:
    before = read(rule, "before.Dockerfile")
    unsafe = sum(finding.fix is not None and not finding.fix.safe for finding in lint(before, only(rule)))
    left = lint(fix(before, only(rule)).source, only(rule))
    assert sum(finding.fix is not None for finding in left) == unsafe


@every_rule
def test_documentation_is_complete(rule: Rule) -> None:
    text = inspect.cleandoc(rule.__doc__ or "")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    first, _, rest = text.partition("\n")
    assert first.endswith(".") and rest.startswith("\n")
    assert "https://" in text.split("## References")[1]
    for heading in ("Example", "Use instead"):
        assert "```dockerfile\n" in text.split(f"## {heading}")[1].split("\n## ")[0]


@every_rule
def test_examples_show_the_rule(rule: Rule, tmp_path: Path) -> None:
    def code(heading: str) -> str:
        section = inspect.cleandoc(rule.__doc__ or "").split(f"## {heading}")[1].split("\n## ")[0]
        blocks = re.findall(r"```dockerfile\n(.*?)```", section, re.DOTALL)
        assert blocks
        for ignored in re.findall(r"```dockerignore\n(.*?)```", section, re.DOTALL):
            (tmp_path / ".dockerignore").write_text(ignored)
        return str(blocks[0])

    def findings(text: str) -> int:
        whole = text if text.startswith(("FROM", "ARG")) else f"FROM debian:12\n{text}"
        (tmp_path / "Dockerfile").write_text(whole)
        return len(lint(Source.read(tmp_path / "Dockerfile"), only(rule)))

    assert findings(code("Example")) > 0
    assert findings(code("Use instead")) == 0


@every_rule
def test_name_file_and_fixtures_agree(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.NAME)
    assert Path(inspect.getfile(rule)).stem == rule.NAME.replace("-", "_")  # type: ignore[arg-type]
    names = {path.name for path in (FIXTURES / rule.NAME).iterdir() if path.suffix != ".dockerignore"}
    assert names == {
        "before.Dockerfile",
        "after.Dockerfile",
        "findings.txt",
    }
    assert isinstance(rule.SEVERITY, Severity)


def test_every_file_is_listed_once_and_every_fixture_has_a_rule() -> None:
    folder = Path(inspect.getfile(RULES[0])).parent  # type: ignore[arg-type]
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.name != "__init__.py"}
    names = [rule.NAME for rule in RULES]
    assert sorted(names) == names and len(set(names)) == len(names)
    assert set(names) == files == {path.name for path in FIXTURES.iterdir()}


# What fixtures cannot show: findings that are reported and must not be fixed.
UNFIXABLE = [
    (
        "apt-lists-left",
        "FROM debian:12\nRUN apt-get update\nRUN apt-get install -y curl",
        "a later RUN needs the lists",
    ),
    (
        "apt-lists-left",
        "FROM debian:12 AS a\nRUN apt-get update\nFROM a\nRUN apt-get install -y x",
        "a later stage does",
    ),
    ("apt-lists-left", "FROM debian:12\nRUN <<E\napt-get update\napt-get install -y x\nE", "rm would hide a failure"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update && apt-get install -y x # why", "all behind # is comment"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update &", "it runs in the background"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update; exit 0", "nothing runs behind exit"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update\nRUN ./setup.sh", "a script may install"),
    ("apt-lists-left", "FROM ros:humble\nRUN apt-get update\nRUN rosdep install --from-paths src", "rosdep installs"),
    ("apt-lists-left", 'FROM debian:12\nRUN apt-get update\nRUN ["apt-get", "install", "-y", "x"]', "an exec form"),
    ("apt-lists-left", 'FROM debian:12\nRUN apt-get update\nRUN bash -c "apt install -y x"', "a quoted script"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update\nONBUILD RUN apt-get install -y x", "another build does"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update\nCMD apt-get install -y x && x", "the container does"),
    ("apt-lists-left", "FROM debian:12\nRUN apt-get update\nRUN make deps", "that target may install"),
    ("apt-instead-of-apt-get", "FROM debian:12\nRUN apt list --installed", "apt-get has no such subcommand"),
    ("pip-cache-left-in-image", "FROM a\nRUN pip install --cache-dir=/c x", "the cache is wanted somewhere"),
    ("relative-workdir", "FROM a\nWORKDIR x", "the base decides"),
    ("relative-workdir", "FROM a\nARG N=1\nWORKDIR /$N\nWORKDIR x", "whoever builds decides"),
    ("shell-form-command", "FROM a\nCMD echo $HOME", "a shell must expand it"),
    ("shell-form-command", "FROM a\nCMD a && b", "two commands"),
    ("shell-form-command", "FROM a\nCMD a > b", "a redirect"),
    ("shell-form-command", "FROM a\nCMD ls *.txt", "a glob"),
    ("shell-form-command", "FROM a\nCMD cd /x", "a builtin"),
    ("shell-form-command", "FROM a\nCMD A=b c", "an assignment"),
    ("shell-form-command", "FROM a\nCMD ['a', b]", "an exec form gone wrong"),
    ("shell-form-command", 'FROM a\nENTRYPOINT a\nCMD ["b"]', "CMD would become arguments"),
    ("legacy-key-value-format", "FROM a\nENV A it's b c", "its quotes would have to be undone"),
    ("env-refers-to-itself", "FROM a\nENV X=$Y Y=2", "their order would have to change"),
    ("env-refers-to-itself", "FROM a\nENV A=1 \\\n# why\n B=$A", "the comment would end the instruction"),
    ("consecutive-runs", "FROM a\nRUN cd /x\nRUN y", "the second would run elsewhere"),
    ("consecutive-runs", "FROM a\nRUN x\n# why\nRUN y", "the comment is about the second"),
    ("consecutive-runs", "FROM a\nRUN x\n#\n# why\n#\nRUN y", "so is one in a frame"),
    ("consecutive-runs", "FROM a\nRUN x &\nRUN y", "the first runs in the background"),
    ("pipe-without-pipefail", "FROM acme/x\nRUN a | b", "nobody knows whether it has bash"),
    ("pipe-without-pipefail", 'FROM debian:12\nSHELL ["/bin/dash", "-c"]\nRUN a | b', "another shell is wanted"),
    ("invalid-label-key", "FROM a\nLABEL com.docker.team=a", "which name space would be theirs?"),
    ("invalid-label-key", "FROM a\nLABEL a--b=a", "nobody knows what was meant"),
    ("invalid-label-key", "FROM a\nLABEL trailing.=a", "nor here"),
    ("deprecated-maintainer", "FROM a\nMAINTAINER a \\\n# why\n b", "the comment would be lost"),
    ("multiple-instructions", 'FROM a\n#\n# why\n#\nCMD ["b"]\nCMD ["c"]', "the comment would stay behind"),
]


@pytest.mark.parametrize(("name", "text", "why"), UNFIXABLE)
def test_what_cannot_be_fixed_is_left(name: str, text: str, why: str) -> None:
    settings = LintSettings(select=(name,))
    source = Source("Dockerfile", text)
    assert [finding.fix for finding in lint(source, settings)] == [None], why
    assert fix(source, settings, unsafe=True).source == source


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("apt-lists-left", "FROM debian:12\nRUN apt-get update\nRUN acme-setup\n"),
        ("add-instead-of-copy", "FROM debian:12\nADD app-1.2.3 /app/\n"),
        ("add-instead-of-copy", "FROM debian:12\nADD layer.1 /\n"),
    ],
)
def test_a_fix_that_might_change_the_image_is_unsafe(name: str, text: str) -> None:
    found = lint(Source("D", text), LintSettings(select=(name,)))
    assert [finding.fix is not None and not finding.fix.safe for finding in found] == [True]


@pytest.mark.parametrize("name", ["base.apk", "x.gem", "centos.box", "alpine.rootfs", "x.crate"])
def test_archives_under_other_names_stay_with_add(name: str) -> None:
    assert lint(Source("D", f"FROM debian:12\nADD {name} /\n"), LintSettings(select=("add-instead-of-copy",))) == []


@pytest.mark.parametrize("operand", ["var/lib/apt/lists/*", '"/var/lib/apt/lists/"*', "/var/lib/apt"])
def test_lists_are_removed_however_they_are_named(operand: str) -> None:
    text = f"FROM debian:12\nRUN cd / && apt-get update && rm -rf {operand}\n"
    assert lint(Source("D", text), LintSettings(select=("apt-lists-left",))) == []


def test_a_clean_up_runs_as_who_updated() -> None:
    source = Source("Dockerfile", "FROM a\nUSER app\nRUN sudo apt-get update\n")
    fixed = fix(source, LintSettings(select=("apt-lists-left",))).source.text
    assert fixed == "FROM a\nUSER app\nRUN sudo apt-get update && sudo rm -rf /var/lib/apt/lists/*\n"
