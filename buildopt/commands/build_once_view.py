"""How ``build-once`` shows a build, on a terminal, in a log and under GitHub Actions."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output
from buildopt.errors import BuildoptError

if TYPE_CHECKING:
    from buildopt.build.plan import BuildPlan
    from buildopt.build.progress import Event
    from buildopt.report.live import View

ANNOTATIONS = 10
"""So many of each kind GitHub shows of a step."""


@contextmanager
def showing(plan: BuildPlan, progress: str, output: Output, layout: Path) -> Iterator[View]:
    """What watches a build into a layout, as ``--progress`` asks for it."""
    from buildopt.report import live

    kind = live.choose(progress, terminal=sys.stderr.isatty(), environment=os.environ)
    view: View
    if kind == "rawjson":
        view = live.RawJson(sys.stderr.write)
    elif output.quiet:
        view = live.Quiet()
    elif kind == "rich":
        from rich.console import Console

        from buildopt.build.nearby import received

        console = Console(stderr=True, no_color=not output.colored(sys.stderr), highlight=False)
        view = live.Rich(console, plan.shown, lambda: received(layout))
    elif under_actions():
        with _folded(plan, output) as view:
            yield view
        return
    else:
        view = live.Plain(lambda line: click.echo(line, err=True), plan.shown, internal=output.verbose)
    with view:
        yield view


def under_actions() -> bool:
    """Whether a runner of GitHub Actions reads what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def _folded(plan: BuildPlan, output: Output) -> Iterator[View]:
    """Plain lines in a group; behind it BuildKit's remarks as annotations."""
    from buildopt.build.progress import Warn
    from buildopt.report import github, live

    class Folded(live.Plain):
        """Plain lines of which none is a command to the runner, whatever a build prints."""

        def __init__(self) -> None:
            super().__init__(self.say, plan.shown, internal=output.verbose)
            self.remarks: dict[Warn, None] = {}

        def say(self, line: str) -> None:
            click.echo(github.harmless(line), err=True)

        def event(self, event: Event) -> None:
            super().event(event)
            if isinstance(event, Warn):
                self.remarks[event] = None

    view = Folded()
    click.echo("::group::buildopt build-once", err=True)
    try:
        with view:
            yield view
    finally:
        click.echo("::endgroup::", err=True)
        for warning in list(view.remarks)[:ANNOTATIONS]:
            _annotate(plan, "warning", warning.text, warning.line, warning.url)


@contextmanager
def failing(plan: BuildPlan) -> Iterator[None]:
    """Under GitHub Actions, a failure is an annotation at the line of the Dockerfile too, and in the job's summary."""
    try:
        yield
    except BuildoptError as error:
        if under_actions():
            found = re.match(rf"{re.escape(plan.shown)}:(\d+): (.*)", error.message, re.DOTALL)
            _annotate(plan, "error", found[2] if found else error.message, int(found[1]) if found else 0)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            from buildopt.report.build_summary import failure_summary

            summarize(failure_summary(error.message, error.detail, error.hint))
        raise


def _annotate(plan: BuildPlan, kind: str, message: str, line: int, url: str = "") -> None:
    from buildopt.report import github
    from buildopt.report.place import Places

    path = Places.of(plan.context).relative(str(plan.dockerfile))
    if plan.rewritten is not None and plan.rewritten.passes:
        line = 0  # of a text that nobody sees on GitHub
    text = f"{message} ({url})" if url else message
    title = "docker build" if kind == "error" else "docker build check"
    click.echo(github.annotation(kind, text, path=path if line else None, line=line, title=title), err=True)


def summarize(text: str) -> None:
    """Add Markdown to the job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as summary:
            summary.write(text)
    except OSError as error:
        click.echo(f"warning: no step summary: {path}: {error.strerror}", err=True)
