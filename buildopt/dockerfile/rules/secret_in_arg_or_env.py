"""A secret in ARG or ENV.

## What it does
Finds ARG and ENV whose name says that the value is a password, token or key.

## Why
Both end up in the image's configuration and history: whoever can pull the image can read them (`docker history`,
`docker inspect`), and a later instruction cannot take them away.

## Example
```dockerfile
FROM node:22
ARG NPM_TOKEN
RUN npm config set //registry.npmjs.org/:_authToken=$NPM_TOKEN && npm ci
```

## Use instead
```dockerfile
FROM node:22
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

from buildopt.dockerfile.model import Dockerfile, Instruction, Pair
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "secret-in-arg-or-env"
ALIASES = ("DL3064", "SecretsUsedInArgOrEnv")
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)
# Keys that check signatures, and names, places and numbers of secrets give nothing away by themselves.
_HARMLESS = re.compile(r"(?:_|^)(?:pub|gpg|pgp)(?:_|$)|_(?:file|path|dir|url|name|id|version)$", re.IGNORECASE)
# What hadolint looks for: parts of names, and whole names that have none of these parts.
_HADOLINTS = re.compile(r"token|secret|private|password|username|api_key|client_key", re.IGNORECASE)
_HADOLINT_KNOWS = frozenset(
    (
        *("application_key", "aws_access_key_id", "ci_deploy_user", "docker_email", "facebook_app_id"),
        *("heroku_api_user", "okta_authn_groupid", "okta_client_orgurl", "okta_oauth2_clientid"),
        *("stripe_device_name", "travis_os_name", "travis_secure_env_vars", "travis_sudo"),
    )
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every name that ARG and ENV set in a stage; an ARG above FROM reaches no image."""
    if settings.like_hadolint:
        yield from _like_hadolint(dockerfile)
        return
    for stage in dockerfile.stages:
        for outer in stage.instructions:
            instruction = outer.actual
            if instruction.keyword not in ("ARG", "ENV") or outer.problems:
                continue
            for pair in instruction.pairs:
                name = pair.key.text
                if not _SECRET.search(name) or _PUBLIC.search(name):
                    continue
                message = f"{instruction.keyword} {name} can be read from the image: use RUN --mount=type=secret"
                severity = SEVERITY
                if _HARMLESS.search(name) or _empty(instruction, pair):
                    severity = Severity.INFO
                    message = f"{instruction.keyword} {name} can be read from the image: make sure that it is no secret"
                aliases = ALIASES if instruction is outer else ALIASES[:1]
                yield Finding(NAME, message, dockerfile.source, pair.key.span, severity, CATEGORY, aliases)


def _like_hadolint(dockerfile: Dockerfile) -> Iterator[Finding]:
    """It speaks once of an instruction, of those above FROM too, and whatever their values are."""
    for outer in dockerfile.instructions:
        instruction = outer.actual
        if instruction.keyword not in ("ARG", "ENV") or outer.problems:
            continue
        pairs = instruction.pairs[:1] if instruction.keyword == "ARG" else instruction.pairs
        for pair in pairs:
            name = pair.key.text
            if _HADOLINTS.search(name) or name.lower() in _HADOLINT_KNOWS:
                message = f"{instruction.keyword} {name} can be read from the image: use RUN --mount=type=secret"
                span = pair.key.span
                yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, ALIASES[:1])
                break


def _empty(instruction: Instruction, pair: Pair) -> bool:
    return instruction.keyword == "ENV" and pair.value is not None and pair.value.text in ("", '""', "''")
