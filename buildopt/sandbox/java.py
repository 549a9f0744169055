"""What the Java images add to Debian: a JRE and a JDK in /opt/java/openjdk as Eclipse Temurin's have them, and Maven.

Both are linked anew from the modules in Debian's JDK, as OpenJDK's build links what Temurin ships: the JRE has the
modules that the boot and the platform loader load, without debugging information; the JDK has all, and their packaged
form in ``jmods``. Neither is compressed, both have archives of shared classes, neither has sources. Maven fetches from
its own files instead of Maven Central: from ``/usr/share/maven-repo``, where Debian's packages put theirs.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from buildopt.sandbox import trees

VERSION = "17"
HOME = "/opt/java/openjdk"
ENTRYPOINT = "/__cacert_entrypoint.sh"
ENTRYPOINT_TEXT = """#!/bin/sh
# Where the image is run with certificates of one's own, they would be added here.
exec "$@"
"""
# Libraries that Temurin has within, and Debian's Java takes from the system, are the last three.
SYSTEM_PACKAGES = ("ca-certificates", "curl", "fontconfig", "locales", "p11-kit", "tzdata", "wget",
                   "libharfbuzz0b", "libjpeg62-turbo", "liblcms2-2")  # fmt: skip
SYSTEM_SCRIPT = "set -e\necho 'en_US.UTF-8 UTF-8' >> /etc/locale.gen\nlocale-gen en_US.UTF-8\n"
JDK_PACKAGES = ("openjdk-17-jdk-headless",)
LINKER_PACKAGES = ("binutils",)  # jlink strips with objcopy
# The modules that the application loader loads are no part of a JRE, but for the debugger's agent.
JDK_ONLY = ("attach", "compiler", "editpad", "hotspot.agent", "internal.ed", "internal.jvmstat", "internal.le",
            "internal.opt", "jartool", "javadoc", "jcmd", "jconsole", "jdeps", "jdi", "jlink", "jpackage", "jshell",
            "jstatd", "random", "unsupported.desktop")  # fmt: skip
JRE = f"""--strip-debug --no-man-pages --no-header-files --add-modules \
"$(ls jmods | sed 's/[.]jmod$//' | grep -vxE 'jdk[.]({"|".join(JDK_ONLY)})' | paste -sd ,)"
"""
JDK = f"--keep-packaged-modules {HOME}/jmods --add-modules ALL-MODULE-PATH\n"
LINK = f"""set -e
cd /usr/lib/jvm/java-{VERSION}-openjdk-*
mkdir -p {PurePosixPath(HOME).parent}
bin/jlink --module-path jmods --output {HOME} %s
{HOME}/bin/java -Xshare:dump
{HOME}/bin/java -XX:-UseCompressedOops -Xshare:dump
find {HOME}/lib -name '*.so' -exec dirname {{}} ';' | sort -u > /etc/ld.so.conf.d/docker-openjdk.conf
ldconfig
"""
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


def add_openjdk(root: Path, content: str, authorities: str) -> None:
    """Link ``JRE`` or ``JDK`` of the packages in a tree; it trusts the authorities of a PEM bundle."""
    trees.run_inside(root, LINK % content)
    store = root / HOME.lstrip("/") / "lib" / "security" / "cacerts"
    store.write_bytes(key_store(authorities))
    entrypoint = root / ENTRYPOINT.lstrip("/")
    entrypoint.write_text(ENTRYPOINT_TEXT, encoding="utf-8")
    entrypoint.chmod(0o755)


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
