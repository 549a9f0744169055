"""Which base of the last stage has a smaller variant that is enough, and which has not, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.passes.slim_images import variant
from buildopt.dockerfile.passes.slim_packages import requirement_problem
from buildopt.source import Source

PYTHON = "FROM python:3.12\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n"
PYTHON += 'CMD ["gunicorn", "app:app"]\n'
NODE = 'FROM node:22\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nCMD ["node", "server.js"]\n'
RUBY = 'FROM ruby:3.3\nWORKDIR /app\nCOPY . .\nRUN bundle install\nCMD ["ruby", "app.rb"]\n'
DEBIAN = 'FROM debian:bookworm\nRUN apt-get update && apt-get install -y curl\nCMD ["curl", "-V"]\n'
JAVA = "FROM maven:3-eclipse-temurin-17 AS b\nCOPY . .\nRUN mvn package\n"
JAVA += 'FROM eclipse-temurin:17\nCOPY --from=b /target/a.jar /a.jar\nENTRYPOINT ["java", "-jar", "/a.jar"]\n'
DOTNET = "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS b\nWORKDIR /s\nCOPY . .\nRUN dotnet publish -o /out\n"
DOTNET += "FROM mcr.microsoft.com/dotnet/sdk:8.0\nENV ASPNETCORE_URLS=http://+:80\nCOPY --from=b /out /app\n"
DOTNET += 'ENTRYPOINT ["dotnet", "/app/a.dll"]\n'
FLASK = {"requirements.txt": "Flask==3.0.0\ngunicorn\n", "app.py": "import flask\n"}
SERVER = {"package.json": "{}", "package-lock.json": '{"packages": {}}', "server.js": "require('http')\n"}
SINATRA = {
    "Gemfile": "",
    "Gemfile.lock": "GEM\n  specs:\n    rack (3.0)\n    sinatra (4.0)\n",
    "app.rb": "require 'sinatra'\n",
}
SOURCES = {"src/A.java": "class A {}\n"}


def run(tmp_path: Path, text: str, files: dict[str, str] | None = None) -> Optimized:
    for path, content in (files or {}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return optimize(Source("Dockerfile", text), tmp_path, only=("slim_runtime",))


def lock(**packages: object) -> dict[str, str]:
    """A Node project that depends on these packages."""
    names = {name.replace("__", "/").replace("_", "-"): entry for name, entry in packages.items()}
    manifest = {"dependencies": dict.fromkeys(names, "1")}
    found = {"packages": {"": manifest} | {f"node_modules/{name}": entry for name, entry in names.items()}}
    return {**SERVER, "package.json": json.dumps(manifest), "package-lock.json": json.dumps(found)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("python:3.12", "3.12-slim"),
        ("python:3.12.1-bookworm", "3.12.1-slim-bookworm"),
        ("python", "slim"),
        ("node:22", "22-slim"),
        ("node:22-bookworm", "22-bookworm-slim"),
        ("node:lts", "lts-slim"),
        ("ruby:3.3-bookworm", "3.3-slim-bookworm"),
        ("debian:bookworm", "bookworm-slim"),
        ("debian:12.5", "12.5-slim"),
        ("debian:bookworm-20240211", "bookworm-20240211-slim"),
        ("eclipse-temurin:17", "17-jre"),
        ("eclipse-temurin:17-jdk-jammy", "17-jre-jammy"),
        ("eclipse-temurin:21.0.4_7-jdk-noble", "21.0.4_7-jre-noble"),
        ("eclipse-temurin:8u392-b08-jdk", "8u392-b08-jre"),
        ("openjdk:11-jdk-slim", "11-jre-slim"),
        ("public.ecr.aws/docker/library/python:3.12", "3.12-slim"),
        *(
            (name, None)
            for name in (
                *(
                    "python:3.12-slim",
                    "python:3.12-alpine",
                    "python:3.12-rc",
                    "python:onbuild",
                    "node:22-alpine",
                    "ubuntu",
                ),
                *(
                    "debian",
                    "debian:buster",
                    "debian:10.1",
                    "debian:bookworm-slim",
                    "eclipse-temurin:17-jre",
                    "eclipse-temurin:16",
                    "openjdk:17",
                    "php:8",
                ),
                *(
                    "acme/python:3.12",
                    "mcr.microsoft.com/dotnet/sdk:8.0-alpine",
                    "mcr.microsoft.com/dotnet/sdk:8.0.100",
                ),
            )
        ),
    ],
)
def test_variants(before: str, after: str | None) -> None:
    found = variant(image(before))
    assert (None if found is None else found.tag) == after


CHANGED = {
    "python": (PYTHON, FLASK, "FROM python:3.12-slim\n"),
    "python without packages": (
        'FROM python:3.12\nCOPY app.py /\nCMD ["python", "/app.py"]\n',
        {"app.py": "print()"},
        "FROM python:3.12-slim\n",
    ),
    "python with wheels": (
        PYTHON,
        {**FLASK, "requirements.txt": "fastapi==0.110.0\nuvicorn[standard]>=0.20\npsycopg2-binary\n# why\n"},
        "FROM python:3.12-slim\n",
    ),
    "a health check with what is installed": (
        PYTHON.replace("COPY . .", "RUN apt-get install -y curl\nHEALTHCHECK CMD curl -f http://x\nCOPY . ."),
        FLASK,
        "FROM python:3.12-slim\n",
    ),
    "an entrypoint": (
        PYTHON.replace('CMD ["gunicorn", "app:app"]', 'ENTRYPOINT ["/app/start.sh"]'),
        {**FLASK, "start.sh": '#!/bin/sh\nset -e\npython manage.py migrate\nexec "$@"\n'},
        "FROM python:3.12-slim\n",
    ),
    "node": (NODE, lock(express={}, esbuild={"hasInstallScript": True}), "FROM node:22-slim\n"),
    "node with a build": (
        NODE.replace("COPY . .", "COPY . .\nRUN npm run build"),
        {**lock(vite={}), "package.json": '{"scripts": {"build": "tsc && vite build"}}'},
        "FROM node:22-slim\n",
    ),
    "ruby": (RUBY, SINATRA, "FROM ruby:3.3-slim\n"),
    "debian": (DEBIAN, {}, "FROM debian:bookworm-slim\n"),
    "java": (JAVA, SOURCES, "FROM eclipse-temurin:17-jre\n"),
    "java with curl": (JAVA + "HEALTHCHECK CMD curl -f http://localhost\n", SOURCES, "FROM eclipse-temurin:17-jre\n"),
    "dotnet": (DOTNET, {"a.cs": "class A {}"}, "FROM mcr.microsoft.com/dotnet/aspnet:8.0\n"),
    "a mirror": (
        DEBIAN.replace("debian:", "mirror.gcr.io/library/debian:"),
        {},
        "FROM mirror.gcr.io/library/debian:bookworm-slim\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_enough(name: str, tmp_path: Path) -> None:
    text, files, expected = CHANGED[name]
    result = run(tmp_path, text, files)
    assert expected in result.source.text, result.refusals
    assert not run(tmp_path, result.source.text, files).changes


KEPT = {
    "a digest": (DEBIAN.replace("bookworm", f"bookworm@sha256:{'0' * 64}"), {}, "the digest is that of the full image"),
    "a variable": (f"ARG V=3.12\n{PYTHON.replace('3.12', '${V}')}", FLASK, "depends on a variable"),
    "a compiler": ('FROM golang:1.22\nCOPY . .\nCMD ["go", "run", "."]\n', {}, "is made for compiling Go"),
    "git": (PYTHON.replace("COPY . .", "RUN git clone https://x\nCOPY . ."), FLASK, "`git` may be missing"),
    "curl": (PYTHON.replace("COPY . .", "RUN curl -O https://x\nCOPY . ."), FLASK, "`curl` may be missing"),
    "a health check": (f"{PYTHON}HEALTHCHECK CMD curl -f http://localhost\n", FLASK, "`curl` may be missing"),
    "a health check in exec form": (f'{PYTHON}HEALTHCHECK CMD ["wget", "-q", "x"]\n', FLASK, "`wget` may be missing"),
    "make": (PYTHON.replace("COPY . .", "COPY . .\nRUN make"), FLASK, "`make` may be missing"),
    "adduser of an unknown release": (PYTHON.replace("COPY . .", "RUN adduser a\nCOPY . ."), FLASK, "`adduser` may be"),
    "a package that is compiled": (PYTHON, {**FLASK, "requirements.txt": "mysqlclient\n"}, "mysqlclient may have"),
    "an old release of a package": (PYTHON, {**FLASK, "requirements.txt": "numpy==1.19.5\n"}, "this release of numpy"),
    "an old Python": (PYTHON.replace("3.12", "3.6"), {**FLASK, "requirements.txt": "numpy\n"}, "no wheel for this"),
    "a requirement by address": (PYTHON, {**FLASK, "requirements.txt": "git+https://x/y\n"}, "not a plain requirement"),
    "other requirements": (PYTHON, {**FLASK, "requirements.txt": "-r base.txt\n"}, "not a plain requirement"),
    "an extra": (PYTHON, {**FLASK, "requirements.txt": "celery[librabbitmq]\n"}, "celery[librabbitmq]"),
    "the project itself": (PYTHON.replace("-r requirements.txt", "."), FLASK, "not a plain requirement"),
    "sources demanded": (PYTHON.replace("install -r", "install --no-binary :all: -r"), FLASK, "--no-binary"),
    "requirements of nowhere": (PYTHON, {"app.py": ""}, "requirements.txt is not in the context"),
    "programs started": (PYTHON, {**FLASK, "app.py": "import subprocess\n"}, "app.py speaks of subprocess"),
    "tkinter": (PYTHON, {**FLASK, "app.py": "import tkinter\n"}, "app.py speaks of tkinter"),
    "a library": (PYTHON, {**FLASK, "lib/a.so": ""}, "lib/a.so may need libraries"),
    "types of files": (PYTHON, {**FLASK, "static/a.woff2": ""}, "/etc/mime.types"),
    "translations compiled": (
        PYTHON.replace("COPY . .", "COPY . .\nRUN python manage.py compilemessages"),
        FLASK,
        "needs gettext",
    ),
    "a module that is not known": (PYTHON.replace("COPY . .", "RUN python -m nltk.x\nCOPY . ."), FLASK, "not known"),
    "poetry": (PYTHON.replace("pip install -r requirements.txt", "poetry install"), FLASK, "`poetry` may be missing"),
    "a package with manual pages": (
        PYTHON.replace("COPY . .", "RUN apt-get install -y default-jre-headless\nCOPY . ."),
        FLASK,
        "folders of manual pages",
    ),
    "an entrypoint that needs more": (
        PYTHON.replace('CMD ["gunicorn", "app:app"]', 'ENTRYPOINT ["./start.sh"]'),
        {**FLASK, "start.sh": "#!/bin/sh\nuntil nc -z db 5432; do sleep 1; done\n"},
        "start.sh runs `nc`",
    ),
    "an entrypoint of nowhere": (
        PYTHON.replace('CMD ["gunicorn", "app:app"]', 'ENTRYPOINT ["/wait-for-it.sh"]'),
        FLASK,
        "`wait-for-it.sh` may be missing",
    ),
    "a shell": (PYTHON.replace('CMD ["gunicorn", "app:app"]', 'CMD ["bash"]'), FLASK, "`bash` is started"),
    "a container waits": (PYTHON.replace('"gunicorn", "app:app"', '"tail", "-f", "/dev/null"'), FLASK, "`tail` is"),
    "an interpreter": (PYTHON.replace('"gunicorn", "app:app"', '"python"'), FLASK, "`python` is started"),
    "packages by a variable": (DEBIAN.replace("-y curl", "-y $MORE"), {}, "folders of manual pages"),
    "packages of a file": (DEBIAN.replace("-y curl", "-y curl && dpkg -i /a.deb"), {}, "folders of manual pages"),
    "nothing started": (PYTHON.replace('CMD ["gunicorn", "app:app"]\n', ""), FLASK, "nothing says what the image runs"),
    "a build of another stage": (
        "FROM python:3.12 AS b\nRUN pip install --prefix=/i lxml\n"
        'FROM python:3.12\nCOPY --from=b /i /usr/local\nCMD ["python", "a.py"]\n',
        FLASK,
        "what comes from b may need libraries",
    ),
    "a program of another image": (
        PYTHON.replace("COPY . .", "COPY --from=busybox /bin/busybox /bin/\nCOPY . ."),
        FLASK,
        "what comes from busybox",
    ),
    "a download": (PYTHON.replace("COPY . .", "ADD https://x/y /y\nCOPY . ."), FLASK, "what it downloads"),
    "ONBUILD": (PYTHON.replace("COPY . .", "ONBUILD RUN make\nCOPY . ."), FLASK, "ONBUILD"),
    "time zones": (NODE.replace("COPY . .", "RUN ln -s /usr/share/zoneinfo/UTC /x\nCOPY . ."), SERVER, "/zoneinfo"),
    "no lockfile": (NODE, {"package.json": '{"dependencies": {"a": "1"}}', "server.js": ""}, "no package-lock.json"),
    "an old lockfile": (NODE, {**SERVER, "package-lock.json": "{}"}, "too old"),
    "a native module": (NODE, lock(bcrypt={"hasInstallScript": True}), "bcrypt needs libraries"),
    "an unknown install script": (NODE, lock(own={"hasInstallScript": True}), "own may be compiled"),
    "a module for one platform": (NODE, lock(own_linux={"cpu": ["x64"]}), "is made for one platform"),
    "prisma": (NODE, lock(prisma={}), "prisma needs libraries"),
    "a module from git": (NODE, lock(own={"resolved": "git+ssh://x"}), "does not come from a registry"),
    "yarn": (NODE.replace("npm ci", "yarn install"), SERVER, "lockfile of yarn"),
    "global modules": (NODE.replace("npm ci", "npm install -g pm2"), SERVER, "what `npm install` needs"),
    "node programs started": (NODE, {**SERVER, "server.js": "require('child_process')"}, "speaks of child_process"),
    "a script that needs more": (
        NODE.replace('["node", "server.js"]', '["npm", "start"]'),
        {**SERVER, "package.json": '{"scripts": {"start": "git pull && node ."}}'},
        "the script start",
    ),
    "a compiled gem": (RUBY, {**SINATRA, "Gemfile.lock": "GEM\n  specs:\n    puma (6.0)\n"}, "puma may be compiled"),
    "documentation": (DEBIAN.replace("curl\n", "curl && cp /usr/share/doc/curl/copyright /\n"), {}, "/usr/share/doc"),
    "a language": (DEBIAN.replace("CMD", "ENV LANG=de_DE.UTF-8\nCMD"), {}, "translations"),
    "Java on Debian": (DEBIAN.replace("-y curl", "-y openjdk-17-jre"), {}, "folders of manual pages"),
    "a JDK tool": (JAVA + 'HEALTHCHECK CMD jcmd 1 VM.version\n', SOURCES, "`jcmd` is a tool of the JDK"),
    "Java built here": (JAVA.replace("COPY --from", "RUN ./mvnw package\nCOPY --from"), SOURCES, "`mvnw` is a tool"),
    "Java built here on another base": (
        'FROM openjdk:8\nCOPY . .\nRUN ./mvnw package\nENTRYPOINT ["java", "-jar", "/target/a.jar"]\n',
        {**SOURCES, "mvnw": "#!/bin/sh\nexec java\n"},
        "`mvnw` is a tool",
    ),
    "a script that needs the JDK": (
        JAVA.replace('"java", "-jar", "/a.jar"', '"./start.sh"').replace("ENTRYPOINT", "COPY start.sh .\nENTRYPOINT"),
        {**SOURCES, "start.sh": "#!/bin/sh\njcmd 1 help\nexec java -jar /a.jar\n"},
        "start.sh runs `jcmd`",
    ),
    "Java classes": (JAVA.replace('"-jar", "/a.jar"', '"-cp", "/a.jar", "a.Main"'), SOURCES, "only `java -jar`"),
    "sources that compile": (JAVA, {"A.java": "javax.tools.ToolProvider"}, "speaks of javax.tools"),
    "no sources": (JAVA, {}, "no sources that tell"),
    "a server": (JAVA.replace('"java", "-jar", "/a.jar"', '"catalina.sh", "run"'), SOURCES, "only `java -jar`"),
    "another port": (
        DOTNET.replace("ENV ASPNETCORE_URLS=http://+:80\n", ""),
        {"a.cs": ""},
        "listen on another port",
    ),
    "another port of an old release": (
        DOTNET.replace("8.0", "6.0").replace("URLS=http://+:80", "HTTP_PORTS=80"),
        {"a.cs": ""},
        "set ASPNETCORE_URLS first",
    ),
    "certificates in the JDK": (
        JAVA.replace("ENTRYPOINT", "RUN keytool -import -keystore $JAVA_HOME/jre/lib/security/cacerts\nENTRYPOINT"),
        SOURCES,
        "folders of a JRE",
    ),
    "dotnet run": (DOTNET.replace('"dotnet", "/app/a.dll"', '"dotnet", "run"'), {"a.cs": ""}, "not a published"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not(name: str, tmp_path: Path) -> None:
    text, files, reason = KEPT[name]
    result = run(tmp_path, text, files)
    assert result.source.text == text
    assert any(reason in refusal.reason for refusal in result.refusals), result.refusals


@pytest.mark.parametrize("line", ["", "# a comment", "Flask==2.0 ; python_version > '3'", "six==1 --hash=sha256:0 \\"])
def test_requirements_that_need_nothing(line: str) -> None:
    assert requirement_problem(line, 12) == ""


STATIC = (
    "FROM node:22 AS build\nWORKDIR /app\nCOPY . .\nRUN npm ci && npm run build\nFROM node:22\n"
    "RUN npm install -g http-server@14.1.1\nCOPY --from=build /app/dist /dist\n"
    'CMD ["http-server", "/dist"]\n'
)
COMPILES = {"build.js": "require('child_process').exec('git')\n", **lock(esbuild={"hasInstallScript": True})}


def test_a_server_of_files_runs_nothing_of_the_project(tmp_path: Path) -> None:
    result = run(tmp_path, STATIC, COMPILES)
    assert "FROM node:22-slim\n" in result.source.text, result.refusals


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http-server", "serve"),  # has a program for the clipboard that needs libraries of X
        ("-g http-server@14.1.1", "-g http-server sharp"),
        ("-g http-server@14.1.1", "-g http-server@github:a/b"),
        ("-g http-server@14.1.1", "-g --registry=https://example.org http-server"),
        ("npm install -g http-server@14.1.1", "npm install -g http-server && node build.js"),
        ("/app/dist /dist", "/app/node_modules /dist"),
        ('CMD ["http-server", "/dist"]', "CMD http-server /dist & node build.js"),
        ('CMD ["http-server", "/dist"]', 'CMD ["http-server", "/dist"]\nHEALTHCHECK CMD node build.js'),
    ],
)
def test_anything_else_does(old: str, new: str, tmp_path: Path) -> None:
    text = STATIC.replace(old, new)
    result = run(tmp_path, text, COMPILES)
    assert result.source.text == text
    assert result.refusals


def test_it_runs_only_where_it_is_asked_for(tmp_path: Path) -> None:
    source = Source("Dockerfile", DEBIAN)
    assert "slim" not in optimize(source, tmp_path).source.text
    assert "bookworm-slim" in optimize(source, tmp_path, also=("slim_runtime",)).source.text


def test_only_the_last_stage_changes(tmp_path: Path) -> None:
    text = f"FROM debian:bookworm AS a\nRUN true\n{DEBIAN}"
    assert run(tmp_path, text).source.text == text.replace("bookworm\nRUN apt", "bookworm-slim\nRUN apt")


def test_a_stage_upon_another_is_no_business_of_it(tmp_path: Path) -> None:
    text = 'FROM debian:bookworm AS a\nRUN true\nFROM a\nCMD ["true"]\n'
    result = run(tmp_path, text)
    assert result.source.text == text
    assert not result.refusals


def test_sources_need_a_context() -> None:
    result = optimize(Source("Dockerfile", PYTHON), only=("slim_runtime",))
    assert "give --context" in result.refusals[0].reason
