"""The image that a stage goes back to."""

from __future__ import annotations

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.images import Image, image
from buildopt.dockerfile.scope import Scope, of_the_last_file, walk


def base_of(dockerfile: Dockerfile, stage: Stage) -> Image | None:
    """What the first stage of a chain of stages starts from; None where that depends on a variable without a value.

    Where several stages may be the base, it is the image that all of them go back to.
    """
    return _bases(dockerfile).get(stage.index)


@of_the_last_file
def _bases(dockerfile: Dockerfile) -> dict[int, Image | None]:
    found: dict[int, Image | None] = {}
    for stage, instruction, scope in walk(dockerfile):
        if instruction is not stage.origin or stage.image is None:
            continue
        first, *rest = [found.get(index) for index in stage.bases] or [_named(stage.image.text, scope)]
        found[stage.index] = first if all(other == first for other in rest) else None
    return found


def _named(text: str, scope: Scope) -> Image | None:
    expanded = scope.expand(text)
    return image(expanded.text) if expanded is not None and expanded.text else None
