"""The layers of the base images, each made for all architectures at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.errors import ToolError
from buildopt.sandbox import debian, images, java, languages, trees
from buildopt.sandbox.certificates import system_bundle
from buildopt.sandbox.debian import Archive
from buildopt.sandbox.images import Blob

MINIMAL = ("?essential", "apt", "usr-is-merged", "tzdata")
RUNTIME = ("ca-certificates", "netbase", "tzdata", "media-types", "libbz2-1.0", "libcrypt1", "libdb5.3", "libexpat1",
           "libffi8", "liblzma5", "libncursesw6", "libnsl2", "libreadline8", "libsqlite3-0", "libssl3", "libtirpc3",
           "libuuid1", "zlib1g")  # fmt: skip
TOOLCHAIN = ("ca-certificates", "curl", "g++", "gcc", "git", "libc6-dev", "make", "netbase", "pkg-config")
# What buildpack-deps has and rewriting may meet: the headers that extensions of Python and Node.js are compiled with.
BUILDPACK = (*RUNTIME, *TOOLCHAIN, "autoconf", "automake", "bzip2", "dpkg-dev", "file", "libbz2-dev",
             "libcurl4-openssl-dev", "libffi-dev", "libjpeg-dev", "liblzma-dev", "libncurses-dev", "libpq-dev",
             "libreadline-dev", "libsqlite3-dev", "libssl-dev", "libtool", "libxml2-dev", "libxslt1-dev",
             "libyaml-dev", "patch", "procps", "python3", "unzip", "wget", "xz-utils", "zlib1g-dev")  # fmt: skip
COMPILER = ("ca-certificates", "gcc", "libc6-dev", "wget")
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
class Layer:
    """How a layer is made, and all that its content depends on but for the layer ``debian``.

    ``below`` are the layers that it lies on. Of a layer of packages the first ingredient is their names.
    """

    make: Callable[[Workshop], None]
    ingredients: tuple[Sequence[str] | str, ...]
    below: tuple[str, ...] = ()


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
    resolved: dict[tuple[str, ...], list[Path]] = field(default_factory=dict)

    def archive(self, architecture: str) -> Archive:
        """The apt of an architecture, its lists fetched once."""
        if architecture not in self.archives:
            archive = Archive(self.layers.parent.parent / "apt" / architecture, architecture)
            archive.update()
            self.archives[architecture] = archive
        return self.archives[architecture]

    def closure(self, architecture: str, names: Sequence[str] = MINIMAL) -> list[Path]:
        """Packages and all that they need, downloaded once."""
        key = (architecture, *sorted(set(names)))
        if key not in self.resolved:
            self.resolved[key] = self.archive(architecture).closure(names)
        return self.resolved[key]

    def finished(self, name: str, architecture: str) -> Blob | None:
        """A layer that was made before."""
        stem = f"{name}-{fingerprint(name)}-{architecture}"
        try:
            record = json.loads((self.layers / f"{stem}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Blob(self.layers / f"{stem}.tar", record["digest"], record["size"])

    def keep(self, name: str, architecture: str, tree: Tree) -> None:
        """Write a layer; its record comes last and says that it is whole."""
        stem = f"{name}-{fingerprint(name)}-{architecture}"
        target = self.layers / f"{stem}.tar"
        blob = images.write_layer(tree.root, tree.names, self.work / target.name)
        os.replace(blob.file, target)
        temporary = self.work / f"{target.name}.json"
        temporary.write_text(json.dumps({"digest": blob.digest, "size": blob.size}), encoding="utf-8")
        os.replace(temporary, self.layers / f"{stem}.json")

    def folder(self, name: str, architecture: str) -> Path:
        """A new folder to make a layer in."""
        made = self.work / f"{name}-{architecture}"
        if made.exists():  # the same layer was made for fewer architectures before
            shutil.rmtree(made)
        made.mkdir()
        return made

    def unpack(self, names: Sequence[str], architecture: str, root: Path) -> None:
        """Unpack finished layers into a folder, one over the other."""
        for name in names:
            trees.extract_tar(self._file(name, architecture).read_bytes(), root)

    def text(self, names: Sequence[str], architecture: str, file: str) -> str:
        """The text of one file as the last of these layers that has it has it."""
        for name in reversed(names):
            with tarfile.open(self._file(name, architecture)) as tar:
                try:
                    reader = tar.extractfile(file)
                except KeyError:
                    continue
                assert reader is not None  # it is a plain file
                return reader.read().decode()
        raise ToolError(f"no layer of {', '.join(names)} has {file}", hint="report this: a recipe must be changed")

    def _file(self, name: str, architecture: str) -> Path:
        blob = self.finished(name, architecture)
        assert blob is not None, name  # layers are made from the bottom
        return blob.file


def fingerprint(name: str) -> str:
    """What a layer is made of and stands on, short."""
    layer = LAYERS[name]
    parts = [repr(layer.ingredients), *(fingerprint(below) for below in layer.below)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


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
    archives = workshop.closure(workshop.native)
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
        trees.unpack_installed(workshop.closure(architecture), root, architecture)
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


def _packages(layer: str, below: Sequence[str], wanted: Sequence[str], script: str = "") -> Layer:
    """A layer of packages over others of that kind, made like Debian's; ``script`` runs once they are installed."""
    under = ("debian", *below)

    def make(workshop: Workshop) -> None:
        native_root = workshop.folder(layer, workshop.native)
        workshop.unpack(under, workshop.native, native_root)
        before = trees.marks(native_root)
        trees.install(_added(workshop, workshop.native, below, wanted), native_root)
        if script:
            trees.run_inside(native_root, script)
        names = trees.changed(native_root, before)
        for architecture in workshop.architectures:
            if architecture == workshop.native:
                workshop.keep(layer, architecture, Tree(native_root, names))
                continue
            root = workshop.folder(layer, architecture)
            trees.skeleton(root, architecture)
            links = {name for name, _ in trees.walk(root)}
            status = workshop.text(under, architecture, f"{trees.DATABASE}/status")
            trees.unpack_installed(_added(workshop, architecture, below, wanted), root, architecture, status)
            trees.transplant(native_root, names, root, workshop.native, architecture)
            tree = _all_of(root)
            workshop.keep(layer, architecture, Tree(root, [name for name in tree.names if name not in links]))

    return Layer(make, (wanted, script), tuple(below))


def _added(workshop: Workshop, architecture: str, below: Sequence[str], wanted: Sequence[str]) -> list[Path]:
    """The packages that are wanted on top of the layers below, with what they need."""
    present: list[str] = [*MINIMAL]
    for layer in below:
        present += LAYERS[layer].ingredients[0]
    base = set(workshop.closure(architecture, present))
    return [file for file in workshop.closure(architecture, [*present, *wanted]) if file not in base]


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
        accounts = {
            name: workshop.text(("debian",), architecture, f"etc/{name}") for name in ("passwd", "group", "shadow")
        }
        languages.add_node(architecture, root, workshop.work, accounts, workshop.authorities)
        workshop.keep("node", architecture, _all_of(root))


def _go(workshop: Workshop) -> None:
    for architecture in workshop.architectures:
        root = workshop.folder("go", architecture)
        languages.add_go(workshop.archive(architecture), root, workshop.work)
        workshop.keep("go", architecture, _all_of(root))


def _rust(layer: str, below: Sequence[str]) -> Layer:
    """Rust's packages and, as rustup lays them out, the commands in /usr/local/cargo."""
    return _packages(layer, below, languages.RUST_PACKAGES, languages.RUST_LAYOUT)


def _openjdk(layer: str, below: Sequence[str], content: str) -> Layer:
    """A JRE or a JDK, linked of packages that are in no layer themselves."""
    wanted = (*java.JDK_PACKAGES, *java.LINKER_PACKAGES)

    def make(workshop: Workshop) -> None:
        for architecture in workshop.architectures:
            root = workshop.folder(layer, architecture)
            workshop.unpack(("debian", *below), architecture, root)
            trees.unpack(_added(workshop, architecture, below, wanted), root)
            before = trees.marks(root)
            bundle = workshop.text(below, architecture, "etc/ssl/certs/ca-certificates.crt")
            java.add_openjdk(root, content, bundle)
            workshop.keep(layer, architecture, Tree(root, trees.changed(root, before)))

    return Layer(make, (wanted, java.LINK, content, java.ENTRYPOINT_TEXT), tuple(below))


def _maven(workshop: Workshop) -> None:
    for architecture in workshop.architectures:
        root = workshop.folder("maven", architecture)
        below = set(workshop.closure(architecture, [*MINIMAL, *java.SYSTEM_PACKAGES, *java.JDK_PACKAGES]))
        wanted = workshop.closure(architecture, [*MINIMAL, *java.MAVEN_PACKAGES])
        java.add_maven([file for file in wanted if file not in below], root)
        workshop.keep("maven", architecture, _all_of(root))


def _all_of(root: Path) -> Tree:
    return Tree(root, trees.all_of(root))


LAYERS: Mapping[str, Layer] = {
    "debian": Layer(_debian, (MINIMAL, repr(CONFIGURATION))),
    "runtime": _packages("runtime", (), RUNTIME),
    "toolchain": _packages("toolchain", (), TOOLCHAIN),
    "buildpack": _packages("buildpack", ("toolchain",), BUILDPACK),
    "compiler": _packages("compiler", (), COMPILER),
    "python": Layer(_python, (languages.PYTHON_PACKAGES, languages.WHEEL_PACKAGES)),
    "node": Layer(_node, (languages.NODE, languages.NPM, languages.YARN, languages.COREPACK)),
    "go": Layer(_go, (languages.GO_PACKAGES,)),
    "rust": _rust("rust", ("toolchain", "buildpack")),
    "rust-slim": _rust("rust-slim", ("compiler",)),
    "java": _packages("java", (), java.SYSTEM_PACKAGES, java.SYSTEM_SCRIPT),
    "jre": _openjdk("jre", ("java",), java.JRE),
    "linker": _packages("linker", ("java",), java.LINKER_PACKAGES),
    "jdk": _openjdk("jdk", ("java", "linker"), java.JDK),
    "maven": Layer(
        _maven, (java.MAVEN_PACKAGES, java.MAVEN_SETTINGS, java.MAVEN_ENTRYPOINT), ("java", "linker", "jdk")
    ),
}
