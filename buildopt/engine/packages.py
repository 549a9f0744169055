"""Debian packages unpacked into a folder of our own; the system's packages and apt's state are never touched.

apt runs with a private configuration: the archive and the keyring that the machine is configured with, but lists, cache
and status in our own folder. ``dpkg -x`` unpacks: no maintainer script runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildopt import process
from buildopt.errors import EngineError, ToolError

INSTALL_HINT = "install docker 23 or newer with buildx, or run as root on Debian or Ubuntu, where it comes by itself"


@dataclass(frozen=True, slots=True)
class Source:
    """One configured archive: its ``suites`` at ``uri``; ``signed_by`` is a keyring's path, an inline key or empty."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False

    def stanza(self, suites: Sequence[str]) -> str:
        """This archive as a deb822 stanza that names ``suites``."""
        lines = ["Types: deb", f"URIs: {self.uri}", f"Suites: {' '.join(suites)}"]
        if self.components:
            lines.append(f"Components: {' '.join(self.components)}")
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        if self.trusted:
            lines.append("Trusted: yes")
        return "\n".join(lines) + "\n"


def fetch(
    packages: Sequence[str],
    *,
    suite: str,
    prefix: Path,
    cache: Path,
    architecture: str | None = None,
    closure: bool = False,
) -> None:
    """Unpack Debian packages of a suite (such as ``forky``) below ``prefix``.

    ``cache`` keeps lists and downloaded packages and may be shared by several prefixes and processes. ``architecture``
    is Debian's name of one (``arm64``; default: the machine's). With ``closure`` those dependencies come too that are
    not installed on the system. What is already there costs no network: a set that was unpacked into this prefix
    is left alone, a set that was downloaded before is only unpacked.
    Raises EngineError where packages cannot be had: not root, no apt, or apt failed (its last lines are the detail).
    """
    architecture = architecture or machine_architecture()
    stamp = prefix / ".packages" / _key(packages, suite, architecture, closure)
    if stamp.is_file():
        return
    archives = download(packages, suite=suite, cache=cache, architecture=architecture, closure=closure)
    with locked(cache / "lock"):
        if stamp.is_file():
            return
        prefix.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            process.run(["dpkg", "-x", archive, prefix])
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text("".join(f"{archive.name}\n" for archive in archives))


def download(
    packages: Sequence[str],
    *,
    suite: str,
    cache: Path,
    architecture: str | None = None,
    closure: bool = False,
) -> list[Path]:
    """Download Debian packages without unpacking them, unless they are there; the arguments are those of ``fetch``.

    Raises EngineError like ``fetch``.
    """
    require_apt()
    architecture = architecture or machine_architecture()
    key = _key(packages, suite, architecture, closure)
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        return _downloaded(cache, key) or _download(sorted(set(packages)), suite, cache, key, architecture, closure)


def _key(packages: Sequence[str], suite: str, architecture: str, closure: bool) -> str:
    words = (suite, architecture, str(closure), *sorted(set(packages)))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def candidates(packages: Sequence[str], *, suite: str, cache: Path) -> dict[str, str]:
    """The version that a suite offers of each of ``packages``; a package that it does not have is left out.

    Raises EngineError like ``fetch``.
    """
    require_apt()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        options = _configure(suite, cache, machine_architecture(), ())
        _apt(["apt-get", *options, "update", "-qq"])
        shown = process.run(["apt-cache", *options, "show", "--no-all-versions", *packages], check=False).text
    found: dict[str, str] = {}
    for stanza in shown.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version): (.+)$", stanza, re.MULTILINE))
        if "Package" in fields and "Version" in fields:
            found.setdefault(fields["Package"], fields["Version"])
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: one process at a time, others wait; the kernel lets go when a holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_root(who: str = "a private engine", hint: str = INSTALL_HINT) -> None:
    """Raise EngineError where this process is not root."""
    if os.geteuid() != 0:
        raise EngineError(f"{who} needs root", hint=hint)


def require_apt(who: str = "a private engine", hint: str = INSTALL_HINT) -> None:
    """Raise EngineError where packages cannot be fetched: not root, or no Debian family system."""
    require_root(who, hint)
    if process.which("apt-get") is None or process.which("dpkg") is None:
        raise EngineError(f"{who} needs apt and dpkg, which this system does not have", hint=hint)


def machine_architecture() -> str:
    """Debian's name of this machine's architecture, such as ``amd64``."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386"}.get(machine, machine)


def os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """The fields of os-release, empty where there is none."""
    try:
        text = path.read_text()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)}


def running_suite() -> str:
    """The suite that this machine runs, such as ``bookworm``. Raises EngineError where there is none."""
    suite = os_release().get("VERSION_CODENAME") or os_release().get("UBUNTU_CODENAME")
    if not suite:
        raise EngineError("this system does not say which Debian or Ubuntu release it is", hint=INSTALL_HINT)
    return suite


def configured_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """The archives that the machine's apt is configured with, in both of its formats."""
    parts = folder / "sources.list.d"
    files = [folder / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else ())]
    found: list[Source] = []
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".sources":
            found.extend(_deb822_sources(text))
        elif file.suffix == ".list":
            found.extend(_line_sources(text))
    return found


def _line_sources(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = dict(re.findall(r"([\w-]+)=(\S+)", match[1] or ""))
            yield Source(
                match[2],
                (match[3],),
                tuple(match[4].split()),
                options.get("signed-by", ""),
                options.get("trusted", "no") == "yes",
            )


def _deb822_sources(text: str) -> Iterator[Source]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields: dict[str, str] = {}
        for match in re.finditer(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE):
            fields[match[1].lower()] = match[2].rstrip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in ("no", "false"):
            for uri in fields.get("uris", "").split():
                yield Source(
                    uri,
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    fields.get("signed-by", ""),
                    fields.get("trusted", "no") == "yes",
                )


def sources_text(sources: Sequence[Source], suite: str, running: str) -> str:
    """Private sources for ``suite``: from the archives that have it, else from the one that has the running suite.

    Updates and security fixes (``SUITE-updates``, ``SUITE-security``) come too where they are configured. Raises
    EngineError where no configured archive fits.
    """

    def of_suite(name: str) -> list[tuple[Source, tuple[str, ...]]]:
        pairs = [
            (source, tuple(s for s in source.suites if s.startswith(f"{name}-") or s == name)) for source in sources
        ]
        return [(source, suites) for source, suites in pairs if suites and "main" in source.components]

    exact = of_suite(suite)
    if any(suite in suites for _, suites in exact):
        return "\n".join(source.stanza(suites) for source, suites in exact)
    names = (running, "stable", "testing", "unstable", "sid", "oldstable")
    for source in sources:
        if "main" in source.components and any(name in source.suites for name in names):
            return source.stanza([suite])
    raise EngineError(f"apt is not configured with an archive that has {suite}", hint=INSTALL_HINT)


def _configure(suite: str, cache: Path, architecture: str, without: Sequence[str]) -> list[str]:
    """Write the private configuration and return the options that make apt use it."""
    folder = cache / f"apt-{suite}-{architecture}"
    for part in ("lists/partial", "cache/archives/partial", "preferences"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "our.sources").write_text(sources_text(configured_sources(), suite, running_suite()))
    (folder / "status").write_text(_status(without))
    settings: Mapping[str, str] = {
        "Dir::Etc::SourceList": f"{folder}/our.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": f"{folder}/preferences",
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
        "Dir::State::extended_states": f"{folder}/extended_states",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Cache::archives": "archives",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "Dir::Log": f"{folder}",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    # Hooks of the machine's own configuration (some clean its package cache) are not to run for us.
    cleared = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success",
               "DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs", "APT::Architectures",
               "Acquire::IndexTargets::deb::DEP-11", "Acquire::IndexTargets::deb::Contents-deb",
               "Acquire::IndexTargets::deb::CNF")  # fmt: skip
    text = "".join(f"#clear {name};\n" for name in cleared)
    (folder / "apt.conf").write_text(text + "".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return ["-c", f"{folder}/apt.conf"]


def _status(without: Sequence[str]) -> str:
    """dpkg's status without some packages, so that apt counts them as not installed."""
    status = Path("/var/lib/dpkg/status")
    stanzas = status.read_text(encoding="utf-8", errors="replace").split("\n\n") if status.is_file() else []
    removed = {f"Package: {name}" for name in without}
    return "\n\n".join(stanza for stanza in stanzas if stanza.partition("\n")[0] not in removed)


def _apt(argv: Sequence[str], cwd: Path | None = None) -> process.Completed:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        return process.run(argv, env=environment, cwd=cwd)
    except ToolError as error:
        raise EngineError("apt could not fetch the packages", hint=INSTALL_HINT, detail=error.detail) from error


def _downloaded(cache: Path, key: str) -> list[Path]:
    """The archives of a set that was downloaded before, empty unless all are there."""
    record = cache / "sets" / key
    if not record.is_file():
        return []
    archives = [cache / "archives" / name for name in record.read_text().splitlines()]
    return archives if all(archive.is_file() for archive in archives) else []


def _download(names: Sequence[str], suite: str, cache: Path, key: str, architecture: str, closure: bool) -> list[Path]:
    options = _configure(suite, cache, architecture, names)
    _apt(["apt-get", *options, "update", "-qq"])
    archives = cache / "archives"
    archives.mkdir(exist_ok=True)
    # apt checks every hash; a package counts as downloaded only once it was moved out of this folder.
    folder = Path(tempfile.mkdtemp(prefix="download-", dir=cache))
    try:
        if closure:
            (folder / "partial").mkdir()
            inside = ["-o", f"Dir::Cache::archives={folder}/"]
            _apt(["apt-get", *options, *inside, "install", "-y", "-qq", "--download-only", *names])
        else:
            _apt(["apt-get", *options, "download", "-qq", *names], cwd=folder)
        found = sorted(folder.glob("*.deb"))
        for archive in found:
            os.replace(archive, archives / archive.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record = cache / "sets" / key
    record.parent.mkdir(exist_ok=True)
    temporary = record.with_suffix(".new")
    temporary.write_text("".join(f"{archive.name}\n" for archive in found))
    os.replace(temporary, record)
    return [archives / archive.name for archive in found]
