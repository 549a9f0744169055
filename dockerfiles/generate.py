"""Write the optimized Dockerfiles, and the table of README.md, anew: ``python dockerfiles/generate.py [PAIR...]``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pairs import FOLDER, PAIRS, Pair  # noqa: E402 - it lies beside the tests

BEGIN, END = "<!-- pairs -->\n", "<!-- end -->\n"


def write(pair: Pair) -> None:
    """The optimized file of a pair, and its .dockerignore."""
    result = pair.rewrite()
    pair.optimized.write_bytes(result.source.to_bytes())
    pair.ignore.unlink(missing_ok=True)
    for file in result.files:
        pair.ignore.write_text(file.text, encoding="utf-8")


def table() -> str:
    """All pairs, for README.md."""
    lines = ["| pair | what it is | passes beyond the usual ones |", "| --- | --- | --- |"]
    lines += [f"| [{pair.name}]({pair.name}/) | {pair.about} | {', '.join(pair.also)} |" for pair in PAIRS]
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Write what is asked for."""
    for pair in PAIRS:
        if pair.name in (sys.argv[1:] or [pair.name]):
            write(pair)
    readme = FOLDER / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
