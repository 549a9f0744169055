"""What a Java program may need at run time beside its jar, as far as its sources and build files tell."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from buildopt.dockerfile.passes.brought import Brought
from buildopt.dockerfile.passes.java_project import read_text

_MAX_FILES = 20_000
_SOURCES = (".java", ".kt", ".kts", ".scala", ".groovy", ".clj")
_RESOURCES = (".properties", ".yml", ".yaml", ".xml", ".conf", ".json", ".toml", ".env", ".ini", ".cfg", ".sql", ".MF")
_BUILD_FILES = (
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "build.sbt",
    "build.xml",
    "libs.versions.toml",
    "project.clj",
)
_NEVER = frozenset((".git", "node_modules"))
_SKIPPED = frozenset((".git", "node_modules", "target", "build", ".gradle", ".idea", ".mvn", "out"))

# What only a JDK has: the compiler, debugging, attaching to a running program.
_JDK_IN_SOURCES = re.compile(
    r"javax\.tools|com\.sun\.(?:tools|source|jdi)|ToolProvider|jdk\.(?:jshell|jfr\.consumer|incubator|compiler)"
    r"|VirtualMachine\.attach|tools\.jar|ByteBuddyAgent|ReactorDebugAgent|BlockHound|HotSpotDiagnostic|sun\.jvm|sun\.tools"
)
_JDK_IN_BUILDS = re.compile(
    r"drools|org\.kie|jasperreports|reactor-tools|blockhound|byte-buddy-agent|jdk\.compiler|tools\.jar|com\.sun:tools"
    r"|javac|google-java-format|rewrite-java|cxf-rt-frontend-jaxws-dynamic|cxf-tools|jaxws-tools|jshell|arthas|jattach"
    r"|kotlin-scripting|kotlin-compiler|kotlin-main-kts|scala-compiler|groovy-eclipse-compiler-runtime|javapoet-runtime"
    r"|aspectjweaver|spring-instrument|jolokia|openjfx|javafx|jmh|janino-jdk|apache-jsp|jasper-compiler-jdt-jdk|jlink"
)
_ALIAS = re.compile(r"CREATE\s+(?:ALIAS|TRIGGER)\b.*?\bAS\b", re.IGNORECASE | re.DOTALL)
_PROGRAMS = re.compile(
    r"ProcessBuilder|[gG]etRuntime\(\)\s*\.\s*exec|\bruntime\.exec\b|commons\.exec|sys\.process|zt-exec|ProcessHandle"
)
_STRINGS = re.compile(r'"""(.*?)"""|"((?:\\.|[^"\\\n])*)"', re.DOTALL)

# What builds read and programs do not, unless they say so.
_IDLE_NAMES = tuple(
    """src pom.xml *.gradle *.gradle.kts gradle gradlew* gradle.properties mvnw* .mvn target build out bin .gradle .git*
    .github .idea .vscode .settings .classpath .project *.iml *.ipr *.iws *.md *.adoc *.rst LICENSE* NOTICE* README*
    CHANGELOG* Dockerfile* *.dockerfile *.Dockerfile docker-compose* compose.y*ml compose.*.y*ml .dockerignore
    .editorconfig Jenkinsfile* .travis.yml .gitlab-ci.yml .circleci Makefile lombok.config node_modules *.bat *.cmd
    .DS_Store skaffold.yaml renovate.json .pre-commit-config.yaml sonar-project.properties k8s kubernetes helm charts
    terraform docs .docker *.postman_collection.json *.http Procfile system.properties heroku.yml app.json fly.toml
    render.yaml railway.* nbactions.xml build.sbt project build.xml ivy.xml settings.xml project.clj *.java *.kt
    *.class *.sh buildopt.yaml .buildopt qodana.yaml checkstyle* detekt* eclipse* .factorypath .attach_pid* test tests""".split()
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts of a context: ``jdk`` names what only a JDK has, ``programs`` that it starts programs.

    ``strings`` are string literals and lines of configuration.
    """

    jdk: str
    programs: str
    strings: frozenset[str]
    problem: str = ""


def sources(context: Path) -> Sources:
    """Read all sources, resources and build files of a context."""
    jdk = programs = ""
    strings: set[str] = set()
    for count, path in enumerate(_files(context)):
        if count > _MAX_FILES:
            return Sources("", "", frozenset(), "the context holds too many files to read")
        name = posixpath.basename(path)
        if name in _BUILD_FILES or name.endswith((".gradle", ".gradle.kts")):
            found = _JDK_IN_BUILDS.search(read_text(context / path))
            jdk = jdk or (found.group() if found else "")
        elif name.endswith(_SOURCES):
            text = read_text(context / path)
            found = _JDK_IN_SOURCES.search(text)
            jdk = jdk or (found.group() if found else "")
            if "/test/" not in f"/{path}":
                started = _PROGRAMS.search(text)
                programs = programs or (path if started else "")
                strings.update(first or second for first, second in _STRINGS.findall(text))
        elif name.endswith(_RESOURCES) and "/test/" not in f"/{path}":
            text = read_text(context / path)
            strings.update(line.strip() for line in text.splitlines() if not line.lstrip().startswith("#"))
            found = _ALIAS.search(text) if name.endswith(".sql") else None
            jdk = jdk or ("Java in SQL" if found else "")
    return Sources(jdk, programs, frozenset(strings))


def data(entries: Sequence[Brought], known: Sources, started: str, context: Path) -> list[Brought]:
    """What of the source tree a program may read: all but sources and build files, and of those what it speaks of."""
    text = "\n".join((*known.strings, started))
    return [found for entry in entries for found in _needed(entry, text, context)]


def _needed(entry: Brought, text: str, context: Path) -> Iterator[Brought]:
    name = posixpath.basename(entry.origin)
    inside = entry.origin.split("/")
    idle = any(fnmatchcase(part, pattern) for part in inside for pattern in _IDLE_NAMES)
    if not idle and not (entry.folder and _is_project(context / entry.origin)):
        yield entry
        return
    if not entry.folder:
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) and not name.endswith(_SOURCES):
            yield entry
        return
    mentioned = {match.group(1).rstrip("/.") for match in _mentions(entry.origin, name, text)}
    for path in sorted(_deepest(context, entry, mentioned)):
        yield Brought(
            posixpath.normpath(entry.path + path[len(entry.origin) :]),
            path,
            (context / path).is_dir(),
            entry.owner,
            entry.instruction,
        )
    for served in ("main/webapp",):  # where an embedded Tomcat looks for documents
        path = posixpath.join(entry.origin, served)
        if name == "src" and (context / path).is_dir() and path not in mentioned:
            yield Brought(posixpath.join(entry.path, served), path, True, entry.owner, entry.instruction)


def _mentions(origin: str, name: str, text: str) -> Iterable[re.Match[str]]:
    return re.finditer(
        rf"(?:^|(?<=[\s\"'=:;,/(]))((?:{re.escape(origin)}|{re.escape(name)})(?:/[\w./-]*|(?=$|[\"',;]\s|\n)))",
        text,
        re.MULTILINE,
    )


def _deepest(context: Path, entry: Brought, mentioned: Iterable[str]) -> set[str]:
    """The deepest folders or files of the context that mentioned paths lie in, none of them inside another."""
    name = posixpath.basename(entry.origin)
    found: set[str] = set()
    for text in mentioned:
        below = text[len(entry.origin) :] if text.startswith(entry.origin) else text[len(name) :]
        path = posixpath.normpath(entry.origin + below)
        while path != entry.origin and not (context / path).exists():
            path = posixpath.dirname(path)
        if path == entry.origin and below.strip("/"):
            continue  # nothing of that name is there
        found.add(path)
    return {path for path in found if not any(path.startswith(f"{other}/") for other in found)}


def _is_project(folder: Path) -> bool:
    """Whether a folder is a program of its own, which is built and not read."""
    return any((folder / name).is_file() for name in (*_BUILD_FILES, "package.json"))


def _files(context: Path) -> Iterator[str]:
    for folder, names, files in os.walk(context):
        below = Path(folder).relative_to(context)
        skipped = _NEVER if "src" in below.parts else _SKIPPED
        names[:] = sorted(name for name in names if name not in skipped)
        yield from ((below / name).as_posix() for name in sorted(files))
