"""What BuildKit's own checks say of Dockerfiles: ``docker buildx build --call=check,format=json``.

Files are copied beside each other first. A ``# syntax=`` line is taken out of the copy, for its frontend is an image
that no stub can stand in for, and lines are counted as if it were there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildopt import process
from buildopt.dockerfile.parse import parse
from buildopt.engine.connection import Engine
from buildopt.source import Source

_UNRESOLVED = re.compile(r"failed to resolve source metadata for (\S+): ")
CALLS = 4  # at the same time
STUB = "docker-image://docker.io/library/stub:1"


@dataclass(frozen=True)
class Warned:
    """One warning: the check's name, its first line, and what it says."""

    check: str
    line: int
    detail: str


@dataclass(frozen=True)
class Answer:
    """BuildKit's word on one file; ``refused`` is why it cannot be built (the warnings are those up to there)."""

    warnings: tuple[Warned, ...]
    refused: str | None


@dataclass(frozen=True)
class _Copy:
    path: Path
    lines_removed: int


def answers(engine: Engine, files: Sequence[Path], folder: Path) -> dict[Path, Answer]:
    """The answer to each file. ``folder`` must be empty; copies and an empty build context are made in it."""
    (folder / "context").mkdir(parents=True)
    copies = [_copied(file, folder, number) for number, file in enumerate(files)]
    with ThreadPoolExecutor(CALLS) as pool:
        return dict(zip(files, pool.map(lambda copy: _answer(engine, copy), copies), strict=True))


def _copied(file: Path, folder: Path, number: int) -> _Copy:
    data = file.read_bytes()
    source = Source.from_bytes(file.name, data)
    syntax = parse(source).directive("syntax")
    if syntax is not None:
        line = source.position(syntax.span.start)[0]
        lines = data.split(b"\n")
        data = b"\n".join([*lines[: line - 1], *lines[line:]])
    target = folder / f"{number}.Dockerfile"
    target.write_bytes(data)
    ignored = file.with_name(f"{file.name}.dockerignore")
    if ignored.is_file():
        target.with_name(f"{target.name}.dockerignore").write_bytes(ignored.read_bytes())
    return _Copy(target, int(syntax is not None))


def _answer(engine: Engine, copy: _Copy) -> Answer:
    contexts: dict[str, str] = {}
    while True:
        report = _report(engine, copy, contexts)
        error = report.get("buildError")
        refused = str(error["message"]) if isinstance(error, dict) else None
        unresolved = _UNRESOLVED.search(refused or "")
        if unresolved is None:
            break
        # A base that the mirror does not serve, for it is of another registry: the next call takes the stub for it.
        name = unresolved[1].removeprefix("docker.io/library/").removeprefix("docker.io/").removesuffix(":latest")
        assert name not in contexts, refused
        contexts[name] = STUB
    warnings = report.get("warnings") or ()
    assert isinstance(warnings, (list, tuple))
    return Answer(tuple(_warning(warning, copy.lines_removed) for warning in warnings), refused)


def _report(engine: Engine, copy: _Copy, contexts: Mapping[str, str]) -> Mapping[str, object]:
    """One call; its exit status says only whether there is anything to say."""
    argv = [*engine.buildx, "build", "--call=check,format=json", "--file", str(copy.path)]
    argv += [f"--build-context={name}={image}" for name, image in contexts.items()]
    argv.append(str(copy.path.parent / "context"))
    done = process.run(argv, env=engine.environment, check=False, timeout=60)
    assert done.text.startswith("{"), done.stderr
    found: Mapping[str, object] = json.loads(done.text)
    return found


def _warning(warning: Mapping[str, Any], lines_removed: int) -> Warned:
    line = warning["location"]["ranges"][0]["start"]["line"]
    return Warned(warning["ruleName"], line + lines_removed, warning.get("detail", ""))
