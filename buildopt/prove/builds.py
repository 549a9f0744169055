"""Builds a side with buildx, apart from the user's own caches and from those of the other side, and times it."""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from buildopt import process
from buildopt.build import artifact, nodes
from buildopt.build.artifact import Staging
from buildopt.build.buildx import Built as BuiltImage
from buildopt.build.buildx import View
from buildopt.build.ignore import Ignore
from buildopt.build.output import Output
from buildopt.build.plan import BuildPlan, Options
from buildopt.build.progress import Event
from buildopt.engine.connection import Engine
from buildopt.errors import BuildoptError, EngineError, ToolError
from buildopt.prove.workspace import Workspace

NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
"""The build argument that keeps cache mounts apart."""
_SECONDS = 120.0  # to list or to remove cache mounts
_TITLES = {"before": "the original", "after": "the rewritten Dockerfile"}


@dataclass(frozen=True, slots=True)
class How:
    """How both sides are built, as ``docker buildx build`` takes it. No platforms: the engine's own."""

    platforms: tuple[str, ...] = ()
    target: str | None = None
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    build_contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build: its layout folder, how many seconds it took, how many steps it had and took from the cache."""

    layout: Path
    seconds: float
    total: int
    cached: int


class _Nobody:
    """Watches a build and tells nobody."""

    def line(self, line: str) -> None:
        return

    def event(self, event: Event) -> None:
        return


# Who watches a build of a Dockerfile, given the name that it goes by.
Views = Callable[[str], AbstractContextManager[View]]


def nobody(shown: str) -> AbstractContextManager[View]:
    """Nobody watches."""
    return nullcontext(_Nobody())


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds on one engine into layouts below ``folder``. Its caches are its own, by ``namespace``."""

    engine: Engine
    folder: Path
    how: How
    views: Views
    namespace: str = field(default_factory=lambda: f"buildopt-prove-{secrets.token_hex(6)}")

    @property
    def buildx(self) -> tuple[str, ...]:
        """The command in front of ``build``."""
        return (*self.engine.buildx, *(("--builder", self.engine.builder) if self.engine.builder else ()))

    def build(self, workspace: Workspace, name: str, *, cold: bool = False, like: str = "") -> Built:
        """Build a side into the layout called ``name``.

        ``cold``: with neither cached layers nor anything in a cache mount. ``like`` is a layout with much the same
        layers, which then need not be sent again. Raises ToolError where the build fails, with the side's name;
        EngineError where the engine is the reason.
        """
        self._start_like(name, like)
        plan = self._plan(workspace.context, workspace.dockerfile, workspace.side.shown, name, cold=cold)
        try:
            return self._run(plan)
        except EngineError:
            raise
        except ToolError as error:
            raise _failed(workspace.side.name, error) from error

    def _run(self, plan: BuildPlan) -> Built:
        layout = plan.output.path
        with artifact.staged(plan.output) as staging, self.views(plan.shown) as view:
            began = time.monotonic()
            built = self._build(plan, staging, view)
            seconds = time.monotonic() - began
            artifact.publish(staging, built.digest)
        return Built(layout, seconds, built.total, built.cached)

    def _build(self, plan: BuildPlan, staging: Staging, view: View) -> BuiltImage:
        engine = self.engine
        return nodes.build(plan, self.buildx, staging, view, environment=engine.environment, nodes=engine.nodes)

    def _plan(self, context: Path, dockerfile: Path, shown: str, name: str, *, cold: bool = False) -> BuildPlan:
        how = self.how
        layout = self.folder / "layouts" / name
        # Neither the cache mounts nor the layers of one side are of use to the other one, or to the user's own builds:
        # a host's name is part of what a RUN is cached by, and of nothing else.
        own = f"{self.namespace}-{name}"
        options = Options(
            target=how.target,
            build_args=(*how.build_args, f"{NAMESPACE}={own}"),
            add_hosts=(f"{own}:127.0.0.1",),
            secrets=how.secrets,
            ssh=how.ssh,
            build_contexts=how.build_contexts,
            no_cache=cold,
            provenance="off",
        )
        return BuildPlan(
            context, dockerfile, shown, how.platforms, Output("folder", layout, layout), Ignore(), (), (), options
        )

    def _start_like(self, name: str, like: str) -> None:
        layouts = self.folder / "layouts"
        if like and not (layouts / name).exists() and (layouts / like).is_dir():
            with artifact.writes(layouts):
                shutil.copytree(layouts / like, layouts / name, copy_function=os.link)

    def base(self, text: str, name: str) -> Path | None:
        """The layout of an image that a Dockerfile without a context makes; None where it cannot be built.

        ``name`` is the layout of an image that is built upon it.
        """
        context, dockerfile = self._bare(text, name)
        self._start_like(f"base-{name}", name)
        plan = self._plan(context, dockerfile, "the base image", f"base-{name}")
        plan = _without_target(plan)
        try:
            return self._run(plan).layout
        except EngineError:
            raise
        except ToolError:
            return None

    def fetch(self, text: str, name: str) -> None:
        """Build what fetches base images, as well as it can be done: what is missing, the real build will say."""
        context, dockerfile = self._bare(text, name)
        words = ["build", "--output", "type=cacheonly", "--file", str(dockerfile), "--provenance=false"]
        words += ["--platform", ",".join(self.how.platforms)] if self.how.platforms else []
        for flag, values in (("--build-arg", self.how.build_args), ("--build-context", self.how.build_contexts)):
            for value in values:
                words += [flag, value]
        process.run([*self.buildx, *words, "--", context], env=self.engine.environment, check=False)

    def _bare(self, text: str, name: str) -> tuple[Path, Path]:
        context = self.folder / "empty"
        context.mkdir(exist_ok=True)
        dockerfile = self.folder / f"{name}.Dockerfile"
        dockerfile.write_text(text, encoding="utf-8", errors="surrogateescape")
        return context, dockerfile

    def forget(self, say: Callable[[str], None]) -> None:
        """Remove the cache mounts that these builds made."""
        forget_mounts(self.buildx, self.engine.environment, f"{self.namespace}-", say)


def forget_mounts(
    command: Sequence[str], environment: Mapping[str, str], namespace: str, say: Callable[[str], None]
) -> None:
    """Remove the cache mounts of builds whose NAMESPACE begins with ``namespace``. ``command`` is that of buildx."""
    with suppress(BuildoptError):
        listed = process.run(
            [*command, "du", "--verbose", "--filter", "type=exec.cachemount"], env=environment, timeout=_SECONDS
        ).text
        for record in re.split(r"\n\s*\n", listed):
            identity = re.search(r"^ID:\s+(\S+)", record, re.MULTILINE)
            if identity is None or f'with id "{namespace}' not in record:
                continue
            argv = [*command, "prune", "--force", "--filter", f"id={identity[1]}"]
            process.run(argv, env=environment, timeout=_SECONDS)
        return
    say(f"warning: cache mounts named {namespace.rstrip('-')} could not be removed; docker buildx prune does")


def _without_target(plan: BuildPlan) -> BuildPlan:
    return dataclasses.replace(plan, options=dataclasses.replace(plan.options, target=None))


def _failed(side: str, error: ToolError) -> ToolError:
    title = _TITLES[side]
    hint = error.hint or ("it must build before it can be compared" if side == "before" else "")
    return type(error)(f"{title} does not build: {error.message}", hint=hint, detail=error.detail)
