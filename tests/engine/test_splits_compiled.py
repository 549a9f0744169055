"""Go and Rust files are built as they were and split: the containers run the same, and the files are the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine


def split(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    return result.source.text


def built(engine: Engine, context: Path, text: str, script: str, folder: Path) -> list[str]:
    """The lines that a script wrote in the last stage, run as the user and in the folder that a container has."""
    last = text.count("FROM ") - 1
    dockerfile, done = folder / "Dockerfile", folder / "done"
    end = ["RUN <<END", "set -e", f"(\n{script}\n) > /tmp/out 2>&1", "END", "FROM scratch"]
    dockerfile.write_text("\n".join([text.rstrip("\n"), *end, f"COPY --from={last} /tmp/out /", ""]))
    shutil.rmtree(done, ignore_errors=True)
    argv = [*engine.buildx, "build", "--file", str(dockerfile), "--output", f"type=local,dest={done}", str(context)]
    process.run(argv, env=engine.environment, timeout=800)
    return (done / "out").read_text().splitlines()


def project(folder: Path, files: Mapping[str, str]) -> Path:
    context = folder / "context"
    for name, text in files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return context


SERVICE = {
    "go.mod": "module example.com/service\n\ngo 1.19\n",
    "cmd/service/main.go": """package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"time"
)

func main() {
	who, err := user.Current()
	page, _ := os.ReadFile("web/index.html")
	zone, _ := time.LoadLocation("America/Lima")
	out, _ := exec.Command("sh", "-c", "echo $0 | tr a-z A-Z").Output()
	fmt.Print(who.Username, err, string(page), zone, string(out), http.StatusOK, len(os.Args), os.Getenv("A"), "\\n")
	fmt.Println(os.WriteFile("uploads/x", nil, 0o600), os.WriteFile("y", nil, 0o600) == nil)
}
""",
    "web/index.html": "<p>page</p>\n",
    "uploads/.gitkeep": "",
    "entry.sh": '#!/bin/sh\nset -e\nexport A=from-the-script\nexec ./bin/service "$@"\n',
    "Makefile": "build:\n\tgo build -o bin/service ./cmd/service\n",
    "README.md": "# service\n",
}


def test_go_with_files_a_script_and_a_user(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("golang:1.19")
    base_image("debian:bookworm-slim")
    context = project(tmp_path, SERVICE)
    before = """FROM golang:1.19-bookworm
RUN useradd --create-home --shell /usr/sbin/nologin app
WORKDIR /srv/app
COPY --chown=app:app . .
RUN make build && chmod +x entry.sh
RUN mkdir -p /var/lib/app && chown app:app /var/lib/app
USER app
ENTRYPOINT ["./entry.sh"]
CMD ["a", "b"]
"""
    after = split(before, context)
    run = """./entry.sh a b
stat -c '%n %a %U:%G' /srv /srv/app web web/index.html uploads entry.sh bin/service /var/lib/app /home/app
id"""
    found = built(engine, context, after, run, tmp_path)
    assert found == built(engine, context, before, run, tmp_path)
    assert found[0].startswith("app<nil><p>page</p>")
    look = "ls /usr/local/go 2> /dev/null || echo no compiler\nls"
    assert built(engine, context, after, look, tmp_path) == ["no compiler", "bin", "entry.sh", "uploads", "web"]


def test_what_the_go_tool_links_asks_for_no_new_c_library(
    engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    """So that a program without C of its own may run on an older Debian than it was built on."""
    base_image("golang:1.19")
    context = project(tmp_path, SERVICE)
    text = "FROM golang:1.19\nWORKDIR /a\nCOPY . .\nRUN go build -o app ./cmd/service\n"
    lines = built(engine, context, text, "objdump -T app", tmp_path)
    versions = {tuple(map(int, found.groups())) for line in lines if (found := re.search(r"GLIBC_(\d+)\.(\d+)", line))}
    assert versions
    assert max(versions) <= (2, 34)


def test_rust_with_files_and_a_dummy_program(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("rust:1.63")
    base_image("debian:bookworm-slim")
    files = {
        "Cargo.toml": '[package]\nname = "reader"\nversion = "0.1.0"\nedition = "2021"\n',
        "Cargo.lock": 'version = 3\n\n[[package]]\nname = "reader"\nversion = "0.1.0"\n',
        "src/main.rs": 'fn main() {\n    print!("{}", std::fs::read_to_string("conf/words.txt").unwrap());\n}\n',
        "conf/words.txt": "two words\n",
    }
    context = project(tmp_path, files)
    before = """FROM rust:1.63
WORKDIR /reader
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo "fn main() {}" > src/main.rs && cargo build --release --offline && rm -rf src
COPY . .
RUN touch src/main.rs && cargo build --release --offline
CMD ["./target/release/reader"]
"""
    after = split(before, context)
    run = "./target/release/reader\npwd\nstat -c '%n %a %U:%G' conf conf/words.txt target/release/reader"
    found = built(engine, context, after, run, tmp_path)
    assert found == built(engine, context, before, run, tmp_path)
    assert found[:2] == ["two words", "/reader"]
    look = "ls /usr/local/cargo 2> /dev/null || echo no compiler\nls"
    assert built(engine, context, after, look, tmp_path) == ["no compiler", "conf", "target"]
