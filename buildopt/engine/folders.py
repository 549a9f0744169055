"""Where a private engine keeps its things.

What lasts (images, build cache, log) stays in the engine's folder, downloads in one shared by all engines of a user.
What lives only while it runs is in ``/run/buildopt/ID``: a short path, for a Unix socket's may not exceed 107 bytes,
and one that a reboot empties.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from buildopt import settings

RUN = Path("/run/buildopt")


@dataclass(frozen=True, slots=True)
class Folders:
    """The paths of one private engine. ``root`` names it, ``downloads`` may be shared with others."""

    root: Path
    downloads: Path

    @classmethod
    def at(cls, root: Path | None = None, downloads: Path | None = None) -> Folders:
        """The engine in ``root``, by default the user's one. ``downloads`` is by default the user's cache too."""
        home = settings.cache_folder() / "engine"
        return cls((root or home).absolute(), (downloads or home / "downloads").absolute())

    @property
    def identity(self) -> str:
        """Six hexadecimal digits that tell this engine from those in other folders of the machine."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:6]

    @property
    def name(self) -> str:
        """``buildopt-`` and the identity: its bridge, firewall table and control group (15 bytes, as bridges allow)."""
        return f"buildopt-{self.identity}"

    @property
    def cache(self) -> Path:
        """Downloaded packages and apt's lists."""
        return self.downloads / "packages"

    @property
    def prefix(self) -> Path:
        """Where packages are unpacked."""
        return self.downloads / "prefix"

    @property
    def data(self) -> Path:
        """Images, containers and build cache."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What both daemons say."""
        return self.root / "engine.log"

    @property
    def lock(self) -> Path:
        """Held while the engine is started or stopped."""
        return self.root / "lock"

    @property
    def run(self) -> Path:
        """Sockets, configuration and state of the running engine."""
        return RUN / self.identity

    @property
    def socket(self) -> Path:
        """The Docker API."""
        return self.run / "docker.sock"

    @property
    def containerd_socket(self) -> Path:
        """containerd's API."""
        return self.run / "containerd.sock"

    @property
    def state(self) -> Path:
        """The record of what was started and changed."""
        return self.run / "state.json"
