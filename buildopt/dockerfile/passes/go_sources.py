"""What a Go program needs at run time, as far as its sources tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

_MAX_FILES = 20_000
_TOKENS = re.compile(r"//[^\n]*|/\*.*?\*/|`[^`]*`|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_IMPORT = re.compile(r"^\s*import\s*(?:\((?P<block>[^)]*)\)|(?:[\w.]+\s+)?\"(?P<one>[^\"]+)\")", re.MULTILINE)

# Calls that may read a file of the image.
_FILES = re.compile(
    r"\b(?:os\.(?:Open|OpenFile|ReadFile|ReadDir|Stat|Lstat|DirFS|Getwd|Chdir|Executable|OpenRoot)|ioutil\.Read(?:File|Dir)"
    r"|filepath\.(?:Walk|WalkDir|Glob)|ParseFiles|ParseGlob|http\.(?:Dir|ServeFile)|LoadHTML\w*|Static(?:FS|File)?"
    r"|LoadX509KeyPair|ListenAndServeTLS|godotenv\.\w+|viper\.\w+|ReadInConfig|AddConfigPath|DecodeFile|LoadFile"
    r"|migrate\.New\w*|goose\.\w+|ini\.Load|SendFile|Attachment|FromFile)\b"
)
_PROGRAMS = frozenset(("os/exec", "plugin", "net/http/cgi", "go/build", "go/importer"))
_MIME = re.compile(r"\bhttp\.(?:FileServer|FileServerFS|ServeContent|ServeFile|ServeFileFS)\b|\bmime\.\w+Type")
_CLIENT = re.compile(
    r"\bhttp\.(?:Get|Post|PostForm|Head|Client|DefaultClient|Transport|DefaultTransport|RoundTripper|NewRequest\w*)\b"
)
_TLS = frozenset(("crypto/tls", "crypto/x509", "net/http/httputil", "net/smtp", "net/rpc"))
_BASE_VARIABLES = re.compile(r"\b(?:GOPATH|GOROOT|GOLANG_VERSION|GOTOOLCHAIN)\b")
_ABSOLUTE = re.compile(r"^(?:/usr/|/go/|/src/|/lib/|/opt/)")

# Modules that start no programs and need no file of the golang image.
_KNOWN_MODULES = tuple(
    """golang.org/x/ google.golang.org/ go.uber.org/ go.opentelemetry.io/ go.mongodb.org/mongo-driver gorm.io/gorm
    gorm.io/driver/mysql gorm.io/driver/postgres gopkg.in/yaml. gopkg.in/ini.v1 gopkg.in/check.v1 modernc.org/
    github.com/gin-gonic/ github.com/gin-contrib/ github.com/gorilla/ github.com/labstack/ github.com/go-chi/
    github.com/gofiber/ github.com/valyala/ github.com/julienschmidt/httprouter github.com/sirupsen/logrus
    github.com/rs/ github.com/spf13/ github.com/google/uuid github.com/google/go-cmp github.com/pkg/errors
    github.com/stretchr/ github.com/davecgh/go-spew github.com/pmezard/go-difflib github.com/prometheus/
    github.com/beorn7/perks github.com/cespare/xxhash github.com/golang/protobuf github.com/golang/snappy
    github.com/golang-jwt/ github.com/dgrijalva/jwt-go github.com/jackc/ github.com/lib/pq
    github.com/go-sql-driver/mysql github.com/jmoiron/sqlx github.com/jinzhu/ github.com/redis/go-redis
    github.com/go-redis/ github.com/gomodule/redigo github.com/klauspost/ github.com/json-iterator/go
    github.com/modern-go/ github.com/goccy/ github.com/bytedance/sonic github.com/cloudwego/ github.com/ugorji/go
    github.com/twitchyliquid64/golang-asm github.com/pelletier/go-toml github.com/mattn/go-isatty
    github.com/mattn/go-colorable github.com/mattn/go-runewidth github.com/leodido/go-urn github.com/go-playground/
    github.com/gabriel-vasile/mimetype github.com/joho/godotenv github.com/kelseyhightower/envconfig
    github.com/caarlos0/env github.com/urfave/cli github.com/fatih/color github.com/hashicorp/golang-lru
    github.com/hashicorp/hcl github.com/hashicorp/errwrap github.com/hashicorp/go-multierror
    github.com/cenkalti/backoff github.com/andybalholm/brotli github.com/philhofer/fwd github.com/tinylib/msgp
    github.com/rivo/uniseg github.com/inconshreveable/mousetrap github.com/fsnotify/fsnotify
    github.com/magiconair/properties github.com/mitchellh/mapstructure github.com/go-viper/mapstructure
    github.com/subosito/gotenv github.com/sagikazarmark/ github.com/sourcegraph/conc github.com/kr/pretty
    github.com/kr/text github.com/rogpeppe/go-internal github.com/felixge/httpsnoop github.com/go-logr/
    github.com/chenzhuoyu/ github.com/montanaflynn/stats github.com/xdg-go/ github.com/youmark/pkcs8
    filippo.io/edwards25519 github.com/dustin/go-humanize github.com/remyoudompheng/bigfft
    github.com/ncruces/go-strftime github.com/munnerz/goautoneg github.com/matttproud/golang_protobuf_extensions
    github.com/cpuguy83/go-md2man github.com/russross/blackfriday github.com/xrash/smetrics
    github.com/segmentio/kafka-go github.com/pierrec/lz4 github.com/dgryski/go-rendezvous""".split()  # noqa: SIM905
)

# Files that no program reads at run time.
_IDLE_FOLDERS = frozenset(
    (".git", ".github", ".gitlab", ".circleci", ".idea", ".vscode", ".buildopt", "testdata", "vendor", "node_modules")
)
_IDLE_FILES = (
    *("*.go", "*.md", "*.proto", "go.mod", "go.sum", "go.work", "go.work.sum", "Makefile", "LICENSE*", "NOTICE*"),
    *("AUTHORS*", "CODEOWNERS", "CHANGELOG*", "CONTRIBUTING*", "Dockerfile*", "*.Dockerfile", "*.dockerfile"),
    *("docker-compose*", "compose.y*ml", "compose.*.y*ml", ".dockerignore", "dockerignore", ".git*", ".editorconfig"),
    *(".golangci.*", ".goreleaser.*", ".travis.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml", "Jenkinsfile"),
    *("renovate.json", "skaffold.yaml", "buildopt.yaml", ".air.toml", "sonar-project.properties", ".DS_Store"),
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a program needs beside itself. ``problem``: why it cannot be told, or what the runtime image would lack."""

    certificates: bool = False
    zones: bool = False
    cgo: bool = False
    problem: str = ""


def program_needs(context: Path, copied: Iterable[str]) -> Needs:
    """Read the sources of a context. ``copied`` are the paths and globs of it that the build stage gets."""
    files = _files(context)
    if files is None:
        return Needs(problem="the context holds too many files to read")
    own = [path for path in files if path.endswith(".go") and _is_own(path)]
    if not own:
        return Needs(problem="the context holds no Go sources")
    modules = _modules(context, files)
    vendored = [path for path in files if path.startswith("vendor/") and path.endswith(".go")]
    unknown = [] if vendored else [module for module in modules if not module.startswith(_KNOWN_MODULES)]
    if unknown:
        return Needs(problem=f"what {unknown[0]} runs or reads at run time is not known (it is not vendored)")
    needs = Needs(certificates=bool(modules))
    reads = False
    named: set[str] = set()
    for path in (*own, *vendored):
        found = _read(context / path)
        if found is None:
            return Needs(problem=f"{path} cannot be read")
        code, strings, imports = found
        problem = _problem(path, code, strings, imports, vendored=path.startswith("vendor/"))
        if problem:
            return Needs(problem=problem)
        if path.startswith("vendor/"):
            continue
        client = bool(_CLIENT.search(code)) or not _TLS.isdisjoint(imports)
        needs = Needs(
            needs.certificates or client,
            needs.zones or ("LoadLocation" in code and "time/tzdata" not in imports),
            needs.cgo or "C" in imports,
        )
        named.update(_path_like(text) for text in strings)
        reads = reads or _FILES.search(code) is not None or any(name.endswith("/autoload") for name in imports)
    for path in _data(files, set(copied)):
        if reads or named.intersection((path, *_parents(path))):
            return Needs(problem=f"{path} may be read at run time, and would not be in the image")
    return needs


def _files(context: Path) -> list[str] | None:
    found: list[str] = []
    for folder, names, files in os.walk(context):
        names[:] = sorted(name for name in names if name not in (".git", ".buildopt", "node_modules"))
        below = Path(folder).relative_to(context)
        found += ((below / name).as_posix() for name in sorted(files))
        if len(found) > _MAX_FILES:
            return None
    return found


def _is_own(path: str) -> bool:
    return not path.endswith("_test.go") and "testdata" not in path.split("/") and not path.startswith("vendor/")


def _modules(context: Path, files: Iterable[str]) -> list[str]:
    """The modules that the go.mod files of the context require."""
    found: list[str] = []
    for path in files:
        parts = path.split("/")
        if parts[-1] != "go.mod" or "vendor" in parts or "testdata" in parts:
            continue
        try:
            text = re.sub(r"//[^\n]*", "", (context / path).read_text("utf-8", "replace"))
        except OSError:
            continue
        for block in re.findall(r"^\s*require\s*\(([^)]*)\)", text, re.MULTILINE):
            found += re.findall(r"^\s*([^\s]+)\s+v", block, re.MULTILINE)
        found += re.findall(r"^\s*require\s+([^\s(]+)\s+v", text, re.MULTILINE)
    return found


def _read(path: Path) -> tuple[str, list[str], set[str]] | None:
    """A source: its code without comments and strings, its strings, and what it imports."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    strings: list[str] = []

    def blank(match: re.Match[str]) -> str:
        token = match.group()
        if token[0] in '"`':
            strings.append(token[1:-1])
            return '""'
        return "''" if token[0] == "'" else " "

    plain = _TOKENS.sub(lambda match: " " if match.group()[:2] in ("//", "/*") else match.group(), text)
    imports: set[str] = set()
    for match in _IMPORT.finditer(plain):
        imports.update([match.group("one")] if match.group("one") else re.findall(r'"([^"]+)"', match.group("block")))
    return _TOKENS.sub(blank, text), strings, imports


def _problem(path: str, code: str, strings: list[str], imports: set[str], *, vendored: bool) -> str:
    programs = sorted(_PROGRAMS & imports)
    if programs:
        return f"{path} imports {programs[0]}: it may start programs of the golang image"
    if re.search(r"\bsyscall\.(?:Exec|ForkExec|StartProcess)\b|\bos\.StartProcess\b", code):
        return f"{path} starts programs, which may be those of the golang image"
    if vendored:
        return ""
    if _MIME.search(code):
        return f"{path} serves files by types of /etc/mime.types, which the smaller image lacks"
    for text in strings:
        if _BASE_VARIABLES.search(text):
            return f"{path} speaks of {_BASE_VARIABLES.findall(text)[0]}, which only the golang image sets"
        if _ABSOLUTE.match(text) and text.count("/") > 1:
            return f"{path} names {text[:60]}, which may be a file of the golang image"
    if re.search(r"\bruntime\.GOROOT\b", code):
        return f"{path} asks for GOROOT, which only the golang image has"
    return ""


def _path_like(text: str) -> str:
    """A string as the path of a file or folder of the source tree: `file://./views/*.html` is views."""
    text = text.removeprefix("file://").removeprefix("./")
    return re.split(r"/?[^/]*[*?]", text)[0].rstrip("/")


def _parents(path: str) -> Iterator[str]:
    """The file's own name and all folders that it lies in."""
    folder, _, name = path.rpartition("/")
    yield name
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _data(files: list[str], copied: set[str]) -> Iterator[str]:
    """The files that the build stage gets and that are no sources."""
    for path in files:
        parts = path.split("/")
        if _IDLE_FOLDERS.intersection(parts) or any(fnmatch(parts[-1], pattern) for pattern in _IDLE_FILES):
            continue
        if any(_under(path, source) for source in copied):
            yield path


def _under(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./").rstrip("/")
    if pattern in ("", "."):
        return True
    return path == pattern or path.startswith(f"{pattern}/") or fnmatch(path, pattern) or fnmatch(path, f"{pattern}/*")
