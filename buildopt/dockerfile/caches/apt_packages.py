"""Letting apt keep what it downloads, which the images of Debian and Ubuntu have it delete."""

from __future__ import annotations

from collections.abc import Sequence

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.runs import Run
from buildopt.source import Edit, Span

_KEEP = "Binary::apt::APT::Keep-Downloaded-Packages"


def keeps_packages(dockerfile: Dockerfile, runs: Sequence[Run], run: Run, kept: set[int]) -> bool:
    """Whether this stage or one below it already keeps downloaded packages."""
    stage: Stage | None = run.stage
    while stage is not None:
        if stage.index in kept:
            return True
        for other in runs:
            before = other.instruction.span.start <= run.instruction.span.start
            if other.stage.index == stage.index and before and ("docker-clean" in other.text or _KEEP in other.text):
                return True
        stage = dockerfile.stages[stage.base_index] if stage.base_index is not None else None
    return False


def keep_packages(dockerfile: Dockerfile, run: Run) -> Edit:
    """A RUN of its own, as Docker's documentation has it, above the comments that belong to the first apt RUN."""
    source = dockerfile.source
    start = dockerfile.with_comments(run.instruction).start
    own = source.text[source.line_start(run.instruction.lines[0]) : run.instruction.keyword_span.start]
    newline = source.newline
    text = (
        f"{own}# Let apt keep what it downloads: the cache mounts below hold it.{newline}"
        f"{own}{dockerfile.cased('RUN')} rm -f /etc/apt/apt.conf.d/docker-clean {dockerfile.escape}{newline}"
        f"{own}    && echo '{_KEEP} \"true\";' > /etc/apt/apt.conf.d/keep-cache{newline}"
    )
    return Edit(Span(start, start), text)
