"""The table of package managers."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.managers import MANAGERS, recognise
from buildopt.dockerfile.shell import parse_shell


@pytest.mark.parametrize(
    ("text", "manager", "subcommand", "uses", "cleanup"),
    [
        ("apt-get update", "apt", "update", True, False),
        ("apt-get -y --no-install-recommends -o A=b install curl", "apt", "install", True, False),
        ("DEBIAN_FRONTEND=noninteractive sudo apt install curl", "apt", "install", True, False),
        ("apt-get clean", "apt", "clean", False, True),
        ("apt-get -y autoclean", "apt", "autoclean", False, True),
        ("apt-get autoremove -y", "apt", "autoremove", False, False),
        ("pip install x", "pip", "install", True, False),
        ("/opt/venv/bin/pip3.12 install x", "pip", "install", True, False),
        ("python3 -m pip install x", "pip", "install", True, False),
        ("python -u -m pip download x", "pip", "download", True, False),
        ("pip --no-cache-dir install x", "pip", "install", True, False),
        ("pip cache purge", "pip", "cache", False, True),
        ("pip cache dir", "pip", "cache", False, False),
        ("pip list", "pip", "list", False, False),
        ("npm ci", "npm", "ci", True, False),
        ("npm --prefix web install", "npm", "install", True, False),
        ("npm run build", "npm", "run", False, False),
        ("npm cache clean --force", "npm", "cache", False, True),
        ("npm --force cache clean", "npm", "cache", False, True),
        ("go build -o /x .", "go", "build", True, False),
        ("go version", "go", "version", False, False),
        ("go clean -modcache", "go", "clean", False, True),
        ("go clean", "go", "clean", False, False),
        ("apk add --no-cache git", "apk", "add", True, False),
        ("dnf clean all", "dnf", "clean", False, True),
        ("yarn", "yarn", "", True, False),
        ("bundle install", "bundler", "install", True, False),
    ],
)
def test_recognises(text: str, manager: str, subcommand: str, uses: bool, cleanup: bool) -> None:
    use = recognise(parse_shell(text).commands[0])
    assert use is not None
    assert (use.manager.name, use.subcommand, use.uses_cache, use.is_cleanup) == (manager, subcommand, uses, cleanup)


@pytest.mark.parametrize("text", ["apt-cache policy x", "python app.py", "python -m venv x", "gofmt .", "$PIP install"])
def test_leaves_others_alone(text: str) -> None:
    assert recognise(parse_shell(text).commands[0]) is None


def test_defeating_and_moving_options() -> None:
    use = recognise(parse_shell("pip install --no-cache-dir --cache-dir=/x y").commands[0])
    assert use is not None
    assert [word.text for word in use.defeats()] == ["--no-cache-dir"]
    assert use.moved


def test_the_table_is_sound() -> None:
    assert len({manager.name for manager in MANAGERS}) == len(MANAGERS)
    for manager in MANAGERS:
        assert manager.sharing in ("shared", "locked")
        assert all(cache.path.startswith(("/", "~/")) for cache in manager.caches)
        assert not manager.uses & manager.idle
