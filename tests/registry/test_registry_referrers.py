"""What has a subject is found by it: by the registry's own word, or by a list that the push keeps."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import artifacts
import pytest
from artifacts import Json
from hypothesis import given
from hypothesis import strategies as st
from scripted import Handler, Scripted

from buildopt import process
from buildopt.oci.descriptor import MAX_DOCUMENT, Descriptor, Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import referrers
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.outcome import Event, Noted, PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.preview import ReferrersTag, preview
from buildopt.registry.push import push
from buildopt.registry.referrers import Referrer, Referrers, extended, referrer
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust
from buildopt.sandbox import programs
from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import RunningRegistry, registry_server

EMPTY = "application/vnd.oci.empty.v1+json"
ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
SIGNATURE = "application/vnd.example.signature"
OTHERS = {"mediaType": artifacts.MANIFEST, "digest": f"sha256:{'5' * 64}", "size": 7, "odd": {"kept": [1, None]}}


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers, "PAUSE_SECONDS", 0.002)


def about(folder: Path, subject: Json, kind: str, **more: object) -> Json:
    """Write a manifest about another one, with the empty config; its descriptor."""
    config = {**artifacts.put(folder, b"{}", EMPTY), "data": "e30="}
    layer = artifacts.put(folder, json.dumps({"about": subject["digest"], "kind": kind}).encode(), kind)
    pointed = {key: subject[key] for key in ("mediaType", "digest", "size")}
    document = {"artifactType": kind, "config": config, "layers": [layer], "subject": pointed, **more}
    return artifacts.put_json(folder, document, artifacts.MANIFEST)


def make_attested(folder: Path, platforms: tuple[str, ...] = ("linux/amd64", "linux/arm64")) -> list[Json]:
    """An image with attestations as BuildKit writes them since 0.32; the descriptors of its platforms."""
    images = [artifacts.put_image(folder, platform, [b"shared", platform.encode()]) for platform in platforms]
    attestations = []
    for image in images:
        annotations = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"],
        }
        unknown = {"os": "unknown", "architecture": "unknown"}
        attestations.append({**about(folder, image, ATTESTATION), "annotations": annotations, "platform": unknown})
    index = artifacts.put_json(folder, {"manifests": [*images, *attestations]}, artifacts.INDEX)
    artifacts.finish(folder, [index])
    return images


def make_signature(folder: Path, subject: Json, **more: object) -> Json:
    """An artifact of its own about something; its descriptor."""
    descriptor = about(folder, subject, SIGNATURE, annotations={"who": "me", "wörds": "ünd\n"}, **more)
    artifacts.finish(folder, [descriptor])
    return descriptor


def run(layout: Path, *names: str, events: list[Event] | None = None, trust: Trust | None = None) -> PushReport:
    source = open_artifact(layout)
    targets = tuple(Target(Reference.parse(name)) for name in names)
    seen: list[Event] = events if events is not None else []
    return push(PushPlan(source, resolve(source), targets), Keychain(), trust or Trust(folders=()), seen.append)


def tag_of(descriptor: Json) -> str:
    return str(descriptor["digest"]).replace(":", "-")


def listed(registry: Scripted, subject: Json, repository: str = "acme/app") -> list[dict[str, object]]:
    """The entries of a subject's list."""
    data, kind = registry.manifests[repository, tag_of(subject)]
    document = json.loads(data)
    assert (kind, document["mediaType"], document["schemaVersion"]) == (artifacts.INDEX, artifacts.INDEX, 2)
    entries: list[dict[str, object]] = document["manifests"]
    return entries


def notes(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Noted)]


def lists(registry: Scripted) -> list[str]:
    """Every tag of a list."""
    return [name for _, name in registry.manifests if name.startswith("sha256-")]


# What a manifest says of its subject


def described(document: Json, media_type: str = artifacts.MANIFEST) -> Referrer | None:
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
    return referrer(Descriptor(media_type, Digest.of(data), len(data)), data)


def plain(digest: str = f"sha256:{'a' * 64}", kind: str = artifacts.MANIFEST) -> Json:
    return {"mediaType": kind, "digest": digest, "size": 3}


@pytest.mark.parametrize(
    ("said", "config", "kind"),
    [
        ({"artifactType": SIGNATURE}, EMPTY, SIGNATURE),
        ({"artifactType": ""}, artifacts.CONFIG, artifacts.CONFIG),
        ({"artifactType": None}, artifacts.CONFIG, artifacts.CONFIG),
        ({}, "application/vnd.example.config+json", "application/vnd.example.config+json"),
    ],
)
def test_the_type_of_a_referrer_is_its_own_or_its_configs(said: Json, config: str, kind: str) -> None:
    found = described({**said, "config": plain(kind=config), "layers": [], "subject": plain()})
    assert found is not None
    assert found.tag == f"sha256-{'a' * 64}"
    assert found.entry == {
        "mediaType": artifacts.MANIFEST,
        "digest": str(found.digest),
        "size": len(found.data),
        "artifactType": kind,
    }


def test_an_index_has_no_config_to_take_the_type_from() -> None:
    found = described({"manifests": [], "subject": plain(), "annotations": {"a": "b"}}, artifacts.INDEX)
    assert found is not None
    assert "artifactType" not in found.entry
    assert found.entry["annotations"] == {"a": "b"}
    found = described({"manifests": [], "subject": plain(), "artifactType": SIGNATURE}, artifacts.INDEX)
    assert found is not None
    assert found.entry["artifactType"] == SIGNATURE


def test_the_tag_of_a_long_digest_is_cut_as_the_specification_says() -> None:
    found = described({"manifests": [], "subject": plain(f"sha512:{'ab' * 64}")}, artifacts.INDEX)
    assert found is not None
    assert found.tag == f"sha512-{'ab' * 32}"


@pytest.mark.parametrize(
    "document",
    [
        {"manifests": []},
        {"manifests": [], "subject": None},
        {"manifests": [], "annotations": {"subject": "mathematics"}},
    ],
)
def test_without_a_subject_there_is_nothing_to_list(document: Json) -> None:
    assert described(document, artifacts.INDEX) is None


def test_a_subject_is_seen_however_its_name_is_written() -> None:
    text = json.dumps({"schemaVersion": 2, "manifests": [], "subject": plain()})
    data = text.replace('"subject"', '"sub\\u006aect"').encode()
    assert b'"subject"' not in data
    assert referrer(Descriptor(artifacts.INDEX, Digest.of(data), len(data)), data) is not None


# What becomes of a list


def one(number: int = 0) -> Referrer:
    found = described(
        {"manifests": [], "subject": plain(), "artifactType": SIGNATURE, "annotations": {"number": str(number)}},
        artifacts.INDEX,
    )
    assert found is not None
    return found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=4))
def test_everything_that_is_in_a_list_stays(fields: dict[str, object], entries: list[dict[str, object]]) -> None:
    document = {**fields, "mediaType": artifacts.INDEX, "manifests": entries}
    longer = extended((json.dumps(document).encode(), artifacts.INDEX), [one()])
    assert longer is not None
    assert json.loads(longer[0]) == {**document, "manifests": [*entries, one().entry]}
    assert extended(longer, [one()]) is None


def test_a_list_begins_empty_and_holds_each_once() -> None:
    longer = extended(None, [one(1), one(2)])
    assert longer is not None
    data, kind = longer
    assert kind == artifacts.INDEX
    assert json.loads(data) == {
        "schemaVersion": 2,
        "mediaType": artifacts.INDEX,
        "manifests": [one(1).entry, one(2).entry],
    }
    assert extended(longer, [one(2), one(1)]) is None
    assert extended((b'{"manifests":null}', artifacts.INDEX), [one()]) is not None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"config":{},"layers":[]}', artifacts.MANIFEST),
        (b'{"manifests":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"}', artifacts.INDEX),
        (b'{"manifests":{}}', artifacts.INDEX),
        (b'{"manifests":[{"digest":[]}]}', artifacts.INDEX),
        (b"[]", artifacts.INDEX),
        (b"\xff", artifacts.INDEX),
        (b'{"manifests":[],"manifests":[]}', artifacts.INDEX),
        (b'{"manifests":[],"n":1e999}', artifacts.INDEX),
        (b"{}", artifacts.INDEX),
    ],
)
def test_what_is_no_list_is_left_alone(data: bytes, kind: str) -> None:
    with pytest.raises(RegistryError, match="something else is under that tag"):
        extended((data, kind), [one()])


def test_a_list_does_not_grow_beyond_what_registries_take() -> None:
    held = json.dumps({"manifests": [], "annotations": {"x": "y" * (MAX_DOCUMENT - 100)}}).encode()
    with pytest.raises(RegistryError) as caught:
        extended((held, artifacts.INDEX), [one()])
    assert caught.value.kind == "too-large"


# Pushes


def test_attestations_are_listed_under_what_they_attest(tmp_path: Path, registry: Scripted) -> None:
    images = make_attested(tmp_path)
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    assert sorted(lists(registry)) == sorted(tag_of(image) for image in images)
    for image in images:
        (entry,) = listed(registry, image)
        assert entry["artifactType"] == ATTESTATION
        assert ("acme/app", str(entry["digest"])) in registry.manifests
        assert entry["size"] == len(registry.manifests["acme/app", str(entry["digest"])][0])
    assert notes(events) == []
    before, asked = dict(registry.manifests), len(registry.seen)
    report = run(tmp_path, f"{registry.host}/acme/app:1")
    assert report.ok
    assert registry.manifests == before
    written = {entry.path.rsplit("/", 1)[1] for entry in registry.seen[asked:] if entry.method == "PUT"}
    assert not any(name.startswith("sha256-") or name == "1" for name in written), "a list is not written for nothing"


def knows_subjects(handler: Handler) -> bool:
    """Take a manifest and say what it is about, as a registry with the referrers API does."""
    if handler.command != "PUT" or "/manifests/" not in handler.path:
        return False
    length = handler.headers["Content-Length"]
    data = handler.body()
    document = json.loads(data)
    repository, name = handler.path.removeprefix("/v2/").split("/manifests/")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    kept = (data, handler.headers["Content-Type"])
    handler.scripted.manifests[repository, name] = handler.scripted.manifests[repository, digest] = kept
    subject = {"OCI_Subject": document["subject"]["digest"]} if "subject" in document else {}
    assert int(length) == len(data)
    return handler.answer(201, Docker_Content_Digest=digest, **subject)


def test_a_registry_that_lists_by_itself_is_left_to_it(tmp_path: Path, registry: Scripted) -> None:
    make_attested(tmp_path)
    registry.fault = knows_subjects
    for _ in range(2):
        assert run(tmp_path, f"{registry.host}/acme/app:1").ok
    assert lists(registry) == []
    assert registry.count("GET", "sha256-") == 0


def test_an_artifact_of_its_own_joins_what_is_listed_already(tmp_path: Path, registry: Scripted) -> None:
    images = make_attested(tmp_path / "image")
    assert run(tmp_path / "image", f"{registry.host}/acme/app:1").ok
    held = json.loads(registry.manifests["acme/app", tag_of(images[0])][0])
    registry.manifests["acme/app", str(OTHERS["digest"])] = (b"{}", artifacts.MANIFEST)
    odd = {**held, "manifests": [OTHERS, *held["manifests"]], "x-unknown": {"kept": 1.5}, "annotations": {"a": "b"}}
    registry.manifests["acme/app", tag_of(images[0])] = (json.dumps(odd, indent=2).encode(), artifacts.INDEX)
    signature = make_signature(tmp_path / "signature", images[0])
    assert run(tmp_path / "signature", f"{registry.host}/acme/app:signed").ok
    found = json.loads(registry.manifests["acme/app", tag_of(images[0])][0])
    entry = {
        "mediaType": artifacts.MANIFEST,
        "digest": signature["digest"],
        "size": signature["size"],
        "artifactType": SIGNATURE,
        "annotations": {"who": "me", "wörds": "ünd\n"},
    }
    assert found == {**odd, "manifests": [*odd["manifests"], entry]}


def test_a_subject_need_not_be_there(tmp_path: Path, registry: Scripted) -> None:
    signature = make_signature(tmp_path, plain())
    assert run(tmp_path, f"{registry.host}/acme/app:signed", f"{registry.host}/acme/app:again").ok
    assert [entry["digest"] for entry in listed(registry, plain())] == [signature["digest"]]


def at_lists(act: Callable[[Handler], bool], method: str = "PUT") -> Callable[[Handler], bool]:
    """A fault at requests for lists."""
    return lambda handler: handler.command == method and "/manifests/sha256-" in handler.path and act(handler)


def test_an_image_is_pushed_though_it_cannot_be_listed_and_the_next_push_makes_up_for_it(
    tmp_path: Path, registry: Scripted
) -> None:
    images = make_attested(tmp_path)
    events: list[Event] = []
    registry.fault = at_lists(lambda handler: handler.error(403, "DENIED", "no such tags here"))
    report = run(tmp_path, f"{registry.host}/acme/app:1", events=events)
    assert report.ok
    assert ("acme/app", "1") in registry.manifests
    assert len(notes(events)) == 2
    for image in images:
        (note,) = [note for note in notes(events) if tag_of(image) in note]
        assert "not found by it" in note
        assert "no such tags here" in note
        assert "docker login" in note
    registry.fault = lambda handler: False
    assert run(tmp_path, f"{registry.host}/acme/app:1").ok
    for image in images:
        assert [entry["artifactType"] for entry in listed(registry, image)] == [ATTESTATION]


def test_where_tags_are_immutable_the_note_says_which_must_not_be(tmp_path: Path, registry: Scripted) -> None:
    images = make_attested(tmp_path, ("linux/amd64",))
    registry.fault = at_lists(lambda handler: handler.error(400, "MANIFEST_INVALID", "has enabled tag immutability"))
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    (note,) = notes(events)
    assert tag_of(images[0]) in note
    assert "let tags that begin with sha256- be overwritten" in note


def test_an_artifact_that_nobody_would_find_is_a_failure_though_it_is_there(tmp_path: Path, registry: Scripted) -> None:
    make_signature(tmp_path, plain())
    registry.fault = at_lists(lambda handler: handler.error(403, "DENIED", "no such tags here"))
    report = run(tmp_path, f"{registry.host}/acme/app:signed")
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, report.ok) == ("credentials", False)
    assert "the list of referrers sha256-aaaa" in problem.message
    assert ("acme/app", "signed") in registry.manifests


def test_what_is_no_list_under_the_tag_of_one_is_not_touched(tmp_path: Path, registry: Scripted) -> None:
    (image,) = make_attested(tmp_path, ("linux/amd64",))
    registry.manifests["acme/app", tag_of(image)] = theirs = (b'{"layers":[],"config":{}}', artifacts.MANIFEST)
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    assert registry.manifests["acme/app", tag_of(image)] == theirs
    assert "something else is under that tag" in notes(events)[0]


@pytest.mark.parametrize("status", [500, 429, 503])
def test_what_passes_at_a_list_is_tried_again(tmp_path: Path, registry: Scripted, status: int) -> None:
    (image,) = make_attested(tmp_path, ("linux/amd64",))
    left = [2]

    def fail(handler: Handler) -> bool:
        left[0] -= 1
        return left[0] >= 0 and handler.error(status, "UNKNOWN", "oops")

    registry.fault = at_lists(fail)
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    assert len(listed(registry, image)) == 1
    assert notes(events) == []


# Several pushers


def overwritten(registry: Scripted, tag: str) -> None:
    """What another pusher writes that has read the list before this one did."""
    registry.manifests["acme/app", str(OTHERS["digest"])] = (b"{}", artifacts.MANIFEST)
    data = json.dumps({"schemaVersion": 2, "mediaType": artifacts.INDEX, "manifests": [OTHERS]}).encode()
    registry.manifests["acme/app", tag] = (data, artifacts.INDEX)


@pytest.mark.parametrize("times", [1, 3])
def test_an_entry_that_another_pusher_overwrites_is_added_again(tmp_path: Path, registry: Scripted, times: int) -> None:
    (image,) = make_attested(tmp_path, ("linux/amd64",))
    left = [times]

    def overwrite(handler: Handler) -> bool:
        handler.registry()
        if left[0] > 0:
            left[0] -= 1
            overwritten(registry, tag_of(image))
        return True

    registry.fault = at_lists(overwrite)
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    assert [entry.get("artifactType") for entry in listed(registry, image)] == [None, ATTESTATION]
    assert notes(events) == []


def test_an_entry_that_is_overwritten_after_it_was_read_back_is_added_at_the_end(
    tmp_path: Path, registry: Scripted
) -> None:
    (image,) = make_attested(tmp_path, ("linux/amd64",))

    def late(handler: Handler) -> bool:
        if handler.command == "PUT" and handler.path.endswith("/manifests/1"):
            assert len(listed(registry, image)) == 1
            overwritten(registry, tag_of(image))
        return False

    registry.fault = late
    assert run(tmp_path, f"{registry.host}/acme/app:1").ok
    assert [entry.get("artifactType") for entry in listed(registry, image)] == [None, ATTESTATION]


def test_a_list_that_never_keeps_anything_is_given_up(tmp_path: Path, registry: Scripted) -> None:
    (image,) = make_attested(tmp_path, ("linux/amd64",))

    def overwrite(handler: Handler) -> bool:
        handler.registry()
        overwritten(registry, tag_of(image))
        return True

    registry.fault = at_lists(overwrite)
    events: list[Event] = []
    assert run(tmp_path, f"{registry.host}/acme/app:1", events=events).ok
    assert registry.count("PUT", "sha256-") == referrers.ROUNDS
    assert "does not stay" in notes(events)[0]


class Shared:
    """A repository's manifests that many pushers write, each read and write taking its time."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, str]] = {}
        self.together = threading.Barrier(8, timeout=10)
        self.slow = True

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        found = self.held.get(reference)
        if self.slow and found is None:  # all of them have read an empty list before the first of them writes
            self.together.wait()
            self.slow = False
        return found

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Mapping[str, str]:
        self.held[reference] = (data, media_type)
        return {}


def test_pushers_that_read_the_same_list_lose_nothing_in_the_end() -> None:
    shared = Shared()
    pushers = [Referrers(shared, "acme/app") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: pushers[number].stored(one(number), {}), range(8)))
    for pusher in pushers:
        pusher.settle()
    found = {entry["digest"] for entry in json.loads(shared.held[one().tag][0])["manifests"]}
    assert found == {str(one(number).digest) for number in range(8)}


def test_threads_of_one_push_do_not_overwrite_each_other(registry: Scripted) -> None:
    keeper = Referrers(Registry(registry.host, Keychain(), Transport(Trust(folders=()))), "acme/app")
    for number in range(8):
        registry.manifests["acme/app", str(one(number).digest)] = (one(number).data, artifacts.INDEX)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: keeper.stored(one(number), {}), range(8)))
    assert {entry["digest"] for entry in listed(registry, plain())} == {str(one(number).digest) for number in range(8)}
    assert registry.count("PUT", "sha256-") == 8, "no write was lost"


class Silent:
    """A registry that must not be asked."""

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        raise AssertionError(reference)

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Mapping[str, str]:
        raise AssertionError(reference)


def test_a_registry_that_said_that_it_lists_is_not_asked_again() -> None:
    keeper = Referrers(Silent(), "acme/app")
    keeper.stored(one(1), {"oci-subject": "sha256:a"})
    keeper.stored(one(2), None)
    keeper.settle()
    assert not keeper.kept


# A real registry without the referrers API


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("real")
    with registry_server(folder / "registry", tls=make_certificates(folder / "certificates")) as running:
        yield running


@pytest.mark.engine
def test_another_client_finds_by_the_subject_what_was_pushed(tmp_path: Path, real: RunningRegistry) -> None:
    images = make_attested(tmp_path / "image")
    signature = make_signature(tmp_path / "signature", images[0])
    trust = Trust({"SSL_CERT_FILE": str(real.bundle)}, ())
    events: list[Event] = []
    assert run(tmp_path / "image", f"{real.authority}/acme/app:1", events=events, trust=trust).ok
    for _ in range(2):
        assert run(tmp_path / "signature", f"{real.authority}/acme/app:signed", events=events, trust=trust).ok
    assert notes(events) == []
    oras = programs.from_suite("oras", "oras")
    found = []
    for image in images:
        words = ("--ca-file", str(real.ca_file), "--distribution-spec", "v1.1-referrers-tag", "--format", "json")
        done = process.run([oras, "discover", *words, f"{real.authority}/acme/app@{image['digest']}"])
        document = json.loads(done.stdout)
        found.append([(entry["artifactType"], entry["digest"]) for entry in document.get("referrers", [])])
    assert [kind for kind, _ in found[0]] == [ATTESTATION, SIGNATURE]
    assert found[0][1] == (SIGNATURE, signature["digest"])
    assert [kind for kind, _ in found[1]] == [ATTESTATION]


@pytest.mark.engine
def test_a_list_with_something_that_is_gone_is_left_alone_and_told(tmp_path: Path, real: RunningRegistry) -> None:
    (image,) = make_attested(tmp_path / "image", ("linux/s390x",))
    trust = Trust({"SSL_CERT_FILE": str(real.bundle)}, ())
    assert run(tmp_path / "image", f"{real.authority}/acme/gone:1", trust=trust).ok
    client = Registry(real.authority, Keychain(), Transport(trust))
    held = client.manifest("acme/gone", tag_of(image))
    assert held is not None
    (entry,) = json.loads(held[0])["manifests"]
    assert client._ask("DELETE", "acme/gone", f"/v2/acme/gone/manifests/{entry['digest']}", "it").status == 202
    make_signature(tmp_path / "signature", image)
    report = run(tmp_path / "signature", f"{real.authority}/acme/gone:signed", trust=trust)
    problem = report.outcomes[0].problem
    assert problem is not None
    assert "is gone from the registry" in problem.hint
    assert client.manifest("acme/gone", tag_of(image)) == held
    assert client.has_manifest("acme/gone", "signed")


# What a dry run says of the lists


def said(layout: Path, *names: str) -> tuple[ReferrersTag, ...]:
    source = open_artifact(layout)
    targets = tuple(Target(Reference.parse(name)) for name in names)
    found = preview(PushPlan(source, resolve(source), targets), Keychain(), Trust(folders=()))
    assert found.report.ok
    return found.repositories[0].referrers


def test_a_dry_run_tells_which_lists_the_push_would_keep(tmp_path: Path, registry: Scripted) -> None:
    images = make_attested(tmp_path)
    name = f"{registry.host}/acme/app:1"
    registry.fault = lambda handler: "/tags/" in handler.path and handler.answer(200, b"{}")
    assert said(tmp_path, name) == tuple(ReferrersTag(tag_of(image), "new") for image in images)
    assert not lists(registry)
    assert run(tmp_path, name).ok
    assert {entry.state for entry in said(tmp_path, name)} == {"right"}
    document, kind = json.loads(registry.manifests["acme/app", tag_of(images[0])][0]), artifacts.INDEX
    document["manifests"] = []
    registry.manifests["acme/app", tag_of(images[0])] = (json.dumps(document).encode(), kind)
    registry.manifests["acme/app", tag_of(images[1])] = (b"{}", artifacts.MANIFEST)
    assert [entry.state for entry in said(tmp_path, name)] == ["longer", "not-a-list"]


def test_a_dry_run_tells_no_list_where_the_registry_keeps_it(tmp_path: Path, registry: Scripted) -> None:
    make_attested(tmp_path)

    def api(handler: Handler) -> bool:
        empty = b'{"schemaVersion":2,"manifests":[]}'
        return "/referrers/" in handler.path and handler.answer(200, empty, Content_Type=artifacts.INDEX)

    registry.fault = api
    assert said(tmp_path, f"{registry.host}/acme/app:1") == ()


def test_a_dry_run_does_not_know_of_lists_where_there_is_no_repository(tmp_path: Path, registry: Scripted) -> None:
    make_attested(tmp_path)

    def unknown(handler: Handler) -> bool:
        return handler.path != "/v2/" and handler.error(404, "NAME_UNKNOWN", "no such repository")

    registry.fault = unknown
    assert {entry.state for entry in said(tmp_path, f"{registry.host}/acme/app:1")} == {"unknown"}
