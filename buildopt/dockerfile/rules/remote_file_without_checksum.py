r"""A file that ADD downloads without a checksum.

## What it does
Finds ADD of an `http://` or `https://` address without `--checksum`. Repositories of Git are left to themselves.

## Why
Whatever the server sends goes into the image: another file under the same address, or one that was tampered with on
the way. With a checksum the build fails instead, and BuildKit need not ask the server whether the file has changed.

## Example
```dockerfile
ADD https://example.com/tool-1.2.tar.gz /opt/
```

## Use instead
```dockerfile
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \
    https://example.com/tool-1.2.tar.gz /opt/
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
_FILE = re.compile(r"https?://(?!.*\.git(?:[#?].*)?$)")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every source of ADD, behind ONBUILD too."""
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "ADD" or instruction.flag("checksum") is not None:
            continue
        for word in instruction.words[:-1]:
            expanded = scope.expand(word.text)
            # The start of an address is enough where the rest of it is not known.
            if _FILE.match(word.text.lstrip("\"'") if expanded is None else expanded.text):
                message = "nobody checks what the server sends: add --checksum=sha256:…"
                yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, ALIASES)
