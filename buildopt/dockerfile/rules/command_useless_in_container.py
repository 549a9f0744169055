"""A command that makes no sense in a build.

## What it does
Finds programs in RUN that need a person, a running system or a process that the build does not have: `ssh`, `vim`,
`top`, `free`, `ps`, `kill`, `mount`, `shutdown`, and services that are started for nothing.

## Why
Nobody sits at a build, no init system runs in it, and no process outlives its RUN: `service x start` at the end of a
RUN starts something that is gone a moment later. What was meant belongs into CMD, or into the host.

## Example
```dockerfile
RUN apt-get install -y nginx && service nginx start
```

## Use instead
```dockerfile
RUN apt-get install -y nginx
CMD ["nginx", "-g", "daemon off;"]
```
A service that later commands of the same RUN need is fine, and so are `kill` of what the RUN itself has started, `ps`
whose output something reads, `ssh` with an SSH mount, `mount` with `--security=insecure`, and vim with commands.

## References
- https://docs.docker.com/build/building/best-practices/#decouple-applications
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.named import named
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "command-useless-in-container"
ALIASES = ("DL3001",)
SEVERITY = Severity.INFO
CATEGORY = Category.CORRECTNESS
_WHY = {
    "free": "shows the memory of the machine that builds, to nobody",
    "kill": "has nothing to end: no process outlives its RUN",
    "mount": "lasts no longer than its RUN, and needs rights that a build does not have: use RUN --mount",
    "ps": "shows the processes of the build, to nobody",
    "service": "starts what is gone when this RUN ends: start it in CMD",
    "shutdown": "has no system to shut down",
    "ssh": "has no keys in a build: use RUN --mount=type=ssh",
    "top": "waits for a person",
    "vim": "waits for a person",
}
_READ = frozenset(("substitution", "condition"))
_BATCH = frozenset(("-c", "-e", "-E", "-es", "-Es", "-s", "-S"))


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every command."""
    for run, command in named(dockerfile, settings, _WHY):
        name = (command.name or "").rsplit("/", 1)[-1]
        if not settings.like_hadolint and _makes_sense(name, run, command):
            continue
        message = f"{name} {_WHY[name]}"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _makes_sense(name: str, run: Run, command: Command) -> bool:
    """Whether a command does something that stays, or that the same RUN needs."""
    flags = run.instruction.flags
    if name == "ssh":
        return any(flag.name == "mount" and "type=ssh" in (flag.value or "") for flag in flags)
    if name == "mount":
        return any(flag.name == "security" for flag in flags)
    if name == "vim":
        return any(text.startswith("+") or text in _BATCH for text in command.texts)
    if name in ("ps", "free", "top"):
        read = command.operator.startswith("|") or not _READ.isdisjoint(command.context)
        return read or bool(command.redirects) or command.operator == "||"
    if name == "kill":
        return len(run.script.commands) > 1  # what it ends may have come from any of the others
    if name == "service":
        return run.script.commands[-1] is not command or command.texts[1:2] not in (("start",), ("restart",))
    return False
