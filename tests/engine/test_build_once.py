"""``buildopt build-once`` as users run it, on a real engine, for two platforms."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildopt.build import artifact
from buildopt.build.output import STAGING
from buildopt.engine import daemon, packages
from buildopt.engine.connection import Engine
from buildopt.engine.folders import Folders
from buildopt.oci import layout as oci
from buildopt.oci import lock
from buildopt.oci.descriptor import Digest, Index

pytestmark = pytest.mark.engine
PLATFORMS = "amd64,arm64"
BASE = """FROM scratch
ARG TARGETARCH
COPY bin-${TARGETARCH}/busybox /bin/busybox
COPY bin-${TARGETARCH}/busybox /bin/sh
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A private engine of this file's own."""
    with daemon.private_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin-amd64/busybox`` and ``bin-arm64/busybox``, linked statically."""
    folder = tmp_path_factory.mktemp("busybox")
    for architecture in ("amd64", "arm64"):
        prefix = folder / f"prefix-{architecture}"
        packages.fetch(
            ["busybox-static"],
            suite=packages.running_suite(),
            prefix=prefix,
            cache=Folders.at().cache,
            architecture=architecture,
        )
        (folder / f"bin-{architecture}").mkdir()
        shutil.copy2(prefix / "bin/busybox", folder / f"bin-{architecture}/busybox")
        shutil.rmtree(prefix)
    return folder


@dataclass(frozen=True, slots=True)
class Project:
    """A build context, and how to run the command in it."""

    folder: Path
    environment: Mapping[str, str]

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "buildopt", "build-once", *words]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*words),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.environment, text=True, capture_output=True, timeout=300
        )
        assert done.returncode == code, done.stderr
        return done

    def build(self, *words: str) -> dict[str, object]:
        done = self.run("--platforms", PLATFORMS, "--format", "json", "--quiet", *words)
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    @property
    def live(self) -> Path:
        return self.folder / ".buildopt/image"


@pytest.fixture
def project(tmp_path: Path, engine: Engine, busybox: Path) -> Project:
    """A context with busybox of both architectures, and a Dockerfile with a RUN."""
    folder = tmp_path / "project"
    shutil.copytree(busybox, folder)
    environment = {**engine.environment, "DOCKER_CONFIG": str(tmp_path / "docker"), "NO_COLOR": "1"}
    made = Project(folder, environment)
    made.write("Dockerfile", BASE + "RUN /bin/busybox uname -m > /machine\nCOPY data /data\n")
    made.write("data", f"{tmp_path}")
    return made


def check(path: Path) -> oci.Image:
    """Every blob is there and is what it says."""
    source = oci.open_artifact(path)
    image = oci.resolve(source)
    for blob in artifact.needed(image).values():
        with source.blob(blob.digest) as stream:
            assert Digest.of(b"".join(stream.blocks()), blob.digest.algorithm) == blob.digest
    return image


def attestations(image: oci.Image) -> int:
    """How many entries of the index speak about others (BuildKit may give two platforms one and the same)."""
    return sum(entry.attestation for entry in image.document.manifests) if isinstance(image.document, Index) else 0


def blobs(live: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (live / "blobs/sha256").iterdir()}


def waited_for(running: subprocess.Popen[str], words: str) -> None:
    """Read stderr until a line with ``words``."""
    assert running.stderr is not None
    lines = []
    for line in running.stderr:
        lines.append(line)
        if words in line:
            return
    pytest.fail(f"never said {words!r}: {''.join(lines)}")


def processes_with(words: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if words in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


def test_two_platforms_then_all_cached_then_changed(project: Project) -> None:
    first = project.build()
    image = check(project.live)
    assert first["digest"] == str(image.digest)
    assert first["version"] == 1 and isinstance(first["record"], str) and first["artifact"] == str(project.live)
    platforms = first["platforms"]
    assert isinstance(platforms, list)
    assert [entry["platform"] for entry in platforms] == ["linux/amd64", "linux/arm64"]
    assert all(entry["size"] > 500_000 for entry in platforms)
    assert attestations(image) == 2
    assert (project.folder / ".buildopt/.gitignore").read_text() == "*\n"

    before = blobs(project.live)
    second = project.build()
    assert second["steps"] == {"total": 8, "cached": 8}
    assert second["digest"] == first["digest"]
    assert blobs(project.live) == before

    project.write("data", "changed")
    third = project.build()
    assert third["digest"] != first["digest"]
    needed = {digest.hex for digest in artifact.needed(check(project.live))}
    assert set(blobs(project.live)) == needed
    kept = {name for name in needed if before.get(name) == blobs(project.live)[name]}
    assert len(kept) >= 4, "the layers of both busyboxes stay the same files"


def test_run_steps_ran_on_their_platforms(project: Project, tmp_path: Path) -> None:
    project.build()
    image = check(project.live)
    source = oci.open_artifact(project.live)
    for entry, machine in zip(image.platforms, ("x86_64", "aarch64"), strict=True):
        data = subprocess.run(
            ["tar", "-xzOf", "-", "machine"],
            input=source.read(entry.manifest.layers[-2].digest),
            capture_output=True,
            check=True,
        ).stdout
        assert data.decode().strip() == machine


def test_text_result_is_the_digest(project: Project) -> None:
    done = project.run("--platforms", "amd64")
    assert done.stdout == f"{check(project.live).digest}\n"
    assert "linux/amd64" in done.stderr and "steps cached" in done.stderr


@pytest.mark.parametrize("rules", ["", "*.md\n!README.md\n", "*\n!bin-*\n!data\n!.buildopt\n!.buildopt/**\n"])
def test_copying_everything_twice_is_all_cached(project: Project, rules: str) -> None:
    project.write("Dockerfile", "FROM scratch\nCOPY . .\n")
    if rules:
        project.write(".dockerignore", rules)
    project.build()
    second = project.build()
    assert second["steps"] == {"total": 1, "cached": 1} or second["steps"] == {"total": 2, "cached": 2}
    names = listing(project.live)
    assert any(name.endswith("data") for name in names)
    assert not any(".buildopt" in name for name in names)
    if rules:
        assert (project.folder / ".dockerignore").read_text() == rules


def listing(live: Path) -> list[str]:
    """Names of all files in an artifact's first platform."""
    source = oci.open_artifact(live)
    names = []
    for layer in oci.resolve(source).platforms[0].manifest.layers:
        data = source.read(layer.digest, 1 << 30)
        names += (
            subprocess.run(["tar", "-tzf", "-"], input=data, capture_output=True, check=True).stdout.decode().split()
        )
    return names


def test_an_output_with_an_odd_name_below_the_context_is_kept_out_too(project: Project) -> None:
    project.write("Dockerfile", "FROM scratch\nCOPY . .\n")
    for name in ("out/[a]*?", "!out", "#out dir"):
        project.build("-o", name)
        cached = project.build("-o", name)["steps"]
        assert isinstance(cached, dict) and cached["cached"] == cached["total"]
        assert not any("index.json" in entry for entry in listing(project.folder / name))
        shutil.rmtree(project.folder / name)


def test_a_failing_step_is_named_with_its_line(project: Project) -> None:
    project.build()
    before = blobs(project.live)
    project.write("app/bad.Dockerfile", BASE + "\nRUN for i in $(/bin/busybox seq 30); do echo line $i; done; exit 7\n")
    done = project.run("--platforms", "amd64", "-f", "app/bad.Dockerfile", "--quiet", code=3)
    assert "error: app/bad.Dockerfile:6: RUN for i in" in done.stderr
    assert "failed on linux/amd64: exit code: 7" in done.stderr
    assert "line 30" in done.stderr and "line 16\n" in done.stderr and "line 15\n" not in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    assert blobs(project.live) == before and check(project.live)


def test_a_missing_base_image_is_named(project: Project) -> None:
    project.write("Dockerfile", "FROM 127.0.0.1:1/acme/nothing:1.0\nRUN true\n")
    done = project.run(code=3)
    assert "Dockerfile:1: base image 127.0.0.1:1/acme/nothing:1.0 not found" in done.stderr


def test_secret_build_arguments_are_not_shown(project: Project) -> None:
    project.write("Dockerfile", BASE + "ARG NPM_TOKEN\nRUN echo the token is $NPM_TOKEN; exit 1\n")
    for progress in ("plain", "auto"):
        done = project.run("--build-arg", "NPM_TOKEN=hunter22", "--progress", progress, code=3)
        assert "the token is ***" in done.stderr
        assert "hunter22" not in done.stderr + done.stdout
    done = project.run("--build-arg", "NPM_TOKEN=hunter22", "--dry-run")
    assert "NPM_TOKEN=***" in done.stdout and "hunter22" not in done.stdout


def test_build_secrets_reach_the_build(project: Project) -> None:
    project.write("secret", "s3cr3t")
    project.write("Dockerfile", BASE + "RUN --mount=type=secret,id=key /bin/busybox wc /run/secrets/key > /count\n")
    project.build("--secret", "id=key,src=secret")
    assert "count" in listing(project.live)


def test_killed_in_the_middle_the_last_good_artifact_stays(project: Project) -> None:
    good = project.build()["digest"]
    project.write("slow.Dockerfile", BASE + "RUN echo begun; /bin/busybox sleep 60\n")
    running = project.start("--platforms", "amd64", "-f", "slow.Dockerfile", "--progress", "plain", "--no-cache")
    waited_for(running, "| begun")
    assert (project.live / STAGING).is_dir()
    running.kill()
    running.wait()
    assert str(check(project.live).digest) == good
    assert project.build()["digest"] == good
    assert sorted(os.listdir(project.live)) == ["blobs", "index.json", "oci-layout"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_buildx_and_leaves_nothing(project: Project, number: signal.Signals) -> None:
    good = project.build()["digest"]
    project.write("slow.Dockerfile", BASE + "RUN echo begun; /bin/busybox sleep 60\n")
    running = project.start("--platforms", "amd64", "-f", "slow.Dockerfile", "--progress", "plain", "--no-cache")
    waited_for(running, "| begun")
    running.send_signal(number)
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in stderr and "Traceback" not in stderr
    assert not processes_with(str(project.live))
    assert sorted(os.listdir(project.live)) == ["blobs", "index.json", "oci-layout"]
    assert str(check(project.live).digest) == good


def test_two_builds_into_one_folder_do_not_meet(project: Project) -> None:
    project.write("slow.Dockerfile", BASE + "RUN echo begun; /bin/busybox sleep 2\n")
    running = project.start("--platforms", "amd64", "-f", "slow.Dockerfile", "--progress", "plain", "--no-cache")
    waited_for(running, "| begun")
    done = project.run("--platforms", "amd64", code=3)
    assert f"another build is writing to {project.live} (process {running.pid}, since " in done.stderr
    stdout, _ = running.communicate(timeout=60)
    assert stdout.strip() == str(check(project.live).digest)


def test_readers_keep_their_blobs(project: Project) -> None:
    project.build()
    old = set(blobs(project.live))
    project.write("data", "other")
    with lock.reading(project.live):
        project.build()
        assert old <= set(blobs(project.live))
    project.build()
    assert not old <= set(blobs(project.live))


def test_a_full_disk_is_said_and_leaves_the_last_good_artifact(project: Project, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small], check=True)
    try:
        good = project.build("-o", str(small / "image"))["digest"]
        (project.folder / "data").write_bytes(os.urandom(8_000_000))
        done = project.run("--platforms", PLATFORMS, "-o", str(small / "image"), "--quiet", code=3)
        assert "no space left on the disk of" in done.stderr and str(small / "image") in done.stderr
        assert str(check(small / "image").digest) == good
        project.write("data", "small again")
        project.build("-o", str(small / "image"))
        check(small / "image")
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_tar_reads_back_and_is_the_same_each_time(project: Project) -> None:
    first = project.build("-o", "out/image.tar", "-t", "acme/app:1.0")
    path = project.folder / "out/image.tar"
    image = check(path)
    assert (str(image.digest), image.names) == (first["digest"], ("docker.io/acme/app:1.0",))
    data = path.read_bytes()
    project.build("-o", "out/image.tar", "-t", "acme/app:1.0")
    assert path.read_bytes() == data
    assert sorted(os.listdir(project.folder / "out")) == [".image.tar.layout", "image.tar"]


def test_the_engine_itself_loads_the_tar(project: Project, engine: Engine) -> None:
    project.build("-o", "image.tar", "-t", "acme/loaded:1.0")
    environment = {**project.environment}
    subprocess.run(
        [*engine.docker, "load", "-i", project.folder / "image.tar"], env=environment, check=True, capture_output=True
    )
    done = subprocess.run(
        [*engine.docker, "run", "--rm", "--network=none", "acme/loaded:1.0", "/bin/busybox", "cat", "/machine"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == os.uname().machine


def test_a_tar_on_stdout_is_a_tar_and_nothing_else(project: Project) -> None:
    piped = subprocess.run(
        [*project.argv("--platforms", PLATFORMS, "-o", "-"), "-q"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    (project.folder / "piped.tar").write_bytes(piped)
    assert len(check(project.folder / "piped.tar").platforms) == 2
    assert sorted(os.listdir(project.folder / ".buildopt")) == [".gitignore", "records"]


def test_a_redirected_tar_below_the_context_does_not_break_the_cache(project: Project) -> None:
    project.write("Dockerfile", "FROM scratch\nCOPY . .\n")
    for _ in range(2):
        with open(project.folder / "image.tar", "wb") as stdout:
            done = subprocess.run(
                project.argv("--platforms", "amd64", "-o", "-"),
                cwd=project.folder,
                env=project.environment,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
            )
    assert "1 of 1 steps cached" in done.stderr
    assert "image.tar" not in listing(project.folder / "image.tar")


def test_github_actions_gets_a_group_and_a_summary(project: Project, tmp_path: Path) -> None:
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "CI": "true"}
    done = Project(project.folder, {**project.environment, **variables}).run("--platforms", PLATFORMS)
    lines = done.stderr.splitlines()
    assert lines.index("::group::buildopt build-once") < lines.index("::endgroup::")
    summary = (tmp_path / "summary.md").read_text()
    assert done.stdout.strip() in summary and "| linux/arm64 |" in summary


def test_raw_json_is_passed_on_without_noise(project: Project) -> None:
    done = project.run("--platforms", PLATFORMS, "--progress", "rawjson", "--no-cache")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any("vertexes" in line for line in lines)
    assert "(*service).Write failed" not in done.stderr


@pytest.mark.parametrize(("provenance", "count"), [("off", 0), ("min", 2), ("max", 2)])
def test_provenance_and_a_digest_that_stays(project: Project, provenance: str, count: int) -> None:
    for words in (("init", "-q"), ("add", "Dockerfile"), ("commit", "-q", "-m", "x")):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=project.folder, check=True)
    first = project.build("--provenance", provenance)["digest"]
    assert project.build("--provenance", provenance)["digest"] == first
    source = oci.open_artifact(project.live)
    image = check(project.live)
    assert attestations(image) == count
    for entry in image.attestations:
        statement = json.loads(source.read(entry.manifest.layers[0].digest))
        assert ("buildConfig" in statement["predicate"]) == (provenance == "max")


def test_one_platform_without_provenance_is_a_plain_manifest(project: Project) -> None:
    project.run("--platforms", "amd64", "--provenance", "off")
    (entry,) = check(project.live).platforms
    assert str(entry.platform) == "linux/amd64"


def test_layers_are_compressed_as_asked(project: Project) -> None:
    project.build("--compression", "zstd:3")
    source = oci.open_artifact(project.live)
    layers = {layer for entry in check(project.live).platforms for layer in entry.manifest.layers}
    assert {layer.media_type for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert {source.read(layer.digest)[:4] for layer in layers} == {bytes.fromhex("28b52ffd")}


def diff_ids(live: Path) -> list[object]:
    """The layers of each platform by their contents, however they are compressed."""
    source = oci.open_artifact(live)
    return [
        json.loads(source.read(entry.manifest.config.digest))["rootfs"]["diff_ids"] for entry in check(live).platforms
    ]


def test_a_local_cache_serves_an_engine_that_has_forgotten(project: Project, engine: Engine) -> None:
    project.write("Dockerfile", BASE + "RUN /bin/busybox date > /when\nCOPY . /all\n")
    project.build("--cache", "local=cache")
    contents = diff_ids(project.live)
    assert (project.folder / "cache/index.json").is_file()
    subprocess.run([*engine.buildx, "prune", "--all", "--force"], env=project.environment, check=True)
    second = project.build("--cache", "local=cache")
    steps = second["steps"]
    assert isinstance(steps, dict) and steps["cached"] > 0  # how many steps an import takes is up to BuildKit
    assert diff_ids(project.live) == contents, "the date was not asked again"


def test_dry_run_shows_the_command_and_writes_nothing(project: Project) -> None:
    done = project.run("--platforms", "amd64,arm64", "--dry-run", "-t", "app:1")
    assert "build --progress rawjson" in done.stdout
    assert "--platform linux/amd64,linux/arm64" in done.stdout and "--tag app:1" in done.stdout
    assert "kept out of the context: .buildopt" in done.stderr
    assert not (project.folder / ".buildopt").exists()


def test_usage_errors_come_before_the_engine_is_asked(tmp_path: Path, project: Project) -> None:
    # A private engine of whoever runs the tests may be up.
    nothing = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "XDG_CACHE_HOME": str(tmp_path)}
    nowhere = Project(project.folder, {**project.environment, **nothing})
    assert "no Dockerfile" in nowhere.run("-f", "nothing", code=2).stderr
    assert "unknown platform" in nowhere.run("--platforms", "amd46", code=2).stderr
    assert "neither empty nor an OCI layout" in nowhere.run("-o", "bin-amd64", code=2).stderr
    assert nowhere.run(code=3).stderr
