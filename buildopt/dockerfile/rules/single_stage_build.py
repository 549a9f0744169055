"""A compiler that is shipped with what it has compiled.

## What it does
Finds files with one stage that compile a program on an image made for compiling (golang, rust, maven, gradle, gcc, the
SDK of .NET) and start it in the same image; with Node.js, those that run `npm run build` and keep what it needed.

## Why
Compiler, sources and caches make an image of a gigabyte out of a program of ten megabytes. All of it is pulled by every
machine and scanned for vulnerabilities. With two stages, only the program is in the image.

## Example
```dockerfile
FROM golang:1.24
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /bin/app .
CMD ["/bin/app"]
```

## Use instead
```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /bin/app .

FROM gcr.io/distroless/static
COPY --from=build /bin/app /bin/app
CMD ["/bin/app"]
```

## References
- https://docs.docker.com/build/building/multi-stage/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.toolchains import base_tool, compilations, starts_a_program
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "single-stage-build"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
# What leaves out or removes the dependencies of development.
_PRUNED = re.compile(r"\bprune\b|--(?:omit[= ]dev|production|prod|only[= ]prod)|-P\b|focus|rm -rf [^&|;]*node_modules")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at files with one stage."""
    if len(dockerfile.stages) != 1 or dockerfile.stages[0].image is None:
        return
    stage = dockerfile.stages[0]
    tool = base_tool(dockerfile, stage) or _bundler(dockerfile, stage)
    if tool is None or not starts_a_program(stage):
        return
    shown = next((shown for _, used, shown, _ in compilations(dockerfile, stage) if used == tool), None)
    if shown is not None and stage.image is not None:
        message = (
            f"what `{shown}` needed is in the image: build in one stage, and copy the result into a second, small one"
        )
        yield Finding(NAME, message, dockerfile.source, stage.image.span, SEVERITY, CATEGORY, ALIASES)


def _bundler(dockerfile: Dockerfile, stage: Stage) -> str | None:
    """``node``, where a stage on that image keeps the dependencies of development."""
    if image(base_reference(dockerfile, stage)).repository != "node":
        return None
    texts = (instruction.arguments.text for instruction in stage.instructions if instruction.keyword == "RUN")
    return None if any(_PRUNED.search(text) for text in texts) else "node"
