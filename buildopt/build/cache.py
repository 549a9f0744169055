"""Build caches outside the engine (``--cache``), as buildx takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from buildopt.build.gha import Scopes
from buildopt.errors import UsageError
from buildopt.oci.reference import Reference
from buildopt.settings import nearest

KINDS = ("gha", "registry", "local", "s3")
_FORM = "gha, registry=REF, local=DIR, or s3=bucket=NAME,region=REGION"
# Fields that matter to reading and to writing, and those that only writing knows.
_BOTH = {
    "gha": "scope url url_v2 timeout version",
    "registry": "registry.insecure",
    "local": "tag",
    "s3": "bucket region name prefix blobs_prefix manifests_prefix endpoint_url use_path_style access_key_id",
}
_LAYERS = "compression compression-level force-compression oci-mediatypes image-manifest"
_WRITING = {
    "gha": "mode ignore-error repository",
    "registry": f"mode ignore-error {_LAYERS}",
    "local": f"mode ignore-error {_LAYERS}",
    "s3": "mode ignore-error upload_parallelism touch_refresh",
}
_SECRETS = {
    "token": "ACTIONS_RUNTIME_TOKEN",
    "ghtoken": "ACTIONS_RUNTIME_TOKEN",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
# All stages, and no failed build for a cache that cannot be written. Every registry takes a cache that is one manifest.
_USUAL = ("mode=max", "ignore-error=true")
_USUAL_OF = {"registry": ("oci-mediatypes=true", "image-manifest=true")}


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache: ``fields`` are what both directions share, ``writing`` what is typed for writing only; ``folder`` is
    that of a local one, ``scopes`` are those of a gha one that names none."""

    kind: str
    fields: tuple[str, ...] = ()
    writing: tuple[str, ...] = ()
    folder: Path | None = None
    scopes: Scopes | None = None

    @property
    def sources(self) -> tuple[tuple[str, ...], ...]:
        """Fields of each ``--cache-from``; none where there is nothing to read yet."""
        if self.folder is not None:
            found = (self.folder / "index.json").is_file()
            return ((f"type={self.kind}", f"src={self.folder}", *self.fields),) if found else ()
        if self.scopes is not None:
            return tuple((f"type={self.kind}", f"scope={scope}", *self.fields) for scope in self.scopes.reads)
        return ((f"type={self.kind}", *self.fields),)

    @property
    def target(self) -> tuple[str, ...] | None:
        """Fields of ``--cache-to``; None where nobody could read what is written."""
        place: tuple[str, ...] = () if self.folder is None else (f"dest={self.folder}",)
        if self.scopes is not None:
            if not self.scopes.writes:
                return None
            place = (f"scope={self.scopes.writes}",)
        typed = {field.partition("=")[0] for field in self.writing}
        usual = (*_USUAL, *_USUAL_OF.get(self.kind, ()))
        usual = tuple(field for field in usual if field.partition("=")[0] not in typed)
        return (f"type={self.kind}", *place, *self.fields, *self.writing, *usual)

    @property
    def place(self) -> str:
        """What it is called in messages."""
        if self.folder is not None:
            return f"local={self.folder}"
        first = next((field for field in self.fields if field.startswith(("ref=", "bucket="))), "")
        return f"{self.kind}={first.partition('=')[2]}" if first else self.kind


def parse(text: str, folder: Path, scopes: Scopes | None = None) -> Cache:
    """Read one ``--cache``. ``folder`` is what a local one is relative to, ``scopes`` are for a gha one without.

    A place may be followed by fields that buildx knows: ``registry=REF,mode=min``. What buildx itself is given
    (``type=registry,ref=REF``) is understood too. Raises UsageError.
    """
    text = _ours(text)
    kind, separator, rest = re.fullmatch(r"([^=,]*)([=,]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if kind not in KINDS:
        raise UsageError(f"unknown kind of cache: {kind!r}", hint=nearest(kind, list(KINDS)) if kind else _FORM)
    place = ""
    if kind in ("registry", "local"):
        place, rest = _place(kind, rest) if separator == "=" else ("", rest)
        if not place:
            raise UsageError(f"cache {kind} needs a place", hint=f"write --cache {_FORM}")
    fields, writing = _fields(kind, rest)
    if kind == "s3" and not any(field.startswith("bucket=") for field in fields):
        raise UsageError("cache s3 needs a bucket", hint=f"write --cache {_FORM}")
    if kind == "registry":
        Reference.parse(place)
        return Cache(kind, (f"ref={place}", *fields), writing)
    if kind == "local":
        return Cache(kind, fields, writing, folder=(folder / place).absolute())
    own = kind == "gha" and not any(field.startswith("scope=") for field in fields)
    return Cache(kind, fields, writing, scopes=scopes if own else None)


def _ours(text: str) -> str:
    """A cache as buildx writes it, ``type=KIND,…``, the way it is written here."""
    match = re.match(r"type=(\w*),?", text)
    if match is None:
        return text
    kind, rest = match[1], text[match.end() :]
    places = {"registry": ("ref",), "local": ("dest", "src")}.get(kind, ())
    found = {name: value for name, equals, value in (field.partition("=") for field in rest.split(",")) if equals}
    place = next((found[name] for name in places if name in found), "")
    others = [field for field in rest.split(",") if field and field.partition("=")[0] not in places]
    return ",".join([f"{kind}={place}" if place else kind, *others])


def check_folder(folder: Path) -> None:
    """Raise UsageError unless a folder for a cache is absent, empty, or was one before."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"the cache {folder} cannot be used: {error.strerror}", hint="choose another folder with --cache"
        ) from error
    if names and not names & {"index.json", "ingest"}:
        raise UsageError(
            f"{folder} is neither empty nor a cache; nothing was written", hint="choose another folder with --cache"
        )


def _place(kind: str, rest: str) -> tuple[str, str]:
    """A place and the fields behind it: from the first comma on that a known field follows."""
    known = "|".join(map(re.escape, f"{_BOTH[kind]} {_WRITING[kind]}".split()))
    match = re.search(rf",(?=({known})=)", rest)
    return (rest[: match.start()], rest[match.end() :]) if match else (rest, "")


def _fields(kind: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Typed fields: those of both directions, and those of writing. Raises UsageError for one unknown to buildx, or one
    that would put a secret where everyone can read it."""
    both: list[str] = []
    writing: list[str] = []
    known = f"{_BOTH[kind]} {_WRITING[kind]}".split()
    for field in text.split(",") if text else ():
        name, equals, value = field.partition("=")
        if name in _SECRETS:
            raise UsageError(
                f"{name} of cache {kind} does not belong on a command line",
                hint=f"everyone on the machine can read it there: set {_SECRETS[name]} in the environment",
            )
        if name not in known or not equals or not value:
            hint = nearest(name, known) if name not in known else f"write {name}=VALUE"
            raise UsageError(f"cache {kind} has no field {field!r}", hint=hint)
        if name == "mode" and value not in ("min", "max"):
            raise UsageError(f"not a mode of a cache: {value!r}", hint="mode=max (all stages) or mode=min (the last)")
        (both if name in _BOTH[kind].split() else writing).append(field)
    return tuple(both), tuple(writing)


def parse_compression(text: str) -> tuple[str, ...]:
    """Fields of ``--output`` for ``--compression gzip|zstd[:LEVEL]``. Every layer is made so. Raises UsageError."""
    kind, colon, level = text.partition(":")
    most = {"gzip": 9, "zstd": 22}.get(kind)
    if most is None or (colon and not (level.isascii() and level.isdigit() and int(level) <= most)):
        raise UsageError(f"not a compression: {text!r}", hint="gzip, gzip:0 to gzip:9, zstd, or zstd:0 to zstd:22")
    extra = (f"compression-level={int(level)}",) if colon else ()
    return (f"compression={kind}", *extra, "force-compression=true", "oci-mediatypes=true")
