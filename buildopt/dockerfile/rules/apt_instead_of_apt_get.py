"""`apt` in a script.

## What it does
Finds `apt` in a RUN.

## Why
`apt` is made for people: its manual says that its command line may change between versions, and it warns so in each
build (`apt does not have a stable CLI interface`). `apt-get` and `apt-cache` keep theirs.

## Example
```dockerfile
RUN apt update && apt install -y curl
```

## Use instead
```dockerfile
RUN apt-get update && apt-get install -y curl
```

## References
- https://manpages.debian.org/stable/apt/apt.8.en.html#SCRIPT_USAGE_AND_DIFFERENCES_FROM_OTHER_APT_TOOLS
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.hadolint import seen
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import all_runs, apt_subcommand
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings

NAME = "apt-instead-of-apt-get"
ALIASES = ("DL3027",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
# The same subcommand of another program; `apt upgrade` may install new packages, `apt-get upgrade` not unless told.
_SAME = {
    **dict.fromkeys(("update", "install", "reinstall", "remove", "purge", "autoremove", "autopurge"), "apt-get"),
    **dict.fromkeys(("clean", "autoclean", "source", "build-dep", "download", "dist-upgrade"), "apt-get"),
    **dict.fromkeys(("search", "show", "policy", "showsrc", "depends", "rdepends"), "apt-cache"),
    "upgrade": "apt-get --with-new-pkgs",
}


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command."""
    for run in all_runs(dockerfile):
        commands = (item.command for item in seen(run)) if settings.like_hadolint else iter(run.script.commands)
        for command in commands:
            word = apt_subcommand(command)
            if command.name != "apt" or command.argv[0].text != "apt":
                continue
            program = _SAME.get(word.text or "") if word is not None else None
            name = command.argv[0]
            fix = None
            if program is not None and run.exact(name):
                fix = Fix(f"use {program}", (run.replace(name, program),))
            message = "apt has no stable command line: use apt-get or apt-cache in scripts"
            yield Finding(NAME, message, dockerfile.source, run.span(name.span), SEVERITY, CATEGORY, ALIASES, fix)
