"""What a Java file ships: the jar, the classes or the installation that CMD starts, and that a RUN makes it."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import java_project
from buildopt.dockerfile.splits.brought import Brought, origin_of
from buildopt.dockerfile.splits.build_steps import Steps, is_removed
from buildopt.dockerfile.splits.java_start import Java, java
from buildopt.dockerfile.splits.splits import No, Subject
from buildopt.dockerfile.splits.started import Start, literal

_MAVEN = frozenset(("mvn", "mvnw", "mvnd"))
_GRADLE = frozenset(("gradle", "gradlew"))
_BUILDERS = _MAVEN | _GRADLE | word_set("javac jar ant sbt sbtx kotlinc scalac lein")
_PACKAGING = word_set("package verify install deploy integration-test pre-integration-test post-integration-test")
_ASSEMBLING = re.compile(
    r"(?:.*:)?(?:build|assemble|jar|bootJar|bootWar|war|shadowJar|fatJar|uberJar|installDist|installShadowDist|install"
    r"|installBootDist|buildFatJar|quarkusBuild|assembleDist|stage)"
)
_OPTION = re.compile(r"-D([\w.-]+)=(.*)")


@dataclass(frozen=True, slots=True)
class Program:
    """What is shipped, and why it is known to be there."""

    paths: tuple[str, ...]
    made_at: int


def is_build(command: Command) -> bool:
    return command.name in _BUILDERS and not all(
        text in ("-v", "-version", "--version", "-V", "--help", "-h") for text in command.texts or ("x",)
    )


def program(
    subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], later: Sequence[Brought], start: Start
) -> Program:
    """What CMD starts, and that the build makes it. Raises No."""
    entry = subject.entry()
    assert entry is not None
    shown = " ".join(entry.values)[:60]
    found: list[Java] = []
    folders: list[str] = []
    for step in start.steps:
        name = step.name
        if name == "java":
            found.append(java(step, subject.final.environment))
        elif name in _BUILDERS:
            raise No(entry, f"`{shown}` builds when it starts")
        elif "/" in (step.command.argv[0].raw if step.command.argv else ""):
            path = posixpath.normpath(posixpath.join(step.folder, step.command.argv[0].text or ""))
            if folder_of_script(path):
                folders.append(folder_of_script(path))
    if len(found) + len(folders) != 1:
        raise No(entry, f"`{shown}` does not start one Java program")
    if folders:
        return Program((folders[0],), _made(subject, done, entries, folders[0]))
    command = found[0]
    if command.problem:
        raise No(entry, command.problem)
    if command.jar:
        return _jar(subject, done, entries, later, command.jar)
    return _classes(subject, done, entries, command)


def folder_of_script(path: str) -> str:
    """The installation that a start script is of: Gradle's installDist, sbt's stage, Maven's appassembler."""
    match = re.match(r"(.*/(?:build/install/[^/]+|target/universal/stage|target/appassembler))/bin/[^/]+$", path)
    return match.group(1) if match is not None else ""


def _jar(
    subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], later: Sequence[Brought], jar: str
) -> Program:
    entry = subject.entry()
    assert entry is not None
    if any(item.path == jar or (not item.folder and fnmatchcase(item.path, jar)) for item in later):
        raise No(entry, f"{jar} comes from the context, not from a RUN")
    folders = {state.workdir for state in subject.known.values() if state.workdir}
    folders.update(path for item in done for path in item.folders)
    moved = [move for item in done for move in item.moves if move.makes(jar, folders)]
    if moved and "*" not in jar:
        move = moved[-1]
        offset = move.run.instruction.span.start
        _made(subject, done, entries, move.source, offset)
        _stands(subject, entries, move.source)
        if not _made_alone(subject, entries, move.source):
            raise No(move.run.instruction, "the jar that it copies may need files beside it")
        if is_removed(done, jar, offset, move.at):
            raise No(entry, f"{jar} is removed again")
        return Program((jar,), offset)
    at = _made(subject, done, entries, jar)
    jar = _one(subject, done, entries, jar)
    _stands(subject, entries, jar)
    match = re.match(r"(.*/(?:target|build))/((?:[^/]+/)*)[^/]+$", jar)
    inner = match.group(2).split("/")[0] if match is not None else ""
    if match is not None and inner and inner != "libs" and not inner.startswith("scala-"):
        return Program((f"{match.group(1)}/{inner}",), at)
    if not _made_alone(subject, entries, jar):
        return Program((match.group(1) if match is not None else posixpath.dirname(jar),), at)
    return Program((jar,), at)


def _project(subject: Subject, entries: Sequence[Brought], path: str) -> java_project.Project | None:
    """The project whose build makes a file in its output folder; None where there is none in the context."""
    assert subject.context is not None
    for match in re.finditer(r"/(target|build)(?=/[^/])", path):
        folder = path[: match.start()] or "/"
        origin = origin_of(entries, folder)
        if origin is None:
            continue
        if match.group(1) == "build":
            found = java_project.gradle(subject.context, origin, posixpath.basename(folder))
        else:
            found = java_project.maven(subject.context, origin, _given(subject))
        if found is not None:
            return found
    return None


def _given(subject: Subject) -> dict[str, str]:
    """The ``-D`` options of Maven."""
    given: dict[str, str] = {}
    for run in subject.runs:
        for command in run.commands:
            for text in command.texts if command.name in _MAVEN else ():
                option = _OPTION.fullmatch(text)
                if option is not None:
                    given[option.group(1)] = option.group(2)
    return given


def _one(subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], jar: str) -> str:
    """The only jar that a glob stands for. Raises No where that is not certain."""
    if not re.search(r"[*?\[]", jar):
        return jar
    entry = subject.entry()
    assert entry is not None
    project = _project(subject, entries, jar)
    names = project.jars if project is not None else None
    pattern = posixpath.basename(jar)
    tasks = {text for item in done for command, _ in item.builds if command.name in _GRADLE for text in command.texts}
    if (
        names is not None
        and tasks
        and all(text.startswith("-") or text in ("bootJar", "clean", "test") for text in tasks)
    ):
        names = frozenset(name for name in names if not name.endswith("-plain.jar"))
    fitting = [name for name in sorted(names or ()) if fnmatchcase(name, pattern)]
    if len(fitting) != 1 or re.search(r"[*?\[]", posixpath.dirname(jar)):
        raise No(entry, f"which jar {jar} stands for is not certain")
    return posixpath.join(posixpath.dirname(jar), fitting[0])


def _stands(subject: Subject, entries: Sequence[Brought], jar: str) -> None:
    """Raises No where the build is known to make no such jar, or one that cannot be shipped."""
    entry = subject.entry()
    assert entry is not None
    project = _project(subject, entries, jar)
    if project is None:
        return
    if project.problem:
        raise No(entry, project.problem)
    name = posixpath.basename(jar)
    if project.jars is not None and not any(fnmatchcase(made, name) for made in project.jars) and "/libs/" not in name:
        raise No(entry, f"the build makes {sorted(project.jars)[0]}, not {name}")


def _made_alone(subject: Subject, entries: Sequence[Brought], jar: str) -> bool:
    if re.search(r"assembly|standalone|with-dependencies", posixpath.basename(jar)):
        return True
    project = _project(subject, entries, jar)
    return project.alone if project is not None else "/target/" not in jar and "/build/" not in jar


def _made(subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], path: str, before: int = -1) -> int:
    """The offset of the RUN that makes a path below a build's output folder. Raises No where none is known to."""
    entry = subject.entry()
    assert entry is not None
    found, place = -1, 0
    for item in done:
        for command, folder in item.builds:
            if command.operator == "||" or "condition" in command.context:
                continue
            if _makes(command, folder, path):
                found, place = item.run.instruction.span.start, command.span.start
            elif any(text.rpartition(":")[2] in ("clean", "cleanBuild") for text in command.texts):
                found = -1
    if found < 0 or (0 <= before < found):
        raise No(entry, f"no RUN is known to make {path}")
    plain = re.sub(r"/[^/]*[*?\[].*$", "", path)
    if before < 0 and is_removed(done, plain, found, place):
        raise No(entry, f"{plain} is removed again")
    for mount in (mount for run in subject.runs for mount in run.instruction.flags_named("mount")):
        target = re.search(r"(?:target|dst|destination)=([^,]+)", mount.value or "")
        if target is not None and relation(plain, posixpath.normpath(target.group(1))) is Relation.INSIDE:
            raise No(entry, f"{plain} lies in a mount")
    kind = re.search(r"/(target|build)/", path)
    if kind is not None and _project(subject, entries, path) is None and not _other_project(subject, entries, path):
        raise No(entry, f"the context has no build file for {path}")
    return found


def _other_project(subject: Subject, entries: Sequence[Brought], path: str) -> bool:
    """Whether sbt, Leiningen or Ant build there."""
    assert subject.context is not None
    folder = re.sub(r"/(?:target|build)/(?!.*/target/).*$", "", path) or "/"
    origin = origin_of(entries, folder)
    names = ("build.sbt", "project.clj", "build.xml")
    return origin is not None and any((subject.context / origin / name).is_file() for name in names)


def _makes(command: Command, folder: str, path: str) -> bool:
    name = command.name or ""
    texts = [text for text in command.texts if not text.startswith("-")]
    if name in _MAVEN:
        return "/target/" in path and not _PACKAGING.isdisjoint(texts)
    if name in _GRADLE:
        return "/build/" in path and any(_ASSEMBLING.fullmatch(text) for text in texts)
    if name in ("sbt", "sbtx", "lein"):
        return "/target/" in path and bool(re.search(r"assembly|stage|package|uberjar|dist", " ".join(texts)))
    if name == "jar":
        return any(posixpath.normpath(posixpath.join(folder, text)) == path for text in texts)
    if name == "kotlinc":
        return any(posixpath.normpath(posixpath.join(folder, text)) == path for text in texts)
    return False


def _classes(subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], command: Java) -> Program:
    """What a class path names: folders of classes, folders of jars, jars. Raises No."""
    entry = subject.entry()
    assert entry is not None
    outputs = _class_folders(done)
    shipped: list[str] = []
    brought_along: list[str] = []
    for place in command.path:
        plain = place.removesuffix("/*")
        made = [output for output in outputs if relation(plain, output) is Relation.INSIDE]
        beside = [
            output for output, (_, loose) in outputs.items() if loose and relation(output, plain) is Relation.INSIDE
        ]
        if (made and not outputs[made[0]][1]) or beside:
            if is_removed(done, plain, max(offset for offset, _ in outputs.values()), _last_build(done)):
                raise No(entry, f"{plain} is removed again")
            shipped.append(_class_files(subject, entries, plain) if beside else plain)
        elif origin_of(entries, plain) is None:
            raise No(entry, f"where {plain} comes from is not known")
        elif not any(item.path == plain for item in entries) or "src" in plain.split("/"):
            raise No(entry, f"which files of {plain} the program needs is not known")
        else:
            brought_along.append(plain)
    if not shipped:
        raise No(entry, "no RUN is known to make what it starts")
    for place in shipped:
        if place in ("/", "/root", "/home", "/usr", "/usr/src", "/tmp", "/opt", "/var", "/srv"):
            raise No(entry, f"its classes lie among other files of {place}")
    return Program(tuple(dict.fromkeys((*brought_along, *shipped))), max(offset for offset, _ in outputs.values()))


def _last_build(done: Sequence[Steps]) -> int:
    """The place in its RUN of the last command that builds."""
    return max((command.span.start for command, _ in [item for item in done if item.builds][-1].builds), default=0)


def _class_folders(done: Sequence[Steps]) -> dict[str, tuple[int, bool]]:
    """The folders that classes are written to: the RUN's offset, and whether they lie beside their sources."""
    found: dict[str, tuple[int, bool]] = {}
    for item in done:
        for command, folder in item.builds:
            offset = item.run.instruction.span.start
            if command.operator == "||":
                continue
            if command.name == "javac":
                for output, loose in _javac_output(command, folder, item):
                    found[output] = (offset, loose)
            elif command.name in _MAVEN and {"compile", *_PACKAGING} & set(command.texts):
                found[posixpath.join(folder, "target")] = (offset, False)
            elif command.name in _GRADLE and any(
                _ASSEMBLING.fullmatch(text) or text == "classes" for text in command.texts
            ):
                found[posixpath.join(folder, "build")] = (offset, False)
    return found


def _javac_output(command: Command, folder: str, item: Steps) -> list[tuple[str, bool]]:
    words = [literal(word, item.run.state.environment) for word in command.arguments]
    for option, value in itertools.pairwise(words):
        if option == "-d":
            if value is None:
                raise No(item.run.instruction, "where its classes go is not known")
            return [(posixpath.normpath(posixpath.join(folder, value)), False)]
    named = [word for word in words if word is not None and word.endswith(".java")]
    if not named or any(word is not None and word.startswith("@") for word in words):
        raise No(item.run.instruction, "where its classes go is not known")
    return [(posixpath.dirname(posixpath.normpath(posixpath.join(folder, word))), True) for word in named]


def _class_files(subject: Subject, entries: Sequence[Brought], folder: str) -> str:
    """The classes of a folder that holds their sources too: by a glob where none lie deeper, else all of it."""
    assert subject.context is not None
    origin = origin_of(entries, folder)
    if origin is None:
        raise No(subject.origin, f"the sources in {folder} do not come from the context")
    below = [entry for entry in entries if posixpath.dirname(entry.path) == folder and entry.folder]
    deeper = any(True for entry in below for _ in (subject.context / entry.origin).rglob("*.java"))
    return folder if deeper else f"{folder.rstrip('/')}/*.class"


def whole_output(program: Program, strings: Iterable[str]) -> tuple[str, ...]:
    """A program that speaks of its build's output folder gets all of it."""
    found = []
    for path in program.paths:
        match = re.match(r"(.*/(target|build))/", path)
        spoken = match is not None and any(
            re.search(rf"(?:^|[/\"'\s:]){match.group(2)}/(?:classes|generated|resources|libs|lib|tmp|data)", text)
            for text in strings
        )
        found.append(match.group(1) if match is not None and spoken else path)
    return tuple(dict.fromkeys(found))


def agents(subject: Subject, start: Start, entries: Sequence[Brought], program: Program) -> None:
    entry = subject.entry()
    assert entry is not None
    options = " ".join(value or "" for value in subject.final.environment.values())
    named = [
        path for step in start.steps if step.name == "java" for path in java(step, subject.final.environment).files
    ]
    named += re.findall(r"-javaagent:([^\s=,]+)", options)
    for path in named:
        inside = [*program.paths, *(item.path for item in entries)]
        if not any(relation(path, place) is Relation.INSIDE for place in inside):
            raise No(entry, f"where the agent {path} comes from is not known")
