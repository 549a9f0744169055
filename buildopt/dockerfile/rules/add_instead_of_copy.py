"""ADD where COPY does the same.

## What it does
Finds ADD with sources that are plain files or folders of the build context.

## Why
ADD also downloads, clones and unpacks. A reader (and a reviewer) of COPY knows that none of this happens; a file that
later turns into an archive is not unpacked by surprise.

## Example
```dockerfile
ADD app.py /srv/
```

## Use instead
```dockerfile
COPY app.py /srv/
```
The fix is unsafe where a source has no extension of its own or has wildcards: such a file could be an archive.

## References
- https://docs.docker.com/build/building/best-practices/#add-or-copy
- https://docs.docker.com/reference/dockerfile/#add
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.scope import walk
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit

NAME = "add-instead-of-copy"
ALIASES = ("DL3020",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/|[\w.-]+@[\w.-]+:", re.IGNORECASE)
_GIT = re.compile(r"\.git(?:[#?].*)?$")
_ARCHIVE = re.compile(
    r"\.(?:tar|gz|bz2|xz|lz|lzma|zst|z|tgz|tbz|tbz2|tb2|tz2|txz|tlz|tzst|taz|tpz"
    # ADD looks at the content: these are archives of tar under names of their own.
    r"|apk|box|crate|gem|ova|rootfs|unitypackage)$",
    re.IGNORECASE,
)
_ONLY_ADD = ("checksum", "keep-git-dir", "unpack")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every ADD, those behind ONBUILD too."""
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "ADD" or any(instruction.flag(name) for name in _ONLY_ADD):
            continue
        heredocs = {heredoc.operator for heredoc in instruction.heredocs}
        plain, safe = True, True
        for word in instruction.words[:-1]:
            if word.span in heredocs:
                continue
            expanded = scope.expand(word.text)
            source = None if expanded is None else expanded.text
            if source is None or _REMOTE.match(source) or _GIT.search(source) or _ARCHIVE.search(source):
                plain = False
                break
            safe = safe and _surely_plain(source)
        if not plain or len(instruction.words) < 2:
            continue
        keyword = instruction.keyword_span
        typed = dockerfile.source.text[keyword.start : keyword.end]
        fix = Fix("use COPY", (Edit(keyword, "copy" if typed.islower() else "COPY"),), safe)
        message = "nothing to download or unpack here: use COPY"
        yield Finding(NAME, message, dockerfile.source, keyword, SEVERITY, CATEGORY, ALIASES, fix)


def _surely_plain(source: str) -> bool:
    """Whether a name cannot be that of an archive: a folder, or a file with an extension and no wildcards in it."""
    if source.endswith("/") or source.rsplit("/", 1)[-1] in (".", ".."):
        return True
    extension = source.rsplit("/", 1)[-1][1:].rpartition(".")
    # The 3 of `app-1.2.3` and the 1 of `layer.1` are no extensions.
    return not any(char in source for char in "*?[") and bool(extension[1]) and not extension[2][:1].isdigit()
