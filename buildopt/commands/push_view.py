"""How ``push`` shows what it does and did: on a terminal, in a log and under GitHub Actions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output
from buildopt.errors import BuildoptError

if TYPE_CHECKING:
    from buildopt.registry.outcome import Event, PushReport
    from buildopt.registry.plan import PushPlan
    from buildopt.registry.preview import Preview


@contextmanager
def progress(plan: PushPlan, output: Output) -> Iterator[Callable[[Event], None]]:
    """What is told of a push while it runs: bars on a terminal, else lines, which Actions folds into a group."""
    from buildopt.report import push as show

    if output.quiet:
        yield lambda event: None
    elif output.lively(sys.stderr) and not os.environ.get("CI"):
        from buildopt.report.push_live import live_progress

        with live_progress(plan, color=output.colored(sys.stderr)) as on_event:
            yield on_event
    elif _under_actions():
        with _folded(), show.plain_progress(_harmless(output.message), everything=output.verbose) as on_event:
            yield on_event
    else:
        with show.plain_progress(output.message, everything=output.verbose) as on_event:
            yield on_event


def asking(output: Output) -> Callable[[Event], None]:
    """What is told of a dry run while it asks: only what is asked again."""
    from buildopt.registry.outcome import Again

    def tell(event: Event) -> None:
        if isinstance(event, Again):
            output.message(f"{event.repository}: {event.message}; again in {event.seconds:.1f} s")

    return tell


def show_report(report: PushReport, output: Output) -> str:
    """Print what came of a push, and tell Actions; the report's JSON."""
    from buildopt.report import push as show

    document = show.report_json(report)
    if output.json:
        output.result(document)
    else:
        output.result(_shown(show.report_text(report, width=_width(), color=output.colored(sys.stdout))))
    if _wants_summary():
        from buildopt.report.push_summary import push_summary

        _summarize(push_summary(report))
    _tell_failures(report, output)
    return document


def show_preview(plan: PushPlan, found: Preview, output: Output) -> str:
    """Print what a push would do, and tell Actions; its JSON."""
    from buildopt.report import push_preview as show

    document = show.preview_json(found)
    if output.json:
        output.result(document)
    else:
        output.result(_shown(show.preview_text(plan, found, width=_width(), everything=output.verbose)))
    if _wants_summary():
        from buildopt.report.push_summary import preview_summary

        _summarize(preview_summary(found))
    _tell_failures(found.report, output, "could not be pushed")
    return document


@contextmanager
def failing() -> Iterator[None]:
    """Under GitHub Actions, what stops a push before it starts is in the job's summary too."""
    try:
        yield
    except BuildoptError as error:
        if _wants_summary():
            from buildopt.report.push_summary import failure_summary

            _summarize(failure_summary(error.message, error.detail, error.hint))
        raise


def _tell_failures(report: PushReport, output: Output, words: str = "not pushed") -> None:
    """The required destinations that failed as an error on stderr; under Actions each failure as an annotation."""
    from buildopt.report import push as show

    if not report.ok:
        message, hint = show.failure_text(report, words)
        if not output.json and sys.stdout.isatty() and sys.stderr.isatty():
            message, hint = message.partition(":")[0], ""  # the table above says the rest
        click.echo(_shown(f"error: {message}" + (f"\n  hint: {hint}" if hint else "")), err=True)
    if _under_actions():
        from buildopt.report.github import annotation

        for outcome in report.outcomes:
            if outcome.problem is not None:
                kind = "warning" if outcome.optional else "error"
                said = f"{outcome.reference}: {outcome.problem.message}\n{outcome.problem.hint}".strip()
                click.echo(annotation(kind, said, title="buildopt push"), err=True)


def _under_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _wants_summary() -> bool:
    return bool(os.environ.get("GITHUB_STEP_SUMMARY"))


def _summarize(text: str) -> None:
    from buildopt.commands.build_once_view import summarize

    summarize(text)


def _width() -> int:
    """The terminal's width; 0 where there is none, and lines may be as long as they are."""
    if not sys.stdout.isatty():
        return 0
    import shutil

    return shutil.get_terminal_size().columns


def _shown(text: str) -> str:
    """What a registry said must not command the runner."""
    if not _under_actions():
        return text
    from buildopt.report.github import harmless

    return harmless(text)


def _harmless(tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: tell(_shown(line))


@contextmanager
def _folded() -> Iterator[None]:
    click.echo("::group::buildopt push", err=True)
    try:
        yield
    finally:
        click.echo("::endgroup::", err=True)
