"""Every pass on its fixture folders, on adversarial files that it must refuse, and on generated ones."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildopt.dockerfile.optimize import PASSES, Optimized, optimize
from buildopt.dockerfile.parse import parse
from buildopt.source import Source

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures" / "passes"
CASES = sorted(path for path in FIXTURES.glob("*/*") if path.is_dir())
REPOSITORY = [ROOT / "fixtures", ROOT / "buildopt", ROOT / "dockerfiles"]
FILES = sorted(path for folder in REPOSITORY for path in folder.rglob("*Dockerfile*") if path.is_file())


def run(text: str, context: Path | None = None, only: str = "") -> Optimized:
    return optimize(Source("Dockerfile", text), context, only=(only,) if only else ())


def read(path: Path) -> str:
    return Source.read(path).text


def assert_buildkit_reads(text: str) -> None:
    oracle = pytest.importorskip("dockerfile")
    assert oracle.parse_string(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_fixture(case: Path) -> None:
    context = case / "context"
    name = case.parent.name
    result = run(read(case / "before.Dockerfile"), context if context.is_dir() else None, name)
    assert result.source.text == read(case / "after.Dockerfile")
    reasons = "".join(f"{refusal.line}: {refusal.reason}\n" for refusal in result.refusals)
    refused = case / "refused.txt"
    assert reasons == (refused.read_text() if refused.exists() else "")
    assert bool(result.changes) == (read(case / "before.Dockerfile") != read(case / "after.Dockerfile"))
    assert_buildkit_reads(result.source.text)
    again = optimize(result.source, context if context.is_dir() else None)
    assert not [change for change in again.changes if change.name == name]


def test_every_pass_has_fixtures_and_a_documentation() -> None:
    for name in (item.NAME for item in PASSES):
        assert [case for case in CASES if case.parent.name == name]
        document = importlib.import_module(f"buildopt.dockerfile.passes.{name}").__doc__ or ""
        for heading in ("What it does", "Why", "Example", "Use instead", "References"):
            assert f"\n{heading}\n{'-' * len(heading)}\n" in document


@pytest.mark.parametrize("name", [item.NAME for item in PASSES])
def test_the_documented_example_becomes_what_the_documentation_says(name: str, tmp_path: Path) -> None:

    (tmp_path / "go.mod").write_text("module example.com/app\n\ngo 1.22\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n")
    (tmp_path / "requirements.txt").write_text("flask\n")
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "app"\n')
    (tmp_path / "Cargo.lock").write_text("version = 3\n")
    document = importlib.import_module(f"buildopt.dockerfile.passes.{name}").__doc__ or ""
    parts = document.split("\n::\n")[1:]
    before, after = (textwrap.dedent(re.split("\n(?:Use|Ref)", part)[0]).strip() + "\n" for part in parts)
    assert run(before, tmp_path, name).source.text == after


# Each hides something from a reader, or is written into before, or is not understood: the reason must say so.
HIDDEN = {
    "lists copied to another stage": (
        "FROM debian:12 AS a\nRUN apt-get update && apt-get install -y x\n"
        "FROM debian:12\nCOPY --from=a /var/lib/apt/lists /var/lib/apt/lists\n",
        "takes /var/lib/apt/lists along",
    ),
    "update in one RUN, install in another": (
        "FROM debian:12\nRUN apt-get update\nRUN apt-get install -y x\n",
        "relies on lists of another RUN",
    ),
    "install without update later": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x\nRUN apt-get install -y y\n",
        "relies on lists of another RUN",
    ),
    "install in a stage on top": (
        "FROM debian:12 AS a\nRUN apt-get update && apt-get install -y x\nFROM a\nRUN apt-get install -y y\n",
        "relies on lists of another RUN",
    ),
    "update only when install fails": (
        "FROM debian:12\nRUN apt-get install -y x || (apt-get update && apt-get install -y x)\n",
        "relies on lists of another RUN",
    ),
    "packages copied out of the cache": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && cp /var/cache/apt/archives/*.deb /debs/\n",
        "reaches into /var/cache/apt",
    ),
    "packages for later": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y --download-only x\n"
        "RUN dpkg -i /var/cache/apt/archives/*\n",
        "meant to stay in the image",
    ),
    "the container installs": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x\nENTRYPOINT apt-get install -y $MORE\n",
        "runs apt in the container",
    ),
    "an entrypoint that nobody can read": (
        'FROM debian:12\nRUN apt-get update && apt-get install -y x\nENTRYPOINT ["/start.sh"]\n',
        "/start.sh is started",
    ),
    "a script later": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x\nRUN ./install-more.sh\n",
        "./install-more.sh may need /var/lib/apt/lists",
    ),
    "an unknown program later": (
        "FROM ros:humble\nRUN apt-get update && apt-get install -y x\nRUN rosdep install --from-paths src -y\n",
        "may need /var/lib/apt/lists",
    ),
    "a script from somewhere": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y curl && curl https://x.example/y | bash\n",
        "nobody here can read it",
    ),
    "the mount point itself removed": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt\n",
        "reaches into /var/lib/apt/lists",
    ),
    "a brace above the mount point": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && rm -rf /var/lib/{apt,dpkg}\n",
        "which would be a mount",
    ),
    "a glob above the mount point": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && rm -rf /var/cache/*\n",
        "reaches into /var/cache/apt",
    ),
    "a clean-up in a condition": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && if true; then rm -rf /var/lib/apt/lists/*; fi\n",
        "stands inside if",
    ),
    "a clean-up that hides a failure": (
        "FROM debian:12\nRUN apt-get update; apt-get install -y x; rm -rf /var/lib/apt/lists/*\n",
        "decides whether this RUN succeeds",
    ),
    "a clean-up that hides a test that fails": (
        "FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; [ -f /a ] && b; "
        "rm -rf /var/lib/apt/lists/*\n",
        "set -e overlooks",
    ),
    "a clean-up that hides a loop's last test": (
        "FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; for f in a; do [ -f $f ] && b; done; "
        "rm -rf /var/lib/apt/lists/*\n",
        "set -e overlooks",
    ),
    "a clean-up behind a negation": (
        "FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; ! which gcc; rm -rf /var/lib/apt/lists/*\n",
        "set -e overlooks",
    ),
    "a clean-up behind set +e": (
        "FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; set +e; a; rm -rf /var/lib/apt/lists/*\n",
        "there is no set -e",
    ),
    "a clean-up on a condition": (
        'FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; [ -n "$X" ] && apt-get clean; b\n',
        "set -e would stop",
    ),
    "clean-ups of which the last one always runs": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && apt-get clean; "
        "rm -rf /var/lib/apt/lists/* && b\n",
        "cannot lose it",
    ),
    "lists of a folder in a variable": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x && rm -rf $ROOT/var/lib/apt/lists/*\n",
        "cannot be told",
    ),
    "a home folder made in the same RUN": (
        "FROM python:3.12\nENV HOME=/home/app\nRUN useradd -m app && pip install x\n",
        "makes a user",
    ),
    "a cache moved by another RUN": (
        "FROM node:20\nRUN npm config set cache /c --global\nRUN npm ci && npm cache clean --force\n",
        "npm config moves the cache",
    ),
    "pip's cache moved by another RUN": (
        "FROM python:3.12\nRUN python -m pip config set global.cache-dir /c\nRUN pip install x && pip cache purge\n",
        "pip config moves the cache",
    ),
    "apt's folders moved by an option": (
        "FROM debian:12\nRUN apt-get update && apt-get -o Dir::Cache=/c install -y x\n",
        "puts its folders elsewhere",
    ),
    "a cache that an earlier RUN filled": (
        "FROM python:3.12\nRUN tar -xf /wheels.tar -C /root/.cache/pip\nRUN pip install x\n",
        "may write into /root/.cache/pip",
    ),
    "a quoted script later": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x\nRUN sh -c 'echo a; ./more.sh'\n",
        "./more.sh may need /var/lib/apt/lists",
    ),
    "an unread script later": (
        'FROM debian:12\nRUN apt-get update && apt-get install -y x\nRUN sh -c "$MORE"\n',
        "/var/lib/apt/lists",
    ),
    "a negation behind a clean-up": (
        "FROM debian:12\nRUN apt-get update && apt-get install -y x; apt-get clean && ! which gcc\n",
        "cannot lose it",
    ),
    "a heredoc without set -e": (
        "FROM debian:12\nRUN <<EOF\napt-get update\napt-get install -y x\nrm -rf /var/lib/apt/lists/*\nEOF\n",
        "decides whether this RUN succeeds",
    ),
    "sudo": ("FROM debian:12\nUSER app\nRUN sudo apt-get update && sudo apt-get install -y x\n", "through sudo"),
    "pip's cache copied": (
        "FROM python:3.12 AS a\nRUN pip wheel -r r.txt\nFROM python:3.12\nCOPY --from=a /root/.cache /root/.cache\n",
        "takes /root/.cache/pip along",
    ),
    "the whole home copied": (
        "FROM python:3.12 AS a\nRUN pip install x\nFROM python:3.12\nCOPY --from=a /root/ /root/\n",
        "takes /root/.cache/pip along",
    ),
    "the whole stage copied": (
        "FROM python:3.12 AS a\nRUN pip install x\nFROM scratch\nCOPY --from=a / /\n",
        "takes /root/.cache/pip along",
    ),
    "a stage named by a variable": (
        "ARG S=a\nFROM python:3.12 AS a\nRUN pip install x\nFROM scratch\nCOPY --from=$S /root/.cache/pip /c\n",
        "takes /root/.cache/pip along",
    ),
    "a cache that was copied in": (
        "FROM python:3.12\nCOPY wheels /root/.cache/pip\nRUN pip install x\n",
        "may write into /root/.cache/pip",
    ),
    "a cache shown by a bind mount": (
        "FROM python:3.12 AS a\nRUN pip install x\nFROM python:3.12\n"
        "RUN --mount=from=a,source=/root,target=/other cp -r /other/.cache /c\n",
        "a mount from a shows",
    ),
    "no network": (
        "FROM python:3.12\nRUN pip download x\nRUN --network=none pip install x\n",
        "only use what is in the image",
    ),
    "the folder above removed": (
        "FROM python:3.12\nRUN pip install x && playwright install && rm -rf ~/.cache\n",
        "which would be a mount",
    ),
    "the home given away": ("FROM python:3.12\nRUN pip install x && chown -R 1000 /root\n", "which would be a mount"),
    "HOME set in the RUN": ("FROM python:3.12\nRUN HOME=/x pip install x\n", "sets HOME itself"),
    "HOME by an argument": ("FROM python:3.12\nARG HOME\nRUN pip install x\n", "is not known"),
    "PIP_NO_CACHE_DIR=0": ("FROM python:3.12\nENV PIP_NO_CACHE_DIR=0\nRUN pip install x\n", "PIP_NO_CACHE_DIR is set"),
    "an unknown user": ("FROM python:3.12\nUSER app\nRUN pip install x\n", "uid and home folder of user app"),
    "an unknown base": ("FROM acme/python\nRUN pip install x\n", "uid and home folder of the user of acme/python"),
    "a base that sets HOME": (
        "FROM jupyter/base-notebook\nUSER root\nRUN pip install x\n",
        "the home folder of user root is not known",
    ),
    "another user by gosu": ("FROM python:3.12\nRUN gosu app pip install x\n", "another user"),
    "an unknown shell": ('FROM python:3.12\nSHELL ["pwsh", "-c"]\nRUN pip install x\n', "its shell is not known"),
    "npm's cache copied by RUN": (
        "FROM node:20\nRUN npm ci\nRUN cp -r /root/.npm /offline\n",
        "reads /root/.npm",
    ),
    "npm --offline": ("FROM node:20\nRUN npm ci\nRUN npm ci --offline\n", "--offline"),
    "npx in the container": ("FROM node:20\nRUN npm ci && npx serve -v\nCMD npx serve\n", "runs npm in the container"),
    "go run in the container": (
        'FROM golang:1.22\nWORKDIR /a\nRUN go mod download\nCMD ["go", "run", "."]\n',
        "not known to be a built program",
    ),
    "an image for working with Go": ("FROM golang:1.22\nWORKDIR /a\nRUN go mod download\n", "a person may run go"),
    "modules copied": (
        "FROM golang:1.22 AS a\nWORKDIR /a\nRUN go mod download\nFROM golang:1.22\nCOPY --from=a /go /go\n",
        "takes /go/pkg/mod along",
    ),
    "a script that may run go": (
        "FROM golang:1.22 AS a\nWORKDIR /a\nRUN go mod download\nRUN ./build.sh\nFROM scratch\nCOPY --from=a /a/x /x\n",
        "./build.sh may need /go/pkg/mod",
    ),
    "GOPROXY=off": (
        "FROM golang:1.22 AS a\nWORKDIR /a\nRUN go mod download\nRUN GOPROXY=off go build -o /x .\n"
        "FROM scratch\nCOPY --from=a /x /x\n",
        "GOPROXY=off",
    ),
    "something else mounted there": (
        "FROM python:3.12\nRUN --mount=type=tmpfs,target=/root/.cache pip install x\n",
        "something else is mounted",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_content_is_refused(name: str) -> None:
    text, reason = HIDDEN[name]
    result = run(text, only="cache_mounts")
    assert result.source.text == text
    assert any(reason in refusal.reason for refusal in result.refusals), result.refusals


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a; apt-get clean && rm -rf /var/lib/apt/lists/*", "a"),
        ("a; apt-get clean; rm -rf /var/lib/apt/lists/*;", "a;"),
        ("a | b; rm -rf /var/lib/apt/lists/*", "a | b"),
        ('[ -z "$a" ] || b; rm -rf /var/lib/apt/lists/*', '[ -z "$a" ] || b'),
        ("if a && b; then c; fi; rm -rf /var/lib/apt/lists/*", "if a && b; then c; fi"),
        ("a; apt-get clean && rm -rf /var/lib/apt/lists/* && b", "a; b"),
        ("a && apt-get clean && rm -rf /var/lib/apt/lists/* || true", "a || true"),
        # What only looks like apt's folders is the image's own content.
        ("rm -rf /rootfs/var/lib/apt/lists/* /var/lib/apt/lists/* /b", "rm -rf /rootfs/var/lib/apt/lists/* /b"),
        ("rm -rf /var/lib/apt/periodic /var/lib/apt/lists/*", "rm -rf /var/lib/apt/periodic"),
    ],
)
def test_clean_ups_go_and_nothing_else(before: str, after: str) -> None:
    start = "FROM debian:12\nRUN set -e; apt-get update; apt-get install -y x; "
    text = run(f"{start}{before}\n", only="cache_mounts").source.text
    assert text.endswith(f"set -e; apt-get update; apt-get install -y x; {after}\n")
    assert_buildkit_reads(text)


def test_the_cache_of_another_user_is_still_removed() -> None:
    text = run("FROM node:20\nRUN npm ci && rm -rf /home/node/.npm/ /root/.npm/*\n", only="cache_mounts").source.text
    assert text.endswith("npm ci && rm -rf /home/node/.npm/\n")


def test_a_quoted_script_is_read() -> None:
    text = "FROM debian:12\nRUN apt-get update && apt-get install -y x\nRUN sh -c 'echo deb > /etc/apt/sources.list'\n"
    assert run(text, only="cache_mounts").changes


def test_an_entrypoint_in_the_context_is_read(tmp_path: Path) -> None:
    text = 'FROM debian:12\nRUN apt-get update && apt-get install -y x\nENTRYPOINT ["/start.sh"]\n'
    (tmp_path / "start.sh").write_text('#!/bin/sh\nexec "$@"\n')
    assert run(text, tmp_path).changes
    (tmp_path / "start.sh").write_text("#!/bin/sh\napt-get install -y $MORE\n")
    assert not run(text, tmp_path).changes


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_any_file_of_the_repository_is_taken(path: Path) -> None:
    for context in (None, path.parent):
        result = optimize(Source.read(path), context)
        if result.broken:
            assert result.source.text == read(path)
            continue
        assert not parse(result.source).errors
        assert not optimize(result.source, context).changes


BLOCKS = st.sampled_from(
    [
        "RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*\n",
        "RUN apt-get update && \\\n    # why\n    apt-get install -y git && \\\n    apt-get clean\n",
        "RUN set -e; apt-get update; apt-get install -y x; rm -rf /var/lib/apt/lists/* /tmp/*\n",
        "RUN apt-get update\n",
        "RUN apt-get install -y x\n",
        "RUN apt-get clean && rm -rf /var/lib/apt/lists/*\n",
        "RUN pip install --no-cache-dir -r requirements.txt\n",
        "RUN pip install x \\\n  --no-cache-dir \\\n\n  y && rm -rf ~/.cache/pip\n",
        "RUN npm ci && npm cache clean --force\n",
        "RUN npm cache clean --force && npm ci\n",
        "RUN go mod download\n",
        "RUN go build -o /app . && go clean -cache -modcache\n",
        "RUN make\n",
        "RUN <<EOF\nset -e\napt-get update\napt-get install -y x\nrm -rf /var/lib/apt/lists/*\nEOF\n",
        'RUN ["apt-get", "update"]\n',
        "RUN bash -c 'pip install --no-cache-dir x && rm -rf /root/.cache/pip'\n",
        "RUN --mount=type=cache,target=/root/.cache pip install --no-cache-dir x\n",
        "USER node\n",
        "USER root\n",
        "ENV HOME=/x\n",
        "ARG A=1\n",
        "# comment\n",
        "WORKDIR /app\n",
        "COPY . .\n",
        "COPY --from=0 /go/bin/x /x\n",
        "FROM ubuntu:22.04\n",
        "FROM node:20 AS web\n",
        "FROM golang:1.22-alpine AS b\n",
        "FROM 0\n",
        'CMD ["/app"]\n',
        "ENTRYPOINT /app\n",
        "ONBUILD RUN npm ci\n",
        'SHELL ["/bin/bash", "-eo", "pipefail", "-c"]\n',
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["golang:1.22", "python:3.12-slim", "node:20", "acme/base"]), st.lists(BLOCKS, max_size=9))
def test_generated_files(base: str, blocks: list[str]) -> None:
    text = f"FROM {base}\n{''.join(blocks)}"
    result = run(text, ROOT / "buildopt" / "sandbox" / "project")
    if result.broken:
        assert result.source.text == text
        return
    assert_buildkit_reads(result.source.text)
    again = run(result.source.text, ROOT / "buildopt" / "sandbox" / "project")
    assert not again.changes
    only_mounts = run(text, only="cache_mounts")
    before = [(item.keyword, item.values) for item in parse(Source("", text)).instructions if item.keyword != "RUN"]
    after = [(item.keyword, item.values) for item in parse(only_mounts.source).instructions if item.keyword != "RUN"]
    assert before == after
