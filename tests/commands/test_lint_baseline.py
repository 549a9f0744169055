"""``--baseline``: what an earlier report has is left out, wherever it has moved to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import run

from buildopt.finding import Category, Finding, Severity
from buildopt.report.baseline import Known, fingerprint, unseen
from buildopt.source import Source, Span

OLD = "FROM debian:12.1\nADD a.py /b\nADD b.py /b\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(OLD)
    written = run(tmp_path, "lint", "--format", "json", "--fail-on", "never", "--output", "old.json")
    assert written.returncode == 0 and len(json.loads((tmp_path / "old.json").read_text())["findings"]) == 2
    return tmp_path


def lint(folder: Path, text: str, *words: str) -> tuple[int, list[str], str]:
    (folder / "Dockerfile").write_text(text)
    done = run(folder, "lint", "--baseline", "old.json", *words)
    return done.returncode, [line.split(": ")[0] for line in done.stdout.splitlines()], done.stderr.splitlines()[0]


def test_nothing_new_is_fine(folder: Path) -> None:
    assert lint(folder, OLD) == (0, [], "2 findings of the baseline left out, 0 of it gone")


def test_moved_lines_and_other_blanks_do_not_matter(folder: Path) -> None:
    text = "# a comment\n\nFROM debian:12.1\nADD b.py   /b\n\nRUN true\nADD a.py /b\n"
    assert lint(folder, text) == (0, [], "2 findings of the baseline left out, 0 of it gone")


def test_what_is_new_is_shown_even_where_it_reads_alike(folder: Path) -> None:
    text = OLD.replace("ADD a", "ADD new.py /c\nADD a")
    assert lint(folder, text) == (1, ["Dockerfile:2:1"], "2 findings of the baseline left out, 0 of it gone")


def test_an_edited_line_is_no_new_finding(folder: Path) -> None:
    assert lint(folder, OLD.replace("a.py", "c.py")) == (0, [], "2 findings of the baseline left out, 0 of it gone")


def test_what_was_mended_is_counted(folder: Path) -> None:
    text = OLD.replace("ADD a", "COPY a")
    assert lint(folder, text) == (0, [], "1 finding of the baseline left out, 1 of it gone")
    (folder / "api.Dockerfile").write_text("FROM debian:12.1\n")
    (folder / "Dockerfile").unlink()
    assert (
        "0 findings of the baseline left out, 2 of it gone"
        in run(folder, "lint", "--baseline", "old.json", "api.Dockerfile").stderr
    )


def test_files_that_were_not_looked_at_are_not_gone(folder: Path) -> None:
    (folder / "api.Dockerfile").write_text(OLD)
    done = run(folder, "lint", "--baseline", "old.json", "api.Dockerfile")
    assert done.returncode == 1 and "0 findings of the baseline left out, 0 of it gone" in done.stderr


def test_a_path_may_be_written_in_other_ways(folder: Path) -> None:
    for path in ("./Dockerfile", str(folder / "Dockerfile")):
        assert run(folder, "lint", "--baseline", "old.json", path).returncode == 0
    (folder / "api").mkdir()
    shutil.move(folder / "old.json", folder / "api")
    assert run(folder / "api", "lint", "--baseline", "old.json", "../Dockerfile").returncode == 1


def test_it_holds_in_every_folder_of_the_repository(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "api" / "v1").mkdir(parents=True)
    (folder / "api" / "v1" / "Dockerfile").write_text(OLD)
    written = run(folder, "lint", "--format", "json", "--fail-on", "never", "--output", "old.json")
    assert written.returncode == 0
    for place, report in (("api", "../old.json"), ("api/v1", "../../old.json"), ("api", str(folder / "old.json"))):
        done = run(folder / place, "lint", "--baseline", report)
        assert (done.returncode, done.stdout) == (0, "")
        assert "2 findings of the baseline left out, 0 of it gone" in done.stderr
    (folder / "ci").mkdir()
    shutil.move(folder / "old.json", folder / "ci")
    done = run(folder / "api" / "v1", "lint", "--baseline", "../../ci/old.json")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("mode", ["--fix", "--diff"])
def test_only_what_is_new_is_fixed(folder: Path, mode: str) -> None:
    code, shown, _ = lint(folder, f"{OLD}ADD new.py /c\n", mode)
    if mode == "--diff":
        assert code == 1 and "+COPY new.py /c" in shown and "-ADD new.py /c" in shown
        assert not any(line.startswith(("-ADD a", "-ADD b")) for line in shown)
        return
    assert (code, shown) == (0, [])
    assert (folder / "Dockerfile").read_text() == f"{OLD}COPY new.py /c\n"


def test_many_files_have_each_their_own(folder: Path) -> None:
    for number in range(60):
        (folder / f"Dockerfile.{number:02}").write_text(OLD)
    run(folder, "lint", "--format", "json", "--output", "old.json")
    (folder / "Dockerfile.07").write_text(f"{OLD}ADD new.py /c\n")
    done = run(folder, "lint", "--baseline", "old.json", "--jobs", "2")
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["Dockerfile.07:4:1"]
    assert "122 findings of the baseline left out, 0 of it gone" in done.stderr


def test_a_report_without_fingerprints_is_taken_by_its_messages(folder: Path) -> None:
    document = json.loads((folder / "old.json").read_text())
    for finding in document["findings"]:
        del finding["fingerprint"]
    (folder / "old.json").write_text(json.dumps(document))
    assert lint(folder, f"{OLD}ADD c.py /c\n")[:2] == (1, ["Dockerfile:4:1"])


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"version": 2, "findings": []}',
        b'{"version": 1, "findings": [{"path": "a"}]}',
        b'{"version": 1, "findings": [{"path": "a", "rule": 1, "message": "b"}]}',
        b'{"version": 1, "findings": ["a"]}',
        b'{"version": 1, "findings": null}',
        b'{"$schema": "x", "version": "2.1.0", "runs": []}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused_with_the_command_that_writes_one(folder: Path, data: bytes | None) -> None:
    if data is None:
        (folder / "old.json").unlink()
    else:
        (folder / "old.json").write_bytes(data)
    done = run(folder, "lint", "--baseline", "old.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the baseline old.json ") and done.stderr.count("\n") == 2
    assert "buildopt lint --format json --fail-on never --output old.json" in done.stderr


def test_a_baseline_is_not_written_over_by_what_is_new(folder: Path) -> None:
    before = (folder / "old.json").read_bytes()
    done = run(folder, "lint", "--baseline", "old.json", "--format", "json", "--output", "./old.json")
    assert done.returncode == 2 and "write a baseline without --baseline" in done.stderr
    assert (folder / "old.json").read_bytes() == before


def finding(message: str, text: str) -> Finding:
    return Finding("a-rule", message, Source("D", text), Span(0, len(text)), Severity.INFO, Category.SIZE)


def test_numbers_of_lines_in_messages_do_not_matter() -> None:
    before, after = finding("the same as in line 12", "ADD a"), finding("the same as in line 9", "ADD a")
    assert fingerprint(before) == fingerprint(after)
    assert fingerprint(before) != fingerprint(finding("the same as in stage 12", "ADD a"))
    assert unseen([after], [Known("a-rule", "the same as in line 12")]) == ()


def test_each_entry_stands_for_one_finding() -> None:
    two = [finding("m", "ADD a"), finding("m", "ADD b")]
    assert unseen(two, [Known("a-rule", "m", fingerprint(two[1]))]) == (two[0],)
    assert unseen(two, [Known("a-rule", "m")] * 2) == ()
    assert unseen(two, [Known("a-rule", "other")]) == tuple(two)
    assert unseen(two, []) == tuple(two)
