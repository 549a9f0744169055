"""Gates that need no other tool: size, user, labels and attestations of one platform's image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.errors import ArtifactError
from buildopt.gates import layers
from buildopt.gates.image import PlatformImage
from buildopt.gates.secret_gate import shortened
from buildopt.oci.gate_record import printable
from buildopt.oci.layout import ArtifactSource

PREDICATES = {
    "provenance": ("https://slsa.dev/provenance/",),
    "sbom": ("https://spdx.dev/Document", "https://cyclonedx.org/bom"),
}
"""Short names of attestations, and how their predicate types begin."""
_PREDICATE_TYPE = "in-toto.io/predicate-type"
_LARGEST_PASSWD = 4 << 20
_MOST_LINKS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """What a gate says: an empty ``problem`` means passed. ``lines`` say more; ``skipped`` why it does not apply."""

    problem: str = ""
    lines: tuple[str, ...] = ()
    skipped: str = ""


def size(image: PlatformImage, largest: int) -> Judged:
    """Whether an image is at most ``largest`` compressed bytes."""
    if image.size <= largest:
        return Judged(lines=(f"{_human(image.size)} of {_human(largest)}",))
    heavy = sorted(zip(image.layers, image.layer_steps(), strict=True), key=lambda pair: -pair[0].size)[:3]
    lines = tuple(f"{_human(layer.size):>10}  {shortened(step) or layer.digest}" for layer, step in heavy)
    return Judged(f"{_human(image.size)} compressed, the budget is {_human(largest)}", lines)


def _human(count: int) -> str:
    """Bytes in powers of a thousand; a budget and what is just above it must not look the same."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.5g} {unit}"


def labels(image: PlatformImage, wanted: Sequence[str]) -> Judged:
    """Whether an image has labels, each with a value."""
    lacking = [name for name in wanted if not image.labels.get(name, "").strip()]
    return Judged(f"it has no label {', '.join(lacking)}" if lacking else "")


def attestations(image: PlatformImage, wanted: Sequence[str]) -> Judged:
    """Whether there is an attestation of each wanted kind: a short name of PREDICATES, or a predicate type."""
    found = [layer.annotations.get(_PREDICATE_TYPE, "") for layer in image.statements]
    lacking = [
        name for name in wanted if not any(one.startswith(PREDICATES.get(name, (name,))) for one in found if one)
    ]
    if not lacking:
        return Judged()
    flags = {"provenance": "--provenance min", "sbom": "--sbom"}
    hint = " and ".join(flags[name] for name in lacking if name in flags)
    return Judged(f"it has no {' and no '.join(lacking)}{f': build with {hint}' if hint else ''}")


def non_root(source: ArtifactSource, image: PlatformImage) -> Judged:
    """Whether a container runs as somebody else than root. Raises ArtifactError where a layer cannot be read."""
    if image.platform.startswith("windows"):
        return Judged(skipped="Windows has no root")
    user = image.user.partition(":")[0].strip()
    hint = "end the Dockerfile with USER and a user other than root"
    if not user:
        return Judged(f"it runs as root: no USER is set; {hint}")
    if _number(user) == 0 or user == "root":
        return Judged(f"it runs as root: USER {printable(image.user)}; {hint}")
    accounts = _accounts(source, image)
    if accounts is not None:
        for line in accounts.decode("utf-8", "replace").splitlines():
            fields = line.strip().split(":")
            # As engines look it up: by name or by number, the first line counts.
            if len(fields) > 2 and (fields[0] == user or (_number(user) is not None and fields[2] == user)):
                if _number(fields[2]) == 0:
                    return Judged(f"it runs as root: USER {printable(user)} has the number 0 in /etc/passwd; {hint}")
                return Judged()
    if _number(user) is not None:
        return Judged()
    what = "the image has no /etc/passwd" if accounts is None else "/etc/passwd has no such user"
    return Judged(f"USER {printable(user)} cannot be looked up: {what}; use a number, such as USER 65532")


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,12}", text) else None


def _accounts(source: ArtifactSource, image: PlatformImage) -> bytes | None:
    """/etc/passwd as a container sees it; None where there is none."""
    path = "etc/passwd"
    for _ in range(_MOST_LINKS):
        data, target = _find(source, image, path)
        if target is None:
            return data
        path = target
    return None


def _find(source: ArtifactSource, image: PlatformImage, path: str) -> tuple[bytes | None, str | None]:
    """A file's bytes, or the path that a symbolic link on its way leads to; the uppermost layer that tells counts."""
    parents = [path[: match.start()] for match in re.finditer("/", path)]
    hidden, emptied = (*parents, path), (*parents, "")
    for layer in reversed(image.layers):
        if layer.foreign and not source.has(layer.digest):
            continue
        data: bytes | None = None
        target: str | None = None
        gone = False
        for member in layers.members(source, layer):
            if member.path == path and member.kind == "file" and member.stream is not None:
                data = member.stream.read(_LARGEST_PASSWD)
                target = None
            elif member.kind == "link" and (member.path == path or member.path in parents):
                followed = posixpath.join("/", posixpath.dirname(member.path), member.target)
                target = posixpath.normpath(followed + path[len(member.path) :]).lstrip("/")
            elif member.path in (hidden if member.kind == "whiteout" else emptied if member.kind == "opaque" else ()):
                gone = True
        if data is not None or target is not None:
            return data, target
        if gone:
            return None, None
    return None, None


def unreadable(error: ArtifactError) -> Judged:
    """What a gate says of an image that it cannot read: it is not known to be good."""
    return Judged(f"{error.message}; {error.hint}" if error.hint else error.message)
