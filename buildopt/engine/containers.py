"""Runs short commands in images that are loaded for it and removed afterwards. python-on-whales does the talking."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildopt.engine.connection import Engine
from buildopt.errors import BuildoptError, EngineError, ToolError

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_POLL = (0.05, 1.0)  # seconds between two looks at whether a command has ended: at first, and at most
_LATE = 10.0  # seconds that an engine may take to finish an interrupted load
_OUTPUT = 1 << 20
"""How much of what a command writes is kept, in bytes of each stream."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did. ``status`` is None where it did not end in time and was ended."""

    status: int | None
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Containers:
    """The containers of one engine."""

    client: DockerClient

    @contextmanager
    def loaded(self, archive: Path, name: str) -> Iterator[str]:
        """The image ``name`` out of an OCI tar, as long as the block. Raises ToolError where it cannot be loaded."""
        try:
            with _errors("the image cannot be loaded"):
                self.client.image.load(archive, quiet=True)
        except KeyboardInterrupt:
            self._remove_late(name)
            raise
        try:
            yield name
        finally:
            with suppress(Exception):  # noqa: BLE001 - somebody else removed it, or the engine is gone
                self.client.image.remove(name, force=True)

    def _remove_late(self, name: str) -> None:
        """Remove an image that the engine may still be making, though its client has ended."""
        end = time.monotonic() + _LATE
        while time.monotonic() < end:
            if self.client.image.exists(name):
                with suppress(Exception):  # noqa: BLE001 - the next look will tell
                    self.client.image.remove(name, force=True)
                    return
            time.sleep(_POLL[0] * 5)

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        name: str,
        platform: str | None,
        network: bool,
        timeout: float,
        tail: int | None = None,
    ) -> Ran:
        """Run ``command`` (its first word is the program) in a container called ``name`` and wait for its end.

        Its network is none, unless ``network``. ``timeout`` is in seconds. Of what it writes the beginning is kept, or
        the last ``tail`` lines. The container is removed, whatever happens.
        Raises ToolError where it cannot be started for another reason than the image's.
        """
        program, *words = command
        with self._container(name):
            with self._making(name, image):
                self.client.container.create(
                    image, words, name=name, entrypoint=program, hostname="smoke", platform=platform, healthcheck=False,
                    networks=() if network else ("none",), log_driver="json-file", log_options=("max-size=16m",),
                )  # fmt: skip
            return self._run(name, timeout, tail)

    @contextmanager
    def _container(self, name: str) -> Iterator[None]:
        """A container that ends with the block, whether it was made or not."""
        try:
            yield
        finally:
            with suppress(Exception):  # noqa: BLE001 - it was never made, or the engine is gone
                self.client.container.remove(name, force=True, volumes=True)

    @contextmanager
    def _making(self, name: str, image: str) -> Iterator[None]:
        """While a container is made: the engine may finish it though its client was interrupted."""
        try:
            with _errors(f"no container can be made of {image}"):
                yield
        except KeyboardInterrupt:
            end = time.monotonic() + _LATE / 2
            while time.monotonic() < end and not self.client.container.exists(name):
                time.sleep(_POLL[0] * 5)
            raise

    def has(self, image: str, path: str, *, container: str, platform: str | None, folder: Path) -> bool:
        """Whether an image has a file. A container called ``container`` is made for it and not started; the file is
        copied to ``folder`` for a moment. Raises ToolError where no container can be made."""
        from python_on_whales.exceptions import DockerException

        target = folder / f"{container}-file"
        with self._container(container):
            with self._making(container, image):
                self.client.container.create(
                    image, name=container, entrypoint=path, platform=platform, healthcheck=False, networks=("none",)
                )
            try:
                self.client.container.copy((container, path), target)
            except DockerException:
                return False
            finally:
                found = os.path.lexists(target)
                if found and (target.is_symlink() or not target.is_dir()):
                    target.unlink()
            return found

    def machine(self) -> str:
        """The platform of the engine's own machine, such as ``linux/x86_64``. Raises ToolError."""
        with _errors("the engine does not tell what it runs on"):
            info = self.client.system.info()
        return f"{info.os_type or 'linux'}/{info.architecture or ''}"

    def _run(self, name: str, timeout: float, tail: int | None) -> Ran:
        from python_on_whales.exceptions import DockerException

        end = time.monotonic() + timeout
        try:
            self.client.container.start(name)
        except DockerException as error:
            # The program is not there or cannot be executed: that says something about the image.
            state = self._state(name)
            return Ran(int(state.exit_code or 127), b"", _said(error).encode())
        pause, longest = _POLL
        while (state := self._state(name)).running:
            if time.monotonic() > end:
                with suppress(DockerException):
                    self.client.container.kill(name)
                return Ran(None, *self._logs(name, tail))
            time.sleep(pause)
            pause = min(longest, pause * 1.5)
        return Ran(int(state.exit_code or 0), *self._logs(name, tail))

    def _state(self, name: str) -> Any:
        with _errors("the engine does not tell how the container does"):
            return self.client.container.inspect(name).state

    def _logs(self, name: str, tail: int | None) -> tuple[bytes, bytes]:
        parts: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        with _errors("what the container wrote cannot be read"):
            for piece in self.client.container.logs(name, tail=tail, stream=True):
                stream, data = piece[0], piece[1]
                assert isinstance(stream, str) and isinstance(data, bytes)
                part = parts[stream]
                part += data[: max(0, _OUTPUT - len(part))]
        return bytes(parts["stdout"]), bytes(parts["stderr"])


def containers(engine: Engine) -> Containers:
    """The containers of an engine. Raises EngineError where it is a builder only and runs none."""
    from python_on_whales import DockerClient

    client = DockerClient(host=engine.environment.get("DOCKER_HOST"), client_call=list(engine.docker))
    with _errors("there is no engine to run containers on", EngineError, "a builder alone does not do: start Docker"):
        client.system.info()
    return Containers(client)


@contextmanager
def _errors(what: str, kind: type[ToolError] = ToolError, hint: str = "") -> Iterator[None]:
    from python_on_whales.exceptions import DockerException

    try:
        yield
    except DockerException as error:
        raise kind(f"{what}: {_said(error)}", hint=hint) from error
    except BuildoptError:
        raise


def _said(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(text).splitlines() if line.strip() and "failed to start containers" not in line]
    return lines[-1].strip() if lines else type(error).__name__
