"""A label whose value is not of the kind that is asked for.

## What it does
Finds labels of `lint.labels` in buildopt.yaml whose value is not what the table says: `url`, `email`, `semver`, `hash`
(of a git commit), `rfc3339` (a time) or `spdx` (a license).

## Why
Programs read these labels. A license that no list has, or a time in a form of its own, is as good as none.

## Example
```dockerfile
LABEL org.opencontainers.image.licenses="Apache 2"
```

## Use instead
```dockerfile
LABEL org.opencontainers.image.licenses="Apache-2.0"
```
The settings of this example are `labels: {org.opencontainers.image.licenses: spdx}`. Values of variables that the file
does not set are not judged.

## References
- https://specs.opencontainers.org/image-spec/annotations/
- https://spdx.org/licenses/
- https://www.rfc-editor.org/rfc/rfc3339
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from buildopt.dockerfile.labels import labels
from buildopt.dockerfile.model import Dockerfile
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "invalid-label-value"
ALIASES = ("DL3052", "DL3053", "DL3054", "DL3055", "DL3056", "DL3058")
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[^\[\]\\\s]+\])")
_VERSION = re.compile(
    r"\d+\.\d+\.\d+(?:-(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?(?:\+(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?"
)
_HASH = re.compile(r"[0-9a-f]{7}|[0-9a-f]{40}")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)"
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every label that is wanted."""
    kinds = dict(settings.labels)
    for label in labels(dockerfile) if kinds else ():
        kind = kinds.get(label.key)
        value = label.written if settings.like_hadolint else label.value
        if kind not in _KINDS or not value:
            continue
        code, noun, fits = _KINDS[kind]
        # hadolint knows licenses by their names alone, no expressions.
        expression = kind == "spdx" and settings.like_hadolint and " " in value
        if expression or not fits(value):
            message = f"the value of {label.key} is not {noun}"
            span = (label.pair.value or label.pair.key).span
            yield Finding(NAME, message, dockerfile.source, span, SEVERITY, CATEGORY, (code,))


def _is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def _is_license(text: str) -> bool:
    """Whether a text is an SPDX license expression, written as in the list of licenses."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return canonicalize_license_expression(text) == text
    except InvalidLicenseExpression:
        return False


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_KINDS: dict[str, tuple[str, str, Callable[[str], bool]]] = {
    "url": ("DL3052", "a URL", _matches(_URL)),
    "rfc3339": ("DL3053", "a time in the form of RFC 3339", _is_time),
    "spdx": ("DL3054", "a license of the SPDX list", _is_license),
    "hash": ("DL3055", "a hash of a git commit", _matches(_HASH)),
    "semver": ("DL3056", "a semantic version", _matches(_VERSION)),
    "email": ("DL3058", "an e-mail address", _matches(_EMAIL)),
}
