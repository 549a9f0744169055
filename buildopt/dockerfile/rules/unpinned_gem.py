"""Ruby gems without a version.

## What it does
Finds `gem install name` without `name:version` or `-v version`.

## Why
The newest version of the day goes into the image. The same Dockerfile makes something else next month, or nothing at
all (a new gem wants a newer Ruby), and nobody changed a line. rubygems.org keeps old versions, so a pin does not break
later.

## Example
```dockerfile
RUN gem install bundler rake
```

## Use instead
```dockerfile
RUN gem install bundler:2.7.2 rake:13.3.0
```
What an application needs belongs into Gemfile and Gemfile.lock, installed with `bundle install`.

## References
- https://guides.rubygems.org/command-reference/#gem-install
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-gem"
ALIASES = ("DL3028",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no version: pin it as name:version"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.tool != "gem" or call.action not in ("install", "i", "inst") or call.has("-v", "--version", "-g", "--file"):
        return
    for word, text in literal(call.operands):
        if ":" not in text and "/" not in text and not text.endswith(".gem"):
            yield word


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if not item.runs(("gem",), ("install", "i")):
        return
    if any(word in ("-v", "--version") or word.startswith("--version=") for word in item.words):
        return
    words = iter(item.words)
    for text in words:
        if text == "--":
            return
        if text.startswith("-"):
            if "=" not in text:
                next(words, None)  # each flag takes a value, for hadolint
        elif text not in ("install", "i") and ":" not in text:
            yield text
