"""Build a program in one stage and ship it in another.

What it does
------------
Turns a file of one stage that ends in a built program (Go, Rust, Java, Node.js, Python, Ruby, C, …) into a build
stage and a runtime stage on the slim image of the same distribution, or on the same image without what only the build
needs. What the program may read goes with it: templates, migrations, settings, certificates, time zones, shared
libraries. ENV, WORKDIR, USER, EXPOSE, VOLUME, LABEL, HEALTHCHECK, STOPSIGNAL, ENTRYPOINT and CMD stay what they were,
and so do owners of files. RUNs that make users, folders or install what is needed at run time are repeated in the
runtime stage, without the packages that only the build needs. Gems of Ruby are shipped on the same slim image, without
compilers; the other images of Ruby have these anyhow. An application of PHP is built with Composer, git, unzip and
Node.js in a stage of its own; that one and the runtime stage start from a third one, which has the extensions.

Where a tag does not tell the release of Debian, a program that needs only what every release has is shipped on
``bookworm``, any other on ``stable``, whose C library is never older than that of the tag.

Why
---
The compiler, the sources and the module cache make an image of hundreds of megabytes out of a program of ten: all of it
is pulled by every machine, and scanned for vulnerabilities.

It needs the build context, because only the sources tell what a program wants at run time. It is refused wherever that
is not certain: a container that runs the build tool, programs of the build image that are started, libraries that the
smaller image may lack, files that a RUN makes in a way that is not understood.

Example
-------
::

    FROM golang:1.22
    WORKDIR /src
    COPY . .
    RUN CGO_ENABLED=0 go build -o /usr/local/bin/app .
    CMD ["/usr/local/bin/app"]

Use instead
-----------
::

    FROM golang:1.22 AS build
    WORKDIR /src
    COPY . .
    RUN CGO_ENABLED=0 go build -o /usr/local/bin/app .

    FROM debian:bookworm-slim
    WORKDIR /src
    COPY --from=build /usr/local/bin/app /usr/local/bin/app
    CMD ["/usr/local/bin/app"]

References
----------
- https://docs.docker.com/build/building/multi-stage/
- https://docs.docker.com/build/building/best-practices/#use-multi-stage-builds
"""

from __future__ import annotations

from pathlib import Path

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.runs import runs_by_family
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.splits import (
    split_c,
    split_dotnet,
    split_go,
    split_java,
    split_node,
    split_php,
    split_python,
    split_ruby,
    split_rust,
)
from buildopt.dockerfile.splits.splits import No, Splitter, Subject, edits, plain_stage

NAME = "split_stages"
OPT_IN = False

# The first one that a file concerns decides.
_SPLITTERS: tuple[Splitter, ...] = (
    split_go,
    split_java,
    split_node,
    split_rust,
    split_c,
    split_dotnet,
    split_python,
    split_ruby,
    split_php,
)


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Split the only stage of a file, or say why not; files that compile or bundle nothing are none of its business."""
    if len(dockerfile.stages) != 1:
        return PassResult()
    stage = dockerfile.stages[0]
    subject = Subject(dockerfile, stage, states(dockerfile), runs_by_family(dockerfile)[0], context)
    splitter = next((splitter for splitter in _SPLITTERS if splitter.concerns(subject)), None)
    if splitter is None:
        return PassResult()
    try:
        plain_stage(subject)
        split = splitter.plan(subject)
        made = edits(subject, split)
    except No as no:
        return PassResult(refused=(Refusal(NAME, no.line, no.reason),))
    lines = (stage.origin.lines[0], stage.instructions[-1].lines[1])
    return PassResult(applied=(Change(NAME, split.title, split.why, lines, tuple(made)),))
