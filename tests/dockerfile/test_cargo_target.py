"""Where ``target`` stays out of a mount: each of these would ship something else than without it, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.source import Source

BUILD = "FROM rust:1.82 AS build\nWORKDIR /src\nCOPY . .\n"
FINAL = 'FROM debian:bookworm-slim\nCOPY --from=build /src/target/release/app /usr/local/bin/app\nCMD ["app"]\n'
GOOD = f"{BUILD}RUN cargo build --release\n{FINAL}"
LOCK = 'version = 3\n\n[[package]]\nname = "app"\nversion = "0.1.0"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "app"\nversion = "0.1.0"\n')
    (tmp_path / "Cargo.lock").write_text(LOCK)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.rs").write_text("fn main() {}\n")
    return tmp_path


def rewritten(text: str, context: Path | None) -> Optimized:
    return optimize(Source("Dockerfile", text), context, only=("cargo_target",))


def reason(text: str, context: Path | None) -> str:
    result = rewritten(text, context)
    assert not result.changes
    assert result.source.text == text
    return " | ".join(refusal.reason for refusal in result.refusals)


def test_target_gets_a_mount_and_the_program_is_copied_out(project: Path) -> None:
    text = rewritten(GOOD, project).source.text
    assert "target=/src/target,sharing=locked" in text
    assert "COPY --from=build /built/app /usr/local/bin/app" in text


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"Cargo.toml": '[package]\nname = "app"\n[[bin]]\nname = "serve"\npath = "src/main.rs"\n'}, "serve"),
        ({"src/bin/tool.rs": ""}, "tool"),
        ({"src/bin/other/main.rs": ""}, "other"),
        ({"members/a/Cargo.toml": '[package]\nname = "member"\n'}, "member"),
        ({"Cargo.toml": '[package]\nname = "my-app"\n[lib]\ncrate-type = ["cdylib"]\n'}, "libmy_app.so"),
        ({"Cargo.toml": '[package]\nname = "app"\n[lib]\nname = "own"\ncrate-type = ["staticlib"]\n'}, "libown.a"),
    ],
)
def test_what_the_manifests_name_is_a_program(files: dict[str, str], name: str, project: Path) -> None:
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    assert rewritten(GOOD.replace("release/app /usr", f"release/{name} /usr"), project).changes


REFUSED = {
    "the image holds target": ("FROM rust:1.82\nWORKDIR /src\nCOPY . .\nRUN cargo build\n", "the image itself holds"),
    "all of the folder is copied": (
        GOOD.replace("/src/target/release/app /usr", "/src /usr"),
        "is copied with all of target",
    ),
    "a folder of target is copied": (GOOD.replace("release/app /usr", "release /usr"), "no program that cargo puts"),
    "a folder beside the program is copied": (
        f"{GOOD}COPY --from=build /src/target/release/assets /assets\n",
        "no program that cargo puts",
    ),
    "a library that a crate's script put there": (
        f"{GOOD}COPY --from=build /src/target/release/libonnxruntime.so /usr/lib/\n",
        "no program that cargo puts",
    ),
    "a file of a crate, by the RUN": (
        GOOD.replace("--release", "--release && cp target/release/libonnxruntime.so /usr/lib/"),
        "which programs `cp` takes out of target is not known",
    ),
    "a pattern is copied": (GOOD.replace("release/app /usr", "release/a* /usr"), "no program that cargo puts"),
    "the stage is mounted": (
        f"{GOOD}RUN --mount=from=build,source=/src,target=/x cp /x/target/release/app /\n",
        "the build stage is mounted",
    ),
    "tests run later": (
        f"{BUILD}RUN cargo build --release\nRUN cargo test --release\n{FINAL}",
        "several RUNs compile",
    ),
    "stripped later": (
        f"{BUILD}RUN cargo build --release\nRUN strip target/release/app\n{FINAL}",
        "may need target",
    ),
    "a stage on top": (
        f"{BUILD}RUN cargo build --release\nFROM build AS debug\nRUN ls target\n{FINAL}",
        "another stage starts from this one",
    ),
    "a stage below": (
        f"FROM rust:1.82 AS base\n{BUILD.replace('rust:1.82', 'base')}RUN cargo build --release\n{FINAL}",
        "starts from another one",
    ),
    "dependencies compiled before": (
        "FROM rust:1.82 AS build\nWORKDIR /src\nCOPY Cargo.toml Cargo.lock ./\n"
        "RUN mkdir src && echo 'fn main() {}' > src/main.rs && cargo build --release\n"
        f"COPY . .\nRUN cargo build --release\n{FINAL}",
        "several RUNs compile",
    ),
    "another folder for target": (
        f"{BUILD}ENV CARGO_TARGET_DIR=/t\nRUN cargo build --release\n{FINAL}",
        "CARGO_TARGET_DIR decides",
    ),
    "an option for target": (f"{BUILD}RUN cargo build --release --target-dir x\n{FINAL}", "in a way of its own"),
    "a program of the RUN before it": (
        f"{BUILD}RUN ./configure && cargo build --release\n{FINAL}",
        "runs before cargo",
    ),
    "something unknown behind it": (
        f"{BUILD}RUN cargo build --release && ./package.sh\n{FINAL}",
        "may leave something in target",
    ),
    "not a plain chain": (f"{BUILD}RUN cargo build --release || true\n{FINAL}", "not a plain chain"),
    "another folder": (f"{BUILD}RUN cd api && cargo build --release\n{FINAL}", "runs before cargo"),
    "sources beside the project": (
        GOOD.replace("COPY . .\n", "COPY . .\nCOPY src /shared\n"),
        "files outside of the project",
    ),
    "fetched sources": (
        GOOD.replace("COPY . .\n", "RUN curl -R https://example.org/model -o /model\nCOPY . .\n"),
        "whose time does not tell",
    ),
    "another user": (GOOD.replace("RUN cargo", "USER app\nRUN cargo"), "another user than root"),
    "a base that is given": (
        f"ARG BASE=rust:1.82\n{GOOD.replace('FROM rust:1.82', 'FROM $BASE')}",
        "the base must be written out",
    ),
    "no working folder": (GOOD.replace("WORKDIR /src\n", ""), "the folder that cargo runs in"),
    "nothing is taken": (f"{BUILD}RUN cargo build\nFROM debian\nCMD bash\n", "nothing takes a program out"),
    "taken twice": (
        f"{BUILD}RUN cargo build --release && cp target/release/app /app\n{FINAL}",
        "taken out of target in two ways",
    ),
    "all programs by a pattern": (
        f"{BUILD}RUN cargo build --release && cp target/release/* /out/\nFROM debian\nCOPY --from=build /out/app /\n",
        "is not known",
    ),
    "sources are mounted": (
        GOOD.replace("RUN cargo", "RUN --mount=type=bind,source=src,target=src cargo"),
        "their times cannot be set",
    ),
    "a heredoc": (f"{BUILD}RUN <<EOF\ncargo build --release\nEOF\n{FINAL}", "not one that can be added to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_left_alone_with_a_reason(name: str, project: Path) -> None:
    text, expected = REFUSED[name]
    assert expected in reason(text, project)


def test_without_a_context_it_is_left_alone() -> None:
    assert "give --context" in reason(GOOD, None)


def test_a_mount_that_is_there_stays_as_it_is(project: Path) -> None:
    for target in ("/src/target", "target", "/src"):
        text = GOOD.replace("RUN cargo", f"RUN --mount=type=cache,target={target} cargo")
        result = rewritten(text, project)
        assert not result.changes, target


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (".cargo/config.toml", '[build]\ntarget-dir = "out"\n', ".cargo/config.toml decides"),
        ("Cargo.lock", f'{LOCK}\n[[package]]\nname = "bindgen"\nversion = "0.69.4"\n', "bindgen reads headers"),
        ("Cargo.toml", "[package", "cannot both be read"),
        ("Cargo.toml", '[package]\nname = "app"\nworkspace = ".."\n', "the workspace of the project"),
    ],
)
def test_what_the_project_says_decides(project: Path, file: str, content: str, expected: str) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text(content)
    assert expected in reason(GOOD, project)


def test_a_project_without_a_lock_file_is_left_alone(project: Path) -> None:
    (project / "Cargo.lock").unlink()
    assert "cannot both be read" in reason(GOOD, project)
