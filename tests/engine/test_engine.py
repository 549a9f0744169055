"""Private engines on the real machine: started, used, killed, ended without a trace; other engines left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildopt import process
from buildopt.engine import api, connection, daemon, packages, programs, state, usage
from buildopt.engine.connection import Engine
from buildopt.engine.folders import Folders
from buildopt.errors import EngineError

pytestmark = pytest.mark.engine

DOCKERFILE = b"""FROM scratch
ARG TARGETARCH
COPY busybox-${TARGETARCH} /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox uname -m > /machine"]
"""


def buildopt(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line as users do."""
    argv = [sys.executable, "-m", "buildopt", "engine", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def user(tmp_path: Path, engine_downloads: Path) -> dict[str, str]:
    """The environment of a user who has no engine and nothing in the cache but downloads."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "BUILDX_", "BUILDOPT_"))
    }
    (tmp_path / "cache" / "engine").mkdir(parents=True)
    (tmp_path / "cache" / "engine" / "downloads").symlink_to(engine_downloads)
    (tmp_path / "home").mkdir()
    absent = f"unix://{tmp_path}/absent.sock"
    return {**kept, "BUILDOPT_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path / "home"), "DOCKER_HOST": absent}


@pytest.fixture
def folders(tmp_path: Path, engine_downloads: Path) -> Iterator[Folders]:
    """Folders of an engine that is down at the end, whatever a test does."""
    found = Folders.at(tmp_path / "engine", engine_downloads)
    yield found
    daemon.down(found)


def build(engine: Engine, context: Path, *words: str) -> process.Completed:
    """Build the busybox image."""
    return process.run([*engine.buildx, "build", "-f-", *words, context], data=DOCKERFILE, env=engine.environment)


def test_builds_for_both_platforms(engine: Engine, busybox_context: Path, tmp_path: Path) -> None:
    build(engine, busybox_context, "--platform=linux/amd64,linux/arm64", "-o", f"type=local,dest={tmp_path}")
    machines = {path.parent.name: path.read_text() for path in tmp_path.glob("*/machine")}
    assert machines == {"linux_amd64": "x86_64\n", "linux_arm64": "aarch64\n"}
    assert {"linux/amd64", "linux/arm64"} <= set(engine.platforms)


def test_exports_oci(engine: Engine, busybox_context: Path, tmp_path: Path) -> None:
    build(engine, busybox_context, "-o", f"type=oci,tar=false,dest={tmp_path / 'layout'}")
    assert json.loads((tmp_path / "layout" / "oci-layout").read_bytes())["imageLayoutVersion"] == "1.0.0"


def test_containers_reach_the_network(engine: Engine, busybox_context: Path) -> None:
    address = next(
        line.split()[1] for line in Path("/etc/resolv.conf").read_text().splitlines() if line.startswith("nameserver")
    )
    host = packages.configured_sources()[0].uri.split("/")[2]
    dockerfile = DOCKERFILE + f'RUN ["/bin/busybox", "nslookup", "{host}", "{address}"]\n'.encode()
    argv = [*engine.buildx, "build", "--no-cache", "--progress=plain", "-f-", str(busybox_context)]
    assert f"Name:\t{host}" in process.run(argv, data=dockerfile, env=engine.environment).stderr


def test_a_user_network_reaches_the_network_too(engine: Engine, busybox_context: Path) -> None:
    build(engine, busybox_context, "--load", "-t", "networked")
    run = [*engine.docker, "run", "--rm", "--network=another", "networked", "/bin/busybox", "nslookup"]
    host = packages.configured_sources()[0].uri.split("/")[2]
    process.run([*engine.docker, "network", "create", "another"], env=engine.environment)
    assert f"Name:\t{host}" in process.run([*run, host], env=engine.environment).text
    process.run([*engine.docker, "network", "rm", "another"], env=engine.environment)


def test_docker_finds_its_init(engine: Engine, busybox_context: Path) -> None:
    build(engine, busybox_context, "--load", "-t", "initialised")
    run = [*engine.docker, "run", "--rm", "--init", "initialised", "/bin/busybox", "cat", "/proc/1/comm"]
    assert "init" in process.run(run, env=engine.environment).text


def test_up_again_starts_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    first = daemon.up(folders)
    started: list[tuple[object, ...]] = []
    for name in ("run", "spawn"):
        monkeypatch.setattr(process, name, lambda *words, **options: started.append(words))
    assert daemon.up(folders) == first
    assert connection.find_private(folders) is not None
    assert started == []


def test_up_after_down_downloads_nothing_and_keeps_the_cache(
    folders: Folders, busybox_context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.up(folders)
    build(connection.private(folders), busybox_context)
    assert daemon.down(folders) is True
    assert daemon.down(folders) is False
    monkeypatch.setattr(packages, "_apt", lambda *words, **options: pytest.fail("asks apt"))
    daemon.up(folders)
    assert "CACHED" in build(connection.private(folders), busybox_context, "--progress=plain").stderr


@pytest.mark.parametrize("action", ["build", "container", "kill"])
def test_down_leaves_nothing(action: str, tmp_path: Path, engine_downloads: Path, busybox_context: Path) -> None:
    """Also with a container that still ran, and after dockerd was killed (SIGKILL) and started again."""
    with_engine_downloaded = Folders.at(tmp_path / "first", engine_downloads)
    programs.provide(with_engine_downloaded)
    inside = Path(__file__).with_name("isolated.py")
    script = (
        "mount --make-rprivate / && mkdir $1/cgroup && mount --rbind /sys/fs/cgroup $1/cgroup && "
        "mount -t sysfs sysfs /sys && mount --move $1/cgroup /sys/fs/cgroup && mount -t tmpfs tmpfs /run && "
        'echo 0 > /proc/sys/net/ipv4/ip_forward; shift; exec "$@"'
    )
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", tmp_path,
         sys.executable, inside, action, tmp_path / "engine", engine_downloads, busybox_context],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    changed = {what for what in result["before"] if result["before"][what] != result["during"][what]}
    assert {"interfaces", "firewall", "forwarding", "emulation", "processes", "run"} <= changed
    assert result["after"] == result["before"]
    assert result["restarted"] is (action == "kill")


def test_a_killed_containerd_is_noticed(folders: Folders, busybox_context: Path) -> None:
    first = daemon.up(folders)
    os.kill(first.containerd.pid, 9)
    while first.containerd.alive:
        time.sleep(0.01)
    assert connection.find_private(folders) is None
    second = daemon.up(folders)
    assert second.dockerd.pid != first.dockerd.pid
    assert not first.dockerd.alive
    build(connection.private(folders), busybox_context)


def test_a_record_from_before_a_reboot_is_cleared_and_no_stranger_ended(folders: Folders) -> None:
    """The numbers in it belong to other processes now, such as this one."""
    ours = state.Process(os.getpid(), state.start_time(os.getpid()))
    record = state.State(str(folders.root), folders.name, "10.223.240.0/20", "an earlier boot", ours, ours)
    record.save(folders.state)
    assert connection.find_private(folders) is None
    assert daemon.up(folders).boot == state.boot_id()


def test_a_record_of_a_number_that_another_process_has_now_is_cleared(folders: Folders) -> None:
    other = state.Process(os.getpid(), 1)
    record = state.State(str(folders.root), folders.name, "10.223.240.0/20", state.boot_id(), other, other)
    record.save(folders.state)
    daemon.down(folders)
    assert not folders.run.exists()


def test_down_ends_nobody_else_s_programs(folders: Folders) -> None:
    """Not even one that names the engine's files, such as a look at its log."""
    daemon.up(folders)
    watching = subprocess.Popen(["tail", "-f", folders.run / "daemon.json"], stdout=subprocess.DEVNULL)
    daemon.down(folders)
    assert watching.poll() is None
    watching.kill()
    watching.wait()


def test_a_half_finished_download_is_finished(tmp_path: Path, engine_downloads: Path) -> None:
    """Interrupted while unpacking and while downloading: stamps and records come last."""
    cache, tree, suite = engine_downloads / "packages", tmp_path / "tree", packages.running_suite()
    packages.fetch(["busybox-static"], suite=suite, prefix=tree, cache=cache)
    program = next(path for path in tree.rglob("busybox") if path.parent.name == "bin")
    whole = program.read_bytes()
    program.write_bytes(whole[:100])
    (stamp,) = (tree / ".packages").iterdir()
    stamp.unlink()
    (cache / "sets" / stamp.name).unlink()
    packages.fetch(["busybox-static"], suite=suite, prefix=tree, cache=cache)
    assert program.read_bytes() == whole


def test_two_engines_at_once(engine: Engine, folders: Folders, busybox_context: Path) -> None:
    second = daemon.up(folders)
    others = state.others(folders.identity)
    assert second.subnet not in {other.subnet for other in others}
    build(connection.private(folders), busybox_context, "--load", "-t", "only-here")
    listed = process.run([*engine.docker, "image", "ls", "-q", "only-here"], env=engine.environment).text
    assert listed == ""
    daemon.down(folders)
    build(engine, busybox_context, "--no-cache", "--platform=linux/arm64")


def test_two_ups_at_once_start_one_engine(folders: Folders, user: dict[str, str]) -> None:
    argv = [sys.executable, "-m", "buildopt", "engine", "up", "--dir", str(folders.root), "--format=json"]
    both = [subprocess.Popen(argv, env=user, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [running.communicate()[0] for running in both]
    assert outputs[0] == outputs[1] != ""
    assert sum(f"{folders.run}/daemon.json" in command for _, command in state.processes()) == 1


def test_mirrors_of_a_running_engine_are_replaced(folders: Folders) -> None:
    first = daemon.up(folders, mirrors=["http://127.0.0.1:9/"])
    second = daemon.up(folders, mirrors=["http://127.0.0.1:10/"])
    assert second.dockerd == first.dockerd
    shown = api.ask(folders.socket, "/info")["RegistryConfig"]["Mirrors"]
    assert shown == ["http://127.0.0.1:10/"]


def test_prune(folders: Folders, busybox_context: Path) -> None:
    daemon.up(folders)
    build(connection.private(folders), busybox_context, "--load", "-t", "kept")
    assert usage.usage(folders).cache > 0
    assert usage.prune(folders).images == 0
    freed = usage.prune(folders, everything=True)
    assert freed.images > 1_000_000
    daemon.down(folders)
    with pytest.raises(EngineError, match="no private engine is up"):
        usage.prune(folders)
    assert usage.prune(folders, everything=True).cache > 0
    assert not folders.data.exists()


def test_the_build_cache_is_bounded(folders: Folders) -> None:
    daemon.up(folders, cache_bytes=5 * 10**9)
    engine = connection.private(folders)
    shown = process.run([*engine.buildx, "inspect"], env=engine.environment).text
    assert set(re.findall(r"Max Used Space:\s+(\S+)", shown)) == {"488.3MiB", "4.657GiB"}  # sources, all


def test_the_command_line(user: dict[str, str], tmp_path: Path) -> None:
    assert buildopt("status", environment=user).returncode == 3
    up = buildopt("up", "--format=json", environment=user)
    try:
        document = json.loads(up.stdout)
        assert document["version"] == 1
        assert document["private"] is True
        assert "linux/arm64" in document["platforms"]
        status = json.loads(buildopt("status", "--format=json", environment=user).stdout)
        assert status["cache_bytes"] == 0
        assert status["folder"] == str(tmp_path / "cache" / "engine")
        assert "freed 0 B" in buildopt("prune", environment=user).stdout
    finally:
        down = buildopt("down", environment=user)
    assert down.stdout == "the private engine is down\n"
    assert buildopt("down", environment=user).stdout == "no private engine was up\n"


def test_an_engine_that_is_there_is_used(engine: Engine, user: dict[str, str], tmp_path: Path) -> None:
    there = {**user, "DOCKER_HOST": engine.environment["DOCKER_HOST"]}
    up = buildopt("up", "--format=json", environment=there)
    document = json.loads(up.stdout)
    assert document["private"] is False
    assert document["docker_host"] == there["DOCKER_HOST"]
    assert "linux/amd64" in document["platforms"]
    assert not (tmp_path / "cache" / "engine" / "data").exists()
    found = connection.find(folder=tmp_path / "nothing", environment=there)
    assert found.environment == there
    buildopt("down", environment=there)
    assert api.answers(there["DOCKER_HOST"].removeprefix("unix://"))


def test_a_context_leads_to_an_engine(engine: Engine, user: dict[str, str], tmp_path: Path) -> None:
    environment = {name: value for name, value in user.items() if name != "DOCKER_HOST"}
    host = engine.environment["DOCKER_HOST"]
    create = [*engine.docker, "context", "create", "elsewhere", "--docker", f"host={host}"]
    process.run(create, env=environment)
    process.run([*engine.docker, "context", "use", "elsewhere"], env=environment)
    found = connection.find(folder=tmp_path / "nothing", environment=environment)
    assert host in found.description


@pytest.fixture
def old_store(engine: Engine, engine_downloads: Path) -> Iterator[str]:
    """An engine without containerd's image store, which cannot export OCI."""
    made = tempfile.TemporaryDirectory(prefix="old-")  # below pytest's folders the names of sockets can be too long
    folder = Path(made.name)
    document = {
        "features": {"containerd-snapshotter": False},
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/pid",
        "hosts": [f"unix://{folder}/sock"],
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "containerd": Path(engine.environment["DOCKER_HOST"].removeprefix("unix://"))
        .with_name("containerd.sock")
        .as_posix(),
        "containerd-namespace": "old",
        "containerd-plugins-namespace": "old-plugins",
    }
    (folder / "daemon.json").write_text(json.dumps(document))
    environment = programs.Programs(engine_downloads / "prefix").environment(os.environ)
    environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1")
    dockerd = process.which("dockerd", path=environment["PATH"])
    assert dockerd is not None
    running = process.spawn([dockerd, "--config-file", folder / "daemon.json"], log=folder / "log", env=environment)
    deadline = time.monotonic() + 60
    while not api.answers(folder / "sock"):
        assert running.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
    yield f"unix://{folder}/sock"
    process.stop(running)
    made.cleanup()


def test_an_engine_that_cannot_export_oci_is_named(
    old_store: str, user: dict[str, str], tmp_path: Path, folders: Folders
) -> None:
    there = {**user, "DOCKER_HOST": old_store}
    with pytest.raises(EngineError, match="cannot export OCI images") as caught:
        connection.find(folder=tmp_path / "nothing", environment=there)
    assert "docker buildx create --use" in caught.value.hint
    daemon.up(folders)
    assert connection.find(folder=folders.root, environment=there).private


def test_a_builder_that_cannot_be_made_there_says_why_and_leaves_nothing(
    engine: Engine, old_store: str, user: dict[str, str], tmp_path: Path
) -> None:
    """BuildKit's image is not to be had: the engine's way to registries leads nowhere."""
    there = {**user, "DOCKER_HOST": old_store}
    said: list[str] = []
    with pytest.raises(EngineError, match="a builder that can could not be made") as caught:
        connection.find(folder=tmp_path / "nothing", environment=there, making=said.append)
    assert len(said) == 1 and "create --name buildopt --driver docker-container --bootstrap" in said[0]
    assert any("moby/buildkit" in line or "127.0.0.1:1" in line for line in caught.value.detail), caught.value.detail
    assert "buildopt" not in process.run([*engine.buildx, "ls"], env=there).text


def test_a_builder_that_can_export_oci_is_preferred_to_the_engine_that_cannot(
    engine: Engine, old_store: str, user: dict[str, str], tmp_path: Path
) -> None:
    """A remote driver needs no engine to be made; whether it answers is not asked before a build."""
    there = {**user, "DOCKER_HOST": old_store}
    buildx = [*engine.buildx, "create", "--name", "other", "--driver", "remote", f"unix://{tmp_path}/buildkitd.sock"]
    process.run(buildx, env=there)
    found = connection.find(folder=tmp_path / "nothing", environment=there)
    assert (found.builder, found.private) == ("other", False)


def test_a_builder_by_name(engine: Engine, user: dict[str, str], tmp_path: Path) -> None:
    there = {**user, "DOCKER_HOST": engine.environment["DOCKER_HOST"]}
    assert connection.find(folder=tmp_path, builder="default", environment=there).builder == "default"
    with pytest.raises(EngineError, match="there is no builder nowhere"):
        connection.find(folder=tmp_path, builder="nowhere", environment=there)


def test_a_broken_start_says_why_and_leaves_nothing(folders: Folders) -> None:
    """A file where the images should be: dockerd ends at once."""
    folders.data.mkdir(parents=True)
    (folders.data / "docker").write_text("in the way")
    with pytest.raises(EngineError, match="dockerd ended at once") as caught:
        daemon.up(folders)
    assert any("docker" in line for line in caught.value.detail)
    assert not folders.run.exists()
    assert not Path(f"/sys/class/net/{folders.name}").exists()


def test_without_root_the_error_says_what_to_do(user: dict[str, str], tmp_path: Path) -> None:
    # Everything is imported first: another user may not be allowed to read where Python is.
    script = (
        "import os, sys, traceback, buildopt.commands.engine, buildopt.engine.daemon\n"
        "from buildopt.cli import main\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main(['engine', 'up']))"
    )
    environment = {**user, "BUILDOPT_CACHE": str(tmp_path / "never-made")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 3
    assert "error: a private engine needs root" in done.stderr
    assert "hint: install docker 23 or newer with buildx, or run as root" in done.stderr
    assert not (tmp_path / "never-made").exists()


def test_private_engine_ends_with_its_block(tmp_path: Path, engine_downloads: Path) -> None:
    with pytest.raises(ZeroDivisionError), daemon.private_engine(tmp_path, downloads=engine_downloads) as engine:
        assert dataclasses.is_dataclass(engine)
        raise ZeroDivisionError
    assert not Folders.at(tmp_path, engine_downloads).run.exists()
