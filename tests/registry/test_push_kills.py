"""Pushes that are killed: what the registries hold then, and what the next push sends."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import pytest
from push_kills import Kill, Missing, Project, _misspent, choose

from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import registry_server

CHOSEN = {("large", "two registries"), ("many", "two repositories")}
"""Few, as each is pushed once in its usual time before."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("kills")
    certificates = make_certificates(folder / "certificates")
    with (
        registry_server(folder / "first", tls=certificates) as first,
        registry_server(folder / "second", tls=certificates) as second,
    ):
        yield Project(folder / "project", (first, second), scale=0.25, rounds=1)


@pytest.mark.engine
def test_a_killed_push_leaves_a_whole_image_and_the_next_one_sends_what_is_missing(project: Project) -> None:
    kills = (kill for kill in choose(4) if (kill.shape, kill.places) in CHOSEN)
    outcomes = [project.kill(kill) for kill in itertools.islice(kills, 6)]
    assert [f"{outcome.kill}: {problem}" for outcome in outcomes for problem in outcome.problems] == []
    killed = [outcome for outcome in outcomes if outcome.in_time]
    assert len(killed) >= 3
    assert any(0 < outcome.missing < outcome.total for outcome in killed)
    assert all(outcome.sent <= outcome.missing for outcome in outcomes)


@pytest.mark.engine
def test_a_push_that_is_not_killed_leaves_nothing_to_send(project: Project) -> None:
    outcome = project.kill(Kill(100, "many", "two repositories", True, signal.SIGTERM, False, 50.0))
    assert (outcome.in_time, outcome.states, outcome.problems) == (False, ("new", "new"), ())
    assert (outcome.missing, outcome.sent) == (0, 0)


@pytest.mark.engine
def test_what_is_gone_behind_a_tag_is_seen(project: Project) -> None:
    old, new = project.images["many", "old"], project.images["many", "new"]
    (place,) = places = project.places("gone/app", "one tag")
    project._seed(place, old)
    assert project._look(places, old, new, fresh=False) == (["old"], [])
    judge = project._judge(place)
    digest = next(iter(old.blobs))
    assert judge.send("DELETE", f"/v2/{place.repository}/blobs/{digest}")[0] == 202
    judge.close()
    _, problems = project._look(places, old, new, fresh=False)
    assert problems != []
    assert all(digest in problem for problem in problems)
    assert digest in project._missing(place, old).blobs
    (project.empty["temporary"] / "left").touch()
    assert "left" in project._left()[0]
    (project.empty["temporary"] / "left").unlink()


def test_what_was_sent_needlessly_is_seen() -> None:
    digest = f"sha256:{'a' * 64}"
    put = f"/v2/app/blobs/uploads/1?_state=x&digest=sha256%3A{'a' * 64}"
    asked = [("HEAD", f"/v2/app/blobs/{digest}", 200)]
    sent = [("POST", "/v2/app/blobs/uploads/", 202), ("PUT", put, 201)]
    nothing, one = (
        Missing(frozenset(), frozenset(), frozenset()),
        Missing(frozenset({digest}), frozenset(), frozenset()),
    )
    assert list(_misspent("app", nothing, asked)) == []
    assert list(_misspent("app", one, asked + sent)) == []
    assert len(list(_misspent("app", nothing, asked + sent))) == 2
    assert len(list(_misspent("app", nothing, sent[:1]))) == 1
    assert len(list(_misspent("app", one, asked))) == 1
    assert len(list(_misspent("app", one, sent + sent))) == 2
    assert len(list(_misspent("app", nothing, [("PUT", "/v2/app/manifests/1", 201)]))) == 1
