"""A build as it is remembered: what went in, which steps ran, how long they took. No value of a secret is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TypeVar

VERSION = 1
DONE, FAILED, UNFINISHED = "done", "failed", "unfinished"
UNKNOWN = "?"
"""In place of a listing: there was no time to look at the files."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An ARG or ENV that a step sees.

    ``value`` is a keyed hash (``#…``) where the name sounds secret, ``definition`` the instruction that sets it, as it
    is written, ``line`` where that stands. ``arguments`` are the build arguments from outside that it depends on.
    """

    name: str
    kind: str
    value: str
    definition: str
    line: int
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction on one or several platforms.

    ``key`` stands for everything that the result depends on, the steps before included; ``parts`` are the step's own
    share of it by name. ``files`` is the name of the listing of what it copies or mounts. ``needs`` are positions of
    the steps that it is made from. ``matched``: the instruction was found in the Dockerfile. ``state`` is done, failed
    or unfinished; ``seconds`` how long it ran.
    """

    stage: str
    number: int
    text: str
    platforms: tuple[str, ...] = ()
    line: int = 0
    cached: bool = False
    state: str = DONE
    seconds: float = 0.0
    key: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    files: str = ""
    variables: tuple[Variable, ...] = ()
    needs: tuple[int, ...] = ()
    matched: bool = True


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """A platform's image: its digest and size in bytes (manifest, config and layers)."""

    platform: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """One run of ``build-once``. ``id`` sorts by time; ``started`` is in UTC, ISO 8601; ``seconds`` is all of it.

    ``context`` and ``dockerfile`` are relative to the working folder where they lie in it.
    ``arguments`` are the build arguments that were given, ``bases`` the digests of images by name, ``ignore`` names the
    state of the ignore file in force. ``error`` is why the build failed.
    """

    id: str
    started: str
    seconds: float
    ok: bool
    context: str
    dockerfile: str
    builder: str
    platforms: tuple[str, ...] = ()
    target: str = ""
    digest: str = ""
    images: tuple[PlatformImage, ...] = ()
    steps: tuple[Step, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    ignore: str = ""
    text: str = ""
    syntax: str = ""
    commit: str = ""
    dirty: bool = False
    error: str = ""
    version: int = VERSION

    @property
    def cached(self) -> int:
        """How many steps came from the cache."""
        return sum(step.cached for step in self.steps)

    def to_json(self) -> str:
        """The record as a file holds it; what is empty is left out."""
        document = asdict(self)
        document["steps"] = [
            {name: value for name, value in step.items() if _told(value)} for step in document["steps"]
        ]
        return json.dumps(document, ensure_ascii=True, separators=(",", ":"))


def _told(value: object) -> bool:
    return value is True or value is False or bool(value)


def from_json(text: str) -> Record:
    """Read a record leniently: unknown fields are passed over. Raises ValueError where it is none."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("not an object")
    version = document.get("version")
    if not isinstance(version, int) or version < 1:
        raise ValueError("no version")
    record = _made(Record, document, {"steps": _steps, "images": _images})
    if not record.id:
        raise ValueError("no id")
    count = len(record.steps)
    if any(not 0 <= need < number for number, step in enumerate(record.steps) for need in step.needs):
        raise ValueError(f"a step needs one that is not before it (of {count})")
    return record


_Made = TypeVar("_Made", Record, Step, Variable, PlatformImage)


def _made(kind: type[_Made], document: Mapping[str, object], special: Mapping[str, object]) -> _Made:
    """A dataclass from a JSON object; a missing field is empty, one of a wrong type a ValueError."""
    values: dict[str, object] = {}
    for entry in fields(kind):
        value = document.get(entry.name)
        reader = special.get(entry.name) or _READERS[str(entry.type)]
        assert callable(reader)
        if value is None and entry.name in ("cached", "matched", "ok", "state"):
            continue
        values[entry.name] = reader(value)
    try:
        return kind(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(str(error)) from error


def _objects(value: object) -> list[dict[str, object]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError("not a list of objects")
    return value


def _steps(value: object) -> tuple[Step, ...]:
    return tuple(_made(Step, entry, {"variables": _variables}) for entry in _objects(value))


def _variables(value: object) -> tuple[Variable, ...]:
    return tuple(_made(Variable, entry, {}) for entry in _objects(value))


def _images(value: object) -> tuple[PlatformImage, ...]:
    return tuple(_made(PlatformImage, entry, {}) for entry in _objects(value))


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _flag(value: object) -> bool:
    return value is True


def _whole(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not a whole number")
    return value


def _number(value: object) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a number")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("not a list")
    return tuple(_text(entry) for entry in value)


def _wholes(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("not a list")
    return tuple(_whole(entry) for entry in value)


def _mapping(value: object) -> Mapping[str, str]:
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return {str(key): _text(entry) for key, entry in value.items()}


_READERS: Mapping[str, object] = {
    "str": _text,
    "bool": _flag,
    "int": _whole,
    "float": _number,
    "tuple[str, ...]": _texts,
    "tuple[int, ...]": _wholes,
    "Mapping[str, str]": _mapping,
}
