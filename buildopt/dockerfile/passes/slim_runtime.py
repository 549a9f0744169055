"""A smaller image of the same distribution and version for the last stage.

What it does
------------
Replaces the base of the stage that is shipped by its smaller variant: ``python:3.12-slim`` for ``python:3.12``,
likewise Node, Ruby and Debian; the JRE for the JDK where only ``java -jar`` runs; ``aspnet`` for the .NET SDK where a
published program is started. It runs only where it is asked for (``--also slim_runtime``): the image holds less
afterwards, which somebody may use in a shell.

Every command of the stage, what it starts, its health check and the scripts of the context must do without what the
smaller image lacks: compilers, git, curl, headers and libraries. Python requirements, package-lock.json and
Gemfile.lock must name only packages that are never compiled and need no library; sources that start other programs
are refused. A digest belongs to the full image, and a variable may be anything, so both are left alone.

Why
---
The full images hold compilers, headers and libraries for building any package: several hundred megabytes to pull, to
keep and to scan.

Example
-------
::

    FROM debian:bookworm
    RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
    CMD ["cat", "/etc/os-release"]

Use instead
-----------
::

    FROM debian:bookworm-slim
    RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
    CMD ["cat", "/etc/os-release"]

References
----------
- https://hub.docker.com/_/python/ (Image Variants)
- https://docs.docker.com/build/building/best-practices/#choose-the-right-base-image
"""

from __future__ import annotations

from pathlib import Path

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.slim_images import COMPILING, variant
from buildopt.dockerfile.passes.slim_needs import Needs
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.splits.splits import No
from buildopt.source import Edit

NAME = "slim_runtime"
OPT_IN = True

_WHY = {
    "slim": "the same {family} of the same distribution, without compilers and headers that nothing here uses",
    "bare": "the same packages without documentation and translations",
    "jre": "only java runs here: the compiler and the JDK's other tools are left out",
    "aspnet": "a published program runs here: the SDK is left out",
}


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Put the smaller image into the last FROM, or say why not."""
    stage = dockerfile.final_stage
    if stage is None or stage.image is None or stage.base_index is not None or stage.origin.problems:
        return PassResult()
    found = image(base_reference(dockerfile, stage))
    line = stage.origin.lines[0]
    if found.repository in COMPILING:
        made = COMPILING[found.repository]
        reason = f"the {found.repository} image is made for compiling {made}: ship what it makes in a stage of its own"
        return PassResult(refused=(Refusal(NAME, line, reason),))
    smaller = variant(found)
    if smaller is None:
        return PassResult()
    written = stage.image.text
    if "$" in written:
        return PassResult(refused=(Refusal(NAME, line, "the base depends on a variable, which may name any variant"),))
    if found.digest:
        return PassResult(refused=(Refusal(NAME, line, "the digest is that of the full image"),))
    try:
        Needs(dockerfile, stage, smaller, context).check()
    except No as no:
        return PassResult(refused=(Refusal(NAME, no.line, no.reason),))
    name = written.rpartition(":")[0] if ":" in written.rpartition("/")[2] else written
    if smaller.kind == "aspnet":
        name = name.removesuffix("sdk") + "aspnet"
    reference = f"{name}:{smaller.tag}"
    change = Change(
        NAME,
        f"{reference} instead of {written}",
        _WHY[smaller.kind].format(family=smaller.family),
        stage.origin.lines,
        (Edit(stage.image.span, reference),),
    )
    return PassResult((change,))
