"""Debian packages for a system that is made from nothing: resolved and downloaded with an apt of our own.

Unlike ``buildopt.engine.packages``, which adds to the machine, this apt believes that nothing is installed: what it
resolves is a whole system, of either architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from buildopt import process
from buildopt.engine import packages
from buildopt.errors import EngineError, ToolError

SUITE = "bookworm"
HINT = "base images are made from Debian's packages: check that apt-get update works on this machine"
# The machine's own hooks and exceptions are not to run for us.
CLEARED = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success",
           "DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs", "APT::Architectures",
           "APT::NeverAutoRemove", "Acquire::IndexTargets::deb::DEP-11", "Acquire::IndexTargets::deb::CNF")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Archive:
    """An apt of our own for one architecture (Debian's name of it, such as ``arm64``); its state is in ``folder``."""

    folder: Path
    architecture: str

    def update(self) -> None:
        """Write the configuration and fetch the archive's lists. Raises EngineError where that fails."""
        for part in ("lists/partial", "cache/archives/partial", "empty/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "our.sources").write_text(sources(), encoding="utf-8")
        folder = self.folder
        settings = {
            "Dir::Etc::SourceList": f"{folder}/our.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": f"{folder}/lists",
            "Dir::State::status": f"{folder}/status",
            "Dir::State::extended_states": f"{folder}/extended_states",
            "Dir::Cache": f"{folder}/cache",
            "Dir::Cache::archives": "archives",
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Log": f"{folder}",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "APT::Keep-Downloaded-Packages": "true",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::PDiffs": "false",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        text = "".join(f"#clear {name};\n" for name in CLEARED)
        text += "".join(f'{key} "{value}";\n' for key, value in settings.items())
        (folder / "apt.conf").write_text(text, encoding="utf-8")
        self._apt("update")

    def closure(self, names: Sequence[str]) -> list[Path]:
        """Download packages and all that they need, on top of nothing; the files in the order of their names."""
        self._apt("install", "--yes", "--download-only", *names)
        return self._files("install", "--yes", *names)

    def download(self, names: Sequence[str]) -> list[Path]:
        """Download these packages alone."""
        process_folder = self.folder / "cache" / "archives"
        self._apt("download", *names, cwd=process_folder)
        return self._files("download", *names)

    def _files(self, *words: str) -> list[Path]:
        # With an archive folder that is empty apt prints every file, not only those that are still to be fetched.
        printed = self._apt(*words, "--print-uris", "-o", f"Dir::Cache::archives={self.folder}/empty").text
        names = [line.split("' ")[1].split()[0] for line in printed.splitlines() if line.startswith("'")]
        found = [self.folder / "cache" / "archives" / name for name in sorted(names)]
        missing = [file.name for file in found if not file.is_file()]
        if missing:
            raise EngineError(f"apt did not download {unquote(missing[0])}", hint=HINT)
        return found

    def _apt(self, *words: str, cwd: Path | None = None) -> process.Completed:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        try:
            return process.run(["apt-get", "-c", f"{self.folder}/apt.conf", "-qq", *words], env=environment, cwd=cwd)
        except ToolError as error:
            raise EngineError("apt could not fetch Debian's packages", hint=HINT, detail=error.detail) from error


def sources() -> str:
    """The machine's own archive as apt sources of the base images' release. Raises EngineError where there is none."""
    packages.require_apt()
    return packages.sources_text(packages.configured_sources(), SUITE, packages.running_suite())
