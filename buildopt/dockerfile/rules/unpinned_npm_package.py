"""Packages of npm without a version.

## What it does
Finds `npm install name` (and `yarn global add`, `pnpm add -g`, `bun add -g`) where nothing says which version, or only
`@latest`; git addresses without `#ref`.

## Why
The newest version of the day goes into the image, major ones too. The same Dockerfile makes something else next month,
or nothing at all, and nobody changed a line. npm keeps old versions, so a pin does not break later.

## Example
```dockerfile
RUN npm install -g typescript @angular/cli@latest
```

## Use instead
```dockerfile
RUN npm install -g typescript@5.9.3 @angular/cli@20.3.6
```
What an application needs belongs into package.json and its lock file, installed with `npm ci`.

## References
- https://docs.npmjs.com/cli/commands/npm-install
- https://docs.npmjs.com/cli/commands/npm-ci
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-npm-package"
ALIASES = ("DL3016",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_INSTALLS = {
    "npm": ("install", "i", "in", "add", "isntall"),
    "yarn": ("global add",),
    "pnpm": ("add", "install", "i"),
    "bun": ("add", "install", "i"),
}
_NEWEST = ("", "latest", "next", "*", "x")
_LOCAL = re.compile(
    r"[./~].*|(?:file|link|workspace|portal|npm):.*|.*\.(?:tgz|tar|tar\.gz|tar\.bz2)|true|false", re.DOTALL
)
_ADDRESS = re.compile(r"[\w+.-]*://|git@|(?:github|gitlab|bitbucket|gist):|[\w-]+/[\w.-]+(?:#|$)")


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no fixed version: pin it as name@version, or install from a lock file with npm ci"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.action not in _INSTALLS.get(call.tool, ()):
        return
    if call.tool in ("pnpm", "bun") and not call.has("-g", "--global"):
        return  # they write into the project's lock file
    yield from (word for word, text in literal(call.operands) if not _versioned(text))


def _versioned(text: str) -> bool:
    if _LOCAL.fullmatch(text):
        return True
    if _ADDRESS.match(text):
        return "#" in text or text.startswith(("http://", "https://"))
    return text[1:].partition("@")[2].strip() not in _NEWEST


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    words = item.operands(("loglevel", "registry"))
    if item.name == "npm" and words[:1] == ["install"]:
        yield from (text for text in words[1:] if not _versioned_for_hadolint(text))


def _versioned_for_hadolint(text: str) -> bool:
    if text.startswith(("git://", "git+ssh://", "git+http://", "git+https://")):
        return "#" in text
    if text.endswith((".tar", ".tar.gz", ".tgz")) or text.startswith(("/", "./", "../", "~/")):
        return True
    return "@" in (text.partition("/")[2] if text.startswith("@") else text)
