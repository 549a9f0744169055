"""A secret in ARG or ENV.

## What it does
Finds ARG and ENV whose name says that the value is a password, token or key.

## Why
Both end up in the image's configuration and history: whoever can pull the image can read them (`docker history`,
`docker inspect`), and a later instruction cannot take them away.

## Example
```dockerfile
ARG NPM_TOKEN
RUN npm config set //registry.npmjs.org/:_authToken=$NPM_TOKEN && npm ci
```

## Use instead
```dockerfile
RUN --mount=type=secret,id=npm_token,env=NPM_TOKEN npm ci
```
and `docker build --secret id=npm_token,env=NPM_TOKEN .`

## References
- https://docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env/
- https://docs.docker.com/build/building/secrets/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "secret-in-arg-or-env"
ALIASES = ("SecretsUsedInArgOrEnv",)
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
# Public keys, key ids of signatures, and the names of files that hold a secret give nothing away.
_PUBLIC = re.compile(r"(?:_|^)(?:public|pub|gpg|pgp)(?:_|$)|_(?:file|path|dir|url|name|id)$", re.IGNORECASE)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every name that ARG and ENV set."""
    for outer in dockerfile.instructions:
        instruction = outer.actual
        if outer.problems or instruction.keyword not in ("ARG", "ENV"):
            continue
        for pair in instruction.pairs:
            name = pair.key.text
            empty = instruction.keyword == "ENV" and pair.value is not None and pair.value.text in ("", '""', "''")
            if not _SECRET.search(name) or _PUBLIC.search(name) or empty:
                continue
            message = f"{instruction.keyword} {name} can be read from the image: use RUN --mount=type=secret"
            yield Finding(NAME, message, dockerfile.source, pair.key.span, SEVERITY, CATEGORY, ALIASES)
