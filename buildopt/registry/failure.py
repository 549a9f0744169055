"""How a registry's refusal or silence is told: a kind for programs, a message and a hint for people."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import InvalidURL
from typing import cast

from buildopt.errors import PushError
from buildopt.registry.profiles import Profile, profile_of

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

LONGEST_ASKED = 120.0
"""Seconds that a registry may ask to wait for; who asks for more is reported instead."""
SECONDARY_SECONDS = 60.0
"""How long GitHub wants to be left alone after its secondary limit where it names no time: a minute at the least."""

_WAIT = re.compile(
    r"retry-after:\s*((?:\d{1,9}(?:\.\d{1,12})?(?:h|ms|us|µs|μs|ns|m|s)){1,4})\b", re.IGNORECASE | re.ASCII
)
_NOBODY = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
_PART = re.compile(r"([\d.]+)([^\d.]+)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_LOCKED = frozenset({"REGISTRY_DISALLOWED_OPERATION", "TAG_ALREADY_EXISTS"})
"""The codes with which Azure's registries refuse what is locked, and Quay a tag that is taken."""

STRANGE = "check the name of the registry; a proxy may answer in its place"
"""What to do where something answers, but not like a registry."""


class RegistryError(PushError):
    """A registry could not be used.

    ``kind`` is one of unreachable, certificate, timeout, credentials, permission, firewall, not-found, name,
    rate-limit, immutable, policy, quota, read-only, too-large, digest, refused, server, protocol. ``transient``:
    another attempt may succeed, ``retry_after`` seconds from now where the registry said so. ``status`` is that of
    its answer, 0 without one; ``answered``: it had given another one before.
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
        self.answered = False

    def retold(self, message: str, hint: str | None = None) -> RegistryError:
        """The same in other words."""
        return RegistryError(
            self.kind,
            message,
            hint=self.hint if hint is None else hint,
            transient=self.transient,
            retry_after=self.retry_after,
            code=self.code,
            status=self.status,
        )


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
        return one_line(code if isinstance(code, str) else "", 60), one_line(
            message if isinstance(message, str) else ""
        )

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Seconds to wait: from Retry-After as seconds or a date, from a body that says ``retry-after: 10.3ms`` (or any
        other duration as Go writes it), or a minute where the body tells of GitHub's secondary limit.
        """
        value = self.headers.get("retry-after", "").strip()
        if value:
            try:
                return max(0.0, float(value)) if re.fullmatch(r"\d{1,9}(\.\d+)?", value) else _until(value, now)
            except (ValueError, TypeError, OverflowError, LookupError):
                return None
        match = _WAIT.search(self.data.decode("utf-8", "replace").replace("\\u00b5", "µ"))
        if match is not None:
            return sum(float(count) * _UNITS[unit.lower()] for count, unit in _PART.findall(match[1]))
        return SECONDARY_SECONDS if self.secondary_limit else None

    @property
    def secondary_limit(self) -> bool:
        """Whether the body tells of GitHub's secondary rate limit, whose status is 403 as often as 429 (reported)."""
        return b"secondary rate limit" in self.data.lower()


def _until(value: str, now: datetime | None) -> float:
    date = parsedate_to_datetime(value)
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())


def refused(
    answer: Answer,
    registry: str,
    what: str,
    *,
    repository: str = "",
    signed_in: bool = True,
    profile: Profile | None = None,
) -> RegistryError:
    """The error for an answer that is no success. ``what`` is what was tried, such as "the upload of sha256:…".

    ``profile`` is the registry's where its name alone does not tell it.
    """
    code, message = answer.problem()
    status = answer.status
    profile = profile or profile_of(registry)
    said = f": {message}" if message else (f": {code}" if code else "")
    kind = _kind(answer, code, message, signed_in)
    words = {
        "credentials": f"{registry} wants credentials" if not signed_in else f"{registry} refused the credentials",
        "permission": f"{registry} does not allow {what}",
        "firewall": f"{registry} does not let this machine in",
        "name": f"{registry} does not take the name {repository}",
        "policy": f"{registry} has a policy against {what}",
        "quota": f"{registry} has no room left for {what}",
        "read-only": f"{registry} takes nothing at this time",
        "rate-limit": f"{registry} limits the rate of requests",
        "not-found": f"{repository or what} was not found at {registry}",
        "immutable": f"the tag cannot be overwritten at {registry}",
        "too-large": f"{registry} finds {what} too large",
        "digest": f"{registry} says that {what} arrived with other bytes",
        "server": f"{registry} failed with status {status} at {what}",
    }
    wait = answer.retry_after()
    if wait is not None and wait > LONGEST_ASKED:
        said += f"; it asks to wait for {wait / 60:.0f} minutes"
    return RegistryError(
        kind,
        words.get(kind, f"{registry} refused {what} with status {status}") + said,
        hint=profile.hint(kind, registry, repository, signed_in=signed_in),
        transient=status in RETRIED_STATUSES or kind == "rate-limit",
        retry_after=wait,
        code=code,
        status=status,
    )


def _kind(answer: Answer, code: str, message: str, signed_in: bool) -> str:
    """What an answer means. Words are those that each registry was found to use; a HEAD has none."""
    status, text = answer.status, f"{code} {message}".lower()
    if status == 429 or code == "TOOMANYREQUESTS" or "rate limit" in text or answer.secondary_limit:
        return "rate-limit"
    if status == 403 and "retry-after" in answer.headers:  # who may come back later lacks no permission
        return "rate-limit"
    # ECR and Harbor say immutable, Google's registries "has enabled tag immutability" in a MANIFEST_INVALID.
    if "immutab" in text or "cannot be overwritten" in text or code in _LOCKED:
        return "immutable"
    if status == 412:  # Harbor, where the image may not be pulled: that is said to a HEAD too, without a word
        return "policy"
    if status in (400, 403, 413) and ("quota" in text or "exceed the configured upper limit" in text):
        return "quota"
    if status in (403, 405) and ("read only mode" in text or "read-only" in text):
        return "read-only"
    if code == "DIGEST_INVALID":
        return "digest"
    denied = _denied(status, text, signed_in)
    if denied:
        return denied
    if code in MISSING_PARTS:
        return "server"  # it took all of it before
    if code == "NAME_INVALID":
        return "name"
    if status == 404 or code in ("NAME_UNKNOWN", "RepositoryNotFoundException"):
        return "not-found"
    if status == 413:
        return "too-large"
    return "server" if status >= 500 or status in RETRIED_STATUSES else "refused"


def _denied(status: int, text: str, signed_in: bool) -> str:
    """Why somebody may not do something; empty where that is not the matter."""
    if status in (401, 403) and re.search(r"\bproject \S+ not found\b", text):  # Harbor, which knows who asks
        return "not-found"
    if status == 403 and "is not allowed access" in text:  # Azure's network rules
        return "firewall"
    if "insufficient scope" in text:  # Docker Hub's 401 for a token that may read only
        return "permission" if signed_in else "credentials"
    if status == 401 or (status == 400 and "authorization" in text) or "no basic auth credentials" in text:
        return "credentials"
    # ECR says 403 when its token has expired, Google's registries where they know nobody.
    if "authorization token" in text or "unauthenticated request" in text:
        return "credentials"
    if status == 403:
        return "permission" if signed_in else "credentials"
    return ""


def unreachable(error: Exception, registry: str, hide: Callable[[str], str] = str, proxy: str = "") -> RegistryError:
    """The error for a registry that gave no answer at all; ``hide`` takes secrets out of the words of its ``proxy``."""
    cause = _cause(error)
    away = isinstance(cause, socket.gaierror) or (isinstance(cause, OSError) and cause.errno in _NOBODY)
    if proxy and away:
        words = f"the proxy {proxy} on the way to {registry} cannot be reached: {cast('OSError', cause).strerror}"
        return RegistryError("unreachable", words, hint="check HTTPS_PROXY and NO_PROXY", transient=True)
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
    if str(cause).startswith("Tunnel connection failed: 407"):
        return proxy_refused(registry)
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else one_line(hide(str(cause)))
    if isinstance(cause, ValueError | InvalidURL) and not isinstance(cause, OSError):
        reason = "the request has a form that cannot be sent"  # what it is about may be a secret
    if away:
        hint = "check the address, and that the registry runs"
    else:
        hint = "check the network, then push again; what was sent stays there"
    return RegistryError("unreachable", f"{registry} cannot be reached: {reason}", hint=hint, transient=True)


def proxy_refused(registry: str) -> RegistryError:
    """The error for a proxy that lets nobody through without other credentials (407)."""
    return RegistryError(
        "unreachable",
        f"the proxy on the way to {registry} wants other credentials",
        hint="check the user and the password in HTTPS_PROXY, or add the registry to NO_PROXY",
    )


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
