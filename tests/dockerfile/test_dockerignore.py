"""What is proposed for a .dockerignore, and what has to stay in the context and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.passes import dockerignore
from buildopt.dockerfile.passes.result import PassResult
from buildopt.source import Source

FIXTURES = Path(__file__).parents[2] / "fixtures" / "passes" / "dockerignore"
CASES = sorted(path for path in FIXTURES.iterdir() if (path / "context").is_dir())

NODE = "FROM node:22\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\n"
SERVER = f'{NODE}CMD ["node", "server.js"]\n'
SITE = f"{NODE.replace('node:22', 'node:22 AS build')}RUN npm run build\n"
SITE += "FROM nginx\nCOPY --from=build /app/dist /usr/share/nginx/html\n"
RUST = "FROM rust:1 AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build --release\n"
RUST += 'FROM debian:12\nCOPY --from=build /src/target/release/app /app\nCMD ["/app"]\n'
GO = "FROM golang:1.22 AS build\nWORKDIR /src\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /app .\n"
GO += 'FROM scratch\nCOPY --from=build /app /app\nCMD ["/app"]\n'
PYTHON = "FROM python:3.12\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n"
PYTHON += 'CMD ["python", "app.py"]\n'
UV = "FROM python:3.12\nWORKDIR /app\nCOPY pyproject.toml uv.lock ./\nRUN uv sync --frozen\nCOPY . .\n"
UV += 'CMD ["/app/.venv/bin/python", "app.py"]\n'
PACKAGE = {"package.json": '{"scripts": {"build": "vite build"}}', "package-lock.json": "{}"}
CARGO = {"Cargo.toml": "[package]\n", "src/main.rs": "fn main() {}\n"}
GIT = {".git/HEAD": "ref: refs/heads/main\n"}


def proposed(tmp_path: Path, text: str, files: dict[str, str], name: str = "Dockerfile") -> PassResult:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / name).write_text(text)
    return dockerignore.rewrite(parse(Source.read(tmp_path / name)), tmp_path)


def patterns(result: PassResult) -> list[str]:
    """What the file that is proposed adds, comments left out."""
    added = [line for file in result.files for line in file.text[len(file.before or "") :].splitlines()]
    return [line for line in added if line and not line.startswith("#")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fixture(case: Path) -> None:
    dockerfile = parse(Source("Dockerfile", (case / "before.Dockerfile").read_text()))
    result = dockerignore.rewrite(dockerfile, case / "context")
    expected = case / "dockerignore.txt"
    assert [file.text for file in result.files] == ([expected.read_text()] if expected.exists() else [])


PROPOSED = {
    "what is installed and what nothing asks for": (SERVER, PACKAGE, ["node_modules", ".git"]),
    "modules that are there with a lockfile": (
        SERVER,
        {**PACKAGE, ".gitignore": "node_modules/\n", "node_modules/a/index.js": ""},
        ["node_modules", ".git"],
    ),
    "a build stage that is thrown away": (
        SITE,
        {**PACKAGE, **GIT, ".github/workflows/ci.yml": ""},
        ["node_modules", "dist", ".git", "Dockerfile", ".github"],
    ),
    "what the bundler empties": (
        SITE,
        {**PACKAGE, ".gitignore": "dist\n", "dist/old.js": ""},
        ["node_modules", "dist", ".git", "Dockerfile"],
    ),
    "modules of another stage": (
        "FROM node:22 AS deps\nWORKDIR /app\nCOPY package.json ./\nRUN npm ci\n"
        "FROM node:22\nWORKDIR /app\nCOPY --from=deps /app/node_modules ./node_modules\nCOPY . .\n"
        'CMD ["node", "s.js"]\n',
        {"package.json": "{}"},
        ["node_modules", ".git"],
    ),
    "modules of a folder": (
        'FROM node:22\nWORKDIR /srv\nCOPY . .\nWORKDIR /srv/web\nRUN npm ci\nCMD ["node", "s.js"]\n',
        {"web/package.json": "{}"},
        ["web/node_modules", ".git"],
    ),
    "a folder of the context alone": (
        'FROM node:22\nWORKDIR /srv\nCOPY web .\nRUN npm ci\nCMD ["node", "s.js"]\n',
        {"web/package.json": "{}"},
        ["web/node_modules"],
    ),
    "rust": (RUST, CARGO, ["target", ".git", "Dockerfile"]),
    "go stamps the commit": (GO, {"go.mod": "module a\n"}, ["Dockerfile"]),
    "go that does not": (
        GO.replace("go build", "go build -buildvcs=false"),
        {"go.mod": "module a\n", **GIT},
        [".git", "Dockerfile"],
    ),
    "python": (PYTHON, {"requirements.txt": ""}, [".git", "**/__pycache__", ".venv"]),
    "an environment that the build makes": (
        UV,
        {"pyproject.toml": "", "uv.lock": "", "tool.py": ""},
        [".venv", "**/__pycache__", ".git"],
    ),
}


@pytest.mark.parametrize("name", PROPOSED)
def test_what_is_proposed(name: str, tmp_path: Path) -> None:
    text, files, expected = PROPOSED[name]
    result = proposed(tmp_path, text, files)
    assert sorted(patterns(result)) == sorted(expected)
    assert not result.applied
    for file in result.files:
        file.path.write_text(file.text)
    assert not dockerignore.rewrite(parse(Source.read(tmp_path / "Dockerfile")), tmp_path).files


# Each of these would be left out without care: an image would change, or a build would fail.
KEPT = {
    "git asked by a RUN": (SITE.replace("npm run build", "git describe > v && npm run build"), PACKAGE, ".git"),
    "git asked by a Makefile": (
        RUST.replace("RUN cargo", "RUN make && cargo"),
        {**CARGO, "Makefile": "all:\n\tgit rev-parse HEAD > version\n"},
        ".git",
    ),
    "git asked by a build script": (RUST, {**CARGO, "build.rs": 'Command::new("git").arg("log")\n'}, ".git"),
    "git asked by a crate": (RUST, {**CARGO, "Cargo.toml": '[build-dependencies]\nvergen = "8"\n'}, ".git"),
    "git asked by setuptools_scm": (
        PYTHON,
        {"requirements.txt": "", "pyproject.toml": "[tool.setuptools_scm]\n"},
        ".git",
    ),
    "git asked at run time": (PYTHON, {"requirements.txt": "", "app.py": "open('.git/HEAD')\n"}, ".git"),
    "git asked by Composer": (
        'FROM php:8\nWORKDIR /app\nCOPY . .\nRUN composer install\nCMD ["php", "a.php"]\n',
        {"composer.json": "{}"},
        ".git",
    ),
    "git asked by .NET": (
        "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nWORKDIR /a\nCOPY . .\nRUN dotnet publish -o /out\n"
        'FROM mcr.microsoft.com/dotnet/aspnet:8.0\nCOPY --from=b /out /out\nENTRYPOINT ["dotnet", "/out/a.dll"]\n',
        GIT,
        ".git",
    ),
    "git asked by make through go": (
        "FROM golang:1.22 AS b\nCOPY . .\nRUN make\nFROM scratch\nCOPY --from=b /go/app /\n",
        {"go.mod": "module a\n", "Makefile": "all:\n\t$(GO) build -o app .\n"},
        ".git",
    ),
    "a version of the history": (PYTHON.replace("RUN pip", "RUN SETUPTOOLS_SCM_PRETEND_VERSION= pip"), {}, ".git"),
    "git asked by poetry's backend": (
        PYTHON.replace("-r requirements.txt", "."),
        {"pyproject.toml": '[build-system]\nbuild-backend = "poetry.core.masonry.api"\n'},
        ".git",
    ),
    "the Dockerfile in a crate that embeds itself": (
        RUST,
        {**CARGO, "src/a.rs": '#[derive(RustEmbed)]\n#[folder = "."]\nstruct A;\n'},
        "Dockerfile",
    ),
    "git in the image now": (SERVER, {**PACKAGE, **GIT}, ".git"),
    "an image to work in": (f"{NODE}CMD bash\n", PACKAGE, ".git"),
    "a program that nobody knows": (SITE.replace("npm run build", "hugo && npm run build"), PACKAGE, ".git"),
    "modules that nothing installs": ('FROM node:22\nCOPY . .\nCMD ["node", "s.js"]\n', PACKAGE, "node_modules"),
    "modules of the sources": (
        SERVER,
        {**PACKAGE, "node_modules/own/index.js": ""},
        "node_modules",
    ),
    "modules without a lockfile": (
        SERVER.replace("npm ci", "npm install"),
        {"package.json": "{}", ".gitignore": "node_modules\n", "node_modules/a.js": ""},
        "node_modules",
    ),
    "modules for a stage that does not install": (
        f"FROM node:22 AS test\nWORKDIR /app\nCOPY . .\nRUN npm test\n{SERVER}",
        PACKAGE,
        "node_modules",
    ),
    "modules that are named": (f"{NODE}COPY node_modules/own ./own\n", PACKAGE, "node_modules"),
    "modules that a wildcard may name": (f"{NODE}COPY node_mod* ./own/\n", PACKAGE, "node_modules"),
    "modules behind a variable": (
        f"ARG X\n{NODE.replace('COPY . .', 'ARG X')}COPY $X .\nCOPY . .\n",
        PACKAGE,
        "node_modules",
    ),
    "an output that is copied": (
        SITE + "COPY dist/robots.txt /usr/share/nginx/html/\n",
        PACKAGE,
        "dist",
    ),
    "an output that no RUN makes": (SERVER, PACKAGE, "dist"),
    "an output of a CI job that Maven finds": (
        'FROM eclipse-temurin:21\nCOPY . .\nCMD ["java", "-jar", "target/a.jar"]\n',
        {"pom.xml": "<project/>"},
        "target",
    ),
    "an output of the sources": (RUST, {**CARGO, "target/kept": ""}, "target"),
    "an output of this machine that gets into the image": (
        RUST,
        {**CARGO, ".gitignore": "/target\n", "target/release/app": ""},
        "target",
    ),
    "the Dockerfile in the image": (SERVER, PACKAGE, "Dockerfile"),
    "the Dockerfile in a folder that is copied out": (
        SITE.replace("/app/dist /usr/share", "/app /usr/share"),
        PACKAGE,
        "Dockerfile",
    ),
    "the Dockerfile moved into what is copied out": (
        SITE.replace("npm run build", "npm run build && cp -r . dist/src"),
        PACKAGE,
        "Dockerfile",
    ),
    "the Dockerfile embedded": (
        GO,
        {"go.mod": "module a\n", "main.go": "//go:embed *\nvar files embed.FS\n"},
        "Dockerfile",
    ),
    "the Dockerfile embedded by name": (
        GO,
        {"go.mod": "module a\n", "main.go": "//go:embed Dockerfile\nvar text string\n"},
        "Dockerfile",
    ),
    "the Dockerfile of a target": (SITE.replace("FROM nginx", "FROM build AS t"), PACKAGE, "Dockerfile"),
    "the Dockerfile packed by a script": (
        SITE,
        {**PACKAGE, "package.json": '{"scripts": {"build": "vite build && tar cf dist/src.tar ."}}'},
        "Dockerfile",
    ),
    "compiled Python in the image": (PYTHON, {"__pycache__/a.pyc": "", "a.py": ""}, "**/__pycache__"),
    "an environment that nothing makes": (
        'FROM python:3.12\nWORKDIR /app\nCOPY . .\nCMD [".venv/bin/python", "app.py"]\n',
        {"requirements.txt": ""},
        ".venv",
    ),
    "an environment file": (SERVER, {**PACKAGE, ".env": "A=1\n"}, ".env"),
    "what another Dockerfile copies": (SITE, {**PACKAGE, "Dockerfile.ci": "FROM nginx\nCOPY dist /srv\n"}, "dist"),
    "what another Dockerfile does not install": (
        SERVER,
        {**PACKAGE, "ci/app.Dockerfile": 'FROM node:22\nCOPY . .\nCMD ["node", "s.js"]\n'},
        "node_modules",
    ),
    "what another Dockerfile may name": (SERVER, {**PACKAGE, "Dockerfile.x": "FROM a\nARG X\nCOPY $X .\n"}, ".git"),
    "what a template of a Dockerfile may name": (SERVER, {**PACKAGE, "Dockerfile.j2": "{{ base }}\nCOPY"}, ".git"),
    "what Compose builds inline": (
        SERVER,
        {**PACKAGE, "compose.yaml": "services:\n  a:\n    build:\n      dockerfile_inline: FROM scratch\n"},
        "node_modules",
    ),
    "what an ignore file takes back": (SERVER, {**PACKAGE, ".dockerignore": "*.log\n!.git/HEAD\n"}, ".git"),
    "what a mount shows": (
        f"{SITE}RUN --mount=type=bind,source=dist,target=/d cp -r /d /e\n",
        PACKAGE,
        "dist",
    ),
    "a base that copies by itself": (SERVER.replace("node:22", "node:8-onbuild"), PACKAGE, "node_modules"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(name: str, tmp_path: Path) -> None:
    text, files, kept = KEPT[name]
    assert kept not in patterns(proposed(tmp_path, text, files))


def test_why_something_stays_is_said_where_it_is_there(tmp_path: Path) -> None:
    files = {**PACKAGE, **GIT, ".gitignore": "node_modules\n", "node_modules/a.js": ""}
    result = proposed(tmp_path, SERVER.replace("npm ci", "npm ci && git rev-parse HEAD"), files)
    assert [(item.line, item.reason) for item in result.refused] == [
        (5, ".git stays in the context: `git rev-parse` is run")
    ]


def test_an_ignore_file_is_added_to_in_its_own_style(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes(b"*.log\r\nnode_modules")
    result = proposed(tmp_path, SERVER, PACKAGE)
    assert [(file.path.name, file.text) for file in result.files] == [
        (".dockerignore", "*.log\r\nnode_modules\r\n.git\r\n")
    ]


def test_the_ignore_file_of_one_dockerfile_wins(tmp_path: Path) -> None:
    (tmp_path / "api.Dockerfile.dockerignore").write_text(".git\n")
    (tmp_path / ".dockerignore").write_text("node_modules\n")
    other = {"Dockerfile": "FROM nginx\nCOPY node_modules /m\n"}
    result = proposed(tmp_path, SERVER, {**PACKAGE, **other}, "api.Dockerfile")
    assert [(file.path.name, file.text) for file in result.files] == [
        ("api.Dockerfile.dockerignore", ".git\nnode_modules\n")
    ]


def test_an_ignore_file_that_docker_refuses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("[\n")
    result = proposed(tmp_path, SERVER, PACKAGE)
    assert not result.files
    assert "Docker would refuse it" in result.refused[0].reason


def test_files_about_dockerfiles_are_none(tmp_path: Path) -> None:
    files = {**PACKAGE, "Dockerfile.md": "# how to\n", "src/dockerfile.go": "package a\n", "dockerfile-parser.ts": ""}
    assert patterns(proposed(tmp_path, SERVER, files)) == ["node_modules", ".git"]


def test_named_copies_need_nothing(tmp_path: Path) -> None:
    text = 'FROM node:22\nCOPY package.json server.js ./\nRUN npm install\nCMD ["node", "server.js"]\n'
    assert proposed(tmp_path, text, PACKAGE) == PassResult()


def test_without_a_context_nothing_is_known() -> None:
    result = optimize(Source("Dockerfile", SERVER), only=("dockerignore",))
    assert not result.files
    assert result.refusals[0].reason == "what lies in the context is not known: give --context"
