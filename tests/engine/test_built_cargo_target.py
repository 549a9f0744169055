"""With ``target`` in a mount, a build after a change makes the changed program, whatever the times of its sources."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from buildopt import process
from buildopt.dockerfile.optimize import optimize
from buildopt.engine.connection import Engine
from buildopt.source import Source

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
TEXT = """FROM rust:1.63-slim AS build
WORKDIR /src
COPY . .
RUN cargo build --release --offline

FROM scratch
COPY --from=build /src/target/release/say /say
"""
MAIN = 'fn main() { println!("{} {}", itoa::Buffer::new().format(7), TEXT); }\nconst TEXT: &str = "first";\n'


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A project with one vendored crate and a file that is built into the program."""
    folder = tmp_path / "context"
    shutil.copytree(ROOT / "dockerfiles/rust/project/vendor/itoa", folder / "vendor/itoa")
    shutil.copytree(ROOT / "dockerfiles/rust/project/.cargo", folder / ".cargo")
    lock = (ROOT / "dockerfiles/rust/project/Cargo.lock").read_text().split("\n\n")
    itoa = next(part for part in lock if 'name = "itoa"' in part)
    own = '[[package]]\nname = "say"\nversion = "0.1.0"\ndependencies = [\n "itoa",\n]'
    (folder / "Cargo.lock").write_text(f"version = 3\n\n{itoa}\n\n{own}\n")
    (folder / "Cargo.toml").write_text('[package]\nname = "say"\nversion = "0.1.0"\n[dependencies]\nitoa = "1.0"\n')
    (folder / "src").mkdir()
    (folder / "src/main.rs").write_text(MAIN)
    return folder


def test_old_times_hide_no_change_and_crates_are_compiled_once(
    engine: Engine, base_image: Callable[[str], Path], context: Path, tmp_path: Path
) -> None:
    base_image("rust:1.63-slim")
    result = optimize(Source("Dockerfile", TEXT), context, only=("cargo_target",))
    assert [change.name for change in result.changes] == ["cargo_target"], result.refusals
    dockerfile, out = tmp_path / "Dockerfile", tmp_path / "out"
    dockerfile.write_text(result.source.text)

    def said() -> tuple[str, str]:
        argv = [*engine.buildx, "build", "--progress", "plain", "--file", str(dockerfile)]
        done = process.run(
            [*argv, "--output", f"type=local,dest={out}", str(context)],
            env=engine.environment,
            timeout=600,
            check=False,
        )
        log = done.text + done.stderr
        if done.returncode:
            return "", log
        return process.run([str(out / "say")]).text.strip(), log

    text, log = said()
    assert text == "7 first"
    assert "Compiling itoa" in log
    # What git checks out of another branch may be older than the last build.
    (context / "src/main.rs").write_text(MAIN.replace("first", "second"))
    os.utime(context / "src/main.rs", (1_000_000_000, 1_000_000_000))
    text, log = said()
    assert text == "7 second"
    assert "Compiling say" in log
    assert "Compiling itoa" not in log
    # A program that is made no more is missed, though the mount still has it.
    (context / "Cargo.toml").write_text(
        (context / "Cargo.toml").read_text() + '[[bin]]\nname = "tell"\npath = "src/main.rs"\n'
    )
    text, log = said()
    assert text == ""
    assert "target/release/say" in log
