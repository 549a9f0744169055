"""Which base images there are stand-ins for, and how those say that they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.errors import UsageError
from buildopt.sandbox import java, languages
from buildopt.sandbox.images import ImageConfig

PLATFORMS = ("linux/amd64", "linux/arm64")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# uv looks at the first, Poetry at the second; pip has a file of its own.
PYTHON_TRUST = (("SSL_CERT_FILE", BUNDLE), ("REQUESTS_CA_BUNDLE", BUNDLE))
NODE_TRUST = (("NODE_EXTRA_CA_CERTS", "/usr/local/share/machine-authorities.pem"),)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: its names (``python:3.11-slim`` first) and the layers that it is made of.

    ``native_only``: it is large and only built on, so it is made for the machine's own platform alone. ``trust`` are
    the variables that tell its programs of certificates, where the machine trusts more of them than Debian does.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    config: ImageConfig
    native_only: bool = False
    trust: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name by which it is asked for."""
        return self.names[0]

    def platforms(self, wanted: Sequence[str], native: str) -> tuple[str, ...]:
        """Those of the wanted platforms that it is made for, on a machine of this architecture.

        Raises UsageError where there is none.
        """
        found = tuple(platform for platform in wanted if not self.native_only or platform == f"linux/{native}")
        if not found:
            raise UsageError(f"{self.name} is made for linux/{native} alone on this machine", hint="ask for that one")
        return found


def _python(*names: str, layers: tuple[str, ...], native_only: bool = False) -> Recipe:
    environment = (("PATH", f"/usr/local/bin:{PATH}"), ("LANG", "C.UTF-8"), ("PYTHON_VERSION", "3.11.2"))
    return Recipe(names, layers, ImageConfig(environment, ("python3",)), native_only, PYTHON_TRUST)


def _node(*names: str, layers: tuple[str, ...], native_only: bool = False) -> Recipe:
    environment = (("PATH", PATH), ("NODE_VERSION", languages.NODE), ("YARN_VERSION", languages.YARN))
    return Recipe(
        names, layers, ImageConfig(environment, ("node",), ("docker-entrypoint.sh",)), native_only, NODE_TRUST
    )


def _rust(*names: str, layers: tuple[str, ...]) -> Recipe:
    environment = (
        ("PATH", f"/usr/local/cargo/bin:{PATH}"),
        ("RUSTUP_HOME", "/usr/local/rustup"),
        ("CARGO_HOME", "/usr/local/cargo"),
        ("RUST_VERSION", languages.RUST),
    )
    return Recipe(names, layers, ImageConfig(environment, ("bash",)), native_only=True)


JAVA = (
    ("PATH", f"{java.HOME}/bin:{PATH}"),
    ("JAVA_HOME", java.HOME),
    ("LANG", "en_US.UTF-8"),
    ("LANGUAGE", "en_US:en"),
    ("LC_ALL", "en_US.UTF-8"),
    ("JAVA_VERSION", f"jdk-{java.VERSION}"),
)
MAVEN = (*JAVA, ("MAVEN_HOME", "/usr/share/maven"), ("MAVEN_CONFIG", "/root/.m2"))
RECIPES = (
    Recipe(
        ("debian:bookworm-slim", "debian:12-slim", "debian:bookworm", "debian:12"),
        ("debian",),
        ImageConfig((("PATH", PATH),), ("bash",)),
    ),
    _python("python:3.11-slim", "python:3.11-slim-bookworm", layers=("debian", "runtime", "python")),
    _python(
        "python:3.11",
        "python:3.11-bookworm",
        layers=("debian", "toolchain", "buildpack", "python"),
        native_only=True,
    ),
    _node("node:18-slim", "node:18-bookworm-slim", layers=("debian", "node")),
    _node("node:18", "node:18-bookworm", layers=("debian", "toolchain", "buildpack", "node"), native_only=True),
    Recipe(
        ("golang:1.19", "golang:1.19-bookworm"),
        ("debian", "toolchain", "go"),
        ImageConfig(
            (("PATH", f"/go/bin:/usr/local/go/bin:{PATH}"), ("GOLANG_VERSION", "1.19.8"), ("GOPATH", "/go")),
            ("bash",),
            folder="/go",
        ),
    ),
    Recipe(
        ("gcc:12", "gcc:12-bookworm"),
        ("debian", "toolchain"),
        ImageConfig((("PATH", PATH), ("GCC_VERSION", "12.2.0")), ("bash",)),
    ),
    _rust("rust:1.63", "rust:1.63-bookworm", layers=("debian", "toolchain", "buildpack", "rust")),
    _rust("rust:1.63-slim", "rust:1.63-slim-bookworm", layers=("debian", "compiler", "rust-slim")),
    Recipe(
        ("eclipse-temurin:17-jre", "eclipse-temurin:17-jre-jammy"),
        ("debian", "java", "jre"),
        ImageConfig(JAVA, ("/bin/bash",), (java.ENTRYPOINT,)),
        native_only=True,
    ),
    Recipe(
        ("eclipse-temurin:17-jdk", "eclipse-temurin:17-jdk-jammy", "eclipse-temurin:17"),
        ("debian", "java", "linker", "jdk"),
        ImageConfig(JAVA, ("jshell",), (java.ENTRYPOINT,)),
        native_only=True,
    ),
    Recipe(
        ("maven:3-eclipse-temurin-17", "maven:3.8-eclipse-temurin-17"),
        ("debian", "java", "linker", "jdk", "maven"),
        ImageConfig(MAVEN, ("mvn",), ("/usr/local/bin/mvn-entrypoint.sh",)),
        native_only=True,
    ),
)
NAMES = tuple(recipe.name for recipe in RECIPES)
