"""What the Java images add to Debian: a JRE and a JDK in /opt/java/openjdk as Eclipse Temurin's have them, and Maven.

The JRE has all modules of the JDK and lacks only its commands, since Debian ships one file of modules for both. Maven
fetches from its own files instead of Maven Central: from ``/usr/share/maven-repo``, where Debian's packages put theirs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

from buildopt.sandbox import trees
from buildopt.sandbox.debian import Archive

VERSION = "17"
HOME = "/opt/java/openjdk"
ENTRYPOINT = "/__cacert_entrypoint.sh"
ENTRYPOINT_TEXT = """#!/bin/sh
# Where the image is run with certificates of one's own, they would be added here.
exec "$@"
"""
SYSTEM_PACKAGES = ("ca-certificates", "curl", "fontconfig", "locales", "p11-kit", "tzdata", "wget")
SYSTEM_SCRIPT = "set -e\necho 'en_US.UTF-8 UTF-8' >> /etc/locale.gen\nlocale-gen en_US.UTF-8\n"
JRE_PACKAGES = ("openjdk-17-jre-headless",)
JDK_PACKAGES = ("openjdk-17-jdk-headless",)
MAVEN_PACKAGES = ("maven", "junit4", "libmaven-clean-plugin-java", "libmaven-compiler-plugin-java",
                  "libmaven-dependency-plugin-java", "libmaven-deploy-plugin-java", "libmaven-install-plugin-java",
                  "libmaven-jar-plugin-java", "libmaven-resources-plugin-java", "libmaven-site-plugin-java",
                  "libmaven-shade-plugin-java", "libsurefire-java", "libcommons-lang3-java", "libcommons-io-java",
                  "libcommons-collections4-java", "libgoogle-gson-java", "libguava-java", "libslf4j-java",
                  "libjackson2-databind-java", "libcommons-csv-java", "libjoda-time-java",
                  "libyaml-snake-java")  # fmt: skip
MAVEN_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">
  <mirrors>
    <mirror>
      <id>debian</id>
      <mirrorOf>*</mirrorOf>
      <url>file:///usr/share/maven-repo</url>
    </mirror>
  </mirrors>
</settings>
"""
MAVEN_ENTRYPOINT = """#!/bin/sh
# A configuration that the image was given is copied to where Maven looks for it.
mkdir -p "$MAVEN_CONFIG"
exec "$@"
"""
PASSWORD = "changeit"


def add_jre(archive: Archive, root: Path, work: Path, authorities: str) -> None:
    """The JRE in /opt/java/openjdk, which trusts the authorities of a PEM bundle."""
    _add_openjdk(archive, JRE_PACKAGES, root, work)
    store = root / HOME.lstrip("/") / "lib" / "security" / "cacerts"
    store.write_bytes(key_store(authorities))
    entrypoint = root / ENTRYPOINT.lstrip("/")
    entrypoint.write_text(ENTRYPOINT_TEXT, encoding="utf-8")
    entrypoint.chmod(0o755)


def add_jdk(archive: Archive, root: Path, work: Path) -> None:
    """What the JDK has beyond the JRE."""
    _add_openjdk(archive, JDK_PACKAGES, root, work)


def _add_openjdk(archive: Archive, names: Sequence[str], root: Path, work: Path) -> None:
    """Debian's files of these packages under Temurin's paths, without its detours through /etc."""
    system = work / "openjdk"
    system.mkdir()
    trees.unpack(archive.download(names), system)
    source = system / "usr" / "lib" / "jvm" / f"java-17-openjdk-{archive.architecture}"
    home = root / HOME.lstrip("/")
    home.parent.mkdir(parents=True)
    shutil.move(source, home)
    for path in sorted(home.rglob("*")):
        if not path.is_symlink():
            continue
        target = os.readlink(path)
        if target.startswith("/"):
            path.unlink()
            real = system / target.lstrip("/")
            if real.is_dir():
                shutil.copytree(real, path)
            elif real.is_file():
                shutil.copy2(real, path)
    for unwanted in ("docs", "man", "lib/src.zip"):
        path = home / unwanted
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(system)


def key_store(bundle: str) -> bytes:
    """A Java key store of the certificates of a PEM bundle, each trusted, under the usual password."""
    certificates = [f"{block}-----END CERTIFICATE-----\n" for block in bundle.split("-----END CERTIFICATE-----\n")[:-1]]
    data = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        content = ssl.PEM_cert_to_DER_cert(certificate[certificate.index("-----BEGIN") :])
        data += struct.pack(">I", 2) + _utf(f"authority-{number}") + struct.pack(">Q", 0)
        data += _utf("X.509") + struct.pack(">I", len(content)) + content
    digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + data, usedforsecurity=False)
    return data + digest.digest()


def _utf(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def add_maven(archives: Sequence[Path], root: Path) -> None:
    """Maven and the artifacts that are in Debian's packages, of which nothing else is taken."""
    system = root.with_name(f"{root.name}-system")
    system.mkdir()
    trees.unpack(archives, system)
    share = root / "usr" / "share"
    share.mkdir(parents=True)
    for name in ("java", "maven", "maven-repo"):
        shutil.move(system / "usr" / "share" / name, share / name)
    (root / "etc").mkdir()
    shutil.move(system / "etc" / "maven", root / "etc" / "maven")
    configuration = root / "etc" / "maven" / "settings.xml"
    configuration.write_text(MAVEN_SETTINGS, encoding="utf-8")
    programs = root / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    (root / "usr" / "bin").mkdir()
    (root / "usr" / "bin" / "mvn").symlink_to("/usr/share/maven/bin/mvn")
    entrypoint = programs / "mvn-entrypoint.sh"
    entrypoint.write_text(MAVEN_ENTRYPOINT, encoding="utf-8")
    entrypoint.chmod(0o755)
    shutil.rmtree(system)
