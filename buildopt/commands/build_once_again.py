"""``--check-reproducible``: a second build, compared with the artifact that was just made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output
from buildopt.errors import FINDINGS, OK

if TYPE_CHECKING:
    from buildopt.build.artifact import Staging
    from buildopt.build.buildx import View
    from buildopt.build.plan import BuildPlan
    from buildopt.engine.connection import Engine
    from buildopt.prove.reproducible import PlatformComparison


def build_again(
    plan: BuildPlan,
    command: Sequence[str],
    engine: Engine,
    staging: Staging,
    showing: AbstractContextManager[View],
    output: Output,
) -> tuple[PlatformComparison, ...]:
    """Build once more without cache, as ``staging`` was built, and compare. ``command`` is that of buildx."""
    from buildopt.build.buildx import redactor
    from buildopt.oci.layout import open_artifact
    from buildopt.prove import reproducible

    output.message("building once more, without cache, to compare")
    with showing as view:
        again = reproducible.rebuild(plan, command, engine, staging, view, output.message)
    redact = redactor(plan.secret_values(os.environ))
    return reproducible.compare(open_artifact(staging.live), again, redact)


def show(found: Sequence[PlatformComparison], plan: BuildPlan, output: Output) -> int:
    """Say what came of it, in text; the exit code."""
    if not found:
        return OK
    from buildopt.report import reproducible

    same = all(item.same for item in found)
    if not output.json and not (same and output.quiet):
        for line in reproducible.text(found, timed=plan.epoch is not None):
            click.echo(line, err=True)
    return OK if same else FINDINGS
