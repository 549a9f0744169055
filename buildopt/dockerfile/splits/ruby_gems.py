"""Gems and the packages that they are compiled with: what may stay behind, and what has to be there at run time."""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildopt.dockerfile.managers import word_set

# What only compiles. Ruby itself is linked with the libraries of these headers, so every image of it has them.
_DEBIAN = word_set(
    """build-essential gcc g++ make libc6-dev libc-dev autoconf automake pkg-config libyaml-dev zlib1g-dev libssl-dev
    libffi-dev libgmp-dev"""
)
_ALPINE = word_set(
    """make musl-dev libc-dev autoconf automake pkgconf pkgconfig linux-headers yaml-dev zlib-dev openssl-dev libffi-dev
    gmp-dev"""
)
# What is compiled with these may be linked with the compiler's own library, which Alpine's image does not have.
_COMPILERS_OF_ALPINE = {"build-base": "libstdc++", "g++": "libstdc++", "gcc": "libgcc", "alpine-sdk": ""}
_LIBRARIES = {"libpq-dev": "libpq5", "default-libmysqlclient-dev": "libmariadb3", "libmariadb-dev": "libmariadb3"}
# Gems that need libraries of a compiler (OpenMP, Fortran), a compiler or GnuPG when they run, or that install packages
# of the distribution themselves.
_STRANGE = re.compile(
    r"numo-(?!narray$).*|nmatrix.*|narray|.*(?:openblas|lapack|fortran|openmp|faiss|libsvm|liblinear|xgb|lightgbm"
    r"|tensorflow|torch|onnx|rumale).*|isotree|outliertree|tomoto|fasttext|hnswlib|usearch|libmf|disco|prophet-rb|cmdstan"
    r"|gsl|rb-gsl|rice|rubyinline|.*inline|ffi-compiler2?|native-package-installer|passenger|gpgme|.*gpg.*|fastlane"
    r"|cocoapods.*|rb_sys|blingfire|midas-edge|tokenizers|polars.*|red-.*|gobject-introspection|rmagick4j|therubyracer"
    r"|libv8|mini_racer_.*|pycall|rinruby|rserve-client|cldr-.*compiler|jit_.*|.*-jit|mjit.*",
    re.IGNORECASE,
)


def idle(alpine: bool) -> frozenset[str]:
    """Packages that only compile."""
    return _ALPINE if alpine else _DEBIAN


def compiles(packages: Iterable[str], alpine: bool) -> bool:
    """Whether a compiler is among these packages: the rest is hardly worth a stage."""
    compilers = _COMPILERS_OF_ALPINE if alpine else ("build-essential", "gcc", "g++")
    return any(name in compilers for name in packages)


def libraries_of(text: str, alpine: bool) -> str:
    """A RUN's text with compilers and headers replaced by what they leave to be needed at run time."""
    known = {name: value for name, value in _COMPILERS_OF_ALPINE.items() if value} if alpine else _LIBRARIES
    written: set[str] = set()

    def replaced(match: re.Match[str]) -> str:
        value = known.get(match["name"])
        if value is None:
            return match[0]
        if value in written:
            return ""
        written.add(value)
        return match["gap"] + value

    return re.sub(r"(?P<gap>(?:[ \t]|\\\r?\n)+)(?P<name>[\w+][\w.+-]*)(?![\w.+:=/<>~-])", replaced, text)


def gems(lock: str) -> set[str]:
    """The gems of a lock file."""
    return set(re.findall(r"^    ([\w.-]+) \(", lock, re.MULTILINE))


def strange(names: Iterable[str]) -> str:
    """A gem whose needs at run time are not known, empty where there is none."""
    return next((name for name in sorted(names) if _STRANGE.fullmatch(name)), "")
