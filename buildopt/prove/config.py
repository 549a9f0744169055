"""Compares the settings of two images: what a container is started with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from buildopt.prove.image import Image
from buildopt.prove.proof import Excluded, SettingDifference

# As a Dockerfile calls them, and the image's configuration.
_SINGLE = (
    ("USER", "User"), ("WORKDIR", "WorkingDir"), ("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd"),
    ("HEALTHCHECK", "Healthcheck"), ("STOPSIGNAL", "StopSignal"), ("SHELL", "Shell"), ("ONBUILD", "OnBuild"),
)  # fmt: skip
# Entrypoints of images for building that do nothing at run time but start what CMD says, and those of their runtime
# images: the one sets up Maven's folder, the other adds certificates where a variable asks for it.
_STARTERS = frozenset(("/usr/local/bin/mvn-entrypoint.sh", "/__cacert_entrypoint.sh"))
_EXAMPLES = 6


def compare_settings(before: Image, after: Image) -> tuple[list[SettingDifference], list[Excluded]]:
    """What differs, and what was left out: environment and labels that came with another base image."""
    starter = _another_starter(before, after)
    differences = [item for item in _single(before, after) if starter is None or item.name != "ENTRYPOINT"]
    for name, key in (("EXPOSE", "ExposedPorts"), ("VOLUME", "Volumes")):
        was, now = _names(before.settings, key), _names(after.settings, key)
        differences += [SettingDifference(name, item, None) for item in sorted(was - now)]
        differences += [SettingDifference(name, None, item) for item in sorted(now - was)]
    excluded = [] if starter is None else [starter]
    for name, read in (("ENV", _environment), ("LABEL", _labels)):
        of_the_base: list[str] = []
        sides = [read(part) for part in (before.settings, after.settings, before.base_settings, after.base_settings)]
        differences += _pairs(name, sides, of_the_base)
        if of_the_base:
            what = "environment" if name == "ENV" else "labels"
            why = "the base image is another one, and only that gave them"
            excluded.append(
                Excluded(f"{what} of the base image", why, len(of_the_base), tuple(of_the_base[:_EXAMPLES]))
            )
    return differences, excluded


def _another_starter(before: Image, after: Image) -> Excluded | None:
    """Set where both images have their base image's entrypoint, and each only starts what CMD says."""
    shown: list[str] = []
    for image in (before, after):
        own = image.settings.get("Entrypoint")
        words = own if isinstance(own, list) else []
        if own != image.base_settings.get("Entrypoint") or (words and (len(words) > 1 or words[0] not in _STARTERS)):
            return None
        shown += map(str, words)
    if not shown or before.settings.get("Entrypoint") == after.settings.get("Entrypoint"):
        return None
    why = "the base image is another one, and its entrypoint too only starts what CMD says"
    return Excluded("entrypoint of the base image", why, 1, tuple(shown))


def _single(before: Image, after: Image) -> Iterator[SettingDifference]:
    for name, key in _SINGLE:
        was, now = before.settings.get(key), after.settings.get(key)
        if name == "USER":
            was, now = _user(was), _user(now)
        if name == "WORKDIR":
            was, now = was or "/", now or "/"
        if (was or None) != (now or None):
            yield SettingDifference(name, _shown(was), _shown(now))


def _user(value: object) -> object:
    """Nobody named means root."""
    return "" if value in ("root", "0", "0:0", "root:root") else value


def _pairs(name: str, sides: list[dict[str, str]], of_the_base: list[str]) -> Iterator[SettingDifference]:
    before, after, old_base, new_base = sides
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if old_base != new_base and _by_base(key, (was, old_base), (now, new_base)):
            of_the_base.append(key)
        else:
            yield SettingDifference(f"{name} {key}", was, now)


def _by_base(key: str, old: tuple[str | None, dict[str, str]], new: tuple[str | None, dict[str, str]]) -> bool:
    """Whether two values differ only by what their base images gave: as it is, or with more around it."""
    shares: list[str | None] = []
    for value, base in (old, new):
        given = base.get(key)
        if value is None or value == given:
            # Not set at all: then by the file neither, unless it did so in the other one.
            shares.append(None)
        elif given:
            shares.append(value.replace(given, "\0"))
        else:
            shares.append(value)
    return shares[0] == shares[1]


def _names(settings: Mapping[str, object], key: str) -> set[str]:
    value = settings.get(key)
    return {str(name) for name in value} if isinstance(value, dict) else set()


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    value = settings.get("Env")
    pairs = (str(item).partition("=") for item in value) if isinstance(value, list) else ()
    return {name: text for name, _, text in pairs}


def _labels(settings: Mapping[str, object]) -> dict[str, str]:
    value = settings.get("Labels")
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _shown(value: object) -> str | None:
    if not value:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
