"""Pushing, over real sockets, to registries that behave and to some that do not."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, Scripted, scripted_registry

from buildopt.commands.push import of_platform
from buildopt.errors import ArtifactError, UsageError
from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import Image, open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import destination
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.outcome import Again, Event, PushReport
from buildopt.registry.plan import BULK_AHEAD, BULK_JOBS, PushPlan, Target, one_platform
from buildopt.registry.push import push
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout", size=3_000_000)
    return tmp_path / "layout"


class Known(Keychain):
    """One user for every registry."""

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        return Credentials("octocat", "hush-hush")


def run(
    layout: Path,
    *references: str,
    optional: tuple[str, ...] = (),
    keychain: Keychain | None = None,
    events: Callable[[Event], None] = lambda event: None,
    platform: str = "",
) -> PushReport:
    source = open_artifact(layout)
    image: Image = resolve(source)
    if platform:
        image = one_platform(image, platform)
    targets = [Target(Reference.parse(text), text in optional) for text in (*references, *optional)]
    return push(PushPlan(source, image, tuple(targets)), keychain or Keychain(), Trust(folders=()), events)


def kind(report: PushReport, number: int = 0) -> str:
    problem = report.outcomes[number].problem
    return problem.kind if problem is not None else ""


def test_every_byte_arrives_and_tags_come_last(layout: Path, registry: Scripted) -> None:
    report = run(layout, f"{registry.host}/acme/app:1", f"{registry.host}/acme/app:2")
    image = resolve(open_artifact(layout))
    assert report.ok and report.exit_code == 0
    assert [outcome.digest for outcome in report.outcomes] == [str(image.digest)] * 2
    first, second = report.outcomes
    assert (first.bytes_sent, first.bytes_present) == (image.size, 0)
    assert (second.bytes_sent, second.bytes_present) == (0, image.size)
    source = open_artifact(layout)
    for blob in image.blobs:
        assert registry.blobs["acme/app", str(blob.digest)] == source.read(blob.digest, 1 << 30)
    for entry in image.manifests:
        held = registry.manifests["acme/app", str(entry.descriptor.digest)]
        assert held == (entry.manifest.data, entry.descriptor.media_type)
    assert registry.manifests["acme/app", "1"] == (image.document.data, image.descriptor.media_type)
    puts = [entry.path for entry in registry.seen if entry.method == "PUT"]
    assert ["manifests" in path for path in puts] == sorted("manifests" in path for path in puts)
    assert sorted(path.rsplit("/", 1)[1] for path in puts[-2:]) == ["1", "2"]


def test_a_second_push_sends_nothing(layout: Path, registry: Scripted) -> None:
    run(layout, f"{registry.host}/acme/app:1")
    before = len(registry.seen)
    report = run(layout, f"{registry.host}/acme/app:1")
    (outcome,) = report.outcomes
    assert (outcome.bytes_sent, outcome.bytes_present) == (0, resolve(open_artifact(layout)).size)
    assert {entry.method for entry in registry.seen[before:]} == {"GET", "HEAD"}


def test_a_tar_is_pushed_like_its_folder(layout: Path, registry: Scripted, tmp_path: Path) -> None:
    tar = artifacts.make_tar(layout, tmp_path / "image.tar")
    report = run(tar, f"{registry.host}/acme/app:1")
    assert report.digest == run(layout, f"{registry.host}/acme/other:1").digest
    assert report.ok


def test_a_neighbour_is_mounted_from(layout: Path, registry: Scripted) -> None:
    report = run(layout, f"{registry.host}/acme/one:1", f"{registry.host}/acme/two:1")
    image = resolve(open_artifact(layout))
    blobs = sum(blob.size for blob in image.blobs)
    assert report.ok
    assert sum(outcome.bytes_mounted for outcome in report.outcomes) == blobs
    assert sum(outcome.bytes_sent for outcome in report.outcomes) == blobs + 2 * (image.size - blobs)


def test_where_mounting_is_refused_the_blob_is_sent(layout: Path, registry: Scripted) -> None:
    def fault(handler: Handler) -> bool:
        return "mount=" in handler.path and handler.error(403, "DENIED", "no mount")

    registry.fault = fault
    assert run(layout, f"{registry.host}/acme/one:1", f"{registry.host}/acme/two:1").ok
    assert registry.count("POST", "mount=") > 0


@pytest.mark.parametrize(
    ("held", "wanted", "found"),
    [
        (("linux/amd64", "linux/amd64/v3"), "amd64", "linux/amd64"),
        (("linux/amd64", "linux/arm64/v8"), "arm64", "linux/arm64/v8"),
        (("linux/amd64", "linux/arm64"), "arm64/v8", "linux/arm64"),
        (("linux/amd64", "linux/arm64/v8"), "aarch64", "linux/arm64/v8"),
        (("linux/arm/v6", "linux/amd64"), "arm", "linux/arm/v6"),
        (("linux/arm/v6", "linux/arm/v7"), "arm", "linux/arm/v7"),
        (("linux/amd64", "windows/amd64"), "WINDOWS/AMD64", "windows/amd64"),
    ],
)
def test_a_platform_has_several_names(tmp_path: Path, held: tuple[str, ...], wanted: str, found: str) -> None:
    descriptors = [artifacts.put_image(tmp_path, name, [name.encode()]) for name in held]
    for descriptor, name in zip(descriptors, held, strict=True):
        os, architecture, *variant = name.split("/")
        descriptor["platform"] = {
            "os": os,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
        }
    artifacts.finish(tmp_path, [artifacts.put_json(tmp_path, {"manifests": descriptors}, artifacts.INDEX)])
    source = open_artifact(tmp_path)
    assert str(of_platform(resolve(source), wanted, source).platforms[0].platform) == found


def test_a_single_image_is_of_the_platform_that_its_config_says(tmp_path: Path) -> None:
    descriptor = artifacts.put_image(tmp_path, "linux/amd64", [b"layer"])
    del descriptor["platform"]
    artifacts.finish(tmp_path, [descriptor])
    source = open_artifact(tmp_path)
    image = resolve(source)
    assert of_platform(image, "x86_64", source).digest == image.digest
    with pytest.raises(UsageError, match="no image for arm64") as caught:
        of_platform(image, "arm64", source)
    assert caught.value.hint == "it holds: linux/amd64"


def test_one_platform_is_an_image_of_its_own(layout: Path, registry: Scripted) -> None:
    report = run(layout, f"{registry.host}/acme/app:arm", platform="arm64")
    image = resolve(open_artifact(layout))
    assert report.digest == str(image.platforms[1].descriptor.digest)
    assert registry.manifests["acme/app", "arm"][0] == image.platforms[1].manifest.data
    with pytest.raises(UsageError, match="no image for s390x"):
        one_platform(image, "s390x")


def test_a_reference_by_another_digest_is_refused(layout: Path, registry: Scripted) -> None:
    with pytest.raises(UsageError, match="another digest"):
        run(layout, f"{registry.host}/acme/app@sha256:{'0' * 64}")
    digest = resolve(open_artifact(layout)).digest
    assert run(layout, f"{registry.host}/acme/app@{digest}").ok


class Times:
    """A fault at the first ``count`` requests that match."""

    def __init__(self, count: int, method: str, part: str, act: Callable[[Handler], bool]) -> None:
        self.left, self.method, self.part, self.act = count, method, part, act
        self.lock = threading.Lock()

    def __call__(self, handler: Handler) -> bool:
        with self.lock:
            if self.left <= 0 or handler.command != self.method or self.part not in handler.path:
                return False
            self.left -= 1
        return self.act(handler)


@pytest.mark.parametrize(
    ("method", "part", "act"),
    [
        ("PUT", "digest=", lambda handler: handler.error(500, "UNKNOWN", "oops")),
        ("PUT", "digest=", lambda handler: handler.error(503, "UNKNOWN", "oops")),
        ("PUT", "digest=", lambda handler: handler.error(408, "UNKNOWN", "slow")),
        ("PUT", "digest=", lambda handler: handler.reset(1000)),
        ("PUT", "digest=", lambda handler: handler.reset(1_500_000)),
        ("PUT", "digest=", lambda handler: handler.error(429, "TOOMANYREQUESTS", "slow down", Retry_After="0")),
        ("PUT", "digest=", lambda handler: handler.registry() and handler.reset()),
        ("POST", "uploads", lambda handler: handler.error(502, "UNKNOWN", "oops")),
        ("HEAD", "blobs", lambda handler: handler.reset()),
        ("GET", "/v2/", lambda handler: handler.error(503, "UNKNOWN", "starting")),
        ("PUT", "manifests", lambda handler: handler.error(500, "UNKNOWN", "oops")),
        ("PUT", "manifests", lambda handler: handler.reset()),
    ],
)
def test_what_may_pass_is_tried_again(
    layout: Path, registry: Scripted, method: str, part: str, act: Callable[[Handler], bool]
) -> None:
    registry.fault = Times(2, method, part, act)
    report = run(layout, f"{registry.host}/acme/app:1")
    assert report.outcomes[0].problem is None
    assert registry.fault.left == 0
    sessions = [entry.path for entry in registry.seen if entry.method == "PUT" and "digest=" in entry.path]
    assert len(sessions) == len(set(sessions)), "an upload session was used twice"


def test_a_truncated_answer_is_tried_again(layout: Path, registry: Scripted) -> None:
    def cut(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"half":')
        handler.wfile.flush()
        return handler.reset()

    registry.fault = Times(1, "GET", "manifests/1", cut)
    assert run(layout, f"{registry.host}/acme/app:1").ok


@pytest.mark.parametrize("form", ["seconds", "date", "body"])
def test_retry_after_is_obeyed(layout: Path, registry: Scripted, form: str) -> None:
    waits: list[float] = []

    def limit(handler: Handler) -> bool:
        if form == "body":
            return handler.error(429, "TOOMANYREQUESTS", "retry-after: 1100.5ms, allowed: 44000/minute")
        date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
        return handler.error(429, "TOOMANYREQUESTS", "", Retry_After="1" if form == "seconds" else date)

    registry.fault = Times(1, "POST", "uploads", limit)
    began = time.monotonic()
    report = run(
        layout,
        f"{registry.host}/acme/app:1",
        events=lambda event: waits.append(event.seconds) if isinstance(event, Again) else None,
    )
    assert report.ok
    assert len(waits) == 1
    assert 0.9 <= waits[0] <= 2
    assert time.monotonic() - began >= waits[0]


def test_a_wait_of_hours_is_reported_instead(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: (
        "uploads" in handler.path and handler.error(429, "TOOMANYREQUESTS", "come back tomorrow", Retry_After="86400")
    )
    report = run(layout, f"{registry.host}/acme/app:1")
    assert (kind(report), report.exit_code) == ("rate-limit", 4)


def test_retries_end(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: handler.command == "PUT" and handler.error(500, "UNKNOWN", "always")
    report = run(layout, f"{registry.host}/acme/app:1")
    assert kind(report) == "server"
    problem = report.outcomes[0].problem
    assert problem is not None and "always" in problem.message


def test_tags_wait_for_every_required_destination(layout: Path, registry: Scripted) -> None:
    with scripted_registry() as slow:
        missing: list[bool] = []

        def late(handler: Handler) -> bool:
            if handler.command == "PUT" and "digest=" in handler.path:
                time.sleep(0.4)
            return False

        def watch(handler: Handler) -> bool:
            if handler.command == "PUT" and handler.path.endswith("manifests/1"):
                missing.append(slow.count("PUT", "digest=") < len(resolve(open_artifact(layout)).blobs))
            return False

        slow.fault, registry.fault = late, watch
        assert run(layout, f"{registry.host}/acme/app:1", f"{slow.host}/acme/app:1").ok
        assert missing == [False]


def test_uploads_are_begun_ahead(tmp_path: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "SMALL", 100)
    layers = [bytes([number]) * 5000 for number in range(BULK_JOBS + BULK_AHEAD)]
    image = artifacts.put_image(tmp_path / "many", "linux/amd64", layers)
    artifacts.finish(tmp_path / "many", [image])
    begun = threading.Condition()
    posted = 0
    ahead: list[bool] = []

    def hold(handler: Handler) -> bool:
        nonlocal posted
        with begun:
            if handler.command == "POST":
                posted += 1
                begun.notify_all()
            elif handler.command == "PUT" and "digest=" in handler.path:
                ahead.append(begun.wait_for(lambda: posted >= len(layers), timeout=20))
        return False

    registry.fault = hold
    report = run(tmp_path / "many", f"{registry.host}/acme/app:1")
    assert report.ok and len(ahead) > len(layers) and all(ahead), report


def test_an_upload_waits_for_its_turn_before_its_request(registry: Scripted) -> None:
    """A proxy would give up a request whose first byte does not come."""
    data = b"layer"
    seen: list[tuple[int, int]] = []
    client = Registry(registry.host, Keychain(), Transport(Trust(folders=())))

    def turn() -> None:
        seen.append((registry.count("POST", "uploads"), registry.count("PUT", "uploads")))

    client.upload("acme/app", Digest.of(data), len(data), data, turn)
    assert seen == [(1, 0)] and registry.count("PUT", "uploads") == 1


def test_one_failure_stops_no_other(layout: Path, registry: Scripted) -> None:
    with scripted_registry() as other:
        other.fault = lambda handler: handler.command == "POST" and handler.error(403, "DENIED", "not yours")
        places = (f"{other.host}/a/b:1", f"{registry.host}/a/b:1", "127.0.0.1:1/a/b:1")
        report = run(layout, *places)
        assert [outcome.ok for outcome in report.outcomes] == [False, True, False]
        assert [outcome.reference for outcome in report.outcomes] == list(places)
        assert report.exit_code == 4
        assert kind(report, 2) == "unreachable"
        report = run(layout, places[1], optional=(places[0], places[2]))
        assert (report.ok, report.exit_code) == (True, 0)
        assert [outcome.ok for outcome in report.outcomes] == [True, False, False]


def basic(handler: Handler) -> bool:
    if handler.headers.get("Authorization") == "Basic " + base64.b64encode(b"octocat:hush-hush").decode():
        return False
    return handler.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="x, y"')


def test_basic_credentials_are_sent_where_asked(layout: Path, registry: Scripted) -> None:
    registry.fault = basic
    assert run(layout, f"{registry.host}/acme/app:1", keychain=Known()).ok


def test_refused_credentials_are_exit_6_and_never_shown(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: handler.error(
        401, "UNAUTHORIZED", "authentication required", WWW_Authenticate="Basic realm=x"
    )
    report = run(layout, f"{registry.host}/acme/app:1", keychain=Known())
    assert (kind(report), report.exit_code) == ("credentials", 6)
    assert "hush" not in repr(report)
    report = run(layout, f"{registry.host}/acme/app:1")
    assert "docker login" in (report.outcomes[0].problem or pytest.fail("it was pushed")).hint
    assert report.exit_code == 6


def test_credentials_stay_behind_when_an_upload_leads_elsewhere(layout: Path, registry: Scripted) -> None:
    with scripted_registry() as storage:

        def elsewhere(handler: Handler) -> bool:
            if basic(handler):
                return True
            if handler.command == "POST":
                with storage.lock:
                    session = str(len(storage.sessions))
                    storage.sessions[session] = "new"
                place = f"{storage.url}/v2/acme/app/blobs/uploads/{session}?_state=a%2Fb%3D{session}&x="
                return handler.answer(202, Location=place)
            if handler.command in ("HEAD", "PUT") and "blobs" not in handler.path:
                registry.blobs.update(storage.blobs)
            return False

        registry.fault = elsewhere
        assert run(layout, f"{registry.host}/acme/app:1", keychain=Known()).ok
        assert storage.seen
        assert {entry.authorization for entry in storage.seen} == {""}


def test_credentials_stay_behind_at_a_redirect(layout: Path, registry: Scripted) -> None:
    with scripted_registry() as thief:
        thief.fault = lambda handler: handler.error(
            401, "UNAUTHORIZED", "give me more", WWW_Authenticate=f'Bearer realm="{thief.url}/token",service="x"'
        )

        def redirect(handler: Handler) -> bool:
            if handler.command == "HEAD" and "blobs" in handler.path:
                return handler.answer(307, Location=f"{thief.url}{handler.path}")
            return basic(handler)

        registry.fault = redirect
        report = run(layout, f"{registry.host}/acme/app:1", keychain=Known())
        assert not report.ok
        assert {entry.authorization for entry in thief.seen} == {""}
        assert thief.count("GET", "token") == 0


def test_a_redirect_without_end_is_an_error(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: "blobs" in handler.path and handler.answer(307, Location=handler.path)
    assert kind(run(layout, f"{registry.host}/acme/app:1")) == "protocol"


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "http://[", "http://user:pass@127.0.0.1/x"])
def test_a_broken_upload_address_is_an_error(layout: Path, registry: Scripted, location: str) -> None:
    registry.fault = lambda handler: handler.command == "POST" and handler.answer(202, Location=location)
    report = run(layout, f"{registry.host}/acme/app:1")
    assert kind(report) in ("protocol", "refused")


def test_a_tampered_blob_is_named_and_not_blamed_on_the_registry(layout: Path, registry: Scripted) -> None:
    layer = resolve(open_artifact(layout)).blobs[1]
    artifacts.blob_path(layout, str(layer.digest)).write_bytes(b"y" * layer.size)
    report = run(layout, f"{registry.host}/acme/app:1")
    problem = report.outcomes[0].problem
    assert problem is not None and str(layer.digest) in problem.message
    assert (problem.kind, report.exit_code) == ("artifact", 5)
    assert not registry.manifests


def test_a_missing_or_short_blob_is_found_before_anything_is_sent(layout: Path, registry: Scripted) -> None:
    layer = resolve(open_artifact(layout)).blobs[1]
    path = artifacts.blob_path(layout, str(layer.digest))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=f"{layer.digest}.*descriptor says"):
        run(layout, f"{registry.host}/acme/app:1")
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{layer.digest} is missing"):
        run(layout, f"{registry.host}/acme/app:1")
    assert not registry.seen


def test_a_proxy_that_spoils_a_blob_once_is_survived(layout: Path, registry: Scripted) -> None:
    registry.fault = Times(1, "PUT", "digest=", lambda handler: handler.error(400, "DIGEST_INVALID", "spoiled"))
    assert run(layout, f"{registry.host}/acme/app:1").ok


def test_the_digest_is_read_back(layout: Path, registry: Scripted) -> None:
    def spoil(handler: Handler) -> bool:
        held = registry.manifests.get(("acme/app", "1"))
        if handler.command != "GET" or held is None:
            return False
        return handler.answer(200, held[0] + b" ", Content_Type=held[1])

    registry.fault = spoil
    report = run(layout, f"{registry.host}/acme/app:1")
    assert (kind(report), report.exit_code) == ("digest", 4)


def test_an_immutable_tag_is_fine_for_the_same_image_only(layout: Path, registry: Scripted, tmp_path: Path) -> None:
    assert run(layout, f"{registry.host}/acme/app:1").ok
    registry.fault = lambda handler: (
        handler.command == "PUT"
        and handler.path.endswith("/manifests/1")
        and handler.error(
            400, "TAG_INVALID", "The image tag '1' already exists and cannot be overwritten because it is immutable."
        )
    )
    assert run(layout, f"{registry.host}/acme/app:1").ok
    artifacts.make_layout(tmp_path / "other", seed=b"other")
    report = run(tmp_path / "other", f"{registry.host}/acme/app:1")
    assert (kind(report), report.exit_code) == ("immutable", 4)


def test_foreign_layers_are_never_fetched(tmp_path: Path, registry: Scripted) -> None:
    with scripted_registry() as owner:
        folder = tmp_path / "foreign"
        layer = artifacts.put(folder, b"far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
        artifacts.blob_path(folder, str(layer["digest"])).unlink()
        layer["urls"] = [f"{owner.url}/layer"]
        config = artifacts.put(folder, b"{}", "application/vnd.docker.container.image.v1+json")
        kind_ = "application/vnd.docker.distribution.manifest.v2+json"
        artifacts.finish(folder, [artifacts.put_json(folder, {"config": config, "layers": [layer]}, kind_)])
        assert run(folder, f"{registry.host}/acme/app:1").ok
        assert registry.manifests["acme/app", "1"][1] == kind_
        assert not owner.seen


def test_an_answer_without_end_is_cut_short(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: handler.path.endswith("manifests/1") and handler.answer(200, b"x" * (5 << 20))
    assert kind(run(layout, f"{registry.host}/acme/app:1")) == "protocol"


def test_what_is_no_registry_is_called_so(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: handler.answer(404, b"<html>")
    report = run(layout, f"{registry.host}/acme/app:1")
    assert kind(report) == "protocol"
    assert "is not a registry" in repr(report)


def test_a_registrys_words_are_made_harmless(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: (
        handler.command == "POST" and handler.error(403, "DENIED", "no\x1b[2J\r\n::error::injected" + "x" * 5000)
    )
    problem = run(layout, f"{registry.host}/acme/app:1").outcomes[0].problem
    assert problem is not None
    assert problem.message.isprintable()
    assert len(problem.message) < 500
