"""Give package managers a cache that outlives the build.

What it does
------------
Adds ``--mount=type=cache`` to the RUN instructions of package managers, and takes out what would defeat it:
``rm -rf /var/lib/apt/lists/*``, ``apt-get clean``, ``--no-cache-dir``, ``npm cache clean --force``. A comment that
stands between such a clean-up and the command before it goes with it. For apt, one RUN a stage tells Debian's images to
keep what is downloaded; apk is told to fetch its index anew, and dnf to keep packages and to ask whether its lists are
new.

It knows apt, apk, dnf, yum, microdnf, zypper, pacman; pip, uv, poetry, pdm, pipenv, conda, mamba; npm, yarn 1, pnpm,
bun; Go, cargo, maven, gradle, sbt, .NET, composer, bundler, mix, cabal, stack, swift; ccache and sccache where a
variable names their folder. It leaves alone deno and later yarns, whose cache a program may read when it runs; cargo's
``target`` is a pass of its own.

Why
---
A changed line in a layer throws the whole layer away, and with it all that was downloaded. A cache mount keeps the
downloads on the builder, outside the image: the next build downloads only what is new, and the image is as small as one
that was cleaned up.

A mount's content never reaches the image. So the mount is refused where a later RUN, COPY --from, CMD or ENTRYPOINT may
read the folder, where an earlier instruction wrote into it, and where user, home or shell are not known. An id keeps
apart what one platform or distribution must not take from another.

Example
-------
::

    FROM debian:bookworm
    RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*

Use instead
-----------
::

    FROM debian:bookworm
    # Let apt keep what it downloads: the cache mounts below hold it.
    RUN rm -f /etc/apt/apt.conf.d/docker-clean \\
        && echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
    RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
        --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\
        apt-get update && apt-get install -y curl

References
----------
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.caches.apt_packages import keep_packages, keeps_packages
from buildopt.dockerfile.caches.cache_family import steps
from buildopt.dockerfile.caches.cache_group import Group
from buildopt.dockerfile.caches.cache_steps import Step, content_of
from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.cleanups import Refused, removals
from buildopt.dockerfile.caches.mounts import declaration, insertion
from buildopt.dockerfile.managers import MANAGERS
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.runs import Run, runs_by_family

NAME = "cache_mounts"
OPT_IN = False


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Add cache mounts wherever nothing can miss what they hide."""
    families = runs_by_family(dockerfile)
    found: list[Step] = []
    refused: list[Refusal] = []
    for manager in MANAGERS:
        # All stages of a family have one base, so its first RUN speaks for it.
        users = [runs[0] for runs in families.values() if any(run.needs(manager) for run in runs)]
        mixed = len({content_of(manager, run.state) for run in users}) > 1
        for index, runs in families.items():
            try:
                found += steps(Group(dockerfile, context, index, runs, manager), mixed=mixed)
            except No as no:
                refused.append(Refusal(NAME, no.line, f"{manager.name}: {no.reason}"))
    changes: list[Change] = []
    kept: set[int] = set()
    declared: set[tuple[int, str]] = set()
    of_run: dict[int, list[Step]] = {}
    for step in found:
        of_run.setdefault(step.run.instruction.span.start, []).append(step)
    for runs in families.values():
        for run in runs:
            mine = of_run.get(run.instruction.span.start, [])
            try:
                changes += _change(dockerfile, runs, run, mine, kept, declared)
            except Refused as no:
                refused.append(Refusal(NAME, run.line, str(no)))
    changes.sort(key=lambda change: change.lines)
    return PassResult(tuple(changes), tuple(sorted(refused, key=lambda refusal: refusal.line)))


def _change(
    dockerfile: Dockerfile,
    runs: Sequence[Run],
    run: Run,
    mine: Sequence[Step],
    kept: set[int],
    declared: set[tuple[int, str]],
) -> Iterator[Change]:
    wanted = [mount for step in mine for mount in step.mounts]
    edits = removals(run, [step.drops for step in mine])
    if wanted:
        edits.append(insertion(dockerfile, run.instruction, wanted))
    if not edits:
        return
    why = []
    if wanted:
        why.append(f"what {_names(mine)} downloads stays on the builder, outside the image, for the next build")
    if any(step.drops.cleans for step in mine):
        why.append("what would empty or defeat that cache goes")
    if any(mount.target == "/var/cache/apt" for mount in wanted) and not keeps_packages(dockerfile, runs, run, kept):
        kept.add(run.stage.index)
        edits.append(keep_packages(dockerfile, run))
        why.append("a RUN before it lets apt keep its packages, which Debian's images delete")
    for argument in dict.fromkeys(mount.argument for mount in wanted if mount.argument):
        if not _is_declared(dockerfile, run, argument, declared):
            declared.add((run.stage.index, argument))
            edits.append(declaration(dockerfile, run.instruction, argument))
            why.append("each platform has a cache of its own")
    title = f"cache mounts for {_names(mine)}" if wanted else f"no clean-up of what {_names(mine)} has mounted"
    yield Change(NAME, title, "; ".join(why), run.instruction.lines, tuple(edits))


def _names(mine: Sequence[Step]) -> str:
    return " and ".join(dict.fromkeys(step.manager.name for step in mine if step.mounts or step.drops))


def _is_declared(dockerfile: Dockerfile, run: Run, argument: str, declared: set[tuple[int, str]]) -> bool:
    """Whether the ARG is there for a RUN: in its stage, or in one below it, whose ARG it has too."""
    stage: Stage | None = run.stage
    while stage is not None:
        if (stage.index, argument) in declared:
            return True
        stage = dockerfile.stages[stage.base_index] if stage.base_index is not None else None
    return argument in run.state.arguments
