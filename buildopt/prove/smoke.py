"""Runs the same command in both images and compares what it does."""

from __future__ import annotations

import io
import json
import secrets
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from buildopt.build import artifact, tarball
from buildopt.engine.connection import Engine
from buildopt.engine.containers import Containers, Ran, containers
from buildopt.errors import UsageError
from buildopt.oci import layout as oci
from buildopt.oci.descriptor import Descriptor
from buildopt.prove.flatten import resolve
from buildopt.prove.image import Image
from buildopt.prove.proof import Outcome, Smoke


@dataclass(frozen=True, slots=True)
class SmokeOptions:
    """``timeout`` in seconds is how long a command may take. ``network``: it has one."""

    commands: tuple[str, ...] = ()
    timeout: float = 60.0
    network: bool = False


def check_commands(commands: Sequence[str]) -> None:
    """Raise UsageError for a command that is none."""
    for command in commands:
        if not command.strip():
            raise UsageError("--smoke has no command", hint="such as --smoke '/app --version'")
        try:
            shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--smoke {command!r} cannot be read: {error}", hint="check its quotes") from error


def run_smoke(
    engine: Engine, pairs: Sequence[tuple[Image, Image]], options: SmokeOptions, folder: Path
) -> tuple[Smoke, ...]:
    """Every command in both images of each platform. What is loaded and started for it is removed again.

    ``folder`` has room for the images. Raises EngineError, ToolError.
    """
    if not options.commands:
        return ()
    runner = containers(engine)
    found: list[Smoke] = []
    with ExitStack() as stack:
        # One archive for all platforms: the layout's image may have several.
        names = {}
        for side, image in zip(("before", "after"), pairs[0], strict=True):
            archive, name = _archive(image.path, side, folder)
            names[side] = stack.enter_context(runner.loaded(archive, name))
            archive.unlink()
        several = len(pairs) > 1
        for before, after in pairs:
            for command in options.commands:
                found.append(
                    _compare(
                        _Runs(runner, names, options, before.platform if several else None), before, after, command
                    )
                )
    return tuple(found)


def _archive(layout: Path, side: str, folder: Path) -> tuple[Path, str]:
    """A tar of a layout's image, and the name that it has once it is loaded."""
    name = f"buildopt-prove/{side}:{secrets.token_hex(6)}"
    image = oci.resolve(oci.open_artifact(layout))
    index = layout / "index.json"
    artifact.replace(index, artifact.index_bytes(image.descriptor, (name,)), layout / "index.json.named")
    path = folder / f"{side}.tar"
    tarball.write_file(layout, image, path)
    if len(image.platforms) == 1:
        _add_docker_manifest(path, image.platforms[0], name)
    return path, name


def _add_docker_manifest(path: Path, entry: oci.ImageManifest, name: str) -> None:
    """Say what is in a tar as ``docker save`` did it before OCI: engines without containerd's image store want it."""
    document = {
        "Config": _blob(entry.manifest.config),
        "RepoTags": [name],
        "Layers": [_blob(layer) for layer in entry.manifest.layers],
    }
    data = json.dumps([document]).encode()
    info = tarfile.TarInfo("manifest.json")
    info.size = len(data)
    with tarfile.open(path, "a") as tar:
        tar.addfile(info, io.BytesIO(data))


def _blob(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


@dataclass(frozen=True, slots=True)
class _Runs:
    runner: Containers
    names: dict[str, str]
    options: SmokeOptions
    platform: str | None

    def run(self, side: str, words: Sequence[str]) -> Ran:
        return self.runner.run(
            self.names[side],
            words,
            name=f"buildopt-prove-{secrets.token_hex(6)}",
            platform=self.platform,
            network=self.options.network,
            timeout=self.options.timeout,
        )


def _compare(runs: _Runs, before: Image, after: Image, command: str) -> Smoke:
    words = list(_words(command, before, after))
    old, new = runs.run("before", words), runs.run("after", words)
    unstable = False
    if old != new and old.status is not None and old.status == new.status:
        again = runs.run("before", words)
        unstable = again != old and again.status == old.status
    return Smoke(before.platform, command, _outcome(old), _outcome(new), unstable)


def _words(command: str, before: Image, after: Image) -> Iterator[str]:
    """The command through a shell, where both images have one."""
    if all(resolve(image.tree, "/bin/sh") is not None for image in (before, after)):
        yield from ("/bin/sh", "-c", command)
    else:
        yield from shlex.split(command)


def _outcome(ran: Ran) -> Outcome:
    return Outcome(ran.status, ran.stdout.decode("utf-8", "replace"), ran.stderr.decode("utf-8", "replace"))
