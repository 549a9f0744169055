"""Cross-compiling gives the images that emulation gives, byte for byte."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

_X86_64, _AARCH64 = 0x3E, 0xB7
BEFORE = """FROM golang:1.19 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /out/app .

FROM scratch
COPY --from=build /out/app /app
COPY --from=build /src/message.txt /message.txt
ENTRYPOINT ["/app"]
"""


def built(engine: Engine, context: Path, text: str, platforms: str, done: Path) -> tuple[dict[str, bytes], str]:
    """The files of the images of all platforms, and what the build said of its steps."""
    dockerfile = done.with_suffix(".Dockerfile")
    dockerfile.write_text(text)
    finished = process.run(
        [
            *(*engine.buildx, "build", "--no-cache", "--progress=plain", "--platform", platforms),
            *("--file", str(dockerfile)),
            *("--output", f"type=local,dest={done}", str(context)),
        ],
        env=engine.environment,
        timeout=1500,
    )
    files = {path.relative_to(done).as_posix(): path.read_bytes() for path in done.rglob("*") if path.is_file()}
    shutil.rmtree(done)
    return files, finished.stderr


def machine(program: bytes) -> int:
    """The machine of an ELF file, as its header names it."""
    assert program[:4] == b"\x7fELF"
    return int(struct.unpack_from("<H", program, 18)[0])


def test_go_for_two_platforms(engine: Engine, base_image: Callable[[str], Path], tmp_path: Path) -> None:
    base_image("golang:1.19")
    context = tmp_path / "context"
    context.mkdir()
    (context / "go.mod").write_text("module example.com/app\n\ngo 1.19\n")
    (context / "message.txt").write_text("hello\n")
    (context / "main.go").write_text(
        'package main\n\nimport (\n\t"fmt"\n\t"net"\n\t"os/user"\n)\n\n'
        'func main() {\n\tme, _ := user.Current()\n\tfmt.Println(net.ParseIP("::1"), me)\n}\n'
    )
    after = optimize(Source("Dockerfile", BEFORE), context, only=("cross_compile",))
    assert [change.name for change in after.changes] == ["cross_compile"]
    both = "linux/amd64,linux/arm64"
    emulated, one_each = built(engine, context, BEFORE, both, tmp_path / "before")
    native, crossed = built(engine, context, after.source.text, both, tmp_path / "after")
    assert sorted(native) == [f"linux_{name}/{file}" for name in ("amd64", "arm64") for file in ("app", "message.txt")]
    assert native == emulated
    assert machine(native["linux_amd64/app"]) == _X86_64
    assert machine(native["linux_arm64/app"]) == _AARCH64
    one, _ = built(engine, context, after.source.text, "linux/amd64", tmp_path / "one")
    assert one["app"] == native["linux_amd64/app"]
    steps = r"\[linux/(?:amd64->arm64|arm64->amd64) build .*go build"
    assert re.search(steps, crossed)
    assert not re.search(steps, one_each)
