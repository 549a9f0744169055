"""What a running private engine is and what was changed on the machine for it, as a file, and its processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from buildopt.engine import folders

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number: ``started`` is in ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        return cls(pid, start_time(pid))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.pid > 0 and self.started > 0 and start_time(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class State:
    """One engine's record. Written before the machine is changed, so that what a crash left can be cleared."""

    root: str
    name: str
    subnet: str
    boot: str
    dockerd: Process = Process(0, 0)
    containerd: Process = Process(0, 0)
    mirrors: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    version: str = ""

    @property
    def alive(self) -> bool:
        """Whether both daemons run."""
        return self.boot == boot_id() and self.dockerd.alive and self.containerd.alive

    def save(self, path: Path) -> None:
        """Write the record."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({"format": FORMAT, **dataclasses.asdict(self)}))
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> State | None:
        """Read a record; None where there is none or it cannot be understood."""
        try:
            document = json.loads(path.read_bytes())
            return cls(
                root=str(document["root"]),
                name=str(document["name"]),
                subnet=str(document["subnet"]),
                boot=str(document["boot"]),
                dockerd=Process(**document["dockerd"]),
                containerd=Process(**document["containerd"]),
                mirrors=tuple(document["mirrors"]),
                platforms=tuple(document["platforms"]),
                version=str(document["version"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def others(identity: str) -> list[State]:
    """The records of all other private engines on this machine, running or crashed."""
    found = [State.load(path) for path in folders.RUN.glob("*/state.json") if path.parent.name != identity]
    return [state for state in found if state is not None]


def boot_id() -> str:
    """What changes with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """When a process was started, in ticks since boot; 0 where there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def processes() -> Iterator[tuple[int, str]]:
    """Every process: its number and its command line, words separated by NUL."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                yield int(entry), Path(f"/proc/{entry}/cmdline").read_bytes().decode("utf-8", "surrogateescape")


def end(members: list[Process], *, patience: float) -> None:
    """End processes: SIGTERM, and SIGKILL after ``patience`` seconds."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        members = [member for member in members if member.alive]
        if not members:
            return
        for member in members:
            with suppress(ProcessLookupError):
                os.kill(member.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(member.alive for member in members):
            for member in members:
                with suppress(ChildProcessError):
                    os.waitpid(member.pid, os.WNOHANG)  # our own child would stay as a zombie
            time.sleep(0.01)
