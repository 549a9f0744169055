"""Servers that run in the background and may outlive this process: started, awaited, and ended by process id."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from buildopt import process
from buildopt.errors import ToolError

PATIENCE_SECONDS = 20.0


class Child(Protocol):
    """A child process of this one."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status."""


@dataclass(frozen=True, slots=True)
class Background:
    """A running server. ``mark`` is one of its arguments: it tells the server from a later process of the same id."""

    name: str
    process_id: int
    mark: str
    log: Path
    address: str
    running: Child | None = field(default=None, repr=False, compare=False)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.address.rpartition(":")[2])

    def alive(self) -> bool:
        """Whether it still runs."""
        return runs(self.process_id, self.mark)

    def stop(self) -> None:
        """End it and wait for its end; nothing happens where it ended before."""
        stop(self.process_id, self.mark)
        if self.running is not None:
            self.running.wait()


def start(name: str, argv: Sequence[str], *, mark: Path, log: Path, hint: str = "") -> Background:
    """Start a server that logs ``listening on [URL or address]`` once it is ready, and wait for that line.

    ``mark`` must be one of its arguments (its configuration file, say). The environment is a clean one.
    Raises ToolError with the log's last lines where the server ends or is not ready within 20 seconds.
    """
    log.unlink(missing_ok=True)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(log.parent)}
    running = process.spawn(argv, log=log, env=environment, cwd=log.parent)
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while time.monotonic() < deadline:
            ended = running.poll()
            text = log.read_text(encoding="utf-8", errors="replace")
            found = re.search(r"listening on (?:\w+://)?([^\s\",]+:\d+)", text)
            if ended is not None:
                raise _failure(f"{name} ended at once with exit status {ended}", text, hint)
            if found:
                return Background(name, running.pid, str(mark), log, found[1], running)
            time.sleep(0.01)
        raise _failure(f"{name} was not ready after {PATIENCE_SECONDS:g} s", text, hint)
    except BaseException:
        process.stop(running)
        raise


def runs(process_id: int, mark: str) -> bool:
    """Whether the process of this id runs and has ``mark`` among its arguments."""
    try:
        words = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(mark) in words


def stop(process_id: int, mark: str, *, patience: float = 5.0) -> None:
    """End the process of this id where ``mark`` is one of its arguments; another process of the same id is spared."""
    started = _status(process_id).started
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not runs(process_id, mark):
            break
        try:
            os.kill(process_id, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        # Its arguments vanish a moment before its sockets are closed: waited for is the end of its last thread.
        while not _status(process_id).ended(started) and time.monotonic() < deadline:
            time.sleep(0.01)
    with suppress(ChildProcessError):  # not a child of this process, or waited for already
        os.waitpid(process_id, os.WNOHANG)


@dataclass(frozen=True, slots=True)
class _Status:
    """Of a process: state letter, threads and start time in clock ticks; no state where there is none."""

    state: str = ""
    threads: int = 0
    started: str = ""

    def ended(self, started: str) -> bool:
        """Whether the process that began then is over, reaped or not."""
        return self.started != started or (self.state in "ZX" and self.threads <= 1)


def _status(process_id: int) -> _Status:
    try:
        text = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _Status()
    fields = text.rpartition(")")[2].split()
    return _Status(fields[0], int(fields[17]), fields[19])


def _failure(message: str, log: str, hint: str) -> ToolError:
    return ToolError(message, hint=hint, detail=process.last_lines(log))
