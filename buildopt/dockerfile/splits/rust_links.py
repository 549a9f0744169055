"""Which libraries of the system a Rust project itself is linked with or opens: attributes, build scripts, dlopen."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.rust_lock import reached
from buildopt.dockerfile.splits.rust_project import Cargo, RustBuild
from buildopt.dockerfile.splits.shipped import Landed, text_of

_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|[bc]?r(?P<hashes>#*)\"(?P<raw>.*?)\"(?P=hashes)|[bc]?\"(?P<plain>(?:\\.|[^\"\\])*)\""
    r"|b?'(?:\\[^']+|\\'|[^'\\\n])'",
    re.DOTALL,
)
# A string in code: its number stands between these.
_MARK = re.compile(r"\x02([0-9]+)\x03")
_LINK = re.compile(r"(?<![\w:.])link\s*\(((?:[^()]|\([^()]*\))*)\)")
_ATTRIBUTE = re.compile(r"#\s*\[(?:[^\[\]]|\[[^\[\]]*\])*\]\s*")
_PRINTED = re.compile(r"cargo::?rustc-(?P<what>link-lib|flags|link-arg(?:s|-bins|-bin)?)=(?P<value>.*)", re.DOTALL)
_OF_PROGRAMS = re.compile(r"rustc-(?:link-lib|flags|link-arg(?:s|-bins|-bin)?)(?![\w-])")
_FINDERS = re.compile(
    r"\b(?:pkg_config|system_deps|metadeps|vcpkg|qt_build_utils|cxx_qt_build|pyo3_build_config)\s*::"
    r"|\brustc_link_(?:lib|arg)\w*\b"
)
_RUNTIME = re.compile(r"\bcpp_link_stdlib\s*\(\s*(?:Some\s*\(\s*)?\x02([0-9]+)\x03")
_SEARCHED = re.compile(r"rustc-link-search|rustc-(?:flags|link-arg\S*)=(?:.*[\s=])?-L")
_BUNDLES = re.compile(r"\b(?:cc|cmake|cxx_build|cpp_build|autotools)\s*::")
_OPENERS = re.compile(r"\b(?:libloading|dlopen2?|dlopen_derive|sharedlib|shared_library|dlib)\b")
_OPENS = re.compile(
    r"(?<!fn )\b(?:(?:\w*Library|Lib|Container)\s*(?:::\s*<[^;()]*>\s*)?"
    r"::\s*(?:new|open|open_global|load\w*|open_self|this)|dlopen|library_filename)\s*\(\s*&?\s*(?:(?:\w+::)*(?:OsStr|CString)::new\s*\(\s*)?"
)
_ALIASES = re.compile(
    r"\b(?:Library|dlopen)\s+as\s+\w|\bpub(?:\([^)]*\))?\s+use\s+(?:::)?(?:libloading|dlopen2?|sharedlib|dlib)\b"
)
_ITSELF = re.compile(r"(?:(?:\w+::)*null(?:_mut)?(?:::<\w+>)?\s*\(|None\b|\)|0\s+as\b)")
_WINDOWS = re.compile(
    r"(?:kernel|user|advapi|ws2_|gdi|shell|ole|oleaut|crypt|secur|ncrypt|bcrypt|setupapi|comdlg|comctl|rpcrt|wsock|opengl|imm"
    r"|netapi|mswsock|wtsapi|powrprof)32|kernel32|ntdll|bcrypt|ncrypt|iphlpapi|userenv|psapi|dbghelp|msvcrt|winmm|shlwapi|dwmapi"
    r"|uxtheme|synchronization|ntoskrnl|setupapi|shcore|propsys|netapi32|objc|System"
)
# Libraries of the C library and the compiler, and what each slim image of Debian has for its own programs.
_EVERYWHERE = word_set("c m pthread dl rt util resolv gcc gcc_s stdc++ z")
_OPENED = re.compile(r"lib(?:c|m|pthread|dl|rt|util|gcc_s)\.so(?:\.[0-9]+)*|.*\.(?:dll|dylib|DLL)|lib.*\.framework/.*")
_PACKAGED = {
    "ssl": "openssl-sys",
    "crypto": "openssl-sys",
    "pq": "pq-sys",
    "sqlite3": "libsqlite3-sys",
    "curl": "curl-sys",
    "mysqlclient": "mysqlclient-sys",
    "mariadb": "mysqlclient-sys",
}
_ASIDE = frozenset(("tests", "benches", "examples", "target", "fuzz"))
_SYSTEMS = re.compile(
    r"target_(?:os|family|vendor|env)=(?!linux$|unix$|gnu$|musl$|unknown$)\w+|windows|target_arch=wasm\w+"
)


@dataclass(frozen=True, slots=True)
class Links:
    """``libraries`` are the crates that bind what is linked, which have a package. ``problem``: what has none."""

    libraries: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Code:
    """A source without comments, its strings taken out; ``\\x02NUMBER\\x03`` stands for each."""

    origin: str
    text: str
    strings: tuple[str, ...]

    def filled(self, text: str) -> str:
        return _MARK.sub(lambda match: f'"{self.strings[int(match.group(1))]}"', text)


def linked(cargo: Cargo, made: Sequence[RustBuild], *, static: bool) -> Links:
    """What the project's own sources, build scripts and manifests bind. ``static``: no program has shared libraries."""
    folders = reached(cargo, made)
    scripts = set(_scripts(cargo, folders))
    named = scripts | set(_named(cargo, folders))
    bound: set[str] = set()
    searched = ""
    read: dict[str, _Code] = {}
    for item in cargo.files:
        if item.path not in named and _is_aside(item, folders):
            continue
        if not item.name.endswith((".rs", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp")) and item.path not in named:
            continue
        text = text_of(cargo.subject, item)
        if text is None:
            return Links(problem=f"{item.origin} cannot be read")
        code = read[item.path] = _code(item.origin, text)
        problem = "" if item.path in scripts else _opened(code)
        if problem:
            return Links(problem=problem)
        for name in _bound(code) if not static else ():
            if name not in _PACKAGED:
                return Links(problem=_lacks(item.origin, name))
            bound.add(name)
            searched = searched or item.origin
    for origin, name in _keys(cargo, folders, scripts, read) if not static else ():
        if name not in _PACKAGED:
            return Links(problem=_lacks(origin, name))
        bound.add(name)
        searched = searched or origin
    if bound and any(_SEARCHED.search(text) for code in read.values() for text in code.strings):
        return Links(problem=f"{searched} is linked with the library {min(bound)}, which may be one of its own")
    return Links(tuple(sorted({_PACKAGED[name] for name in bound})))


def _lacks(origin: str, name: str) -> str:
    if not name:
        return f"{origin} is linked with a library that is only known at build time"
    return f"{origin} is linked with the library {name[:60]}, which the smaller image may lack"


def _tables(cargo: Cargo, folders: Iterable[str], key: str) -> Iterator[tuple[str, dict[str, object]]]:
    for folder in sorted(folders):
        value = cargo.documents[posixpath.join(folder, "Cargo.toml")].get(key)
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict):
                yield folder, table


def _scripts(cargo: Cargo, folders: Iterable[str]) -> Iterator[str]:
    """The build scripts, with the modules that lie in a folder of their own."""
    for folder, package in _tables(cargo, folders, "package"):
        value = package.get("build", "build.rs")
        for name in value if isinstance(value, list) else [value]:
            if name is not False:
                path = posixpath.normpath(posixpath.join(folder, name if isinstance(name, str) else "build.rs"))
                yield path
                own = posixpath.dirname(path)
                if own not in (folder, posixpath.join(folder, "src")):
                    yield from (
                        place for place in cargo.places if place.startswith(f"{own}/") and place.endswith(".rs")
                    )


def _named(cargo: Cargo, folders: Iterable[str]) -> Iterator[str]:
    """The sources of programs and libraries that manifests name."""
    for key in ("bin", "lib"):
        for folder, table in _tables(cargo, folders, key):
            if isinstance(table.get("path"), str):
                yield posixpath.normpath(posixpath.join(folder, str(table["path"])))


def _is_aside(item: Landed, folders: Iterable[str]) -> bool:
    """Whether a source is one of tests and the like, and of no package that may be compiled."""
    inside = [folder for folder in folders if item.path.startswith(f"{folder.rstrip('/')}/")]
    if not inside:
        return not _ASIDE.isdisjoint(item.path.split("/")[:-1])
    below = item.path[len(max(inside, key=len).rstrip("/")) + 1 :].split("/")
    return not _ASIDE.isdisjoint(below[: 1 if below[0] == "src" else -1])


def _code(origin: str, text: str) -> _Code:
    strings: list[str] = []

    def taken(match: re.Match[str]) -> str:
        token = match.group()
        value = match.group("raw") if match.group("raw") is not None else match.group("plain")
        if value is None:
            return "' '" if token[0] in "b'" else " "
        strings.append(re.sub(r"\\\n\s*", "", value))
        return f"\x02{len(strings) - 1}\x03"

    return _Code(origin, _TOKEN.sub(taken, text), tuple(strings))


def _bound(code: _Code) -> Iterator[str]:
    """The libraries that a source is linked with when it runs; an empty name where that is not known."""
    names = [*_attributes(code), *_printed(code)]
    yield from (name for name in names if name not in _EVERYWHERE and not _WINDOWS.fullmatch(name))


def _attributes(code: _Code) -> Iterator[str]:
    elf = "raw_dylib_elf" in code.text
    for match in _LINK.finditer(code.text):
        start = _attribute_start(code.text, match.start())
        if start is None or _is_elsewhere(code, start, match.start()):
            continue
        given = dict(re.findall(r"([\w]+)\s*=\s*([^,]*)", code.filled(match.group(1))))
        kind = given.get("kind", "").strip().strip('"')
        if "name" not in given or "wasm_import_module" in given:
            continue
        if kind not in ("static", "static-nobundle", "framework", "raw-dylib") or (kind == "raw-dylib" and elf):
            literal = re.fullmatch(r'"([^"]+)"\s*', given["name"])
            yield literal.group(1) if literal else ""


def _attribute_start(text: str, position: int) -> int | None:
    """Where the attribute that holds a position begins; None where it is in none."""
    depth = 0
    for index in range(position - 1, max(position - 2000, -1), -1):
        if text[index] == "]":
            depth += 1
        elif text[index] == "[":
            if depth == 0:
                return index if re.search(r"#\s*!?\s*$", text[:index][-20:]) else None
            depth -= 1
        elif text[index] in ";{}":
            return None
    return None


def _is_elsewhere(code: _Code, start: int, position: int) -> bool:
    """Whether a condition keeps an attribute from Linux: its own, or that of a neighbour at the same item."""
    own = re.match(r"\[\s*cfg_attr\s*\(", code.text[start:position])
    conditions = []
    if own is not None:
        conditions.append(code.text[start + own.end() : position].rpartition(",")[0])
    before = code.text[:start].rstrip("#! \t\n")
    neighbours = re.search(rf"(?:{_ATTRIBUTE.pattern})+$", before[-600:])
    texts = [neighbours.group() if neighbours else ""]
    after = code.text.find("]", position)
    following = re.match(rf"\]\s*((?:{_ATTRIBUTE.pattern})*)", code.text[after:]) if after >= 0 else None
    texts.append(following.group(1) if following else "")
    for text in texts:
        conditions += re.findall(r"#\s*\[\s*cfg\s*\((.*?)\)\s*\]", text, re.DOTALL)
    return any(_excludes(re.sub(r'[\s"]', "", code.filled(condition))) for condition in conditions)


def _excludes(condition: str) -> bool:
    """Whether a condition never holds on Linux."""
    call = re.fullmatch(r"(all|any|not)\((.*)\)", condition)
    if call is None:
        return _SYSTEMS.fullmatch(condition) is not None
    if call.group(1) == "not":
        return call.group(2) in ("unix", "target_os=linux", "target_family=unix")
    parts, depth = [""], 0
    for letter in call.group(2):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        parts[-1] += letter if letter != "," or depth else ""
        if letter == "," and not depth:
            parts.append("")
    answers = [_excludes(part) for part in parts if part]
    return bool(answers) and (any(answers) if call.group(1) == "all" else all(answers))


def _printed(code: _Code) -> Iterator[str]:
    """What a build script tells cargo to link."""
    if _FINDERS.search(code.text) or any(
        re.fullmatch(r"(?:/usr/bin/)?pkg-config|pkgconf", text) for text in code.strings
    ):
        yield ""
    for number in _RUNTIME.findall(code.text):
        yield code.strings[int(number)]
    for text in code.strings:
        lines = [line for line in re.split(r"\n|\\n", text) if _OF_PROGRAMS.search(line)]
        for line in lines:
            match = _PRINTED.fullmatch(line.strip())
            if match is None:
                yield ""
            elif match.group("what") == "link-lib":
                yield from _library(match.group("value"))
            elif match.group("what") == "flags":
                yield from _flags(match.group("value").split())
            else:
                yield from _argument(match.group("value"))


def _library(value: str) -> Iterator[str]:
    kind, equals, name = value.strip().rpartition("=")
    kind = kind.partition(":")[0]
    if equals and kind in ("static", "static-nobundle", "framework"):
        return
    name = name.partition(":")[0]
    yield name if re.fullmatch(r"[\w.+-]+", name) and kind in ("", "dylib") else ""


def _flags(words: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        if word == "-l":
            yield from _library(words[index + 1] if index + 1 < len(words) else "")
        elif word.startswith("-l"):
            yield from _library(word[2:])
        elif word.startswith("{"):
            yield ""


def _argument(value: str) -> Iterator[str]:
    """The libraries that arguments of the linker name."""
    for word in re.split(r"[\s,]+", re.sub(r"^(?:\{\w*\}|[\w-]+)=", "", value.strip())):
        if word.startswith("-l") and not re.search(r"^-l:.*\.a$", word):
            yield word[2:] if re.fullmatch(r"-l[\w.+-]+", word) else ""
        elif re.search(r"\.so(?:\.[0-9]+)*$", word):
            yield posixpath.basename(word)
        elif word.startswith(("{", "-fsanitize")) or word in ("-fopenmp", "-shared-libasan"):
            yield word.removeprefix("-f") if word.startswith("-f") else ""


def _keys(
    cargo: Cargo, folders: Iterable[str], scripts: Iterable[str], read: dict[str, _Code]
) -> Iterator[tuple[str, str]]:
    """The libraries that `links` names and that no build script is seen to compile, or to name itself."""
    for folder, package in _tables(cargo, folders, "package"):
        name = package.get("links")
        if not isinstance(name, str) or name in _EVERYWHERE:
            continue
        codes = [read[path] for path in scripts if path in read and path.startswith(f"{folder.rstrip('/')}/")]
        told = any(_BUNDLES.search(code.text) or any(map(_OF_PROGRAMS.search, code.strings)) for code in codes)
        if not told:
            yield cargo.places[posixpath.join(folder, "Cargo.toml")].origin, name


def _opened(code: _Code) -> str:
    """Why what a source opens when it runs may be a library that the smaller image lacks."""
    if not _OPENERS.search(code.text):
        return ""
    calls = list(_OPENS.finditer(code.text))
    names = [_MARK.match(code.text, match.end()) for match in calls]
    for match, name in zip(calls, names, strict=True):
        if name is None:
            if _ITSELF.match(code.text, match.end()) or re.search(r"open_self|this", match.group()):
                continue
            return f"{code.origin} opens a library that is only known at run time"
        text = code.strings[int(name.group(1))].removesuffix("\\0")
        if not _OPENED.fullmatch(text):
            return f"{code.origin} opens the library {text[:60]}, which the smaller image may lack"
    if _ALIASES.search(code.text):
        return f"{code.origin} opens a library that is only known at run time"
    return ""
