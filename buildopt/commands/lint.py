"""``buildopt lint``: find, report, fix."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from buildopt import errors, settings
from buildopt.commands.common import Output, output_options
from buildopt.commands.lint_files import Request, check_names, lint_files, lint_standard_input, named_files
from buildopt.commands.lint_report import report
from buildopt.report.baseline import Baseline


@click.command(
    epilog="Examples: buildopt lint · buildopt lint Dockerfile --fix · "
    "buildopt lint - < Dockerfile · buildopt lint --format sarif --output lint.sarif services/"
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--output", "output_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there."
)
@click.option("--fix", is_flag=True, help="Apply safe fixes.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: those too that may change behaviour.")
@click.option("--diff", is_flag=True, help="Show what --fix would change; write nothing.")
@click.option(
    "--profile",
    type=click.Choice(settings.PROFILES),
    help="Which rules: those that nearly all projects want (recommended, unless the configuration says otherwise), all "
    "(strict), or those that hadolint has on by default, deciding as it does.",
)
@click.option("--select", multiple=True, metavar="NAME", help="Only this rule, alias or category (several: A,B).")
@click.option("--ignore", multiple=True, metavar="NAME", help="Not this rule, alias or category (several: A,B).")
@click.option(
    "--fail-on",
    type=click.Choice(settings.FAIL_ON),
    help="Least severity that gives exit code 1 (warning; with the profile hadolint: info).",
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files out (again for more).")
@click.option(
    "--force-exclude",
    is_flag=True,
    help="Leave out what the configuration excludes even where it is named, as by pre-commit.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Leave out what this earlier report (--format json --output FILE) has: neither shown, nor counted, nor fixed.",
)
@click.option(
    "--import-hadolint",
    is_flag=True,
    help="Write the lint section of buildopt.yaml from the nearest .hadolint.yaml first, then lint with it.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), metavar="N", help="Processes (as many as there are processors).")
@output_options("text", "json", "sarif", "github", "markdown")
def lint(
    paths: tuple[str, ...],
    output_file: Path | None,
    fix: bool,
    unsafe_fixes: bool,
    diff: bool,
    profile: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
    exclude: tuple[str, ...],
    force_exclude: bool,
    baseline: Path | None,
    import_hadolint: bool,
    jobs: int | None,
    output: Output,
) -> int:
    """Find what makes Docker builds slow, large or unsafe.

    PATH is a Dockerfile, a folder to search, or - for standard input; without one, the current folder is searched for
    all Dockerfiles that git does not ignore.
    """
    mode = _mode(fix, diff, unsafe_fixes, output)
    request = Request(output.config, profile, _names(select), _names(ignore), mode, unsafe_fixes, fail_on)
    check_names(request.select, selected=True)
    check_names(request.ignore)
    _check_extra(request.select)
    _check_standard_input(paths, fix, output)
    earlier = _earlier(baseline, output_file)
    if import_hadolint:
        written = _import_hadolint(output)
        request = replace(request, config=written) if "-" in paths else request
    if _wants_shellcheck(request, import_hadolint):
        output.message("without ShellCheck, scripts of RUN are not looked into: pip install 'buildopt[shellcheck]'")
    if "-" in paths:
        results = [lint_standard_input(request, earlier)]
    else:
        files, broken = named_files(paths, exclude, request.config, force_exclude=force_exclude)
        output.tell_misnamed(path.parent for path in files)
        results = [*broken, *lint_files(files, request, earlier, jobs or os.cpu_count() or 1)]
        results.sort(key=lambda result: result.path)
    return report(results, request, earlier, output, output_file)


def _names(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _mode(fix: bool, diff: bool, unsafe: bool, output: Output) -> str:
    if fix and diff:
        raise errors.UsageError("--fix and --diff exclude each other", hint="--diff shows what --fix would write")
    if unsafe and not (fix or diff):
        raise errors.UsageError("--unsafe-fixes does nothing alone", hint="add --fix or --diff")
    if diff and output.format != "text":
        name = "JSON" if output.json else output.format
        raise errors.UsageError(f"--diff prints a diff: no room for {name}", hint=f"leave out --format {output.format}")
    return "fix" if fix else "diff" if diff else ""


def _check_standard_input(paths: Sequence[str], fix: bool, output: Output) -> None:
    if "-" not in paths:
        return
    if len(paths) > 1:
        raise errors.UsageError("- cannot stand beside other paths", hint="lint standard input on its own")
    if fix and output.format != "text":
        name = "JSON" if output.json else output.format
        raise errors.UsageError(
            f"--fix writes the fixed file to standard output: no room for {name}",
            hint=f"leave out --format {output.format}",
        )


def _earlier(baseline: Path | None, output_file: Path | None) -> Baseline:
    if baseline is None:
        return Baseline()
    if output_file is not None and os.path.realpath(output_file) == os.path.realpath(baseline):
        raise errors.UsageError(
            f"--output would leave only what is new in the baseline {baseline}",
            hint="write a baseline without --baseline",
        )
    return Baseline.read(baseline)


def _wants_shellcheck(request: Request, import_hadolint: bool) -> bool:
    """Whether somebody who knows ShellCheck's findings from hadolint would go without them unawares."""
    if not (import_hadolint or request.profile == "hadolint"):
        return False
    from buildopt.dockerfile import shellcheck

    return shellcheck.program() is None


def _import_hadolint(output: Output) -> Path:
    """Write the configuration and say what came of it; the path of buildopt.yaml."""
    from buildopt.commands.import_hadolint import import_configuration

    if output.config is not None:
        raise errors.UsageError(
            "--import-hadolint writes the configuration that --config would replace", hint="leave out one of them"
        )
    written, lines = import_configuration(Path())
    for line in lines:
        output.message(line)
    return written


def _check_extra(select: tuple[str, ...]) -> None:
    """Whoever asks for ShellCheck must not be told that all is well because it is not there."""
    asked = next((name for name in select if re.fullmatch(r"shellcheck|SC\d+", name, re.IGNORECASE)), None)
    if asked is not None:
        from buildopt.dockerfile.shellcheck import program

        if program() is None:
            hint = "install it: pip install 'buildopt[shellcheck]'"
            raise errors.UsageError(f"{asked} needs ShellCheck, which is not installed", hint=hint)
