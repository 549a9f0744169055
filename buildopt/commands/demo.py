"""``buildopt demo``: the whole way on a small real project, by the very commands that a user types."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildopt.commands.common import Output, output_options
from buildopt.errors import ToolError, UsageError

if TYPE_CHECKING:
    from buildopt.sandbox.demo import Lab

# The workflow that people write by hand: test and scan build for amd64, each push job builds for both platforms.
HAND_WRITTEN_BUILDS = (1, 1, 2, 2)
PLATFORMS = ("--platforms", "amd64,arm64")


@click.command(epilog="Example: buildopt demo && cd buildopt-demo/greet && buildopt inspect")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", is_flag=True, help="Leave the engine and the registries running.")
@click.option("--end", is_flag=True, help="End the registries that --keep left running in FOLDER.")
@output_options()
def demo(folder: Path | None, keep: bool, end: bool, output: Output) -> int:
    """Lint, optimize, build once and push a small real project.

    In a new FOLDER (./buildopt-demo): a Go program with a Dockerfile as people write it, a real engine, and two real
    registries on loopback. Prints what was saved, and ends what it started. The first run downloads an engine and
    Debian packages where there is no engine yet.
    """
    from buildopt.sandbox import demo as sandbox

    if end:
        if folder is None:
            raise UsageError("--end needs the demo's FOLDER", hint="name the folder that the demo with --keep printed")
        ended = sandbox.end(folder.absolute())
        output.message(f"ended {len(ended)} registries" if ended else f"nothing runs in {folder}")
        return 0
    started = time.monotonic()
    where = sandbox.new_folder(folder)
    output.message(f"demo in {os.path.relpath(where)}")
    with sandbox.laboratory(where, keep=keep, say=output.message) as lab:
        output.message(f"engine: {lab.engine.description}")
        saved = _walk(lab, output)
    if output.json:
        output.result(json.dumps({"version": 1, "folder": str(where), **saved.document()}) + "\n")
    else:
        output.result(saved.table())
        output.message(f"\nall of it took {time.monotonic() - started:.0f} s; the project is in {lab.project}")
        if keep:
            output.message(_how_to_end(where, lab))
    return 0


@dataclass(frozen=True, slots=True)
class Build:
    """What one build left: ``size`` is that of the amd64 image in bytes, ``rebuild`` the seconds after a change."""

    digest: str
    size: int
    rebuild: float


@dataclass(frozen=True, slots=True)
class Saved:
    """Before and after, and what the registries say."""

    before: Build
    after: Build
    digests: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "platform_builds": {"before": sum(HAND_WRITTEN_BUILDS), "after": 2},
            "image_bytes": {"before": self.before.size, "after": self.after.size},
            "rebuild_seconds": {"before": self.before.rebuild, "after": self.after.rebuild},
            "digest": self.after.digest,
            "destinations": dict(self.digests),
            "equal": all(digest == self.after.digest for _, digest in self.digests),
        }

    def table(self) -> str:
        """As a table for people."""
        rows = [
            ("", "before", "after", ""),
            ("platform builds a release", str(sum(HAND_WRITTEN_BUILDS)), "2", "test, scan, push, push → build-once"),
            ("image size (amd64)", _megabytes(self.before.size), _megabytes(self.after.size),
             _times(self.before.size, self.after.size, "smaller")),
            ("rebuild, both platforms", f"{self.before.rebuild:.1f} s", f"{self.after.rebuild:.1f} s",
             _times(self.before.rebuild, self.after.rebuild, "faster") + ", after a source change"),
        ]  # fmt: skip
        lines = [f"  {name:26}{before:>11}{after:>11}  {note}".rstrip() for name, before, after, note in rows]
        lines += ["", f"  built         {self.after.digest}"]
        lines += [f"  {'equal' if digest == self.after.digest else 'DIFFERENT':13} {digest}  {reference}"
                  for reference, digest in self.digests]  # fmt: skip
        return "\n" + "\n".join(lines) + "\n"


def _walk(lab: Lab, output: Output) -> Saved:
    """Type the commands of a user's day and keep their results."""
    shell = _Shell(lab, output)
    shell.show("lint", "Dockerfile", expected=(0, 1))
    before = shell.build_twice("-o", ".buildopt/before")
    shell.show("lint", "--fix", "Dockerfile", expected=(0, 1))
    shell.show("optimize", "-w", "Dockerfile")
    after = shell.build_twice()
    pushed = shell.json("push", "--from-oci", environment=lab.push_environment)
    digests = tuple((entry["reference"], entry["digest"] or "") for entry in pushed["destinations"])
    return Saved(before, after, digests)


@dataclass(frozen=True, slots=True)
class _Shell:
    """Runs buildopt's own commands in the project's folder, each shown first as a user would type it."""

    lab: Lab
    output: Output

    def show(self, *words: str, expected: Sequence[int] = (0,)) -> None:
        """Run a command whose results people read."""
        self._run(words, words, expected, None)

    def json(self, *words: str, environment: Mapping[str, str] | None = None, hidden: Sequence[str] = ()) -> Any:
        """Run a command for its JSON; ``hidden`` words are needed here, but by nobody who types the command."""
        return json.loads(self._run(words, (*words, *hidden, "--format", "json"), (0,), environment))

    def build_twice(self, *words: str) -> Build:
        """Build, change the source, and build again."""
        from buildopt.sandbox.demo import change_source

        contexts = [word for context in self.lab.build_contexts for word in ("--build-context", context)]
        command = ("build-once", *PLATFORMS, *words)
        self.json(*command, hidden=contexts)
        change_source(self.lab.project)
        self.output.message("\n(one line of main.go changed)")
        built = self.json(*command, hidden=contexts)
        size = next(entry["size"] for entry in built["platforms"] if entry["platform"] == "linux/amd64")
        return Build(built["digest"], size, built["seconds"])

    def _run(
        self, shown: Sequence[str], words: Sequence[str], expected: Sequence[int], environment: Mapping[str, str] | None
    ) -> str:
        from buildopt import process

        self.output.message(click.style(f"\n$ buildopt {shlex.join(shown)}", bold=self.output.colored(sys.stderr)))
        quiet = ["--quiet"] if self.output.quiet else []
        argv = [sys.executable, "-m", "buildopt", *words, *quiet]
        stdout = None if "json" in words else sys.stderr  # what people read stands beside the progress of the rest
        status, text = process.call(argv, env=environment, cwd=self.lab.project, stdout=stdout)
        if status not in expected:
            raise ToolError(f"buildopt {shlex.join(shown)} ended with exit status {status}", hint="see its lines above")
        return text


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _times(before: float, after: float, word: str) -> str:
    return f"{before / after:.1f} times {word}" if after else ""


def _how_to_end(folder: Path, lab: Lab) -> str:
    engine = "buildopt engine down; " if lab.engine.private else ""
    return f"still running: {', '.join(lab.destinations)}\nend it with: {engine}buildopt demo --end {folder}"
