"""A build context holds whatever people put there: nothing of it stops a rewrite, or makes it wait."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildopt.dockerfile.files import json_value, read_data, read_text
from buildopt.dockerfile.optimize import optimize
from buildopt.source import Source

_SECONDS = 60


@pytest.fixture(autouse=True)
def _never_for_ever() -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError("a file of the context was waited for")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\r\nb\rc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert read_text(tmp_path / "text") == "a\nb\nc"
    for name in ("pipe", "loop", ".", "missing", "no\0name"):
        with pytest.raises(OSError):
            read_data(tmp_path / name)
    with pytest.raises(OSError, match="no regular file"):
        read_data(Path("/dev/zero"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_bytes(b"{" * 11)
    assert read_data(tmp_path / "package.json", 11) == b"{" * 11
    with pytest.raises(OSError, match="too large"):
        read_data(tmp_path / "package.json", 10)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "{", ""])
def test_json_that_is_none_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|delimiter|Expecting"):
        json_value(text)
    assert json_value("[1, null]") == [1, None]


_NODE = {"package.json": '{"name":"a","scripts":{"build":"tsc"},"dependencies":{"b":"1"}}', "index.js": ""}
_LOCK = '{"name":"a","lockfileVersion":3,"packages":{"":{"name":"a","dependencies":{"b":"1"}}}}'
_PROJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "npm": ("FROM node:20\nWORKDIR /a\nCOPY . .\nRUN npm install\n", {**_NODE, "package-lock.json": _LOCK}),
    "pnpm": (
        "FROM node:20\nWORKDIR /a\nCOPY . .\nRUN pnpm install\n",
        {**_NODE, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "pnpm-workspace.yaml": "packages: [a]\n"},
    ),
    "bun": ("FROM oven/bun\nWORKDIR /a\nCOPY . .\nRUN bun install\n", {**_NODE, "bun.lock": "{}"}),
    "composer": (
        "FROM php:8\nWORKDIR /a\nCOPY . .\nRUN composer install\n",
        {"composer.json": '{"require":{}}', "composer.lock": '{"packages":[]}'},
    ),
    "poetry": (
        "FROM python:3.12\nWORKDIR /a\nCOPY . .\nRUN poetry install\n",
        {"pyproject.toml": "[project]\nname='a'\n", "poetry.lock": ""},
    ),
    "uv": (
        "FROM python:3.12\nWORKDIR /a\nCOPY . .\nRUN uv sync\n",
        {"pyproject.toml": "[project]\nname='a'\n", "uv.lock": "version = 1\n"},
    ),
    "cargo": (
        'FROM rust:1\nWORKDIR /a\nCOPY . .\nRUN cargo build --release\nCMD ["./target/release/a"]\n',
        {"Cargo.toml": '[package]\nname="a"\n', "Cargo.lock": "", "src/main.rs": "fn main(){}"},
    ),
    "maven": (
        'FROM maven:3\nWORKDIR /a\nCOPY . .\nRUN mvn package\nCMD ["java","-jar","target/a-1.jar"]\n',
        {"pom.xml": "<project><artifactId>a</artifactId><version>1</version></project>"},
    ),
    "pip": (
        "FROM python:3.12\nWORKDIR /a\nCOPY . .\nRUN pip install -r requirements.txt\n",
        {"requirements.txt": "flask==3.0\n"},
    ),
    "dotnet": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0\nWORKDIR /a\nCOPY . .\nRUN dotnet publish -o out\n"
        'ENTRYPOINT ["dotnet","out/a.dll"]\n',
        {"a.csproj": '<Project Sdk="Microsoft.NET.Sdk.Web"/>', "Program.cs": ""},
    ),
    "go": (
        'FROM golang:1\nWORKDIR /a\nCOPY . .\nRUN go build -o /a/a .\nCMD ["/a/a"]\n',
        {"go.mod": "module a\n", "main.go": "package main\n"},
    ),
}
_LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>{}]><project><artifactId>&a9;</artifactId></project>".format(
    "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
)
_ALIASES = "a0: &a0 [x]\n{}specifiers: {{b: *a11}}\npackages: *a11\npatchedDependencies: {{b: *a11}}\n".format(
    "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\0\xe9" * 100)


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


_HOSTILE: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "socket": _socket,
    "link to itself": lambda path: path.symlink_to(path.name),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "nested lists": _text("[" * 200_000),
    "nested objects": _text('{"a":' * 100_000),
    "nested TOML": _text("a = " + "[" * 100_000),
    "entities": _text(_LAUGHS),
    "aliases": _text(_ALIASES),
    "open comments": _text("<!--" * 100_000),
    "spaces": _text(" " * 400_000 + "x"),
    "null": _text("null"),
    "bytes": _bytes,
}


@pytest.mark.parametrize("project", _PROJECTS)
@pytest.mark.parametrize("hostile", _HOSTILE)
def test_no_file_of_a_project_stops_a_rewrite(tmp_path: Path, project: str, hostile: str) -> None:
    text, files = _PROJECTS[project]
    for name in files:
        context = tmp_path / name.replace("/", "-")
        for other, content in files.items():
            place = context / other
            place.parent.mkdir(parents=True, exist_ok=True)
            if other == name:
                _HOSTILE[hostile](place)
            else:
                place.write_text(content)
        (context / "Dockerfile").write_text(text)
        optimize(Source.read(context / "Dockerfile"), context, also=("cross_compile", "slim_runtime"))


_WRONG: tuple[object, ...] = (None, True, 7, "x", [1, None, {}, "x"], [[["x"]]], {"a": {"b": [1]}, "1": None})
_KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    "npm": {"package-lock.json": ("lockfileVersion", "name", "packages", "dependencies")},
    "bun": {"bun.lock": ("workspaces", "lockfileVersion")},
    "composer": {
        "composer.lock": ("packages", "packages-dev"),
        "composer.json": ("require", "extra", "scripts", "config", "autoload", "repositories"),
    },
}


@pytest.mark.parametrize("wrong", _WRONG, ids=str)
@pytest.mark.parametrize("project", _KEYS)
def test_values_of_a_wrong_type_stop_no_rewrite(tmp_path: Path, project: str, wrong: object) -> None:
    text, files = _PROJECTS[project]
    (tmp_path / "Dockerfile").write_text(text)
    for name, keys in _KEYS[project].items():
        for key in keys:
            for other, content in files.items():
                (tmp_path / other).write_text(content)
            (tmp_path / name).write_text(json.dumps({**json.loads(files[name]), key: wrong}))
            optimize(Source.read(tmp_path / "Dockerfile"), tmp_path)


@pytest.mark.parametrize(
    "toml",
    ["tool = 7", "tool = [7]", "tool.uv = 7", "project = 7", "project.dynamic = 7", "project.dependencies = [7]"],
)
@pytest.mark.parametrize("project", ["poetry", "uv"])
def test_tables_that_are_none_stop_no_rewrite(tmp_path: Path, project: str, toml: str) -> None:
    text, files = _PROJECTS[project]
    (tmp_path / "Dockerfile").write_text(text)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "pyproject.toml").write_text(f"{toml}\n")
    for lock in ("version = 1", "package = 7", "package = [7]", '[[package]]\nsource = {virtual="."}\nmetadata = 7'):
        (tmp_path / "uv.lock").write_text(f"{lock}\n")
        optimize(Source.read(tmp_path / "Dockerfile"), tmp_path)


def test_a_dockerfile_that_links_to_itself_is_no_other_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM node:20\nWORKDIR /a\nCOPY . .\nRUN npm install\n")
    (tmp_path / "package.json").write_text(_NODE["package.json"])
    (tmp_path / "Dockerfile.dev").symlink_to("Dockerfile.dev")
    optimize(Source.read(tmp_path / "Dockerfile"), tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else for a while")
def test_a_folder_that_may_not_be_looked_into_stops_no_rewrite(tmp_path: Path) -> None:
    text = "FROM node:20\nWORKDIR /a\nCOPY . .\nRUN yarn install\n"
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0)
    (tmp_path / "package.json").write_text(_NODE["package.json"])
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    optimize(Source("Dockerfile", text), tmp_path)  # what is imported late, root imports
    os.seteuid(65534)
    try:
        assert not os.access(tmp_path / "locked", os.X_OK, effective_ids=True)
        optimize(Source("Dockerfile", text), tmp_path)
    finally:
        os.seteuid(0)
