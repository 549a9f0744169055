"""Fixes in places that were chosen to break them; where it is about a shell, a real one decides."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.dockerfile.parse import parse
from buildopt.settings import LintSettings
from buildopt.source import Source


def fixed(name: str, text: str, *, unsafe: bool = False) -> str:
    return fix(Source("Dockerfile", text), LintSettings(select=(name,)), unsafe=unsafe).source.text


def found(name: str, text: str) -> int:
    return len(lint(Source("Dockerfile", text), LintSettings(select=(name,))))


def run(text: str, folder: Path) -> tuple[bool, str]:
    """Whether the last RUN of a file succeeds where every program but `ko` does, and what it says."""
    if not (folder / "ok").exists():
        for name, status in (("ok", 0), ("ko", 1), ("apt-get", 0), ("rm", 0), ("npm", 0)):
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*"\nexit {status}\n')
            (folder / name).chmod(0o755)
    dockerfile = parse(Source("Dockerfile", text))
    script = dockerfile.instructions[-1].script(dockerfile.source)
    assert script is not None
    result = subprocess.run(
        ["/bin/sh", "-c", script.text], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )
    lines = [line for line in result.stdout.splitlines() if not line.startswith("rm ")]
    return result.returncode == 0, "\n".join(lines)


@pytest.mark.parametrize(
    "script",
    [
        "set -e; apt-get update; for p in a b; do ko $p; ok; done",
        "set -e; apt-get update; (ko; ok)",
        "set -ex; apt-get update; { ko; ok; }",
        "set -o errexit; apt-get update; if ok; then ko; ok; fi",
        "set -e; build() { ko; ok; }; apt-get update; build",
        "set -e; apt-get update; { ko; ok; } | ok",
        "set -e; apt-get update; eval 'ko; ok'",
        "set -e; apt-get update; ok",
        "set -e; apt-get update; ko",
        "apt-get update; for p in a b; do ko; ok; done",
        "apt-get update && ko && ok",
    ],
)
@pytest.mark.parametrize("kind", ["RUN {}\n", "RUN <<E\n{}\nE\n"])
def test_a_clean_up_behind_it_hides_no_failure(script: str, kind: str, tmp_path: Path) -> None:
    before = "FROM debian:12\n" + kind.format(script)
    after = fixed("apt-lists-left", before)
    assert run(after, tmp_path) == run(before, tmp_path)


def test_a_list_at_the_end_of_a_heredoc_takes_the_clean_up_along(tmp_path: Path) -> None:
    before = "FROM debian:12\nRUN <<E\nset -e\napt-get update && ok\nE\n"
    after = fixed("apt-lists-left", before)
    assert "apt-get update && ok && rm -rf /var/lib/apt/lists/*\nE\n" in after
    failing = before.replace("update && ok", "update && ko && ok")
    assert not run(failing, tmp_path)[0] and not run(fixed("apt-lists-left", failing), tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("apt-lists-left", "FROM a\nSHELL ['x']\nRUN apt-get update; { a; b; }\n".replace("'", '"'), "no shell"),
        ("apt-lists-left", 'FROM a\nSHELL ["bash", "-ec"]\nRUN apt-get update; { a; b; }\n', "-e in SHELL"),
        ("apt-lists-left", "FROM a\nUSER b\nRUN sudo sh -c 'apt-get update && x'\n", "root inside only"),
        ("apt-lists-left", "FROM a\nUSER b\nRUN su -c 'apt-get update' root\n", "root inside only"),
        ("apt-lists-left", "FROM a\nRUN sudo -u b apt-get update\n", "another user"),
        ("apt-lists-left", "FROM a\nRUN <<E\nset -e\nset +e\napt-get update\nE\n", "set +e"),
        ("npm-cache-left-in-image", "FROM a\nRUN npm ci && apk del npm\n", "npm is gone"),
        ("npm-cache-left-in-image", "FROM a\nRUN npm ci && apk del .build\n", "npm may be gone"),
        ("npm-cache-left-in-image", "FROM a\nRUN npm ci && rm -rf /usr/local/lib/node_modules/npm\n", "npm is gone"),
        ("npm-cache-left-in-image", "FROM a\nRUN npm ci && npm uninstall -g npm\n", "npm is gone"),
        ("npm-cache-left-in-image", "FROM a\nRUN gosu app npm ci\n", "another user's cache"),
        ("npm-cache-left-in-image", "FROM a\nRUN sudo -u app npm ci\n", "another user's cache"),
        ("npm-cache-left-in-image", "FROM a\nRUN HOME=/tmp npm ci\n", "another home's cache"),
        ("npm-cache-left-in-image", "FROM a\nRUN /opt/node/bin/npm ci\n", "npm may not be on the PATH"),
        ("dnf-cache-left-in-image", "FROM a\nRUN dnf install -y x && dnf remove -y dnf\n", "dnf is gone"),
        ("cd-instead-of-workdir", "FROM a\nRUN cd /x && a & b\nWORKDIR /y\n", "b runs elsewhere"),
        ("apk-cache-left-in-image", "FROM a\nRUN apk update && ! x\n", "the ! would go"),
        ("apk-cache-left-in-image", "FROM a\nRUN x && apk update; y\n", "y would depend on x"),
    ],
)
def test_what_must_be_left_alone(name: str, text: str, why: str) -> None:
    assert fixed(name, text, unsafe=True) == text, why


@pytest.mark.parametrize("reader", ["apk search x", "apk policy x", "apk list"])
def test_apk_update_stays_where_the_run_reads_the_index(reader: str) -> None:
    text = f"FROM alpine:3\nRUN apk update && {reader} && apk add y\n"
    assert fixed("apk-cache-left-in-image", text, unsafe=True) == text.replace("apk add", "apk add --no-cache")


def test_apk_no_cache_is_unsafe_where_the_index_is_read_later() -> None:
    text = "FROM alpine:3\nRUN apk add -U y\nRUN apk search x\n"
    assert fixed("apk-cache-left-in-image", text) == text


def test_the_clean_up_survives_the_removal_of_something_else() -> None:
    text = "FROM fedora:40\nRUN dnf install -y gcc && make && dnf remove -y gcc\n"
    assert fixed("dnf-cache-left-in-image", text).endswith("dnf remove -y gcc && dnf clean all\n")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("missing-apt-yes", "yes | (apt-get update && apt-get install x)"),
        ("missing-apt-yes", "yes | sh -c 'apt-get update && apt-get install x'"),
        ("missing-apt-yes", "OPTIONS='-q -y' && apt-get install $OPTIONS x"),
        ("missing-dnf-yes", "yes | { dnf makecache; dnf install x; }"),
        ("missing-zypper-non-interactive", "yes | { zypper ref; zypper in x; }"),
        ("wget-without-quiet-progress", "busybox wget http://example.com/x"),
        ("wget-without-quiet-progress", "wget $WGET_OPTS http://example.com/x"),
        ("unpinned-go-tool", "git clone https://x/y && cd y && go install example.com/a/b"),
    ],
)
def test_no_finding(name: str, script: str) -> None:
    assert found(name, f"FROM debian:12\nRUN {script}\n") == 0


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("wget-without-quiet-progress", "wget ${MIRROR}/a.tgz"),
        ("wget-without-quiet-progress", 'wget "$URL"'),
        ("wget-without-quiet-progress", "wget $URL"),
        ("unpinned-go-tool", "apt-get install -y git unzip && go get example.com/a/b"),
    ],
)
def test_a_finding(name: str, script: str) -> None:
    assert found(name, f"FROM debian:12\nRUN {script}\n") == 1


def test_what_silences_a_rule_goes_only_when_asked() -> None:
    text = "# hadolint ignore=DL3006\nFROM debian\n"
    assert fixed("inline-ignore-comment", text) == text
    assert fixed("inline-ignore-comment", text, unsafe=True) == "FROM debian\n"


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("pip-cache-left-in-image", "RUN pip install a && cp -r /root/.cache/pip /x"),
        ("pip-cache-left-in-image", "RUN pip install a\nRUN cp -r ~/.cache /x"),
        ("pip-cache-left-in-image", "RUN --mount=type=bind,from=b,target=/root/.cache/pip pip install a"),
        ("apk-cache-left-in-image", "RUN apk add a && cp -r /var/cache/apk /x"),
        ("apk-cache-left-in-image", "RUN apk update && apk add a && ls /var/cache/apk/APKINDEX*"),
        ("dnf-cache-left-in-image", "RUN dnf install -y a\nRUN rpm -i /var/cache/dnf/*/x.rpm"),
        ("npm-cache-left-in-image", "RUN npm ci\nRUN tar c /root/.npm > /x"),
    ],
)
def test_a_cache_that_somebody_reads_goes_only_when_asked(name: str, runs: str) -> None:
    text = f"FROM debian:12\n{runs}\n"
    assert fixed(name, text) == text
    assert fixed(name, text, unsafe=True) != text


def test_an_argument_answers_apt_get() -> None:
    assert found("missing-apt-yes", 'FROM debian:12\nARG FLAGS="-y -q"\nRUN apt-get install $FLAGS x\n') == 0
    assert found("missing-apt-yes", 'FROM debian:12\nARG NAMES="x y"\nRUN apt-get install $NAMES\n') == 1


def test_a_maintainer_of_two_quoted_names_keeps_its_quotes() -> None:
    after = fixed("deprecated-maintainer", 'FROM a\nMAINTAINER "a" and "b"\n')
    assert after.endswith('="\\"a\\" and \\"b\\""\n')


@pytest.mark.parametrize("rest", ["cd /x && y", "exit 3 || y", "set -e; y", "export A=b; y", "umask 077 && y"])
def test_sudo_before_what_the_shell_itself_does(rest: str) -> None:
    text = f"FROM debian:12\nUSER root\nRUN sudo {rest}\n"
    assert fixed("sudo-in-run", text, unsafe=True) == text


def test_sudo_before_a_function() -> None:
    text = "FROM debian:12\nUSER root\nRUN build() { make; }; sudo build || true\n"
    assert fixed("sudo-in-run", text, unsafe=True) == text


@pytest.mark.parametrize("before", ["ARG VERSION=1\nRUN ", "RUN export A=b && ", "RUN . /env && "])
def test_sudo_that_hides_variables_goes_only_when_asked(before: str) -> None:
    text = f"FROM debian:12\nUSER root\n{before}sudo make\n"
    assert fixed("sudo-in-run", text) == text
    assert fixed("sudo-in-run", text, unsafe=True) == text.replace("sudo ", "")


@pytest.mark.parametrize("name", ["rootfs.img", "layer.bin", "app.pkg", "site.bak"])
def test_files_that_may_be_archives_are_not_copied_unasked(name: str) -> None:
    text = f"FROM a\nADD {name} /srv/\n"
    assert fixed("add-instead-of-copy", text) == text
    assert fixed("add-instead-of-copy", text, unsafe=True) == text.replace("ADD", "COPY")


@pytest.mark.parametrize("directive", ["syntax=docker/dockerfile:1", "escape=`", "check=skip=all"])
def test_no_comment_becomes_a_directive(directive: str) -> None:
    text = f"# hadolint ignore=DL4006\n# {directive}\nFROM debian:12\nRUN x\n"
    assert not parse(Source("Dockerfile", text)).directives
    assert fixed("unused-ignore", text) == text
    assert fixed("inline-ignore-comment", text) == text


@pytest.mark.parametrize(
    "script",
    [
        "<<E cat > /install.sh && apt-get update\napt-get install x\npip install y\nE",
        "cat <<E > /install.sh\napt install x\nE",
        "cat > /a <<A && cat > /b <<B\napt install x\nA\npip install y\nB",
        "tee /a <<-'A'\n\tapt-get install x\n\tA",
    ],
)
def test_what_a_command_reads_is_no_script(script: str) -> None:
    text = f"FROM debian:12\nRUN {script}\n"
    for name in ("missing-apt-yes", "apt-instead-of-apt-get", "pip-cache-left-in-image", "unpinned-pip-package"):
        assert fixed(name, text, unsafe=True) == text and found(name, text) == 0


def test_pip_takes_the_start_of_an_option() -> None:
    assert found("pip-cache-left-in-image", "FROM python:3.13\nRUN pip install --no-cache x\n") == 0


def test_a_comment_in_a_heredoc_keeps_its_command() -> None:
    text = "FROM alpine:3\nRUN <<E\nset -e\napk update # the mirror is slow\napk add x\nE\n"
    assert fixed("apk-cache-left-in-image", text) == text.replace("apk add", "apk add --no-cache")


def test_the_name_of_a_cache_is_not_its_sharing() -> None:
    text = "FROM a\nRUN --mount=type=cache,id=sharing=shared,target=/var/cache/apt,sharing=shared x\n"
    after = "FROM a\nRUN --mount=type=cache,id=sharing=shared,target=/var/cache/apt,sharing=locked x\n"
    assert fixed("cache-mount-without-lock", text) == after
