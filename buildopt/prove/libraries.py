"""Whether the programs of an image find what they need to start: loader, libraries, interpreter of a script."""

from __future__ import annotations

import posixpath
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from buildopt.prove.contents import texts
from buildopt.prove.elf import Elf
from buildopt.prove.flatten import Tree, resolve
from buildopt.prove.image import Image
from buildopt.prove.proof import MissingLibrary

_CACHE = "etc/ld.so.cache"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sII5I")
_ENTRY = struct.Struct("<iIIIQ")
# Debian's names of architectures in paths, by what ELF files call the machine, and the number of bits.
_TRIPLETS = {
    ("EM_X86_64", 64): "x86_64-linux-gnu", ("EM_AARCH64", 64): "aarch64-linux-gnu", ("EM_386", 32): "i386-linux-gnu",
    ("EM_ARM", 32): "arm-linux-gnueabihf", ("EM_PPC64", 64): "powerpc64le-linux-gnu",
    ("EM_S390", 64): "s390x-linux-gnu", ("EM_RISCV", 64): "riscv64-linux-gnu",
    ("EM_MIPS", 64): "mips64el-linux-gnuabi64",
}  # fmt: skip
_MUSL_FOLDERS = ("/lib", "/usr/local/lib", "/usr/lib")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Linker:
    """Looks for libraries in an image as its dynamic loader would."""

    def __init__(self, image: Image) -> None:
        self.tree: Tree = image.tree
        paths = [path for path in image.tree if path.startswith("etc/ld-musl-") and path.endswith(".path")]
        read = texts(image, image.tree, [_CACHE, *paths])
        # glibc's loader reads no ld.so.conf: what ldconfig made of it counts.
        self.cache = _cached(read.get(_CACHE, b""))
        self.musl_paths = {path: read[path].decode("utf-8", "replace") for path in paths if path in read}
        environment = image.settings.get("Env")
        pairs = [str(item).partition("=") for item in environment] if isinstance(environment, list) else []
        self.environment = {name: value for name, _, value in pairs}
        self.musl = any(posixpath.basename(path).startswith("ld-musl-") for path in image.tree)

    def missing(self, path: str) -> Iterator[tuple[str, str]]:
        """What an ELF file needs and does not find: name, and who needs it where that is another file."""
        entry = self.tree.get(path)
        elf = None if entry is None else entry.elf
        if elf is None or elf.broken or not elf.dynamic:
            return
        if elf.interpreter and resolve(self.tree, elf.interpreter) is None:
            yield elf.interpreter, ""
        loaded: set[str] = {elf.soname}
        todo = deque([_Loaded(path, elf, ())])
        while todo:
            current = todo.popleft()
            for name in current.elf.needed:
                if name in loaded:
                    continue
                loaded.add(name)
                found = self._find(name, current, elf)
                if found is None:
                    yield name, "" if current.path == path else current.path
                    continue
                library = self.tree[found].elf
                assert library is not None
                loaded.add(library.soname)
                todo.append(_Loaded(found, library, (*current.chain, current)))

    def _find(self, name: str, current: _Loaded, program: Elf) -> str | None:
        if "/" in name:
            return self._fitting(name, program)
        for folder in self._folders(current, program):
            found = self._fitting(posixpath.join(folder, name), program)
            if found is not None:
                return found
        if self._is_musl(program):
            return None
        for path in self.cache.get(name, ()):
            found = self._fitting(path, program)
            if found is not None:
                return found
        return next(filter(None, (self._fitting(f"{folder}/{name}", program) for folder in _defaults(program))), None)

    def _folders(self, current: _Loaded, program: Elf) -> Iterator[str]:
        musl = self._is_musl(program)
        users = (current, *reversed(current.chain))
        if musl or not current.elf.runpath:
            for user in users:
                if musl or not user.elf.runpath:
                    yield from user.expanded(user.elf.rpath, program)
                if musl:
                    yield from user.expanded(user.elf.runpath, program)
        yield from filter(None, self.environment.get("LD_LIBRARY_PATH", "").split(":"))
        if not musl:
            yield from current.expanded(current.elf.runpath, program)
            return
        own = [text for path, text in self.musl_paths.items()]
        yield from (part for text in own for line in text.split("\n") for part in line.split(":") if part)
        if not own:
            yield from _MUSL_FOLDERS

    def _is_musl(self, program: Elf) -> bool:
        return "ld-musl-" in program.interpreter if program.interpreter else self.musl

    def _fitting(self, path: str, program: Elf) -> str | None:
        """The file that a path leads to, where it is a library for the same machine."""
        found = resolve(self.tree, path)
        entry = self.tree.get(found) if found is not None else None
        elf = None if entry is None else entry.elf
        fits = elf is not None and (elf.machine, elf.bits) == (program.machine, program.bits)
        return found if fits else None

    def program(self, name: str) -> str | None:
        """Where a command is that a shell or the container's start looks for."""
        if "/" in name:
            return resolve(self.tree, name)
        for folder in self.environment.get("PATH", _DEFAULT_PATH).split(":"):
            found = resolve(self.tree, posixpath.join(folder, name))
            if found is not None and self.tree[found].kind == "file":
                return found
        return None

    def elsewhere(self, name: str) -> str | None:
        """Some place where a library of that name lies, though the loader does not look there."""
        found = (path for path in self.tree if posixpath.basename(path) == name)
        return next((path for path in found if resolve(self.tree, path) is not None), None)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file that was loaded, and those that led to it, the program first."""

    path: str
    elf: Elf
    chain: tuple[_Loaded, ...]

    def expanded(self, folders: Iterable[str], program: Elf) -> Iterator[str]:
        origin = f"/{posixpath.dirname(self.path)}"
        library = "lib64" if program.bits == 64 else "lib"
        for folder in filter(None, folders):
            for name, value in (("ORIGIN", origin), ("LIB", library)):
                folder = folder.replace(f"${{{name}}}", value).replace(f"${name}", value)
            yield folder


def missing_in(before: Image, after: Image, paths: Iterable[str]) -> tuple[int, list[MissingLibrary]]:
    """How many ELF files of the new image were looked at, and what they, its scripts, links and command do not find.

    What is not found in the old image either is no loss.
    """
    old, new = Linker(before), Linker(after)
    count = 0
    found = []
    for path in sorted(paths):
        entry = after.tree[path]
        if entry.kind == "link" and resolve(after.tree, path) is None and resolve(before.tree, path) is not None:
            found.append(MissingLibrary(f"/{path}", entry.target, "a symbolic link that leads there"))
        elif entry.elf is not None:
            count += 1
            known = {name for name, _ in old.missing(path)} if path in before.tree else set()
            for name, user in new.missing(path):
                if name not in known:
                    found.append(MissingLibrary(f"/{path}", name, _where(new, name, user)))
        elif entry.script and entry.mode & 0o111:
            for name in _interpreters(entry.script):
                if _lost(old, new, name):
                    found.append(MissingLibrary(f"/{path}", name, "its first line names it"))
    return count, [*found, *_command(after, old, new)]


def _interpreters(line: str) -> Iterator[str]:
    """The programs that a script's first line starts: the first word, and what ``env`` looks for."""
    first, *words = line.split() or [""]
    yield first
    if posixpath.basename(first) == "env":
        yield from [word for word in words if not word.startswith("-") and "=" not in word][:1]


def _lost(old: Linker, new: Linker, program: str) -> bool:
    return new.program(program) is None and old.program(program) is not None


def _where(linker: Linker, name: str, user: str) -> str:
    parts = [f"/{user} needs it"] if user else []
    place = linker.elsewhere(name)
    if place is not None:
        parts.append(f"it is at /{place}, where the loader does not look; does the last stage run ldconfig?")
    return "; ".join(parts)


def _command(after: Image, old: Linker, new: Linker) -> Iterator[MissingLibrary]:
    """The program that a container starts."""
    for key, name in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
        words = after.settings.get(key)
        if isinstance(words, list) and words:
            if _lost(old, new, str(words[0])):
                yield MissingLibrary(name, str(words[0]), "the program that a container starts")
            return


def _defaults(program: Elf) -> tuple[str, ...]:
    triplet = _TRIPLETS.get((program.machine, program.bits))
    own = (f"/lib/{triplet}", f"/usr/lib/{triplet}") if triplet else ()
    wide = ("/lib64", "/usr/lib64") if program.bits == 64 else ("/lib32", "/usr/lib32")
    return (*own, *wide, "/lib", "/usr/lib")


def _cached(data: bytes) -> Mapping[str, tuple[str, ...]]:
    """The libraries that an ld.so.cache names, with their places; nothing where it is of an unknown kind."""
    start = data.find(_CACHE_MAGIC)
    if start < 0 or len(data) < start + _HEADER.size:
        return {}
    count = _HEADER.unpack_from(data, start)[1]
    found: dict[str, list[str]] = {}
    for number in range(min(count, len(data) // _ENTRY.size)):
        offset = start + _HEADER.size + number * _ENTRY.size
        if offset + _ENTRY.size > len(data):
            break
        _, key, value, _, _ = _ENTRY.unpack_from(data, offset)
        # An old cache may stand in front of it; then places count from where the new one begins.
        name, path = _string(data, start + key), _string(data, start + value)
        found.setdefault(name, []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "surrogateescape")
