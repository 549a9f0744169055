"""What ``build-once`` does for ``why``: it leaves a record of each build."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output

if TYPE_CHECKING:
    from buildopt.build.plan import BuildPlan
    from buildopt.build.recording import Recording
    from buildopt.engine.connection import Engine


@contextmanager
def recorded(plan: BuildPlan, engine: Engine, output: Output) -> Iterator[Recording]:
    """Record the build that runs in the block, and say where with --verbose."""
    from buildopt.build.recording import recording

    native = engine.platforms[0] if engine.platforms else ""
    # Without the version: an engine that was updated still has its cache.
    builder = re.sub(r"(?<=Docker )\d\S*,? ?", "", f"{engine.description} {engine.builder or ''}").strip()
    made: Recording | None = None
    try:
        with recording(plan, Path.cwd(), builder=builder, native=native, environment=os.environ) as made:
            yield made
    finally:
        if made is not None and made.problem:
            output.message(f"warning: no record of this build: {made.problem}")
        elif made is not None and made.written and output.verbose:
            click.echo(f"record: {made.id} (why steps ran: buildopt why)", err=True)
