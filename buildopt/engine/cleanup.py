"""Ending a private engine, or what a crash left of one: processes, mounts, network, emulation, files."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from buildopt.engine import api, emulation, host, network, state
from buildopt.engine.folders import Folders
from buildopt.engine.programs import Programs
from buildopt.engine.state import Process, State
from buildopt.errors import EngineError

_MNT_DETACH = 2
_CGROUPS = Path("/sys/fs/cgroup")
_PROGRAMS = ("dockerd", "containerd", "containerd-shim-runc-v2", "runc")
_PATIENCE = 15.0  # seconds for dockerd to stop its containers


def clear(folders: Folders) -> None:
    """End all that belongs to the engine and undo all that was changed for it; nothing to do is fine."""
    if not folders.run.exists():
        return
    record = State.load(folders.state)
    subnet = network.Network(record.subnet) if record is not None else None
    if record is not None and record.boot == state.boot_id():
        if record.dockerd.alive:
            _stop_containers(folders)
        for daemon in (record.dockerd, record.containerd):
            state.end([daemon], patience=_PATIENCE)
    state.end(list(_leftovers(folders)), patience=1.0)
    _unmount(folders)
    network.remove_bridges(folders.name, subnet)
    if subnet is not None:
        network.close_way_out(folders.name, subnet, Programs(folders.prefix).environment(os.environ))
    _remove_cgroups(folders)
    with host.locked():
        machine = emulation.foreign_machine()
        if machine is not None:
            emulation.unregister(folders, machine)
        shutil.rmtree(folders.run, ignore_errors=True)
        host.restore(folders.identity)


def _stop_containers(folders: Folders) -> None:
    """Stop all containers at once, giving each a second; dockerd by itself would give them ten and more."""
    from concurrent.futures import ThreadPoolExecutor

    def stop(identity: str) -> None:
        with suppress(EngineError):
            api.request(folders.socket, f"/containers/{identity}/stop?t=1", method="POST")

    with suppress(EngineError, ValueError), ThreadPoolExecutor(16) as pool:
        listed = json.loads(api.request(folders.socket, "/containers/json"))
        list(pool.map(stop, (container["Id"] for container in listed)))


def _leftovers(folders: Folders) -> Iterator[Process]:
    """Daemons, shims and runc that name the engine's run folder, and everything in the engine's control groups."""
    run = f"{folders.run}/"
    members = {pid for pid, command in state.processes() if run in command and _program(pid) in _PROGRAMS}
    for group in _control_groups(folders):
        with suppress(OSError):
            members.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    members.discard(os.getpid())
    yield from (Process.of(pid) for pid in members)


def _program(pid: int) -> str:
    """The name of the program that a process runs."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        return ""


def _control_groups(folders: Folders) -> list[Path]:
    """The engine's control groups, innermost first, in every hierarchy."""
    tops = [_CGROUPS / folders.name, *_CGROUPS.glob(f"*/{folders.name}")]
    found = [path for top in tops if top.is_dir() for path in (top, *top.rglob("*/"))]
    return sorted(set(found), key=lambda path: len(path.parts), reverse=True)


def _remove_cgroups(folders: Folders) -> None:
    deadline = time.monotonic() + 2.0
    while True:
        for group in _control_groups(folders):
            with suppress(OSError):
                group.rmdir()
        if not _control_groups(folders) or time.monotonic() > deadline:
            return
        time.sleep(0.02)  # ended processes leave their group a moment later


def _unmount(folders: Folders) -> None:
    """Take away every mount below the engine's folders, the last one first."""
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(3):
        points = mounts_below(folders.run, folders.data)
        for point in reversed(points):
            libc.umount2(os.fsencode(point), _MNT_DETACH)
        if not points:
            return


def mounts_below(*parents: Path) -> list[str]:
    """The mount points inside some folders, in the order in which they were mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if any(parent in Path(point).parents for parent in parents):
            found.append(point)
    return found
