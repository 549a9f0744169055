"""A user by name.

## What it does
Finds USER with a name where a number would do. Root and names from variables are left alone.

## Why
Kubernetes can tell by a number alone that a container does not run as root (`runAsNonRoot`); for a name it would have
to read the image's /etc/passwd, and refuses to start it.

## Example
```dockerfile
FROM debian:12
USER app
```

## Use instead
```dockerfile
FROM debian:12
USER 10001
```

## References
- https://kubernetes.io/docs/concepts/security/pod-security-standards/
- https://docs.docker.com/reference/dockerfile/#user
"""

from __future__ import annotations

from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import shipped_stages, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "user-name-instead-of-number"
ALIASES = ("DL3066",)
SEVERITY = Severity.INFO
CATEGORY = Category.SECURITY
STRICT = True


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the last USER of each stage that becomes an image; hadolint looks at every one."""
    shipped = shipped_stages(dockerfile)
    last: dict[int, Instruction] = {}
    arguments = {argument.pairs[0].key.text for argument in dockerfile.global_args if argument.pairs}
    for stage, instruction, _ in walk(dockerfile):
        if instruction.keyword == "USER":
            last[stage.index] = instruction
            text = instruction.words[0].text
            if settings.like_hadolint and not any(f"${name}" in text or f"${{{name}}}" in text for name in arguments):
                yield from _finding(dockerfile, instruction, ())
        elif instruction.keyword == "ARG":
            arguments.update(pair.key.text for pair in instruction.pairs[:1])
    if settings.like_hadolint:
        return
    for index in sorted(last):
        if index in shipped and "$" not in last[index].words[0].text:
            yield from _finding(dockerfile, last[index], ("", "root"))


def _finding(dockerfile: Dockerfile, instruction: Instruction, fine: tuple[str, ...]) -> Iterator[Finding]:
    word = instruction.words[0]
    user = word.text.partition(":")[0]
    if not (user.isascii() and user.isdigit()) and user.strip("\"'") not in fine and user:
        message = f"USER {word.text} is a name: only by a number can Kubernetes tell that it is not root"
        yield Finding(NAME, message, dockerfile.source, word.span, SEVERITY, CATEGORY, ALIASES)
