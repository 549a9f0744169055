"""Digests and documents from outside are read strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.errors import ArtifactError
from buildopt.oci.descriptor import (
    MAX_DOCUMENT,
    MAX_ENTRIES,
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    Index,
    Manifest,
    parse_document,
)

HEX = "a" * 64
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{HEX}", "size": 3}


def manifest(**changes: object) -> bytes:
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": LAYER, "layers": [LAYER]}
    return json.dumps({key: value for key, value in (document | changes).items() if value != "absent"}).encode()


@pytest.mark.parametrize("text", [f"sha256:{HEX}", "sha512:" + "0" * 128])
def test_a_digest_is_read_and_written_unchanged(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}a",
        f"sha256:{HEX.upper()}",
        f"sha512:{HEX}",
        f"md5:{HEX}",
        f"sha256:{HEX}\n",
        "sha256:../../../../etc/passwd" + "a" * 42,
        f"sha256:{HEX[:-2]}..",
        f" sha256:{HEX}",
        f"sha256:{'١' * 64}",
        None,
        7,
    ],
)
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(ArtifactError, match="not a digest"):
        Digest.parse(text)


def test_a_manifest_keeps_its_bytes() -> None:
    data = manifest() + b"\n \n"
    parsed = parse_document(data, OCI_MANIFEST)
    assert isinstance(parsed, Manifest)
    assert parsed.data == data
    assert [str(blob.digest) for blob in parsed.blobs] == [f"sha256:{HEX}"] * 2


def test_an_index_without_media_type_is_one() -> None:
    parsed = parse_document(b'{"schemaVersion":2,"manifests":null}')
    assert isinstance(parsed, Index)
    assert parsed.manifests == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (manifest(manifests=[LAYER]), "manifest and an index at once"),
        (manifest(manifests=[LAYER], layers="absent"), "manifest and an index at once"),
        (manifest(mediaType=OCI_INDEX), "its descriptor says"),
        (manifest(layers="absent"), "neither"),
        (manifest(config="absent"), "neither"),
        (manifest(layers={}), "not a list"),
        (manifest(layers=[LAYER] * (MAX_ENTRIES + 1)), "more than"),
        (manifest(layers=[{**LAYER, "size": -1}]), "no valid size"),
        (manifest(layers=[{**LAYER, "size": True}]), "no valid size"),
        (manifest(layers=[{**LAYER, "size": 1e3}]), "no valid size"),
        (manifest(layers=[{**LAYER, "mediaType": "x/y\r\nSet-Cookie: a"}]), "no valid media type"),
        (manifest(layers=[{**LAYER, "digest": "sha256:.."}]), "not a digest"),
        (manifest(layers=[{**LAYER, "data": "e30="}]), "carries data that is not"),
        (manifest(annotations={"a": 1}), "annotations"),
        (manifest()[:-1] + b', "layers": []}', "twice"),
        (b"[" * 100_000, "nested too deeply|not valid JSON"),
        (b'{"a":' * 100_000, "nested too deeply|not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b" " * (MAX_DOCUMENT + 1), "larger than"),
    ],
)
def test_a_document_that_cannot_be_trusted_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        parse_document(data, OCI_MANIFEST)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | inner))
def test_any_value_in_any_place_is_an_artifact_error_or_a_document(value: object) -> None:
    for key in ("mediaType", "config", "layers", "manifests", "annotations", "subject", "artifactType"):
        try:
            parse_document(manifest(**{key: value}))
        except ArtifactError:
            continue


def test_the_empty_descriptor_needs_no_blob() -> None:
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    parsed = parse_document(manifest(config=empty))
    assert isinstance(parsed, Manifest)
    assert parsed.config.data == b"{}"
