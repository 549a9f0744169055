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
from buildopt.dockerfile.refusals import refusals
from buildopt.engine.connection import Engine
from buildopt.source import Source

# Bases with a registry, and those with a digest, which no stub has.
_DIGEST = r"@sha256:[0-9a-f]{64}"
_ELSEWHERE = re.compile(
    rf"[a-z0-9-]*[.:][a-z0-9.:-]*/[a-z0-9._/-]+(?::[\w.-]+)?(?:{_DIGEST})?\Z|[a-z0-9./:_-]+{_DIGEST}\Z"
)
_UNRESOLVED = re.compile(r"failed to resolve source metadata for (\S+): ")
STUB = "docker-image://docker.io/library/stub:1"
CALLS = 4  # at the same time
TOGETHER = 10  # files in one call


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
    promising: bool  # BuildKit will hardly refuse it
    contexts: dict[str, str]  # what stands in for its bases of other registries than the mirror's


def answers(engine: Engine, files: Sequence[Path], folder: Path) -> dict[Path, Answer]:
    """The answer to each file. ``folder`` must be empty; copies and an empty build context are made in it.

    Many files are asked about in one call. That fails where one of them is refused: those are asked about alone.
    """
    (folder / "context").mkdir(parents=True)
    copies = {file: _copied(file, folder, number) for number, file in enumerate(files)}
    promising = [file for file, copy in copies.items() if copy.promising]
    chunks = [promising[at : at + TOGETHER] for at in range(0, len(promising), TOGETHER)]
    found: dict[Path, Answer] = {}
    with ThreadPoolExecutor(CALLS) as pool:
        for together in pool.map(lambda chunk: _bake(engine, {file: copies[file] for file in chunk}), chunks):
            found.update(together)
        alone = [file for file in files if file not in found]
        found.update(zip(alone, pool.map(lambda file: _build(engine, copies[file]), alone), strict=True))
    return {file: found[file] for file in files}


def _copied(file: Path, folder: Path, number: int) -> _Copy:
    data = file.read_bytes()
    source = Source.from_bytes(file.name, data)
    dockerfile = parse(source)
    syntax = dockerfile.directive("syntax")
    if syntax is not None:
        line = source.position(syntax.span.start)[0]
        lines = data.split(b"\n")
        data = b"\n".join([*lines[: line - 1], *lines[line:]])
    target = folder / f"{number}.Dockerfile"
    target.write_bytes(data)
    ignored = file.with_name(f"{file.name}.dockerignore")
    if ignored.is_file():
        target.with_name(f"{target.name}.dockerignore").write_bytes(ignored.read_bytes())
    promising = not dockerfile.errors and next(refusals(dockerfile), None) is None
    bases = {stage.image.text for stage in dockerfile.stages if stage.image is not None}
    return _Copy(target, int(syntax is not None), promising, {name: STUB for name in bases if _ELSEWHERE.match(name)})


def _bake(engine: Engine, copies: Mapping[Path, _Copy]) -> dict[Path, Answer]:
    """One call for many files: those of them that BuildKit takes, for where it refuses one the others are cancelled."""
    targets = {copy.path.stem: copy for copy in copies.values()}
    described = {
        name: {"context": str(copy.path.parent / "context"), "dockerfile": str(copy.path), "contexts": copy.contexts}
        for name, copy in targets.items()
    }
    folder = next(iter(targets.values())).path.parent
    definition = folder / f"{next(iter(targets))}.json"
    definition.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": described}))
    argv = [*engine.buildx, "bake", "--file", str(definition), "--call=check,format=json", f"--allow=fs.read={folder}"]
    done = process.run(argv, env=engine.environment, check=False, timeout=300)
    if not done.text.startswith("{"):
        return {}
    reports = {name: report.get("check") for name, report in json.loads(done.text)["target"].items()}
    taken = {name: report for name, report in reports.items() if report and not report.get("error")}
    return {
        file: _answer(taken[copy.path.stem], copy.lines_removed)
        for file, copy in copies.items()
        if copy.path.stem in taken and not taken[copy.path.stem].get("buildError")
    }


def _build(engine: Engine, copy: _Copy) -> Answer:
    """One file in calls of its own."""
    contexts = dict(copy.contexts)
    while True:
        argv = [*engine.buildx, "build", "--call=check,format=json", "--file", str(copy.path)]
        argv += [f"--build-context={name}={image}" for name, image in contexts.items()]
        argv.append(str(copy.path.parent / "context"))
        # The exit status says only whether there is anything to say.
        done = process.run(argv, env=engine.environment, check=False, timeout=120)
        assert done.text.startswith("{"), done.stderr
        found = _answer(json.loads(done.text), copy.lines_removed)
        unresolved = _UNRESOLVED.search(found.refused or "")
        if unresolved is None:
            return found
        # A base that the mirror does not serve, for it is of another registry: the next call takes the stub for it.
        name = unresolved[1].removeprefix("docker.io/library/").removeprefix("docker.io/").removesuffix(":latest")
        assert name not in contexts, found.refused
        contexts[name] = STUB


def _answer(report: Mapping[str, Any], lines_removed: int) -> Answer:
    error = report.get("buildError")
    warnings = tuple(_warning(warning, lines_removed) for warning in report.get("warnings") or ())
    return Answer(warnings, str(error["message"]) if error else None)


def _warning(warning: Mapping[str, Any], lines_removed: int) -> Warned:
    line = warning["location"]["ranges"][0]["start"]["line"]
    return Warned(warning["ruleName"], line + lines_removed, warning.get("detail", ""))
