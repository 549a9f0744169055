"""``buildopt inspect``: what an artifact holds, and whether it is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import click

from buildopt.commands.common import Output, output_options
from buildopt.errors import OK, ArtifactError
from buildopt.oci import gate_record
from buildopt.oci.check import Problem, check
from buildopt.oci.descriptor import REFERENCE_DIGEST, Descriptor
from buildopt.oci.layout import ArtifactSource, Image, ImageManifest, absent_layers, open_artifact, resolve
from buildopt.oci.lock import reading
from buildopt.report.units import human

EXAMPLES = """\b
Examples:
  buildopt inspect
  buildopt inspect image.tar --check
  buildopt inspect --format json | jq -r .digest
"""


@click.command(epilog=EXAMPLES)
@click.argument("path", default=".buildopt/image", type=click.Path(path_type=Path))
@click.option("--image", "wanted", default="", metavar="NAME", help="Of several images the one of this name or digest.")
@click.option("--check", "checking", is_flag=True, help="Read every byte and list everything that is wrong.")
@output_options()
def inspect(path: Path, wanted: str, checking: bool, output: Output) -> int:
    """Show platforms, layers, sizes, digests and attestations of an artifact (a layout folder or an OCI tar)."""
    with reading(path):  # a build that finishes meanwhile leaves these blobs where they are
        source, problems = _checked(path, wanted) if checking else (open_artifact(path), ())
        fatal = [problem for problem in problems if problem.fatal]
        try:
            image = resolve(source, wanted)
        except ArtifactError:
            if not fatal:
                raise
            image = None
        if output.json:
            output.result(json.dumps(_document(source, image, problems, checking), indent=2) + "\n")
        else:
            output.result(_text(source, image, problems, checking))
        return ArtifactError.exit_code if fatal else OK


def _checked(path: Path, wanted: str) -> tuple[ArtifactSource, tuple[Problem, ...]]:
    """An artifact and all that is wrong with it; what keeps it from being opened is an ArtifactError that lists it."""
    unsafe: list[ArtifactError] = []
    try:
        source = open_artifact(path, unsafe.append)
    except ArtifactError as error:
        lines = [entry.message for entry in unsafe if entry.message != error.message]
        raise ArtifactError(error.message, hint=error.hint, detail=[*error.detail, *lines]) from error
    problems = check(source, contents=True)
    if wanted:  # that there are several is no problem where one was chosen
        problems = tuple(problem for problem in problems if problem.kind != "ambiguous")
    return source, (*(Problem("unsafe", entry.message) for entry in unsafe), *problems)


def _document(
    source: ArtifactSource, image: Image | None, problems: tuple[Problem, ...], checking: bool
) -> dict[str, object]:
    document: dict[str, object] = {
        "version": 1,
        "artifact": str(source.path),
        "digest": str(image.digest) if image is not None else None,
        "media_type": image.descriptor.media_type if image is not None else None,
        "names": list(image.names) if image is not None else [],
        "size": image.size if image is not None else None,
        "platforms": [_platform(entry) for entry in image.platforms] if image is not None else [],
        "attestations": [_attestation(image, *pair) for pair in _attestations(image)] if image is not None else [],
        "gates": _gates(source, image),
    }
    if checking:
        document["problems"] = [
            {"kind": problem.kind, "message": problem.message, "fatal": problem.fatal} for problem in problems
        ]
        document["ok"] = not any(problem.fatal for problem in problems)
    return document


def _blob(blob: Descriptor) -> dict[str, object]:
    document: dict[str, object] = {"digest": str(blob.digest), "media_type": blob.media_type, "size": blob.size}
    return {**document, "urls": list(blob.urls)} if blob.foreign else document


def _platform(entry: ImageManifest) -> dict[str, object]:
    return {
        "platform": str(entry.platform) if entry.platform is not None else None,
        "digest": str(entry.descriptor.digest),
        "size": sum(blob.size for blob in entry.manifest.blobs),
        "config": _blob(entry.manifest.config),
        "layers": [_blob(layer) for layer in entry.manifest.layers],
    }


def _attestations(image: Image) -> list[tuple[ImageManifest, str]]:
    """Attestations, as often as indexes name them (two platforms may have the same one), and what each speaks of."""
    manifests = {entry.descriptor.digest: entry for entry in image.manifests}
    return [
        (manifests[entry.digest], entry.annotations.get(REFERENCE_DIGEST, ""))
        for _, index in image.indexes
        for entry in index.manifests
        if entry.attestation and entry.digest in manifests
    ]


def _of_platform(image: Image, digest: str) -> str | None:
    """The platform of an image's manifest."""
    names = (str(entry.platform) for entry in image.platforms if str(entry.descriptor.digest) == digest)
    return next(names, None)


def _attestation(image: Image, entry: ImageManifest, of: str) -> dict[str, object]:
    return {
        "digest": str(entry.descriptor.digest),
        "of": of or None,
        "platform": _of_platform(image, of),
        "predicates": [_predicate(layer) for layer in entry.manifest.layers],
        "size": sum(blob.size for blob in entry.manifest.blobs),
    }


def _predicate(layer: Descriptor) -> str:
    return layer.annotations.get("in-toto.io/predicate-type", layer.media_type)


def _gates(source: ArtifactSource, image: Image | None) -> dict[str, object] | None:
    """What the gates said of this very image."""
    try:
        record = gate_record.of(source, image) if image is not None else None
    except ArtifactError as error:
        return {"verdict": "damaged", "gates": [], "reason": error.message}
    return {key: record.document()[key] for key in ("verdict", "gates")} if record is not None else None


def _gate_lines(source: ArtifactSource, image: Image) -> list[str]:
    try:
        record = gate_record.of(source, image)
    except ArtifactError as error:
        return [f"gates  damaged: {error.message}; it is not pushed without --allow-ungated"]
    if record is None:
        return []
    bad = record.verdict in (gate_record.FAILED, gate_record.INTERRUPTED)
    lines = [f"gates  {record.verdict}{': it is not pushed without --allow-ungated' if bad else ''}"]
    return lines + [
        f"  {gate.result:11} {gate.label}{f': {gate.reason}' if gate.reason else ''}" for gate in record.gates
    ]


def _text(source: ArtifactSource, image: Image | None, problems: tuple[Problem, ...], checking: bool) -> str:
    lines: list[str] = []
    if image is not None:
        lines += [f"{source.path}", f"  digest  {image.digest}", f"  size    {human(image.size)}"]
        lines += [f"  name    {gate_record.printable(name)}" for name in image.names]
        for entry in image.platforms:
            total = human(sum(blob.size for blob in entry.manifest.blobs))
            lines.append(f"{entry.platform or 'image'}  {entry.descriptor.digest}  {total}")
            lines += [f"  {layer.digest}  {human(layer.size):>10}" for layer in entry.manifest.layers]
        for entry, of in _attestations(image):
            lines.append(f"attestation  {entry.descriptor.digest}")
            said = f"  of  {_of_platform(image, of) or 'nothing here:'}  {gate_record.printable(of)}"
            lines += [said] if of else []
            for layer in entry.manifest.layers:
                lines.append(f"  {gate_record.printable(_predicate(layer))}  {human(layer.size)}")
        for layer in absent_layers(source, image) if not checking else ():
            where = ", ".join(gate_record.printable(url) for url in layer.urls[:3]) or "nowhere"
            lines.append(f"note: layer {layer.digest} is not in the artifact; it is said to be at {where}")
        lines += _gate_lines(source, image)
    for problem in problems:
        lines.append(f"{'problem' if problem.fatal else 'note'}: {problem.message}")
    if checking and not any(problem.fatal for problem in problems):
        compared = not any(problem.kind in ("config", "diff-id") for problem in problems)
        more = ", every layer what its config says" if compared else ""
        lines.append(f"every blob is there and is what it says{more}")
    return "".join(f"{line}\n" for line in lines)
