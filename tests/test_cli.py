"""The command line as a whole: help, errors, exit codes, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import artifacts
import click
import pytest

from buildopt import cli, errors

HEAVY = {"python_on_whales", "boto3", "rich", "yaml", "tree_sitter", "urllib3", "tenacity", "asyncio"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert "Usage: buildopt " + name in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from buildopt.cli import main; main(sys.argv[1:]);"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["psuh"]) == 2
    assert "did you mean push?" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["explain"], ["inspect"], ["why"], ["engine", "status"]])
def test_a_configuration_that_is_named_must_be_there(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--config", "nope.yaml"]) == 2
    assert "nope.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "coloured"), [([], True), (["--no-color"], False)])
def test_errors_are_without_colour_where_that_is_asked_for(
    words: list[str], coloured: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["explain", "no-such-topic", *words]) == 2
    assert ("\x1b[" in capsys.readouterr().err) is coloured


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (errors.ArtifactError("gone", hint="build it"), 5, "error: gone\n  hint: build it\n"),
        (errors.ToolError("failed", detail=["last line"]), 3, "  last line\nerror: failed\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.UsageError("odd"), 2, "error: odd"),
        (RuntimeError("boom"), 70, "this is a bug in buildopt: RuntimeError: boom"),
    ],
)
def test_errors_are_printed_once_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    raised: BaseException,
    code: int,
    text: str,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the report of a bug goes

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(cli.buildopt, "main", fail)
    assert cli.main([]) == code
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("redirection", "status", "said"), [(">&-", 0, ""), (">/dev/full", 3, "No space left")])
def test_a_stdout_that_takes_nothing_is_no_bug(redirection: str, status: int, said: str) -> None:
    command = f"{sys.executable} -m buildopt explain {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stderr and "bug" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- <&- >&-", ">&- 2>/dev/full", "2>/dev/null"])
@pytest.mark.parametrize(("words", "code"), [("lint Dockerfile", 1), ("lint -v Dockerfile", 1), ("psuh", 2)])
def test_a_stderr_that_takes_nothing_changes_nothing(tmp_path: Path, redirection: str, words: str, code: int) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN apt-get install curl\n")
    command = f"{sys.executable} -m buildopt {words} {redirection}"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == code


def test_a_closed_stream_gives_its_number_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\n")
    code = (
        "import os; from buildopt import cli; cli.main = lambda: print(os.open('Dockerfile', os.O_RDONLY)); cli.run()"
    )
    for redirection in ("<&-", "2>&-", "<&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'{sys.executable} -c "{code}" {redirection}'], cwd=tmp_path, stdout=-1)
        assert int(done.stdout) > 2


def test_a_pipe_that_does_not_wait_gets_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN apt-get install curl\n" * 300)
    argv = [str(Path(sys.executable).with_name("buildopt")), "lint", "--format", "json", "Dockerfile"]
    wanted = subprocess.run(argv, cwd=tmp_path, stdout=subprocess.PIPE).stdout
    assert len(wanted) > 100_000  # more than a pipe holds
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(argv, cwd=tmp_path, stdout=writing) as process:
        os.close(writing)
        time.sleep(1)
        with open(reading, "rb") as pipe:
            assert pipe.read() == wanted
    assert process.returncode == 1


def test_an_unknown_topic_has_a_short_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "zzz"]) == 2
    assert "  hint: list them all with: buildopt explain\n" in capsys.readouterr().err


@pytest.mark.parametrize("streams", ["stdout", "stderr", "both"])
@pytest.mark.parametrize(
    ("words", "code"), [(["push", "127.0.0.1:1/a/b:1"], 4), (["lint", "Dockerfile"], 1), (["--version"], 0)]
)
def test_a_reader_that_leaves_changes_nothing(tmp_path: Path, words: list[str], code: int, streams: str) -> None:
    artifacts.make_layout(tmp_path / ".buildopt" / "image")
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN apt-get install curl\n")
    reading, writing = os.pipe()
    os.close(reading)
    out, err = (writing if streams in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr"))
    argv = [str(Path(sys.executable).with_name("buildopt")), *words]
    done = subprocess.run(argv, cwd=tmp_path, stdout=out, stderr=err)
    os.close(writing)
    assert done.returncode == code, done.stderr
    assert b"bug" not in (done.stderr or b"")
