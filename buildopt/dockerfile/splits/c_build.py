"""What C and C++ builds make, and which libraries the programs need, as commands and build files tell."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.shell import Command

_MAX_FILES = 5_000
_MAX_BYTES = 1024 * 1024
COMPILERS = re.compile(r"(?:(?:x86_64|aarch64)-linux-gnu-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-[0-9.]+)?")
TOOLS = word_set("make gmake cmake ninja ninja-build ar ranlib strip ld as autoreconf autoconf automake")
_CONFIGURING = word_set("configure autogen.sh bootstrap")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".c++", ".h", ".hh", ".hpp", ".hxx", ".ipp", ".inl")
_BUILD_FILES = re.compile(
    r"(?i:(?:gnu)?makefile(?:\..*)?|.*\.mk|cmakelists\.txt|.*\.cmake|configure\.ac|configure|makefile\.am)"
)
_SKIPPED = frozenset((".git", "node_modules", ".buildopt"))
# Of the C library or beside it in every image.
_STANDARD = word_set("c m pthread dl rt util resolv crypt gcc gcc_s stdc++ stdc++fs nsl anl")
_LIBRARY = re.compile(r"(?<![\w/.-])-l([\w+.-]+)")
_COMPILERS_OWN = re.compile(
    r"-fopenmp|-fsanitize|gfortran|-lgomp|-latomic|-lquadmath|-pg\b|--coverage|-fprofile|-fobjc|-fgnu-tm|OpenMP"
    r"|-stdlib=libc\+\+|-flto-partition-none-such"
)
_SHARED = re.compile(
    r"-shared\b|\bSHARED\b|\bMODULE\b|-Wl,-rpath|-dynamiclib|-rdynamic|\.so\b|noinst_LTLIBRARIES|lib_LTLIBRARIES"
)
_FOUND = re.compile(
    r"\b(?:find_package|pkg_check_modules|pkg_search_module|find_library|PKG_CHECK_MODULES)\s*\(\s*(\w+)", re.IGNORECASE
)
_FETCHES = re.compile(r"FetchContent|ExternalProject|CPMAddPackage|conan|vcpkg|hunter")
_PROGRAMS = re.compile(r"\b(?:system|popen|exec[lv]p?e?|posix_spawnp?)\s*\(|\bdlopen\s*\(|boost/process|subprocess")
_STRINGS = re.compile(r'"((?:\\.|[^"\\\n])*)"')


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sources and build files say. ``libraries`` are those that no compiler brings; ``plus``: there is C++.

    ``problem``: what a copy of one program would lack. ``names`` are the words of the build files.
    ``installed`` is how many files `make install` puts in place, 0 where that is not known.
    """

    libraries: tuple[str, ...]
    plus: bool
    static: bool
    problem: str
    names: frozenset[str]
    strings: frozenset[str]
    installed: int = 0


def is_build(command: Command) -> bool:
    """Whether a command compiles, or leads others to."""
    name = command.name or ""
    return bool(COMPILERS.fullmatch(name)) or name in TOOLS or name in _CONFIGURING


def output(command: Command, folder: str) -> str | None:
    """The program that a compiler's command makes; None for any other command, or where it makes none."""
    if not COMPILERS.fullmatch(command.name or "") or any(
        text in ("-c", "-S", "-E", "-shared") for text in command.texts
    ):
        return None
    words = list(command.arguments)
    for index, word in enumerate(words):
        text = word.text or ""
        if text == "-o":
            following = words[index + 1].text if index + 1 < len(words) else None
            return posixpath.normpath(posixpath.join(folder, following)) if following else None
        if text.startswith("-o") and len(text) > 2:
            return posixpath.normpath(posixpath.join(folder, text[2:]))
    if any(word.text is None for word in words):
        return None
    return posixpath.join(folder, "a.out") if any(text.endswith(_SOURCES) for text in command.texts) else None


def facts(context: Path, commands: str) -> Facts:
    """Read the context. ``commands`` are the words of the commands that build."""
    texts = [commands]
    problem = ""
    plus = bool(re.search(r"\+\+", commands))
    strings: set[str] = set()
    for count, path in enumerate(_files(context)):
        name = posixpath.basename(path)
        if count > _MAX_FILES:
            return Facts((), plus, False, "the context holds too many files to read", frozenset(), frozenset())
        if re.search(r"\.so(?:\.[0-9]+)*$", name) and not problem:
            problem = f"{path} is a library of its own"
        elif _BUILD_FILES.fullmatch(name):
            texts.append(re.sub(r"#[^\n]*", "", _read(context / path)))
        elif name.endswith(_SOURCES):
            text = _read(context / path)
            plus = plus or not name.endswith((".c", ".h"))
            started = _PROGRAMS.search(text)
            if started is not None and not problem:
                problem = f"{path} may start programs or load libraries ({started.group().strip('( ')})"
            strings.update(_STRINGS.findall(text))
    text = "\n".join(texts)
    for pattern in (_COMPILERS_OWN, _SHARED, _FETCHES):
        found = pattern.search(text)
        if found is not None and not problem:
            problem = f"{found.group()} in the build: the program may not stand alone"
    libraries = {name for name in _LIBRARY.findall(text) if name not in _STANDARD}
    libraries.update(name for name in _FOUND.findall(text) if name != "Threads")
    libraries.update(_linked(text))
    libraries = {name for name in libraries if f"lib{name}.a" not in text}
    libraries.update(re.findall(r"`?pkg-config\s+(?:--\S+\s+)*([\w.+-]+)", text))
    static = re.search(r"(?<![\w-])-static(?![\w-])", text) is not None
    return Facts(
        tuple(sorted(libraries)),
        plus,
        static,
        problem,
        frozenset(re.findall(r"[\w.+-]+", text)),
        frozenset(strings),
        _installed(text),
    )


def _installed(text: str) -> int:
    """How many files the only `install` target of a Makefile, or CMake's `install`, puts in place; 0: not known."""
    targets = re.findall(r"^install\s*:[^\n]*\n((?:\t[^\n]*\n?)+)", text, re.MULTILINE)
    rules = re.findall(r"\binstall\s*\(\s*(\w+)\s+([^)]*)\)", text, re.IGNORECASE)
    prefixes = set(re.findall(r"^\s*(?:PREFIX|prefix)\s*[?:]?=\s*(\S+)", text, re.MULTILINE))
    if len(targets) + len(rules) != 1 or prefixes - {"/usr/local"} or "CMAKE_INSTALL_PREFIX" in text:
        return 0
    if targets and not prefixes and "/usr/local/bin" not in targets[0]:
        return 0
    if rules:
        return len(re.split(r"\s+(?=[A-Z]+\b)", rules[0][1])[0].split()) if rules[0][0].upper() == "TARGETS" else 0
    copied = 0
    for line in targets[0].splitlines():
        words = re.sub(r"^\t[@-]*", "", line).split()
        if words[:1] in (["install"], ["$(INSTALL)"], ["cp"]):
            if "-d" not in words:
                named = [word for word in words[1:] if not word.startswith("-")]
                copied += len(named) - 1 - sum(word in ("-m", "-o", "-g") for word in words)
        elif words and words[0] not in ("mkdir", "chmod", "strip", "echo", "@echo"):
            return 0
    return copied


def _linked(text: str) -> Iterator[str]:
    """The libraries that CMake and Autoconf files name, the project's own left out."""
    own = set(re.findall(r"\badd_library\s*\(\s*([\w.+-]+)", text, re.IGNORECASE))
    for words in re.findall(r"\btarget_link_libraries\s*\(\s*\S+([^)]*)\)", text, re.IGNORECASE):
        for word in words.replace('"', " ").split():
            plain = word.removeprefix("-l")
            if not re.fullmatch(r"[A-Z]+|\$\{.*|Threads::Threads|-.*", plain) and plain not in own | _STANDARD:
                yield plain.partition("::")[0]
    for words in re.findall(r"\bAC_(?:CHECK_LIB|SEARCH_LIBS)\s*\(([^)]*)\)", text):
        for word in re.findall(r"[\w+-]+", words)[:1]:
            if word not in _STANDARD:
                yield word


def _files(context: Path) -> Iterator[str]:
    for folder, names, files in os.walk(context):
        names[:] = sorted(name for name in names if name not in _SKIPPED)
        below = Path(folder).relative_to(context)
        yield from ((below / name).as_posix() for name in sorted(files))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") if path.stat().st_size <= _MAX_BYTES else ""
    except OSError:
        return ""
