"""Files that no pass touches: templates, other frontends, Windows."""

from __future__ import annotations

import re

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.result import Refusal
from buildopt.dockerfile.scope import starts_on_windows, walk
from buildopt.source import Source

_TEMPLATE = re.compile(r"\{%|%\}|<%|\{\{(?!\s*\.)|@[A-Z][A-Z0-9_]+@|^[ \t]*\{\{", re.MULTILINE)
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::([^@]*))?(?:@.*)?")


def template(source: Source) -> Refusal | None:
    """Whether the text is a template, whose result nobody knows here. Quoted braces belong to the programs that run."""
    found = _TEMPLATE.search(_QUOTED.sub(lambda match: " " * len(match.group()), source.text))
    if found is None:
        return None
    return Refusal("file", source.position(found.start())[0], "this is a template: what it becomes is not known")


def left_alone(dockerfile: Dockerfile) -> Refusal | None:
    """Why a whole file is no business of any pass; None where it is."""
    reason = template(dockerfile.source)
    if reason is not None:
        return reason
    syntax = dockerfile.directive("syntax")
    if syntax is not None:
        line = dockerfile.source.position(syntax.span.start)[0]
        match = _FRONTEND.fullmatch(syntax.value.strip())
        if match is None:
            return Refusal("file", line, f"what the frontend {syntax.value} understands is not known")
        version = re.match(r"1\.([0-9]+)", match.group(1) or "1")
        if version is not None and int(version.group(1)) < 2:
            return Refusal("file", line, f"the frontend {syntax.value} has no RUN --mount: use docker/dockerfile:1")
    for stage, instruction, scope in walk(dockerfile):
        if instruction is stage.origin and starts_on_windows(stage, scope):
            return Refusal("file", stage.origin.lines[0], "Windows images have no cache mounts")
    return None
