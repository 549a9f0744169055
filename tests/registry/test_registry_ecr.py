"""ECR: who signs in with what, and which repositories are made; the API is moto's server, all over real sockets."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import artifacts
import boto3
import botocore.session
import pytest
from aws import (
    ACCOUNT,
    ECR,
    PASSWORD,
    PUBLIC,
    REGION,
    SECRET,
    PrivateRegistry,
    PublicApi,
    api_server,
    encoded,
    forget,
    moto_server,
    repositories,
)
from scripted import Handler, Scripted, scripted_registry

from buildopt.cli import main
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import client, ecr, retry
from buildopt.registry.auth import Authenticator
from buildopt.registry.credentials import Credentials, Issued, Keychain
from buildopt.registry.failure import NO_IDENTITY, Answer, RegistryError
from buildopt.registry.outcome import Event, Noted, PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.preview import Preview, planned_creations, preview
from buildopt.registry.profiles import profile_of
from buildopt.registry.push import push
from buildopt.registry.transport import Origin, Transport
from buildopt.registry.trust import Trust
from buildopt.settings import Creation


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(autouse=True)
def aws(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An environment with keys, and nothing else that belongs to whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    yield moto
    forget()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    artifacts.make_layout(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """The registry behind ECR's names."""
    with scripted_registry() as scripted:
        scripted.fault = PrivateRegistry()
        monkeypatch.setattr(client, "endpoint", lambda name: scripted.host if name in (ECR, PUBLIC) else name)
        yield scripted


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The registries that AWS was asked for a password for."""
    seen: list[str] = []
    password = ecr.Api.password

    def counted(self: ecr.Api) -> Issued:
        seen.append(self.registry)
        return password(self)

    monkeypatch.setattr(ecr.Api, "password", counted)
    return seen


def keychain(folder: Path, **passwords: str) -> Keychain:
    """Docker's configuration with a password of the user AWS a registry."""
    auths = {name: {"auth": encoded("AWS", password)} for name, password in passwords.items()}
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    return Keychain.load({"DOCKER_CONFIG": str(folder), "HOME": str(folder)})


def run(layout: Path, *targets: Target, known: Keychain | None = None, events: list[Event] | None = None) -> PushReport:
    source = open_artifact(layout)
    seen: list[Event] = events if events is not None else []
    return push(PushPlan(source, resolve(source), targets), known or Keychain(), Trust(folders=()), seen.append)


def target(text: str, create: Creation | None = None, *, optional: bool = False) -> Target:
    return Target(Reference.parse(text), optional, create)


def made(name: str = "app") -> None:
    boto3.client("ecr", REGION).create_repository(repositoryName=name)


class Denying:
    """AWS for a role that may do ``allowed`` and nothing else."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    def __call__(self, operation: str, values: dict[str, object]) -> tuple[int, dict[str, object]]:
        if operation not in self.allowed:
            who = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/push/ci"
            said = f"{who} is not authorized to perform: ecr:{operation} on resource: *"
            return 400, {"__type": "AccessDeniedException", "Message": said}
        token = encoded("AWS", PASSWORD)
        return 200, {"authorizationData": [{"authorizationToken": token, "expiresAt": 4102444800}]}


@pytest.mark.parametrize(
    ("registry", "service", "parts"),
    [
        (ECR, "ecr", {"account": ACCOUNT, "region": REGION}),
        (
            f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "ecr",
            {"account": ACCOUNT, "region": "us-gov-west-1", "fips": "-fips"},
        ),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr", {"account": ACCOUNT, "region": "cn-north-1"}),
        (f"{ACCOUNT}.dkr-ecr.us-west-2.on.aws", "ecr", {"account": ACCOUNT, "region": "us-west-2"}),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", "ecr", {"account": ACCOUNT, "region": "eusc-de-east-1"}),
        (PUBLIC, "ecr-public", {}),
        ("12345.dkr.ecr.eu-west-1.amazonaws.com", "", {}),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.example.org", "", {}),
        ("ghcr.io", "", {}),
        ("docker.io", "", {}),
        ("127.0.0.1:5000", "", {}),
    ],
)
def test_a_registrys_name_says_what_to_ask(registry: str, service: str, parts: dict[str, str]) -> None:
    profile = profile_of(registry)
    assert (profile.service, dict(profile.parts(registry))) == (service, parts)
    assert (ecr.issuer(registry) is not None) == bool(service)
    if parts:
        issued = ecr.Api(registry).password()
        assert issued.credentials == Credentials("AWS", PASSWORD)


def test_aws_signs_in_where_docker_knows_nobody(layout: Path, data: Scripted, asked: list[str]) -> None:
    made()
    report = run(layout, target(f"{ECR}/app:1"), target(f"{ECR}/app:2"))
    assert (report.ok, asked) == (True, [ECR])
    assert {name for _, name in data.manifests} >= {"1", "2"}


def test_aws_is_not_asked_where_dockers_password_works(
    layout: Path, data: Scripted, asked: list[str], tmp_path: Path
) -> None:
    made()
    assert run(layout, target(f"{ECR}/app:1"), known=keychain(tmp_path, **{ECR: PASSWORD})).ok
    assert asked == []


def test_a_password_that_has_expired_is_replaced_once(
    layout: Path, data: Scripted, asked: list[str], tmp_path: Path
) -> None:
    made()
    report = run(layout, target(f"{ECR}/app:1"), known=keychain(tmp_path, **{ECR: "of-yesterday"}))
    assert (report.ok, asked) == (True, [ECR])


def test_a_missing_permission_is_no_reason_to_ask(
    layout: Path, data: Scripted, asked: list[str], tmp_path: Path
) -> None:
    made()
    data.fault = PrivateRegistry(denied={"app"})
    report = run(layout, target(f"{ECR}/app:1"), known=keychain(tmp_path, **{ECR: PASSWORD}))
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, asked) == ("permission", [])
    assert "ecr:PutImage" in problem.hint


def test_what_aws_gives_is_refused_too(layout: Path, data: Scripted, asked: list[str]) -> None:
    data.fault = PrivateRegistry(passwords=set())
    report = run(layout, target(f"{ECR}/app:1"))
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, report.exit_code, asked) == ("credentials", 6, [ECR])
    assert "has expired" in problem.message


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("missing", ["boto3", "identity"])
def test_without_an_identity_both_ways_are_told(
    layout: Path, data: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, known: bool
) -> None:
    if missing == "boto3":
        monkeypatch.setitem(sys.modules, "boto3.session", None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = keychain(tmp_path, **{ECR: "of-yesterday"}) if known else keychain(tmp_path)
    report = run(layout, target(f"{ECR}/app:1"), known=found)
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, report.exit_code) == ("credentials", 6)
    assert ("not installed" if missing == "boto3" else "no identity") in problem.message
    assert ("has expired" if known else "wants credentials") in problem.message
    assert "pip install 'buildopt[aws]'" in problem.hint
    assert f"aws ecr get-login-password --region {REGION} | docker login --username AWS" in problem.hint
    assert "\n" not in problem.message + problem.hint


def test_a_machine_without_aws_does_not_wait_for_a_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says a word
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(RegistryError) as caught:
            ecr.Api(ECR).password()
        assert caught.value.code == NO_IDENTITY
        assert time.monotonic() - began < 6


def test_the_role_of_a_workflow_signs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "token").write_text("header.payload.signature")
    monkeypatch.setenv("AWS_ROLE_ARN", f"arn:aws:iam::{ACCOUNT}:role/push")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    assert ecr.Api(ECR).password().credentials == Credentials("AWS", PASSWORD)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(RegistryError, match="No such file"):
        ecr.Api(ECR).password()


def test_a_profile_signs_in_and_one_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[ci]\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_PROFILE", "ci")
    assert ecr.Api(ECR).password().credentials.username == "AWS"
    monkeypatch.setenv("AWS_PROFILE", "cj")
    with pytest.raises(RegistryError, match=r"profile \(cj\)") as caught:
        ecr.Api(ECR).password()
    assert caught.value.kind == "credentials"


def test_a_password_is_renewed_before_its_end() -> None:
    now, count = [0.0], [0]

    def issue() -> Issued:
        count[0] += 1
        return Issued(Credentials("AWS", f"number-{count[0]}"), 12 * 3600.0)

    origin = Origin("https", ECR, 443)
    auth = Authenticator(ECR, origin, Keychain(), Transport(Trust(folders=())), clock=lambda: now[0], issuer=issue)
    assert auth.challenged(Answer(401, {"www-authenticate": "Basic realm=x"}, b""), "", "")
    seen = []
    for hours in (0, 6, 11.5, 11.9, 12.1, 24.0):
        now[0] = hours * 3600
        seen.append(auth.header("scope", "app"))
    assert seen == [f"Basic {encoded('AWS', f'number-{number}')}" for number in (1, 1, 1, 2, 2, 3)]


def test_a_renewal_that_fails_leaves_the_password_that_there_is() -> None:
    now = [0.0]

    def issue() -> Issued:
        if now[0]:
            raise RegistryError("unreachable", "AWS is away")
        return Issued(Credentials("AWS", PASSWORD), 12 * 3600.0)

    origin = Origin("https", ECR, 443)
    auth = Authenticator(ECR, origin, Keychain(), Transport(Trust(folders=())), clock=lambda: now[0], issuer=issue)
    auth.challenged(Answer(401, {"www-authenticate": "Basic realm=x"}, b""), "", "")
    first = auth.header("scope", "app")
    now[0] = 11.9 * 3600
    assert auth.header("scope", "app") == first
    with pytest.raises(RegistryError, match="AWS is away"):
        auth.replaced("scope", first)


def test_a_password_that_ends_early_is_renewed_and_not_again_and_again() -> None:
    now, count = [0.0], [0]

    def issue() -> Issued:
        count[0] += 1
        return Issued(Credentials("AWS", f"number-{count[0]}"), 12 * 3600.0)

    origin = Origin("https", ECR, 443)
    auth = Authenticator(ECR, origin, Keychain(), Transport(Trust(folders=())), clock=lambda: now[0], issuer=issue)
    auth.challenged(Answer(401, {"www-authenticate": "Basic realm=x"}, b""), "", "")
    first = auth.header("scope", "app")
    assert not auth.replaced("scope", first)  # refused at once: another one would be too
    now[0] = 3600.0
    assert auth.replaced("scope", first)
    assert auth.replaced("scope", first)  # a second thread with the old one finds the new one
    assert (auth.header("scope", "app"), count) == (f"Basic {encoded('AWS', 'number-2')}", [2])


def test_a_credential_helper_that_fails_gives_way_to_aws(
    layout: Path, data: Scripted, asked: list[str], tmp_path: Path
) -> None:
    made()
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {ECR: "ecr-login-that-is-not-there"}}))
    known = Keychain.load({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path), "PATH": ""})
    assert run(layout, target(f"{ECR}/app:1"), known=known).ok
    assert asked == [ECR]


def test_what_is_not_allowed_is_named(layout: Path, data: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server(Denying()) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        report = run(layout, target(f"{ECR}/app:1"))
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, report.exit_code) == ("permission", 4)
    assert problem.message.startswith("AWS does not allow ecr:GetAuthorizationToken: User: arn:aws:sts::")
    assert "ecr:GetAuthorizationToken on *" in problem.hint


def test_who_may_not_create_may_push_to_what_exists(
    layout: Path, data: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    events: list[Event] = []
    with api_server(Denying("GetAuthorizationToken")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        report = run(layout, target(f"{ECR}/app:1", Creation()), target(f"{ECR}/new:1", Creation()), events=events)
    assert [outcome.ok for outcome in report.outcomes] == [True, False]
    problem = report.outcomes[1].problem
    assert problem is not None
    assert (problem.kind, "new" in repositories()) == ("permission", False)
    assert "AWS does not allow ecr:CreateRepository" in problem.message
    assert f"ecr:CreateRepository on new in account {ACCOUNT}" in problem.hint
    assert sum(isinstance(event, Noted) for event in events) == 2


def test_who_has_only_a_password_can_push_and_not_create(
    layout: Path, data: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    wanted = (target(f"{ECR}/app:1", Creation()), target(f"{ECR}/new:1", Creation()))
    report = run(layout, *wanted, known=keychain(tmp_path, **{ECR: PASSWORD}))
    assert [outcome.ok for outcome in report.outcomes] == [True, False]
    problem = report.outcomes[1].problem
    assert problem is not None
    assert (problem.kind, report.exit_code) == ("not-found", 4)
    assert "does not exist; it was not made: boto3 found no identity" in problem.message
    assert f"aws ecr create-repository --region {REGION} --repository-name new" in problem.hint


def test_the_address_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    # Nothing leaves this machine: there is no such proxy.
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hush-hush@127.0.0.1:1")
    monkeypatch.setattr(ecr, "ATTEMPTS", 1)
    asked: list[str] = []
    create = botocore.session.Session.create_client

    def created(self: botocore.session.Session, *words: object, **options: object) -> object:
        made = create(self, *words, **options)
        made.meta.events.register("before-send.*.*", lambda request, **more: asked.append(str(request.url)))
        return made

    monkeypatch.setattr(botocore.session.Session, "create_client", created)
    for name in ("ecr-fips.us-gov-west-1.amazonaws.com", "ecr.cn-north-1.amazonaws.com.cn"):
        with pytest.raises(RegistryError, match="cannot be reached") as caught:
            ecr.Api(f"{ACCOUNT}.dkr.{name}").password()
        assert "hush-hush" not in caught.value.message + caught.value.hint
    with pytest.raises(RegistryError, match="cannot be reached"):
        ecr.Api(PUBLIC).password()
    # boto3's versions differ in whether api. is before the FIPS names.
    assert [(urlsplit(url).hostname or "").replace("api.ecr-fips", "ecr-fips") for url in asked] == [
        "ecr-fips.us-gov-west-1.amazonaws.com",
        "api.ecr.cn-north-1.amazonaws.com.cn",
        "api.ecr-public.us-east-1.amazonaws.com",
    ]


@pytest.mark.parametrize("data_of", [[], [{}], [{"authorizationToken": "?"}], None])
def test_a_password_that_is_none_is_an_error(data_of: object, monkeypatch: pytest.MonkeyPatch) -> None:
    document: dict[str, object] = {} if data_of is None else {"authorizationData": data_of}
    with api_server(lambda operation, values: (200, document)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RegistryError, match="no valid password"):
            ecr.Api(ECR).password()


def test_an_answer_that_is_not_of_aws_is_not_repeated(data: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    data.fault = lambda handler: handler.error(403, "X", f"<html>{SECRET}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", data.url)
    with pytest.raises(RegistryError, match="not in AWS's form") as caught:
        ecr.Api(ECR).password()
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("code", "status", "kind", "shown"),
    [
        ("ExpiredTokenException", 400, "credentials", False),
        ("SignatureDoesNotMatch", 403, "credentials", False),
        ("InvalidSignatureException", 400, "credentials", False),
        ("LimitExceededException", 400, "refused", True),
        ("ThrottlingException", 400, "rate-limit", False),
        ("ServerException", 500, "server", False),
    ],
)
def test_what_aws_refuses_is_one_line(
    code: str, status: int, kind: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecr, "ATTEMPTS", 1)
    said = "a word\nand another" if shown else f"the canonical string was\nx-amz-security-token:{SECRET}"
    with api_server(lambda operation, values: (status, {"__type": code, "message": said})) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RegistryError) as caught:
            ecr.Api(ECR).create("app", Creation())
    error = caught.value
    assert (error.kind, error.transient) == (kind, False)
    assert code in error.message
    assert ("a word and another" in error.message) == shown
    assert SECRET not in error.message + error.hint
    assert "\n" not in error.message + error.hint
    assert error.hint


def test_an_api_that_cannot_be_reached_stops_nobody_else(
    layout: Path, data: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(ecr, "ATTEMPTS", 1)
    with scripted_registry() as other:
        report = run(layout, target(f"{ECR}/app:1", Creation()), target(f"{other.host}/acme/app:1"))
    first, second = report.outcomes
    assert second.ok
    assert first.problem is not None
    assert (first.problem.kind, report.exit_code) == ("unreachable", 4)
    assert "AWS's API" in first.problem.message


def test_a_repository_is_made_as_wanted_and_then_left_alone(layout: Path, data: Scripted) -> None:
    events: list[Event] = []
    plan = target(f"{ECR}/team/app:1", Creation(immutable=True, scan=True))
    assert run(layout, plan, target(f"{ECR}/team/app:2"), events=events).ok
    assert repositories() == {"team/app": {"tags": "IMMUTABLE", "scan": True}}
    notes = [event.message for event in events if isinstance(event, Noted)]
    assert notes == ["the repository was made (tags immutable, scan on push)"]
    events.clear()
    assert run(layout, target(f"{ECR}/team/app:3", Creation()), events=events).ok
    assert repositories() == {"team/app": {"tags": "IMMUTABLE", "scan": True}}
    assert not [event for event in events if isinstance(event, Noted)]


def test_without_create_a_missing_repository_is_a_failure(layout: Path, data: Scripted) -> None:
    report = run(layout, target(f"{ECR}/app:1"))
    problem = report.outcomes[0].problem
    assert problem is not None
    assert (problem.kind, repositories()) == ("not-found", {})
    assert "--create" in problem.hint


def test_a_dry_run_says_what_would_be_made(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made("old")
    source = open_artifact(layout)
    wanted = (target(f"{ECR}/old:1", Creation()), target(f"{ECR}/new:1", Creation(scan=True)), target(f"{ECR}/no:1"))
    plan = PushPlan(source, resolve(source), wanted)
    found = {entry.repository: (entry.exists, entry.how) for entry in planned_creations(plan)}
    assert found == {
        f"{ECR}/old": (True, "tags mutable, no scan on push"),
        f"{ECR}/new": (False, "tags mutable, scan on push"),
    }
    assert set(repositories()) == {"old"}
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert {(entry.exists, entry.why) for entry in planned_creations(plan)} == {
        (None, "boto3 found no identity of AWS")
    }


def looked(layout: Path, *targets: Target, known: Keychain | None = None) -> Preview:
    source = open_artifact(layout)
    return preview(PushPlan(source, resolve(source), targets), known or Keychain(), Trust(folders=()))


def kinds(report: PushReport) -> list[str]:
    return [outcome.problem.kind if outcome.problem is not None else "" for outcome in report.outcomes]


def test_a_dry_run_knows_a_repository_that_is_missing(
    layout: Path, data: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("empty")
    wanted = (target(f"{ECR}/empty:1"), target(f"{ECR}/app:1"), target(f"{ECR}/new:1", Creation()))
    found = looked(layout, *wanted)
    assert [(entry.exists, entry.created) for entry in found.repositories] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert {entry.method for entry in data.seen} == {"GET", "HEAD"}
    assert kinds(found.report) == ["", "not-found", ""] and set(repositories()) == {"empty"}
    problem = found.report.outcomes[1].problem
    assert problem is not None and "--create" in problem.hint
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    only = keychain(tmp_path, **{ECR: PASSWORD})
    told, done = looked(layout, *wanted, known=only).report, run(layout, *wanted, known=only)
    assert kinds(told) == kinds(done) == ["", "not-found", "not-found"]
    last = told.outcomes[2].problem
    assert last is not None and "boto3 found no identity of AWS" in last.message


@pytest.mark.parametrize("immutable", [False, True])
def test_a_dry_run_knows_a_tag_that_cannot_be_moved(
    layout: Path, data: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, immutable: bool
) -> None:
    assert run(layout, target(f"{ECR}/app:1", Creation(immutable=immutable))).ok
    artifacts.make_layout(tmp_path / "other", seed=b"other")
    same, new, moved = (target(f"{ECR}/app:{name}") for name in ("1", "2", "1"))
    assert kinds(looked(layout, same, new).report) == ["", ""]
    found = looked(tmp_path / "other", moved, new)
    assert [tag.state for tag in found.tags] == ["moved", "new"]
    assert kinds(found.report) == ["immutable" if immutable else "", ""]
    assert found.report.exit_code == (4 if immutable else 0)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    blind = looked(tmp_path / "other", moved, known=keychain(tmp_path, **{ECR: PASSWORD}))
    assert kinds(blind.report) == [""]  # without an identity of AWS nobody knows


@pytest.mark.parametrize(
    ("ways", "tag", "stays"),
    [
        ("MUTABLE", "1", False),
        ("IMMUTABLE", "1", True),
        ("IMMUTABLE_WITH_EXCLUSION", "dev-1", False),
        ("IMMUTABLE_WITH_EXCLUSION", "1", True),
        ("MUTABLE_WITH_EXCLUSION", "dev-1", True),
        ("MUTABLE_WITH_EXCLUSION", "1", False),
    ],
)
def test_exceptions_from_immutable_tags(monkeypatch: pytest.MonkeyPatch, ways: str, tag: str, stays: bool) -> None:
    def answer(operation: str, values: dict[str, object]) -> tuple[int, dict[str, object]]:
        assert (operation, values["repositoryNames"], values["registryId"]) == (
            "DescribeRepositories",
            ["app"],
            ACCOUNT,
        )
        filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
        entry = {"imageTagMutability": ways, "imageTagMutabilityExclusionFilters": filters}
        return 200, {"repositories": [entry if ways.endswith("_EXCLUSION") else {"imageTagMutability": ways}]}

    with api_server(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert ecr.Api(ECR).immutable("app", tag) is stays


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    artifacts.make_layout(tmp_path / ".buildopt" / "image")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_create_on_the_command_line(
    folder: Path, data: Scripted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_registry() as other:
        refs = [f"{ECR}/app:1", f"{other.host}/acme/app:1"]
        assert main(["push", "--create", "--dry-run", *refs]) == 0
        out, err = capsys.readouterr()
        assert f"+ {ECR}/app would be made (tags mutable, no scan on push)" in out
        assert f"{other.host}: nothing to create: it is for ECR only" in err
        assert repositories() == {}
        assert {entry.method for entry in (*other.seen, *data.seen)} <= {"GET", "HEAD"}
        assert main(["push", "--create", "--dry-run", "--format", "json", *refs]) == 0
        document = json.loads(capsys.readouterr().out)
        how = "tags mutable, no scan on push"
        assert document["create"] == [{"repository": f"{ECR}/app", "exists": False, "how": how, "problem": None}]
        assert main(["push", "--create", *refs]) == 0
        assert repositories() == {"app": {"tags": "MUTABLE", "scan": False}}
        assert f"{ECR}/app: the repository was made" in capsys.readouterr().err


def test_create_in_the_configuration(folder: Path, data: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "buildopt.yaml").write_text(
        "push:\n  tags: [v1]\n  to:\n"
        f"    - {{ref: {ECR}/one, create: {{tags: immutable, scan: true}}}}\n    - {{ref: {ECR}/two, create: true}}\n"
    )
    assert main(["push"]) == 0
    assert repositories() == {"one": {"tags": "IMMUTABLE", "scan": True}, "two": {"tags": "MUTABLE", "scan": False}}
    assert "not acted on" not in capsys.readouterr().err


class PublicRegistry:
    """ECR Public: tokens of its own server, which says 400 to a password that is none."""

    def __call__(self, handler: Handler) -> bool:
        authorization = handler.headers.get("Authorization") or ""
        if handler.path.startswith("/token/"):
            if authorization != f"Basic {encoded('AWS', SECRET)}":
                return handler.error(400, "DENIED", "Your Authorization Token is invalid.")
            return handler.answer(200, b'{"token": "a-token"}')
        if authorization == "Bearer a-token":
            return False
        if authorization:
            return handler.error(400, "DENIED", "Not Authorized")
        realm = f'Bearer realm="{handler.scripted.url}/token/",service="public.ecr.aws",scope="aws"'
        return handler.error(401, "DENIED", "Not Authorized", WWW_Authenticate=realm)


@pytest.mark.parametrize("known", [False, True])
def test_ecr_public(layout: Path, data: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    data.fault = PublicRegistry()
    api = PublicApi()
    found = keychain(tmp_path, **{PUBLIC: "of-yesterday"}) if known else None
    events: list[Event] = []
    with api_server(api) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        wanted = target(f"{PUBLIC}/acme/team/app:1", Creation())
        report = run(layout, wanted, known=found, events=events)
        assert report.ok, report
        assert api.made == ["team/app"]
        assert api.asked.count("GetAuthorizationToken") == 1
        source = open_artifact(layout)
        (entry,) = planned_creations(PushPlan(source, resolve(source), (wanted,)))
        assert (entry.exists, entry.how) == (True, "public")
        with pytest.raises(RegistryError, match="not the public registry of this AWS account") as caught:
            ecr.Api(PUBLIC).exists("others/app")
        assert caught.value.hint == "its aliases are: acme"
        with pytest.raises(RegistryError, match="no repository of ECR Public"):
            ecr.Api(PUBLIC).create("app", Creation())
        other = run(layout, target(f"{PUBLIC}/others/app:1", Creation()))
    assert [event.message for event in events if isinstance(event, Noted)] == ["the repository was made (public)"]
    assert api.made == ["team/app"]  # nothing was made in a registry that was not meant
    assert other.ok
    assert {entry.authorization.split(" ")[0] for entry in data.seen if "/token/" not in entry.path} == {"", "Bearer"}
