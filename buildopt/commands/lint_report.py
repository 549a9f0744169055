"""What ``buildopt lint`` prints, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from buildopt import errors
from buildopt.commands.common import Output
from buildopt.commands.lint_files import FileResult, Request
from buildopt.finding import Finding
from buildopt.report.baseline import Baseline
from buildopt.report.text import counted, summary
from buildopt.source import unified_diff, write_atomic


def report(
    results: Sequence[FileResult], request: Request, baseline: Baseline, output: Output, output_file: Path | None
) -> int:
    """Print or write the report, then say on standard error how it went; the exit code."""
    findings = [finding for result in results for finding in result.findings]
    text, note = _rendered(results, findings, request, output, to_file=output_file is not None)
    fixed_input = request.mode == "fix" and [result.path for result in results] == ["-"]
    if fixed_input:
        # Standard output is the file and nothing else; the report goes beside it.
        source = results[0].changed or results[0].original
        output.result(source.text if source is not None else "")
    if output_file is not None:
        write_atomic(output_file, text.encode("utf-8", "surrogateescape"))
    elif text and fixed_input:
        output.message(text.rstrip("\n"))
    elif text:
        output.result(text)
    _tell_errors(results)
    for line in (note, _known(results, baseline)):
        if line:
            output.message(line)
    _tell(results, findings, request, output)
    return _exit_code(results, request)


def _exit_code(results: Sequence[FileResult], request: Request) -> int:
    if failed := [result.error for result in results if result.error is not None]:
        return max(error.exit_code for error in failed)
    if request.mode == "diff":
        return errors.FINDINGS if any(result.changed is not None for result in results) else errors.OK
    return errors.FINDINGS if any(result.fails for result in results) else errors.OK


def _rendered(
    results: Sequence[FileResult], findings: Sequence[Finding], request: Request, output: Output, *, to_file: bool
) -> tuple[str, str]:
    """The report in the format that was asked for, and what there is to say about it."""
    if request.mode == "diff":
        diffs = (
            unified_diff(result.original, result.changed)
            for result in results
            if result.original is not None and result.changed is not None
        )
        return "".join(diffs), ""
    if output.format == "text":
        from buildopt.report.text import findings_text

        terminal = sys.stdout.isatty() and not to_file
        return findings_text(findings, color=terminal and output.colored(sys.stdout), excerpts=terminal), ""
    if output.json:
        from buildopt.report.json import findings_json

        return findings_json(findings, len(results)), ""
    return _for_platform(results, findings, output.format)


def _for_platform(results: Sequence[FileResult], findings: Sequence[Finding], format_: str) -> tuple[str, str]:
    failures = [(result.path, result.error.message) for result in results if result.error is not None]
    if format_ == "markdown":
        from buildopt.report.markdown import findings_markdown

        return findings_markdown(findings, failures, len(results) - len(failures)), ""
    from buildopt.report.place import Places

    places = Places.of(Path())
    if format_ == "github":
        from buildopt.report.github import findings_github

        return findings_github(findings, places), ""
    from buildopt.report.sarif import findings_sarif

    return findings_sarif(findings, failures, places)


def _tell_errors(results: Sequence[FileResult]) -> None:
    """Each error once: a broken configuration is that of many files."""
    for message, hint in dict.fromkeys(
        (result.error.message, result.error.hint) for result in results if result.error is not None
    ):
        click.echo(f"error: {message}" + (f"\n  hint: {hint}" if hint else ""), err=True)


def _known(results: Sequence[FileResult], baseline: Baseline) -> str:
    if not baseline.files:
        return ""
    left_out = sum(result.known for result in results)
    gone = baseline.gone({result.path: result.known for result in results if result.error is None})
    return f"{counted(left_out, 'finding')} of the baseline left out, {gone} of it gone"


def _tell(results: Sequence[FileResult], findings: Sequence[Finding], request: Request, output: Output) -> None:
    """The summary, on standard error."""
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
