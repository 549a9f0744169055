"""A file of secrets copied into the image.

## What it does
Finds COPY and ADD of files that hold secrets by their names: private keys, `.env`, `.npmrc`, `.pypirc`, `.netrc`,
credentials of AWS, Docker, Google and Kubernetes.

## Why
What has been copied stays in its layer, even if a later instruction removes it: whoever can pull the image can read it.
A secret mount shows the file to one RUN and leaves nothing behind.

## Example
```dockerfile
FROM node:22
COPY .npmrc package.json package-lock.json ./
RUN npm ci
```

## Use instead
```dockerfile
FROM node:22
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci
```

## References
- https://docs.docker.com/build/building/secrets/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from buildopt.dockerfile.model import Dockerfile, Word
from buildopt.dockerfile.scope import shipped_stages, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "secret-file-copied"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.SECURITY
_KEY = re.compile(
    r"(?:.*/)?(?:id_(?:rsa|dsa|ecdsa|ed25519)(?:_\w+)?|[^/]*\.(?:p12|pfx|ppk)|(?:[^/]*[-_.])?(?:priv(?:ate)?[-_.]?)?key"
    r"\.pem|privkey\d*\.pem|"
    r"[^/]*(?:server|client|priv|tls|ssl|cert|domain|host|site|www|web|app|api|jwt|proxy|user|star|wildcard)[^/]*\.key|"
    r"(?:certs?|certificates|ssl|tls|keys|pki|private)/[^/]+\.key)"
)
_CREDENTIALS = re.compile(
    r"(?:.*/)?(?:\.aws(?:/credentials)?/?|\.docker/config\.json|\.dockercfg|\.kube(?:/config)?/?|kubeconfig(?:\.ya?ml)?|"
    r"\.ssh/?|\.git-credentials|\.pgpass|\.netrc|_netrc|\.pypirc|application_default_credentials\.json|"
    r"(?:[\w-]*[-_])?service[-_]account(?:[-_]key)?\.json|credentials\.json)"
)
# Often without a secret in it: only what ships is worth a word.
_SETTINGS = re.compile(r"(?:.*/)?(?:\.env(?:\.local)?|\.npmrc)")
# Public keys of package archives, and keys that are made for everyone.
_PUBLIC = re.compile(
    r"(?i)(?:^|[/._-])(?:pub(?:lic)?|gpg|pgp|apt|archive|signing|release|rpm|repo(?:sitory)?|keyring|docker|nodesource|"
    r"tests?|testdata|fixtures?|examples?|snakeoil|dummy|fake|mock|samples?|insecure|self-?signed|localhost|dev)(?:$|[/._-])"
)
_CREDENTIAL = re.compile(r"_(?:auth|authToken|password)\s*=\s*(?!\$\{)")
_LARGEST = 1 << 20
_KEYRINGS = (
    "/etc/apt/",
    "/usr/share/keyrings",
    "/etc/pki/rpm-gpg",
    "/etc/apk/keys",
    "/usr/share/distribution-gpg-keys",
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at the names of what is copied from the context."""
    shipped = shipped_stages(dockerfile)
    for stage, instruction, _ in walk(dockerfile):
        actual = instruction.actual
        if actual.keyword not in ("COPY", "ADD") or actual.flag("from") is not None or len(actual.words) < 2:
            continue
        heredocs = {heredoc.operator.start for heredoc in actual.heredocs}
        for word in actual.words[:-1]:
            what = None if word.span.start in heredocs else _secret(word, actual.words[-1])
            if what is None or (what == "settings" and stage.index not in shipped):
                continue
            doubtful = word.text.endswith(".npmrc")
            if doubtful and _is_harmless(dockerfile, word.text):
                continue
            message = (
                f"{word.text} may hold secrets, and stays in this layer even if it is removed later: "
                "use RUN --mount=type=secret"
            )
            severity = Severity.INFO if doubtful else SEVERITY
            yield Finding(NAME, message, dockerfile.source, word.span, severity, CATEGORY, ALIASES)


def _is_harmless(dockerfile: Dockerfile, name: str) -> bool:
    """Whether the file lies beside the Dockerfile and holds settings only."""
    path = Path(dockerfile.source.path).parent / name
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        return _CREDENTIAL.search(path.read_text("utf-8", "replace")) is None
    except (OSError, ValueError):
        return False


def _secret(word: Word, destination: Word) -> str | None:
    """What kind of secret a file is by its name; None where it is none."""
    path = word.text
    if "://" in path or _PUBLIC.search(path) or destination.text.startswith(_KEYRINGS):
        return None
    if _KEY.fullmatch(path):
        return "key"
    if _CREDENTIALS.fullmatch(path):
        return "credentials"
    return "settings" if _SETTINGS.fullmatch(path) else None
