"""dockerfile-parse's view of base images beside ours, where it can read a file at all (it knows no heredocs)."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from buildopt.dockerfile.parse import parse
from buildopt.source import Source

FIXTURES = Path(__file__).parents[2] / "fixtures"


def plain(path: Path) -> bool:
    """Neither heredocs, variables, directives, problems nor odd bytes: what both read alike."""
    data = path.read_bytes()
    text = data.decode("utf-8", "replace")
    dockerfile = parse(Source.from_bytes(str(path), data))
    words = ("<<", "\ufffd", "\ufeff", "\r", "\0")
    variables = any(stage.image is None or "$" in stage.image.text for stage in dockerfile.stages)
    return not (variables or dockerfile.errors or dockerfile.directives or any(word in text for word in words))


FILES = [path for path in sorted(FIXTURES.rglob("*ockerfile")) if path.is_file() and plain(path)]


def test_there_is_something_to_compare() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FIXTURES)))
def test_both_name_the_same_base_images(path: Path) -> None:
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    ours = parse(Source.read(path))
    assert parser.parent_images == [stage.image.text for stage in ours.stages if stage.image is not None]
