"""All sources copied into an image that already has the program.

## What it does
Finds `COPY . .` in the last stage of a build whose compiled program is copied from an earlier stage.

## Why
The earlier stage has compiled the sources, so that the image needs only the result. With the sources it is larger, is
built anew with each change of any file, and shows them to everybody who pulls it.

## Example
```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN go build -o /bin/app .
FROM debian:12-slim
COPY . .
COPY --from=build /bin/app /bin/app
CMD ["/bin/app"]
```

## Use instead
```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN go build -o /bin/app .
FROM debian:12-slim
COPY config.yaml /etc/app/
COPY --from=build /bin/app /bin/app
CMD ["/bin/app"]
```

## References
- https://docs.docker.com/build/building/multi-stage/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.toolchains import compilations
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "whole-context-in-final-stage"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SIZE
_EVERYTHING = frozenset((".", "./", "*", "./*", "/"))
# Languages whose programs need no sources.
_COMPILED = frozenset(("go", "cargo", "dotnet", "gradle", "mvn", "swift"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last stage of several."""
    stage = dockerfile.final_stage
    if stage is None or len(dockerfile.stages) < 2:
        return
    whole = next((item for item in stage.instructions if _copies_everything(item)), None)
    if whole is None or any(item.keyword == "RUN" and _builds(dockerfile, stage) for item in stage.instructions):
        return
    for instruction in stage.instructions:
        flag = instruction.flag("from")
        origin = dockerfile.stage(flag.value, stage.index) if flag is not None and flag.value else None
        if instruction.keyword != "COPY" or origin is None:
            continue
        shown = _builds(dockerfile, origin)
        if shown and any(_copies_everything(item) for item in _with_bases(dockerfile, origin)):
            message = (
                f"`{shown}` in another stage has made of the sources what is needed: copy only files that are read"
            )
            yield Finding(NAME, message, dockerfile.source, whole.span, SEVERITY, CATEGORY, ALIASES)
            return


def _copies_everything(instruction: Instruction) -> bool:
    if instruction.keyword not in ("COPY", "ADD") or instruction.flag("from") is not None:
        return False
    return any(word.text in _EVERYTHING for word in instruction.words[:-1])


def _builds(dockerfile: Dockerfile, stage: Stage) -> str:
    return next((shown for _, tool, shown, _ in compilations(dockerfile, stage) if tool in _COMPILED), "")


def _with_bases(dockerfile: Dockerfile, stage: Stage) -> Iterator[Instruction]:
    yield from stage.instructions
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
        yield from stage.instructions
