"""What a second build made differently, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildopt.prove.reproducible import LayerDifference, PlatformComparison

_FILES = 12  # of a layer, in text
_WIDTH = 110  # characters of an instruction


def text(found: Sequence[PlatformComparison], *, timed: bool) -> Iterator[str]:
    """Lines for people. ``timed``: the build was given a time (``--source-date-epoch``)."""
    for item in found:
        if item.same:
            yield f"reproducible: {item.platform} is {item.first} twice"
            continue
        yield f"not reproducible: {item.platform}"
        yield f"  first build   {item.first or 'does not have it'}"
        yield f"  second build  {item.second or 'does not have it'}"
        for setting in item.settings:
            yield f"  config: {setting}"
        for layer in item.layers:
            yield from _layer(layer)
    different = [item for item in found if not item.same]
    if different and not timed:
        rest = "nothing else differs" if all(item.only_times for item in different) else "then only the rest differs"
        yield f"  hint: --source-date-epoch git makes the times of config and files the same; {rest}"
    elif different:
        yield "  hint: look for dates, random names and downloads in the instructions named above"


def _layer(layer: LayerDifference) -> Iterator[str]:
    words = layer.instruction if len(layer.instruction) <= _WIDTH else f"{layer.instruction[:_WIDTH]}…"
    yield f"  layer {layer.number}: {words}".rstrip(": ")
    if layer.note:
        yield f"    {layer.note}"
    for file in layer.files[:_FILES]:
        yield f"    {file}"
    if layer.count > _FILES:
        yield f"    and {layer.count - _FILES} more"


def document(found: Sequence[PlatformComparison]) -> dict[str, object]:
    """The same as a part of the JSON."""
    return {"same": all(item.same for item in found), "platforms": [_platform(item) for item in found]}


def _platform(item: PlatformComparison) -> dict[str, object]:
    return {
        "platform": item.platform,
        "same": item.same,
        "first": item.first,
        "second": item.second,
        "config": [{"name": one.name, "first": one.before, "second": one.after} for one in item.settings],
        "layers": [
            {
                "number": layer.number,
                "instruction": layer.instruction,
                "first": layer.first,
                "second": layer.second,
                "note": layer.note or None,
                "count": layer.count,
                "files": [{"path": file.path, "what": file.what, "detail": file.detail} for file in layer.files],
            }
            for layer in item.layers
        ],
    }
