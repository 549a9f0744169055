"""The command tree. Subcommands are imported only when they are run; errors are printed here, once."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from buildopt import __version__, errors

# name → (module:attribute, its line in --help). Imports nothing, so that --help stays fast.
COMMANDS: dict[str, tuple[str, str]] = {
    "lint": ("buildopt.commands.lint:lint", "Find what makes builds slow, large or unsafe, and fix it."),
    "optimize": ("buildopt.commands.optimize:optimize", "Rewrite a Dockerfile: cache mounts, multi-stage."),
    "explain": ("buildopt.commands.explain:explain", "Explain a rule or a pass."),
    "build-once": ("buildopt.commands.build_once:build_once", "Build every platform once, into one OCI artifact."),
    "merge": ("buildopt.commands.merge:merge", "Merge artifacts of single platforms into one image."),
    "test": ("buildopt.commands.test:test", "Run gates on an OCI artifact: tests, scans, policies."),
    "inspect": ("buildopt.commands.inspect:inspect", "Show what an OCI artifact holds, and check it."),
    "push": ("buildopt.commands.push:push", "Push an OCI artifact to registries, digest unchanged."),
    "why": ("buildopt.commands.why:why", "Why the last build's steps missed the cache."),
    "engine": ("buildopt.commands.engine:engine", "A private Docker engine: up, down, status, prune."),
    "demo": ("buildopt.commands.demo:demo", "Lint, optimize, build once and push a small real project."),
}


STDERR = 2
GARBAGE = 50_000
"""Objects between two searches for cycles: importing makes thousands that stay."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when one is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from buildopt.settings import nearest

            raise errors.UsageError(f"no such command: {name}", hint=nearest(name, list(COMMANDS)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: buildopt lint Dockerfile",
)
@click.version_option(__version__, prog_name="buildopt")
def buildopt() -> None:
    """Docker builds that are fast, small and right: lint, rewrite, build once, push the same bytes everywhere."""


class _Stream(io.FileIO):
    """A standard stream whose reader may leave (such as ``| head``) or be slow: what is under way comes to its end all
    the same, and the exit code tells of that, not of the reader."""

    def write(self, data: Any, /) -> int:
        while True:
            try:
                count = super().write(data)
            except BrokenPipeError:
                count = memoryview(data).nbytes
            except OSError:
                if self.fileno() != STDERR:
                    raise
                count = memoryview(data).nbytes  # a log that is full stops nothing, and nobody could be told
            if count is not None:
                return count
            select.select([], [self], [])  # who started this made the pipe one that does not wait


def _unbroken(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):  # a test's
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(stream.fileno(), "w", closefd=False)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_streams() -> None:
    """Started with a standard stream closed (``2>&-``), what is printed there goes nowhere; and no file or connection
    gets that number, which others write to."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it is ours to the end
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def run() -> NoReturn:
    """The program: ``main``, and then the end of the process without the interpreter's own tidying, which takes as long
    as many a command."""
    gc.set_threshold(GARBAGE)
    _open_streams()
    sys.stdout, sys.stderr = _unbroken(sys.stdout), _unbroken(sys.stderr)
    code = errors.INTERRUPTED
    with suppress(KeyboardInterrupt):  # another Ctrl-C, while the first one is being told
        code = main()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing is raised, no traceback reaches a user."""
    try:
        os.getcwd()
    except FileNotFoundError:
        _print_error("the working folder is gone", "cd to another one")
        return errors.UsageError.exit_code
    try:
        code = buildopt.main(argv, prog_name="buildopt", standalone_mode=False)
        sys.stdout.flush()
    except errors.BuildoptError as error:
        _print_error(error.message, error.hint, error.detail, color=error.color)
        return error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path} --help" if context is not None else "see buildopt --help"
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
        else:
            _print_error(error.format_message(), hint)
        return errors.UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return errors.INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            return _print_bug(error)
        _print_error(f"stdout cannot be written: {error.strerror}", "free some space where it is redirected to")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter's last flush must not fail again
        return errors.ToolError.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is reported as one, without a traceback
        return _print_bug(error)
    return code if isinstance(code, int) else errors.OK


def _print_error(message: str, hint: str, detail: tuple[str, ...] = (), *, color: bool = True) -> None:
    color = color and sys.stderr.isatty() and "NO_COLOR" not in os.environ
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from buildopt.report.github import harmless

        # What a build printed must not command the runner.
        message, hint, detail = harmless(message), harmless(hint), tuple(map(harmless, detail))
    for line in detail:
        click.echo(f"  {line}", err=True)
    word = click.style("error:", fg="red", bold=True) if color else "error:"
    click.echo(f"{word} {message}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)


def _print_bug(error: Exception) -> int:
    from buildopt import bugs

    _print_error(*bugs.told(error))
    return errors.BUG
