"""The layers of the base images, each made for all architectures at once."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.sandbox import debian, images, languages, trees
from buildopt.sandbox.certificates import system_bundle
from buildopt.sandbox.debian import Archive
from buildopt.sandbox.images import Blob

MINIMAL = ("?essential", "apt", "usr-is-merged", "tzdata")
RUNTIME = ("ca-certificates", "netbase", "tzdata", "media-types", "libbz2-1.0", "libcrypt1", "libdb5.3", "libexpat1",
           "libffi8", "liblzma5", "libncursesw6", "libnsl2", "libreadline8", "libsqlite3-0", "libssl3", "libtirpc3",
           "libuuid1", "zlib1g")  # fmt: skip
TOOLCHAIN = ("ca-certificates", "curl", "g++", "gcc", "git", "libc6-dev", "make", "netbase", "pkg-config")
APT_CLEAN = "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"
CONFIGURATION: Mapping[str, str] = {
    "etc/apt/apt.conf.d/docker-clean": f'DPkg::Post-Invoke {{ "{APT_CLEAN}"; }};\n'
    f'APT::Update::Post-Invoke {{ "{APT_CLEAN}"; }};\n\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n',
    "etc/apt/apt.conf.d/docker-autoremove-suggests": 'Apt::AutoRemove::SuggestsImportant "false";\n',
    "etc/apt/apt.conf.d/docker-gzip-indexes": 'Acquire::GzipIndexes "true";\n',
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "etc/dpkg/dpkg.cfg.d/docker": "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n"
    + "".join(f"path-exclude /{folder}*\n" for folder in trees.EXCLUDED),
    "usr/sbin/policy-rc.d": "#!/bin/sh\n\nexit 101\n",
}


@dataclass(frozen=True, slots=True)
class Tree:
    """A layer before it is written: a folder and the names of its files that count."""

    root: Path
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where layers are made: ``layers`` keeps those that are done, ``work`` goes away at the end."""

    layers: Path
    work: Path
    native: str
    architectures: tuple[str, ...]
    authorities: str
    archives: dict[str, Archive] = field(default_factory=dict)
    resolved: dict[str, list[Path]] = field(default_factory=dict)

    def archive(self, architecture: str) -> Archive:
        """The apt of an architecture, its lists fetched once."""
        if architecture not in self.archives:
            archive = Archive(self.layers.parent.parent / "apt" / architecture, architecture)
            archive.update()
            self.archives[architecture] = archive
        return self.archives[architecture]

    def minimal(self, architecture: str) -> list[Path]:
        """The packages of the minimal system, downloaded once."""
        if architecture not in self.resolved:
            self.resolved[architecture] = self.archive(architecture).closure(MINIMAL)
        return self.resolved[architecture]

    def finished(self, name: str, architecture: str) -> Blob | None:
        """A layer that was made before."""
        try:
            record = json.loads((self.layers / f"{name}-{architecture}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Blob(self.layers / f"{name}-{architecture}.tar", record["digest"], record["size"])

    def keep(self, name: str, architecture: str, tree: Tree) -> None:
        """Write a layer; its record comes last and says that it is whole."""
        target = self.layers / f"{name}-{architecture}.tar"
        blob = images.write_layer(tree.root, tree.names, self.work / target.name)
        os.replace(blob.file, target)
        temporary = self.work / f"{target.name}.json"
        temporary.write_text(json.dumps({"digest": blob.digest, "size": blob.size}), encoding="utf-8")
        os.replace(temporary, self.layers / f"{name}-{architecture}.json")

    def folder(self, name: str, architecture: str) -> Path:
        """A new folder to make a layer in."""
        made = self.work / f"{name}-{architecture}"
        made.mkdir()
        return made

    def base(self, architecture: str, root: Path) -> None:
        """Unpack the Debian layer into a folder."""
        trees.extract_tar((self.layers / f"debian-{architecture}.tar").read_bytes(), root)

    def base_text(self, architecture: str, name: str) -> str:
        """The text of one file of the Debian layer."""
        with tarfile.open(self.layers / f"debian-{architecture}.tar") as tar:
            reader = tar.extractfile(name)
            assert reader is not None  # it is a plain file
            return reader.read().decode()


def machine_authorities() -> str:
    """Certificates that the machine trusts and Debian's packages do not, as PEM: those of /usr/local/share.

    An administrator's own authorities are put there; only where the machine's bundle has them too do they count.
    """
    trusted = set(certificates_of(system_bundle().decode("utf-8", "replace")))
    folder = Path("/usr/local/share/ca-certificates")
    found: dict[str, None] = {}
    for file in sorted(folder.rglob("*.crt")) if folder.is_dir() else ():
        for block in certificates_of(file.read_text(encoding="utf-8", errors="replace")):
            if block in trusted:
                found[block] = None
    return "".join(f"{block}\n" for block in found)


def certificates_of(text: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)


def _debian(workshop: Workshop) -> None:
    """The minimal system: dpkg installs the native one; the other is unpacked and given the rest."""
    native_root = workshop.folder("debian", workshop.native)
    trees.skeleton(native_root, workshop.native)
    archives = workshop.minimal(workshop.native)
    trees.unpack(archives, native_root)
    _configure(workshop, native_root)
    trees.install(archives, native_root)
    names = trees.all_of(native_root)
    for architecture in workshop.architectures:
        if architecture == workshop.native:
            workshop.keep("debian", architecture, Tree(native_root, names))
            continue
        root = workshop.folder("debian", architecture)
        trees.skeleton(root, architecture)
        trees.unpack_installed(workshop.minimal(architecture), root, architecture)
        _configure(workshop, root)
        trees.transplant(native_root, names, root, workshop.native, architecture)
        workshop.keep("debian", architecture, _all_of(root))


def _configure(workshop: Workshop, root: Path) -> None:
    """apt's and dpkg's configuration of the official images; the machine's archive and authorities."""
    files = {**CONFIGURATION, "etc/apt/sources.list.d/debian.sources": debian.sources()}
    for number, block in enumerate(certificates_of(workshop.authorities), 1):
        files[f"usr/local/share/ca-certificates/machine-{number}.crt"] = f"{block}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)


def _with_packages(layer: str, wanted: Sequence[str]) -> Callable[[Workshop], None]:
    """A layer of packages over Debian's, made like it."""

    def make(workshop: Workshop) -> None:
        native_root = workshop.folder(layer, workshop.native)
        workshop.base(workshop.native, native_root)
        before = trees.marks(native_root)
        trees.install(_added(workshop, workshop.native, wanted), native_root)
        names = trees.changed(native_root, before)
        for architecture in workshop.architectures:
            if architecture == workshop.native:
                workshop.keep(layer, architecture, Tree(native_root, names))
                continue
            root = workshop.folder(layer, architecture)
            trees.skeleton(root, architecture)
            links = {name for name, _ in trees.walk(root)}
            status = workshop.base_text(architecture, f"{trees.DATABASE}/status")
            trees.unpack_installed(_added(workshop, architecture, wanted), root, architecture, status)
            trees.transplant(native_root, names, root, workshop.native, architecture)
            tree = _all_of(root)
            workshop.keep(layer, architecture, Tree(root, [name for name in tree.names if name not in links]))

    return make


def _added(workshop: Workshop, architecture: str, wanted: Sequence[str]) -> list[Path]:
    """The packages that are wanted on top of the minimal system, with what they need."""
    base = set(workshop.minimal(architecture))
    return [file for file in workshop.archive(architecture).closure([*MINIMAL, *wanted]) if file not in base]


def _python(workshop: Workshop) -> None:
    for architecture in workshop.architectures:
        root = workshop.folder("python", architecture)
        languages.add_python(workshop.archive(architecture), root, workshop.work)
        if workshop.authorities:
            (root / "etc").mkdir()
            text = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
            (root / "etc/pip.conf").write_text(text, encoding="utf-8")
        workshop.keep("python", architecture, _all_of(root))


def _node(workshop: Workshop) -> None:
    for architecture in workshop.architectures:
        root = workshop.folder("node", architecture)
        accounts = {name: workshop.base_text(architecture, f"etc/{name}") for name in ("passwd", "group", "shadow")}
        languages.add_node(architecture, root, workshop.work, accounts, workshop.authorities)
        workshop.keep("node", architecture, _all_of(root))


def _go(workshop: Workshop) -> None:
    for architecture in workshop.architectures:
        root = workshop.folder("go", architecture)
        languages.add_go(workshop.archive(architecture), root, workshop.work)
        workshop.keep("go", architecture, _all_of(root))


def _all_of(root: Path) -> Tree:
    return Tree(root, trees.all_of(root))


MAKERS: Mapping[str, Callable[[Workshop], None]] = {
    "debian": _debian,
    "runtime": _with_packages("runtime", RUNTIME),
    "toolchain": _with_packages("toolchain", TOOLCHAIN),
    "python": _python,
    "node": _node,
    "go": _go,
}
