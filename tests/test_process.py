"""Starting programs."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from buildopt import process
from buildopt.errors import ToolError


def test_output_and_status_come_back() -> None:
    done = process.run([sys.executable, "-c", "import sys; print(input()); sys.exit(3)"], data=b"hello\n", check=False)
    assert (done.returncode, done.text) == (3, "hello\n")


def test_a_failure_names_the_command_and_its_last_lines() -> None:
    with pytest.raises(ToolError) as caught:
        process.run([sys.executable, "-c", "import sys; sys.stderr.write('why\\n'); sys.exit(1)"], hint="do this")
    assert "exit status 1" in caught.value.message
    assert (caught.value.detail, caught.value.hint) == (("why",), "do this")


def test_a_missing_program_says_so() -> None:
    with pytest.raises(ToolError, match="no-such-program was not found"):
        process.run(["no-such-program"])


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="is not a folder"):
        process.run([sys.executable, "-c", ""], cwd=tmp_path / "gone")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ToolError, match="did not end within"):
        process.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)


def test_leaving_a_stream_early_ends_the_program() -> None:
    with (
        pytest.raises(RuntimeError),
        process.stream(
            [sys.executable, "-c", "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(60)"]
        ) as running,
    ):
        assert running.stderr is not None
        assert running.stderr.readline() == "up\n"
        raise RuntimeError
    assert running.returncode in (-signal.SIGINT, 1)


def test_a_spawned_program_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = process.spawn([sys.executable, "-c", "import os; print(os.getsid(0))"], log=log)
    running.wait(30)
    deadline = time.monotonic() + 10
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert int(log.read_text()) == running.pid != os.getsid(0)


def group(tmp_path: Path, script: str, timeout: float = 20.0) -> process.Ended:
    return process.run_group(["sh", "-c", script], env=os.environ, cwd=tmp_path, timeout=timeout)


def test_a_group_tells_its_status_and_its_last_bytes(tmp_path: Path) -> None:
    assert group(tmp_path, "echo out; echo err >&2; exit 3") == process.Ended(3, b"out\nerr\n")
    ended = group(tmp_path, "yes 0123456789 | head -c 3000000; echo end")
    assert (ended.status, len(ended.tail), ended.tail[-4:]) == (0, 1 << 16, b"end\n")


def test_a_group_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    ended = group(tmp_path, "sleep 61 & echo $!; sleep 62", timeout=0.5)
    assert ended.status is None
    child = int(ended.tail)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_group_leaves_running_is_ended_too(tmp_path: Path) -> None:
    began = time.monotonic()
    assert group(tmp_path, "sleep 63 & exit 0").status == 0
    assert time.monotonic() - began < 5


def test_a_group_whose_program_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        process.run_group([tmp_path / "none"], env={}, cwd=tmp_path, timeout=1)
