"""Splitting a C or C++ file: the one program that CMD starts is shipped on the image it was built on, without compiler.

On Debian, Ubuntu and Alpine the same image is the runtime, and packages that the program may be linked with are
installed there again, compilers and tools left out. What the gcc image builds in C runs on Debian's slim image; its
C++ library is its own, so C++ has to be linked statically there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildopt.dockerfile.files import read_data
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import c_build
from buildopt.dockerfile.splits.brought import Brought, brought, origin_of, plain
from buildopt.dockerfile.splits.build_steps import Steps, data_lines, is_removed, owner_of, repeated, steps
from buildopt.dockerfile.splits.c_libraries import without_headers
from buildopt.dockerfile.splits.repeats import same_owners, trimmed
from buildopt.dockerfile.splits.runtime_images import release
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
from buildopt.dockerfile.splits.stand_alone import BUILTINS, ESSENTIAL
from buildopt.dockerfile.splits.started import Start, checked, started
from buildopt.dockerfile.splits.tree_data import COMMON, Tree, below

_BASES = frozenset(("gcc", "debian", "ubuntu", "alpine"))
_BASE_NAMES = frozenset(("PATH", "GCC_VERSION", "GCC_MIRRORS", "GPG_KEYS"))
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_BUILD_PACKAGES = word_set(
    """alpine-sdk autoconf autoconf-archive automake autotools-dev binutils bison build-base build-essential clang
    clang-format clang-tidy clang-tools cmake cppcheck curl doxygen flex g++ gcc gdb git gnupg libc-dev libc6-dev
    libtool lld lldb llvm m4 make musl-dev nasm ninja ninja-build ninja-is-really-ninja patch pkg-config pkgconf
    samurai strace unzip valgrind vim nano wget yasm linux-headers apt-utils bear ccache lsb-release"""
)
_COMPILER_PACKAGE = re.compile(r"(?:gcc|g\+\+|clang|llvm|lld|cpp)-[0-9.]+|libstdc\+\+-[0-9]+-dev|linux-headers-.*")
# Tools that bring a library which programs are linked with.
_BRINGS = {"flex": "fl", "libtool": "ltdl"}
_STRANGE_PATH = re.compile(r"/(?:usr|lib|opt|etc/(?!passwd|group|hosts|resolv\.conf|localtime|hostname))\b")
_IDLE = COMMON | word_set(
    """src source sources include inc lib libs third_party external vendor cmake build out obj bin *.c *.cc *.cpp *.cxx
    *.h *.hh *.hpp *.hxx *.o *.a *.d makefile GNUmakefile *.mk CMakeLists.txt CMakePresets.json *.cmake configure*
    *.ac *.am *.in compile_commands.json *.sln *.vcxproj* *.pro *.cbp .clang-format .clang-tidy .ccls .clangd *.out
    examples benchmarks scripts tools"""
)


def concerns(subject: Subject) -> bool:
    """Whether a RUN compiles C or C++ on an image that is meant for it."""
    if subject.final.base.repository not in _BASES:
        return False
    commands = [command for run in subject.runs for command in run.commands]
    return any(
        c_build.COMPILERS.fullmatch(command.name or "") or command.name in ("make", "gmake", "cmake", "ninja")
        for command in commands
    )


def plan(subject: Subject) -> Split:
    """Ship the program. Raises No."""
    context = subject.context
    if context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    for item in subject.head:
        if item.keyword == "USER":
            raise No(item, "the user changes before the program is built")
    done = steps(subject, c_build.is_build)
    entries, later = brought(subject, subject.head), brought(subject, subject.tail)
    scripts = _Scripts(subject, (*entries, *later))
    start, check = started(subject, scripts.text), checked(subject, scripts.text)
    commands = " ".join(word.raw for item in done for command, _ in item.builds for word in command.words)
    known = c_build.facts(context, commands)
    program = _program(subject, done, later, start, known)
    if known.problem:
        raise No(subject.origin, known.problem)
    _others(subject, start, check, program)
    tree = Tree(context, subject.source.path, _IDLE, ("CMakeLists.txt", "package.json"), (".c", ".h", ".cpp", ".hpp"))
    said = " ".join((start.text, check.text, *(value or "" for value in subject.final.environment.values())))
    data = tree.data(entries, "\n".join((*known.strings, said)))
    for path in sorted({*start.scripts, *check.scripts}):
        for entry in entries:
            inside = relation(path, entry.path) is Relation.INSIDE
            if inside and not any(relation(path, item.path) is Relation.INSIDE for item in data):
                data.append(below(context, entry, posixpath.normpath(entry.origin + path[len(entry.path) :])))
    data = [entry for entry in data if not is_removed(done, entry.path) and entry.path != program]
    shipped = (program, *(entry.path for entry in data))
    uncovered(subject, shipped)
    plain(context, data)
    named = {step.name for step in (*start.steps, *check.steps)}

    def is_needed(package: str) -> bool:
        idle = package in _BUILD_PACKAGES or _COMPILER_PACKAGE.fullmatch(package) is not None
        return package in named or not idle or _BRINGS.get(package) in known.libraries

    again = repeated(subject, done, shipped, is_needed)
    known_user(subject.tail, again.users)
    if subject.final.base.repository == "gcc":
        same_owners(subject, done)
    kept = [name for name in sorted(again.packages) if is_needed(name)]
    image, first = _runtime(subject, known, kept)
    return Split(
        image,
        tuple(_copies(subject, done, program, data)),
        f"a build stage, and a runtime stage on {image.rpartition('/')[2]}",
        f"{posixpath.basename(program)} {'and what it may read are' if data else 'alone is'} shipped; compilers, tools "
        "and sources stay in the build stage",
        replayed=again.offsets,
        texts={
            offset: without_headers(text, subject.final.base.repository, subject.final.base.tag)
            for offset, text in trimmed(subject, again.offsets, is_needed).items()
        },
        first=first,
    )


class _Scripts:
    """Scripts of the context that a container starts."""

    def __init__(self, subject: Subject, entries: Sequence[Brought]) -> None:
        self.context = subject.context
        self.entries = entries

    def text(self, path: str) -> str | None:
        """The text of one; None where there is none."""
        origin = origin_of(self.entries, path)
        if origin is None or self.context is None:
            return None
        try:
            data = read_data(self.context / origin)[: 1 << 18]
        except OSError:
            return None
        if b"\0" in data or not (data.startswith(b"#!") or path.endswith(".sh")):
            return None
        return data.decode("utf-8", "replace")


def _program(
    subject: Subject, done: Sequence[Steps], later: Sequence[Brought], start: Start, known: c_build.Facts
) -> str:
    """The program that CMD starts, shown to be made by a RUN. Raises No."""
    entry = subject.entry()
    assert entry is not None
    shown = " ".join(entry.values)[:60]
    places: list[str] = []
    for step in start.steps:
        word = step.command.argv[0].text if step.command.argv else None
        if word is None:
            raise No(entry, f"`{shown}`: what it starts is not known")
        if "/" in word:
            places.append(posixpath.normpath(posixpath.join(step.folder, word)))
        elif c_build.is_build(step.command):
            raise No(entry, f"`{shown}` builds when it starts")
        else:
            places += (path for path in (f"{folder}/{word}" for folder in _PATH) if _made(done, path, known, later))
    made = [path for path in dict.fromkeys(places) if _made(done, path, known, later)]
    if len(made) != 1:
        raise No(entry, f"`{shown}` is not known to start one program that a RUN builds")
    last = _last(done)
    place = max(command.span.start for command, _ in last.builds if command.name != "strip")
    if is_removed(done, made[0], last.run.instruction.span.start, place):
        raise No(entry, f"{made[0]} is removed again")
    return made[0]


def _last(done: Sequence[Steps]) -> Steps:
    """The last RUN that builds."""
    return [item for item in done if item.builds][-1]


def _made(done: Sequence[Steps], path: str, known: c_build.Facts, later: Sequence[Brought]) -> bool:
    """Whether a RUN makes it: by a compiler's own word, or in the folder of a build whose files name it."""
    if any(entry.path == path for entry in later):
        return False
    for item in done:
        if any(move.makes(path, ()) and _made(done, move.source, known, later) for move in item.moves):
            return True
        for command, folder in item.builds:
            if command.operator == "||":
                continue
            if c_build.output(command, folder) == path:
                return True
            named = posixpath.basename(path) in known.names
            if (
                named
                and _installs(command)
                and posixpath.dirname(path) == "/usr/local/bin"
                and "sbin" not in known.names
            ):
                return known.installed == 1
            if command.name in c_build.TOOLS and named and relation(path, _root(folder)) is Relation.INSIDE:
                return _builds(command)
    return False


def _installs(command: Command) -> bool:
    """Whether it is `make install` to where that goes by default."""
    moved = any(re.match(r"(?:DESTDIR|PREFIX|prefix|bindir|--prefix)", text) for text in command.texts)
    return command.name in c_build.TOOLS and not moved and bool({"install", "--install"}.intersection(command.texts))


def _root(folder: str) -> str:
    """The project's folder, of which `build` and the like are parts."""
    return re.sub(r"/(?:build|cmake-build-\w+|_build|out|bin)(?:/.*)?$", "", folder) or "/"


def _builds(command: Command) -> bool:
    return command.name not in ("strip", "ar", "ranlib") and not {"clean", "distclean"}.issuperset(
        text for text in command.texts or ("all",) if not text.startswith("-")
    )


def _others(subject: Subject, start: Start, check: Start, program: str) -> None:
    """Refuse where a container starts what a smaller image may lack. Raises No."""
    if subject.final.base.repository != "gcc":
        return
    for step in (*start.steps, *check.steps):
        word = step.command.argv[0].text or "" if step.command.argv else ""
        own = posixpath.normpath(posixpath.join(step.folder, word)) == program or posixpath.basename(program) == word
        if not own and step.name not in ESSENTIAL and step.name not in BUILTINS:
            raise No(step.instruction, f"it starts {step.name or 'a program'}, which the smaller image may lack")


def _runtime(subject: Subject, known: c_build.Facts, kept: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The image, and lines right behind its FROM. Raises No where libraries are not known to be there."""
    repository = subject.final.base.repository
    if known.libraries and not kept:
        raise No(subject.origin, f"where the library {known.libraries[0]} comes from is not known")
    if repository == "gcc":
        if known.libraries or kept:
            raise No(subject.origin, "which of the gcc image's libraries the program needs is not known")
        if known.plus and not known.static:
            raise No(subject.origin, "C++ of the gcc image needs its own libstdc++: link with -static")
        if "$" in subject.written_base and not known.static:
            raise No(subject.origin, "the base must be written out: C libraries differ")
        named = next((text for text in sorted(known.strings) if _STRANGE_PATH.match(text)), None)
        if named is not None:
            raise No(subject.origin, f"the program names {named[:60]}, which may be a file of the gcc image")
        known_variables(subject, _BASE_NAMES, "gcc")
        return release(subject, "gcc").image(any_release=known.static), ()
    if repository == "alpine" and known.plus and not known.static:
        return subject.written_base, (f"{casing(subject)('RUN')} apk add --no-cache libstdc++",)
    return subject.written_base, ()


def _copies(subject: Subject, done: Sequence[Steps], program: str, data: Sequence[Brought]) -> list[str]:
    return [
        *data_lines(subject, done, data),
        copy_line(subject, program, chown=owner_of(done, program, since=_last(done).run.instruction.span.start)),
    ]
