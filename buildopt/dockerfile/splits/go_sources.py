"""What a Go program needs at run time, as far as its sources tell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from buildopt.dockerfile.splits import go_modules
from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import Subject
from buildopt.dockerfile.splits.stand_alone import literal_calls, program_problem

_TOKENS = re.compile(r"//[^\n]*|/\*.*?\*/|`[^`]*`|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_IMPORT = re.compile(r"^\s*import\s*(?:\((?P<block>[^)]*)\)|(?:[\w.]+\s+)?\"(?P<one>[^\"]+)\")", re.MULTILINE)
_CONSTRAINT = re.compile(r"^//\s*(?:go:build|\+build)\s+(.+)$", re.MULTILINE)
_OTHER_SYSTEM = re.compile(
    r"_(?:windows|darwin|freebsd|netbsd|openbsd|solaris|plan9|js|wasip1|aix|android|ios)(?:_\w+)?\.go$"
)
_NEVER_BUILT = re.compile(r"(?:ignore|tools|windows|darwin|(?:windows|darwin)\s*(?:\|\||\s)\s*(?:windows|darwin))")

# Calls that may read a file of the image.
_FILES = re.compile(
    r"\b(?:os\.(?:Open|OpenFile|ReadFile|ReadDir|Stat|Lstat|DirFS|Getwd|Chdir|Executable|OpenRoot)|ioutil\.Read(?:File|Dir)"
    r"|filepath\.(?:Walk|WalkDir|Glob|Abs)|ParseFiles|ParseGlob|http\.(?:Dir|ServeFile)|LoadHTML\w*|Static(?:FS|File)?"
    r"|LoadX509KeyPair|ListenAndServeTLS|godotenv\.\w+|viper\.\w+|ReadInConfig|AddConfigPath|DecodeFile|LoadFile"
    r"|\w*(?:File|Dir|Folder|Glob|Template|TLS|Views)\w*|(?:html|django|pug|jet|mustache|handlebars)\.New\w*"
    r"|migrate\.New\w*|goose\.\w+|ini\.Load|SendFile|Attachment|FromFile|NewFileSystem|cleanenv\.\w+|runtime\.Caller)\b"
)
_FORBIDDEN = frozenset(("plugin", "net/http/cgi", "go/build", "go/importer"))
_MIME = re.compile(
    r"\bhttp\.(?:FileServer|FileServerFS|ServeContent|ServeFile|ServeFileFS)\b|\bmime\.\w+Type|\bStatic(?:FS|File)?\("
    r"|\bSendFile\b|\bAttachment\b|\bFileAttachment\b|\bNewFileSystem\b|\.File(?:FromFS)?\("
)
_CLIENT = re.compile(
    r"\bhttp\.(?:Get|Post|PostForm|Head|Client|DefaultClient|Transport|DefaultTransport|RoundTripper|NewRequest\w*)\b"
)
_TLS = frozenset(("crypto/tls", "crypto/x509", "net/http/httputil", "net/smtp", "net/rpc"))
_BASE_VARIABLES = re.compile(r"\b(?:GOPATH|GOROOT|GOLANG_VERSION|GOTOOLCHAIN)\b")
_ABSOLUTE = re.compile(r"^(?:/usr/|/go/(?:src|pkg)/|/lib/)")
_EXEC = re.compile(r"\bexec\.(?:Command\s*\(|LookPath\s*\(|CommandContext\s*\(\s*[\w.()]+\s*,)\s*")
_ON_EVERY_BASE = re.compile(
    r"/usr/(?:s?bin|local)/?$|/usr/(?:share/zoneinfo|lib/locale)|/usr/bin/env$|/lib/systemd"
    r"|/usr/(?:local/)?(?:s?bin|share|lib)/?:"
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a program needs beside itself. ``problem``: why it cannot be told, or what the runtime image would lack.

    ``reads``: it may read files; ``names`` are the paths that its strings may stand for. ``programs`` are those that it
    starts. ``cgo``: it has C of its own; ``modules`` are those it is made of, ``unknown`` the ones that may use cgo.
    """

    certificates: bool = False
    zones: bool = False
    cgo: bool = False
    mime: bool = False
    reads: bool = False
    settings: bool = False
    names: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class _Found:
    certificates: bool = False
    zones: bool = False
    cgo: bool = False
    mime: bool = False
    reads: bool = False
    names: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Unit:
    path: str
    code: str
    plain: str
    raw: str
    strings: tuple[str, ...]
    imports: frozenset[str]


def program_needs(subject: Subject, files: Sequence[Landed], shipped: Collection[str]) -> Needs:
    """Read the sources that the build stage gets; ``shipped`` are the paths of the programs that it makes."""
    sources = [item for item in files if item.name.endswith(".go") and not item.name.endswith("_test.go")]
    vendored = [item for item in sources if "/vendor/" in item.path]
    own = [item for item in sources if "/vendor/" not in item.path and "/testdata/" not in item.path]
    if not own:
        return Needs(problem="the context holds no Go sources")
    required, inner = _modules(subject, files)
    found = _Found()
    problem = _read_all(subject, own, found, shipped)
    if problem:
        return Needs(problem=problem)
    modules = required or [name for name in sorted(found.imports) if "." in name.split("/")[0] and name not in inner]
    modules = [name for name in modules if not name.startswith(tuple(inner)) or not inner]
    unread = [name for name in modules if not go_modules.is_pure(name)]
    needy = go_modules.needy(modules, found.imports)
    strange = go_modules.needy_import(found.imports)
    if needy or strange:
        return Needs(problem=f"{needy or strange} may need programs or files of the golang image")
    if vendored:
        problem = _read_vendored(subject, vendored, found)
        if problem:
            return Needs(problem=problem)
    return Needs(
        certificates=found.certificates or bool(modules),
        zones=found.zones or go_modules.knows_zones(modules),
        cgo=found.cgo,
        mime=found.mime,
        reads=found.reads or bool(unread) or any("sqlite" in name for name in modules),
        settings=any(re.match(r"\.env\b", name) for name in found.names) or any("dotenv" in name for name in modules),
        names=frozenset(found.names),
        programs=frozenset(found.programs),
        modules=tuple(modules),
        unknown=tuple(name for name in unread if not go_modules.bundles_c(name)),
    )


def _read_all(subject: Subject, items: Iterable[Landed], found: _Found, shipped: Collection[str]) -> str:
    roots = {item.root for item in items if item.root and item.root != "/"}
    places = (*shipped, *roots)
    for item in items:
        unit = _unit(subject, item)
        if unit is None:
            return f"{item.origin} cannot be read"
        if not _is_built(item, unit):
            continue
        problem = _starts(unit, found) or _names_of_the_image(unit, places) or _libraries(unit)
        if problem:
            return problem
        found.certificates |= bool(_CLIENT.search(unit.code)) or not _TLS.isdisjoint(unit.imports)
        found.zones |= "LoadLocation" in unit.code and "time/tzdata" not in unit.imports
        found.cgo |= "C" in unit.imports
        found.mime |= _MIME.search(unit.code) is not None
        found.reads |= _FILES.search(unit.code) is not None or "C" in unit.imports
        found.reads |= any(name.endswith("/autoload") for name in unit.imports)
        found.names.update(path for path in map(_path_like, unit.strings) if path)
        found.imports |= unit.imports
    return ""


def _read_vendored(subject: Subject, items: Iterable[Landed], found: _Found) -> str:
    """Modules whose sources are here: what is not known by name is read like the program's own."""
    for item in items:
        if go_modules.is_pure(item.path.partition("/vendor/")[2]):
            continue
        unit = _unit(subject, item)
        if unit is None:
            return f"{item.origin} cannot be read"
        if _is_built(item, unit):
            problem = _starts(unit, found)
            if problem:
                return problem
            found.cgo |= "C" in unit.imports
            problem = _libraries(unit)
            if problem:
                return problem
            found.reads |= _FILES.search(unit.code) is not None
    return ""


def _is_built(item: Landed, unit: _Unit) -> bool:
    constraint = _CONSTRAINT.search(unit.plain.partition("\npackage ")[0])
    if constraint is not None and _NEVER_BUILT.fullmatch(constraint.group(1).strip()):
        return False
    return _OTHER_SYSTEM.search(item.name) is None


def _modules(subject: Subject, files: Iterable[Landed]) -> tuple[list[str], list[str]]:
    """The modules that the go.mod files require, and those that they are of."""
    found: list[str] = []
    own: list[str] = []
    for item in files:
        if item.name != "go.mod" or "/vendor/" in item.path or "/testdata/" in item.path:
            continue
        text = re.sub(r"//[^\n]*", "", text_of(subject, item) or "")
        for block in re.findall(r"^\s*require\s*\(([^)]*)\)", text, re.MULTILINE):
            found += re.findall(r"^\s*([^\s]+)\s+v", block, re.MULTILINE)
        found += re.findall(r"^\s*require\s+([^\s(]+)\s+v", text, re.MULTILINE)
        own += re.findall(r'^\s*module\s+"?([^\s"]+)', text, re.MULTILINE)
    return list(dict.fromkeys(found)), own


def _unit(subject: Subject, item: Landed) -> _Unit | None:
    """A source: its code without comments and strings, its strings, and what it imports."""
    text = text_of(subject, item)
    if text is None:
        return None
    strings: list[str] = []

    def blank(match: re.Match[str]) -> str:
        token = match.group()
        if token[0] in '"`':
            strings.append(token[1:-1])
            return '""'
        return "''" if token[0] == "'" else " "

    kept = re.findall(r"^//(?:go:build|\s*\+build)[^\n]*$", text.partition("\npackage ")[0], re.MULTILINE)
    plain = _TOKENS.sub(lambda match: " " if match.group()[:2] in ("//", "/*") else match.group(), text)
    imports: set[str] = set()
    for match in _IMPORT.finditer(plain):
        imports.update([match.group("one")] if match.group("one") else re.findall(r'"([^"]+)"', match.group("block")))
    header = "\n".join(kept)
    return _Unit(item.origin, _TOKENS.sub(blank, text), f"{header}\n{plain}", text, tuple(strings), frozenset(imports))


def _starts(unit: _Unit, found: _Found) -> str:
    """What it starts. A problem where that is not known, or needs what the smaller image lacks."""
    forbidden = sorted(_FORBIDDEN & unit.imports)
    if forbidden:
        return f"{unit.path} imports {forbidden[0]}: it may need the golang image"
    if re.search(r"\bsyscall\.(?:Exec|ForkExec|StartProcess)\b|\bos\.StartProcess\b|\bunix\.Exec\b", unit.code):
        return f"{unit.path} starts programs, which may be those of the golang image"
    if "os/exec" not in unit.imports:
        return ""
    alias = re.search(r'([\w.]+)[ \t]+"os/exec"', unit.plain)
    if alias is not None and alias.group(1) != "import":
        return f"{unit.path} imports os/exec under another name: what it starts is not known"
    if re.search(r"\bexec\.Cmd\s*\{", unit.code):
        return f"{unit.path} imports os/exec: what it starts is not known"
    calls = literal_calls(unit.plain, _EXEC)
    mentions = len(re.findall(r"\bexec\.(?:Command|CommandContext|LookPath)\b", unit.code))
    if calls is None or mentions != len(_EXEC.findall(unit.plain)) or not (mentions or "exec." in unit.code):
        return f"{unit.path} imports os/exec: it may start programs of the golang image"
    for words in calls:
        problem = program_problem(words)
        if problem:
            return f"{unit.path} {problem}"
        found.programs.add(words[0])
    return ""


def _libraries(unit: _Unit) -> str:
    """Why its C may need a library that only an image for building has."""
    if "C" not in unit.imports:
        return ""
    for line in re.findall(r"^\s*(?://|\*)?\s*#cgo\b([^\n]*)", unit.raw, re.MULTILINE):
        if re.search(r"pkg-config:|-fopenmp|-Wl,|\.so\b", line):
            return f"{unit.path} is linked with more than the C library:{line[:60]}"
        for name in re.findall(r"(?:^|\s)-l(\S+)", line):
            if name not in ("c", "m", "pthread", "dl", "rt", "util", "resolv"):
                return f"{unit.path} is linked with the library {name}, which the smaller image may lack"
    return ""


def _names_of_the_image(unit: _Unit, places: Iterable[str]) -> str:
    """Why a string of it may stand for something of the golang image alone."""
    for text in unit.strings:
        if _BASE_VARIABLES.search(text):
            return f"{unit.path} speaks of {_BASE_VARIABLES.findall(text)[0]}, which only the golang image sets"
        known = _ON_EVERY_BASE.match(text) or any(text == place or text.startswith(f"{place}/") for place in places)
        if _ABSOLUTE.match(text) and text.count("/") > 1 and not known:
            return f"{unit.path} names {text[:60]}, which may be a file of the golang image"
    if re.search(r"\bruntime\.GOROOT\b", unit.code):
        return f"{unit.path} asks for GOROOT, which only the golang image has"
    return ""


def _path_like(text: str) -> str:
    """A string as the path of a file or folder of the source tree: `file://./views/*.html` is views."""
    text = text.removeprefix("file://")
    text = posixpath.normpath(re.split(r"/?[^/]*[*?]", text)[0]) if text and len(text) < 200 else ""
    return text.removeprefix("../").lstrip("/") if text not in (".", "..") else ""
