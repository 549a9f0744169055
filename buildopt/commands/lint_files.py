"""The work of ``buildopt lint``: which files, and what came of each."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from buildopt import errors, settings
from buildopt.commands import discover
from buildopt.dockerfile import lint as linter
from buildopt.finding import Finding, Severity
from buildopt.report.baseline import Baseline, Known, unseen
from buildopt.source import MAX_BYTES, Source, write_atomic

# Below this many files the processes take longer to start than the work takes.
_PARALLEL_FROM = 48


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: options that hold for every file; what is None or empty is left to the configuration."""

    config: Path | None = None
    profile: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    mode: str = ""  # "" to report, "fix" to write fixes, "diff" to show them
    unsafe: bool = False
    fail_on: str | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of one file.

    ``error`` is set where it could not be read; ``changed`` is the file with its fixes, where there were any; ``fails``
    says whether a finding is grave enough for exit code 1; ``known`` counts the findings left out as the baseline's.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    fails: bool = False
    fixed: int = 0
    original: Source | None = None
    changed: Source | None = None
    error: errors.BuildoptError | None = None
    known: int = 0


def named_files(
    paths: Sequence[str], exclude: Sequence[str], config: Path | None, *, force_exclude: bool = False
) -> tuple[list[Path], list[FileResult]]:
    """The files to look at, and a result for every named path that cannot be one.

    What the configuration excludes is passed over in folders; with ``force_exclude`` also where it is named.
    """
    found: list[Path] = []
    broken: list[FileResult] = []
    for name in paths or (".",):
        path = Path(name)
        if not name:  # such as "$FILE" where FILE is not set: hardly the whole folder
            raise errors.UsageError("a PATH is empty", hint="leave it out to search the current folder")
        if os.path.isdir(path):
            found += (item for item in discover.below(path) if not _configured_out(item, config))
        elif path.suffix in (".yml", ".yaml"):
            error = errors.UsageError(f"{name} is YAML, not a Dockerfile", hint="name Dockerfiles or folders")
            broken.append(FileResult(name, error=error))
        elif not os.path.exists(path) and not _out_of_sight(path):
            error = errors.UsageError(f"{name} does not exist", hint="check the path")
            broken.append(FileResult(name, error=error))
        elif not (force_exclude and _configured_out(path, config)):
            found.append(path)
    kept = [path for path in discover.unique(found) if not discover.excluded(path, exclude, Path())]
    return kept, broken


def _out_of_sight(path: Path) -> bool:
    """Whether it cannot be told that there is such a file: reading it says why."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def lint_files(files: Sequence[Path], request: Request, baseline: Baseline, jobs: int) -> list[FileResult]:
    """The result of every file in their order, worked out by so many processes where that pays."""
    known = [baseline.of(os.fspath(path)) for path in files]
    if jobs < 2 or len(files) < _PARALLEL_FROM:
        return [_file(path, request, entries) for path, entries in zip(files, known, strict=True)]
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(jobs, initializer=_collect_seldom) as pool:
        size = max(1, len(files) // (jobs * 8))
        return list(pool.map(_file, files, [request] * len(files), known, chunksize=size))


def _collect_seldom() -> None:
    """Nearly nothing of a file's lint is garbage that only the collector finds: looking for it costs a tenth."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def lint_standard_input(request: Request, baseline: Baseline) -> FileResult:
    """The result of standard input, which belongs to no folder: only a configuration that is named counts."""
    if sys.stdin is None:
        raise errors.UsageError("standard input is closed", hint="write a Dockerfile to it, or name one")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise errors.UsageError("standard input is larger than 8 MiB", hint="this is hardly a Dockerfile")
    found = _checked(settings.load(request.config))
    return _source(Source.from_bytes("-", data), request, found.lint, baseline.of("-"))


def check_names(names: Sequence[str], where: str = "", *, selected: bool = False) -> None:
    """Raises UsageError for the first name that no rule, alias or category has."""
    unknown = linter.unknown_names(names, selected=selected)
    if unknown:
        place = f"{where}: " if where else ""
        near = settings.nearest(unknown[0], sorted(linter.known_names()))
        # The nearest number is hardly what a code was meant to be.
        guess = near.startswith("did you mean") and not unknown[0][-1].isdigit()
        hint = near if guess else "list them all with: buildopt explain"
        raise errors.UsageError(f"{place}no such rule: {unknown[0]}", hint=hint)


def _configured_out(path: Path, config: Path | None) -> bool:
    found = _settings(path.parent, config)
    return bool(found.lint.exclude) and discover.excluded(path, found.lint.exclude, found.folder)


@lru_cache(maxsize=1024)
def _settings(folder: Path, explicit: Path | None) -> settings.Settings:
    return _checked(settings.load_nearest(folder, explicit))


def _checked(found: settings.Settings) -> settings.Settings:
    """The same settings. Raises UsageError where they name a rule that there is none of."""
    lists = {
        "ignore": found.lint.ignore,
        "select": found.lint.select,
        "severity": tuple(name for name, _ in found.lint.severity),
    }
    for key, names in lists.items():
        check_names(names, f"{found.path}: lint.{key}", selected=key == "select")
    return found


def _file(path: Path, request: Request, known: tuple[Known, ...]) -> FileResult:
    try:
        result = _source(Source.read(path), request, _settings(path.parent, request.config).lint, known)
        if request.mode == "fix" and result.changed is not None:
            write_atomic(path, result.changed.to_bytes())
    except errors.BuildoptError as error:
        return FileResult(os.fspath(path), error=error)
    return result


def _source(source: Source, request: Request, found: settings.LintSettings, entries: tuple[Known, ...]) -> FileResult:
    wanted = replace(
        found,
        profile=request.profile or found.profile,
        select=request.select or found.select,
        ignore=(*found.ignore, *request.ignore),
    )
    fail_on = request.fail_on or wanted.fails_from
    new = partial(unseen, known=entries)
    everything = linter.lint(source, wanted)
    findings = new(everything)
    fixable = any(item.fix is not None and (item.fix.safe or request.unsafe) for item in findings)
    if not request.mode or not fixable:
        original = source if request.mode else None
        known = len(everything) - len(findings)
        return FileResult(source.path, findings, _fails(findings, fail_on), 0, original, known=known)
    fixed = linter.fix(source, wanted, unsafe=request.unsafe, pick=new)
    if request.mode == "fix":
        everything = linter.lint(fixed.source, wanted)
        findings = new(everything)
    changed = fixed.source if fixed.source.text != source.text else None
    known = len(everything) - len(findings)
    return FileResult(source.path, findings, _fails(findings, fail_on), fixed.count, source, changed, known=known)


def _fails(findings: Sequence[Finding], fail_on: str) -> bool:
    return fail_on != "never" and any(finding.severity >= Severity[fail_on.upper()] for finding in findings)
