"""A base image from a registry that is not trusted.

## What it does
Finds images in FROM, `COPY --from` and `RUN --mount=from` whose registry is not among those of `lint.registries` in
buildopt.yaml. Without that list it finds nothing.

## Why
Whoever can push to a registry decides what runs in your build. A team that mirrors what it uses wants to see it when
something comes from elsewhere.

## Example
```dockerfile
FROM random.example/debian:12
```

## Use instead
```dockerfile
FROM docker.io/library/debian:12
```
An entry is a host, with its port if it has one; `*` stands for anything at its start or end. Images without a registry
come from docker.io.

## References
- https://docs.docker.com/reference/dockerfile/#from
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.scope import Scope, mount_options, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "untrusted-registry"
ALIASES = ("DL3026",)
SEVERITY = Severity.ERROR
CATEGORY = Category.SECURITY
_HUB = ("docker.io", "hub.docker.com", "index.docker.io")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every image that is named."""
    if not settings.registries:
        return
    for stage, outer, scope in walk(dockerfile):
        for reference, span in _references(stage, outer, outer.actual):
            name = _image(dockerfile, stage, scope, reference)
            registry = _registry(name) if name else None
            if registry is None or _trusted(registry, settings.registries):
                continue
            message = f"{registry} is not among the trusted registries: {', '.join(settings.registries)}"
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES)


def _references(stage: Stage, outer: Instruction, instruction: Instruction) -> Iterator[tuple[str, Span]]:
    if outer is stage.origin and stage.image is not None and stage.base_index is None:
        yield stage.image.text, stage.image.span
    source = instruction.flag("from") if instruction.keyword == "COPY" else None
    if source is not None and source.value:
        yield source.value, source.span
    for mount in instruction.flags_named("mount"):
        name = mount_options(mount.value or "").get("from")
        if name:
            yield name, mount.span


def _image(dockerfile: Dockerfile, stage: Stage, scope: Scope, reference: str) -> str | None:
    """The image's name; None for a stage, for scratch, and where a variable's value is not known."""
    expanded = scope.expand(reference)
    name = expanded.text if expanded is not None else ""
    if not name or name == "scratch" or dockerfile.stage(name, stage.index + 1) is not None:
        return None
    return name


def _registry(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else _HUB[0]


def _trusted(registry: str, allowed: tuple[str, ...]) -> bool:
    names = _HUB if registry in _HUB else (registry,)
    return any(fnmatchcase(name, pattern) for name in names for pattern in allowed)
