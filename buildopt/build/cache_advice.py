"""What people should hear about their caches: before the build what will not work, after it what did not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from buildopt.build import gha
from buildopt.build.cache import Cache
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Step
from buildopt.errors import UsageError
from buildopt.oci.reference import Reference
from buildopt.settings import Settings

GHA_BYTES = 10 * 10**9
"""What GitHub keeps of a repository's caches; then the oldest go."""
_LARGE = GHA_BYTES // 4


def before(plan: BuildPlan, settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """Warnings, a line each."""
    for entry in plan.caches:
        if entry.kind == "gha":
            reason, hint = gha.problem(environment)
            if reason:
                yield f"{reason}; {hint}" if hint else reason
            elif entry.scopes is not None and not entry.scopes.writes:
                yield "the cache gha is read only: what a run for a tag writes, no other run can read"
        elif entry.kind == "registry":
            yield from _over_an_image(entry, plan, settings)
    yield from _written_twice(plan.caches)
    yield from _shared(settings)


def _over_an_image(entry: Cache, plan: BuildPlan, settings: Settings) -> Iterator[str]:
    """A cache whose reference is that of an image: each overwrites the other."""
    destinations = [where.ref for image in settings.images for where in image.to]
    mine = _named(entry.place.partition("=")[2])
    for name in (*plan.options.names, *destinations):
        if _named(name) == mine:
            yield f"the cache {entry.place} would overwrite the image {name}: give it a tag of its own, such as :cache"
            return


def _named(text: str) -> tuple[str, str]:
    try:
        reference = Reference.parse(text)
    except UsageError:  # of a configuration that push will complain about
        return text, ""
    return reference.name, reference.tag or "latest"


def _written_twice(caches: Sequence[Cache]) -> Iterator[str]:
    seen: set[str] = set()
    for entry in caches:
        place = _place(entry)
        if place in seen:
            yield f"the cache {place} is written twice by this build: one of both is enough"
        seen.add(place)


def _shared(settings: Settings) -> Iterator[str]:
    """Places that the configuration gives to several images: each build throws away what the other one wrote."""
    users: dict[str, list[str]] = {}
    for image in settings.images:
        for text in image.cache:
            kind, _, place = text.partition("=")
            match = re.search(r"scope=([^,]+)", text)
            if kind.startswith("gha"):
                place = match[1] if match else ""
            if place:
                users.setdefault(f"{kind.partition(',')[0]}={place}", []).append(image.name)
    for place, names in users.items():
        if len(names) > 1:
            yield f"the images {' and '.join(names)} share the cache {place}: each build overwrites the other's"


def after(without: Sequence[Step], caches: Sequence[Cache], size: int) -> Iterator[str]:
    """Warnings of a build that went on ``without`` some caches; ``size`` is the image's, in bytes."""
    for step in without:
        reading = step.name.startswith("importing")
        place = step.name.rpartition(" ")[2] if reading else _written(step, caches)
        if reading and re.search(r"not found\s*$|NoSuchKey", step.error):
            continue  # there is none yet
        yield f"the cache {place} was not {'read' if reading else 'written'}: {' '.join(step.error.split())}"
    for entry in caches:
        if entry.kind == "gha" and size > _LARGE and entry.target and "mode=max" in entry.target:
            yield (
                f"the image alone takes {size / 1e9:.1f} of the 10 GB that GitHub keeps of a repository's caches:"
                " older ones will be evicted; consider --cache registry=REF, or gha,mode=min"
            )


def _written(step: Step, caches: Sequence[Cache]) -> str:
    """The place that a step writes to, whose name tells but the kind."""
    words = step.name.partition(" to ")[2]
    kinds = {"registry": "registry", "client": "local", "GitHub": "gha", "Amazon": "s3"}
    kind = next((kind for word, kind in kinds.items() if words.startswith(word)), "")
    return " or ".join(dict.fromkeys(entry.place for entry in caches if entry.kind == kind)) or words


def _place(entry: Cache) -> str:
    scope = next((field for field in entry.target or () if field.startswith("scope=")), "")
    return f"gha ({scope})" if entry.kind == "gha" else entry.place
