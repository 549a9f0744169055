"""The programs of a private engine: Docker, containerd, buildx, runc and what they call, in a folder of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildopt import process
from buildopt.engine import packages
from buildopt.engine.folders import Folders
from buildopt.errors import EngineError

OLDEST = 23  # the first Docker whose image store can be containerd's
_DOCKER = ("docker.io", "docker-cli", "docker-buildx", "containerd", "tini-static")
_TESTING = "forky"  # has a current Docker whose binaries run on older Debian


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs of a private engine are."""

    prefix: Path

    @property
    def docker(self) -> Path:
        """The docker command."""
        return self.prefix / "usr/bin/docker"

    @property
    def buildx(self) -> Path:
        """buildx, which also runs by itself."""
        return self.prefix / "usr/libexec/docker/cli-plugins/docker-buildx"

    @property
    def present(self) -> bool:
        """Whether the clients are there."""
        return os.access(self.docker, os.X_OK) and os.access(self.buildx, os.X_OK)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with the programs in front of PATH, and their libraries."""
        folders = [self.prefix / name for name in ("links", "usr/sbin", "usr/bin", "sbin", "bin")]
        system = base.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {**base, "PATH": ":".join([*map(str, folders), system, "/usr/sbin", "/sbin"])}
        libraries = [str(path) for path in sorted(self.prefix.glob("usr/lib/*-linux-gnu*"))]
        libraries += [str(path) for path in sorted(self.prefix.glob("lib/*-linux-gnu*"))]
        if libraries:
            before = [base["LD_LIBRARY_PATH"]] if base.get("LD_LIBRARY_PATH") else []
            environment["LD_LIBRARY_PATH"] = ":".join([*libraries, *before])
            environment["XTABLES_LIBDIR"] = ":".join(f"{library}/xtables" for library in libraries)
        return environment


def docker_suite(folders: Folders) -> str:
    """The suite that Docker comes from: the one that runs where its Docker is new enough, else Debian testing.

    Raises EngineError where neither has one.
    """
    record = folders.downloads / "suite"
    if record.is_file():
        return record.read_text().strip()
    running = packages.running_suite()
    for suite in dict.fromkeys((running, _TESTING)):
        version = packages.candidates(["docker.io"], suite=suite, cache=folders.cache).get("docker.io", "")
        if major(version) >= OLDEST:
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(suite)
            return suite
        if packages.os_release().get("ID") != "debian":
            break
    raise EngineError(f"{running} has no Docker {OLDEST} or newer", hint=packages.INSTALL_HINT)


def major(version: str) -> int:
    """The leading number of a version such as ``28.5.2`` or ``1:28.5``; 0 where there is none."""
    match = re.match(r"(?:\d+:)?(\d+)\.", version)
    return int(match[1]) if match else 0


def provide(folders: Folders) -> Programs:
    """Download and unpack what is not there yet. Raises EngineError where that cannot be."""
    programs = Programs(folders.prefix)
    complete = folders.prefix / ".complete"
    if complete.is_file():
        return programs
    suite, running = docker_suite(folders), packages.running_suite()
    offered = packages.candidates(_DOCKER, suite=suite, cache=folders.cache)
    names = [name for name in _DOCKER if name in offered]
    packages.fetch(names, suite=suite, prefix=folders.prefix, cache=folders.cache, closure=suite == running)
    # What must fit the machine's C library and kernel tools comes from the release that runs.
    missing = ["runc", "nftables"] + ([] if process.which("iptables") else ["iptables"])
    packages.fetch(missing, suite=running, prefix=folders.prefix, cache=folders.cache, closure=True)
    _link(folders.prefix)
    done = process.run([folders.prefix / "usr/sbin/dockerd", "--version"], env=programs.environment(os.environ))
    complete.write_text(done.text)
    return programs


def _link(prefix: Path) -> None:
    """Give programs the names that packages' maintainer scripts would have given them."""
    links = prefix / "links"
    links.mkdir(exist_ok=True)
    wanted = dict.fromkeys(
        ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"),
        "usr/sbin/xtables-nft-multi",
    )
    wanted["docker-init"] = "usr/bin/tini-static"
    for name, program in wanted.items():
        target = prefix / program
        if target.is_file() and not (links / name).is_symlink():
            (links / name).symlink_to(Path("..") / program)
