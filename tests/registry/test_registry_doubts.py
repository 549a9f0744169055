"""Answers that something in the registry's place may have given: what they say is not taken for more than it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, Scripted, scripted_registry

from buildopt.oci.descriptor import OCI_MANIFEST, Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import retry
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust

DATA = b"a blob"
DIGEST = Digest.of(DATA)
OTHER = Digest.of(b"another one")


@pytest.fixture
def registry() -> Iterator[Scripted]:
    with scripted_registry() as scripted:
        yield scripted


@pytest.fixture
def client(registry: Scripted) -> Iterator[Registry]:
    transport = Transport(Trust(folders=()))
    yield Registry(registry.host, Keychain(), transport)
    transport.close()


def answering(registry: Scripted, method: str, status: int, **headers: str) -> None:
    """From now on requests of this method below a repository are answered so, and the registry hears of none."""

    def fault(handler: Handler) -> bool:
        if handler.command != method or handler.path == "/v2/":
            return False
        handler.body()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.close_connection = True
        return True

    registry.fault = fault


@pytest.mark.parametrize(
    ("headers", "there"),
    [
        ({}, True),
        ({"Content_Length": "6"}, True),
        ({"Content_Length": "0"}, True),  # some proxies say so of every HEAD
        ({"Content_Length": "5"}, False),
        ({"Content_Length": "6", "Docker_Content_Digest": str(DIGEST)}, True),
        ({"Content_Length": "6", "Docker_Content_Digest": str(OTHER)}, False),
        ({"Content_Length": "6", "Docker_Content_Digest": f"sha512:{'a' * 128}"}, True),
    ],
)
def test_what_is_there_has_the_right_name_and_size(
    registry: Scripted, client: Registry, headers: dict[str, str], there: bool
) -> None:
    answering(registry, "HEAD", 200, **headers)
    assert client.has_blob("acme/app", DIGEST, len(DATA)) is there
    assert client.has_manifest("acme/app", str(DIGEST), len(DATA)) is there


def test_a_tag_is_there_whatever_it_names(registry: Scripted, client: Registry) -> None:
    answering(registry, "HEAD", 200, Docker_Content_Digest=str(OTHER))
    assert client.has_manifest("acme/app", "1")


def test_an_upload_that_names_what_it_stored_is_not_asked_about(registry: Scripted, client: Registry) -> None:
    client.upload("acme/app", DIGEST, len(DATA), DATA)
    assert registry.count("HEAD", "") == 0


def test_an_upload_that_names_nothing_is_asked_about(registry: Scripted, client: Registry) -> None:
    registry.gullible = True
    client.upload("acme/app", DIGEST, len(DATA), DATA)
    assert registry.count("HEAD", str(DIGEST)) == 1


@pytest.mark.parametrize("headers", [{}, {"Docker_Content_Digest": str(OTHER)}], ids=["no name", "another name"])
def test_an_upload_that_was_lost_is_no_success(registry: Scripted, client: Registry, headers: dict[str, str]) -> None:
    answering(registry, "PUT", 201, **headers, Content_Length="0")
    with pytest.raises(RegistryError, match=r"took the upload of sha256:.* and does not have it") as caught:
        client.upload("acme/app", DIGEST, len(DATA), DATA)
    assert (caught.value.kind, caught.value.transient, bool(caught.value.hint)) == ("server", True, True)


def test_a_mount_that_was_lost_is_no_success(registry: Scripted, client: Registry) -> None:
    answering(registry, "POST", 201, Content_Length="0")
    assert not client.mount("acme/app", DIGEST, "acme/base")
    registry.blobs["acme/app", str(DIGEST)] = DATA
    assert client.mount("acme/app", DIGEST, "acme/base")


def test_a_manifest_that_was_lost_is_no_success(registry: Scripted, client: Registry) -> None:
    answering(registry, "PUT", 201, Content_Length="0")
    with pytest.raises(RegistryError, match=r"took the manifest sha256:.* and does not have it") as caught:
        client.put_manifest("acme/app", str(DIGEST), DATA, OCI_MANIFEST)
    assert caught.value.transient
    client.put_manifest("acme/app", "1", DATA, OCI_MANIFEST)  # who writes a tag reads it back


@pytest.mark.parametrize(
    ("named", "attempts"),
    [(False, 2), (True, 1)],
    ids=["nobody says what was taken", "the registry took it, and somebody else was next"],
)
def test_a_tag_that_still_names_another_image(
    registry: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool, attempts: int
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    artifacts.make_layout(tmp_path / "layout")
    source = open_artifact(tmp_path / "layout")
    image = resolve(source)
    registry.manifests["acme/app", "1"] = (b'{"older": true}', OCI_MANIFEST)
    lost = []

    def fault(handler: Handler) -> bool:
        if handler.command != "PUT" or not handler.path.endswith("/manifests/1"):
            return False
        lost.append(handler.path)
        if len(lost) > 1:
            return False
        handler.body()
        return handler.answer(201, Docker_Content_Digest=str(image.digest)) if named else handler.answer(201)

    registry.fault = fault
    plan = PushPlan(source, image, (Target(Reference.parse(f"{registry.host}/acme/app:1")),))
    (outcome,) = push(plan, Keychain(), Trust(folders=())).outcomes
    assert len(lost) == attempts
    assert (outcome.problem.kind if outcome.problem is not None else "") == ("digest" if named else "")


@pytest.mark.parametrize("knows", [True, False])
def test_a_digest_that_the_registry_does_not_know_is_not_hidden_by_a_tag(
    registry: Scripted, tmp_path: Path, knows: bool, quick: None
) -> None:
    """It would be pushed under another digest than the one that is told."""
    config = artifacts.put(tmp_path, b'{"os":"linux","architecture":"amd64"}', artifacts.CONFIG)
    layers = [artifacts.put(tmp_path, DATA, "application/vnd.oci.image.layer.v1.tar")]
    kind = OCI_MANIFEST
    data = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode()
    digest = hashlib.sha512(data).hexdigest()
    (tmp_path / "blobs" / "sha512").mkdir()
    (tmp_path / "blobs" / "sha512" / digest).write_bytes(data)
    artifacts.finish(tmp_path, [{"mediaType": kind, "digest": f"sha512:{digest}", "size": len(data)}])

    def fault(handler: Handler) -> bool:
        unknown = handler.command == "PUT" and "/manifests/sha512:" in handler.path and not knows
        return unknown and handler.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")

    registry.fault = fault
    source = open_artifact(tmp_path)
    targets = (Target(Reference.parse(f"{registry.host}/acme/app:1")),)
    (outcome,) = push(PushPlan(source, resolve(source), targets), Keychain(), Trust(folders=())).outcomes
    assert outcome.ok is knows
    assert (("acme/app", "1") in registry.manifests) is knows
    assert knows or "knows no sha512 digests" in str(outcome.problem)
