"""A base that is no image unless an argument is given.

## What it does
Finds FROM whose image, with the defaults of its arguments, is empty or no valid name.

## Why
`docker build .` without any `--build-arg` fails, with a message that does not say why: an ARG lacks its default, or has
one that makes no name.

## Example
```dockerfile
ARG VERSION
FROM alpine:${VERSION}
```

## Use instead
```dockerfile
ARG VERSION=3.20
FROM alpine:${VERSION}
```

## References
- https://docs.docker.com/reference/build-checks/invalid-default-arg-in-from/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.predefined import global_arguments
from buildopt.dockerfile.words import expand
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "invalid-default-argument-in-from"
ALIASES = ("InvalidDefaultArgInFrom",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})"
_IMAGE = re.compile(rf"(?:{_HOST}/)?(?P<path>{_PART}(?:/{_PART})*)(?::{_TAG})?(?:@{_DIGEST})?")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_LONGEST_PATH = 255


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the base of every stage as it is where no argument is given."""
    arguments = global_arguments(dockerfile)
    if arguments.broken:
        return
    for stage in dockerfile.stages:
        if stage.image is None or stage.origin.problems:
            continue
        text = stage.image.text
        result = expand(text, arguments.values, dockerfile.escape)
        if result.error is not None:
            return
        if is_image(result.text):
            continue
        if "$" in text:
            made = f"{result.text}, which is not an image" if result.text else "empty"
            message = f"without a --build-arg, {text} is {made}: give its ARG a default"
        else:
            message = f"{text} is not the name of an image: {_advice(text)}"
        yield Finding(NAME, message, dockerfile.source, stage.image.span, SEVERITY, CATEGORY, ALIASES)


def is_image(text: str) -> bool:
    """Whether a text is a valid reference to an image, Docker Hub's short names included."""
    first, slash, _ = text.partition("/")
    # A first part with one of these is a host, everything else a name of Docker Hub's.
    is_host = slash and (first == "localhost" or first != first.lower() or "." in first or ":" in first)
    match = _IMAGE.fullmatch(text if is_host else f"docker.io/{text}")
    return match is not None and len(match["path"]) <= _LONGEST_PATH and _IDENTIFIER.fullmatch(text) is None


def _advice(text: str) -> str:
    return "write it in lower case" if is_image(text.lower()) else "write NAME:TAG"
