"""The only place that starts programs.

Arguments are always lists (no shell). Errors name the command but never its environment or standard input, which may
hold secrets.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from buildopt.errors import ToolError

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished program left: exit status and both streams (``stdout`` as bytes, ``stderr`` as text)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")


def which(name: str, *, path: str | None = None) -> str | None:
    """Full path of a program, or None."""
    return shutil.which(name, path=path)


def last_lines(text: str, count: int = 10) -> list[str]:
    """The last ``count`` non-empty lines of a program's output."""
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def missing(program: str) -> ToolError:
    """The error for a program that is not installed."""
    return ToolError(f"{program} was not found", hint=f"install {program} or put it on PATH")


def run(
    argv: Sequence[StrPath],
    *,
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
    timeout: float | None = None,
    check: bool = True,
    hint: str = "",
) -> Completed:
    """Run a program to its end and return what it wrote.

    ``data`` is fed to standard input (otherwise closed), ``timeout`` is in seconds.
    Raises ToolError where the program is missing, takes too long, or (with ``check``) exits non-zero; its last lines
    of standard error are the error's detail.
    """
    words = tuple(os.fspath(word) for word in argv)
    try:
        done = subprocess.run(
            words,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            env=env,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        if cwd is not None and not Path(cwd).is_dir():
            raise ToolError(f"{cwd} is not a folder") from error
        raise missing(words[0]) from error
    except PermissionError as error:
        raise ToolError(f"{words[0]} may not be executed", hint="check its file mode") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{shlex.join(words)} did not end within {timeout:g} s", hint=hint) from error
    completed = Completed(words, done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))
    if check and completed.returncode != 0:
        raise failed(completed, hint=hint)
    return completed


def ask(argv: Sequence[StrPath], data: bytes, *, env: Mapping[str, str], timeout: float, most: int) -> Completed:
    """Run a program that is told something short and answers: it is ended after ``timeout`` seconds, or once it has
    written more than ``most`` bytes. What it leaves running in the background is not waited for.

    Raises ToolError where it cannot be started or is ended.
    """
    words = tuple(os.fspath(word) for word in argv)
    pipe = subprocess.PIPE
    try:
        running = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
    except OSError as error:
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}", hint="check the program") from error
    assert running.stdin is not None and running.stdout is not None and running.stderr is not None
    heard = {running.stdout.fileno(): bytearray(), running.stderr.fileno(): bytearray()}
    out, err = heard.values()
    ends = time.monotonic() + timeout
    try:
        with suppress(BrokenPipeError):
            running.stdin.write(data)
            running.stdin.close()
        with selectors.DefaultSelector() as selector:
            for descriptor in heard:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(min(0.1, max(0.0, ends - time.monotonic())))
                if not ready and running.poll() is not None:
                    break
                if time.monotonic() > ends:
                    raise ToolError(f"{shlex.join(words)} did not end within {timeout:g} s")
                for key, _ in ready:
                    block = os.read(key.fd, 1 << 16)
                    heard[key.fd] += block
                    if not block:
                        selector.unregister(key.fd)
                if len(out) + len(err) > most:
                    raise ToolError(f"{shlex.join(words)} wrote more than {most} bytes")
        try:
            status = running.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ToolError(f"{shlex.join(words)} did not end within {timeout:g} s") from None
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
        for stream in (running.stdin, running.stdout, running.stderr):
            with suppress(BrokenPipeError):
                stream.close()
    return Completed(words, status, bytes(out), err.decode("utf-8", "replace"))


def call(
    argv: Sequence[StrPath],
    *,
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
    stdout: IO[str] | None = None,
) -> tuple[int, str]:
    """Run a program whose standard error goes straight to ours; return its exit status and standard output.

    With ``stdout`` its output goes there instead, as it comes.
    """
    target = subprocess.PIPE if stdout is None else stdout
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=target, env=env, cwd=cwd) as running:
        try:
            out, _ = running.communicate()
        finally:
            stop(running)
    return running.returncode, (out or b"").decode("utf-8", "surrogateescape")


def failed(completed: Completed, *, hint: str = "") -> ToolError:
    """The error for a program that exited non-zero."""
    lines = last_lines(completed.stderr) or last_lines(completed.text)
    return ToolError(
        f"{shlex.join(completed.argv)} failed with exit status {completed.returncode}", hint=hint, detail=lines
    )


_streams: set[subprocess.Popen[str]] = set()


def interrupt_streams() -> None:
    """Interrupt every program that ``stream`` runs now, in whatever thread: each block then sees its end."""
    for running in tuple(_streams):
        if running.poll() is None:
            running.send_signal(signal.SIGINT)


@contextmanager
def stream(
    argv: Sequence[StrPath],
    *,
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[str]]:
    """A running program whose standard error is read line by line as text (``.stderr``); ends with the block.

    Leaving the block early (an error, Ctrl-C) interrupts the program (SIGINT, then SIGTERM, then SIGKILL) and waits for
    it: no program outlives its caller.
    """
    words = [os.fspath(word) for word in argv]
    try:
        running = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise missing(words[0]) from error
    _streams.add(running)
    try:
        yield running
        running.wait()
    finally:
        _streams.discard(running)
        stop(running)
        if running.stderr is not None:
            running.stderr.close()


def stop(running: subprocess.Popen[str] | subprocess.Popen[bytes], *, patience: float = 10.0) -> None:
    """End a program that may still run: SIGINT, SIGTERM, SIGKILL, each after ``patience`` seconds."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if running.poll() is not None:
            return
        running.send_signal(number)
        try:
            running.wait(patience)
        except subprocess.TimeoutExpired:
            continue


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program in a group of its own did. ``status`` is None where it did not end in time and was ended;
    ``tail`` are the last bytes of both streams, as they came."""

    status: int | None
    tail: bytes


def run_group(
    argv: Sequence[StrPath], *, env: Mapping[str, str], cwd: StrPath, timeout: float, keep: int = 1 << 16
) -> Ended:
    """Run a program and whatever it starts in a group of its own, which ends with this call: in time (``timeout``
    seconds), too late, or interrupted. Of what they write the last ``keep`` bytes are kept, however much it is.

    Raises ToolError where it cannot be started.
    """
    try:
        running = subprocess.Popen(
            [os.fspath(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"{os.fspath(argv[0])} cannot be started: {error.strerror}") from error
    assert running.stdout is not None
    tail = bytearray()

    def read(descriptor: int) -> None:
        with suppress(OSError):
            while block := os.read(descriptor, 1 << 16):
                tail.extend(block)
                del tail[:-keep]

    reader = threading.Thread(target=read, args=(running.stdout.fileno(),), daemon=True)
    reader.start()
    status: int | None = None
    try:
        with suppress(subprocess.TimeoutExpired):
            status = running.wait(timeout)
    finally:
        _end_group(running)
        # What a program that left the group still holds open is not waited for.
        reader.join(1.0)
    if not reader.is_alive():
        running.stdout.close()
    return Ended(status, bytes(tail))


def _end_group(running: subprocess.Popen[bytes], *, patience: float = 5.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(running.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with suppress(subprocess.TimeoutExpired):
            running.wait(patience)
    running.wait()


def spawn(
    argv: Sequence[StrPath],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
) -> subprocess.Popen[bytes]:
    """Start a background program in a session of its own that outlives this one; both streams go to ``log``."""
    words = [os.fspath(word) for word in argv]
    with open(log, "ab") as out:
        try:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )
        except FileNotFoundError as error:
            raise missing(words[0]) from error
