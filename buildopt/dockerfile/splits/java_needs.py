"""What a Java program may need at run time beside its jar, as far as its sources and build files tell."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.brought import Brought
from buildopt.dockerfile.splits.java_project import read_text
from buildopt.dockerfile.splits.tree_data import COMMON, Tree, below

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
    r"javax\.tools|nashorn|ScriptEngineManager|com\.sun\.(?:tools|source|jdi)|ToolProvider|VirtualMachine\.attach"
    r"|jdk\.(?:jshell|jfr\.consumer|incubator|compiler)|tools\.jar|ByteBuddyAgent|ReactorDebugAgent|BlockHound"
    r"|HotSpotDiagnostic|sun\.jvm|sun\.tools"
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
_IDLE_NAMES = COMMON | word_set(
    """src pom.xml *.gradle *.gradle.kts gradle gradlew* gradle.properties mvnw* .mvn target build out bin .gradle
    .settings .classpath .project *.iml *.ipr *.iws lombok.config system.properties nbactions.xml *.sbt project
    build.xml ivy.xml settings.xml project.clj *.java *.kt *.class qodana.yaml checkstyle* detekt* eclipse*
    .factorypath .attach_pid*"""
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


def data(entries: Sequence[Brought], known: Sources, started: str, context: Path, dockerfile: str) -> list[Brought]:
    """What of the source tree a program may read: all but sources and build files, and of those what it speaks of."""
    tree = Tree(context, dockerfile, _IDLE_NAMES, (*_BUILD_FILES, "package.json"), _SOURCES)
    found = tree.data(entries, "\n".join((*known.strings, started)))
    for entry in entries:  # where an embedded Tomcat looks for documents
        path = posixpath.join(entry.origin, "main/webapp")
        if posixpath.basename(entry.origin) == "src" and (context / path).is_dir():
            inside = [item for item in found if item.origin == path or path.startswith(f"{item.origin}/")]
            found += [] if inside else [below(context, entry, path)]
    return found


def _files(context: Path) -> Iterator[str]:
    for folder, names, files in os.walk(context):
        below = Path(folder).relative_to(context)
        skipped = _NEVER if "src" in below.parts else _SKIPPED
        names[:] = sorted(name for name in names if name not in skipped)
        yield from ((below / name).as_posix() for name in sorted(files))
