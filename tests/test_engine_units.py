"""What of the engine can be told without one: apt's configuration, addresses, contexts, the kernel's list."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildopt.commands.engine import size
from buildopt.engine import api, emulation, existing, network, packages, programs, usage
from buildopt.engine.folders import Folders
from buildopt.engine.packages import Source
from buildopt.engine.state import Process, State, start_time
from buildopt.errors import EngineError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def sources(tmp_path: Path, **files: str) -> list[Source]:
    """The sources of an apt folder with these files."""
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = tmp_path / "sources.list" if name == "main" else tmp_path / "sources.list.d" / name.replace("_", ".")
        path.write_text(text)
    return packages.configured_sources(tmp_path)


def test_deb822_sources_are_read(tmp_path: Path) -> None:
    text = f"""# a comment
Types: deb deb-src
URIs: http://one.example/debian http://two.example/debian
Suites: bookworm bookworm-updates
# another
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""
    suites, components = ("bookworm", "bookworm-updates"), ("main", "contrib")
    assert sources(tmp_path, debian_sources=text) == [
        Source("http://one.example/debian", suites, components, KEYRING),
        Source("http://two.example/debian", suites, components, KEYRING),
    ]


def test_an_inline_key_is_kept(tmp_path: Path) -> None:
    key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://one.example/\nSuites: sid\nComponents: main\nSigned-By:\n{key}\n"
    found = sources(tmp_path, debian_sources=text)[0]
    assert f"Signed-By: \n{key}\n" in found.stanza(["sid"])


def test_one_line_sources_are_read(tmp_path: Path) -> None:
    text = f"""deb [arch=amd64 signed-by={KEYRING}] http://one.example/debian bookworm main contrib # comment
# deb http://off.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [trusted=yes] file:/srv/debian bookworm main
"""
    assert sources(tmp_path, main=text) == [
        Source("http://one.example/debian", ("bookworm",), ("main", "contrib"), KEYRING),
        Source("file:/srv/debian", ("bookworm",), ("main",), "", True),
    ]


def test_the_running_suite_comes_with_its_updates_and_security() -> None:
    configured = [
        Source("http://debian.example/", ("bookworm", "bookworm-updates"), ("main",)),
        Source("http://security.example/", ("bookworm-security",), ("main",)),
        Source("http://other.example/", ("bookworm",), ("stable",)),
        Source("http://node.example/", ("nodistro",), ("main",)),
    ]
    text = packages.sources_text(configured, "bookworm", "bookworm")
    assert "Suites: bookworm bookworm-updates\n" in text
    assert "URIs: http://security.example/\nSuites: bookworm-security\n" in text
    assert "other.example" not in text
    assert "node.example" not in text


def test_another_suite_comes_from_the_archive_that_has_the_running_one() -> None:
    configured = [
        Source("http://node.example/", ("nodistro",), ("main",)),
        Source("http://security.example/", ("bookworm-security",), ("main",)),
        Source("http://debian.example/", ("bookworm",), ("main", "contrib"), KEYRING),
    ]
    assert packages.sources_text(configured, "forky", "bookworm") == (
        f"Types: deb\nURIs: http://debian.example/\nSuites: forky\nComponents: main contrib\nSigned-By: {KEYRING}\n"
    )


def test_no_archive_is_an_error_with_a_hint() -> None:
    with pytest.raises(EngineError, match="not configured with an archive that has forky") as caught:
        packages.sources_text([], "forky", "bookworm")
    assert "install docker 23" in caught.value.hint


@pytest.mark.parametrize(
    ("version", "number"),
    [("28.5.2+dfsg4-5", 28), ("20.10.24+dfsg1-1+deb12u1", 20), ("1:27.1", 27), ("", 0), ("unknown", 0)],
)
def test_docker_s_version_is_compared_as_a_number(version: str, number: int) -> None:
    assert programs.major(version) == number


def test_addresses_are_free_stable_and_not_those_of_another_engine() -> None:
    first = network.free_subnet("abcdef", [])
    assert network.free_subnet("abcdef", []) == first
    second = network.free_subnet("abcdef", [str(first)])
    assert not second.overlaps(first)
    assert not any(second.overlaps(route) for route in network.routes())


def test_an_engine_s_names_fit_where_the_kernel_wants_them() -> None:
    folders = Folders.at(Path("/a/very/long/folder" * 20))
    assert len(folders.name) <= 15
    assert len(os.fsencode(f"{folders.containerd_socket}.ttrpc")) <= 107


def test_engines_of_different_folders_have_different_names(tmp_path: Path) -> None:
    assert Folders.at(tmp_path / "a").name != Folders.at(tmp_path / "b").name
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert Folders.at(tmp_path / "a").name == Folders.at(tmp_path / "link").name


@pytest.mark.parametrize(
    ("state", "flags", "magic", "works"),
    [
        ("enabled", "OCF", "7f454c460201010000000000000000000200b700", True),
        ("enabled", "POCF", "7f454c460201010000000000000000000200b7", True),
        ("enabled", "OC", "7f454c460201010000000000000000000200b700", False),
        ("disabled", "OCF", "7f454c460201010000000000000000000200b700", False),
        ("enabled", "OCF", "7f454c4602010100000000000000000002003e00", False),
    ],
)
def test_emulation_that_the_system_provides_is_recognised(state: str, flags: str, magic: str, works: bool) -> None:
    entry = f"{state}\ninterpreter /usr/bin/qemu-aarch64\nflags: {flags}\noffset 0\nmagic {magic}\n"
    assert emulation.works_in_containers(entry, "aarch64") is works


def test_an_interpreter_chosen_by_file_name_is_no_emulation() -> None:
    entry = "enabled\ninterpreter /usr/bin/python3\nflags: F\nextension .py\n"
    assert not emulation.works_in_containers(entry, "aarch64")


def test_docker_host_wins_over_contexts(tmp_path: Path) -> None:
    name = "elsewhere"
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": "tcp://there:2376"}}}))
    base = {"DOCKER_CONFIG": str(tmp_path)}
    assert existing.endpoint(base) == "unix:///var/run/docker.sock"
    assert existing.endpoint({**base, "DOCKER_CONTEXT": name}) == "tcp://there:2376"
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": name}))
    assert existing.endpoint(base) == "tcp://there:2376"
    assert existing.endpoint({**base, "DOCKER_HOST": "unix:///run/other.sock"}) == "unix:///run/other.sock"


def test_what_is_no_engine_is_named(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "sock"))
    listener.listen()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(EngineError, match="is no Docker engine"):
        api.request(tmp_path / "sock", "/_ping")
    thread.join()
    listener.close()
    with pytest.raises(EngineError, match=r"no engine answers at .*sock: Connection refused"):
        api.request(tmp_path / "sock", "/_ping")


def test_disk_usage_is_asked_again_where_a_snapshot_goes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = EngineError("the engine refused GET /v1.44/system/df: NotFound: snapshot x-view does not exist: not found")
    answers: list[EngineError | dict[str, object]] = [gone, gone, {"BuildCache": [{"Size": 7}], "LayersSize": 5}]

    def ask(path: object, target: str, **options: object) -> dict[str, object]:
        answer: EngineError | dict[str, object]
        answer = {"ApiVersion": "1.44"} if target == "/version" else answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        return answer

    monkeypatch.setattr(api, "ask", ask)
    found = usage.usage(Folders.at(tmp_path))
    assert (found.cache, found.images) == (7, 5)
    answers[:] = [EngineError("the engine refused GET /v1.44/system/df: out of memory")]
    with pytest.raises(EngineError, match="out of memory"):
        usage.usage(Folders.at(tmp_path))


def test_no_engine_is_an_error_that_says_what_to_run(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/sock", "PATH": os.environ["PATH"]}
    with pytest.raises(EngineError, match="there is no container engine: nothing answers at unix:") as caught:
        existing.look(environment, programs.Programs(tmp_path))
    assert caught.value.hint == "run: buildopt engine up"


def test_no_engine_at_an_address_is_said_before_anything_about_clients(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert existing.answering({"HOME": str(tmp_path), "DOCKER_HOST": host})
    environment = {"HOME": str(tmp_path), "DOCKER_HOST": host, "PATH": str(tmp_path)}
    with pytest.raises(EngineError, match=f"there is no container engine: nothing answers at {host}"):
        existing.look(environment, programs.Programs(tmp_path))


def test_an_engine_that_buildx_cannot_reach_is_named(tmp_path: Path) -> None:
    """As buildx answers for an address that leads nowhere: with status 0, and without a driver."""
    said = "Name:          default\nDriver:        \nError:         error during connect: no such host\n"
    (tmp_path / "docker-buildx").write_text(f"#!/bin/sh\ncat <<'end'\n{said}end\n")
    (tmp_path / "docker-buildx").chmod(0o755)
    environment = {"HOME": str(tmp_path), "DOCKER_HOST": "ssh://nowhere", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    with pytest.raises(EngineError, match="nothing answers at ssh://nowhere") as caught:
        existing.look(environment, programs.Programs(tmp_path / "none"))
    assert caught.value.detail == ("error during connect: no such host",)
    assert caught.value.hint == "run: buildopt engine up"


def test_docker_without_buildx_is_named(tmp_path: Path) -> None:
    """A docker command that knows no plugins, as the real one says it."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho \"docker: 'buildx' is not a docker command.\" >&2\nexit 1\n")
    docker.chmod(0o755)
    if any(os.path.exists(f"{folder}/docker-buildx") for folder in existing._PLUGIN_FOLDERS):
        pytest.skip("buildx is installed for all users of this machine")
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path)}
    with pytest.raises(EngineError, match="docker has no buildx") as caught:
        existing.find_clients(environment, programs.Programs(tmp_path / "nothing"))
    assert "install docker-buildx" in caught.value.hint


def test_a_user_s_own_plugin_is_found(tmp_path: Path) -> None:
    for path in (tmp_path / "docker", tmp_path / ".docker/cli-plugins/docker-buildx"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    found = existing.find_clients({"HOME": str(tmp_path), "PATH": str(tmp_path)}, programs.Programs(tmp_path / "no"))
    assert found.buildx == (str(tmp_path / "docker"), "buildx")


def test_a_process_is_not_taken_for_a_later_one() -> None:
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(running.pid)
    assert process.alive
    assert not Process(running.pid, process.started + 1).alive
    running.kill()
    while start_time(running.pid):
        pass
    assert not process.alive  # a zombie now
    running.communicate()
    assert not process.alive


def test_a_record_is_read_back_and_a_broken_one_is_none(tmp_path: Path) -> None:
    record = State("/r", "buildopt-000000", "10.208.0.0/20", "boot", Process(1, 2), Process(3, 4), ("m",), ("p",), "28")
    record.save(tmp_path / "state.json")
    assert State.load(tmp_path / "state.json") == record
    (tmp_path / "state.json").write_bytes((tmp_path / "state.json").read_bytes()[:-20])
    assert State.load(tmp_path / "state.json") is None
    assert State.load(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000, "2.3 MB"), (7e12, "7000.0 GB")]
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text
