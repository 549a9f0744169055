"""``prove`` and ``buildopt optimize --prove`` on a real engine: equal is equal, and every kind of loss is found."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.passes.result import SecondFile
from buildopt.engine.connection import Engine
from buildopt.errors import EngineError, ToolError
from buildopt.prove.builds import How
from buildopt.prove.proof import Proof
from buildopt.prove.proving import Watch, prove
from buildopt.prove.scenarios import Scenario
from buildopt.prove.smoke import SmokeOptions
from buildopt.source import Source

pytestmark = pytest.mark.engine

BEFORE = """FROM debian:bookworm-slim
RUN useradd -m -u 1234 app
WORKDIR /app
COPY app.sh data.txt ./
RUN chmod 755 app.sh && chown app data.txt && ln -s app.sh run && printf kept > /etc/kept.conf \\
    && date +%N > stamp
ENV GREETING=hello
LABEL team=one
EXPOSE 8080
USER app
CMD ["./app.sh"]
"""


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and content of everything below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def context(tmp_path: Path, base_image: Callable[[str], Path]) -> Path:
    base_image("debian:bookworm-slim")
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "app.sh").write_text('#!/bin/sh\necho "$GREETING $(cat data.txt)"\n')
    (folder / "data.txt").write_text("world\n")
    return folder


def proven(engine: Engine, context: Path | None, before: str, after: str, *smoke: str, **options: object) -> Proof:
    options = {"scenarios": (), **options}
    return prove(
        Source("Dockerfile", before), Source("Dockerfile", after), context, engine,
        smoke=SmokeOptions(smoke, timeout=20), **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_another_order_is_equal_and_the_context_is_not_touched(engine: Engine, context: Path) -> None:
    after = BEFORE.replace("ENV GREETING=hello\n", "").replace("WORKDIR", "ENV GREETING=hello\nWORKDIR")
    untouched = snapshot(context)
    proof = proven(engine, context, BEFORE, after, "./app.sh", "id -un")
    assert proof.reasons == ()
    assert proof.equal
    assert snapshot(context) == untouched
    assert [run.after.stdout for run in proof.smoke] == ["hello world\n", "app\n"]
    (image,) = proof.images
    assert (image.platform, image.split) == ("linux/amd64", False)
    assert image.kept > 1000
    assert image.before.unpacked > 10_000_000
    # What is never the same was found out by building the original twice, and is listed.
    assert proof.again
    assert {item.name: item.examples for item in image.excluded}["not reproducible: content"] == ("/app/stamp",)
    assert [timing.scenario for timing in proof.timings] == ["cold"]


LOSSES = {
    "a file": ("data.txt ./", "./", "/app/data.txt: lost"),
    "a mode": ("chmod 755", "chmod 700", "/app/app.sh: mode (was 0755, is 0700)"),
    "an owner": ("chown app data.txt", "true", "/app/data.txt: owner (was 1234:0, is 0:0)"),
    "a link": ("ln -s app.sh run", "ln -s data.txt run", "/app/run: target (was → app.sh, is → data.txt)"),
    "no link any more": ("ln -s app.sh run", "cp -a app.sh run", "/app/run: type (was a link, is a file)"),
    "content": ("printf kept", "printf lost", "/etc/kept.conf: content (4 bytes, other ones)"),
    "a file too many": ("date +%N > stamp", "date +%N > stamp && touch /added", "/added: new"),
    "an environment variable": ("ENV GREETING=hello", "ENV GREETING=hi", "ENV GREETING was hello, is hi"),
    "a label": ("LABEL team=one\n", "", "LABEL team is lost: one"),
    "a port": ("EXPOSE 8080\n", "", "EXPOSE is lost: 8080/tcp"),
    "the user": ("USER app\n", "", "USER is lost: app"),
    "the command": ('["./app.sh"]', '["sh"]', 'CMD was ["./app.sh"], is ["sh"]'),
    "the folder": ("ENV GREETING", "WORKDIR /\nENV GREETING", "WORKDIR was /app, is /"),
}


def test_every_loss_is_found_and_named(engine: Engine, context: Path) -> None:
    """All of them at once in one rewrite, so that each must be told beside the others."""
    after = BEFORE
    expected = set()
    for old, new, told in LOSSES.values():
        if "data.txt: lost" in told or "type (" in told:
            continue
        assert old in after
        after = after.replace(old, new)
        expected.add(told)
    proof = proven(engine, context, BEFORE, after, "cat /etc/kept.conf")
    assert not proof.equal
    smoke = "smoke cat /etc/kept.conf: standard output differs"
    assert {*expected, smoke} == set(proof.reasons)
    assert proof.notes == ("rebuilds were not timed, for the images are not equal",)


@pytest.mark.parametrize("loss", ["a file", "no link any more"])
def test_one_loss_alone_is_found(engine: Engine, context: Path, loss: str) -> None:
    old, new, told = LOSSES[loss]
    after = (
        BEFORE.replace(old, new).replace("&& chown app data.txt ", "") if loss == "a file" else BEFORE.replace(old, new)
    )
    proof = proven(engine, context, BEFORE, after)
    assert not proof.equal
    assert told in proof.reasons


def test_capabilities_count(engine: Engine, base_image: Callable[[str], Path]) -> None:
    base_image("python:3.11-slim")

    def text(bits: int) -> str:
        value = struct.pack("<IIIII", 0x02000001, bits, 0, 0, 0).hex()
        python = f"import os; os.setxattr('/tool', 'security.capability', bytes.fromhex('{value}'))"
        return f'FROM python:3.11-slim\nRUN touch /tool && python -c "{python}"\n'

    proof = proven(engine, None, text(1 << 13), text(1 << 10))
    assert proof.reasons == ("/tool: extended attributes (security.capability)",)


GO_BEFORE = """FROM golang:1.19
WORKDIR /src
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -o /usr/local/bin/app .
ENV MODE=fast
CMD ["app"]
"""
GO_AFTER = """FROM golang:1.19 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=1 go build -trimpath -o /usr/local/bin/app .

FROM debian:bookworm-slim
WORKDIR /src
COPY --from=build /usr/local/bin/app /usr/local/bin/app
ENV MODE=fast
CMD ["app"]
"""


@pytest.fixture
def go(context: Path, base_image: Callable[[str], Path]) -> Path:
    base_image("golang:1.19")
    (context / "go.mod").write_text("module app\n\ngo 1.19\n")
    (context / "main.go").write_text(
        'package main\n\n// #include <stdio.h>\n// static void greet() { puts("from C"); fflush(stdout); }\n'
        'import "C"\n\nfunc main() { C.greet() }\n'
    )
    return context


def test_split_stages_times_and_sizes(engine: Engine, go: Path) -> None:
    lines: list[str] = []
    proof = proven(engine, go, GO_BEFORE, GO_AFTER, "app", scenarios=None, watch=Watch(say=lines.append))
    assert proof.equal, proof.reasons
    (image,) = proof.images
    assert image.split
    assert (image.kept, image.programs) == (1, 1)
    assert image.after.unpacked < 0.35 * image.before.unpacked
    assert any(item.folder == "/usr/local/go" and item.size > 50_000_000 for item in image.left_behind)
    assert "GOPATH" in {item.name: item.examples for item in image.excluded}["environment of the base image"]
    timings = {timing.scenario: timing for timing in proof.timings}
    assert list(timings) == ["cold", "unchanged", "source", "dependency"]
    assert timings["source"].label == "source changed (main.go)"
    assert timings["dependency"].label == "manifest changed (go.mod)"
    # Cold is cold: of what is run or copied nothing comes from the cache (WORKDIR may: BuildKit looks there even with
    # --no-cache, and another test may have made it); unchanged is all from the cache.
    assert timings["cold"].before_steps in ((0, 3), (1, 3))
    assert timings["unchanged"].before_steps == (3, 3)
    assert timings["unchanged"].after_steps[0] == timings["unchanged"].after_steps[1] > 3
    assert timings["source"].before_steps[0] < 3
    assert timings["source"].after_steps[0] < timings["unchanged"].after_steps[0]
    assert lines[0] == "fetching base images"


TOOL_BEFORE = """FROM python:3.11-slim
RUN cp /usr/local/bin/python3.11 /usr/local/bin/tool
RUN cp -L /usr/lib/*/libexpat.so.1 /usr/local/lib/ && ldconfig
ENV MODE=fast
CMD ["tool", "--version"]
"""
TOOL_AFTER = """FROM python:3.11-slim AS build
RUN cp /usr/local/bin/python3.11 /usr/local/bin/tool
RUN cp -L /usr/lib/*/libexpat.so.1 /usr/local/lib/ && ldconfig

FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/tool /usr/local/bin/tool
ENV MODE=fast
CMD ["tool", "--version"]
"""


@pytest.fixture
def tool(context: Path, base_image: Callable[[str], Path]) -> Path:
    base_image("python:3.11-slim")
    return context


def test_a_library_that_stays_behind_is_found(engine: Engine, tool: Path) -> None:
    proof = proven(engine, tool, TOOL_BEFORE, TOOL_AFTER, "tool --version")
    assert "/usr/local/bin/tool needs libexpat.so.1, which is not found" in proof.reasons
    assert "smoke tool --version: exit status was 0, is 127" in proof.reasons
    assert len(proof.reasons) == 2


def test_a_library_counts_where_the_loader_looks_for_it(engine: Engine, tool: Path) -> None:
    copied = "COPY --from=build /usr/local/lib/libexpat.so.1 /usr/local/lib/\n"
    after = TOOL_AFTER.replace("ENV MODE", f"{copied}ENV MODE")
    found = proven(engine, tool, TOOL_BEFORE, after)
    (reason,) = found.reasons
    assert reason.endswith("where the loader does not look; does the last stage run ldconfig?")
    whole = after.replace("ENV MODE", "RUN ldconfig\nENV MODE")
    proof = proven(engine, tool, TOOL_BEFORE, whole, "tool --version")
    assert proof.reasons == ()
    assert (proof.images[0].split, proof.images[0].programs) == (True, 2)


def test_what_a_split_must_keep(engine: Engine, tool: Path) -> None:
    after = re.sub("RUN cp /usr/local/bin/python3.11", "RUN cp /usr/local/bin/python3", TOOL_AFTER)
    after = after.replace("/usr/local/bin/tool /usr/local/bin/tool", "/bin/ls /usr/local/bin/tool")
    after = after.replace("ENV MODE=fast\n", "")
    proof = proven(engine, tool, TOOL_BEFORE, after)
    assert [reason.partition(" (")[0] for reason in proof.reasons] == [
        "ENV MODE is lost: fast",
        "/usr/local/bin/tool: content",
    ]
    without = re.sub("COPY --from.*", "COPY --from=build /usr/local/lib/libexpat.so.1 /usr/local/lib/", TOOL_AFTER)
    proof = proven(engine, tool, TOOL_BEFORE, without)
    assert proof.reasons == ("CMD needs tool, which is not found: the program that a container starts",)


def test_no_shell_runs_smoke_commands_by_their_words(engine: Engine, busybox_context: Path) -> None:
    text = "FROM scratch\nCOPY busybox-amd64 /bin/busybox\n"
    proof = proven(engine, busybox_context, text, f"{text}ENV A=1\n", "/bin/busybox echo 'a  b'")
    assert proof.smoke[0].after.stdout == "a  b\n"
    assert proof.reasons == ("ENV A is new: 1",)


def test_a_smoke_command_that_does_not_end_and_one_that_is_never_the_same(engine: Engine, context: Path) -> None:
    text = "FROM debian:bookworm-slim\n"
    proof = prove(
        Source("Dockerfile", text), Source("Dockerfile", f"{text}# more\n"), context, engine,
        smoke=SmokeOptions(("sleep 600", "cat /proc/sys/kernel/random/uuid", "exit 3", "nothing"), timeout=3),
        scenarios=(),
    )  # fmt: skip
    sleep, random, three, nothing = proof.smoke
    assert sleep.before.status is None
    assert random.unstable
    assert random.equal
    assert (three.before.status, three.equal) == (3, True)
    assert (nothing.before.status, nothing.equal) == (127, True)
    assert proof.notes[0] == "smoke nothing: exit status 127 in both images; is there such a command?"
    assert proof.reasons == ("smoke sleep 600: did not end in time (before): --smoke-timeout gives it longer",)
    assert leftovers(engine) == []


def leftovers(engine: Engine) -> list[str]:
    """Containers, images and cache mounts that a proof left."""
    run = {"env": engine.environment}
    containers = process.run([*engine.docker, "ps", "-a", "--format", "{{.Names}}"], **run).text.splitlines()  # type: ignore[arg-type]
    images = process.run([*engine.docker, "image", "ls", "--format", "{{.Repository}}"], **run).text.splitlines()  # type: ignore[arg-type]
    return [name for name in (*containers, *images, *cache_mounts(engine)) if "buildopt-prove" in name]


def cache_mounts(engine: Engine) -> list[str]:
    """What the engine says of each cache mount."""
    argv = [*engine.buildx, "du", "--verbose", "--filter", "type=exec.cachemount"]
    return re.findall(r"^Description:\s+(.*)", process.run(argv, env=engine.environment).text, re.MULTILINE)


def test_the_users_cache_mounts_and_layers_stay_as_they_are(engine: Engine, context: Path, tmp_path: Path) -> None:
    """A mount that the user's own builds fill is neither read nor emptied, and their layers stay cached."""
    mount = "RUN --mount=type=cache,id=mine,target=/c"
    text = f"FROM debian:bookworm-slim\nRUN echo 1 && touch /layer\n{mount} echo x >> /c/log && cp /c/log /seen\n"
    (tmp_path / "Dockerfile").write_text(text)

    def build(extra: str = "") -> str:
        (tmp_path / "Dockerfile").write_text(text + extra)
        out = f"--output=type=local,dest={tmp_path / 'out'}"
        words = ["build", "--progress=plain", out, "-f", str(tmp_path / "Dockerfile"), str(context)]
        return process.run([*engine.buildx, *words], env=engine.environment).stderr

    build()
    proof = proven(engine, context, text, f"{text}LABEL a=b\n")
    assert proof.reasons == ("LABEL a is new: b",)
    assert build().count("CACHED") == 2
    # The next step of the user's finds what the first one wrote, and nothing of the proof's builds.
    build(f"{mount} echo y >> /c/log && cp /c/log /now\n")
    assert (tmp_path / "out/now").read_text() == "x\ny\n"
    assert (tmp_path / "out/seen").read_text() == "x\n"
    assert leftovers(engine) == []


def test_a_cold_build_finds_empty_cache_mounts(engine: Engine, context: Path) -> None:
    text = "FROM debian:bookworm-slim\nRUN --mount=type=cache,target=/c echo x >> /c/log && cp /c/log /seen\n"
    for _ in range(2):
        assert proven(engine, context, text, f"{text}# more\n").reasons == ()


def test_scenarios_of_the_caller(engine: Engine, context: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    (overlay / "sub").mkdir(parents=True)
    (overlay / "data.txt").write_text("other\n")
    (overlay / "sub/new.txt").write_text("new\n")
    text = "FROM debian:bookworm-slim\nRUN echo one\nCOPY data.txt /\n"
    proof = proven(
        engine, context, text, f"{text}# more\n",
        scenarios=[
            Scenario("data", "other data", overlay=overlay),
            Scenario("same", "all as it was"),
            Scenario("package", "another package", replaced=(("echo one", "echo two"),)),
        ],
    )  # fmt: skip
    steps = {timing.scenario: timing.after_steps for timing in proof.timings}
    assert steps == {"cold": (0, 2), "data": (1, 2), "same": (2, 2), "package": (0, 2)}
    assert (context / "data.txt").read_text() == "world\n"
    assert not (context / "sub").exists()


def test_a_second_file_is_only_for_the_new_side(engine: Engine, context: Path) -> None:
    (context / "secret.txt").write_text("secret\n")
    (context / "docs").mkdir()
    (context / "docs/read.me").write_text("me\n")
    text = "FROM debian:bookworm-slim\nCOPY . /app/\n"
    file = SecondFile("dockerignore", context / ".dockerignore", None, "secret.txt\ndocs\n", "not needed")
    proof = proven(engine, context, text, text, files=[file])
    assert proof.reasons == ()
    excluded = {item.name: item.examples for item in proof.images[0].excluded}
    assert excluded["left out of the context"] == ("/app/docs", "/app/docs/read.me", "/app/secret.txt")
    assert excluded["files beside the Dockerfile"] == ("/app/.dockerignore",)
    assert not (context / ".dockerignore").exists()
    worse = SecondFile("dockerignore", context / ".dockerignore", None, "secret.txt\n", "not needed")
    lost = proven(engine, context, text, text.replace("/app/\n", "/app/\nRUN rm /app/data.txt\n"), files=[worse])
    assert lost.reasons == ("/app/data.txt: lost",)


@pytest.mark.parametrize("side", ["original", "rewritten Dockerfile"])
def test_a_build_that_fails_says_which_and_where(engine: Engine, context: Path, side: str) -> None:
    good = "FROM debian:bookworm-slim\n"
    bad = f"{good}RUN echo first && echo 'no such thing' >&2 && exit 7\n"
    before, after = (bad, good) if side == "original" else (good, bad)
    with pytest.raises(
        ToolError, match=f"the {side} does not build: Dockerfile.*:2: RUN echo first.*exit code: 7"
    ) as error:
        proven(engine, context, before, after)
    assert "no such thing" in error.value.detail
    assert error.value.exit_code == 3
    assert leftovers(engine) == []


def test_a_platform_that_the_engine_cannot_run(engine: Engine, context: Path) -> None:
    with pytest.raises(EngineError, match="cannot run linux/s390x"):
        proven(engine, context, BEFORE, BEFORE, how=How(platforms=("linux/s390x",)))


def test_each_platform_is_proven(engine: Engine, busybox_context: Path) -> None:
    text = "FROM scratch\nARG TARGETARCH\nCOPY busybox-${TARGETARCH} /bin/sh\nCOPY busybox-${TARGETARCH} /bin/uname\n"
    how = How(platforms=("linux/amd64", "linux/arm64"))
    proof = proven(engine, busybox_context, text, f"{text}# more\n", "uname -m", how=how)
    assert proof.equal, proof.reasons
    assert [image.platform for image in proof.images] == ["linux/amd64", "linux/arm64"]
    assert [(run.platform, run.after.stdout) for run in proof.smoke] == [
        ("linux/amd64", "x86_64\n"),
        ("linux/arm64", "aarch64\n"),
    ]
    only_one = text.replace("COPY busybox-${TARGETARCH} /bin/uname", "COPY busybox-amd64 /bin/uname")
    lost = proven(engine, busybox_context, text, only_one, how=how)
    assert [reason.partition(" (")[0] for reason in lost.reasons] == ["/bin/uname: content"]
    assert lost.reasons[0].endswith("(linux/arm64)")


def command(engine: Engine, folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """``buildopt optimize`` as users run it."""
    environment = {**engine.environment, "DOCKER_CONFIG": str(folder / "docker"), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "buildopt", "optimize", *words],
        cwd=folder, env=environment, input=stdin, text=True, capture_output=True, timeout=600, check=False,
    )  # fmt: skip


APT = """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ed && rm -rf /var/lib/apt/lists/*
COPY data.txt /
CMD ["ed", "--version"]
"""


@pytest.fixture
def project(context: Path) -> Path:
    (context / "Dockerfile").write_text(APT)
    return context


def test_the_command_proves_and_then_writes(engine: Engine, project: Path) -> None:
    only = ("--only", "cache_mounts")
    done = command(engine, project, "--prove", "--smoke", "ed --version", "-w", *only)
    assert done.returncode == 0, done.stderr
    assert "--mount=type=cache" in (project / "Dockerfile").read_text()
    assert re.search(r"^cold build +[\d.]+ s +[\d.]+ s +[\d.]+$", done.stdout, re.MULTILINE)
    assert re.search(r"^nothing changed ", done.stdout, re.MULTILINE)
    assert re.search(
        r"^Dockerfile: equal: \d+ files and all settings as before, 1 smoke run", done.stdout, re.MULTILINE
    )
    assert "apt's docker-clean and keep-cache" in done.stdout
    again = command(engine, project, "--prove", *only)
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing to prove" in again.stderr


def test_the_commands_json_and_markdown(engine: Engine, project: Path) -> None:
    done = command(engine, project, "--prove", "--format", "json", "--check", "--only", "cache_mounts")
    assert done.returncode == 1, done.stderr  # something would change
    document = json.loads(done.stdout)
    assert (document["version"], document["changed"]) == (1, True)
    assert document["proof"]["equal"]
    assert [item["scenario"] for item in document["proof"]["timings"]] == ["cold", "unchanged"]
    assert (project / "Dockerfile").read_text() == APT
    done = command(engine, project, "--prove", "--format", "markdown", "--only", "cache_mounts")
    assert done.returncode == 0, done.stderr
    assert "✅ `Dockerfile`: equal" in done.stdout
    assert "| cold build |" in done.stdout


def test_what_is_not_proven_is_not_written(engine: Engine, project: Path) -> None:
    """The smoke command sees the one thing that the rewrite changes on purpose."""
    smoke = "test -e /etc/apt/apt.conf.d/docker-clean"
    done = command(engine, project, "--prove", "-v", "--smoke", smoke, "-w", "--only", "cache_mounts")
    assert done.returncode == 1
    assert re.search(r"^run .* RUN apt-get", done.stderr, re.MULTILINE)
    assert f"different: smoke {smoke}: exit status was 0, is 1" in done.stdout
    assert (project / "Dockerfile").read_text() == APT
    filtered = command(engine, project, "--prove", "--smoke", smoke, "-o", "-", "--only", "cache_mounts")
    assert (filtered.returncode, filtered.stdout) == (1, APT)


def test_stdin_needs_a_context_where_it_copies(engine: Engine, project: Path) -> None:
    done = command(engine, project, "--prove", "-", stdin=APT)
    assert done.returncode == 2
    assert "--context DIR" in done.stderr
    without = APT.replace("COPY data.txt /\n", "")
    done = command(engine, project, "--prove", "-o", "-", "-", stdin=without)
    assert done.returncode == 0, done.stderr
    assert "--mount=type=cache" in done.stdout
    assert "equal" in done.stderr


def test_a_failing_build_ends_the_command(engine: Engine, project: Path) -> None:
    (project / "Dockerfile").write_text(APT + "RUN false\n")
    done = command(engine, project, "--prove", "-w")
    assert done.returncode == 3
    assert "the original does not build: Dockerfile:5: RUN false failed" in done.stderr
    assert (project / "Dockerfile").read_text() == APT + "RUN false\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["building the original", "running the smoke"])
def test_interrupted(engine: Engine, project: Path, tmp_path: Path, number: int, when: str) -> None:
    (project / "Dockerfile").write_text(APT + "RUN sleep 2\n")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**engine.environment, "DOCKER_CONFIG": str(tmp_path / "docker"), "TMPDIR": str(temporary)}
    argv = [
        sys.executable,
        "-m",
        "buildopt",
        "optimize",
        "--prove",
        "--smoke",
        "sleep 100",
        "-w",
        "--only",
        "cache_mounts",
    ]
    with subprocess.Popen(argv, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while when not in running.stderr.readline():
            assert running.poll() is None
        time.sleep(1.5)
        running.send_signal(number)
        running.stderr.read()
        assert running.wait(60) == 130
    assert list(temporary.iterdir()) == []
    assert leftovers(engine) == []
    assert (project / "Dockerfile").read_text() == APT + "RUN sleep 2\n"
