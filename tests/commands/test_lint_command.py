"""``buildopt lint`` and ``buildopt explain`` as scripts see them: streams, exit codes, files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from command_line import BAD, run

from buildopt import cli
from buildopt.commands import discover
from buildopt.commands.common import Output
from buildopt.dockerfile import shellcheck

GOOD = "FROM a:1\nCOPY a.py /b\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(BAD)
    return tmp_path


def test_text_is_one_line_a_finding_and_a_summary_beside_it(folder: Path) -> None:
    done = run(folder, "lint", "Dockerfile")
    expected = "Dockerfile:2:1: warning add-instead-of-copy (DL3020) nothing to download or unpack here: use COPY\n"
    assert (done.returncode, done.stdout) == (1, expected)
    assert done.stderr == "1 finding (1 warning) in 1 file, 1 fixable with --fix\n"


def test_json_has_its_own_shape_and_counts_broken_files(folder: Path) -> None:
    done = run(folder, "lint", "--format", "json", "Dockerfile", "missing")
    document = json.loads(done.stdout)
    assert (done.returncode, document["version"], document["files"]) == (2, 1, 2)
    assert "missing does not exist" in done.stderr
    assert document["findings"] == [
        {
            "path": "Dockerfile",
            "rule": "add-instead-of-copy",
            "aliases": ["DL3020"],
            "category": "correctness",
            "severity": "warning",
            "message": "nothing to download or unpack here: use COPY",
            "line": 2,
            "column": 1,
            "end_line": 2,
            "end_column": 4,
            "fingerprint": document["findings"][0]["fingerprint"],
            "fix": {"title": "use COPY", "safe": True},
        }
    ]


def test_fix_writes_and_diff_does_not(folder: Path) -> None:
    diff = run(folder, "lint", "--diff")
    assert diff.returncode == 1 and "-ADD a.py /b\n+COPY a.py /b\n" in diff.stdout
    assert (folder / "Dockerfile").read_text() == BAD
    fixed = run(folder, "lint", "--fix")
    assert (fixed.returncode, fixed.stdout) == (0, "") and "fixed 1 finding in 1 file" in fixed.stderr
    assert (folder / "Dockerfile").read_text() == GOOD
    assert run(folder, "lint", "--diff").returncode == 0


def test_standard_input(folder: Path) -> None:
    assert run(folder, "lint", "-", stdin=BAD).stdout.startswith("-:2:1: warning")
    assert run(folder, "lint", "-", "--fix", stdin=BAD).stdout == GOOD
    assert run(folder, "lint", "-", "--fix", stdin=GOOD).stdout == GOOD
    text = BAD.replace(":1", "")
    done = run(folder, "lint", "-", "--fix", "--output", "report", stdin=text)
    assert done.stdout == GOOD.replace(":1", "")
    assert (folder / "report").read_text().startswith("-:1:6: warning latest-or-untagged-base")


@pytest.mark.parametrize(("level", "code"), [("error", 0), ("warning", 1), ("style", 1), ("never", 0)])
def test_fail_on(folder: Path, level: str, code: int) -> None:
    assert run(folder, "lint", "--fail-on", level).returncode == code


def test_configuration_of_the_nearest_folder(folder: Path) -> None:
    (folder / "buildopt.yaml").write_text("lint: {ignore: [DL3020], exclude: ['old/**']}\n")
    (folder / "old").mkdir()
    (folder / "old" / "Dockerfile").write_text("BROKEN\n")
    assert run(folder, "lint").returncode == 0
    assert run(folder, "lint", "old/Dockerfile").returncode == 1
    forced = run(folder, "lint", "--force-exclude", "Dockerfile", "old/Dockerfile")
    assert (forced.returncode, forced.stderr) == (0, "no findings in 1 file\n")


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "file with no instructions"), (b"\x7fELF\0", "unknown instruction")]
)
def test_a_file_that_is_none_is_a_finding(folder: Path, data: bytes, reason: str) -> None:
    (folder / "Dockerfile").write_bytes(data)
    done = run(folder, "lint")
    assert done.returncode == 1 and "error syntax-error" in done.stdout and reason in done.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--select", "aptlists"), "no such rule: aptlists"),
        (("--select", "DL3999,DL3018"), "no such rule: DL3999\n  hint: list them all with: buildopt explain\n"),
        (("ci.yml",), "ci.yml is YAML"),
        (("--fix", "--diff"), "--fix and --diff exclude each other"),
        (("--unsafe-fixes",), "--unsafe-fixes does nothing alone"),
        (("-", "Dockerfile"), "- cannot stand beside other paths"),
        (("",), "a PATH is empty"),
        (("--ignore", "zzz"), "hint: list them all with: buildopt explain\n"),
        *((("--diff", "--format", format_), f"leave out --format {format_}") for format_ in ("json", "sarif")),
    ],
)
def test_wrong_usage(folder: Path, words: tuple[str, ...], problem: str) -> None:
    done = run(folder, "lint", *words)
    assert done.returncode == 2 and problem in done.stderr and done.stdout == ""


def test_a_folder_is_searched_for_what_git_does_not_ignore(folder: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    for name in ("api.Dockerfile", "Containerfile", "ignored/Dockerfile", "Dockerfile.dockerignore", "Dockerfile.dev"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(BAD)
    (folder / ".gitignore").write_text("ignored/\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    found = [line.split(":")[0] for line in run(folder, "lint").stdout.splitlines()]
    assert found == ["Containerfile", "Dockerfile", "Dockerfile.dev", "api.Dockerfile"]
    left = [line.split(":")[0] for line in run(folder, "lint", "--exclude", "*.Dockerfile").stdout.splitlines()]
    assert left == ["Containerfile", "Dockerfile", "Dockerfile.dev"]


def test_the_hooks_take_the_files_that_a_folder_is_searched_for() -> None:
    hooks = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    names = {
        **dict.fromkeys(("Dockerfile", "Containerfile", "Dockerfile.dev", "Dockerfile-dev", "Dockerfile_dev"), True),
        **dict.fromkeys(("api.Dockerfile", "api.dockerfile", "api.Containerfile", "Dockerfile.node"), True),
        **dict.fromkeys(("Dockerfile.dockerignore", "Dockerfile.md", "Dockerfile.orig", "Dockerfile~"), False),
        **dict.fromkeys(("Dockerfile.j2", "Dockerfile.template", "Dockerfile-dev.tmpl", "api.dockerfile.in"), False),
        **dict.fromkeys(("Dockerfiles", "MyDockerfile", "docker-compose.yml", "Dockerfile.", "dockerfile.go"), False),
    }
    for name, wanted in names.items():
        assert discover.is_dockerfile_name(name) is wanted, name
        for hook in hooks:
            path = f"services/{name}"  # pre-commit searches both patterns
            taken = re.search(hook["files"], path) is not None and re.search(hook["exclude"], path) is None
            assert taken is wanted, (hook["id"], name)


@pytest.mark.parametrize("number", [0, 1])
def test_the_hooks_run_with_the_names_that_they_are_given(folder: Path, number: int) -> None:
    hook = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())[number]
    (folder / "buildopt.yaml").write_text("lint: {exclude: ['vendor/**']}\n")
    (folder / "vendor").mkdir()
    (folder / "vendor" / "Dockerfile").write_text(BAD)
    program, *words = hook["entry"].split()
    done = run(folder, *words, "Dockerfile", "vendor/Dockerfile")
    assert program == "buildopt" and "in 1 file" in done.stderr
    assert (folder / "Dockerfile").read_text() == (GOOD if "--fix" in words else BAD)
    assert (folder / "vendor" / "Dockerfile").read_text() == BAD


def test_many_files_in_processes_say_the_same(folder: Path) -> None:
    for number in range(60):
        (folder / f"Dockerfile.{number:02}").write_text(BAD)
    parallel, alone = run(folder, "lint", "--jobs", "2"), run(folder, "lint", "--jobs", "1")
    assert parallel.stdout == alone.stdout and len(alone.stdout.splitlines()) == 61


def test_output_goes_to_a_file(folder: Path) -> None:
    done = run(folder, "lint", "--format", "json", "--output", "report.json")
    assert done.stdout == "" and json.loads((folder / "report.json").read_text())["files"] == 1


def test_explain_knows_names_aliases_and_neighbours(tmp_path: Path) -> None:
    by_name, by_alias = run(tmp_path, "explain", "add-instead-of-copy"), run(tmp_path, "explain", "DL3020")
    assert by_name.returncode == 0 and "## Use instead" in by_name.stdout
    assert by_alias.stdout == by_name.stdout
    unknown = run(tmp_path, "explain", "add-instead-of-copi")
    assert unknown.returncode == 2 and "did you mean add-instead-of-copy?" in unknown.stderr


def test_the_hint_of_a_missing_file_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "nowhere"]) == 2
    assert "error: nowhere does not exist\n  hint: check the path\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),
        (("--profile", "hadolint"), 1),
        (("--profile", "hadolint", "--fail-on", "warning"), 0),
        (("--profile", "recommended"), 0),
    ],
)
def test_the_profile_decides_from_where_it_fails(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    text = "FROM debian:12.1\nRUN apt-get update && apt-get install -y curl=7.* && rm -rf /var/lib/apt/lists/*\n"
    (tmp_path / "Dockerfile").write_text(text)
    done = run(tmp_path, "lint", *words)
    assert (done.returncode, "info apt-get-without-no-install-recommends (DL3015)" in done.stdout) == (code, True)


def test_the_profile_of_the_flag_goes_before_that_of_the_configuration(folder: Path) -> None:
    (folder / "buildopt.yaml").write_text("lint: {profile: hadolint}\n")
    assert run(folder, "lint").stdout.startswith("Dockerfile:2:1: error add-instead-of-copy")
    assert run(folder, "lint", "--profile", "recommended").stdout.startswith("Dockerfile:2:1: warning add-instead")
    unknown = run(folder, "lint", "--profile", "lenient")
    assert unknown.returncode == 2 and "'recommended', 'strict', 'hadolint'" in unknown.stderr


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("{ignore: [add-instead-of-copi]}", "lint.ignore"),
        ("{select: [size, add-instead-of-copi]}", "lint.select"),
        ("{severity: {add-instead-of-copi: error}}", "lint.severity"),
    ],
)
@pytest.mark.parametrize("paths", [(), ("Dockerfile", "api/Dockerfile"), ("--config", "buildopt.yaml", "-")])
def test_an_unknown_rule_in_the_configuration_is_named_once(
    folder: Path, section: str, place: str, paths: tuple[str, ...]
) -> None:
    (folder / "api").mkdir()
    (folder / "api" / "Dockerfile").write_text(BAD)
    (folder / "buildopt.yaml").write_text(f"lint: {section}\n")
    done = run(folder, "lint", *paths, stdin=BAD)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count(f"buildopt.yaml: {place}: no such rule: add-instead-of-copi\n") == 1
    assert done.stderr.count("hint: did you mean add-instead-of-copy?\n") == 1


def test_a_selected_code_that_no_rule_has_would_check_nothing(folder: Path) -> None:
    (folder / "buildopt.yaml").write_text("lint: {select: [dl3999, DL3020]}\n")
    done = run(folder, "lint")
    assert (done.returncode, done.stdout) == (2, "")
    assert "buildopt.yaml: lint.select: no such rule: dl3999\n" in done.stderr


def test_a_configuration_of_another_name_is_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / ".git").mkdir()
    (folder / "buildopt.yml").write_text("lint: {ignore: [DL3020]}\n")
    (folder / "api").mkdir()
    (folder / "api" / "Dockerfile").write_text(BAD)
    told = "warning: buildopt.yml is not read: name it buildopt.yaml\n"
    assert cli.main(["lint", "Dockerfile", "api/Dockerfile"]) == 1
    assert capsys.readouterr().err.count(told) == 1
    Output().settings(folder / "api")  # as build-once, push and test ask for theirs
    assert capsys.readouterr().err == told
    (folder / "buildopt.yaml").write_text("")
    assert cli.main(["lint", "Dockerfile"]) == 1
    assert "is not read" not in capsys.readouterr().err


def test_codes_of_other_linters_pass_in_the_configuration(folder: Path) -> None:
    (folder / "buildopt.yaml").write_text("lint: {ignore: [SC2086, dl3999, DL3020], severity: {SC1091: error}}\n")
    done = run(folder, "lint")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("format_", ["sarif", "github", "markdown"])
def test_formats_of_platforms_go_to_a_file_too(folder: Path, format_: str) -> None:
    printed = run(folder, "lint", "--format", format_)
    written = run(folder, "lint", "--format", format_, "--output", "report")
    assert (printed.returncode, written.returncode, written.stdout) == (1, 1, "")
    assert (folder / "report").read_text() == printed.stdout != ""
    assert "add-instead-of-copy" in printed.stdout


def test_formats_tell_of_files_that_could_not_be_read(folder: Path) -> None:
    done = run(folder, "lint", "--format", "sarif", "Dockerfile", "missing")
    invocation = json.loads(done.stdout)["runs"][0]["invocations"][0]
    assert (done.returncode, invocation["executionSuccessful"]) == (2, False)
    table = run(folder, "lint", "--format", "markdown", "Dockerfile", "missing").stdout
    assert "- `missing`: missing does not exist" in table and "in 1 file," in table


@pytest.mark.parametrize("format_", ["json", "sarif", "github", "markdown"])
def test_a_fixed_standard_input_leaves_no_room_for_a_report(folder: Path, format_: str) -> None:
    done = run(folder, "lint", "-", "--fix", "--format", format_, stdin=BAD)
    assert (done.returncode, done.stdout) == (2, "") and f"leave out --format {format_}" in done.stderr


def as_nobody(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a user who owns nothing: root may read everything."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("takes root and setpriv to be somebody else")
    for place in (folder, *folder.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(0o755)
    user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]
    command = [*user, sys.executable, "-m", "buildopt", "lint", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["pyproject.toml", "buildopt.yaml"])
def test_a_configuration_that_cannot_be_read_says_so(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    (folder / name).chmod(0)
    done = as_nobody(folder, "Dockerfile")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{name} cannot be read: Permission denied\n  hint: check its permissions\n" in done.stderr


@pytest.mark.parametrize(("path", "problem"), [("no", "searched"), ("no/Dockerfile", "read")])
def test_a_folder_that_cannot_be_entered_says_so(folder: Path, path: str, problem: str) -> None:
    (folder / "no").mkdir()
    shutil.copy(folder / "Dockerfile", folder / "no")
    (folder / "no").chmod(0)
    done = as_nobody(folder, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {path} cannot be {problem}: Permission denied\n")


def test_a_closed_standard_input_is_said_to_be_closed(folder: Path) -> None:
    command = ["sh", "-c", '"$0" -m buildopt lint - <&-', sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: standard input is closed\n")


def test_a_working_folder_that_is_gone_is_no_bug(folder: Path) -> None:
    (folder / "gone").mkdir()
    command = ["sh", "-c", 'cd gone && rmdir ../gone && "$0" -m buildopt lint', sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: the working folder is gone\n  hint: cd to another one\n")


def test_who_comes_from_hadolint_is_told_that_shellcheck_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--profile", "hadolint"]
    told = "without ShellCheck, scripts of RUN are not looked into: pip install 'buildopt[shellcheck]'\n"
    path = str(folder / "Dockerfile")
    for program, expected in ((None, 1), (Path("shellcheck"), 0)):
        monkeypatch.setattr(shellcheck, "program", lambda program=program: program)
        cli.main(["lint", path, *words])
        assert capsys.readouterr().err.count(told) == expected
    monkeypatch.setattr(shellcheck, "program", lambda: None)
    for quiet in (["--quiet", *words], []):
        cli.main(["lint", path, *quiet])
        assert told not in capsys.readouterr().err


def test_workflows_are_refused(folder: Path) -> None:
    workflow = folder / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("on: push\n")
    done = run(folder, "lint", ".github/workflows/ci.yml", "Dockerfile")
    assert done.returncode == 2 and ".github/workflows/ci.yml is YAML, not a Dockerfile" in done.stderr
    assert done.stdout.startswith("Dockerfile:2:1:")


def test_who_asks_for_shellcheck_must_have_it(folder: Path) -> None:
    done = run(folder, "lint", "--select", "SC2086")
    assert done.returncode == 2
    assert "SC2086 needs ShellCheck, which is not installed" in done.stderr
    assert "pip install 'buildopt[shellcheck]'" in done.stderr
