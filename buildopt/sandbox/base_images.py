"""Stand-ins for official base images, made from packages for two platforms: for tests and the demo, never for products.

They look like the official ones where a Dockerfile or a rewrite can tell: paths, users, environment, apt's
configuration. They differ in this: all of them begin with the layer of ``debian:bookworm-slim``, apt's sources are the
machine's own, and certificates that the machine trusts beyond Debian's are trusted inside too. Layers are not
compressed.

``python -m buildopt.sandbox.base_images`` makes them all and says where they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from buildopt import settings
from buildopt.engine import packages
from buildopt.errors import UsageError
from buildopt.sandbox import debian, images, layers, registries, trees
from buildopt.sandbox.images import Blob
from buildopt.sandbox.recipes import NAMES, PLATFORMS, RECIPES, Recipe

# To be raised whenever what is made of all images changes; a layer's own changes are seen by what it is made of.
VERSION = 4
KEY_PATTERN = "[0-9a-f]" * 16


def prepare(
    names: Sequence[str] = NAMES,
    *,
    cache: Path | None = None,
    platforms: Sequence[str] = PLATFORMS,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Path]:
    """Make base images (names of ``NAMES``) and return the OCI layout folder of each.

    What was made before, in ``cache`` (default: buildopt's own), is not made again, and a run that was killed leaves
    nothing half-made. An image whose recipe says ``native_only`` is made for the machine's own platform, whatever is
    asked for. ``say`` is told what takes long. Needs root. Raises UsageError for an unknown name or platform,
    EngineError where packages cannot be had, ToolError where a program fails.
    """
    recipes = [_recipe(name) for name in names]
    for platform in platforms:
        if platform not in PLATFORMS:
            raise UsageError(f"no base images are made for {platform}", hint=f"known: {', '.join(PLATFORMS)}")
    folder = (cache if cache is not None else settings.cache_folder()) / "base-images"
    authorities = layers.machine_authorities()
    key = _key(authorities)
    native = trees.native_architecture()
    made_for = {recipe.name: recipe.platforms(platforms, native) for recipe in recipes}
    layouts = {recipe.name: _layout(folder, key, recipe, made_for[recipe.name]) for recipe in recipes}
    if all(layout.is_dir() for layout in layouts.values()):
        return layouts
    with packages.locked(folder / "lock"), _work_folder(folder) as work, _plain_umask():
        for outdated in folder.glob(KEY_PATTERN):
            if outdated.name != key:  # made by another recipe or from another archive
                shutil.rmtree(outdated, ignore_errors=True)
        finished = folder / key / "layers"
        finished.mkdir(parents=True, exist_ok=True)
        _forget_outdated(folder / key)
        workshop = layers.Workshop(finished, work, native, (native,), authorities)
        for recipe in recipes:
            if not layouts[recipe.name].is_dir():
                _make_image(workshop, recipe, made_for[recipe.name], layouts[recipe.name], say)
    return layouts


def start_mirror(folder: Path, layouts: Mapping[str, Path]) -> registries.RunningRegistry:
    """Start a mirror of Docker Hub that has the images of ``layouts`` (what ``prepare`` returned), over plain HTTP.

    It runs until ``stop_registry(folder)``; ``fill_mirror`` adds images. Raises ToolError like ``start_registry``.
    """
    fill_mirror(folder, layouts)
    return registries.start_registry(folder, storage=folder / "storage")


def fill_mirror(folder: Path, layouts: Mapping[str, Path]) -> None:
    """Add images to the mirror of this folder, which may run: ``library/NAME`` under every tag that a stand-in is for.

    They are linked into its storage, not copied.
    """
    root = folder / "storage" / "docker" / "registry" / "v2"
    for name, layout in layouts.items():
        for alias in _recipe(name).names:
            repository, _, tag = alias.partition(":")
            _store(root, layout, f"library/{repository}", tag)


@contextmanager
def mirror(folder: Path, layouts: Mapping[str, Path]) -> Iterator[registries.RunningRegistry]:
    """A mirror that runs as long as the block; see ``start_mirror``."""
    with registries.stopped_after(start_mirror(folder, layouts)) as running:
        yield running


def _store(root: Path, layout: Path, repository: str, tag: str) -> None:
    """Put the image of a layout into a registry's storage."""
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"][0]
    folder = root / "repositories" / repository
    manifests = {index["digest"]}
    for child in json.loads((layout / "blobs" / _slashed(index["digest"])).read_text(encoding="utf-8"))["manifests"]:
        manifests.add(child["digest"])
    for blob in (layout / "blobs" / "sha256").iterdir():
        digest = f"sha256:{blob.name}"
        data = root / "blobs" / "sha256" / blob.name[:2] / blob.name / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        images.link(blob, data)
        kind = "_manifests/revisions" if digest in manifests else "_layers"
        _write_link(folder / kind / _slashed(digest), digest)
    _write_link(folder / "_manifests" / "tags" / tag / "current", index["digest"])
    _write_link(folder / "_manifests" / "tags" / tag / "index" / _slashed(index["digest"]), index["digest"])


def _slashed(digest: str) -> str:
    return digest.replace(":", "/", 1)


def _write_link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest, encoding="utf-8")


def _recipe(name: str) -> Recipe:
    for recipe in RECIPES:
        if name in recipe.names:
            return recipe
    raise UsageError(f"there is no base image {name}", hint=settings.nearest(name, list(NAMES)))


def _key(authorities: str) -> str:
    """What all images depend on, short: Debian's layer, apt's sources, the machine's authorities."""
    parts = [str(VERSION), layers.fingerprint("debian"), debian.sources(), authorities, trees.native_architecture()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _layout(folder: Path, key: str, recipe: Recipe, platforms: Sequence[str]) -> Path:
    suffix = "-".join(platform.partition("/")[2] for platform in sorted(platforms))
    return folder / key / f"{_stem(recipe)}-{suffix}"


def _stem(recipe: Recipe) -> str:
    """The name of a recipe's layouts but for the platforms; it changes with what the image is made of."""
    parts = [repr(recipe), *(layers.fingerprint(layer) for layer in recipe.layers)]
    short = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{recipe.name.replace(':', '-').replace('/', '-')}-{short}"


def _forget_outdated(folder: Path) -> None:
    """Remove the images and layers that other recipes made."""
    current = (*(f"{_stem(recipe)}-" for recipe in RECIPES), "layers")
    for layout in folder.iterdir():
        if not layout.name.startswith(current):
            shutil.rmtree(layout, ignore_errors=True)
    known = tuple(f"{name}-{layers.fingerprint(name)}-" for name in layers.LAYERS)
    for layer in (folder / "layers").iterdir():
        if not layer.name.startswith(known):
            layer.unlink(missing_ok=True)


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    for left in folder.glob("work-*"):  # of a run that was killed: this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as work:
        yield Path(work)


@contextmanager
def _plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _make_image(
    workshop: layers.Workshop, recipe: Recipe, platforms: Sequence[str], target: Path, say: Callable[[str], None]
) -> None:
    architectures = tuple(dict.fromkeys([workshop.native, *(name.partition("/")[2] for name in platforms)]))
    workshop = replace(workshop, architectures=architectures)
    for layer in recipe.layers:
        if any(workshop.finished(layer, architecture) is None for architecture in architectures):
            say(f"making the {layer} layer of {recipe.name}")
            layers.LAYERS[layer].make(workshop)
    blobs: dict[str, list[Blob]] = {}
    for platform in platforms:
        made = [workshop.finished(layer, platform.partition("/")[2]) for layer in recipe.layers]
        blobs[platform] = [blob for blob in made if blob is not None]
    temporary = workshop.work / target.name
    config = recipe.config
    if workshop.authorities:
        config = replace(config, environment=(*config.environment, *recipe.trust))
    images.write_layout(temporary, recipe.name.partition(":")[2], blobs, config)
    os.replace(temporary, target)


def main() -> None:
    """Make the images named by the arguments (default: all) and print where they are."""
    made = prepare(sys.argv[1:] or NAMES, say=_say)
    for name, layout in made.items():
        sys.stdout.write(f"{name} {layout}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
