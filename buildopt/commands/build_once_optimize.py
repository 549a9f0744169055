"""``build-once --optimize``: says what the Dockerfile that is built has beside the user's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildopt.commands.common import Output

if TYPE_CHECKING:
    from buildopt.build.plan import BuildPlan


def tell(plan: BuildPlan, output: Output) -> None:
    """One line for what was changed; with ``-v`` one for each thing that was not."""
    if plan.rewritten is None:
        return
    path = os.path.relpath(plan.dockerfile)
    if plan.rewritten.passes:
        output.message(f"optimized for this build: {', '.join(plan.rewritten.passes)} (see: buildopt optimize {path})")
    else:
        output.message(f"optimized for this build: nothing to change in {path}")
    if output.verbose:
        for line in plan.rewritten.refused:
            output.message(f"  left alone: {line}")


def optimized(plan: BuildPlan) -> list[str]:
    """Names of the passes that changed what is built."""
    return list(plan.rewritten.passes) if plan.rewritten is not None else []
