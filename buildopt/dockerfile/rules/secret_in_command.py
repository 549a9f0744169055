"""A secret written into the Dockerfile.

## What it does
Finds private keys, tokens by their well-known prefixes, passwords in addresses, in headers and in options, and tokens
of ARG or ENV that are put into an address or a registry's configuration.

## Why
What a Dockerfile says is in the image's history, in the build cache and in the repository: everyone who can pull the
image can read it, and removing the file in a later layer does not help. The value of an ARG that a RUN uses is kept
there too. A secret mount gives a RUN what it needs and leaves nothing behind.

## Example
```dockerfile
FROM alpine:3
ARG TOKEN
RUN git clone https://$TOKEN@github.com/example/private.git
```

## Use instead
```dockerfile
FROM alpine:3
RUN --mount=type=secret,id=token git clone https://$(cat /run/secrets/token)@github.com/example/private.git
```
A secret that has been committed or pushed must be revoked: it cannot be taken back.

## References
- https://docs.docker.com/build/building/secrets/
- https://docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env/
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import Scope, walk
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings
from buildopt.source import Span

NAME = "secret-in-command"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.ERROR
CATEGORY = Category.SECURITY
# What tokens look like, each with a text that is found fast and must be there; the group is the part that chance makes.
_TOKENS = tuple(
    (what, needle, re.compile(pattern))
    for what, needle, pattern in (
        ("a GitHub token", "gh", r"\bgh[pousr]_([A-Za-z0-9]{36,255})\b"),
        ("a GitHub token", "github_pat_", r"\bgithub_pat_([A-Za-z0-9]{22}_[A-Za-z0-9]{40,})\b"),
        ("a GitLab token", "gl", r"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat)-([A-Za-z0-9_-]{20,})(?![\w-])"),
        ("an npm token", "npm_", r"\bnpm_([A-Za-z0-9]{36})\b"),
        ("a PyPI token", "pypi-", r"\bpypi-(AgEIcHlwaS5vcmc[\w-]{50,})"),
        ("a Slack token", "xox", r"\bxox[abeoprs]-([0-9A-Za-z-]{20,})"),
        (
            "a Slack webhook",
            "hooks.slack",
            r"\bhooks\.slack\.com/services/(T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,})",
        ),
        ("an access key of AWS", "IA", r"(?<![A-Za-z0-9])(?:AKIA|ASIA)([A-Z2-7]{16})(?![A-Za-z0-9])"),
        (
            "a secret key of AWS",
            "",
            r"(?i:aws_?secret_?access_?key)[\"']?(?:\s*[=:]\s*|\s+)[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        ),
        ("a Google API key", "AIza", r"\bAIza([0-9A-Za-z_-]{35})(?![\w-])"),
        ("a Stripe key", "k_live_", r"\b[sr]k_live_([0-9A-Za-z]{24,})\b"),
        ("a Docker Hub token", "dckr_", r"\bdckr_(?:pat|oat)_([\w-]{27,})"),
        ("a Hugging Face token", "hf_", r"\bhf_([A-Za-z]{34})\b"),
        ("an OpenAI key", "T3Blb", r"\bsk-(?:proj-|svcacct-)?([\w-]{20,}T3BlbkFJ[\w-]{20,})"),
        ("an Anthropic key", "sk-ant-", r"\bsk-ant-([\w-]{80,})"),
        ("a SendGrid key", "SG.", r"\bSG\.([\w-]{22}\.[\w-]{43})\b"),
        ("a DigitalOcean token", "_v1_", r"\bdo[opr]_v1_([a-f0-9]{64})\b"),
        (
            "a private key",
            "PRIVATE KEY",
            r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----((?:\\n|\\r|[\s\\`\"'A-Za-z0-9+/=]){60,})",
        ),
    )
)
_PASSWORD_IN_URL = re.compile(r"://([^\s/'\"@:$]*):([^\s/'\"@$]+)@([A-Za-z0-9.-]+)")
_VARIABLE_IN_URL = re.compile(r"://(?:[^\s/'\"@]*:)?\$(?:\{(\w+)\}|(\w+))(?::[\w-]*)?@")
_HEADER = re.compile(
    r"(?i)\b(?:authorization:\s*(?:bearer|token|basic)|(?:private|job|deploy)-token:|x-api-key:|x-jfrog-art-api:)\s*"
    r"(?:\$(?:\{(\w+)\}|(\w+))|([^\s'\"$<{(]{16,}))"
)
_OPTION = re.compile(
    r"(?<![\w-])--(?:password|passwd|token|api-?key|auth-token|access-token|secret-key|client-secret)"
    r"(?:=|[ \t]+)[\"']?([^\s\"'$`<{(\\;|&-][^\s\"'$`<{(\\;|&]{5,})"
)
_USER_OPTION = re.compile(r"\b(?:curl|wget)\b[^|;&\n]*?\s(?:-u|--user)[= ][\"']?[^\s:\"'$]+:([^\s\"'$`<{]{6,})")
_NPM = re.compile(r":_(?:authToken|auth|password)(?:\s*=\s*|\s+)[\"']?(?:\\?\$(?:\{(\w+)\}|(\w+))|([^\s\"'$<{]{8,}))")
_SECRET_NAME = re.compile(r"(?i)token|passw|secret|(?:^|_)(?:pass|pwd|pat|key|cred|credentials?|auth)(?:$|_)")
_PLACEHOLDER = re.compile(
    r"(?i)(?:.*(?:example|change[-_]?(?:me|it)|your[-_]|dummy|placeholder|redacted|sample|not[-_]?a[-_]?secret).*|[x*.#_-]+|"
    r"(?:my|the|some|a)?[-_]?(?:password|passwd|passphrase|pass|pwd|secret|token|user|username)[-_\d]*|"
    r"admin\d*|root|guest|postgres|mysql|test(?:ing)?\d*|foo\w*|bar|1?234?5?6?7?8?9?0?|none|null|true|false|"
    r"[/@%].*|(?:env|file|pass|stdin)\b.*)"
)
_LOCAL = re.compile(r"(?:localhost|127\..*|0\.0\.0\.0|.*\.(?:local|localhost|test|internal)|(?:.*\.)?example\.\w+)$")


@dataclass(frozen=True, slots=True)
class _Hit:
    """Something secret: its place in the source, and what to say."""

    span: Span
    message: str
    severity: Severity


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Search the text of all instructions."""
    starts = [instruction.span.start for instruction in dockerfile.instructions]
    taken: list[Span] = []
    for hit in sorted((*_literal(dockerfile), *_variable(dockerfile)), key=lambda hit: hit.span):
        place = bisect_right(starts, hit.span.start) - 1
        if place < 0 or any(hit.span.overlaps(other) for other in taken[-2:]):
            continue
        instruction = dockerfile.instructions[place]
        outside = hit.span.start >= instruction.span.end
        if outside or any(hit.span.overlaps(comment.span) for comment in instruction.comments):
            continue
        taken.append(hit.span)
        yield Finding(NAME, hit.message, dockerfile.source, hit.span, hit.severity, CATEGORY, ALIASES)


def _literal(dockerfile: Dockerfile) -> Iterator[_Hit]:
    """Secrets that stand in the text."""
    text = dockerfile.source.text
    for what, needle, pattern in _TOKENS:
        for match in pattern.finditer(text) if needle in text else ():
            if len(set(match[1].lower())) > 7 and "EXAMPLE" not in match[0] and "XXXX" not in match[0].upper():
                message = f"{what} stands here for everyone to read: revoke it, and use RUN --mount=type=secret"
                yield _Hit(Span(*match.span()), message, Severity.ERROR)
    if "://" in text and "@" in text:
        yield from _addresses(text)
    for pattern, needle, group, what in (
        (_HEADER, ": ", 3, "a token stands in this header"),
        (_NPM, ":_", 3, "a registry's token stands here"),
        (_OPTION, "--", 1, "a password or token stands in this option"),
        (_USER_OPTION, "-u", 1, "a password stands in this option"),
    ):
        for match in pattern.finditer(text) if needle in text else ():
            value = match[group]
            if value and not _PLACEHOLDER.fullmatch(value) and len(set(value)) > 4:
                message = f"{what} for everyone to read: use RUN --mount=type=secret"
                yield _Hit(Span(*match.span(group)), message, Severity.WARNING)


def _addresses(text: str) -> Iterator[_Hit]:
    for match in _PASSWORD_IN_URL.finditer(text):
        user, password, host = match.groups()
        if password == "x-oauth-basic":
            password, user = user, ""
        if "." not in host or _LOCAL.match(host) or password == user or _PLACEHOLDER.fullmatch(password):
            continue
        message = "a password stands in this address for everyone to read: use RUN --mount=type=secret"
        yield _Hit(Span(*match.span()), message, Severity.WARNING)


def _variable(dockerfile: Dockerfile) -> Iterator[_Hit]:
    """Secrets that an ARG or ENV holds, where they are used as such."""
    text = dockerfile.source.text
    matches = [
        (pattern, match)
        for pattern, needle in ((_VARIABLE_IN_URL, "@"), (_HEADER, ": "), (_NPM, ":_"))
        for match in (pattern.finditer(text) if needle in text else ())
        if match[1] or match[2]
    ]
    if not matches:
        return
    known = _scopes(dockerfile)
    starts = [start for start, _, _ in known]
    for pattern, match in matches:
        place = bisect_right(starts, match.start()) - 1
        if place < 0:
            continue
        _, instruction, scope = known[place]
        name = match[1] or match[2]
        if name not in scope.variables or not _expands(text, instruction, match, name):
            continue
        if pattern is _VARIABLE_IN_URL and not _SECRET_NAME.search(name):
            continue
        keyword = "ENV" if name in scope.env else "ARG"
        message = f"the value of {keyword} {name} is kept in the image's history: use RUN --mount=type=secret"
        yield _Hit(Span(*match.span()), message, Severity.WARNING)


def _scopes(dockerfile: Dockerfile) -> list[tuple[int, Instruction, Scope]]:
    return [(instruction.span.start, instruction.actual, scope) for _, instruction, scope in walk(dockerfile)]


def _expands(text: str, instruction: Instruction, match: re.Match[str], name: str) -> bool:
    """Whether the variable is put in: not in single quotes, not behind a backslash, not set by the command itself."""
    if instruction.keyword not in ("RUN", "ADD", "COPY", "ENV") or match.start() >= instruction.span.end:
        return False
    before = text[instruction.span.start : match.start()]
    dollar = text.index("$", match.start())
    if text[dollar - 1] == "\\" or text[instruction.span.start : match.end()].count("'") % 2:
        return False
    return not re.search(rf"(?<![\w$-]){re.escape(name)}=", before) or instruction.keyword != "RUN"
