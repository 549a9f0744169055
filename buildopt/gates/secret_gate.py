"""The gate ``no-secrets``: nothing in any layer, in the history, in the settings or in the provenance is a secret.

A file that a later layer removes is still in the image, for whoever pulls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO

from buildopt.gates import layers, secret_files
from buildopt.gates.image import PlatformImage
from buildopt.gates.secret_values import REACH, is_secret, masked, secret_assignments, secrets_in
from buildopt.oci.descriptor import Descriptor
from buildopt.oci.gate_record import printable
from buildopt.oci.layout import ArtifactSource

_BLOCK = 1 << 20
_MAX_STATEMENT = 32 << 20
_WITH_ARGUMENTS = re.compile(r"RUN \|[0-9]+ (.*?) (?=/bin/|/usr/bin/)", re.DOTALL)
_MOST = 100  # findings of one image that are told; more say nothing new


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret: ``what`` it is, and ``where``. ``step`` is how the image's history calls the layer that brought it."""

    what: str
    where: str
    step: str = ""
    removed: bool = False

    def __str__(self) -> str:
        step = f" ({self.step})" if self.step else ""
        return f"{self.what} in {self.where}{step}{', removed later, but still in its layer' if self.removed else ''}"


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one layer holds: secrets by path, and which paths of those below it removes."""

    secrets: tuple[tuple[str, str], ...]
    removed: frozenset[str]


@dataclass
class SecretScan:
    """Looks for secrets; a layer that several platforms share is read once. ``allowed`` are globs of paths."""

    source: ArtifactSource
    allowed: Sequence[str] = ()
    _layers: dict[str, _Layer] = field(default_factory=dict)

    def secrets(self, image: PlatformImage) -> list[Secret]:
        """All secrets of one platform's image. Raises ArtifactError where a layer cannot be read."""
        found = [*self._files(image), *_settings(image), *_history(image), *_statements(self.source, image)]
        return list(dict.fromkeys(found))[:_MOST]

    def _files(self, image: PlatformImage) -> Iterator[Secret]:
        steps = image.layer_steps()
        read = [self._layer(layer) for layer in image.layers]
        for number, layer in enumerate(read):
            for path, what in layer.secrets:
                if any(fnmatchcase(path, pattern.lstrip("/")) for pattern in self.allowed):
                    continue
                hidden = any(_hides(later, path) for later in read[number + 1 :])
                yield Secret(what, f"/{printable(path)}", shortened(steps[number]), hidden)

    def _layer(self, layer: Descriptor) -> _Layer:
        key = str(layer.digest)
        if key not in self._layers:
            self._layers[key] = self._read(layer)
        return self._layers[key]

    def _read(self, layer: Descriptor) -> _Layer:
        if layer.foreign and not self.source.has(layer.digest):
            return _Layer((), frozenset())  # its bytes are not part of the artifact
        secrets: list[tuple[str, str]] = []
        removed = set[str]()
        for member in layers.members(self.source, layer):
            if member.kind in ("whiteout", "opaque"):
                removed.add(member.path)
            elif member.stream is not None and not secret_files.passed_over(member.path):
                what = secret_in_stream(member.path, member.stream)
                if what is not None and len(secrets) < _MOST:
                    secrets.append((member.path, what))
        return _Layer(tuple(secrets), frozenset(removed))


def _hides(layer: _Layer, path: str) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:count]) in layer.removed for count in range(len(parts) + 1))


def secret_in_stream(path: str, stream: IO[bytes]) -> str | None:
    """The first secret of a file, however large it is; None where there is none."""
    block = stream.read(_BLOCK)
    named = secret_files.secret_in_file(path, block[: secret_files.LARGEST])
    if named is not None:
        return named
    binary = b"\0" in block[:8192] and not block.startswith((b"\xff\xfe", b"\xfe\xff"))
    carried = b""
    while block:
        data = carried + block
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            data = data.decode("utf-16", "replace").encode("utf-8", "replace")
        following = stream.read(_BLOCK)
        for what, place in secrets_in(data, binary=binary):
            # What begins near the end is judged with the next block, where all of it is there.
            if not following or place < len(data) - REACH:
                return what
        carried = data[-REACH:] if following else b""
        block = following
    return None


def _settings(image: PlatformImage) -> Iterator[Secret]:
    for name, value in image.environment:
        if is_secret(name, value):
            yield Secret("a secret", f"ENV {printable(name)}")
        elif (what := next(secrets_in(value.encode("utf-8", "replace")), None)) is not None:
            yield Secret(what[0], f"ENV {printable(name)}")
    for name, value in image.labels.items():
        if is_secret(name, value):
            yield Secret("a secret", f"LABEL {printable(name)}")
        elif (what := next(secrets_in(value.encode("utf-8", "replace")), None)) is not None:
            yield Secret(what[0], f"LABEL {printable(name)}")
    for key in ("Cmd", "Entrypoint"):
        text = " ".join(image.words(key))
        for named in secret_assignments(text):
            yield Secret(_what(named), key.upper())


def _history(image: PlatformImage) -> Iterator[Secret]:
    known = {name for name, value in image.environment if is_secret(name, value)}
    for number, step in enumerate(image.steps, 1):
        for named in secret_assignments(_build_arguments(step)):
            if named not in known:
                yield Secret(_what(named), f"step {number} of the history{_name(named)}", shortened(step))


def _build_arguments(step: str) -> str:
    """A step of the history; the values of its build arguments, which stand unquoted, end where the next begins."""
    match = _WITH_ARGUMENTS.match(step)
    if match is None:
        return step
    quoted = re.sub(r"([A-Za-z_]\w*)=(.*?)(?=\s[A-Za-z_]\w*=|$)", _quote, match[1], flags=re.DOTALL)
    return f"{quoted} {step[match.end() :]}"


def _quote(match: re.Match[str]) -> str:
    return f"{match[1]}='{match[2].replace(chr(39), '')}'"


def _what(named: str) -> str:
    return named if " " in named else "a secret"


def _name(named: str) -> str:
    return "" if " " in named else f" ({printable(named)})"


def shortened(step: str, limit: int = 60) -> str:
    """A step for people: its keyword and how it goes on, without values."""
    step = _WITH_ARGUMENTS.sub("RUN ", step)
    text = re.sub(r"=(?:\"[^\"]*\"|'[^']*'|\S+)", "=…", masked(printable(" ".join(step.split()))))
    text = re.sub(r"^/bin/sh -c #\(nop\)\s*", "", text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _statements(source: ArtifactSource, image: PlatformImage) -> Iterator[Secret]:
    """Build arguments that the provenance tells the world, and tokens anywhere in it."""
    for layer in image.statements:
        if layer.size > _MAX_STATEMENT:  # a bill of materials: no provenance is that long
            continue
        data = source.read(layer.digest, _MAX_STATEMENT)
        for match in re.finditer(rb'"build-arg:([^"]+)"\s*:\s*"((?:[^"\\]|\\.)*)"', data):
            name, value = (part.decode("utf-8", "replace") for part in match.groups())
            if is_secret(name, value):
                yield Secret("a secret", f"the provenance (build argument {printable(name)})")
        for what, _ in secrets_in(data):
            yield Secret(what, "the provenance")
