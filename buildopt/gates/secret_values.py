"""What a secret looks like: tokens with known prefixes, private keys, and values whose name says what they are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Token:
    """A kind of token. ``sign`` are bytes that any of them holds, to be looked for first; ``sure`` says of a match
    whether it is one even among the noise of a binary file (None: never)."""

    what: str
    sign: bytes
    pattern: re.Pattern[bytes]
    sure: Callable[[bytes], bool] | None = None


def _checked(token: bytes) -> bool:
    """Whether the last six characters are the check sum of the rest, as GitHub and npm make them."""
    body, check = token.split(b"_", 1)[1][:-6], token[-6:].decode()
    number, digits = zlib.crc32(body), ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(6, "0") == check


def _token(what: str, sign: str, rest: str, sure: Callable[[bytes], bool] | None = None) -> Token:
    pattern = re.compile(rb"(?<![A-Za-z0-9_])" + re.escape(sign).encode() + rest.encode() + rb"(?![A-Za-z0-9_])")
    return Token(what, sign.encode(), pattern, sure)


def _varied(token: bytes) -> bool:
    return len(set(token)) > 14


TOKENS = (
    *(_token("a GitHub token", f"gh{letter}_", "[A-Za-z0-9]{36,}", _checked) for letter in "pousr"),
    _token("a GitHub token", "github_pat_", "[A-Za-z0-9_]{50,}", _varied),
    _token("a GitLab token", "glpat-", "[A-Za-z0-9_.-]{20,}", _varied),
    _token("an npm token", "npm_", "[A-Za-z0-9]{36}", _checked),
    _token("a PyPI token", "pypi-AgE", "[A-Za-z0-9_-]{50,}", _varied),
    _token("a Docker Hub token", "dckr_pat_", "[A-Za-z0-9_-]{20,}", _varied),
    *(_token("a Slack token", f"xox{letter}-", "[A-Za-z0-9-]*[0-9][A-Za-z0-9-]{8,}") for letter in "abeoprs"),
    _token("a Slack webhook", "hooks.slack.com/services/", "T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}"),
    _token("a Google API key", "AIza", "[A-Za-z0-9_-]{35}"),
    *(_token("a Stripe key", f"{letter}k_live_", "[A-Za-z0-9]{16,}", _varied) for letter in "sr"),
    _token("an Anthropic key", "sk-ant-", "[A-Za-z0-9_-]{32,}", _varied),
    _token("an OpenAI key", "sk-proj-", "[A-Za-z0-9_-]{32,}", _varied),
    _token("a DigitalOcean token", "dop_v1_", "[a-f0-9]{64}", _varied),
)
# One search for those that begin alike: with one for each, most of the time would go there.
_FAMILIES = tuple(
    (re.compile(family), tuple(token for token in TOKENS if re.match(family, token.sign)))
    for family in (
        rb"gh[pousr]_",
        rb"xox[abeoprs]-",
        rb"[sr]k_live_",
        rb"sk-(?:ant|proj)-",
        *(re.escape(token.sign) for token in TOKENS if not re.match(rb"gh[pousr]_|xox|[sr]k_live|sk-", token.sign)),
    )
)
_AWS_ID = re.compile(rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(rb"(?<![A-Za-z0-9/+=_.-])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_.-])")
_HEX = re.compile(rb"[0-9a-f]+|[0-9A-F]+")
_NEAR = 400
_KEY_HEADER = re.compile(
    rb"-----BEGIN (?:(?:(?:RSA|EC|DSA|OPENSSH|ENCRYPTED|ANY) )?PRIVATE KEY|PGP PRIVATE KEY BLOCK)-----"
)
_KEY_BODY = re.compile(rb"\s*(?:[A-Za-z-]+: [^\n]*\n\s*)*([A-Za-z0-9+/=][A-Za-z0-9+/=\s]*)(-----END)?")
_PLACEHOLDER = re.compile(rb"(?i)example|x{6}|\*{4}|0{12}|your[-_]?|placeholder|redacted|dummy")
REACH = 4096
"""How many bytes before and after a place say what it is."""


def secrets_in(data: bytes, *, binary: bool = False) -> Iterator[tuple[str, int]]:
    """The kinds of secrets in some bytes, each with the place where it begins; in ``binary`` ones only what is sure."""
    for family, tokens in _FAMILIES:
        if (binary and tokens[0].sure is None) or family.search(data) is None:
            continue
        for token in tokens:
            for match in token.pattern.finditer(data):
                if _PLACEHOLDER.search(match[0]) or (binary and token.sure is not None and not token.sure(match[0])):
                    continue
                yield token.what, match.start()
    if binary:
        return
    if b"PRIVATE KEY" in data:
        for match in _KEY_HEADER.finditer(data):
            if _has_body(data[match.end() : match.end() + REACH]):
                yield "a private key", match.start()
    if b"AKIA" in data or b"ASIA" in data:
        for match in _AWS_ID.finditer(data):
            if not _PLACEHOLDER.search(match[0]) and _has_aws_secret(data, match):
                yield "an AWS access key", match.start()


def has_key_header(data: bytes) -> bool:
    """Whether some bytes hold the first line of a private key."""
    return _KEY_HEADER.search(data) is not None or data.startswith(b"PuTTY-User-Key-File-")


def _has_body(text: bytes) -> bool:
    """Whether a key follows its header: code that looks for such a header has none. Text in quotes counts too."""
    text = text.replace(b"\\r", b"").replace(b"\\n", b"\n")
    text = re.sub(rb"[\"'][ \t]*[+,]?[ \t]*(?=[\r\n]|$)|(?<=\n)[ \t]*[\"']", b"", text)
    match = _KEY_BODY.match(text)
    if match is None:
        return False
    body = b"".join(match[1].split())
    return len(body) >= 40 or match[2] is not None


def _has_aws_secret(data: bytes, identifier: re.Match[bytes]) -> bool:
    near = data[max(0, identifier.start() - _NEAR) : identifier.end() + _NEAR]
    return any(not _HEX.fullmatch(match[0]) for match in _AWS_SECRET.finditer(near))


_STRONG = re.compile(
    r"(?:_|^)(?:api_?key|(?:access|secret|private|encryption|signing|master|account|license|client)_key|credentials?|"
    r"pass(?:word|wd|phrase)|pword|secrets?|token|authtoken)(?:_|$)"
)
_WEAK = re.compile(r"(?:_|^)(?:auth|key|pass|pat|pwd)(?:_|$)")
_HARMLESS = re.compile(
    r"(?:_|^)(?:pub|public|gpg|pgp|dummy)(?:_|$)|_(?:file|path|dir|url|uri|name|id|version|ttl|expir\w*|length|min|max|"
    r"type|algorithm|alg|header|issuer|audience|enabled|policy|timeout|prefix|lifetime|duration|count|limit|rounds|"
    r"iterations|endpoint|host|port|user|username|method|provider|field|format)$"
)
# Images of databases name the keys with which their packages are signed this way: key='B97B…'.
_FINGERPRINT = re.compile(r"(?:0x)?(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40})(?:[ ,;]+(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40}))*")
_NO_VALUE = re.compile(
    r"(?i)|true|false|yes|no|on|off|none|null|nil|undefined|required|optional|[0-9]{1,3}|x+|\*+|\.+|-+|<.*>|\{\{.*|"
    r"your[-_ ].*|todo|change[-_]?(?:me|it|this)|replace[-_]?me|placeholder|.*example.*|dummy.*|redacted|unset|empty"
)
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@'\"$<{]*:([^\s/@'\"]{2,})@", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?<![\w.$-])([A-Za-z_][A-Za-z0-9_.-]*)=(\"[^\"]*\"|'[^']*'|[^\s;&|)]*)")
_HEADER = re.compile(r"(?i)authorization:\s*(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{8,})")


def is_value(value: str) -> bool:
    """Whether a text can be a secret: not empty, no reference to a variable, no placeholder, no plain number."""
    value = value.strip().strip("\"'").strip()
    return not value.startswith(("$", "%", "@", "!", "#{", "((")) and _NO_VALUE.fullmatch(value) is None


def is_secret(name: str, value: str) -> bool:
    """Whether a setting is a secret by its name and value; places of secrets, public keys and switches are none."""
    name = re.sub(r"[.-]", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()
    value = value.strip().strip("\"'")
    if not is_value(value) or value.startswith(("/", "./", "file:")) or _HARMLESS.search(name):
        return password_in_url(value)
    if _STRONG.search(name):
        return True
    mixed = re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value) and not _FINGERPRINT.fullmatch(value)
    return (len(value) >= 12 and bool(mixed) and _WEAK.search(name) is not None) or password_in_url(value)


def password_in_url(text: str) -> bool:
    """Whether a text holds an address with a password."""
    return any(is_value(match[1]) for match in _URL_PASSWORD.finditer(text))


def secret_assignments(text: str) -> Iterator[str]:
    """What in a command line or a step of a history is a secret: names of variables, or what else it is."""
    for match in _ASSIGNMENT.finditer(text):
        if is_secret(match[1], match[2]):
            yield match[1]
    if any(is_value(match[1]) for match in _HEADER.finditer(text)):
        yield "an Authorization header"
    if password_in_url(text):
        yield "a password in an address"
    yield from (what for what, _ in secrets_in(text.encode("utf-8", "replace")))


_SECRET_FLAG = re.compile(
    r"(?i)(--?[a-z0-9-]*(?:token|secret|passw(?:or)?d|passphrase|api-?key|credential)[a-z0-9-]*[= ]|"
    r"\b[a-z0-9_]*(?:token|secret|passw(?:or)?d|passphrase|api_?key|credential)[a-z0-9_]*[=:]\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^\s;&|)\"']+)"
)
_MASK = "***"


def masked(text: str, known: tuple[str, ...] = ()) -> str:
    """A text for people without secrets: ``known`` values, tokens, values of flags and variables that sound secret."""
    for value in known:
        text = text.replace(value, _MASK)
    text = _SECRET_FLAG.sub(lambda match: match[1] + (match[2] if match[2].startswith("$") else _MASK), text)
    text = _HEADER.sub(lambda match: match[0][: match.start(1) - match.start()] + _MASK, text)
    text = _URL_PASSWORD.sub(lambda match: match[0][: match.start(1) - match.start()] + f"{_MASK}@", text)
    data = text.encode("utf-8", "surrogateescape")
    for token in TOKENS:
        if token.sign in data:
            data = token.pattern.sub(_MASK.encode(), data)
    return data.decode("utf-8", "surrogateescape")


def secret_values(environment: dict[str, str]) -> tuple[str, ...]:
    """Values of an environment's variables that sound secret, the longest first; short ones say nothing."""
    found = {value for name, value in environment.items() if len(value) >= 8 and is_secret(name, value)}
    return tuple(sorted(found, key=len, reverse=True))
