"""What all private engines of a machine share and the last one puts back: packet forwarding, the binfmt_misc mount."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from buildopt.engine import emulation, folders, network, packages, state

# Made by Docker's programs wherever their own folders are.
_DAEMON_FOLDERS = ("/run/containerd/s", "/run/containerd", "/run/docker/plugins", "/run/docker", "/run/runc")
_NEED_FORWARDING = {"dockerd", "containerd", "podman", "libvirtd", "kubelet", "incusd", "lxd"}


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed for the first engine."""

    forwarding: bool = False
    binfmt_mount: bool = False
    folders: tuple[str, ...] = ()

    @classmethod
    def load(cls) -> Changes:
        """The changes that are recorded."""
        try:
            document = json.loads(_record().read_bytes())
            return cls(bool(document["forwarding"]), bool(document["binfmt_mount"]), tuple(document["folders"]))
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def save(self) -> None:
        """Record the changes."""
        _record().write_text(json.dumps(asdict(self)))


def _record() -> Path:
    return folders.RUN / "host.json"


def locked() -> AbstractContextManager[None]:
    """Held while what is shared is looked at or changed."""
    return packages.locked(folders.RUN / "lock")


def allow_forwarding() -> None:
    """Let the machine pass packets on to containers; to be called with the lock held."""
    changes = Changes.load()
    off = network.FORWARD.read_text().strip() == "0"
    new = tuple(folder for folder in _DAEMON_FOLDERS if not Path(folder).exists())
    replace(changes, forwarding=changes.forwarding or off, folders=changes.folders + new).save()
    if off:
        network.FORWARD.write_text("1")


def mount_binfmt() -> None:
    """Make the kernel's list of interpreters reachable; to be called with the lock held. Raises ToolError."""
    if not (emulation.REGISTRY / "register").exists():
        replace(Changes.load(), binfmt_mount=True).save()
        emulation.mount()


def restore(identity: str) -> None:
    """Put back what was changed, unless another engine needs it; to be called with the lock held."""
    if state.others(identity):
        return
    changes = Changes.load()
    if changes.binfmt_mount:
        emulation.unmount()
    if changes.forwarding and not _needed_by_others():
        network.FORWARD.write_text("0")
    for folder in changes.folders:
        with suppress(OSError):
            os.rmdir(folder)  # only if nobody has anything in it
    _record().unlink(missing_ok=True)


def _needed_by_others() -> bool:
    return any(name in _NEED_FORWARDING for name in _program_names())


def _program_names() -> Iterator[str]:
    for pid, _ in state.processes():
        with suppress(OSError):
            yield Path(f"/proc/{pid}/comm").read_text().strip()
