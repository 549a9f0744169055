"""Questions that only save work: where they are refused, the push goes on, and the writes tell what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, Scripted

from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import destination, retry
from buildopt.registry.credentials import Keychain
from buildopt.registry.outcome import Event, Noted, Outcome
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.preview import preview
from buildopt.registry.push import push
from buildopt.registry.trust import Trust

SIGNED_IN = {"username": "octocat", "password": "hush-hush"}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.05)


def run(place: Path, registry: Scripted, events: list[Event] | None = None) -> Outcome:
    """Push with credentials that the registry asks for."""
    source = open_artifact(place)
    plan = PushPlan(source, resolve(source), (Target(Reference.parse(f"{registry.host}/acme/app:1")),))
    keychain = Keychain.load({"DOCKER_AUTH_CONFIG": json.dumps({"auths": {registry.host: SIGNED_IN}}), "HOME": "/none"})
    hear = events.append if events is not None else lambda event: None
    (outcome,) = push(plan, keychain, Trust(folders=()), hear).outcomes
    return outcome


def asking(fault: Callable[[Handler], bool]) -> Callable[[Handler], bool]:
    """A registry that wants credentials and then does as ``fault`` says."""

    def answer(handler: Handler) -> bool:
        if not handler.headers.get("Authorization"):
            return handler.error(401, "UNAUTHORIZED", "sign in", WWW_Authenticate='Basic realm="x"')
        return fault(handler)

    return answer


def test_who_may_push_and_not_pull_is_told_that_nothing_was_read_back(layout: Path, registry: Scripted) -> None:
    """Amazon's policy for those who push has nothing that reads manifests."""

    def fault(handler: Handler) -> bool:
        reading = handler.command in ("GET", "HEAD") and "/manifests/" in handler.path
        return reading and handler.error(403, "DENIED", "no ecr:BatchGetImage")

    registry.fault = asking(fault)
    events: list[Event] = []
    outcome = run(layout, registry, events)
    assert outcome.ok, outcome.problem
    assert ("acme/app", "1") in registry.manifests
    assert [event for event in events if isinstance(event, Noted) and "cannot be read back" in event.message]


def test_what_may_not_be_asked_for_is_not_sent_again(
    layout: Path, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "WAITED", 0.0)

    def fault(handler: Handler) -> bool:
        asked = handler.command == "HEAD" and ("/manifests/" in handler.path or "/blobs/" in handler.path)
        return asked and handler.error(403, "DENIED", "no questions")

    registry.fault = asking(fault)
    outcome = run(layout, registry)
    assert outcome.ok, outcome.problem
    assert registry.count("PUT", "/blobs/") == len(resolve(open_artifact(layout)).blobs)


@pytest.mark.parametrize(("denied", "ok"), [("/manifests/", True), ("/acme/", False)])
def test_a_dry_run_goes_by_what_may_be_asked(layout: Path, registry: Scripted, denied: str, ok: bool) -> None:
    registry.fault = asking(lambda handler: denied in handler.path and handler.error(403, "DENIED", "no"))
    source = open_artifact(layout)
    plan = PushPlan(source, resolve(source), (Target(Reference.parse(f"{registry.host}/acme/app:1")),))
    keychain = Keychain.load({"DOCKER_AUTH_CONFIG": json.dumps({"auths": {registry.host: SIGNED_IN}}), "HOME": "/none"})
    found = preview(plan, keychain, Trust(folders=()))
    assert found.report.ok is ok


def test_who_may_not_write_is_told_so(layout: Path, registry: Scripted) -> None:
    registry.fault = asking(lambda handler: handler.path != "/v2/" and handler.error(403, "DENIED", "read only"))
    problem = run(layout, registry).problem
    assert problem is not None and problem.kind == "permission"
    assert not registry.manifests


def test_the_limit_of_pulls_is_no_limit_of_pushes(layout: Path, registry: Scripted) -> None:
    """Docker Hub counts a GET of a manifest, and no HEAD."""

    def fault(handler: Handler) -> bool:
        if handler.command == "GET" and "/manifests/" in handler.path:
            return handler.error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit")
        held = registry.manifests.get(("acme/app", handler.path.rpartition("/")[2]))
        if handler.command == "HEAD" and "/manifests/" in handler.path and held is not None:
            digest = next(name for (_, name), value in registry.manifests.items() if value == held and ":" in name)
            return handler.answer(200, held[0], Content_Type=held[1], Docker_Content_Digest=digest)
        return False

    registry.fault = fault
    assert run(layout, registry).ok
    written = registry.count("PUT", "/manifests/")
    assert run(layout, registry).ok
    assert registry.count("PUT", "/manifests/") == written


@pytest.mark.parametrize("status", [400, 406, 410, 500])
def test_a_tag_that_cannot_be_read_is_replaced(layout: Path, registry: Scripted, status: int) -> None:
    def fault(handler: Handler) -> bool:
        reading = handler.command in ("GET", "HEAD") and handler.path.endswith("/manifests/1")
        return reading and ("acme/app", "1") not in registry.manifests and handler.error(status, "", "broken")

    registry.fault = fault
    assert run(layout, registry).ok


def test_what_leads_to_a_place_that_cannot_be_asked_is_sent_again(layout: Path, registry: Scripted) -> None:
    assert run(layout, registry).ok

    def fault(handler: Handler) -> bool:
        held = handler.command == "HEAD" and "/blobs/" in handler.path
        return held and handler.answer(307, Location="http://10.1.2.3:9000/storage")

    registry.fault = fault
    outcome = run(layout, registry)
    assert outcome.ok and outcome.bytes_sent > 0


def test_a_question_that_is_sent_elsewhere_stays_one(layout: Path, registry: Scripted) -> None:
    def fault(handler: Handler) -> bool:
        asked = handler.command == "HEAD" and "/blobs/" in handler.path and "elsewhere" not in handler.path
        return asked and handler.answer(303, Location=f"{handler.path}?elsewhere")

    registry.fault = fault
    assert run(layout, registry).ok
    assert registry.count("GET", "/blobs/") == 0 and registry.count("HEAD", "elsewhere") > 0
