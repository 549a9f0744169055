"""A download by ADD that nobody checks.

## What it does
Finds ADD of a file from the network without `--checksum`. Git repositories are pinned by their commit instead and are
not meant.

## Why
Whoever controls the address, now or later, decides what is in the image. With a checksum the build fails as soon as the
file is another one.

## Example
```dockerfile
FROM alpine:3
ADD https://example.org/tool-1.2.tar.gz /opt/
```

## Use instead
```dockerfile
FROM alpine:3
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \\
    https://example.org/tool-1.2.tar.gz /opt/
```

## References
- https://docs.docker.com/reference/dockerfile/#add---checksum
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "remote-file-without-checksum"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.INFO
CATEGORY = Category.SECURITY
_REPOSITORY = re.compile(r"(?i)https?://[^?#]*\.git(?:[?#].*)?$|https?://github\.com/[^/?#]+/[^/?#]+/?(?:[?#].*)?$")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at what ADD fetches."""
    for _, instruction, scope in walk(dockerfile):
        actual = instruction.actual
        if actual.keyword != "ADD" or actual.flag("checksum") is not None or len(actual.words) < 2:
            continue
        for word in actual.words[:-1]:
            expanded = scope.expand(word.text)
            address = word.text if expanded is None else expanded.text
            if not address.lower().startswith(("http://", "https://")) or _REPOSITORY.match(address):
                continue
            message = "nobody checks what this address serves: add --checksum=sha256:…"
            yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, ALIASES)
