"""Images with given files, and small ELF files, for tests that compare them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artifacts import MANIFEST, finish, put, put_json

from buildopt.prove.image import Image, Reader

PLAIN = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class Member:
    """An entry of a layer; ``hard`` and ``link`` are where a hard or symbolic link leads."""

    name: str
    data: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    time: int = 1_700_000_000
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def folder(name: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Member:
    return Member(name, mode=mode, owner=owner, kind=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=target, mode=0o777)


def hard_link(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, link=target)


def whiteout(name: str) -> Member:
    parent, _, last = name.rpartition("/")
    return Member(f"{parent}/.wh.{last}" if parent else f".wh.{last}", mode=0)


def opaque(name: str) -> Member:
    return Member(f"{name}/.wh..wh..opq", mode=0)


def layer(*members: Member, packed: bool = True) -> bytes:
    """A layer's bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size = len(member.data)
            info.mode, info.mtime, info.type, info.linkname = member.mode, member.time, member.kind, member.link
            info.uid, info.gid = member.owner
            info.pax_headers = {
                f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
                for name, value in member.xattrs.items()
            }
            tar.addfile(info, io.BytesIO(member.data))
    return gzip.compress(out.getvalue(), mtime=0) if packed else out.getvalue()


def image(path: Path, *layers: bytes, settings: Mapping[str, object] | None = None, base: int = 0) -> Image:
    """An image in a layout folder, read. The first ``base`` layers count as its base image's."""
    config = {"os": "linux", "architecture": "amd64", "config": dict(settings or {})}
    blobs = [put(path, data, PLAIN + ("+gzip" if data[:2] == b"\x1f\x8b" else "")) for data in layers]
    manifest = put_json(path, {"config": put(path, json.dumps(config).encode(), CONFIG), "layers": blobs}, MANIFEST)
    finish(path, [{**manifest, "platform": {"os": "linux", "architecture": "amd64"}}])
    found = Reader().images(path)["linux/amd64"]
    if base:
        below = image(path.with_name(f"{path.name}-base"), *layers[:base], settings={})
        found = found.on(below)
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def elf(
    needed: Sequence[str] = (),
    *,
    interpreter: str = "",
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    machine: int = 62,
) -> bytes:
    """A 64-bit ELF file with nothing but what a dynamic loader reads; ``machine`` 62 is x86-64, 183 is AArch64."""
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    for tag, text in ((14, soname), (15, rpath), (29, runpath), *((1, name) for name in needed)):
        if text:
            tags.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    start = 64 + 3 * 56
    program = interpreter.encode() + b"\0"
    at_strings = start + len(program)
    at_tags = (at_strings + len(strings) + 7) // 8 * 8
    # The string table, its size, and the end.
    tags += [(5, at_strings), (10, len(strings)), (0, 0)]
    table = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    end = at_tags + len(table)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0
    )  # fmt: skip
    segments = [(1, 0, end), (2, at_tags, len(table))]
    segments.append((3, start, len(program)) if interpreter else (0, 0, 0))
    headers = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, offset, offset, offset, size, size, 8) for kind, offset, size in segments
    )
    body = program + strings
    return header + headers + body + b"\0" * (at_tags - start - len(body)) + table
