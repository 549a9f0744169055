"""Which Java images have a runtime-only sister: the same build of Java on the same distribution, without compiler.

What each vendor publishes is told by the sources of the images: Eclipse Temurin has a JRE beside each JDK of the
releases below, the openjdk image only for Java 8 and 11, Amazon Corretto none. An image without a sister is its own
runtime: then only the build's sources and caches stay behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from buildopt.dockerfile.passes.images import Image

_LONG_SUPPORTED = "8|11|17|21|25"
_TEMURIN = re.compile(
    rf"(?P<version>(?:{_LONG_SUPPORTED})(?:\.[0-9.]+_[0-9]+(?:\.[0-9]+)?|u[0-9]+-b[0-9]+)?)(?:-jdk)?"
    r"(?P<suffix>-alpine(?:-3\.[0-9]+)?|-focal|-jammy|-noble|-ubi9-minimal|-ubi10-minimal|-centos7)?"
)
_OPENJDK = re.compile(
    r"(?P<version>8(?:u[0-9]+)?|11(?:\.0(?:\.[0-9]+)?)?)(?:-jdk)?"
    r"(?P<suffix>-slim|-alpine(?:3\.[0-9]+)?|-buster|-bullseye|-stretch|-slim-buster|-slim-bullseye)?"
)
_SEMERU = re.compile(r"(?P<version>open-(?:8|11|17|21))-jdk(?P<suffix>-focal|-jammy|-noble|-centos7)?")
_ADOPT = re.compile(r"(?P<version>8|11)-jdk(?P<suffix>-(?:hotspot|openj9)(?:-bionic|-focal)?)")
_MAVEN_TEMURIN = re.compile(
    rf"(?:[0-9.]+-)?eclipse-temurin-(?P<version>{_LONG_SUPPORTED})(?P<suffix>-alpine|-focal|-jammy|-noble)?"
)
_MAVEN_OPENJDK = re.compile(r"(?:[0-9.]+-)?(?:open)?jdk-(?P<version>8|11)(?P<suffix>-slim|-alpine)?")
_MAVEN_SEMERU = re.compile(r"(?:[0-9.]+-)?ibm-semeru-(?P<version>8|11|17|21)(?P<suffix>-focal|-jammy|-noble)?")
# Gradle's images are Temurin's since Gradle 7.
_GRADLE = re.compile(
    rf"(?:(?P<gradle>[0-9]+)(?:\.[0-9.]+)?-)?jdk(?P<version>{_LONG_SUPPORTED})(?P<suffix>-alpine|-focal|-jammy|-noble)?"
)


@dataclass(frozen=True, slots=True)
class Sister:
    """A runtime image: repository and tag. ``home``: JAVA_HOME is what it was."""

    repository: str
    tag: str
    home: bool


def sister(base: Image) -> Sister | None:
    """The runtime-only image of the same Java on the same distribution; None where none is known."""
    reader = _READERS.get(base.repository)
    if base.digest or reader is None or "jre" in base.tag or "windows" in base.tag:
        return None
    return reader(base.tag)


def _plain(repository: str, pattern: re.Pattern[str], *, home: bool) -> Callable[[str], Sister | None]:
    def read(tag: str) -> Sister | None:
        match = pattern.fullmatch(tag)
        if match is None or (match["version"].startswith("11") and "alpine" in tag and repository == "openjdk"):
            return None
        return Sister(repository, f"{match['version']}-jre{match['suffix'] or ''}", home)

    return read


def _maven(tag: str) -> Sister | None:
    match = _MAVEN_TEMURIN.fullmatch(tag)
    if match is not None:
        return Sister("eclipse-temurin", f"{match['version']}-jre{match['suffix'] or ''}", True)
    match = _MAVEN_OPENJDK.fullmatch(tag)
    if match is not None and not (match["version"] == "11" and "alpine" in tag):
        return Sister("openjdk", f"{match['version']}-jre{match['suffix'] or ''}", False)
    match = _MAVEN_SEMERU.fullmatch(tag)
    if match is not None:
        return Sister("ibm-semeru-runtimes", f"open-{match['version']}-jre{match['suffix'] or ''}", False)
    return None


def _gradle(tag: str) -> Sister | None:
    match = _GRADLE.fullmatch(tag)
    if match is None or (match["gradle"] is not None and int(match["gradle"]) < 7):
        return None
    return Sister("eclipse-temurin", f"{match['version']}-jre{match['suffix'] or ''}", True)


_READERS: dict[str, Callable[[str], Sister | None]] = {
    "eclipse-temurin": _plain("eclipse-temurin", _TEMURIN, home=True),
    "openjdk": _plain("openjdk", _OPENJDK, home=False),
    "ibm-semeru-runtimes": _plain("ibm-semeru-runtimes", _SEMERU, home=False),
    "adoptopenjdk": _plain("adoptopenjdk", _ADOPT, home=False),
    "maven": _maven,
    "gradle": _gradle,
}
