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

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import Scope, walk
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
# Extensions that say nothing about what is inside.
_SAYS_NOTHING = re.compile(
    r"\.(?:archive|backup|bak|bin|blob|bundle|cache|dat|data|dump|file|image|img|layer|oci|old|orig|pkg|raw|run|tmp)$",
    re.IGNORECASE,
)
_ARCHIVE_OF_HADOLINT = re.compile(r"\.(?:tar|gz|bz2|xz|Z|lz|lzma|tgz|tb2|tbz|tbz2|tlz|tpz|txz|tZ)$")
_ONLY_ADD = ("checksum", "keep-git-dir", "unpack")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every ADD, those behind ONBUILD too."""
    for _, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "ADD" or len(instruction.words) < 2:
            continue
        safe = _plain(instruction, scope)
        found = safe is not None
        if settings.like_hadolint:
            found = instruction is outer and _hadolint_finds(instruction)
        if found:
            message = "nothing to download or unpack here: use COPY"
            fix = None if safe is None else _fix(dockerfile, instruction, safe)
            span = instruction.keyword_span
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES, fix)


def _plain(instruction: Instruction, scope: Scope) -> bool | None:
    """Whether all sources are surely plain; None where one of them is none, or not known."""
    if any(instruction.flag(name) for name in _ONLY_ADD):
        return None
    heredocs = {heredoc.operator for heredoc in instruction.heredocs}
    safe = True
    for word in instruction.words[:-1]:
        if word.span in heredocs:
            continue
        expanded = scope.expand(word.text)
        source = None if expanded is None else expanded.text
        if source is None or _REMOTE.match(source) or _GIT.search(source) or _ARCHIVE.search(source):
            return None
        safe = safe and _surely_plain(source)
    return safe


def _hadolint_finds(instruction: Instruction) -> bool:
    """It resolves no variables, and knows no repositories of Git and no zstd."""
    sources = [word.text.strip("\"'") for word in instruction.words[:-1]]
    known = (text.startswith(("http://", "https://")) or _ARCHIVE_OF_HADOLINT.search(text) for text in sources)
    return not instruction.heredocs and not all(known)


def _fix(dockerfile: Dockerfile, instruction: Instruction, safe: bool) -> Fix:
    keyword = instruction.keyword_span
    typed = dockerfile.source.text[keyword.start : keyword.end]
    return Fix("use COPY", (Edit(keyword, "copy" if typed.islower() else "COPY"),), safe)


def _surely_plain(source: str) -> bool:
    """Whether a name cannot be that of an archive: a folder, or a file with an extension and no wildcards in it."""
    if source.endswith("/") or source.rsplit("/", 1)[-1] in (".", ".."):
        return True
    extension = source.rsplit("/", 1)[-1][1:].rpartition(".")
    if _SAYS_NOTHING.search(source):
        return False
    # The 3 of `app-1.2.3` and the 1 of `layer.1` are no extensions.
    return not any(char in source for char in "*?[") and bool(extension[1]) and not extension[2][:1].isdigit()
