"""The optimized Dockerfiles of dockerfiles/ are what the passes make of the others."""

from __future__ import annotations

import pytest
from pairs import FOLDER, PAIRS, Pair

from buildopt.dockerfile.optimize import optimize
from buildopt.source import Source

UPDATE = "python dockerfiles/generate.py writes it anew"


def test_there_is_a_pair_for_every_ecosystem_that_can_be_built() -> None:
    assert [pair.name for pair in PAIRS] == [
        "c-make",
        "go",
        "java-javac",
        "java-maven",
        "node-npm",
        "node-pnpm",
        "node-static",
        "node-yarn",
        "python-pip",
        "python-poetry",
        "python-uv",
        "rust",
    ]
    assert sum(pair.quick for pair in PAIRS) == 6


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_optimized_file_is_what_optimize_makes(pair: Pair) -> None:
    result = pair.rewrite()
    assert result.source.to_bytes() == pair.optimized.read_bytes(), UPDATE
    assert result.changes


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_what_is_not_copied_is_what_optimize_says(pair: Pair) -> None:
    texts = [file.text for file in pair.rewrite().files]
    assert texts == ([pair.ignore.read_text(encoding="utf-8")] if pair.ignore.exists() else []), UPDATE


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_second_run_changes_nothing(pair: Pair) -> None:
    result = optimize(Source.read(pair.optimized), pair.context, also=pair.also)
    assert result.source.to_bytes() == pair.optimized.read_bytes()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_changes_are_changes_of_the_project(pair: Pair) -> None:
    for file in (pair.folder / "changes").rglob("*"):
        if file.is_file():
            scenario, _, inside = file.relative_to(pair.folder / "changes").as_posix().partition("/")
            original = pair.context / inside
            assert scenario in ("source", "dependency")
            assert original.is_file() or scenario == "dependency", f"{file} replaces nothing"
            assert not original.is_file() or original.read_bytes() != file.read_bytes()


def test_the_readme_lists_the_pairs() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for pair in PAIRS:
        assert f"| [{pair.name}]({pair.name}/) | {pair.about} |" in text, UPDATE
