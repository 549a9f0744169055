"""One platform's image as gates see it: its settings and its history, out of its config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import REFERENCE_DIGEST, Descriptor, Platform, load_json, shown
from buildopt.oci.layout import ArtifactSource, Image, ImageManifest


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """``platform`` is its name, ``settings`` what a container starts with, ``steps`` its history, oldest first.

    ``statements`` are the layers of the attestations about it.
    """

    platform: str
    entry: ImageManifest
    settings: Mapping[str, object]
    steps: tuple[str, ...]
    empty: tuple[bool, ...]
    statements: tuple[Descriptor, ...]

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """Its layers, the lowest first."""
        return self.entry.manifest.layers

    @property
    def size(self) -> int:
        """Compressed bytes of config and layers."""
        return sum({blob.digest: blob.size for blob in self.entry.manifest.blobs}.values())

    @property
    def user(self) -> str:
        """Who a container runs as; empty for root."""
        value = self.settings.get("User")
        return value if isinstance(value, str) else ""

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Variables with their values."""
        return tuple((name, value) for name, _, value in (word.partition("=") for word in self.words("Env")))

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels with their values."""
        found = self.settings.get("Labels")
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def words(self, key: str) -> tuple[str, ...]:
        """A setting that is a list of texts."""
        found = self.settings.get(key)
        return tuple(word for word in found if isinstance(word, str)) if isinstance(found, list) else ()

    def layer_steps(self) -> tuple[str, ...]:
        """For each layer the step that made it; empty where the history does not tell."""
        made = [step for step, empty in zip(self.steps, self.empty, strict=True) if not empty]
        return tuple(made) if len(made) == len(self.layers) else ("",) * len(self.layers)


def platform_images(source: ArtifactSource, image: Image) -> tuple[PlatformImage, ...]:
    """The images of an artifact, one a platform. Raises ArtifactError where a config cannot be read."""
    return tuple(_images(source, image))


def _images(source: ArtifactSource, image: Image) -> Iterator[PlatformImage]:
    for entry in image.platforms:
        name = str(entry.manifest.config.digest)
        inline = entry.manifest.config.data  # such as the empty one, which needs no file
        config = load_json(inline if inline is not None else source.read(entry.manifest.config.digest), name)
        settings = config.get("config") or {}
        if not isinstance(settings, dict):
            raise ArtifactError(f"the settings in {name} are no object", hint="build the image again")
        history = config.get("history")
        lines = [line for line in history if isinstance(line, dict)] if isinstance(history, list) else []
        own = Platform(*(str(config.get(key) or "") for key in ("os", "architecture", "variant")))
        if not re.fullmatch(r"[A-Za-z0-9_./-]*", str(own)):
            raise ArtifactError(f"the platform in {name} cannot be read: {shown(str(own))}", hint="build it again")
        yield PlatformImage(
            platform=str(entry.platform or own) or "unknown",
            entry=entry,
            settings=settings,
            steps=tuple(str(line.get("created_by") or line.get("comment") or "") for line in lines),
            empty=tuple(bool(line.get("empty_layer")) for line in lines),
            statements=_statements(image, str(entry.descriptor.digest)),
        )


def _statements(image: Image, digest: str) -> tuple[Descriptor, ...]:
    """What is attested of a manifest. Where nothing in them tells two platforms apart, one attestation of BuildKit's
    stands for both of them: only the descriptors in the index say of what it speaks."""
    manifests = {entry.descriptor.digest: entry.manifest for entry in image.attestations}
    listed = [entry for _, index in image.indexes for entry in index.manifests if entry.digest in manifests]
    speaking = {entry.digest for entry in listed if entry.annotations.get(REFERENCE_DIGEST) == digest}
    return tuple(layer for name in sorted(speaking) for layer in manifests[name].layers)
