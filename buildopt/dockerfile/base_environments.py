"""Which variables the well-known base images define.

A table of names that any of their versions has or had: what is not in it is not defined, what is in it may be. PATH is
always there.
"""

from __future__ import annotations

import re
from types import MappingProxyType

_NOTHING = ""
_JAVA = "JAVA_.*|CA_CERTIFICATES_JAVA_VERSION|LANG|LANGUAGE|LC_ALL"
_NAMES = MappingProxyType(
    {
        **dict.fromkeys(("alpine", "buildpack-deps", "busybox", "centos", "debian", "scratch", "ubuntu"), _NOTHING),
        **dict.fromkeys(("amazoncorretto", "eclipse-temurin", "openjdk"), _JAVA),
        "fedora": "DISTTAG|FGC|FBR|container",
        "golang": "GO.*",
        "nginx": "NGINX_.*|NJS_.*|PKG_RELEASE|DYNPKG_RELEASE|ACME_VERSION",
        "node": "NODE_.*|YARN_.*|NPM_.*",
        "php": "PHP.*|GPG_KEYS|APACHE_.*",
        "python": "PYTHON_.*|GPG_KEY|LANG",
        "ruby": "RUBY.*|GEM_.*|BUNDLE.*|LANG",
        "rust": "RUST.*|CARGO_HOME",
    }
)
_PATTERNS = {image: re.compile(names) for image, names in _NAMES.items()}


def environment_of(image: str) -> re.Pattern[str] | None:
    """What the names of all variables match that an image of Docker Hub may define; None where the image is another."""
    name = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    return _PATTERNS.get(name.partition(":")[0])
