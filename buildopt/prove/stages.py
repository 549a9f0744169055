"""What a proof needs to know of a Dockerfile: its base images, its final stage, what it copies, its cache mounts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.scope import mount_options, walk
from buildopt.source import Source


def final_stage(dockerfile: Dockerfile, target: str | None) -> Stage | None:
    """The stage that becomes the image."""
    return dockerfile.stage(target) if target else dockerfile.final_stage


def chain(dockerfile: Dockerfile, stage: Stage) -> tuple[Stage, ...]:
    """A stage and those that it builds upon, the one with the base image last."""
    found = [stage]
    while found[-1].base_index is not None:
        found.append(dockerfile.stages[found[-1].base_index])
    return tuple(found)


def base_text(source: Source, target: str | None) -> str | None:
    """A Dockerfile that is nothing but the final stage's base image; None where that is no image, as scratch is."""
    dockerfile = parse(source)
    stage = final_stage(dockerfile, target)
    if stage is None:
        return None
    root = chain(dockerfile, stage)[-1]
    if root.image is None or root.image.text == "scratch":
        return None
    platform = f"{root.platform.text} " if root.platform is not None else ""
    return f"{_head(dockerfile)}FROM {platform}{root.image.text}\n"


def _head(dockerfile: Dockerfile) -> str:
    """The file's directives and global arguments."""
    lines = [f"# {item.name}={item.value}\n" for item in dockerfile.directives if item.name in ("syntax", "escape")]
    for argument in dockerfile.global_args:
        span = argument.span
        lines.append(dockerfile.source.text[span.start : span.end].rstrip("\r\n") + "\n")
    return "".join(lines)


def probe_text(source: Source) -> str | None:
    """A Dockerfile whose build fetches every base image of this one and makes nothing; None where it has none."""
    dockerfile = parse(source)
    images: dict[str, None] = {}
    for stage in dockerfile.stages:
        if stage.base_index is None and stage.image is not None and stage.image.text != "scratch":
            platform = f"{stage.platform.text} " if stage.platform is not None else ""
            images[f"{platform}{stage.image.text}"] = None
        for instruction in stage.instructions:
            for name in _origins(instruction):
                if dockerfile.stage(name, stage.index) is None and "$" not in name and not name.isdigit():
                    images[name] = None
    if not images:
        return None
    names = [f"FROM {image} AS buildopt-{number}\n" for number, image in enumerate(images)]
    # A pattern that matches nothing: the image must be there, yet nothing is copied.
    copies = [f"COPY --from=buildopt-{number} /buildopt-nothing* /\n" for number in range(len(images))]
    return "".join([_head(dockerfile), *names, "FROM scratch\n", *copies])


def _origins(instruction: Instruction) -> Iterator[str]:
    """What an instruction reads besides its own stage and the context."""
    source = instruction.flag("from")
    if instruction.keyword == "COPY" and source is not None and source.value:
        yield source.value
    for mount in instruction.flags_named("mount"):
        name = mount_options(mount.value or "").get("from")
        if name:
            yield name


def other_base(before: Source, after: Source, target: str | None) -> bool:
    """Whether the final image is built upon another base image, as far as the texts tell."""
    return base_text(before, target) != base_text(after, target)


def leaves_behind(before: Source, after: Source, target: str | None) -> bool:
    """Whether the rewrite made a new stage that the final one copies from: what it does not copy stays there."""
    old, new = parse(before), parse(after)
    stage = final_stage(new, target)
    if stage is None or len(new.stages) <= len(old.stages):
        return False
    return any(
        new.stage(name, part.index) is not None
        for part in chain(new, stage)
        for instruction in part.instructions
        for name in _origins(instruction)
    )


def cache_targets(source: Source) -> tuple[str, ...]:
    """Where the cache mounts of a file are, as far as that is written down."""
    dockerfile = parse(source)
    found: dict[str, None] = {}
    for _, instruction, scope in walk(dockerfile):
        for flag in instruction.flags_named("mount"):
            options = mount_options(flag.value or "")
            expansion = scope.expand(options.get("target", ""))
            if options["type"] == "cache" and expansion is not None and expansion.text:
                found[posixpath.normpath(posixpath.join(scope.workdir or "/", expansion.text))] = None
    return tuple(found)


def copied_sources(source: Source) -> tuple[str, ...]:
    """What is copied from the context: paths and patterns relative to it, ``.`` for all."""
    found: dict[str, None] = {}
    for _, instruction, scope in walk(parse(source)):
        for word in _sources(instruction):
            expansion = scope.expand(word)
            if expansion is not None:
                found[posixpath.normpath(expansion.text.strip("\"'")).lstrip("/") or "."] = None
    return tuple(found)


def _sources(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword in ("COPY", "ADD") and instruction.flag("from") is None:
        for word in instruction.values[:-1]:
            if not re.match(r"https?://|git@|git://|<<", word):
                yield word
    for flag in instruction.flags_named("mount"):
        options = mount_options(flag.value or "")
        if options["type"] == "bind" and "from" not in options:
            yield options.get("source") or "."
