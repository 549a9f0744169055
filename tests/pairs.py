"""The pairs of dockerfiles/: a project, the Dockerfile as people write it, and what optimize makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.parse import parse
from buildopt.prove.scenarios import DEPENDENCY, SOURCE, UNCHANGED_SCENARIO, Scenario
from buildopt.sandbox.recipes import RECIPES
from buildopt.source import Source

FOLDER = Path(__file__).parents[1] / "dockerfiles"


@dataclass(frozen=True, slots=True)
class Pair:
    """One of them, as its pair.yaml says.

    ``also`` are passes that run only when they are asked for. ``smoke`` is a command that shows that an image works.
    ``quick`` ones are built by every run of the tests. ``dependency`` are a text of both Dockerfiles and what it
    becomes when a dependency is added, for those whose dependencies stand there.
    """

    folder: Path
    about: str
    smoke: str
    also: tuple[str, ...] = ()
    quick: bool = False
    dependency: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def context(self) -> Path:
        return self.folder / "project"

    @property
    def before(self) -> Source:
        return Source.read(self.folder / "Dockerfile")

    @property
    def optimized(self) -> Path:
        return self.folder / "Dockerfile.optimized"

    @property
    def ignore(self) -> Path:
        """What ``.dockerignore`` becomes; BuildKit reads it beside the Dockerfile of this name."""
        return self.folder / "Dockerfile.optimized.dockerignore"

    def rewrite(self) -> Optimized:
        """What optimize makes of it now."""
        return optimize(self.before, self.context, also=self.also)

    def images(self) -> list[str]:
        """The base images of both Dockerfiles that there are stand-ins for."""
        known = {alias: recipe.name for recipe in RECIPES for alias in recipe.names}
        found: dict[str, None] = {}
        for source in (self.before, self.rewrite().source):
            for stage in parse(source).stages:
                if stage.image is not None and stage.image.text in known:
                    found[known[stage.image.text]] = None
        return list(found)

    def scenarios(self) -> list[Scenario]:
        """Nothing changed, a source changed, a dependency added (where it has any)."""
        found = [UNCHANGED_SCENARIO, Scenario(SOURCE, "source changed", overlay=self.folder / "changes" / "source")]
        overlay = self.folder / "changes" / "dependency"
        if overlay.is_dir() or self.dependency is not None:
            found.append(
                Scenario(
                    DEPENDENCY,
                    "dependency added",
                    overlay=overlay if overlay.is_dir() else None,
                    replaced=(self.dependency,) if self.dependency is not None else (),
                )
            )
        return found


def read(folder: Path) -> Pair:
    """The pair in a folder."""
    document = yaml.safe_load((folder / "pair.yaml").read_text(encoding="utf-8"))
    dependency = document.get("dependency")
    return Pair(
        folder,
        document["about"],
        document["smoke"],
        tuple(document.get("also", ())),
        document.get("quick", False),
        (dependency["replace"], dependency["by"]) if dependency else None,
    )


PAIRS = tuple(read(file.parent) for file in sorted(FOLDER.glob("*/pair.yaml")))
