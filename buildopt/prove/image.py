"""An image of one platform out of an OCI layout: its settings, its layers, its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildopt.errors import ArtifactError
from buildopt.oci import layout as oci
from buildopt.oci.descriptor import Descriptor, Platform, load_json
from buildopt.prove.flatten import Layer, Tree, read_layer, stack
from buildopt.prove.proof import Sizes


@dataclass(frozen=True, slots=True)
class Image:
    """``settings`` is the image's configuration as JSON has it, ``tree`` its files.

    ``base`` are those of the layers that the final stage's base image brought, and ``base_settings`` are that image's.
    """

    path: Path
    platform: str
    settings: Mapping[str, object]
    descriptors: tuple[Descriptor, ...]
    layers: tuple[Layer, ...]
    tree: Tree = field(repr=False)
    base: Tree = field(default_factory=dict, repr=False)
    base_settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """What it weighs."""
        return Sizes(
            sum(descriptor.size for descriptor in self.descriptors),
            sum(layer.unpacked for layer in self.layers),
            len(self.layers),
            sum(entry.kind == "file" for entry in self.tree.values()),
        )

    def on(self, base: Image) -> Image:
        """The same image, with what is known of its base image."""
        count = 0
        for own, other in zip(self.layers, base.layers, strict=False):
            if own.digest != other.digest:
                break
            count += 1
        return replace(self, base=stack(self.layers[:count]), base_settings=base.settings)


class Reader:
    """Reads images; a layer that several of them have is read once."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}

    def images(self, path: Path) -> dict[str, Image]:
        """The images of a layout by platform. Raises ArtifactError where it is damaged."""
        source = oci.open_artifact(path)
        found = {}
        for entry in oci.resolve(source).platforms:
            image = self._image(source, entry)
            found[image.platform] = image
        return found

    def _image(self, source: oci.ArtifactSource, entry: oci.ImageManifest) -> Image:
        config = load_json(source.read(entry.manifest.config.digest), str(entry.manifest.config.digest))
        settings = config.get("config") or {}
        if not isinstance(settings, dict):
            raise ArtifactError(f"the configuration of {source.path} is no object", hint="build the image again")
        layers = tuple(self._layer(source, descriptor) for descriptor in entry.manifest.layers)
        platform = entry.platform or Platform(
            *(str(config.get(key) or "") for key in ("os", "architecture", "variant"))
        )
        return Image(source.path, str(platform), settings, entry.manifest.layers, layers, stack(layers))

    def _layer(self, source: oci.ArtifactSource, descriptor: Descriptor) -> Layer:
        digest = str(descriptor.digest)
        if digest not in self._layers:
            self._layers[digest] = read_layer(source, descriptor)
        return self._layers[digest]
