"""What all private engines of a machine share and the last one puts back: packet forwarding, the binfmt_misc mount."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from buildopt.engine import emulation, folders, network, packages, state

_NEED_FORWARDING = {"dockerd", "containerd", "podman", "libvirtd", "kubelet", "incusd", "lxd"}


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed for the first engine."""

    forwarding: bool = False
    binfmt_mount: bool = False
    shim_folder: bool = False

    @classmethod
    def load(cls) -> Changes:
        """The changes that are recorded."""
        try:
            return cls(**json.loads(_record().read_bytes()))
        except (OSError, ValueError, TypeError):
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
    forwarding = network.FORWARD.read_text().strip() == "0"
    shims = not Path("/run/containerd").exists()
    replace(changes, forwarding=changes.forwarding or forwarding, shim_folder=changes.shim_folder or shims).save()
    if forwarding:
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
    if changes.shim_folder:
        for path in ("/run/containerd/s", "/run/containerd"):
            with suppress(OSError):
                os.rmdir(path)
    _record().unlink(missing_ok=True)


def _needed_by_others() -> bool:
    return any(name in _NEED_FORWARDING for name in _program_names())


def _program_names() -> Iterator[str]:
    for pid, _ in state.processes():
        with suppress(OSError):
            yield Path(f"/proc/{pid}/comm").read_text().strip()
