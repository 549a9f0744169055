"""How a registry's refusal or silence is told: a kind for programs, a message and a hint for people."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from buildopt.errors import PushError
from buildopt.registry.profiles import profile_of

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Answers that may differ the next time. 501 and 505 do not."""
UNTRUSTED = "UNTRUSTED"
"""The code of a certificate that was there but is not trusted: nobody may fall back to plain HTTP from it."""
NO_TLS = "NO_TLS"
"""The code where something answered, but not in TLS: a server of plain HTTP."""
MISSING_PARTS = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
"""The codes with which a manifest is refused because something that it names is not there."""
NO_IDENTITY = "NO_IDENTITY"
"""The code where there is nobody to sign in as."""

STRANGE = "check the name of the registry; a proxy may answer in its place"
"""What to do where something answers, but not like a registry."""


class RegistryError(PushError):
    """A registry could not be used.

    ``kind`` is one of unreachable, certificate, timeout, credentials, permission, not-found, rate-limit, immutable,
    too-large, digest, refused, server, protocol. ``transient``: another attempt may succeed, ``retry_after`` seconds
    from now where the registry said so. ``status`` is that of its answer, 0 without one.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        hint: str = "",
        transient: bool = False,
        retry_after: float | None = None,
        code: str = "",
        status: int = 0,
    ) -> None:
        super().__init__(message, hint=hint or (STRANGE if kind == "protocol" else ""))
        self.kind = kind
        self.transient = transient
        self.retry_after = retry_after
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry answered: status, headers (names in small letters) and the start of the body."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def problem(self) -> tuple[str, str]:
        """Code and message of the first error in the body, as the distribution specification shapes it."""
        try:
            document = json.loads(self.data)
            first = document["errors"][0] if document.get("errors") else document
            code, message = first.get("code", ""), first.get("message") or first.get("details") or ""
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "", ""
        return (code if isinstance(code, str) else ""), one_line(message if isinstance(message, str) else "")

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Seconds to wait, from Retry-After as seconds or a date, or from a body that says ``retry-after: 10.3ms``."""
        value = self.headers.get("retry-after", "").strip()
        if value:
            try:
                return max(0.0, float(value)) if re.fullmatch(r"\d{1,9}(\.\d+)?", value) else _until(value, now)
            except (ValueError, TypeError, OverflowError):
                return None
        match = re.search(rb"retry-after: (\d{1,9}(?:\.\d+)?)(ms|s|m)\b", self.data, re.IGNORECASE)
        return float(match[1]) * {b"ms": 0.001, b"s": 1.0, b"m": 60.0}[match[2].lower()] if match else None


def _until(value: str, now: datetime | None) -> float:
    date = parsedate_to_datetime(value)
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())


def refused(answer: Answer, registry: str, what: str, *, repository: str = "", signed_in: bool = True) -> RegistryError:
    """The error for an answer that is no success. ``what`` is what was tried, such as "the upload of sha256:…"."""
    code, message = answer.problem()
    status = answer.status
    profile = profile_of(registry)
    said = f": {message}" if message else (f": {code}" if code else "")
    kind = _kind(status, code, message, signed_in)
    words = {
        "credentials": f"{registry} wants credentials" if not signed_in else f"{registry} refused the credentials",
        "permission": f"{registry} does not allow {what}",
        "rate-limit": f"{registry} limits the rate of requests",
        "not-found": f"{repository or what} was not found at {registry}",
        "immutable": f"the tag cannot be overwritten at {registry}",
        "too-large": f"{registry} finds {what} too large",
        "digest": f"{registry} says that {what} arrived with other bytes",
        "server": f"{registry} failed with status {status} at {what}",
    }
    wait = answer.retry_after()
    return RegistryError(
        kind,
        words.get(kind, f"{registry} refused {what} with status {status}") + said,
        hint=profile.hint(kind, registry, repository, signed_in=signed_in),
        transient=status in RETRIED_STATUSES or (kind == "rate-limit" and wait is not None),
        retry_after=wait,
        code=code,
        status=status,
    )


def _kind(status: int, code: str, message: str, signed_in: bool) -> str:
    text = f"{code} {message}".lower()
    if status == 429 or code == "TOOMANYREQUESTS" or "rate limit" in text:
        return "rate-limit"
    if "immutable" in text or "cannot be overwritten" in text:
        return "immutable"
    if code == "DIGEST_INVALID":
        return "digest"
    if status == 401 or (status == 400 and "authorization" in text) or "no basic auth credentials" in text:
        return "credentials"
    if "authorization token" in text:  # ECR says 403 when its token has expired
        return "credentials"
    if status == 403:
        return "permission" if signed_in else "credentials"
    if code in MISSING_PARTS:
        return "server"  # it took all of it before
    if status == 404 or code in ("NAME_UNKNOWN", "RepositoryNotFoundException"):
        return "not-found"
    if status == 413:
        return "too-large"
    return "server" if status >= 500 or status in RETRIED_STATUSES else "refused"


def unreachable(error: Exception, registry: str) -> RegistryError:
    """The error for a registry that gave no answer at all."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RegistryError(
            "certificate",
            f"the certificate of {registry} is not trusted: {cause.verify_message or cause.reason}",
            hint=f"put its CA into /etc/docker/certs.d/{registry}/ca.crt or name a bundle in SSL_CERT_FILE",
            code=UNTRUSTED,
        )
    if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
        return RegistryError(
            "certificate",
            f"{registry} does not speak TLS",
            hint="only registries on this machine may use plain HTTP",
            code=NO_TLS,
        )
    if isinstance(cause, socket.gaierror):
        return RegistryError(
            "unreachable",
            f"{registry} is not known: {cause.strerror}",
            hint="check the name of the registry and the network",
            transient=cause.errno == socket.EAI_AGAIN,
        )
    if isinstance(cause, TimeoutError) or "timed out" in str(cause).lower():
        return RegistryError(
            "timeout", f"{registry} did not answer in time", hint="check the network, then push again", transient=True
        )
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else one_line(str(cause))
    if isinstance(cause, OSError) and cause.errno in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH):
        hint = "check the address, and that the registry runs"
    else:
        hint = "check the network, then push again; what was sent stays there"
    return RegistryError("unreachable", f"{registry} cannot be reached: {reason}", hint=hint, transient=True)


def _cause(error: BaseException) -> BaseException:
    """The innermost reason of an HTTP library's error."""
    for _ in range(10):
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = getattr(error, "original_error", None)
        if not isinstance(inner, BaseException):
            inner = next((part for part in error.args if isinstance(part, BaseException)), None)
        if not isinstance(inner, BaseException):
            inner = error.__cause__ if not isinstance(error, OSError) else None
        if inner is None or inner is error:
            break
        error = inner
    return error


def one_line(text: str, limit: int = 200) -> str:
    """A stranger's words as one printable line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
