"""File systems made of Debian packages: the machine's own architecture by dpkg in a chroot, another one without it.

Maintainer scripts of another architecture would run under emulation for minutes. Its tree is unpacked instead and
given what those scripts made in the machine's own tree: accounts, alternatives, certificates, configuration.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError

# Debian's architecture, the GNU triplet's folder, and another word that marks a file as of this architecture.
TRIPLETS = {"amd64": ("x86_64-linux-gnu", "x86-64"), "arm64": ("aarch64-linux-gnu", "aarch64")}
DATABASE = "var/lib/dpkg"
# What debian:bookworm-slim leaves out (with copyright files as the exception).
EXCLUDED = ("usr/share/man/", "usr/share/info/", "usr/share/groff/", "usr/share/linda/", "usr/share/lintian/overrides/",
            "usr/share/locale/")  # fmt: skip
# What packages and scripts leave behind and no image has.
LEFT_OVER = ("packages/", "dev/", "proc/", "run/", "sys/", "tmp/", "var/cache/apt/", "var/lib/apt/lists/", "var/log/",
             "var/cache/ldconfig/", "var/cache/debconf/", "etc/machine-id", "etc/hostname", "etc/resolv.conf",
             f"{DATABASE}/status-old", f"{DATABASE}/lock")  # fmt: skip
INSIDE = """set -e
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/dev"
for node in null zero full random urandom tty; do touch "$0/dev/$node"; mount --bind "/dev/$node" "$0/dev/$node"; done
exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
DEBCONF_NONINTERACTIVE_SEEN=true sh -c "$1"
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells whether a file was changed."""

    inode: int
    changed_ns: int
    size: int


def skeleton(root: Path, architecture: str) -> None:
    """An empty tree with /bin, /lib and /sbin merged into /usr, as Debian has them since bookworm."""
    names = ["bin", "lib", "sbin", *(["lib64"] if architecture == "amd64" else [])]
    for name in names:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")


def unpack(archives: Sequence[Path], root: Path) -> None:
    """Unpack packages without running any script; owners are the packages' own numbers."""
    with ThreadPoolExecutor(2) as pool:
        # Unpacking is mostly decompression; the files are written one package at a time.
        for content in pool.map(_content, archives):
            extract_tar(content, root)


def extract_tar(content: bytes, root: Path) -> None:
    """Unpack a tar, following links to folders that are there."""
    argv = ["tar", "--extract", "--directory", str(root), "--numeric-owner", "--preserve-permissions"]
    process.run([*argv, "--keep-directory-symlink", "--file", "-"], data=content)


def install(archives: Sequence[Path], root: Path) -> None:
    """Install packages of the machine's own architecture with dpkg, in a chroot; needs root."""
    folder = root / "packages"
    folder.mkdir()
    for archive in archives:
        _link(archive, folder / archive.name)
    # All packages come in one go, so dependencies hold only at its end.
    run_inside(root, "exec dpkg --force-depends --force-unsafe-io --install /packages/*.deb")
    shutil.rmtree(folder)


def run_inside(root: Path, script: str) -> process.Completed:
    """Run a shell script in a tree of the machine's own architecture, in namespaces that end with it."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", INSIDE, str(root), script]
    return process.run(words, hint="making base images needs root and the right to mount")


def marks(root: Path) -> dict[str, Mark]:
    """What every file of a tree looks like now."""
    return {name: Mark(state.st_ino, state.st_ctime_ns, state.st_size) for name, state in walk(root)}


def changed(root: Path, before: Mapping[str, Mark]) -> list[str]:
    """The files (and folders made since) that differ from ``before`` and belong into an image."""
    found = []
    for name, state in walk(root):
        old = before.get(name)
        same = old == Mark(state.st_ino, state.st_ctime_ns, state.st_size)
        if not same and not (old is not None and stat.S_ISDIR(state.st_mode)):
            found.append((name, stat.S_ISDIR(state.st_mode)))
    return [name for name, folder in found if wanted(name, folder=folder)]


def all_of(root: Path) -> list[str]:
    """Every file and folder of a tree that belongs into an image."""
    return [name for name, state in walk(root) if wanted(name, folder=stat.S_ISDIR(state.st_mode))]


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below ``root`` (relative names, sorted within a folder, links not followed) with its state."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            yield name, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)


def wanted(name: str, *, folder: bool = False) -> bool:
    """Whether a file (or a ``folder``) belongs into a slim image."""
    if name.startswith("usr/share/doc/"):
        return name.endswith("/copyright") or name.count("/") <= 3
    if name.endswith((".pyc", "/__pycache__")):
        return False
    if folder and name.startswith("var/"):
        return True
    return not name.startswith((*EXCLUDED, *LEFT_OVER))


def transplant(native: Path, names: Sequence[str], root: Path, native_architecture: str, architecture: str) -> None:
    """Give an unpacked tree what maintainer scripts made in the native one: those of ``names`` that it misses.

    Programs, libraries and whatever lies in the native architecture's folders stay behind; so does the loader's cache.
    """
    for name in names:
        source, target = native / name, root / name
        foreign = any(word in name for word in TRIPLETS[native_architecture])
        if foreign or name.startswith(f"{DATABASE}/info/") or name == "etc/ld.so.cache":
            continue
        state = source.lstat()
        if stat.S_ISLNK(state.st_mode) and target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
            target.rmdir()  # /var/run and /var/lock come as folders, which a script turns into links
        if os.path.lexists(target):
            continue
        _parents(native, root, name)
        if stat.S_ISDIR(state.st_mode):
            target.mkdir()
        elif stat.S_ISLNK(state.st_mode):
            link = os.readlink(source)
            if any(word in link for word in TRIPLETS[native_architecture]):
                continue
            os.symlink(link, target)
        elif stat.S_ISREG(state.st_mode):
            data = source.read_bytes()
            if data.startswith(b"\x7fELF"):
                continue
            if name.startswith(f"{DATABASE}/"):
                data = data.replace(native_architecture.encode(), architecture.encode())
            target.write_bytes(data)
        else:
            continue
        os.chown(target, state.st_uid, state.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(state.st_mode):
            target.chmod(stat.S_IMODE(state.st_mode))
            os.utime(target, ns=(state.st_mtime_ns, state.st_mtime_ns))


def _parents(native: Path, root: Path, name: str) -> None:
    """Make the folders above a file like those of the native tree."""
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = root / "/".join(parts[:count])
        if not os.path.lexists(folder):
            state = (native / "/".join(parts[:count])).lstat()
            folder.mkdir()
            os.chown(folder, state.st_uid, state.st_gid)
            folder.chmod(stat.S_IMODE(state.st_mode))


def unpack_installed(archives: Sequence[Path], root: Path, architecture: str, base_status: str = "") -> None:
    """Unpack packages and write dpkg's own records of them as if it had installed them.

    They come after those of ``base_status``, the text of another tree's status file.
    """
    info = root / DATABASE / "info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "format").write_text("1\n", encoding="utf-8")
    stanzas = []
    with ThreadPoolExecutor(2) as pool:
        for archive, content in zip(archives, pool.map(_content, archives), strict=True):
            extract_tar(content, root)
            stanzas.append(_record(archive, content, info, architecture))
    status = root / DATABASE / "status"
    status.write_text(base_status + "".join(f"{stanza}\n\n" for stanza in stanzas), encoding="utf-8")


def _record(archive: Path, content: bytes, info: Path, architecture: str) -> str:
    """Write a package's files of dpkg's ``info`` folder and return its stanza of ``status``."""
    control = _control(archive)
    lines = control.pop("control").decode().rstrip("\n").split("\n")
    fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(" "))
    several = fields.get("Multi-Arch") == "same"
    name = f"{fields['Package']}:{architecture}" if several else fields["Package"]
    conffiles = control.get("conffiles", b"").decode().split("\n")
    sums: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        paths = []
        for member in tar:
            path = "/." if member.name in (".", "./") else "/" + member.name.removeprefix("./").rstrip("/")
            paths.append(path)
            reader = tar.extractfile(member) if path in conffiles and member.isfile() else None
            if reader is not None:
                sums.append(f" {path} {hashlib.md5(reader.read(), usedforsecurity=False).hexdigest()}")
    (info / f"{name}.list").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    for part, data in control.items():
        file = info / f"{name}.{part}"
        file.write_bytes(data)
        file.chmod(0o755 if part in ("preinst", "postinst", "prerm", "postrm", "config") else 0o644)
    entry = [lines[0], "Status: install ok installed", *lines[1:]]
    return "\n".join([*entry, *(["Conffiles:", *sums] if sums else [])])


def _control(archive: Path) -> dict[str, bytes]:
    """The files of a package's control part."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(process.run(["dpkg-deb", "--ctrl-tarfile", archive]).stdout)) as tar:
        for member in tar:
            reader = tar.extractfile(member) if member.isfile() else None
            if reader is not None:
                found[member.name.removeprefix("./")] = reader.read()
    return found


def _content(archive: Path) -> bytes:
    return process.run(["dpkg-deb", "--fsys-tarfile", archive]).stdout


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def native_architecture() -> str:
    """Debian's name of the machine's architecture. Raises ToolError where no images are made on such a one."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
    if architecture is None:
        raise ToolError(f"base images cannot be made on {os.uname().machine}", hint="use an amd64 or an arm64 machine")
    return architecture
