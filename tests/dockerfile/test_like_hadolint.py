"""The profile ``hadolint`` beside hadolint itself (its wheel), over every fixture that it can read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildopt.dockerfile.lint import lint
from buildopt.dockerfile.profiles import HADOLINT
from buildopt.settings import LintSettings
from buildopt.source import Source

FIXTURES = Path(__file__).parents[2] / "fixtures"
TOOL = shutil.which("hadolint", path=str(Path(sys.executable).parent))
# What is meant to differ: a default of an ARG above FROM that is empty.
DIFFERENT = {("buildkit_checks/undefined_arg_in_from.Dockerfile", "DL3006")}


def _theirs(path: Path) -> dict[str, str] | None:
    assert TOOL is not None
    done = subprocess.run([TOOL, "--no-fail", "-f", "json", str(path)], capture_output=True, text=True, check=False)
    try:
        found = {item["code"]: item["level"] for item in json.loads(done.stdout)}
    except ValueError:
        return None  # hadolint 2.15.1 dies of a WORKDIR with one letter
    return None if "DL1000" in found else {code: level for code, level in found.items() if code in HADOLINT}


def _ours(path: Path) -> dict[str, str]:
    found = lint(Source.read(path), LintSettings(profile="hadolint"))
    return {code: finding.severity.label for finding in found for code in finding.aliases if code in HADOLINT}


@pytest.mark.skipif(TOOL is None, reason="there is no wheel of hadolint for this machine")
def test_every_fixture_is_decided_alike() -> None:
    files = sorted(FIXTURES.glob("**/*.Dockerfile"))
    with ThreadPoolExecutor(4) as pool:
        theirs = dict(zip(files, pool.map(_theirs, files), strict=True))
    read = {path: found for path, found in theirs.items() if found is not None}
    assert len(read) > 250
    assert {code for found in read.values() for code in found} > {"DL3008", "DL3020", "DL3042", "DL4006"}
    different = {
        (str(path.relative_to(FIXTURES)), code)
        for path, found in read.items()
        for code, _ in found.items() ^ (_ours(path).items() - {("DL1000", "error")})
    }
    assert different == DIFFERENT
