"""The image that a stage goes back to."""

from __future__ import annotations

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.images import Image, image
from buildopt.dockerfile.scope import walk


def base_of(dockerfile: Dockerfile, stage: Stage) -> Image | None:
    """What the first stage of a chain of stages starts from; None where that depends on a variable without a value."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    if stage.image is None:
        return None
    scope = next((scope for _, instruction, scope in walk(dockerfile) if instruction is stage.origin), None)
    expanded = scope.expand(stage.image.text) if scope is not None else None
    return image(expanded.text) if expanded is not None and expanded.text else None
