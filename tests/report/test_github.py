"""Annotations, read back as GitHub's runner reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lint_samples import HARM, finding, samples

from buildopt.finding import Severity
from buildopt.report.github import annotation, findings_github, harmless
from buildopt.report.place import Places
from buildopt.report.text import printable
from buildopt.source import Source

GOLDEN = Path(__file__).parents[2] / "fixtures" / "reports" / "samples.github.txt"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner takes it apart."""
    assert line.startswith("::")
    command, _, data = line[2:].partition("::")
    name, _, rest = command.partition(" ")
    properties = dict(part.split("=", 1) for part in rest.split(",") if part)
    plain = {
        key: decoded(value, {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}) for key, value in properties.items()
    }
    return name, plain, decoded(data, {"%0D": "\r", "%0A": "\n"})


def decoded(text: str, codes: dict[str, str]) -> str:
    for code, char in codes.items():
        text = text.replace(code, char)
    return text.replace("%25", "%")


def test_the_whole_report_is_the_one_written_down(folder: Path) -> None:
    assert findings_github(samples(), Places.of(Path())) == GOLDEN.read_text()


def test_the_gravest_come_first_and_keep_their_order(folder: Path) -> None:
    lines = [parsed(line) for line in findings_github(samples(), Places.of(Path())).splitlines()]
    assert [name for name, _, _ in lines] == ["error", "error", "warning", "notice", "notice"]
    assert lines[0][1]["title"] == "missing-apt-yes (DL3014)"


def test_columns_stand_only_where_a_finding_is_within_one_line(folder: Path) -> None:
    for _, properties, _ in map(parsed, findings_github(samples(), Places.of(Path())).splitlines()):
        single = properties["line"] == properties["endLine"]
        assert ("col" in properties, "endColumn" in properties) == (single, single)


@given(st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1).filter(lambda n: n not in ".."))
def test_no_text_breaks_out_of_its_place(words: str) -> None:
    if words == "-":
        return
    source = Source(f"{words}/{words}", "FROM a\n")
    item = finding("add-instead-of-copy", words, Severity.ERROR, "FROM", source=source, aliases=(words,))
    places = Places("/nowhere")
    written = findings_github([item], places)
    assert written.count("\n") == 1 and "\r" not in written
    name, properties, message = parsed(written[:-1])
    assert (name, message) == ("error", printable(words))
    assert properties["title"] == f"add-instead-of-copy ({words})"
    assert properties["file"] == (places.relative(source.path) or source.path)


@pytest.mark.parametrize(("count", "shown"), [(10, 10), (11, 9), (25, 9)])
def test_beyond_what_github_shows_the_rest_is_counted_and_logged(folder: Path, count: int, shown: int) -> None:
    many = [finding("add-instead-of-copy", HARM, Severity.STYLE, "ADD") for _ in range(count)]
    lines = findings_github(many, Places.of(Path())).splitlines()
    notices = [parsed(line) for line in lines if line.startswith("::notice ")]
    more = count - shown
    if not more:
        assert len(lines) == len(notices) == count
        return
    assert len(notices) == 10
    assert notices[-1][2] == f"{more} more findings in the log of this step: GitHub shows 10 of each kind"
    assert lines[shown + 1] == f"::group::{more} more findings" and lines[-1] == "::endgroup::"
    assert len(lines[shown + 2 : -1]) == more
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in lines[shown + 2 : -1])


def test_errors_do_not_take_the_room_of_warnings(folder: Path) -> None:
    many = samples()[2:3] * 12 + samples()[:1] * 12 + samples()[1:2] * 12
    lines = findings_github(many, Places.of(Path())).splitlines()
    counts = {kind: sum(line.startswith(f"::{kind} ") for line in lines) for kind in ("error", "warning", "notice")}
    assert counts == {"error": 10, "warning": 10, "notice": 10}
    assert "7 more findings" in lines[29]


def test_a_log_line_that_looks_like_a_command_is_none(folder: Path) -> None:
    source = Source("::stop-commands::x", "FROM a\n")
    many = [finding("a", "##[error]x", Severity.INFO, "FROM", source=source) for _ in range(12)]
    logged = findings_github(many, Places.of(Path())).split("::group::")[1].splitlines()[1:-1]
    assert logged == ["./::stop-commands::x:1:1: info a ## [error]x"] * 3


def test_paths_are_seen_from_the_repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git").mkdir()
    (folder / "svc").mkdir()
    monkeypatch.chdir(folder / "svc")
    source = Source("Dockerfile", "FROM a\n")
    (line,) = findings_github([finding("a", "m", Severity.INFO, "FROM", source=source)], Places.of(Path())).splitlines()
    assert parsed(line)[1]["file"] == "svc/Dockerfile"


def test_an_annotation_keeps_its_lines_and_its_place() -> None:
    line = annotation("error", "a, b: c\nd%", path="x,y:z", line=3, title="build")
    assert line == "::error file=x%2Cy%3Az,line=3,title=build::a, b: c%0Ad%25"
    assert annotation("warning", "text", line=3) == "::warning ::text"


def test_no_line_of_a_harmless_text_is_a_command() -> None:
    assert harmless("a\n  ::error::b\n##[group]c") == "a\n./  ::error::b\n## [group]c"
