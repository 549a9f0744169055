"""Commands run inside an image, on the engine; what is loaded and started for it is removed again."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildopt.build import artifact, tarball
from buildopt.engine.connection import Engine
from buildopt.engine.containers import Containers, Ran
from buildopt.gates.image import PlatformImage
from buildopt.gates.plan import Command
from buildopt.oci.descriptor import Descriptor
from buildopt.oci.gate_record import FAILED, PASSED, GateResult
from buildopt.oci.layout import ArtifactSource, Image

_SHELL = "/bin/sh"
_NOT_STARTED = 127
_KILLED = 137
_TAIL = 100  # lines


@dataclass(frozen=True, slots=True)
class Inside:
    """How commands are run: ``timeout`` in seconds for each, ``network`` whether they have one, ``folder`` for the
    archive of an image on its way into the engine."""

    source: ArtifactSource
    engine: Engine
    runner: Containers
    folder: Path
    network: bool
    timeout: float

    def run(
        self,
        image: PlatformImage,
        commands: Sequence[tuple[Command, GateResult]],
        lines: Callable[[bytes], tuple[str, ...]],
    ) -> Iterator[GateResult]:
        """Each command in the image, through its shell where it has one. ENTRYPOINT and CMD of the image are left out;
        its user, variables and working folder count. Raises ToolError where the engine fails."""
        with self._loaded(image) as name:
            shell = any(not command.words for command, _ in commands) and self.runner.has(
                name, _SHELL, container=_fresh(), platform=image.platform, folder=self.folder
            )
            for command, gate in commands:
                began = time.monotonic()
                words = command.words or ((_SHELL, "-c", command.text) if shell else _split(command.text))
                ran = self.runner.run(
                    name,
                    words,
                    name=_fresh(),
                    platform=image.platform,
                    network=self.network,
                    timeout=self.timeout,
                    tail=_TAIL,
                )
                yield self._judged(gate, image, ran, time.monotonic() - began, lines(ran.stdout + ran.stderr))

    def _judged(
        self, gate: GateResult, image: PlatformImage, ran: Ran, seconds: float, output: tuple[str, ...]
    ) -> GateResult:
        result = FAILED
        if ran.status == 0:
            result, reason = PASSED, ""
        elif ran.status is None:
            reason = f"it did not end within {self.timeout:g} s (--test-timeout)"
        elif any("exec format error" in line.lower() for line in output):
            install = "docker run --privileged --rm tonistiigi/binfmt --install all"
            mend = "buildopt engine up" if self.engine.private else install
            reason = f"the engine cannot run {image.platform}: set emulation up with {mend}"
        elif ran.status == _NOT_STARTED:
            reason = "exit status 127: no such program in the image"
        elif ran.status == _KILLED:
            reason = "exit status 137: it was killed, perhaps for want of memory"
        else:
            reason = f"exit status {ran.status}"
        return GateResult(gate.name, gate.kind, gate.platform, result, reason, seconds, output)

    @contextmanager
    def _loaded(self, image: PlatformImage) -> Iterator[str]:
        """The image of one platform in the engine, under a name of its own."""
        name = f"buildopt-gate/{secrets.token_hex(6)}:image"
        archive = self.folder / f"{secrets.token_hex(4)}.tar"
        try:
            write_archive(self.source, image, name, archive)
            with self.runner.loaded(archive, name):
                archive.unlink()
                yield name
        finally:
            archive.unlink(missing_ok=True)


def _fresh() -> str:
    return f"buildopt-gate-{secrets.token_hex(6)}"


def _split(text: str) -> tuple[str, ...]:
    """A line in words, for an image without a shell."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def write_archive(source: ArtifactSource, image: PlatformImage, name: str, path: Path) -> None:
    """A tar that engines load: an OCI layout, and what ``docker save`` wrote before there was one. Raises ToolError."""
    entry = image.entry
    single = Image(entry.descriptor, entry.manifest, (), (entry,), ())
    manifest = {
        "Config": _blob(entry.manifest.config),
        "RepoTags": [name],
        "Layers": [_blob(layer) for layer in entry.manifest.layers],
    }
    files = {
        "index.json": artifact.index_bytes(entry.descriptor, (name,)),
        "oci-layout": artifact.LAYOUT_FILE,
        "manifest.json": json.dumps([manifest]).encode(),
    }
    with artifact.writes(path), open(path, "wb", buffering=0) as out:
        os.fchmod(out.fileno(), 0o600)
        tarball.write_source(source, single, out.fileno(), files)


def write_tar(source: ArtifactSource, image: Image, path: Path) -> None:
    """A tar of a whole artifact, for a scan that asks for one. Raises ToolError."""
    files = {"index.json": source.index_bytes, "oci-layout": artifact.LAYOUT_FILE}
    with artifact.writes(path), open(path, "wb", buffering=0) as out:
        tarball.write_source(source, image, out.fileno(), files)


def unpack(source: ArtifactSource, image: Image, folder: Path) -> None:
    """A layout folder of an artifact, for a scan that asks for one. Raises ToolError."""
    tar = folder.with_name(f"{folder.name}.tar")
    write_tar(source, image, tar)
    with artifact.writes(folder), tarfile.open(tar) as archive:
        for member in archive:
            target = folder / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = archive.extractfile(member)
            assert stream is not None
            with open(target, "wb") as out:
                while block := stream.read(1 << 20):
                    out.write(block)
    tar.unlink()


def _blob(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
