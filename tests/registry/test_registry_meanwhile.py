"""What changes while a push runs: files of the artifact, tags, blobs of the registry, and who answers."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, Scripted, scripted_registry

from buildopt.errors import ToolError
from buildopt.oci.layout import Blob, open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import auth, claims, destination, pace, retry, transport
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.outcome import Outcome
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.retry import attempt
from buildopt.registry.trust import Trust


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout", size=300_000)
    return tmp_path / "layout"


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "UNTOLD_SECONDS", 0.01)
    monkeypatch.setattr(destination, "LAG", 0.05)


def run(place: Path, *references: str, keychain: Keychain | None = None) -> tuple[Outcome, ...]:
    source = open_artifact(place)
    targets = tuple(Target(Reference.parse(text)) for text in references)
    return push(PushPlan(source, resolve(source), targets), keychain or Keychain(), Trust(folders=())).outcomes


def kind(outcome: Outcome) -> str:
    return outcome.problem.kind if outcome.problem is not None else ""


def once(moment: Callable[[Handler], bool], change: Callable[[], None]) -> Callable[[Handler], bool]:
    """Do something at the first request of a kind, and let the registry answer all of them."""
    lock, done = threading.Lock(), [False]

    def fault(handler: Handler) -> bool:
        with lock:
            if not done[0] and moment(handler):
                done[0] = True
                change()
        return False

    return fault


def blobs_of(layout: Path) -> list[Path]:
    image = resolve(open_artifact(layout))
    return [layout / "blobs" / "sha256" / blob.digest.hex for blob in image.blobs]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_layer_that_goes_away_is_missing_and_not_elsewhere(layout: Path, registry: Scripted, method: str) -> None:
    registry.gullible = True  # nobody else would notice

    def vanish() -> None:
        for path in blobs_of(layout):
            path.unlink()

    registry.fault = once(lambda handler: handler.command == method, vanish)
    (outcome,) = run(layout, f"{registry.host}/acme/app:1")
    assert kind(outcome) == "artifact"
    assert ("acme/app", "1") not in registry.manifests


@pytest.mark.parametrize("replaced", [False, True])
def test_a_tar_is_pushed_as_it_was_opened(layout: Path, registry: Scripted, tmp_path: Path, replaced: bool) -> None:
    """Whatever becomes of its name meanwhile."""
    tar = artifacts.make_tar(layout, tmp_path / "image.tar")
    artifacts.make_layout(tmp_path / "other", seed=b"x", size=300_000)
    other = artifacts.make_tar(tmp_path / "other", tmp_path / "other.tar")
    digest = resolve(open_artifact(tar)).digest

    def change() -> None:
        if replaced:
            other.replace(tar)
        else:
            tar.unlink()

    registry.fault = once(lambda handler: handler.command == "POST", change)
    (outcome,) = run(tar, f"{registry.host}/acme/app:1")
    assert (kind(outcome), outcome.digest) == ("", str(digest))


def test_what_grows_is_sent_as_long_as_it_was(layout: Path, registry: Scripted) -> None:
    more = b"DELETE /v2/victim/blobs/x HTTP/1.1\r\nHost: x\r\n\r\n"

    def grow() -> None:
        for path in blobs_of(layout):
            with path.open("ab") as file:
                file.write(more)

    registry.fault = once(lambda handler: handler.command == "POST", grow)
    (outcome,) = run(layout, f"{registry.host}/acme/app:1")
    assert outcome.ok
    assert {entry.method for entry in registry.seen} == {"GET", "HEAD", "POST", "PUT"}
    assert not any(more in data for data in registry.blobs.values())


def test_a_disk_that_fails_is_not_the_registry(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Blob, count: int = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = open_artifact(layout)
    plan = PushPlan(source, resolve(source), (Target(Reference.parse(f"{registry.host}/acme/app:1")),))
    monkeypatch.setattr(Blob, "read", fail)
    (outcome,) = push(plan, Keychain(), Trust(folders=())).outcomes
    assert outcome.problem is not None
    assert outcome.problem.kind == "artifact"
    assert "Input/output error" in outcome.problem.message


def test_a_bug_at_one_destination_is_told_and_the_others_go_on(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = destination.Destination._create

    def broken(self: destination.Destination) -> RegistryError | None:
        if self.repository == "acme/one":
            raise RuntimeError("nobody thought of this")
        return usual(self)

    monkeypatch.setattr(destination.Destination, "_create", broken)
    one, two = run(layout, f"{registry.host}/acme/one:1", f"{registry.host}/acme/two:1")
    assert one.problem is not None
    assert (one.problem.kind, "nobody thought of this" in one.problem.message) == ("bug", True)
    report = Path(one.problem.hint.rpartition(" ")[2])
    assert "RuntimeError: nobody thought of this" in report.read_text()
    report.unlink()
    assert two.ok


def test_a_tag_that_is_moved_away_is_written_again(layout: Path, registry: Scripted) -> None:
    assert run(layout, f"{registry.host}/acme/app:1")[0].ok
    wanted = registry.manifests["acme/app", "1"]

    def move() -> None:
        registry.manifests["acme/app", "1"] = (b"{}", wanted[1])

    with scripted_registry() as slow:
        slow.fault = once(lambda handler: handler.command == "PUT", move)
        assert all(outcome.ok for outcome in run(layout, f"{registry.host}/acme/app:1", f"{slow.host}/acme/app:1"))
    assert registry.manifests["acme/app", "1"] == wanted


def test_what_a_registry_loses_while_another_is_filled_is_sent_again(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "WAITED", 0.2)
    assert run(layout, f"{registry.host}/acme/app:0")[0].ok
    held = dict(registry.blobs)

    def lose() -> None:
        time.sleep(1)  # the first one has been asked for everything
        registry.blobs.clear()

    with scripted_registry() as slow:
        slow.fault = once(lambda handler: handler.command == "POST", lose)
        assert all(outcome.ok for outcome in run(layout, f"{registry.host}/acme/app:1", f"{slow.host}/acme/app:1"))
    assert registry.blobs == held


def test_what_fails_while_another_is_filled_is_told_of_that_one_alone(
    tmp_path: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "WAITED", 0.2)
    place = tmp_path / "about"
    place.mkdir()
    image = artifacts.put_image(place, "linux/amd64", [b"layer" * 1000])
    about = artifacts.put_attestation(place, image)
    document = json.loads((place / "blobs" / "sha256" / str(about["digest"])[7:]).read_text())
    document["subject"] = {key: image[key] for key in ("mediaType", "digest", "size")}
    told = {**about, **artifacts.put_json(place, document, artifacts.MANIFEST)}  # its list is kept at the very end
    artifacts.finish(place, [artifacts.put_json(place, {"manifests": [image, told]}, artifacts.INDEX)])
    late = threading.Event()

    def slowly() -> None:
        time.sleep(1)
        late.set()

    def revoked(handler: Handler) -> bool:
        asked = late.is_set() and handler.command == "HEAD" and "/blobs/" in handler.path
        return asked and handler.error(403, "DENIED", "not any more")

    registry.fault = revoked
    with scripted_registry() as slow:
        slow.fault = once(lambda handler: handler.command == "POST", slowly)
        denied, fine = run(place, f"{registry.host}/acme/app:1", f"{slow.host}/acme/app:1")
        assert ("acme/app", "1") in slow.manifests
    assert kind(denied) == "credentials" and fine.ok


def test_a_tag_is_read_twice_where_reading_lags(layout: Path, registry: Scripted) -> None:
    reads = [0]

    def lag(handler: Handler) -> bool:
        if handler.command == "GET" and handler.path.endswith("/manifests/1"):
            reads[0] += 1
            return reads[0] == 1 and handler.error(404, "MANIFEST_UNKNOWN", "not yet")
        return False

    registry.fault = lag
    assert run(layout, f"{registry.host}/acme/app:1")[0].ok
    assert (reads[0], registry.count("PUT", "/manifests/1$")) == (2, 1)


def test_a_manifest_that_was_spoiled_once_is_sent_again(layout: Path, registry: Scripted) -> None:
    lock, left = threading.Lock(), [1]

    def spoil(handler: Handler) -> bool:
        if handler.command == "PUT" and "/manifests/" in handler.path:
            with lock:
                left[0] -= 1
                if left[0] >= 0:
                    return handler.error(400, "DIGEST_INVALID", "another digest")
        return False

    registry.fault = spoil
    assert run(layout, f"{registry.host}/acme/app:1")[0].ok


@pytest.mark.parametrize("asked", ["0", "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_a_wait_of_no_length_is_no_reason_to_hurry(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.2)
    until = time.monotonic() + 0.5
    registry.fault = lambda handler: (
        time.monotonic() < until and handler.error(429, "TOOMANYREQUESTS", "slower", Retry_After=asked)
    )
    assert run(layout, f"{registry.host}/acme/app:1")[0].ok


def test_a_long_wait_is_told(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: handler.error(429, "TOOMANYREQUESTS", "slower", Retry_After="3600")
    (outcome,) = run(layout, f"{registry.host}/acme/app:1")
    assert outcome.problem is not None
    assert "it asks to wait for 60 minutes" in outcome.problem.message


def test_each_way_to_fail_has_its_own_count() -> None:
    ways = iter(["server", "server", "unreachable", "server"])
    seen: list[int] = []

    def work(number: int) -> str:
        seen.append(number)
        way = next(ways, "")
        if way:
            raise RegistryError(way, way, transient=True)
        return "done"

    assert attempt(work, threading.Event()) == "done"
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("answered", "attempts"), [(False, 3), (True, 5)])
def test_who_answered_before_is_given_more_time(answered: bool, attempts: int) -> None:
    seen: list[int] = []

    def work(number: int) -> None:
        seen.append(number)
        error = RegistryError("unreachable", "away", transient=True)
        error.answered = answered
        raise error

    with pytest.raises(RegistryError):
        attempt(work, threading.Event())
    assert len(seen) == attempts


@pytest.mark.parametrize("status", [102, 103, 199])
def test_words_ahead_of_an_answer_are_not_the_answer(layout: Path, registry: Scripted, status: int) -> None:
    def ahead(handler: Handler) -> bool:
        handler.wfile.write(f"HTTP/1.1 {status} Wait\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".encode())
        return False

    registry.fault = ahead
    assert run(layout, f"{registry.host}/acme/app:1")[0].ok


class Helped(Keychain):
    """A helper that hangs, and counts how often it was asked."""

    asked = 0

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        type(self).asked += 1
        time.sleep(0.1)
        raise RegistryError("credentials", "the helper did not answer") from ToolError("late")


def test_a_helper_that_hangs_is_asked_once(layout: Path, registry: Scripted) -> None:
    registry.fault = lambda handler: (
        not handler.headers.get("Authorization")
        and handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate="Basic realm=x")
    )
    (outcome,) = run(layout, f"{registry.host}/acme/app:1", keychain=Helped())
    assert (kind(outcome), Helped.asked) == ("credentials", 1)


def test_a_token_server_that_hangs_is_asked_by_one_of_those_that_wait(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "TOKEN_TIMEOUT", 0.3)
    asked: list[str] = []

    def hang(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            asked.append(handler.path)
            time.sleep(1)
            return handler.answer(200, b"{}")
        realm = f'Bearer realm="{registry.url}/token",service="x"'
        return handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate=realm)

    registry.fault = hang
    began = time.monotonic()
    (outcome,) = run(layout, f"{registry.host}/acme/app:1")
    assert kind(outcome) == "timeout"
    assert len(asked) <= 6  # three attempts, and who came too late to have waited
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_what_a_neighbour_holds_is_mounted_whoever_is_first(
    layout: Path, registry: Scripted, order: tuple[str, str]
) -> None:
    """The one that holds it answers late."""
    assert run(layout, f"{registry.host}/acme/one:0")[0].ok

    def slow(handler: Handler) -> bool:
        if handler.command == "HEAD" and "/acme/one/blobs/" in handler.path:
            time.sleep(0.2)
        return False

    registry.fault = slow
    outcomes = run(layout, *(f"{registry.host}/acme/{name}:1" for name in order))
    blobs = sum(blob.size for blob in resolve(open_artifact(layout)).blobs)
    mounted = {outcome.reference.rpartition("/")[2]: outcome.bytes_mounted for outcome in outcomes}
    assert mounted == {"one:1": 0, "two:1": blobs}


def test_a_neighbour_that_does_not_answer_is_not_waited_for_each_time(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.3)
    gone = threading.Event()

    def stall(handler: Handler) -> bool:
        if "/acme/one/blobs/" in handler.path:
            gone.wait(20)
        if handler.command == "PUT" and "/acme/two/manifests/" in handler.path:
            gone.set()
        return False

    registry.fault = stall
    assert all(outcome.ok for outcome in run(layout, f"{registry.host}/acme/one:1", f"{registry.host}/acme/two:1"))
    assert gone.is_set()


def test_the_answer_of_a_registry_that_stops_reading_is_heard(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses a body in the middle of it, and neither reads on nor hangs up."""
    artifacts.make_layout(layout, size=30_000_000)
    monkeypatch.setattr(transport, "SEND_SECONDS", 0.5)
    over = threading.Event()

    def refuse(handler: Handler) -> bool:
        if handler.command != "PUT" or int(handler.headers["Content-Length"]) < 1_000_000:
            return False
        handler.answer(413)
        handler.wfile.flush()
        over.wait(20)
        handler.close_connection = True
        return True

    registry.fault = refuse
    (outcome,) = run(layout, f"{registry.host}/acme/app:1")
    over.set()
    assert kind(outcome) == "too-large"
