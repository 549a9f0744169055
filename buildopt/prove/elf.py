"""What an ELF file says of itself: what it needs to start, and where it wants to be looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, slots=True)
class Elf:
    """``machine`` and ``bits`` tell which programs and libraries fit together.

    ``interpreter`` is the dynamic loader's path, empty for a library or a static program. ``rpath`` also holds for what
    a library in turn needs, ``runpath`` does not. ``broken``: it cannot be read.
    """

    machine: str
    bits: int
    interpreter: str = ""
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    broken: bool = False

    @property
    def dynamic(self) -> bool:
        """Whether it needs anything at all."""
        return bool(self.interpreter or self.needed)


def read_elf(stream: IO[bytes]) -> Elf:
    """Read an ELF file that can be sought in."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    try:
        file = ELFFile(stream)
        machine, bits = str(file["e_machine"]), int(file.elfclass)
        if file["e_type"] not in ("ET_EXEC", "ET_DYN"):
            return Elf(machine, bits)  # an object file, or kernel data
        interpreter, soname = "", ""
        needed: list[str] = []
        rpath: list[str] = []
        runpath: list[str] = []
        for segment in file.iter_segments():
            if isinstance(segment, InterpSegment):
                interpreter = str(segment.get_interp_name())
            elif isinstance(segment, DynamicSegment):
                for tag in segment.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(_text(tag, "needed"))
                    elif tag.entry.d_tag == "DT_SONAME":
                        soname = _text(tag, "soname")
                    elif tag.entry.d_tag == "DT_RPATH":
                        rpath += _text(tag, "rpath").split(":")
                    elif tag.entry.d_tag == "DT_RUNPATH":
                        runpath += _text(tag, "runpath").split(":")
        return Elf(machine, bits, interpreter, soname, tuple(needed), tuple(rpath), tuple(runpath))
    # A file that is cut off or means no harm but is none: pyelftools raises whatever its parser does.
    except (ELFError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, OverflowError):
        return Elf("", 0, broken=True)


def _text(tag: object, name: str) -> str:
    """What a tag says; pyelftools gives each kind of tag an attribute of its own."""
    return str(getattr(tag, name))
