"""Command lines of package managers: what they do, with which options, to what."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.packages import Call, call
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.runs import all_runs
from buildopt.dockerfile.shell import parse_shell
from buildopt.source import Source


def read(text: str) -> Call | None:
    return call(parse_shell(text).commands[0])


@pytest.mark.parametrize(
    ("text", "tool", "action", "operands"),
    [
        ("apt-get -y -t stable install -o A=b curl git=1", "apt-get", "install", "curl git=1"),
        ("sudo -E /usr/bin/apt-get install -yqq curl", "apt-get", "install", "curl"),
        ("python3 -u -m pip --proxy x install -r r.txt flask", "pip", "install", "flask"),
        ("python3 setup.py install", None, "", ""),
        ("python3 -m venv x", None, "", ""),
        ("pip3.13 install --target=/x flask -- -x", "pip", "install", "flask -x"),
        ("apk --no-cache add -t .deps gcc", "apk", "add", "gcc"),
        ("dnf -y group install a b", "dnf", "group install", "a b"),
        ("dnf5 install --setopt tsflags=nodocs --enablerepo=x a", "dnf", "install", "a"),
        ("microdnf", "dnf", "", ""),
        ("zypper -n in -t pattern a", "zypper", "in", "a"),
        ("gem install a -v 1 -- --with-x y", "gem", "install", "a"),
        ("go install -tags netgo -ldflags '-s -w' a.b/c@v1", "go", "install", "a.b/c@v1"),
        ("go run -mod=mod x.go -v", "go", "run", "x.go"),
        ("yarn global add serve", "yarn", "global add", "serve"),
        ("yarn", "yarn", "", ""),
        ("uv pip install --system black", "uv", "pip install", "black"),
        ("npm --prefix app ci", "npm", "ci", ""),
        ("nopip install x", None, "", ""),
    ],
)
def test_calls(text: str, tool: str | None, action: str, operands: str) -> None:
    found = read(text)
    if found is None:
        assert tool is None
        return
    assert (found.tool, found.action) == (tool, action)
    assert [word.text for word in found.operands] == operands.split()


def test_options_count_one_by_one() -> None:
    found = read("apt-get -yqt stable install --option=A=b x")
    assert found is not None and found.anchor is not None
    assert [option.name for option in found.options] == ["-y", "-q", "-t", "--option"]
    assert found.has("-q", "--quiet") and not found.has("--yes")
    release, setting = found.value("-t"), found.value("-o", "--option")
    assert release is not None and release.text == "stable"
    assert setting is not None and setting.text == "A=b"
    assert found.anchor.text == "install"


def test_an_exec_form_is_one_command_with_places_of_its_own() -> None:
    text = 'FROM a\nRUN ["apk", "add", "a b", "c"]\nRUN apk add d\nONBUILD RUN ["apk", "add", "e"]\n'
    found = all_runs(parse(Source("D", text)))
    assert [run.script.commands[0].texts for run in found] == [("add", "a b", "c"), ("add", "d"), ("add", "e")]
    for run, word in zip(found, ("c", "d", "e"), strict=True):
        last = run.script.commands[0].arguments[-1]
        span = run.span(last.span)
        assert text[span.start : span.end] == word
        assert run.exact(last) is (word == "d")


@pytest.mark.parametrize(
    ("text", "name", "operands"),
    [
        ("apt-get install -t x a", "apt-get", "install a"),
        ("apt-get install -yt x a", "apt-get", "install a"),
        ("apt-get install -t=x a", "apt-get", "install a"),
        ("apt-get install --target=x a $X", "apt-get", "install a $X"),
        ("exec apt-get install a", "apt-get", "apt-get install a"),
        ("time apt-get install a", "apt-get", "install a"),
        ("sudo apt-get install a", None, ""),
        ("sh -c 'apt-get install a'", "sh", "apt-get install a"),
    ],
)
def test_what_hadolint_sees(text: str, name: str | None, operands: str) -> None:
    run = all_runs(parse(Source("D", f"FROM a\nRUN {text}\n")))[0]
    items = list(seen(run))
    assert [item.name for item in items] == ([] if name is None else [name])
    for item in items:
        assert " ".join(item.operands(("t",))) == operands
