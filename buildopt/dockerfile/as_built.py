"""A file as rules judge it: with the stages that variables in FROM lead to."""

from __future__ import annotations

from dataclasses import replace

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.scope import Scope, default_base, possible_bases, walk


def as_built(dockerfile: Dockerfile) -> Dockerfile:
    """The file with the stages that each ``FROM base-$V`` starts from where whoever builds sets nothing.

    Rewrites never see it: what they make must be right for any argument. It is the very same file where no variable in
    FROM leads to a stage.
    """
    stages = list(dockerfile.stages)
    for stage, instruction, scope in walk(dockerfile):
        if instruction is stage.origin and stage.base_is_open:
            stages[stage.index] = _settled(dockerfile, stage, scope)
    settled = any(stage is not written for stage, written in zip(stages, dockerfile.stages, strict=True))
    return replace(dockerfile, stages=tuple(stages)) if settled else dockerfile


def _settled(dockerfile: Dockerfile, stage: Stage, scope: Scope) -> Stage:
    """The stage with its base; with all that it may be where a variable has no default."""
    default = default_base(dockerfile, stage)
    named = scope.expand(stage.image.text) if stage.image is not None else None
    others = sorted(possible_bases(dockerfile, stage) - {default})
    if default is None and (named is not None or not others):
        return stage  # the defaults name an image, or no stage fits
    return replace(stage, base_index=default, other_bases=tuple(others))
