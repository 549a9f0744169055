"""Variables that FROM sees: the ARG before the first FROM, and those that BuildKit brings along."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import of_the_last_file
from buildopt.dockerfile.words import expand
from buildopt.finding import Fix
from buildopt.source import Edit, Source, Span

# What BuildKit defines by itself, with values of a plain build; the versions of Linux and most variants are empty.
PLATFORM_ARGUMENTS = MappingProxyType(
    {
        f"{side}{part}": value
        for side in ("BUILD", "TARGET")
        for part, value in (
            ("PLATFORM", "linux/amd64"),
            *(("OS", "linux"), ("OSVERSION", ""), ("ARCH", "amd64"), ("VARIANT", "")),
        )
    }
    | {"TARGETSTAGE": "default"}
)
# How far a name may be from the one that was meant; as close as BuildKit wants it.
_NEAR = 3
# Shorter names are too easily alike.
_LEAST_LETTERS = 5
# A file with more variables than this has not been written by hand.
_MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class GlobalArguments:
    """``values`` are those that have one (by default), ``declared`` the names of all, predefined ones included.

    ``broken``: a default cannot be expanded, so that nothing can be said of any FROM.
    """

    values: dict[str, str]
    declared: tuple[str, ...]
    broken: bool = False


@of_the_last_file
def global_arguments(dockerfile: Dockerfile) -> GlobalArguments:
    """What FROM sees where whoever builds sets nothing."""
    values = dict(PLATFORM_ARGUMENTS)
    declared = list(values)
    for instruction in dockerfile.global_args:
        if instruction.problems:
            continue
        for pair in instruction.pairs:
            name = pair.key.text
            declared.append(name)
            if pair.value is not None:
                result = expand(pair.value.text, values, dockerfile.escape)
                if result.error is not None:
                    return GlobalArguments(values, tuple(declared), broken=True)
                values[name] = result.text
    return GlobalArguments(values, tuple(declared))


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The first of the names that differ least from ``name``, by at most two letters; None where none does."""
    best, least, letters = None, _NEAR, set(name)
    for candidate in islice(known, _MOST_NAMES):
        # Each letter that is put in or taken out changes one of the letters used, each that is changed two.
        if abs(len(candidate) - len(name)) < least and len(letters.symmetric_difference(candidate)) < 2 * least:
            distance = _distance(name, candidate, least)
            if distance < least:
                best, least = candidate, distance
    return best


def mistyped(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is with a letter too few, too many or out of place; None where it is none."""
    near = nearest_name(name, known) if len(name) >= _LEAST_LETTERS - 1 else None
    if near is None or name[0] != near[0]:
        return None
    if len(name) == len(near):
        return near if sorted(name) == sorted(near) else None
    digits = (set(name) ^ set(near)) & set("0123456789")
    return near if len(name) >= _LEAST_LETTERS and abs(len(name) - len(near)) == 1 and not digits else None


def renamed(source: Source, span: Span, name: str, known: Iterable[str]) -> Fix | None:
    """Put the name that was meant in the place of a mistyped one; None where that is not plain."""
    near = mistyped(name, known)
    uses = re.finditer(rf"(?<=\$)(\{{?){re.escape(name)}(?![A-Za-z0-9_])", source.text[span.start : span.end])
    edits = [Edit(Span(span.start + use.end(1), span.start + use.end()), str(near)) for use in uses]
    return Fix(f"write {near}", tuple(edits), safe=False) if near is not None and edits else None


def _distance(first: str, second: str, limit: int) -> int:
    """How many letters must be put in, taken out or changed; any number from ``limit`` on where it is no less."""
    previous = list(range(len(second) + 1))
    for row, left in enumerate(first, 1):
        current = [row]
        for column, right in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (left != right)))
        if min(current) >= limit:
            return limit
        previous = current
    return previous[-1]
