"""Whether a build makes the same image twice, and what differs where it does not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import zip_longest

from buildopt.build import artifact, buildx, nodes
from buildopt.build.artifact import Staging
from buildopt.build.plan import BuildPlan
from buildopt.engine.connection import Engine
from buildopt.errors import ArtifactError, EngineError, ToolError
from buildopt.oci import layout as oci
from buildopt.oci.descriptor import Descriptor, Platform, load_json
from buildopt.prove.builds import NAMESPACE, forget_mounts
from buildopt.prove.files import aspects, entry_detail
from buildopt.prove.flatten import Layer, read_layer
from buildopt.prove.proof import FileDifference, SettingDifference

MOST_FILES = 1000
"""Most files of one layer that a comparison names."""
_SHOWN = 300  # characters of a setting
_TIMES = re.compile(r"(history\[\d+\]\.)?created( \(and \d+ more\))?")


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """A layer that is not the same twice. ``number`` counts from one; ``instruction`` made it, as the image tells.

    ``first`` and ``second`` are digests, None where a build wrote no layer there. ``count`` is how many files differ,
    ``files`` the first of them. ``note`` says what else there is to say.
    """

    number: int
    instruction: str
    first: str | None
    second: str | None
    files: tuple[FileDifference, ...] = ()
    count: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlatformComparison:
    """One platform's image of both builds, by the digests of its manifests; None where a build has none."""

    platform: str
    first: str | None
    second: str | None
    settings: tuple[SettingDifference, ...] = ()
    layers: tuple[LayerDifference, ...] = ()

    @property
    def same(self) -> bool:
        """Whether both manifests are the same bytes."""
        return self.first is not None and self.first == self.second

    @property
    def only_times(self) -> bool:
        """Whether nothing differs but times."""
        settings = all(_TIMES.fullmatch(item.name) for item in self.settings)
        layers = all(
            layer.files and layer.count == len(layer.files) and all(file.what == "time" for file in layer.files)
            for layer in self.layers
        )
        return not self.same and settings and layers


def rebuild(
    plan: BuildPlan,
    command: Sequence[str],
    engine: Engine,
    staging: Staging,
    view: buildx.View,
    say: Callable[[str], None],
) -> oci.ArtifactSource:
    """Build once more, without cache and attestations, into a folder that goes with ``staging``.

    The engine's layers and the user's own cache mounts stay as they are. ``say`` is told what goes wrong beside it.
    Raises ToolError where it fails.
    """
    again = dataclasses.replace(staging, folder=staging.folder / "again", linked=frozenset())
    # Blobs that come out the same need not be sent again.
    with artifact.writes(staging.live):
        os.makedirs(again.layout)
        artifact.link_all(staging.live, again.layout)
    # Without a namespace of its own, a build without cache would empty the user's cache mounts; without a host of its
    # own (a part of what a RUN is cached by, and of nothing else) its layers would take the place of the first build's.
    own = f"buildopt-again-{secrets.token_hex(6)}"
    arguments = [word for word in plan.options.build_args if word.partition("=")[0] != NAMESPACE]
    options = dataclasses.replace(
        plan.options,
        no_cache=True,
        provenance="off",
        sbom=False,
        build_args=(*arguments, f"{NAMESPACE}={own}"),
        add_hosts=(*plan.options.add_hosts, f"{own}:127.0.0.1"),
    )
    try:
        plan = dataclasses.replace(plan, caches=(), options=options)
        built = nodes.build(plan, command, again, view, environment=engine.environment, nodes=engine.nodes)
    except EngineError:
        raise
    except ToolError as error:
        message = f"the artifact was built, but does not build a second time: {error.message}"
        raise type(error)(message, hint=error.hint, detail=error.detail) from error
    finally:
        if b"type=cache" in plan.text():
            forget_mounts(command, engine.environment, own, say)
    source = oci.open_artifact(again.layout)
    if str(oci.resolve(source).digest) != built.digest:
        raise ArtifactError("BuildKit reported another image than it wrote", hint="run the build again")
    return source


def compare(
    first: oci.ArtifactSource, second: oci.ArtifactSource, redact: Callable[[str], str] = str
) -> tuple[PlatformComparison, ...]:
    """Compare two builds of one image, platform by platform, attestations left out.

    ``redact`` blots out of settings and instructions what nobody should see. Raises ArtifactError where one of them is
    damaged.
    """
    sides = [_Side(source) for source in (first, second)]
    names = dict.fromkeys([*sides[0].entries, *sides[1].entries])
    return tuple(_compare_platform(name, sides[0], sides[1], redact) for name in names)


class _Side:
    """One build's images by platform."""

    def __init__(self, source: oci.ArtifactSource) -> None:
        self.source = source
        self.entries: dict[str, oci.ImageManifest] = {}
        for entry in oci.resolve(source).platforms:
            config = self.config(entry)
            parts = (str(config.get(key) or "") for key in ("os", "architecture", "variant"))
            self.entries[str(entry.platform or Platform(*parts))] = entry

    def config(self, entry: oci.ImageManifest) -> Mapping[str, object]:
        digest = entry.manifest.config.digest
        return load_json(self.source.read(digest), str(digest))


def _compare_platform(name: str, first: _Side, second: _Side, redact: Callable[[str], str]) -> PlatformComparison:
    old, new = first.entries.get(name), second.entries.get(name)
    digests = [None if entry is None else str(entry.descriptor.digest) for entry in (old, new)]
    found = PlatformComparison(name, digests[0], digests[1])
    if found.same or old is None or new is None:
        return found
    was, now = first.config(old), second.config(new)
    layers = _layers((first.source, _steps(was, old)), (second.source, _steps(now, new)))
    return dataclasses.replace(
        found,
        settings=tuple(_settings(was, now, redact)),
        layers=tuple(dataclasses.replace(layer, instruction=redact(layer.instruction)) for layer in layers),
    )


def _settings(
    was: Mapping[str, object], now: Mapping[str, object], redact: Callable[[str], str]
) -> list[SettingDifference]:
    """What differs in two image configurations, layers left out; steps that differ in the same way stand once."""
    old, new = dict(_leaves(was)), dict(_leaves(now))
    found: dict[str, SettingDifference] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) == new.get(name) or name.startswith("rootfs.diff_ids"):
            continue
        group = re.sub(r"^history\[\d+\]", "history[*]", name)
        counts[group] = counts.get(group, 0) + 1
        found.setdefault(group, SettingDifference(name, _shown(old.get(name), redact), _shown(new.get(name), redact)))
    return [
        dataclasses.replace(item, name=f"{item.name} (and {counts[group] - 1} more)") if counts[group] > 1 else item
        for group, item in found.items()
    ]


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, part in enumerate(value):
            yield from _leaves(part, f"{path}[{number}]")
    else:
        yield path, value


def _shown(value: object, redact: Callable[[str], str]) -> str | None:
    if value is None:
        return None
    text = redact(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction and the layer that it made, if any, with the digest of its unpacked tar."""

    instruction: str
    layer: Descriptor | None = None
    unpacked: object = None


def _steps(config: Mapping[str, object], entry: oci.ImageManifest) -> list[_Step]:
    """Every instruction that the image's history tells of; where that does not fit the layers, the layers alone."""
    history, rootfs = config.get("history"), config.get("rootfs")
    told = [step for step in history if isinstance(step, dict)] if isinstance(history, list) else []
    unpacked = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    layers = entry.manifest.layers
    ids = unpacked if isinstance(unpacked, list) and len(unpacked) == len(layers) else [None] * len(layers)
    made = list(zip(layers, ids, strict=True))
    if sum(not step.get("empty_layer") for step in told) != len(made):
        return [_Step("", layer, identity) for layer, identity in made]
    left = iter(made)
    return [
        _Step(_instruction(step)) if step.get("empty_layer") else _Step(_instruction(step), *next(left))
        for step in told
    ]


def _instruction(step: Mapping[str, object]) -> str:
    text = str(step.get("created_by") or "").removesuffix(" # buildkit")
    return " ".join(text.split())


def _layers(
    first: tuple[oci.ArtifactSource, list[_Step]], second: tuple[oci.ArtifactSource, list[_Step]]
) -> Iterator[LayerDifference]:
    number = 0
    for old, new in zip_longest(first[1], second[1], fillvalue=_Step("")):
        number += old.layer is not None or new.layer is not None
        if (old.layer and old.layer.digest) == (new.layer and new.layer.digest):
            continue
        digests = [None if step.layer is None else str(step.layer.digest) for step in (old, new)]
        found = LayerDifference(number, old.instruction or new.instruction, digests[0], digests[1])
        if old.layer is None or new.layer is None:
            which = "second" if old.layer is None else "first"
            yield dataclasses.replace(found, note=f"only the {which} build wrote a layer here")
        elif old.unpacked is not None and old.unpacked == new.unpacked:
            yield dataclasses.replace(found, note="the same content, compressed in another way")
        else:
            yield _with_files(found, read_layer(first[0], old.layer), read_layer(second[0], new.layer))


def _with_files(found: LayerDifference, old: Layer, new: Layer) -> LayerDifference:
    files: list[FileDifference] = []
    count = 0
    for item in _files(old, new):
        count += 1
        if len(files) < MOST_FILES:
            files.append(item)
    note = ""
    if not count:
        order = list(old.added) != list(new.added)
        note = (
            "the same files in another order"
            if order
            else "its files are the same, only what tar notes beside them is not"
        )
    return dataclasses.replace(found, files=tuple(files), count=count, note=note)


def _files(old: Layer, new: Layer) -> Iterator[FileDifference]:
    """What differs in two layers, times included."""
    for path in sorted({*old.added, *new.added}):
        was, now = old.added.get(path), new.added.get(path)
        what = aspects(was, now)
        details = [entry_detail(was, now, what)] if what else []
        if was is not None and now is not None and was.modified != now.modified:
            what |= {"time"}
            details.append(f"time was {_time(was.modified)}, is {_time(now.modified)}")
        if what:
            yield FileDifference(f"/{path}", ", ".join(sorted(what)), "; ".join(filter(None, details)))
    for link, target in sorted({*old.links} ^ {*new.links}):
        which = "first" if (link, target) in old.links else "second"
        yield FileDifference(f"/{link}", "hard link", f"to /{target} by the {which} build alone")
    for path in sorted((old.removed ^ new.removed) | (old.emptied ^ new.emptied)):
        which = "first" if path in old.removed | old.emptied else "second"
        yield FileDifference(f"/{path}", "removed", f"by the {which} build alone")


def _time(seconds: float) -> str:
    try:
        text = datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:f}"
    return text if seconds == int(seconds) else f"{text}{f'{seconds % 1:.6f}'[1:]}"
