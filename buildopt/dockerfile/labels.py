"""The labels that a file sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction, Pair
from buildopt.dockerfile.scope import of_the_last_file, possible_bases, shipped_stages, walk


@dataclass(frozen=True, slots=True)
class Label:
    """One pair of a LABEL, with its variables resolved.

    Where the file alone does not tell a variable's value, ``key`` is as written and ``value`` None. ``written`` is the
    value without its quotes.
    """

    stage: int
    instruction: Instruction
    pair: Pair
    key: str
    value: str | None
    written: str


@of_the_last_file
def labels(dockerfile: Dockerfile) -> tuple[Label, ...]:
    """All labels; those of triggers belong to other images and are left out."""
    return tuple(_labels(dockerfile))


def _labels(dockerfile: Dockerfile) -> Iterator[Label]:
    for stage, instruction, scope in walk(dockerfile):
        if instruction.keyword != "LABEL":
            continue
        for pair in instruction.pairs:
            key = scope.expand(pair.key.text)
            value = scope.expand(pair.value.text) if pair.value is not None else None
            name = pair.key.text if key is None else key.text
            known = value is not None and scope.certain(value)
            written = pair.value.text.strip("\"'") if pair.value is not None else ""
            yield Label(stage.index, instruction, pair, name, value.text if value and known else None, written)


def stages_without(dockerfile: Dockerfile, having: Mapping[int, bool]) -> Iterator[int]:
    """Of the stages that become images those that neither have something nor start from one that has.

    A stage that another one starts from is no image of its own.
    """
    found: dict[int, bool] = {}
    shipped = shipped_stages(dockerfile).difference(*(possible_bases(dockerfile, stage) for stage in dockerfile.stages))
    for stage in dockerfile.stages:
        inherited = bool(stage.bases) and all(found[index] for index in stage.bases)
        found[stage.index] = inherited or having.get(stage.index, False)
        if not found[stage.index] and stage.index in shipped:
            yield stage.index
