"""``buildopt lint``: find, report, fix."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import click

from buildopt import errors, settings
from buildopt.commands import discover
from buildopt.commands.common import Output, output_options
from buildopt.dockerfile import lint as linter
from buildopt.finding import Finding, Severity
from buildopt.source import MAX_BYTES, Source, unified_diff, write_atomic

# Below this many files the processes take longer to start than the work takes.
_PARALLEL_FROM = 48


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: options that hold for every file."""

    config: Path | None
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    mode: str  # "" to report, "fix" to write fixes, "diff" to show them
    unsafe: bool
    fail_on: str | None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of one file.

    ``error`` is set where it could not be read; ``changed`` is the file with its fixes, where there were any; ``fails``
    says whether a finding is grave enough for exit code 1.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    fails: bool = False
    fixed: int = 0
    original: Source | None = None
    changed: Source | None = None
    error: errors.BuildoptError | None = None


@click.command(
    epilog="Examples: buildopt lint · buildopt lint Dockerfile --fix · "
    "buildopt lint - < Dockerfile · buildopt lint --format json services/"
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--output", "output_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there."
)
@click.option("--fix", is_flag=True, help="Apply safe fixes.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: those too that may change behaviour.")
@click.option("--diff", is_flag=True, help="Show what --fix would change; write nothing.")
@click.option("--select", multiple=True, metavar="NAME", help="Only this rule, alias or category (again for more).")
@click.option("--ignore", multiple=True, metavar="NAME", help="Not this rule, alias or category (again for more).")
@click.option("--fail-on", type=click.Choice(settings.FAIL_ON), help="Least severity that gives exit code 1 (warning).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files out (again for more).")
@click.option("--jobs", "-j", type=click.IntRange(1), metavar="N", help="Processes (as many as there are processors).")
@output_options("text", "json")
def lint(
    paths: tuple[str, ...],
    output_file: Path | None,
    fix: bool,
    unsafe_fixes: bool,
    diff: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
    exclude: tuple[str, ...],
    jobs: int | None,
    output: Output,
) -> int:
    """Find what makes Docker builds slow, large or unsafe.

    PATH is a Dockerfile, a folder to search, or - for standard input; without one, the current folder is searched for
    all Dockerfiles that git does not ignore.
    """
    mode = _mode(fix, diff, unsafe_fixes)
    request = Request(output.config, _names(select), _names(ignore), mode, unsafe_fixes, fail_on)
    _check_names(request)
    if "-" in paths:
        if len(paths) > 1:
            raise errors.UsageError("- cannot stand beside other paths", hint="lint standard input on its own")
        if fix and output.json:
            raise errors.UsageError(
                "--fix writes the fixed file to standard output: no room for JSON", hint="leave out --format json"
            )
        results = [_standard_input(request)]
    else:
        files, broken = _files(paths, exclude, output)
        results = [*broken, *_run(files, request, jobs or os.cpu_count() or 1)]
        results.sort(key=lambda result: result.path)
    return _report(results, request, output, output_file)


def _names(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _mode(fix: bool, diff: bool, unsafe: bool) -> str:
    if fix and diff:
        raise errors.UsageError("--fix and --diff exclude each other", hint="--diff shows what --fix would write")
    if unsafe and not (fix or diff):
        raise errors.UsageError("--unsafe-fixes does nothing alone", hint="add --fix or --diff")
    return "fix" if fix else "diff" if diff else ""


def _check_names(request: Request) -> None:
    unknown = linter.unknown_names((*request.select, *request.ignore))
    if unknown:
        raise errors.UsageError(
            f"no such rule: {unknown[0]}", hint=settings.nearest(unknown[0], sorted(linter.known_names()))
        )


def _files(paths: Sequence[str], exclude: Sequence[str], output: Output) -> tuple[list[Path], list[FileResult]]:
    """The files to look at, and a result for every named path that cannot be one."""
    found: list[Path] = []
    broken: list[FileResult] = []
    for name in paths or (".",):
        path = Path(name)
        if path.is_dir():
            found += (item for item in discover.below(path) if not _configured_out(item, output))
        elif path.suffix in (".yml", ".yaml"):
            error = errors.UsageError(f"{name} is YAML, not a Dockerfile", hint="name Dockerfiles or folders")
            broken.append(FileResult(name, error=error))
        elif not path.exists():
            error = errors.UsageError(f"{name} does not exist", hint="check the path")
            broken.append(FileResult(name, error=error))
        else:
            found.append(path)
    kept = [path for path in discover.unique(found) if not discover.excluded(path, exclude, Path())]
    return kept, broken


def _configured_out(path: Path, output: Output) -> bool:
    found = _settings(path.parent, output.config)
    return bool(found.lint.exclude) and discover.excluded(path, found.lint.exclude, found.folder)


def _run(files: Sequence[Path], request: Request, jobs: int) -> list[FileResult]:
    if jobs < 2 or len(files) < _PARALLEL_FROM:
        return [_file(path, request) for path in files]
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(jobs) as pool:
        size = max(1, len(files) // (jobs * 8))
        return list(pool.map(_file, files, [request] * len(files), chunksize=size))


@lru_cache(maxsize=1024)
def _settings(folder: Path, explicit: Path | None) -> settings.Settings:
    return settings.load_nearest(folder, explicit)


def _file(path: Path, request: Request) -> FileResult:
    try:
        result = _source(Source.read(path), request, _settings(path.parent, request.config).lint)
        if request.mode == "fix" and result.changed is not None:
            write_atomic(path, result.changed.to_bytes())
    except errors.BuildoptError as error:
        return FileResult(os.fspath(path), error=error)
    return result


def _standard_input(request: Request) -> FileResult:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise errors.UsageError("standard input is larger than 8 MiB", hint="this is hardly a Dockerfile")
    # Standard input belongs to no folder: only a configuration that is named counts.
    return _source(Source.from_bytes("-", data), request, settings.load(request.config).lint)


def _source(source: Source, request: Request, found: settings.LintSettings) -> FileResult:
    wanted = replace(found, select=request.select or found.select, ignore=(*found.ignore, *request.ignore))
    fail_on = request.fail_on or found.fails_from
    findings = tuple(linter.lint(source, wanted))
    fixable = any(item.fix is not None and (item.fix.safe or request.unsafe) for item in findings)
    if not request.mode or not fixable:
        return FileResult(source.path, findings, _fails(findings, fail_on), 0, source if request.mode else None)
    fixed = linter.fix(source, wanted, unsafe=request.unsafe)
    if request.mode == "fix":
        findings = tuple(linter.lint(fixed.source, wanted))
    changed = fixed.source if fixed.source.text != source.text else None
    return FileResult(source.path, findings, _fails(findings, fail_on), fixed.count, source, changed)


def _fails(findings: Sequence[Finding], fail_on: str) -> bool:
    return fail_on != "never" and any(finding.severity >= Severity[fail_on.upper()] for finding in findings)


def _report(results: Sequence[FileResult], request: Request, output: Output, output_file: Path | None) -> int:
    findings = [finding for result in results for finding in result.findings]
    text = _rendered(results, findings, request, output, to_file=output_file is not None)
    if output_file is not None:
        write_atomic(output_file, text.encode("utf-8", "surrogateescape"))
    elif request.mode == "fix" and [result.path for result in results] == ["-"]:
        # Standard output is the file and nothing else; the report goes beside it.
        source = results[0].changed or results[0].original
        output.result(source.text if source is not None else "")
        if text:
            output.message(text.rstrip("\n"))
    elif text:
        output.result(text)
    _tell(results, findings, request, output)
    if failed := [result.error for result in results if result.error is not None]:
        return max(error.exit_code for error in failed)
    if request.mode == "diff":
        return errors.FINDINGS if any(result.changed is not None for result in results) else errors.OK
    return errors.FINDINGS if any(result.fails for result in results) else errors.OK


def _rendered(
    results: Sequence[FileResult], findings: Sequence[Finding], request: Request, output: Output, *, to_file: bool
) -> str:
    if request.mode == "diff":
        return "".join(
            unified_diff(result.original, result.changed)
            for result in results
            if result.original is not None and result.changed is not None
        )
    if output.json:
        from buildopt.report.json import findings_json

        return findings_json(findings, len(results))
    from buildopt.report.text import findings_text

    terminal = sys.stdout.isatty() and not to_file
    return findings_text(findings, color=terminal and output.colored(sys.stdout), excerpts=terminal)


def _tell(results: Sequence[FileResult], findings: Sequence[Finding], request: Request, output: Output) -> None:
    """Errors and the summary, on standard error."""
    from buildopt.report.text import counted, summary

    for result in results:
        if result.error is not None:
            hint = f"\n  hint: {result.error.hint}" if result.error.hint else ""
            click.echo(f"error: {result.error.message}{hint}", err=True)
    looked_at = sum(result.error is None for result in results)
    fixed = sum(result.fixed for result in results)
    changed = sum(result.changed is not None for result in results)
    settled = f"{counted(fixed, 'finding')} in {counted(changed, 'file')}"
    if request.mode == "diff":
        output.message(f"would fix {settled}" if changed else "nothing to fix")
        return
    if fixed:
        output.message(f"fixed {settled}")
    if not results:
        output.message("no Dockerfile found")
    elif looked_at:
        output.message(summary(findings, looked_at))
