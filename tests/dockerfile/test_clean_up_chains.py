"""Chains that lose their clean-ups, run by a real shell: output and success must stay what they were."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.source import Source

OTHERS = (
    *("ok", "ko", "! ko", "! ok", "if ok; then ok; fi", "if ko; then ok; fi", "for f in 1 2; do ko && ok; done"),
    *('[ -z "" ] || ko', "{ ok; ko; }", "(ok && ko)", "ok | ko", "case a in a) ko;; esac", "while ko; do ok; done"),
    *("if ko; then :; else ko || ok; fi", "apt-get install -y z"),
)
CLEAN_UPS = ("rm -rf /var/lib/apt/lists/*", "apt-get clean", "rm -rf /var/lib/apt/lists/* /tmp/*")
PROGRAMS = {
    "rm": "exit 0",
    "apt-get": 'case "$1" in clean) exit 0;; esac; echo "apt $*"',
    "ok": "echo ok",
    "ko": "echo ko; exit 1",
}


def chain(choice: random.Random) -> str:
    """An update, an install, and some commands and clean-ups joined in any way."""
    text = "apt-get update && apt-get install -y x"
    for _ in range(choice.randint(1, 5)):
        joint = choice.choice(("; ", "; ", " && ", " && ", " || "))
        text += joint + choice.choice(OTHERS if choice.random() < 0.5 else CLEAN_UPS)
    return choice.choice(("", "set -e; ", "set -eu; ", "set -e && ")) + text


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, body in PROGRAMS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def outcome(script: str, programs: Path) -> tuple[bool, bytes]:
    # Only the stand-ins are on the PATH: nothing of this machine can be removed.
    result = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": str(programs)}, capture_output=True, timeout=10, check=False
    )
    return result.returncode == 0, result.stdout


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_without_its_clean_ups_does_the_same(seed: int, programs: Path) -> None:
    choice = random.Random(seed)
    rewritten = 0
    while rewritten < 40:
        before = chain(choice)
        result = optimize(Source("Dockerfile", f"FROM debian:12\nRUN {before}\n"), only=("cache_mounts",))
        if not result.changes:
            continue
        after = result.source.text.split("lists,sharing=locked \\\n    ")[1].rstrip("\n")
        rewritten += before != after
        assert outcome(after, programs) == outcome(before, programs), (before, after)
