"""Run by tests in namespaces of its own: does something with a private engine and prints what that changed.

With networks, mounts, processes and /run of its own, everything there is can be compared, whatever else the machine
does meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from buildopt.engine import daemon, emulation, network, state
from buildopt.engine.connection import Engine, private, running
from buildopt.engine.folders import Folders
from buildopt.engine.programs import Programs

DOCKERFILE = """FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox uname -m > /machine"]
"""


def machine(folders: Folders) -> dict[str, list[str]]:
    """Everything that an engine could have left."""
    environment = Programs(folders.prefix).environment(os.environ)
    rules = subprocess.run(["nft", "list", "ruleset"], env=environment, capture_output=True, text=True, check=True)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if any(folders.name not in path.name for path in emulation.entries()):
        mounts = [point for point in mounts if point != str(emulation.REGISTRY)]  # stays for what others registered
    return {
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "mounts": sorted(mounts),
        "firewall": rules.stdout.splitlines(),
        "forwarding": [network.FORWARD.read_text().strip()],
        "emulation": sorted(path.name for path in emulation.entries() if folders.name in path.name),
        "processes": sorted(
            command for pid, command in state.processes() if command and state.start_time(pid) and pid != os.getpid()
        ),
        "control groups": sorted(str(path) for path in Path("/sys/fs/cgroup").rglob(folders.name)),
        "run": sorted(str(path) for path in Path("/run").rglob("*") if path.name != "lock"),
    }


def build(engine: Engine, context: Path) -> None:
    """Build for both platforms, which leaves control groups and network namespaces."""
    subprocess.run(
        [*engine.buildx, "build", "--no-cache", "-q", "--platform=linux/amd64,linux/arm64", "-f-", context],
        input=DOCKERFILE, text=True, env=dict(engine.environment), check=True, capture_output=True,
    )  # fmt: skip


def run_container(engine: Engine, context: Path) -> None:
    """A container that keeps running, on a network of its own."""
    environment = dict(engine.environment)
    for argv in (
        [*engine.buildx, "build", "-q", "--load", "-t", "keeps-running", "-f-", str(context)],
        [*engine.docker, "network", "create", "another"],
        [*engine.docker, "run", "-d", "--network=another", "keeps-running", "/bin/busybox", "sleep", "1000"],
    ):
        subprocess.run(argv, input=DOCKERFILE, text=True, env=environment, check=True, capture_output=True)


def main(action: str, root: str, downloads: str, context: str) -> None:
    folders = Folders.at(Path(root), Path(downloads))
    daemon.up(folders)
    daemon.down(folders)
    before = machine(folders)
    daemon.up(folders)
    during = machine(folders)
    build(private(folders), Path(context))
    if action in ("container", "kill"):
        run_container(private(folders), Path(context))
    found = running(folders)
    assert found is not None
    again = None
    if action == "kill":
        os.kill(found.dockerd.pid, signal.SIGKILL)
        while found.dockerd.alive:
            time.sleep(0.01)
        again = daemon.up(folders)
        build(private(folders), Path(context))
    daemon.down(folders)
    result = {
        "before": before,
        "during": during,
        "after": machine(folders),
        "restarted": again is not None and again.dockerd.pid != found.dockerd.pid,
    }
    print(json.dumps(result))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
