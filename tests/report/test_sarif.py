"""SARIF: valid, within GitHub's limits, with fixes that any reader applies alike."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lint_samples import TEXT, finding, samples

from buildopt import __version__
from buildopt.dockerfile.rules import RULES
from buildopt.finding import Finding, Severity
from buildopt.report import sarif
from buildopt.report.line_hashes import line_hashes
from buildopt.report.place import Places
from buildopt.report.rule_text import rule_texts
from buildopt.source import Source, apply_edits

FIXTURES = Path(__file__).parents[2] / "fixtures"
SCHEMA = json.loads((FIXTURES / "sarif" / "sarif-2.1.0.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(text: str) -> Any:
    document = json.loads(text)
    jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    (run,) = document["runs"]
    return run


def report(findings: list[Finding], failures: list[tuple[str, str]] | None = None) -> Any:
    text, note = sarif.findings_sarif(findings, failures or [], Places.of(Path()))
    assert note == ""
    return run_of(text)


def test_the_whole_log_is_the_one_written_down(folder: Path) -> None:
    text, note = sarif.findings_sarif(samples(), [("gone", "gone does not exist")], Places.of(Path()))
    document = json.loads(text)
    driver = document["runs"][0]["tool"]["driver"]
    assert (note, driver["version"]) == ("", __version__)
    driver["version"] = "VERSION"
    for rule in driver["rules"]:  # what comes from docstrings is compared with them below
        for key in ("shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration", "properties"):
            del rule[key]
    assert document == json.loads((FIXTURES / "reports" / "samples.sarif").read_text())
    run_of(text)


def test_rules_are_described_as_their_docstrings_say(folder: Path) -> None:
    rules = {rule.NAME: rule for rule in RULES}
    for described in report(samples())["tool"]["driver"]["rules"]:
        rule = rules[described["id"]]
        documentation = inspect.cleandoc(rule.__doc__ or "")
        assert described["help"]["markdown"] == documentation
        assert "```" not in described["help"]["text"] and "##" not in described["help"]["text"]
        assert described["shortDescription"]["text"] == documentation.split("\n")[0]
        assert " ".join(documentation.split()).find(described["fullDescription"]["text"]) > 0
        assert described["properties"]["tags"] == [rule.CATEGORY.value, *rule.ALIASES]
        assert ("security-severity" in described["properties"]) == (rule.CATEGORY.value == "security")


def test_every_rule_can_be_described(folder: Path) -> None:
    findings = [finding(rule.NAME, "m", rule.SEVERITY, "ADD", category=rule.CATEGORY) for rule in RULES]
    described = report(findings)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in described] == sorted(rule.NAME for rule in RULES)
    for rule in described:
        texts = (rule["shortDescription"]["text"], rule["fullDescription"]["text"])
        assert all(0 < len(text) <= 1024 for text in texts)
        assert len(rule["properties"]["tags"]) <= 20


def test_only_rules_with_results_are_listed_and_results_point_to_them(folder: Path) -> None:
    run = report(samples())
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {item.rule for item in samples()}
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert report([])["tool"]["driver"]["rules"] == []


def test_a_fix_does_what_ours_does(folder: Path) -> None:
    run = report(samples())
    assert run["columnKind"] == "unicodeCodePoints"
    for item, result in zip(samples(), run["results"], strict=True):
        if item.fix is None:
            assert "fixes" not in result
            continue
        (fix,) = result["fixes"]
        (change,) = fix["artifactChanges"]
        lines = TEXT.splitlines(keepends=True)

        def offset(line: int, column: int, lines: list[str] = lines) -> int:
            return sum(map(len, lines[: line - 1])) + column - 1

        text = TEXT
        for replacement in reversed(change["replacements"]):
            region = replacement["deletedRegion"]
            start = offset(region["startLine"], region["startColumn"])
            end = offset(region["endLine"], region["endColumn"])
            text = text[:start] + replacement["insertedContent"]["text"] + text[end:]
        assert text == apply_edits(TEXT, item.fix.edits)
        assert ("unsafe" in fix["description"]["text"]) == (not item.fix.safe)


def test_fingerprints_stay_when_lines_move(folder: Path) -> None:
    moved = Source("svc/Dockerfile", "# one\n\n# two\n" + TEXT.replace("ADD a.py", "ADD   a.py"))
    before = [result["partialFingerprints"] for result in report(samples())["results"]]
    after = [result["partialFingerprints"] for result in report(samples(moved))["results"]]
    assert before == after
    assert len({tuple(prints.items()) for prints in before}) == len(before)


# From the tests of the action that uploads SARIF, which must find what it works out itself.
@pytest.mark.parametrize(
    ("text", "hashes"),
    [
        ("", "c129715d7a2bc9a3:1"),
        (" a\nb\n  \t\tc\n d", "271789c17abda88f:1 54703d4cd895b18:1 180aee12dab6264:1 a23a3dc5e078b07b:1"),
        (
            " hello; \t\nworld!!!\r\n\n\r  \t\tGreetings\r End\r\n",
            "e9496ae3ebfced30:1 fb7c023a8b9ccb3f:1 ce8ba1a563dcdaca:1 e20e36e16fcb0cc8:1 b3edc88f2938467e:1 "
            "c8e28b0b4002a3a0:1 c129715d7a2bc9a3:1",
        ),
        (
            "Lorem ipsum dolor sit amet.\n" * 10,
            "a7f2ff13bc495cf2:1 a7f2ff13bc495cf2:2 a7f2ff13bc495cf2:3 a7f2ff13bc495cf2:4 a7f2ff13bc495cf2:5 "
            "a7f2ff13bc495cf2:6 a7f2ff1481e87703:1 a9cf91f7bbf1862b:1 55ec222b86bcae53:1 cc97dc7b1d7d8f7b:1 "
            "c129715d7a2bc9a3:1",
        ),
    ],
)
def test_hashes_of_lines_are_those_of_code_scanning(text: str, hashes: str) -> None:
    assert line_hashes(text) == hashes.split()


def test_paths_are_seen_from_the_repository_and_encoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = folder / "a b"
    inner.mkdir()
    (inner / "link").symlink_to("Dockerfile #1%")
    monkeypatch.chdir(inner)
    outside = folder.parent / "Dockerfile"
    sources = [Source(str(path), TEXT) for path in ("Dockerfile #1%", "../ü:x", "link", "-", outside)]
    run = report([finding("add-instead-of-copy", "m", Severity.INFO, "ADD", source=source) for source in sources])
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in run["results"]]
    assert [place["uri"] for place in places] == [
        "a%20b/Dockerfile%20%231%25",
        "%C3%BC%3Ax",
        "a%20b/Dockerfile%20%231%25",
        "-",
        outside.as_uri(),
    ]
    assert [place.get("uriBaseId") for place in places] == ["%SRCROOT%"] * 4 + [None]


def test_without_a_repository_paths_are_seen_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = report(samples())
    assert {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]} == {
        "svc/Dockerfile"
    }


def test_files_that_could_not_be_read_are_told(folder: Path) -> None:
    (invocation,) = report([], [("a b", "a b does not exist")])["invocations"]
    assert invocation["executionSuccessful"] is False
    (told,) = invocation["toolExecutionNotifications"]
    assert (told["level"], told["message"]["text"]) == ("error", "a b does not exist")
    assert told["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b"
    assert report([])["invocations"][0]["executionSuccessful"] is True


def test_above_the_limit_the_gravest_are_kept_and_it_is_said(folder: Path) -> None:
    many = samples()[:1] * (sarif.MOST_RESULTS + 3) + samples()[3:4]
    text, note = sarif.findings_sarif(many, [], Places.of(Path()))
    run = json.loads(text)["runs"][0]
    assert len(run["results"]) == sarif.MOST_RESULTS
    assert run["results"][-1]["ruleId"] == "secret-in-arg-or-env"
    assert note == "4 findings left out: GitHub takes no more in one file"
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == note


def test_a_log_that_is_too_large_is_cut_until_it_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST_BYTES", 5000)
    many = [finding("add-instead-of-copy", f"{n:x}" * 9, Severity.INFO, "ADD") for n in range(10**6, 10**6 + 300)]
    text, note = sarif.findings_sarif([*many, *samples()[2:3]], [], Places.of(Path()))
    run = run_of(text)
    assert sarif._fits(text)
    assert 0 < len(run["results"]) < 300
    assert run["results"][-1]["ruleId"] == "missing-apt-yes"
    assert note == f"{301 - len(run['results'])} findings left out: GitHub takes no more in one file"


def test_a_code_that_the_rule_has_not_is_in_the_message(folder: Path) -> None:
    items = [
        finding("shellcheck", "Double quote.", Severity.INFO, "RUN", aliases=("SC2086",)),
        finding("add-instead-of-copy", "use COPY", Severity.INFO, "ADD", aliases=("DL3020",)),
    ]
    messages = [result["message"]["text"] for result in report(items)["results"]]
    assert messages == ["Double quote. (SC2086)", "use COPY"]


def test_bytes_that_are_no_text_stay_out(folder: Path) -> None:
    source = Source.from_bytes("Dockerfile", b"FROM a\nADD \xff.py /b\n")
    item = samples()[0]
    assert item.fix is not None
    broken = Finding(item.rule, "a \udcff b", source, item.span, item.severity, item.category, (), None)
    (result,) = report([broken])["results"]
    assert result["message"]["text"] == "a \ufffd b"


def test_the_page_of_a_rule_is_one_of_its_references_and_no_address_of_an_example() -> None:
    for text in rule_texts().values():
        assert f"- {text.reference}" in text.section("References").splitlines(), text.rule.NAME
