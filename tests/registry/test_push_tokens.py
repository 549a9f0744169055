"""A push that takes longer than its tokens live, to a real registry whose token server hands them out."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import artifacts
import pytest

from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry.credentials import Keychain
from buildopt.registry.outcome import Again, Event
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.trust import Trust
from buildopt.sandbox.certificates import make_certificates
from buildopt.sandbox.registries import start_ghcr, stopped_after
from buildopt.sandbox.tokens import User


@pytest.mark.engine
def test_tokens_are_renewed_in_the_middle_of_a_push(tmp_path: Path) -> None:
    folder, dice = tmp_path / "layout", random.Random(1)
    image = artifacts.put_image(folder, "linux/amd64", [dice.randbytes(2000) for _ in range(250)])
    artifacts.finish(folder, [image])
    pair = base64.b64encode(b"octocat:hush-hush").decode()
    certificates = make_certificates(tmp_path / "certificates")
    events: list[Event] = []
    users = (User("octocat", "hush-hush"),)
    with stopped_after(start_ghcr(tmp_path / "registry", certificates, users, expires_in=1)) as running:
        (tmp_path / "config.json").write_text(json.dumps({"auths": {running.authority: {"auth": pair}}}))
        keychain = Keychain.load({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
        trust = Trust({"SSL_CERT_FILE": str(certificates.bundle)})
        source = open_artifact(folder)
        targets = (Target(Reference.parse(f"{running.authority}/acme/app:1")),)
        plan = PushPlan(source, resolve(source), targets, jobs=1)
        report = push(plan, keychain, trust, events.append)
        log = (tmp_path / "registry" / "tokens" / "tokens.log").read_text()
        refused = running.log.read_text().count('" 401 ')
    assert [outcome.problem for outcome in report.outcomes] == [None]
    assert report.outcomes[0].seconds > 1  # longer than a token lives
    assert log.count("GET /token") >= 2
    assert refused <= 1 + log.count("GET /token")  # the first question, and at most one for each token
    assert not any(isinstance(event, Again) for event in events)
    assert "hush-hush" not in repr(report) + repr(events)
