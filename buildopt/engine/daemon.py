"""A private Docker engine: containerd and dockerd of our own, started, and cleared away without a trace.

Everything that is changed on the machine is named after the engine or recorded before it is changed, so that ``down``
(and ``up`` after a crash) finds it all: processes, mounts, bridge, firewall table, emulation, control groups.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from buildopt import process
from buildopt.engine import api, cleanup, connection, emulation, existing, host, network, packages, programs, state
from buildopt.engine.folders import Folders
from buildopt.engine.programs import Programs
from buildopt.engine.state import Process, State
from buildopt.errors import EngineError, ToolError

GIGABYTE = 10**9
START_SECONDS = 60.0


def up(
    folders: Folders,
    *,
    mirrors: Sequence[str] = (),
    cache_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> State:
    """Start the engine unless it runs, and return what it is.

    ``mirrors`` are URLs asked before Docker Hub; given to a running engine, they replace those that it has.
    ``cache_bytes`` bounds the build cache (default: see ``default_cache_bytes``). ``environment`` is what the daemons
    get (proxies, SSL_CERT_FILE), by default this process's. ``say`` is told what takes a while.
    Raises EngineError where an engine cannot be had or does not start.
    """
    found = connection.running(folders)
    if found is not None and (not mirrors or tuple(mirrors) == found.mirrors):
        return found
    packages.require_apt()
    environment = os.environ if environment is None else environment
    with packages.locked(folders.lock):
        found = connection.running(folders)
        if found is not None:
            return _reload(folders, found, mirrors) if mirrors else found
        cleanup.clear(folders)
        if not (folders.prefix / ".complete").is_file():
            say("downloading Docker, containerd and buildx (about 80 MB, once)")
        with packages.locked(folders.downloads / "lock"):
            tools = programs.provide(folders)
        try:
            _emulate(folders, say)
            return _start(folders, tools, tuple(mirrors), cache_bytes or default_cache_bytes(folders), environment)
        except BaseException:
            cleanup.clear(folders)
            raise


def down(folders: Folders) -> bool:
    """End the engine and undo what it changed on the machine; images and build cache stay. False where none was up.

    Raises EngineError where this takes root and we are not.
    """
    if not folders.run.exists():
        return False
    if os.geteuid() != 0:
        raise EngineError("ending a private engine needs root", hint="run it as root (sudo)")
    with packages.locked(folders.lock):
        found = State.load(folders.state)
        cleanup.clear(folders)
    return found is not None


def default_cache_bytes(folders: Folders) -> int:
    """How much the build cache may hold: 20 GB, or less where the disk is small (40 % of what is free)."""
    folders.root.mkdir(parents=True, exist_ok=True)
    return min(20 * GIGABYTE, max(2 * GIGABYTE, shutil.disk_usage(folders.root).free * 4 // 10))


def _emulate(folders: Folders, say: Callable[[str], None]) -> None:
    """Have the other architecture's programs run here; an engine without them is better than none."""
    machine = emulation.foreign_machine()
    if machine is None:
        return
    try:
        with host.locked():
            host.mount_binfmt()
        if not emulation.provided_by_system(machine):
            program = emulation.interpreter(folders, machine, programs.docker_suite(folders))
            emulation.register(folders, machine, program)
    except (ToolError, OSError) as error:
        say(f"{machine} cannot be emulated, images are built for this machine only: {error}")


def _start(
    folders: Folders, tools: Programs, mirrors: tuple[str, ...], cache_bytes: int, environment: Mapping[str, str]
) -> State:
    folders.run.mkdir(parents=True, exist_ok=True)
    os.chmod(folders.run, 0o711)
    full = tools.environment(environment)
    with host.locked():
        subnet = network.free_subnet(folders.identity, (other.subnet for other in state.others(folders.identity)))
        record = State(str(folders.root), folders.name, str(subnet), state.boot_id(), mirrors=mirrors)
        record.save(folders.state)
        host.allow_forwarding()
    network.add_bridge(folders.name, subnet)
    network.open_way_out(folders.name, subnet, full)
    _write_configuration(folders, subnet, mirrors, cache_bytes)
    if folders.log.is_file():
        os.replace(folders.log, folders.log.with_suffix(".log.1"))

    containerd = _spawn(folders, ["containerd", "--config", folders.run / "containerd.toml"], full)
    record = dataclasses.replace(record, containerd=containerd)
    record.save(folders.state)
    _wait(folders, containerd, folders.containerd_socket.exists, "containerd")
    dockerd = _spawn(folders, ["dockerd", "--config-file", folders.run / "daemon.json"], full)
    record = dataclasses.replace(record, dockerd=dockerd)
    record.save(folders.state)
    _wait(folders, dockerd, lambda: api.answers(folders.socket), "dockerd")

    version = str(api.ask(folders.socket, "/version").get("Version", ""))
    record = dataclasses.replace(record, version=version, platforms=_platforms(folders, tools, environment))
    record.save(folders.state)
    return record


def _spawn(folders: Folders, argv: Sequence[str | Path], environment: Mapping[str, str]) -> Process:
    program = process.which(str(argv[0]), path=environment["PATH"])
    if program is None:
        raise EngineError(f"{argv[0]} is missing in {folders.prefix}", hint="remove that folder and try again")
    return Process.of(process.spawn([program, *argv[1:]], log=folders.log, env=environment, cwd=folders.run).pid)


def _wait(folders: Folders, started: Process, ready: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        with suppress(ChildProcessError):
            os.waitpid(started.pid, os.WNOHANG)
        if not started.alive or time.monotonic() > deadline:
            text = folders.log.read_text(errors="replace") if folders.log.is_file() else ""
            raise EngineError(
                f"{name} {'did not get ready' if started.alive else 'ended at once'}",
                hint=f"the whole log is {folders.log}",
                detail=process.last_lines(text, 5),
            )
        time.sleep(0.01)


def _write_configuration(folders: Folders, subnet: network.Network, mirrors: Sequence[str], cache_bytes: int) -> None:
    disabled = [
        "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
        "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile",
        "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
        "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
    ]  # fmt: skip
    (folders.run / "containerd.toml").write_text(
        "version = 2\n"
        f"root = {json.dumps(str(folders.data / 'containerd'))}\n"
        f"state = {json.dumps(str(folders.run / 'containerd'))}\n"
        f"disabled_plugins = {json.dumps(disabled)}\n"
        f"[grpc]\n  address = {json.dumps(str(folders.containerd_socket))}\n"
    )
    bound = f"{cache_bytes}B"
    document = {
        "features": {"containerd-snapshotter": True},
        "containerd": str(folders.containerd_socket),
        "data-root": str(folders.data / "docker"),
        "exec-root": str(folders.run / "docker"),
        "pidfile": str(folders.run / "docker.pid"),
        "hosts": [f"unix://{folders.socket}"],
        "bridge": folders.name,
        "mtu": network.outgoing_mtu(),
        "default-address-pools": [{"base": str(subnet), "size": 24}],
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
        "cgroup-parent": f"/{folders.name}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "shutdown-timeout": 5,
        "builder": {
            "gc": {
                "enabled": True,
                "defaultKeepStorage": bound,  # Docker up to 27
                "defaultReservedSpace": f"{cache_bytes // 2}B",
                "defaultMaxUsedSpace": bound,
            }
        },
        **_mirror_settings(mirrors),
    }
    if _file_system(folders.data) == "overlay":
        document["storage-driver"] = "native"  # overlayfs cannot stand on itself
    (folders.run / "daemon.json").write_text(json.dumps(document, indent=1))


def _mirror_settings(mirrors: Sequence[str]) -> dict[str, list[str]]:
    plain = [mirror.removeprefix("http://").partition("/")[0] for mirror in mirrors if mirror.startswith("http://")]
    return {"registry-mirrors": list(mirrors), "insecure-registries": plain}


def _file_system(folder: Path) -> str:
    """The type of the file system that holds a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    best, kind = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        inside = folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def _platforms(folders: Folders, tools: Programs, environment: Mapping[str, str]) -> tuple[str, ...]:
    full = connection.private_environment(folders, tools, environment)
    return existing.inspect_builder((str(tools.buildx),), full, "default").platforms


def _reload(folders: Folders, found: State, mirrors: Sequence[str]) -> State:
    """Give a running engine other mirrors: dockerd reads them again on SIGHUP."""
    path = folders.run / "daemon.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **_mirror_settings(mirrors)}, indent=1))
    os.kill(found.dockerd.pid, signal.SIGHUP)
    wanted = [mirror.rstrip("/") for mirror in mirrors]
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        shown = api.ask(folders.socket, "/info").get("RegistryConfig", {}).get("Mirrors") or []
        if [mirror.rstrip("/") for mirror in shown] == wanted:
            break
        time.sleep(0.02)
    changed = dataclasses.replace(found, mirrors=tuple(mirrors))
    changed.save(folders.state)
    return changed


@contextmanager
def private_engine(
    folder: Path,
    *,
    downloads: Path | None = None,
    registry_mirrors: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[connection.Engine]:
    """A private engine in ``folder`` for the length of a block, for tests and demonstrations.

    ``downloads`` may be shared by several engines. Raises EngineError where an engine cannot be had.
    """
    folders = Folders.at(folder, downloads)
    up(folders, mirrors=registry_mirrors, environment=environment)
    try:
        yield connection.private(folders, environment)
    finally:
        down(folders)
