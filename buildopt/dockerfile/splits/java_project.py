"""What a Maven or Gradle project calls its jar, and whether the jar stands alone."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from buildopt.dockerfile import files as context_files

_MAX_BYTES = 1024 * 1024
_PROPERTY = re.compile(r"\$\{([^}]+)\}")
# Plugins that may write jars of other names, or change those that there are.
_STRANGE = re.compile(
    r"antrun|exec-maven|proguard|copy-rename|launch4j|gmaven|groovy-maven|native|jlink|jpackage|capsule|onejar|one-jar"
    r"|nar-maven|truezip|download-maven|quarkus|payara|wildfly|thorntail|liberty|helidon|tycho|bnd|bundle|hpi|nifi"
    r"|moditect|obfuscat|izpack|karaf|wagon"
)
_GRADLE_NAMES = re.compile(
    r"archive(?:File)?Name|archiveBaseName|archivesBaseName|archivesName|archiveVersion|archiveClassifier"
    r"|archiveAppendix|destinationDir|libsDirName|buildDir|layout\.buildDirectory|baseName|\bclassifier\b"
)


@dataclass(frozen=True, slots=True)
class Project:
    """One project. ``jars`` are the names of the jars that its build makes, None where that is not certain.

    ``alone``: no jar needs files beside it; ``problem`` says what it needs that no copy of the build folder gives.
    """

    jars: frozenset[str] | None
    alone: bool
    problem: str = ""


class _Unreadable(Exception):
    """A build file that does not tell."""


def maven(context: Path, folder: str, given: Mapping[str, str]) -> Project | None:
    """The Maven project in a folder of the context; None where there is none. ``given`` are its ``-D`` options."""
    path = context / folder / "pom.xml"
    if not path.is_file():
        return None
    try:
        pom = _Pom.read(path)
        return _of_pom(pom, given)
    except _Unreadable:
        return Project(None, False)


def gradle(context: Path, folder: str, name: str) -> Project | None:
    """The Gradle project in a folder of the context; ``name`` is what its folder is called where it is built."""
    text = "\n".join(read_text(context / folder / file) for file in ("build.gradle", "build.gradle.kts"))
    if not text.strip():
        return None
    alone = re.search(r"Class-Path", text) is None
    version = _gradle_value(text, "version")
    properties = read_text(context / folder / "gradle.properties")
    declared = re.search(r"^\s*version\s*[=:]\s*(\S+)", properties, re.MULTILINE)
    if version is None and re.search(r"^\s*version\b", text, re.MULTILINE) is None:
        version = declared.group(1) if declared else ""
    if _GRADLE_NAMES.search(text) or version is None or "allprojects" in text or "subprojects" in text:
        return Project(None, alone)
    settings = "\n".join(read_text(context / folder / file) for file in ("settings.gradle", "settings.gradle.kts"))
    root = _gradle_value(settings, r"rootProject\.name")
    if root is None and ("rootProject.name" in settings or not settings.strip()):
        return Project(None, alone)
    base = f"{root or name}-{version}" if version and version != "unspecified" else (root or name)
    spring = re.search(r"org\.springframework\.boot", text) is not None
    shadow = re.search(r"shadow", text, re.IGNORECASE) is not None
    ktor = "io.ktor.plugin" in text or "ktor" in text.partition("dependencies")[0]
    jars = {f"{base}.jar"}
    if spring and not re.search(r"\bjar\b[^{}\n]*(?:\{[^}]*?|\.)enabled\s*=\s*false", text):
        jars.add(f"{base}-plain.jar")
    if re.search(r"sourcesJar|javadocJar", text, re.IGNORECASE):
        jars |= {f"{base}-sources.jar", f"{base}-javadoc.jar"}
    if shadow or ktor or "micronaut" in text:
        jars |= {f"{base}-all.jar"} | ({f"{root or name}-all.jar"} if ktor else set())
    if re.search(r"tasks\.register|task\s+\w+\s*\(|by\s+tasks|task\s+\w+\s*\{|tasks\.create", text):
        return Project(None, alone)
    return Project(frozenset(jars), alone)


def _gradle_value(text: str, name: str) -> str | None:
    match = re.search(
        rf"^\s*{name}\s*(?:=\s*|\s+|\.set\(\s*)(['\"])([^'\"$\n]*)\1\s*\)?\s*;?\s*(?://.*)?$", text, re.MULTILINE
    )
    return match.group(2) if match is not None else None


def read_text(path: Path) -> str:
    """A text file of the context; empty where there is none, or none that is read."""
    try:
        return context_files.read_text(path, most=_MAX_BYTES)
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Pom:
    root: ElementTree.Element
    parent: _Pom | None

    @classmethod
    def read(cls, path: Path, depth: int = 0) -> _Pom:
        text = read_text(path)
        if not text or "<!DOCTYPE" in text or "<!ENTITY" in text or depth > 8:
            raise _Unreadable
        try:
            root = ElementTree.fromstring(text.encode())
        except (ElementTree.ParseError, ValueError) as error:
            raise _Unreadable from error
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        above = root.find("parent")
        parent = None
        if above is not None:
            place = above.findtext("relativePath", "../pom.xml").strip()
            below = path.parent / place if place else None
            if below is not None and below.is_dir():
                below /= "pom.xml"
            if below is not None and below.is_file() and _own_text(below, "artifactId") == _text(above, "artifactId"):
                parent = cls.read(below, depth + 1)
        return cls(root, parent)

    def text(self, name: str) -> str:
        return _text(self.root, name)

    def setting(self, name: str) -> str | None:
        found = self.root.findtext(f"properties/{name}")
        if found is None and self.parent is not None:
            return self.parent.setting(name)
        return found.strip() if found is not None else None

    def plugins(self) -> Iterator[ElementTree.Element]:
        """The plugins of the build, those of its parents first."""
        if self.parent is not None:
            yield from self.parent.plugins()
        yield from self.root.iterfind("build/plugins/plugin")

    @property
    def profiles_build(self) -> bool:
        return self.root.find("profiles/profile/build") is not None or (
            self.parent is not None and self.parent.profiles_build
        )


def _own_text(path: Path, name: str) -> str:
    try:
        root = ElementTree.fromstring(read_text(path).encode())
    except (ElementTree.ParseError, ValueError):
        return ""
    for child in root:
        if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == name:
            return (child.text or "").strip()
    return ""


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _value(pom: _Pom, text: str, given: Mapping[str, str], depth: int = 0) -> str:
    """A text with properties put in. Raises _Unreadable where one is not known."""

    def put(match: re.Match[str]) -> str:
        name = match.group(1).strip()
        if name in given:
            return given[name]
        own = name.removeprefix("project.").removeprefix("pom.")
        if own in ("artifactId", "version", "groupId", "packaging", "name") and (own != name or own != "name"):
            found = pom.text(own) or (_text(pom.root, f"parent/{own}") if own in ("version", "groupId") else "")
            found = found or ("jar" if own == "packaging" else "")
        elif name.startswith("project.parent."):
            found = _text(pom.root, f"parent/{name.removeprefix('project.parent.')}")
        elif name in ("project.build.finalName", "build.finalName"):
            found = _final_name(pom)
        else:
            found = pom.setting(name) or ""
        if not found or depth > 8:
            raise _Unreadable
        return _value(pom, found, given, depth + 1)

    return _PROPERTY.sub(put, text)


def _final_name(pom: _Pom) -> str:
    own = pom.root.findtext("build/finalName")
    if own is None and pom.parent is not None:
        own = pom.parent.root.findtext("build/finalName")
    return (own or "${project.artifactId}-${project.version}").strip()


def _of_pom(pom: _Pom, given: Mapping[str, str]) -> Project:
    final = _value(pom, _final_name(pom), given)
    packaging = _value(pom, pom.text("packaging") or "jar", given)
    if packaging not in ("jar", "war"):
        raise _Unreadable
    certain = not pom.profiles_build
    jars = {f"{final}.{packaging}"}
    alone, problem = True, ""
    for plugin in pom.plugins():
        name = _text(plugin, "artifactId")
        text = ElementTree.tostring(plugin, encoding="unicode")
        if _STRANGE.search(name):
            certain = False
        if name == "spring-boot-maven-plugin":
            classifier = _first(plugin, "classifier")
            made = f"{_value(pom, _first(plugin, 'finalName') or final, given)}"
            made += f"-{_value(pom, classifier, given)}" if classifier else ""
            jars.add(f"{made}.{packaging}")
            alone = alone and not re.search(r"<layout>\s*(?:ZIP|DIR|MODULE)|loader", text)
        elif name in ("maven-jar-plugin", "maven-war-plugin"):
            alone = alone and not re.search(r"<addClasspath>\s*true|Class-Path", text)
            if re.search(r"<classpathLayoutType>\s*repository|settings\.localRepository|\.m2", text):
                problem = "the jar's manifest names Maven's repository, which stays behind"
            classifier = _first(plugin, "classifier")
            made = _value(pom, _first(plugin, "finalName") or final, given)
            jars.add(f"{made}-{_value(pom, classifier, given)}.{packaging}" if classifier else f"{made}.{packaging}")
            certain = certain and _first(plugin, "outputDirectory") is None
        elif name == "maven-shade-plugin":
            made = _value(pom, _first(plugin, "finalName") or final, given)
            classifier = _first(plugin, "shadedClassifierName")
            output = _first(plugin, "outputFile")
            jars |= {
                f"{made}.jar",
                f"{final}-{_value(pom, classifier or 'shaded', given)}.jar",
                f"original-{final}.jar",
            }
            if output:
                jars.add(posixpath.basename(_value(pom, output, given)))
        elif name == "maven-assembly-plugin":
            made = _value(pom, _first(plugin, "finalName") or final, given)
            ids = [(item.text or "").strip() for item in plugin.iter("descriptorRef")]
            appended = not re.search(r"<appendAssemblyId>\s*false", text)
            certain = certain and bool(ids) and plugin.find(".//descriptor") is None
            jars |= {f"{made}-{item}.jar" if appended else f"{made}.jar" for item in ids}
        elif name in ("maven-source-plugin", "maven-javadoc-plugin"):
            jars |= {f"{final}-sources.jar", f"{final}-javadoc.jar", f"{final}-test-sources.jar"}
    return Project(frozenset(jars) if certain else None, alone, problem)


def _first(element: ElementTree.Element, name: str) -> str | None:
    """The first setting of that name in a plugin's configurations."""
    for configuration in element.iter("configuration"):
        found = configuration.find(name)
        if found is not None and (found.text or "").strip():
            return (found.text or "").strip()
    return None
