"""Smaller variants of official images: which tag has one, and what the smaller one lacks.

The tables follow the Dockerfiles of docker-library (python, ruby, buildpack-deps), nodejs/docker-node,
adoptium/containers, docker-library/openjdk, debuerreotype (``.slimify-excludes``) and dotnet/dotnet-docker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.images import Image

_SUITES = r"stretch|buster|bullseye|bookworm|trixie"
_VERSION = r"[0-9]+(?:\.[0-9]+){0,2}"
_NODE_NAMES = "lts|current|dubnium|erbium|fermium|gallium|hydrogen|iron|jod|krypton"

# Images that compile: what is small is another stage.
COMPILING = {
    "golang": "Go",
    "rust": "Rust",
    "gcc": "C",
    "maven": "Maven",
    "gradle": "Gradle",
    "swift": "Swift",
    "haskell": "Haskell",
}

# Programs that Debian's own image has, and with it every slim variant.
PROGRAMS = word_set(
    """. : [ [[ apt apt-cache apt-get apt-mark awk base64 basename bash cat cd chgrp chmod chown chpasswd chroot cp cut
    dash date dd df diff dirname dpkg dpkg-divert dpkg-query dpkg-reconfigure du echo egrep env exec exit expand
    export expr false fgrep find getent grep groupadd groupdel groupmod gunzip gzip head hostname id install join
    ldconfig ln local ls mawk md5sum mkdir mknod mktemp more mount mv nice nohup nproc od passwd paste perl printenv
    printf pwd read readlink realpath return rm rmdir sed seq set sh sha1sum sha256sum sha512sum shift sleep sort
    source split stat stty su sync tail tar tee test touch tr trap true truncate tty type ulimit umask uname uniq
    unlink unset update-alternatives useradd userdel usermod wait wc whoami xargs yes"""
)
# They come with Debian's image up to bookworm.
USER_PROGRAMS = frozenset(("adduser", "addgroup", "deluser", "delgroup"))
# What each family's image has in all its variants, and what its packages bring along.
OWN_PROGRAMS = {
    "node": word_set("node nodejs npm yarn yarnpkg corepack docker-entrypoint.sh"),
    "python": word_set(
        "python python3 pip pip3 gunicorn uvicorn flask celery daphne hypercorn alembic django-admin fastapi "
        "waitress-serve"
    ),
    "ruby": word_set("ruby gem bundle bundler rake rackup irb erb"),
    "debian": frozenset[str](),
    "eclipse-temurin": word_set("java keytool curl wget"),
    "openjdk": word_set("java keytool"),
    "dotnet": word_set("dotnet"),
}
# What common packages bring along.
PACKAGE_PROGRAMS = {
    "bzip2": "bzip2 bunzip2",
    "ca-certificates": "update-ca-certificates",
    "cron": "cron crontab",
    "curl": "curl",
    "dumb-init": "dumb-init",
    "ffmpeg": "ffmpeg ffprobe",
    "gettext": "envsubst msgfmt",
    "gettext-base": "envsubst",
    "git": "git",
    "gnupg": "gpg",
    "gosu": "gosu",
    "jq": "jq",
    "locales": "locale-gen localedef",
    "make": "make",
    "netcat-openbsd": "nc",
    "nginx": "nginx",
    "openssl": "openssl",
    "procps": "ps pgrep pkill free top",
    "supervisor": "supervisord supervisorctl",
    "tini": "tini",
    "unzip": "unzip",
    "wget": "wget",
    "xz-utils": "xz unxz",
}
# What JDK images have and JRE images lack: Java's own tools, and binutils.
JDK_TOOLS = word_set(
    """addr2line ant ar as c++filt elfedit gprof gradle gradlew jar jarsigner javac javadoc javap jcmd jconsole jdb
    jdeprscan jdeps jfr jhat jhsdb jimage jinfo jlink jmap jmod jpackage jps jrunscript jshell jstack jstat jstatd
    ld mvn mvnw native2ascii nm objcopy objdump ranlib readelf rmic sbt serialver size strings strip wsgen wsimport"""
)
IN_THE_JDK = re.compile(r"JAVA_HOME\}?(?!\}?/bin/java\b)|/opt/java|\bjre/|jmods|/usr/local/openjdk")
# Files that a full image has and a slim one may lack.
PLACES = re.compile(
    r"/usr/(?:share/(?:zoneinfo|ca-certificates|mime|misc|fonts)|include|lib/(?:x86_64|aarch64|ssl))"
    r"|/etc/(?:ssl|ImageMagick|mime|ssh|localtime|timezone)"
)
# Packages whose post-installation scripts want folders of manual pages, which slim images lack.
NEEDS_MANUALS = re.compile(
    r"(?:openjdk|default-j|java|.*-j(?:re|dk)|postgresql|libreoffice|tomcat|maven|ant$|gradle|scala|groovy|pdftk|sbt|"
    r"clojure|leiningen|jython|kotlin|antlr|zookeeper|plantuml|elasticsearch|jenkins|temurin|zulu|man-db|manpages).*"
)
# What Debian's slim images leave out, and keep out of later packages.
DOCUMENTATION = re.compile(
    r"/usr/share/(?:doc|man|info|locale|groff|lintian|linda)\b|(?:^|[\s;&|])(?:man|info|apropos)\s"
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A smaller image of one distribution and version. ``kind``: ``slim``, ``bare`` (Debian), ``jre``, ``aspnet``."""

    kind: str
    family: str
    tag: str


def variant(image: Image) -> Variant | None:
    """The smaller variant of an image; None where it has none, or is it already."""
    if image.repository == "mcr.microsoft.com/dotnet/sdk":
        match = re.fullmatch(r"[0-9]+\.[0-9]+(?:-(?:jammy|noble|focal|(?:bookworm|bullseye|trixie)-slim))?", image.tag)
        return match and Variant("aspnet", "dotnet", image.tag)
    tags = _TAGS.get(image.repository)
    tag = tags(image.tag) if tags is not None else None
    if tag is None:
        return None
    kind = {"debian": "bare", "eclipse-temurin": "jre", "openjdk": "jre"}.get(image.repository, "slim")
    return Variant(kind, image.repository, tag)


def _node(tag: str) -> str | None:
    match = re.fullmatch(rf"(?:({_VERSION}|{_NODE_NAMES})(?:-({_SUITES}))?|({_SUITES})|latest)", tag)
    if match is None:
        return None
    return "-".join([part for part in match.groups() if part] + ["slim"])


def _suite_behind(tag: str) -> str | None:
    """Python and Ruby: ``3.12-bookworm`` becomes ``3.12-slim-bookworm``."""
    match = re.fullmatch(rf"(?:({_VERSION})(?:-({_SUITES}))?|({_SUITES})|latest)", tag)
    if match is None:
        return None
    version, suite, alone = match.groups()
    return "-".join(part for part in (version, "slim", suite or alone) if part)


def _debian(tag: str) -> str | None:
    """Up to Debian 10 the full images have ping and ip, which slim ones lack; since then only papers differ."""
    names = r"bullseye|bookworm|trixie|forky|stable|testing|unstable|sid|(?:1[1-9]|[2-9][0-9])(?:\.[0-9]+)?"
    match = re.fullmatch(rf"(?:{names})(?:-[0-9]{{8}})?", tag)
    return f"{tag}-slim" if match else None


def _temurin(tag: str) -> str | None:
    match = re.fullmatch(
        r"((?:8|11|17|18|19|20|21|22|23|24|25)(?:u[0-9]+-b[0-9]+|[0-9._]*))(?:-jdk)?"
        r"(-(?:focal|jammy|noble|alpine(?:-[0-9.]+)?|ubi[0-9]+-minimal))?",
        tag,
    )
    return None if match is None else f"{match[1]}-jre{match[2] or ''}"


def _openjdk(tag: str) -> str | None:
    match = re.fullmatch(rf"(8|11)(?:-jdk)?(-(?:slim|(?:slim-)?(?:{_SUITES})))?", tag)
    return None if match is None else f"{match[1]}-jre{match[2] or ''}"


_TAGS = {
    "node": _node,
    "python": _suite_behind,
    "ruby": _suite_behind,
    "debian": _debian,
    "eclipse-temurin": _temurin,
    "openjdk": _openjdk,
}
