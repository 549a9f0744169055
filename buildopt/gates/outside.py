"""Scans: outside commands run on an artifact, through a shell, with {oci}, {tar}, {digest} and {platform} filled in.

What is filled in consists of harmless letters only. A path that does not is reached through a link that does, so that
no name of a folder can mean anything to any shell, in whatever quotes it stands.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError
from buildopt.gates.inside import unpack, write_tar
from buildopt.gates.plan import PLACEHOLDERS, Command
from buildopt.oci.gate_record import FAILED, PASSED, GateResult
from buildopt.oci.layout import ArtifactSource, Image

_HARMLESS = re.compile(r"[A-Za-z0-9_./@%+=:,-]+")
_SHELL = "/bin/sh"


@dataclass
class Outside:
    """How scans are run. ``layout`` is a folder that holds the artifact (None: it is unpacked where a scan wants one),
    ``folder`` has room for what is made for them, ``timeout`` is in seconds."""

    source: ArtifactSource
    image: Image
    layout: Path | None
    folder: Path
    environment: Mapping[str, str]
    timeout: float
    _made: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command, gate: GateResult, lines: Callable[[bytes], tuple[str, ...]]) -> GateResult:
        """Run one scan. Raises ToolError where what it asks for cannot be made."""
        began = time.monotonic()
        text = self.filled(command.text, gate.platform)
        ended = process.run_group([_SHELL, "-c", text], env=self.environment, cwd=command.folder, timeout=self.timeout)
        output = lines(ended.tail)
        if ended.status == 0:
            result, reason = PASSED, ""
        elif ended.status is None:
            result, reason = FAILED, f"it did not end within {self.timeout:g} s (--scan-timeout)"
        else:
            missing = ": the program was not found; install it or put it on PATH" if ended.status == 127 else ""
            result, reason = FAILED, f"exit status {ended.status}{missing}"
        return GateResult(gate.name, gate.kind, gate.platform, result, reason, time.monotonic() - began, output)

    def filled(self, text: str, platform: str | None) -> str:
        """A command with everything filled in."""

        def value(match: re.Match[str]) -> str:
            return (platform or "") if match[1] == "platform" else self._value(match[1])

        return re.sub(rf"\{{({'|'.join(PLACEHOLDERS)})\}}", value, text)

    def _value(self, name: str) -> str:
        if name not in self._made:
            self._made[name] = str(self.image.digest) if name == "digest" else self._path(name)
        return self._made[name]

    def _path(self, name: str) -> str:
        if name == "tar":
            path = self.source.path
            if path.is_dir():
                path = self.folder / "image.tar"
                write_tar(self.source, self.image, path)
        else:
            path = self.layout or self.source.path
            if not path.is_dir():
                path = self.folder / "oci"
                unpack(self.source, self.image, path)
        return self._harmless(path.absolute(), name)

    def _harmless(self, path: Path, name: str) -> str:
        if _HARMLESS.fullmatch(str(path)):
            return str(path)
        for folder in (self.folder, Path(tempfile.gettempdir()), Path("/tmp")):
            if _HARMLESS.fullmatch(str(folder)):
                link = Path(tempfile.mkdtemp(prefix="buildopt-", dir=folder)) / name
                link.symlink_to(path)
                self._made[f"link {name}"] = str(link)
                return str(link)
        raise ToolError(f"{path} cannot be given to a scan", hint="use a path without spaces and quotes")

    def close(self) -> None:
        """Remove the links that were made."""
        for key, text in self._made.items():
            if key.startswith("link "):
                Path(text).unlink(missing_ok=True)
                Path(text).parent.rmdir()
