"""The packages that a program needs of those it was compiled with, for the release of Debian where that is known.

A table and no rule: names of libraries hold versions. Each was read from the dependencies of Debian 12's packages;
those that stand here lead to nothing but their own library.
"""

from __future__ import annotations

import re

from buildopt.dockerfile.managers import word_set

_BOOKWORM = dict(
    pair.split("=")
    for pair in sorted(
        word_set(
            """zlib1g-dev=zlib1g libssl-dev=libssl3 libcurl4-openssl-dev=libcurl4 libcurl4-gnutls-dev=libcurl3-gnutls
            libsqlite3-dev=libsqlite3-0 libuv1-dev=libuv1 libev-dev=libev4 libyaml-dev=libyaml-0-2
            libjansson-dev=libjansson4 libjson-c-dev=libjson-c5 libjsoncpp-dev=libjsoncpp25 libfmt-dev=libfmt9
            libjpeg62-turbo-dev=libjpeg62-turbo libbz2-dev=libbz2-1.0 liblzma-dev=liblzma5 libzstd-dev=libzstd1
            liblz4-dev=liblz4-1 libsnappy-dev=libsnappy1v5 libhiredis-dev=libhiredis0.14 libsodium-dev=libsodium23
            libffi-dev=libffi8 libexpat1-dev=libexpat1 libusb-1.0-0-dev=libusb-1.0-0 libgflags-dev=libgflags2.2
            libcjson-dev=libcjson1 libmaxminddb-dev=libmaxminddb0 uuid-dev=libuuid1 libcap-dev=libcap2
            libseccomp-dev=libseccomp2 libcrypto++-dev=libcrypto++8 libargon2-dev=libargon2-1 libtbb-dev=libtbb12
            libtinyxml2-dev=libtinyxml2-9 libpam0g-dev=libpam0g libasound2-dev=libasound2"""
        )
    )
)
_RELEASE = re.compile(r"bookworm(?:-slim|-[0-9]+(?:-slim)?)?|12(?:\.[0-9]+)?(?:-slim)?")


def without_headers(text: str, repository: str, tag: str) -> str:
    """A RUN's text with the packages of headers replaced by those of their libraries, where both are known."""
    if repository not in ("debian", "gcc") or _RELEASE.fullmatch(tag) is None:
        return text
    return re.sub(
        r"(?<![\w.+-])[\w.+-]+-dev(?![\w.+:=/-])", lambda match: _BOOKWORM.get(match.group(), match.group()), text
    )
