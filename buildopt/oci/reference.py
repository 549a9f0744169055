"""Where an image is: ``registry/repository:tag@digest``, read strictly, Docker Hub's short forms made whole."""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass, replace

from buildopt.errors import ArtifactError, UsageError
from buildopt.oci.descriptor import Digest, shown

DOCKER_HUB = "docker.io"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_FORM = "write REGISTRY/REPOSITORY:TAG, such as ghcr.io/acme/app:1.0"


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a registry. ``registry`` is ``host`` or ``host:port``; ``tag`` and ``digest`` may be absent."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as people type it. Raises UsageError naming what is wrong with it."""
        if text.startswith(("http://", "https://")):
            raise UsageError(f"not an image reference: {shown(text)}", hint="leave out the https://")
        if text.startswith(("docker://", "oci://")):
            raise UsageError(
                f"not an image reference: {shown(text)}", hint=f"leave out the {text.partition('//')[0]}//"
            )
        rest, digest = _split_digest(text)
        registry, path = _split_registry(rest)
        repository, colon, tag = path.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise UsageError(
                f"not a tag: {shown(tag)} in {shown(text)}",
                hint="letters, digits, _ . - (not first), at most 128 characters",
            )
        if registry == DOCKER_HUB and repository and "/" not in repository:
            repository = f"library/{repository}"
        if not _REPOSITORY.fullmatch(repository):
            hint = "repositories are lowercase" if repository != repository.lower() else _FORM
            raise UsageError(f"not an image reference: {shown(text)}", hint=hint)
        if len(repository) > 255:
            raise UsageError(f"the repository's name is longer than 255 characters: {shown(text)}", hint=_FORM)
        return cls(registry, repository, tag, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def host(self) -> str:
        """The registry without its port; an IPv6 address without brackets."""
        match = _HOST.fullmatch(self.registry)
        return match["host"].strip("[]") if match else self.registry

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine (plain HTTP is acceptable there and nowhere else)."""
        return is_loopback(self.host)

    def with_tag(self, tag: str) -> Reference:
        """The same repository with another tag. Raises UsageError where it is no valid tag."""
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"not a tag: {shown(tag)}", hint="letters, digits, _ . - (not first), at most 128 characters"
            )
        return replace(self, tag=tag, digest=None)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine. A name below localhost is where it leads here (RFC 6761)."""
    host = host.lower().rstrip(".")
    if host == "localhost":
        return True
    if host.endswith(".localhost"):
        return _leads_here(host)
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@functools.cache
def _leads_here(host: str) -> bool:
    import socket

    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def is_reference(text: str) -> bool:
    """Whether a text is a valid reference."""
    try:
        Reference.parse(text)
    except UsageError:
        return False
    return True


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    try:
        return rest, Digest.parse(digest)
    except ArtifactError as error:
        raise UsageError(f"{error.message} in {shown(text)}", hint=error.hint) from error


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    looks_like_host = "." in first or ":" in first or first.lower() == "localhost" or first != first.lower()
    if not slash or not looks_like_host:
        return DOCKER_HUB, text
    match = _HOST.fullmatch(first)
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise UsageError(f"not a registry: {shown(first)} in {shown(text)}", hint=_FORM)
    if first.startswith("["):
        try:
            ipaddress.IPv6Address(match["host"][1:-1])
        except ValueError as error:
            raise UsageError(f"not an IPv6 address: {shown(first)} in {shown(text)}", hint=_FORM) from error
    registry = first.lower()
    return (DOCKER_HUB if registry in ("index.docker.io", "registry-1.docker.io") else registry), rest
