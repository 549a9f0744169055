"""``--cache`` of ``build-once``: says what will not work or did not, and keeps folders in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from buildopt.build.buildx import Built
    from buildopt.build.plan import BuildPlan
    from buildopt.settings import Settings


def advise(plan: BuildPlan, settings: Settings) -> None:
    """Warnings before the build."""
    if not plan.caches and not any(image.cache for image in settings.images):
        return
    from buildopt.build import cache_advice

    for line in dict.fromkeys(cache_advice.before(plan, settings, os.environ)):
        click.echo(f"warning: {line}", err=True)


@contextmanager
def kept(plan: BuildPlan) -> Iterator[None]:
    """Have the folders of local caches for this build alone, and clear them up after it."""
    if not any(entry.folder is not None for entry in plan.caches):
        yield
        return
    from buildopt.build import local_cache

    with local_cache.held(plan.caches):
        identity = " ".join(filter(None, (str(plan.context), plan.dockerfile.name, plan.options.target)))
        for entry in plan.caches:
            other = local_cache.owned(entry.folder, identity) if entry.folder is not None else ""
            if other:
                click.echo(
                    f"warning: the cache in {entry.folder} was that of another build ({other}): each overwrites what"
                    " the other kept; give each a folder of its own",
                    err=True,
                )
        yield


def told(plan: BuildPlan, built: Built, size: int) -> None:
    """Warnings after the build; ``size`` is the image's, in bytes."""
    if not plan.caches:
        return
    from buildopt.build import cache_advice

    for line in cache_advice.after(built.without, plan.caches, size):
        click.echo(f"warning: {line}", err=True)
