"""All passes together, and the command."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from buildopt.cli import main
from buildopt.dockerfile.optimize import optimize
from buildopt.source import Source

PLAIN = "FROM python:3.12\nRUN pip install --no-cache-dir x\n"
PROJECT = Path(__file__).parents[2] / "buildopt" / "sandbox" / "project"


def reasons(text: str) -> list[str]:
    result = optimize(Source("Dockerfile", text))
    assert result.source.text == text
    return [refusal.reason for refusal in result.refusals]


@pytest.mark.parametrize("syntax", ["1", "1.2", "1.7-labs", "latest"])
def test_frontends_with_mounts(syntax: str) -> None:
    assert optimize(Source("Dockerfile", f"# syntax=docker/dockerfile:{syntax}\n{PLAIN}")).changes


@pytest.mark.parametrize("syntax", ["docker/dockerfile:1.0", "docker/dockerfile:1.1.7", "example.com/frontend:2"])
def test_other_frontends_are_left_alone(syntax: str) -> None:
    assert syntax in reasons(f"# syntax={syntax}\n{PLAIN}")[0]


@pytest.mark.parametrize(
    "text",
    ["FROM {{ base }}\nRUN pip install x\n", "FROM a\n{% if x %}\nRUN b\n", "FROM @BASE_IMAGE@\nRUN pip install x\n"],
)
def test_templates_are_left_alone(text: str) -> None:
    assert "template" in reasons(text)[0]


def test_quoted_braces_are_no_template() -> None:
    assert optimize(Source("Dockerfile", PLAIN + "RUN docker inspect -f '{{.Id}} {{ .X }}' y\n")).changes


def test_windows_is_left_alone() -> None:
    assert reasons("FROM mcr.microsoft.com/windows/servercore:ltsc2022\nRUN pip install x\n") == [
        "Windows images have no cache mounts"
    ]
    assert reasons("FROM --platform=windows/amd64 a\nRUN pip install x\n") == ["Windows images have no cache mounts"]
    assert reasons("# escape=`\nFROM ${BASE}\nRUN pip install x\n") == ["Windows images have no cache mounts"]
    assert reasons("ARG BASE\nFROM ${BASE}\nRUN pip install x\n") != ["Windows images have no cache mounts"]


def test_no_syntax_line_is_added_and_one_that_is_there_stays() -> None:
    assert "syntax" not in optimize(Source("Dockerfile", PLAIN)).source.text
    text = f"# syntax=docker/dockerfile:1\n{PLAIN}"
    assert optimize(Source("Dockerfile", text)).source.text.startswith("# syntax=docker/dockerfile:1\n")


def test_broken_files_are_broken() -> None:
    result = optimize(Source("Dockerfile", "FORM x\n"))
    assert result.broken
    assert result.source.text == "FORM x\n"


def test_the_sandbox_project_is_split_and_cached_and_lines_are_those_of_the_file() -> None:
    source = Source.read(PROJECT / "Dockerfile")
    result = optimize(source, PROJECT)
    assert [change.name for change in result.changes] == ["split_stages", "cross_compile", "cache_mounts"]
    split, crossed, mounts = result.changes
    assert source.text.splitlines()[split.lines[0] - 1].startswith("FROM golang")
    assert source.text.splitlines()[crossed.lines[0] - 1].startswith("FROM golang")
    assert source.text.splitlines()[mounts.lines[0] - 1].startswith("RUN go build")
    assert not optimize(result.source, PROJECT).changes


def test_only_and_skip() -> None:
    source = Source.read(PROJECT / "Dockerfile")
    assert {item.name for item in optimize(source, PROJECT, only=("cache_mounts",)).changes} == {"cache_mounts"}
    others = optimize(source, PROJECT, skip=("cache_mounts",)).changes
    assert {item.name for item in others} == {"split_stages", "cross_compile"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text(PLAIN)
    return tmp_path


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_command_prints_a_diff_and_reasons(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["optimize"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"--- a/Dockerfile\n+++ b/Dockerfile\n")
    assert b"line 2: cache mounts for pip" in err
    assert (folder / "Dockerfile").read_text() == PLAIN


def test_command_check_write_and_output(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["optimize", "--check"]) == 1
    assert (folder / "Dockerfile").read_text() == PLAIN
    assert main(["optimize", "-o", "New"]) == 0
    assert (folder / "Dockerfile").read_text() == PLAIN
    assert main(["optimize", "-w"]) == 0
    assert (folder / "Dockerfile").read_text() == (folder / "New").read_text() != PLAIN
    assert main(["optimize", "--check"]) == 0


def test_command_as_a_filter(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["optimize", "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == optimize(Source("Dockerfile", PLAIN)).source.to_bytes()
    assert b"cache mounts for pip" in err
    for data, code in [(b"FROM a\r\nRUN echo \xff\r\n", 0), (b"FORM a\n", 1), (b"", 1)]:
        feed(monkeypatch, data)
        assert main(["optimize", "-o", "-", "-"]) == code
        assert capfdbinary.readouterr().out == data


def test_command_json(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "Dockerfile").write_text(f"{PLAIN}RUN apt-get install -y x\n")
    assert main(["optimize", "--format", "json"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert document["version"] == 1
    assert document["changed"] is True
    assert [(item["pass"], item["lines"]) for item in document["applied"]] == [("cache_mounts", [2, 2])]
    assert [(item["pass"], item["line"]) for item in document["refused"]] == [("cache_mounts", 3)]
    assert set(document["applied"][0]) == {"pass", "title", "why", "lines"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "-", "--format", "json"],
        ["-w", "-o", "x"],
        ["--check", "-w"],
        ["-w", "-"],
        ["--context", "nowhere"],
        ["--only", "cache_mount"],
        ["nowhere"],
    ],
)
def test_command_usage_errors(folder: Path, arguments: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["optimize", *arguments]) == 2
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert b"hint: " in err


def test_command_names_passes_in_either_spelling(folder: Path) -> None:
    assert main(["optimize", "--check", "--only", "cache-mounts"]) == 1
    assert main(["optimize", "--check", "--skip", "cache_mounts"]) == 0


def test_sources_go_below_an_install_whose_stage_no_longer_ships(tmp_path: Path) -> None:
    package = {"name": "a", "dependencies": {"express": "4"}, "devDependencies": {"typescript": "5"}}
    lock = {
        "lockfileVersion": 3,
        "packages": {
            "": package,
            "node_modules/express": {"version": "4.0.0"},
            "node_modules/typescript": {"version": "5.0.0", "dev": True},
        },
    }
    (tmp_path / "package.json").write_text(json.dumps({**package, "scripts": {"build": "tsc"}}))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    (tmp_path / "tsconfig.json").write_text('{"compilerOptions": {"outDir": "dist", "rootDir": "src"}}')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.ts").write_text("import express from 'express';\n")
    text = (
        "FROM node:18\nWORKDIR /app\nCOPY . .\nRUN npm ci && npm run build && rm -f .npmrc && npm prune --omit=dev\n"
        'CMD ["node", "dist/main.js"]\n'
    )
    result = optimize(Source("Dockerfile", text), tmp_path)
    assert [change.name for change in result.changes] == ["split_stages", "order_layers", "cache_mounts"]
    assert (
        "package-lock.json ./\nRUN --mount=type=cache,target=/root/.npm \\\n    npm ci\nCOPY . .\n"
        in result.source.text
    )
    assert not [refusal for refusal in result.refusals if refusal.name == "order_layers"]
    assert optimize(result.source, tmp_path).source.text == result.source.text
