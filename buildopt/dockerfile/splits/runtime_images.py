"""The image that a compiled program is shipped on: the slim one of the distribution that it was built on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from buildopt.dockerfile.splits.splits import No, Subject

_SUITE = re.compile(r"stretch|buster|bullseye|bookworm|trixie|forky")
# Whatever Debian release a floating tag of today is made of, this one is not older.
_NEWEST_DEBIAN = "stable"
_NEWEST_ALPINE = "3"
# A release that has all symbols that Go's own C code asks for (up to version 2.34 of the C library).
_USUAL_DEBIAN = "bookworm"
_USUAL_ALPINE = "3.22"


@dataclass(frozen=True, slots=True)
class Release:
    """A distribution and its release as the tag tells: ``name`` is empty where it floats."""

    alpine: bool
    name: str
    prefix: str

    def image(self, *, any_release: bool, floor: str = "") -> str:
        """The slim image. ``any_release``: the program needs no particular one; ``floor`` is one that is new enough."""
        if self.alpine:
            return f"{self.prefix}alpine:{self.name or (_USUAL_ALPINE if any_release else _NEWEST_ALPINE)}"
        suite = self.name or (_USUAL_DEBIAN if any_release else floor or _NEWEST_DEBIAN)
        return f"{self.prefix}debian:{suite}-slim"


def release(subject: Subject, repository: str) -> Release:
    """What the only stage's base is made of; ``repository`` is its name on Docker Hub. Raises No where none tells."""
    name = subject.base.partition("@")[0].rpartition("/")[2]
    if subject.final.base.digest and ":" not in name:
        raise No(subject.origin, "a digest without a tag does not tell what the base is made of")
    if "onbuild" in subject.final.base.tag:
        raise No(subject.origin, "what the base does on its own is not moved between stages")
    words = subject.final.base.tag.lower().split("-")
    prefix = written_prefix(subject, repository)
    alpine = next((word.removeprefix("alpine") for word in words if word.startswith("alpine")), None)
    if alpine is not None:
        return Release(True, alpine, prefix)
    return Release(False, next((word for word in words if _SUITE.fullmatch(word)), ""), prefix)


def written_prefix(subject: Subject, repository: str) -> str:
    """What stands before the name of the base, as it is written: a registry that an argument names stays one."""
    written, known = (text.partition("@")[0] for text in (subject.written_base, subject.base))
    text = written if repository in written else known
    return text[: text.rindex(repository)]


def known_release(subject: Subject, *, static: bool) -> None:
    """Refuse a base whose tag is put together at build time where the C library matters. Raises No."""
    if "$" in subject.written_base and not static:
        raise No(subject.origin, "without CGO_ENABLED=0 the base must be written out: C libraries differ")


def has_all_zones(image: str) -> bool:
    """Whether an image holds the time zones under all their names."""
    return re.search(r"debian:(?:stretch|buster|bullseye|bookworm)", image) is not None


def minor_version(tag: str) -> int | None:
    """The second number of a tag such as ``1.22.3-slim``; None where there is none."""
    match = re.match(r"1\.([0-9]+)(?:\.|-|$|rc|beta)", tag)
    return int(match.group(1)) if match else None


def golang_suite(tag: str) -> str | None:
    """The Debian release of a golang tag that names none, empty where the tag floats; None where it is not certain.

    A minor version's last images were made on the default release of their day, those of a patch may be older.
    """
    minor = minor_version(tag)
    if minor is None:
        return ""
    patched = re.match(r"1\.[0-9]+(?:\.|rc|beta)", tag) is not None
    if 16 < minor <= 18:
        return "bullseye"
    if minor in (21, 22) or (minor in (19, 20) and not patched):
        return "bookworm"
    return "trixie" if minor >= 25 else None


# Packages of Alpine that have had the same name for many releases.
_LASTING = frozenset(
    """bash curl wget tzdata ffmpeg openssl jq su-exec tini dumb-init shadow git openssh-client openssh libc6-compat
    busybox-extras postgresql-client mysql-client imagemagick graphviz nodejs npm python3 sqlite less unzip zip make
    ca-certificates coreutils gettext libstdc++ libgcc ttf-dejavu fontconfig redis""".split()  # noqa: SIM905
)


def same_packages(subject: Subject, base: Release, wanted: Iterable[str], suite: str | None) -> None:
    """Refuse packages of a release that is not known: another one may not have them. Raises No."""
    odd = next((name for name in sorted(wanted) if not (base.alpine and name in _LASTING)), None)
    if odd is not None and not base.name and (base.alpine or suite is None):
        raise No(subject.origin, f"{odd} is needed at run time, and the release that it comes from is not known")
