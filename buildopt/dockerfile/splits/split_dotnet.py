"""Splitting a .NET file: what `dotnet publish` writes is shipped on the image that the SDK's image is made of.

The images of the SDK are ``aspnet`` with the SDK on top, so ``aspnet`` of the same release and distribution has all
that a published program needs. Two variables of the SDK's image change how programs run; they are written out.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.brought import Brought, brought, origin_of, plain
from buildopt.dockerfile.splits.build_steps import Steps, data_lines, is_removed, owner_of, repeated, steps
from buildopt.dockerfile.splits.java_project import read_text
from buildopt.dockerfile.splits.repeats import trimmed
from buildopt.dockerfile.splits.splits import (
    No,
    Split,
    Subject,
    casing,
    copy_line,
    known_user,
    known_variables,
    uncovered,
)
from buildopt.dockerfile.splits.started import Start, checked, literal, started
from buildopt.dockerfile.splits.tree_data import COMMON, Tree

_REPOSITORY = "mcr.microsoft.com/dotnet/sdk"
_TAG = re.compile(
    r"(?P<major>6|7|8|9|10)\.0(?:\.[0-9]+)?(?P<suffix>-(?:bookworm|bullseye|buster|trixie)-slim|-jammy|-noble|-focal)?"
)
_SDK_VARIABLES = frozenset(
    ("PATH", "DOTNET_SDK_VERSION", "DOTNET_NOLOGO", "NUGET_XMLDOC_MODE", "POWERSHELL_DISTRIBUTION_CHANNEL")
)
_FINE = word_set("publish build restore test clean --version --info --list-sdks --list-runtimes")
_BUILD_PACKAGES = word_set("git curl wget unzip zip build-essential gcc g++ make clang zlib1g-dev nodejs npm apt-utils")
_SHELL = word_set(": [ cd echo exec exit export set sleep test true date env printf dotnet")
_PROJECTS = (".csproj", ".fsproj", ".vbproj", ".props", ".targets")
_SOURCES = (".cs", ".fs", ".vb", ".cshtml", ".razor")
_TEXTS = (".json", ".config", ".xml", ".yml", ".yaml")
_SELF_CONTAINED = re.compile(
    r"<(?:SelfContained|PublishSelfContained|PublishSingleFile|PublishAot|PublishTrimmed|RuntimeIdentifiers?|UseAppHost"
    r"|NativeLib|UseWPF|UseWindowsForms|OutputType>\s*Library)\b[^<]*"
)
_NEEDS_SDK = re.compile(
    r"Process\.Start|new Process\b|ProcessStartInfo|Microsoft\.Build\b|MSBuildLocator|DOTNET_SDK_VERSION"
)
_IDLE = COMMON | word_set(
    """*.cs *.fs *.vb *.csproj *.fsproj *.vbproj *.sln *.slnx *.user *.props *.targets obj bin out publish
    launchSettings.json global.json nuget.config NuGet.config NuGet.Config .config omnisharp.json *.razor packages
    *.suo .vs artifacts *.ruleset .csharpierrc* stylecop.json Directory.Packages.props"""
)


@dataclass(frozen=True, slots=True)
class _Published:
    """What one `dotnet publish` writes: the folder, and where the command stands."""

    folder: str
    offset: int
    place: int


def concerns(subject: Subject) -> bool:
    """Whether the image is that of the .NET SDK, and something is published."""
    commands = [command for run in subject.runs for command in run.commands]
    return subject.final.base.repository == _REPOSITORY and any(
        command.name == "dotnet" and {"publish", "build"} & set(command.texts) for command in commands
    )


def plan(subject: Subject) -> Split:
    """Ship the published folder. Raises No."""
    context = subject.context
    if context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    tag = _TAG.fullmatch(subject.final.base.tag)
    if tag is None or subject.final.base.digest or "$" in subject.written_base:
        raise No(subject.origin, "which runtime image the SDK's image is made of is not known")
    for item in subject.head:
        if item.keyword == "USER":
            raise No(item, "the user changes before the program is built")
    done = steps(subject, _is_build)
    entries = brought(subject, subject.head)
    start = started(subject, lambda path: _script(context, entries, path))
    if checked(subject, lambda path: None).steps:
        raise No(
            subject.last("HEALTHCHECK") or subject.origin, "the health check may need a program of the SDK's image"
        )
    library, folder = _started(subject, start)
    published = _published(subject, done, entries, library)
    runtime = _facts(subject, context, tag["major"], library)
    inside = relation(folder, published.folder) is Relation.INSIDE
    tree = Tree(context, subject.source.path, _IDLE, ("package.json",), _SOURCES)
    data = [] if inside else tree.data(entries, "\n".join((*_strings(context), start.text)))
    data = [entry for entry in data if not is_removed(done, entry.path)]
    for path in start.scripts:
        if not any(relation(path, item.path) is Relation.INSIDE for item in data):
            origin = origin_of(entries, path) or ""
            owner = next((item for item in entries if relation(path, item.path) is Relation.INSIDE), entries[0])
            data.append(Brought(path, origin, False, owner.owner, owner.instruction))
    shipped = (published.folder, *(entry.path for entry in data))
    uncovered(subject, shipped)
    plain(context, data)
    known_variables(subject, _SDK_VARIABLES, "SDK's")

    def is_needed(package: str) -> bool:
        return package not in _BUILD_PACKAGES

    again = repeated(subject, done, shipped, is_needed)
    known_user(subject.tail, {*again.users, *(("app",) if int(tag["major"]) >= 8 else ())})
    image = f"{_REPOSITORY.removesuffix('sdk')}{runtime}:{tag['major']}.0{tag['suffix'] or ''}"
    return Split(
        image,
        tuple(_copies(subject, done, published, data)),
        f"a build stage, and a runtime stage on {image.rpartition('/')[2]}",
        f"what `dotnet publish` writes{' and what it may read' if data else ''} is shipped; SDK, sources and packages "
        "stay in the build stage",
        replayed=again.offsets,
        texts=trimmed(subject, again.offsets, is_needed),
        first=_settings(subject, int(tag["major"])),
    )


def _settings(subject: Subject, major: int) -> tuple[str, ...]:
    """What the SDK's image says to programs and the smaller one does not, unless the file says it itself."""
    # Until .NET 8, the smaller image names an address, which the SDK's image takes back.
    own = {**({"ASPNETCORE_URLS": ""} if major < 8 else {}), "DOTNET_USE_POLLING_FILE_WATCHER": "true"}
    pairs = [f"{name}={value}" for name, value in own.items() if name not in subject.final.environment]
    return ("# As in the SDK's image", " ".join((casing(subject)("ENV"), *pairs))) if pairs else ()


def _is_build(command: Command) -> bool:
    return command.name == "dotnet" and bool(_FINE.intersection(command.texts[:1]))


def _script(context: Path, entries: Sequence[Brought], path: str) -> str | None:
    origin = origin_of(entries, path)
    text = read_text(context / origin) if origin is not None else ""
    return text if text and "\0" not in text and (text.startswith("#!") or path.endswith(".sh")) else None


def _started(subject: Subject, start: Start) -> tuple[str, str]:
    """The library that is started, and the folder it starts in. Raises No."""
    entry = subject.entry()
    assert entry is not None
    found: list[tuple[str, str]] = []
    for step in start.steps:
        if step.name not in _SHELL or set(step.command.wrappers) - {"exec", "env"}:
            raise No(entry, f"it starts {step.name or 'a program'}, which the smaller image may lack")
        if step.name == "dotnet":
            word = step.command.arguments[0] if step.command.arguments else None
            text = literal(word, subject.final.environment) if word is not None and step.by_shell else None
            name = text or (word.text if word is not None else None)
            if not name or not name.endswith(".dll") or name.startswith("-"):
                raise No(entry, f"`dotnet {name or ''}`".rstrip() + " is not a published program")
            found.append((posixpath.normpath(posixpath.join(step.folder, name)), step.folder))
    if len(found) != 1:
        raise No(entry, "it does not start one published program")
    return found[0]


def _published(subject: Subject, done: Sequence[Steps], entries: Sequence[Brought], library: str) -> _Published:
    entry = subject.entry()
    assert entry is not None
    found: list[_Published] = []
    for item in done:
        for command, folder in item.builds:
            if command.texts[:1] != ("publish",) or command.operator == "||":
                continue
            options = [literal(word, item.run.state.environment) for word in command.arguments]
            if any(text is None for text in options):
                raise No(item.run.instruction, "where it publishes to depends on a variable")
            texts = [text or "" for text in options]
            if any(
                re.match(r"-r$|--runtime|--sc$|--self-contained|--os|-a$|--arch|-p:|/p:|-property", text)
                for text in texts
            ):
                raise No(item.run.instruction, "its options may make it self-contained, or move its output")
            output = _option(texts, "-o", "--output")
            target = posixpath.normpath(posixpath.join(folder, output)) if output else _usual(library)
            if target:
                found.append(_Published(target, item.run.instruction.span.start, command.span.start))
    fitting = [item for item in found if posixpath.dirname(library) == item.folder]
    if not fitting:
        raise No(entry, f"no RUN is known to publish {library}")
    if is_removed(done, fitting[-1].folder, fitting[-1].offset, fitting[-1].place):
        raise No(entry, f"{fitting[-1].folder} is removed again")
    if any(relation(entry.path, fitting[-1].folder) is Relation.INSIDE for entry in entries):
        raise No(subject.origin, f"{fitting[-1].folder} holds the sources too")
    if fitting[-1].folder in ("/", "/root", "/home", "/usr", "/tmp"):
        raise No(entry, f"the program lies among other files of {fitting[-1].folder}")
    return fitting[-1]


def _option(texts: Sequence[str], *names: str) -> str:
    for index, text in enumerate(texts):
        if text in names and index + 1 < len(texts):
            return texts[index + 1]
        for name in names:
            if text.startswith((f"{name}=", f"{name}:")):
                return text[len(name) + 1 :]
    return ""


def _usual(library: str) -> str:
    """Where `dotnet publish` writes to by itself, if that is where the library lies."""
    folder = posixpath.dirname(library)
    return folder if re.search(r"/bin/(?:Release|Debug|release|debug)/net[0-9.]+/publish$", folder) else ""


def _facts(subject: Subject, context: Path, major: str, library: str) -> str:
    """``aspnet`` or ``runtime``. Raises No where the projects do not fit the image."""
    names: set[str] = set()
    web = packages = False
    for path in _files(context):
        if path.endswith(_PROJECTS):
            text = re.sub(r"<!--.*?(?:-->|\Z)", "", read_text(context / path), flags=re.DOTALL)
            test = "Microsoft.NET.Test.Sdk" in text or "IsTestProject" in text
            found = _SELF_CONTAINED.search(text)
            if found is not None and not test:
                raise No(subject.origin, f"{path} says {found.group()[1:40]}, which asks for another runtime")
            frameworks = re.findall(r"<TargetFrameworks?>\s*([^<]+?)\s*<", text)
            named = [name for item in frameworks for name in item.split(";") if "standard" not in name]
            if any(name != f"net{major}.0" for name in named) and not test:
                raise No(subject.origin, f"{path} is for {', '.join(named)}, not for .NET {major}")
            web = web or "Sdk.Web" in text or "AspNetCore" in text or "Sdk.Worker" in text
            packages = packages or "PackageReference" in text
            assembly = re.search(r"<AssemblyName>\s*([^<$]+?)\s*<", text)
            names.add(assembly.group(1) if assembly else posixpath.basename(path).rpartition(".")[0])
        elif path.endswith(_SOURCES):
            found = _NEEDS_SDK.search(read_text(context / path))
            if found is not None:
                raise No(subject.origin, f"{path} speaks of {found.group()}: it may need a program of the SDK's image")
    name = posixpath.basename(library).removesuffix(".dll")
    if name not in names:
        raise No(subject.entry() or subject.origin, f"no project of the context makes {name}.dll")
    return "aspnet" if web or packages else "runtime"


def _strings(context: Path) -> Iterator[str]:
    for path in _files(context):
        if path.endswith(_SOURCES):
            yield from re.findall(r'"((?:\\.|[^"\\\n])*)"', read_text(context / path))
        elif path.endswith(_TEXTS) and not path.endswith(("package-lock.json", "launchSettings.json")):
            yield read_text(context / path)


def _files(context: Path) -> Iterator[str]:
    for folder, names, files in os.walk(context):
        names[:] = sorted(name for name in names if name not in (".git", "bin", "obj", "node_modules", ".vs"))
        below = Path(folder).relative_to(context)
        yield from ((below / name).as_posix() for name in sorted(files))


def _copies(subject: Subject, done: Sequence[Steps], published: _Published, data: Sequence[Brought]) -> list[str]:
    outside = [entry for entry in data if relation(entry.path, published.folder) is not Relation.INSIDE]
    return [
        *data_lines(subject, done, outside),
        copy_line(subject, published.folder, chown=owner_of(done, published.folder, since=published.offset)),
    ]
