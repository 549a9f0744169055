"""Build caches outside the engine (``--cache``), as buildx takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from buildopt.errors import UsageError
from buildopt.oci.reference import Reference
from buildopt.settings import nearest

KINDS = ("gha", "registry", "local", "s3")
_FORM = "gha, registry=REF, local=DIR, or s3=bucket=NAME,region=REGION"


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache: ``fields`` are what both directions share; ``folder`` is that of a local one."""

    kind: str
    fields: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def source(self) -> tuple[str, ...] | None:
        """Fields of ``--cache-from``; None where there is nothing to read yet."""
        if self.folder is not None:
            found = (self.folder / "index.json").is_file()
            return ("type=local", f"src={self.folder}") if found else None
        return (f"type={self.kind}", *self.fields)

    @property
    def target(self) -> tuple[str, ...]:
        """Fields of ``--cache-to``: all stages, and no failed build for a cache that cannot be written."""
        fields = self.fields if self.folder is None else (f"dest={self.folder}",)
        return (f"type={self.kind}", *fields, "mode=max", "ignore-error=true")


def parse(text: str, folder: Path, scope: str = "") -> Cache:
    """Read one ``--cache``. ``folder`` is what a local one is relative to; ``scope`` keeps the caches of several images
    apart where the kind has one place for all. Raises UsageError."""
    kind, equals, value = text.partition("=")
    if kind not in KINDS:
        raise UsageError(f"unknown kind of cache: {text!r}", hint=nearest(kind, list(KINDS)) if kind else _FORM)
    if kind == "gha":
        fields = tuple(value.split(",")) if value else ((f"scope={scope}",) if scope else ())
        return Cache(kind, fields)
    if not equals or not value:
        raise UsageError(f"cache {kind} needs a place", hint=f"write --cache {_FORM}")
    if kind == "registry":
        Reference.parse(value)
        return Cache(kind, (f"ref={value}",))
    if kind == "local":
        return Cache(kind, folder=(folder / value).absolute())
    return Cache(kind, tuple(value.split(",")))


def parse_compression(text: str) -> tuple[str, ...]:
    """Fields of ``--output`` for ``--compression gzip|zstd[:LEVEL]``. Every layer is made so. Raises UsageError."""
    kind, colon, level = text.partition(":")
    most = {"gzip": 9, "zstd": 22}.get(kind)
    if most is None or (colon and not (level.isascii() and level.isdigit() and int(level) <= most)):
        raise UsageError(f"not a compression: {text!r}", hint="gzip, gzip:0 to gzip:9, zstd, or zstd:0 to zstd:22")
    extra = (f"compression-level={int(level)}",) if colon else ()
    return (f"compression={kind}", *extra, "force-compression=true", "oci-mediatypes=true")
