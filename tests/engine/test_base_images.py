"""Base images as Dockerfiles use them, on a real engine for both platforms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from buildopt import process
from buildopt.engine.connection import Engine
from buildopt.oci.check import check
from buildopt.oci.layout import open_artifact
from buildopt.sandbox import base_images, trees

pytestmark = pytest.mark.engine

PLATFORMS = ("linux/amd64", "linux/arm64")
NATIVE = f"linux/{trees.native_architecture()}"
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}


def build(
    engine: Engine, folder: Path, image: str, script: str, platform: str, files: Mapping[str, str] | None = None
) -> list[str]:
    """The lines that a shell script wrote to /out in an unchanged ``FROM image``."""
    context = folder / "context"
    context.mkdir()
    for name, text in (files or {}).items():
        (context / name).write_text(text)
    lines = [f"FROM {image} AS made", "WORKDIR /src", "COPY . .", f"RUN <<END\nset -e\n(\n{script}\n) > /out\nEND"]
    (context / "Dockerfile").write_text("\n".join([*lines, "FROM scratch", "COPY --from=made /out /", ""]))
    argv = [*engine.buildx, "build", "--platform", platform, "--output", f"type=local,dest={folder / 'done'}"]
    process.run([*argv, "--no-cache-filter", "made", context], env=engine.environment, timeout=800)
    return (folder / "done" / "out").read_text().splitlines()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_pip_installs_into_site_packages(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str
) -> None:
    base_image("python:3.11-slim")
    script = """pip install --quiet six
python -c 'import six; print(six.__file__)'
python3 -c 'import ctypes, curses, lzma, sqlite3, ssl, sys, uuid, zlib; print(sys.prefix)'
command -v python
command -v pip
echo $PYTHON_VERSION
uname -m
pip list --format freeze"""
    found = build(engine, tmp_path, "python:3.11-slim", script, platform)
    assert found[:6] == [
        "/usr/local/lib/python3.11/site-packages/six.py",
        "/usr/local",
        "/usr/local/bin/python",
        "/usr/local/bin/pip",
        "3.11.2",
        MACHINES[platform],
    ]
    assert [line.partition("==")[0] for line in found[6:]] == ["pip", "setuptools", "six", "wheel"]


def test_a_venv_has_a_pip_that_installs(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("python:3.11-slim")
    script = """python -m venv /opt/venv
/opt/venv/bin/pip install --quiet six
/opt/venv/bin/python -c 'import six; print(six.__file__)'"""
    found = build(engine, tmp_path, "python:3.11-slim", script, "linux/amd64")
    assert found == ["/opt/venv/lib/python3.11/site-packages/six.py"]


def test_c_extensions_compile_once_there_is_a_compiler(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    base_image("python:3.11-slim")
    script = """apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends gcc libc6-dev >&2
pip install --quiet --no-build-isolation . >&2
cd / && python -c 'import answer; print(answer.get())'"""
    module = """#include <Python.h>
static PyObject *get(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"get", get, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", "", -1, methods};
PyMODINIT_FUNC PyInit_answer(void) { return PyModule_Create(&module); }
"""
    setup = """from setuptools import Extension, setup
setup(name="answer", version="1", ext_modules=[Extension("answer", ["answer.c"])], py_modules=[])
"""
    files = {"answer.c": module, "setup.py": setup}
    assert build(engine, tmp_path, "python:3.11-slim", script, "linux/amd64", files) == ["42"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_npm_installs(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str) -> None:
    base_image("node:18-slim")
    script = """npm install --silent is-number >&2
node -e 'console.log(require("is-number")(5))'
node -p process.arch
node --version
command -v npm
command -v yarn
npm prefix --global
id node"""
    assert build(engine, tmp_path, "node:18-slim", script, platform) == [
        "true",
        {"linux/amd64": "x64", "linux/arm64": "arm64"}[platform],
        "v18.20.8",
        "/usr/local/bin/npm",
        "/usr/local/bin/yarn",
        "/usr/local",
        "uid=1000(node) gid=1000(node) groups=1000(node)",
    ]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_go_builds(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str) -> None:
    base_image("golang:1.19")
    files = {
        "go.mod": "module hello\n\ngo 1.19\n",
        "main.go": 'package main\n\nimport (\n\t"fmt"\n\t"net/http"\n\t"runtime"\n)\n\n'
        "func main() { fmt.Println(runtime.GOARCH, http.StatusOK) }\n",
    }
    script = (
        "go build -o /hello .\n/hello\ngo env GOROOT GOPATH\ngo list -f '{{.Stale}}' net/http\nls -d /go/bin /go/src"
    )
    found = build(engine, tmp_path, "golang:1.19", script, platform, files)
    assert found == [f"{platform.partition('/')[2]} 200", "/usr/local/go", "/go", "false", "/go/bin", "/go/src"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_gcc_compiles(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str) -> None:
    base_image("gcc:12")
    files = {
        "a.c": '#include <stdio.h>\nint main(void) { puts("from C"); return 0; }\n',
        "b.cc": '#include <iostream>\nint main() { std::cout << "from C++" << std::endl; }\n',
        "Makefile": "all:\n\tcc -o a a.c\n\tg++ -o b b.cc\n",
    }
    found = build(engine, tmp_path, "gcc:12", "make >&2\n./a\n./b\ncc -dumpversion", platform, files)
    assert found == ["from C", "from C++", "12"]


def test_cargo_builds(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("rust:1.63-slim")
    files = {
        "Cargo.toml": '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n'
        '[[bin]]\nname = "hello"\npath = "a.rs"\n',
        "a.rs": 'fn main() { println!("from Rust"); }\n',
    }
    script = """cargo build --quiet --release --offline
target/release/hello
which cargo rustc
echo $CARGO_HOME $RUSTUP_HOME
ls -d /usr/local/rustup/toolchains/*/bin/rustc"""
    found = build(engine, tmp_path, "rust:1.63-slim", script, NATIVE, files)
    assert found == [
        "from Rust",
        "/usr/local/cargo/bin/cargo",
        "/usr/local/cargo/bin/rustc",
        "/usr/local/cargo /usr/local/rustup",
        f"/usr/local/rustup/toolchains/1.63.0-{MACHINES[NATIVE]}-unknown-linux-gnu/bin/rustc",
    ]


def test_javac_builds_what_a_jre_runs(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("eclipse-temurin:17-jdk")
    base_image("eclipse-temurin:17-jre")
    files = {"Hello.java": 'class Hello { public static void main(String[] a) { System.out.println("from Java"); } }'}
    script = """javac Hello.java
java Hello
command -v javac
echo $JAVA_HOME
keytool -list -cacerts -storepass changeit | grep -c authority-
java -XshowSettings:properties -version 2>&1 | grep -o 'native.encoding = .*'"""
    found = build(engine, tmp_path, "eclipse-temurin:17-jdk", script, NATIVE, files)
    assert found[:3] == ["from Java", "/opt/java/openjdk/bin/javac", "/opt/java/openjdk"]
    assert int(found[3]) > 100  # Debian's authorities, which a client of TLS trusts
    assert found[4] == "native.encoding = UTF-8"


def test_a_jre_has_the_modules_that_programs_run_with(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    base_image("eclipse-temurin:17-jdk")
    base_image("eclipse-temurin:17-jre")
    for folder in ("jre", "jdk"):
        (tmp_path / folder).mkdir()
    modules = r"java --list-modules | grep -oE '^(java.desktop|jdk\.(compiler|jdwp.agent|jshell))@' | sort"
    script = f"{modules}\ncommand -v javac || echo no\nls $JAVA_HOME\njava -Xshare:on -version 2>&1 | grep -o sharing"
    found = build(engine, tmp_path / "jre", "eclipse-temurin:17-jre", script, NATIVE)
    assert found == [
        *("java.desktop@", "jdk.jdwp.agent@", "no"),
        *("bin", "conf", "legal", "lib", "release", "sharing"),
    ]
    linked = "jlink --add-modules java.base --strip-debug --output /tmp/own\n/tmp/own/bin/java --list-modules"
    script = f"{modules}\nls $JAVA_HOME\n{linked} | cut -d@ -f1"
    assert build(engine, tmp_path / "jdk", "eclipse-temurin:17-jdk", script, NATIVE) == [
        *("java.desktop@", "jdk.compiler@", "jdk.jdwp.agent@", "jdk.jshell@"),
        *("bin", "conf", "include", "jmods", "legal", "lib", "man", "release"),
        "java.base",
    ]


def test_maven_fetches_from_the_image(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("maven:3-eclipse-temurin-17")
    project = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId>
  <artifactId>hello</artifactId>
  <version>1.0</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.commons</groupId>
      <artifactId>commons-lang3</artifactId>
      <version>3.12.0</version>
    </dependency>
  </dependencies>
</project>
"""
    script = (
        "mvn -q dependency:copy-dependencies >&2\nls target/dependency\nls -d /root/.m2/repository/org/apache/commons/*"
    )
    found = build(engine, tmp_path, "maven:3-eclipse-temurin-17", script, NATIVE, {"pom.xml": project})
    assert found[0] == "commons-lang3-3.12.0.jar"
    assert "/root/.m2/repository/org/apache/commons/commons-lang3" in found[1:]


@pytest.mark.parametrize(("image", "absent"), [("python", "gcc"), ("node", "python3")])
def test_full_images_have_a_toolchain(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, image: str, absent: str
) -> None:
    tag = {"python": "3.11", "node": "18"}[image]
    base_image(f"{image}:{tag}")
    base_image(f"{image}:{tag}-slim")
    script = f"which {image} make g++ git || true\nwhich /usr/bin/{absent} || echo none"
    (tmp_path / "slim").mkdir()
    found = build(engine, tmp_path, f"{image}:{tag}", script, NATIVE)
    assert found == [f"/usr/local/bin/{image}", "/usr/bin/make", "/usr/bin/g++", "/usr/bin/git", f"/usr/bin/{absent}"]
    found = build(engine, tmp_path / "slim", f"{image}:{tag}-slim", script, NATIVE)
    assert found == [f"/usr/local/bin/{image}", "none"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_apt_installs_and_keeps_no_downloads(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str
) -> None:
    base_image("debian:bookworm-slim")
    script = """apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends curl >&2
curl --version >&2
apt-get check -qq >&2
dpkg --audit
find /var/cache/apt -name '*.deb' -o -name '*.bin'
ls -d /usr/share/man/man1/curl.1* 2> /dev/null || echo no manual
apt-get install -y -qq --no-install-recommends --reinstall libc6 >&2
uname -m
dpkg --print-architecture"""
    found = build(engine, tmp_path, "debian:bookworm-slim", script, platform)
    assert found == ["no manual", MACHINES[platform], platform.partition("/")[2]]


def test_a_cache_mount_keeps_downloads_only_without_docker_clean(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    base_image("debian:bookworm-slim")
    script = """apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends netbase >&2
find /var/cache/apt -name '*.deb' | wc -l
rm /etc/apt/apt.conf.d/docker-clean
echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
apt-get install -y -qq --no-install-recommends --reinstall netbase >&2
find /var/cache/apt -name '*.deb' | wc -l"""
    assert build(engine, tmp_path, "debian:bookworm-slim", script, "linux/amd64") == ["0", "1"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_accounts_are_debians(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path, platform: str) -> None:
    base_image("debian:bookworm-slim")
    script = """useradd --uid 1234 --create-home ada
id -u ada
stat -c '%a %U:%G' /etc/shadow /tmp /root /var/mail /usr/bin/passwd
readlink /var/run /bin /etc/alternatives/awk
getent passwd root www-data _apt | cut -d: -f1"""
    assert build(engine, tmp_path, "debian:bookworm-slim", script, platform) == [
        "1234",
        "640 root:shadow",
        "1777 root:root",
        "700 root:root",
        "2775 root:mail",
        "4755 root:root",
        "/run",
        "usr/bin",
        "/usr/bin/mawk",
        "root",
        "www-data",
        "_apt",
    ]


def read(layout: Path, digest: str) -> dict[str, Any]:
    """A document of an OCI layout."""
    found: dict[str, Any] = json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())
    return found


def test_images_share_the_debian_layer_and_are_whole(base_image: Callable[[str], Path]) -> None:
    first_layers = set()
    for name in ("debian:bookworm-slim", "python:3.11-slim", "node:18-slim"):
        layout = base_image(name)
        assert check(open_artifact(layout)) == (), name
        (index,) = json.loads((layout / "index.json").read_text())["manifests"]
        (native, *_) = read(layout, index["digest"])["manifests"]
        first_layers.add(read(layout, native["digest"])["layers"][0]["digest"])
    assert len(first_layers) == 1


def test_what_is_there_is_not_made_again(base_image: Callable[[str], Path]) -> None:
    layout = base_image("debian:bookworm-slim")
    before = layout.stat().st_mtime_ns
    started = time.monotonic()
    assert base_images.prepare(["debian:bookworm-slim"]) == {"debian:bookworm-slim": layout}
    assert time.monotonic() - started < 2
    assert layout.stat().st_mtime_ns == before


def test_a_run_that_was_killed_leaves_nothing_half_made(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from buildopt.sandbox import base_images;"
        "base_images.prepare(['debian:bookworm-slim'], cache=Path(sys.argv[1]), platforms=['linux/amd64'])"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], start_new_session=True) as running:
        deadline = time.monotonic() + 120
        # dpkg is at work in its chroot once there are unpacked packages.
        while not list(tmp_path.glob("base-images/work-*/debian-*/var/lib/dpkg/info/*.list")):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    assert list(tmp_path.glob("base-images/work-*")) and not list(tmp_path.glob("base-images/*/layers/*.json"))
    made = base_images.prepare(["debian:bookworm-slim"], cache=tmp_path, platforms=["linux/amd64"])
    assert check(open_artifact(made["debian:bookworm-slim"])) == ()
    assert not list(tmp_path.glob("base-images/work-*"))
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
