"""What every subcommand shares: its common options and how it prints."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from buildopt import settings
from buildopt.errors import BuildoptError


@dataclass(frozen=True, slots=True)
class Output:
    """How a command prints: results to stdout, progress and messages to stderr."""

    format: str = "text"
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    config: Path | None = None

    @property
    def json(self) -> bool:
        """Whether results are JSON."""
        return self.format == "json"

    def settings(self, folder: Path) -> settings.Settings:
        """The configuration given by ``--config``, else the nearest one of ``folder``."""
        self.tell_misnamed([folder])
        return settings.load_nearest(folder, self.config)

    def tell_misnamed(self, folders: Iterable[Path]) -> None:
        """Warn of configurations of these folders that nobody reads, for their name."""
        if self.config is None:
            for path in dict.fromkeys(settings.misnamed(folder) for folder in dict.fromkeys(folders)):
                if path is not None:
                    self.message(f"warning: {os.path.relpath(path)} is not read: name it {settings.FILE_NAME}")

    def result(self, text: str) -> None:
        """Print a result to stdout, exactly as it is (bytes that are no UTF-8 are kept)."""
        stream = sys.stdout
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(text.encode("utf-8", "surrogateescape"))
            stream.buffer.flush()
        else:
            stream.write(text)

    def message(self, text: str) -> None:
        """Tell people something on stderr, unless they asked for quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def colored(self, stream: Any) -> bool:
        """Whether to colour what goes to ``stream``."""
        return self.color and "NO_COLOR" not in os.environ and self.lively(stream)

    def lively(self, stream: Any) -> bool:
        """Whether what was written to ``stream`` can be drawn anew."""
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def output_options(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds ``--format --config --quiet --verbose --no-color``; the command gets them as one ``output``."""
    choices = formats or ("text", "json")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--format", "format_", type=click.Choice(choices), default="text", help="How results are printed."
        )
        @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Use this buildopt.yaml.")
        @click.option("-q", "--quiet", is_flag=True, help="No progress or messages.")
        @click.option(
            "-v", "--verbose", is_flag=True, help="More detail: the command that builds, every step and blob."
        )
        @click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR=1).")
        @functools.wraps(function)
        def command(
            *args: Any, format_: str, config: Path | None, quiet: bool, verbose: bool, no_color: bool, **kwargs: Any
        ) -> Any:
            if config is not None:
                settings.load(config)  # it must be right, also where there is nothing in it for this command
            output = Output(format_, quiet, verbose, not no_color, config)
            try:
                return function(*args, output=output, **kwargs)
            except BuildoptError as error:
                error.color = not no_color
                raise

        return command

    return decorate


@contextmanager
def terminated() -> Iterator[None]:
    """End orderly on SIGTERM too (as CI systems send it): what was started is ended, nothing half-made is left."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
