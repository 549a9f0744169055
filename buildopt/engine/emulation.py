"""Running another architecture's programs: QEMU registered with the kernel's binfmt_misc."""

from __future__ import annotations

import os
import tarfile
from contextlib import suppress
from pathlib import Path

from buildopt import process
from buildopt.engine import packages
from buildopt.engine.folders import Folders

REGISTRY = Path("/proc/sys/fs/binfmt_misc")

# First bytes of an ELF program and which of them count; the other one is what each machine gets emulated.
_ELF = b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"
_MASK = b"\xff\xff\xff\xff\xff\xfe\xfe\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_MACHINES = {"aarch64": b"\xb7\x00", "x86_64": b"\x3e\x00"}


def foreign_machine() -> str | None:
    """The machine to emulate here: aarch64 on amd64 and the other way round."""
    return {"amd64": "aarch64", "arm64": "x86_64"}.get(packages.machine_architecture())


def entry_name(folders: Folders, machine: str) -> str:
    """The name of this engine's entry in the kernel's list."""
    return f"{folders.name}-{machine}"


def provided_by_system(machine: str) -> bool:
    """Whether somebody else has already set up emulation that works inside containers (flag F)."""
    return any(works_in_containers(path.read_text(), machine) for path in entries() if not _ours(path))


def works_in_containers(entry: str, machine: str) -> bool:
    """Whether an entry of the kernel's list, as the kernel shows it, runs ``machine``'s programs inside containers."""
    fields = dict(line.split(" ", 1) for line in entry.splitlines() if " " in line)
    magic = (_ELF + _MACHINES[machine][:1]).hex()  # some leave out the last byte, which is zero
    fixed = "F" in fields.get("flags:", "")
    return entry.startswith("enabled") and fixed and fields.get("magic", "").startswith(magic)


def _ours(path: Path) -> bool:
    return path.name.startswith("buildopt-")


def entries() -> list[Path]:
    """Every entry in the kernel's list."""
    if not (REGISTRY / "register").exists():
        return []
    return [path for path in REGISTRY.iterdir() if path.name not in ("register", "status")]


def mount() -> None:
    """Make the kernel's list reachable. Raises ToolError."""
    process.run(["mount", "-t", "binfmt_misc", "binfmt_misc", REGISTRY], hint="the kernel needs binfmt_misc")


def unmount() -> None:
    """Take the list away again, unless it has entries."""
    if (REGISTRY / "register").exists() and not entries():
        process.run(["umount", REGISTRY], check=False)


def register(folders: Folders, machine: str, interpreter: Path) -> None:
    """Have the kernel run ``machine``'s programs with ``interpreter``, inside containers too."""
    unregister(folders, machine)
    magic = "".join(f"\\x{byte:02x}" for byte in _ELF + _MACHINES[machine])
    mask = "".join(f"\\x{byte:02x}" for byte in _MASK)
    # O: by open file, C: with the program's credentials (setuid), F: open the interpreter now, not in the container.
    _tell_kernel(REGISTRY / "register", f":{entry_name(folders, machine)}:M::{magic}:{mask}:{interpreter}:OCF")


def unregister(folders: Folders, machine: str) -> None:
    """Remove this engine's entry, if it is there."""
    with suppress(FileNotFoundError):
        _tell_kernel(REGISTRY / entry_name(folders, machine), "-1")


def _tell_kernel(path: Path, text: str) -> None:
    """Write to a file of the kernel's, without asking to create it."""
    with open(os.open(path, os.O_WRONLY), "w") as file:
        file.write(text)


def interpreter(folders: Folders, machine: str, suite: str) -> Path:
    """A statically linked QEMU for ``machine``, downloaded when it is first asked for."""
    program = folders.prefix / "usr/bin" / f"qemu-{machine}"
    if not program.is_file():
        offered = packages.candidates(["qemu-user", "qemu-user-static"], suite=suite, cache=folders.cache)
        # Since QEMU 9.1 Debian links qemu-user itself statically; before, that was a package of its own.
        package = "qemu-user-static" if "qemu-user-static" in offered else "qemu-user"
        archive = packages.download([package], suite=suite, cache=folders.cache)[0]
        _unpack_one(archive, f"usr/bin/qemu-{machine}", program)
    return program


def _unpack_one(archive: Path, member: str, target: Path) -> None:
    """Unpack one program of a package that has dozens, or the first that it links to or ``-static`` of it."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, process.stream(["dpkg-deb", "--fsys-tarfile", archive], stdout=writing):
        os.close(writing)
        with tarfile.open(fileobj=pipe, mode="r|") as tar:
            for info in tar:
                if info.isfile() and info.name.removeprefix("./") in (member, f"{member}-static"):
                    content = tar.extractfile(info)
                    assert content is not None
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary = target.with_suffix(".new")
                    temporary.write_bytes(content.read())
                    temporary.chmod(0o755)
                    os.replace(temporary, target)
                    break
        pipe.close()
