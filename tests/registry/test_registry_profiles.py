"""What each registry's refusals mean, and what to do: their answers replayed, over real sockets."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import artifacts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Handler, Scripted, scripted_registry

from buildopt.oci.descriptor import OCI_INDEX, Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import client, failure, retry
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Credentials, Keychain
from buildopt.registry.failure import Answer, RegistryError, refused
from buildopt.registry.outcome import Again, Event, Noted, PushReport
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.profiles import PROFILES, profile_of, recognised
from buildopt.registry.push import push
from buildopt.registry.transport import Transport
from buildopt.registry.trust import Trust

SECRET = "hush-hush"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
GAR = "us-central1-docker.pkg.dev"
BY_AWS = frozenset(
    {"identity", "GetAuthorizationToken", "CreateRepository", "DescribeRepositories", "DescribeRegistries"}
)
"""Hints that no registry's answer leads to, but AWS's API: test_registry_ecr has those."""


class Known(Keychain):
    """One user for every registry."""

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        return Credentials("octocat", SECRET)


def errors(code: str, message: str) -> str:
    """A body as the distribution specification shapes it."""
    return json.dumps({"errors": [{"code": code, "message": message}]})


@dataclass(frozen=True)
class Refusal:
    """What a registry answers at a step (``token``, ``upload``, ``tag`` or ``read``), and what that is told as.

    ``host`` is its name; where that is empty it is known by ``realm`` (the path) and ``service`` of its challenge.
    """

    profile: str
    host: str
    step: str
    status: int
    body: str
    kind: str
    hint: tuple[str, ...]
    repository: str = "acme/tools/app"
    realm: str = "/token"
    service: str = "registry"
    signed_in: bool = True

    def __str__(self) -> str:
        return f"{self.profile}, {self.kind}, {self.step}"


def gitlab(
    step: str, status: int, code: str, message: str, kind: str, *hint: str, signed_in: bool = True, host: str = ""
) -> Refusal:
    """A GitLab that somebody runs, under any name."""
    body = errors(code, message)
    return Refusal(
        "gitlab", host, step, status, body, kind, hint, "acme/app", "/jwt/auth", "container_registry", signed_in
    )


def harbor(step: str, status: int, code: str, message: str, kind: str, *hint: str) -> Refusal:
    """A Harbor that somebody runs, under any name."""
    body = errors(code, message)
    return Refusal("harbor", "", step, status, body, kind, hint, "acme/app", "/service/token", "harbor-registry")


def quay(step: str, status: int, code: str, message: str, kind: str, *hint: str, host: str = "quay.io") -> Refusal:
    """quay.io; or a Quay that somebody runs."""
    body = errors(code, message)
    return Refusal("quay", host, step, status, body, kind, hint, "acme/app", "/v2/auth", "{host}")


GHCR_SECONDARY = (
    'permission_denied: Error from intermediary with HTTP status code 403 "Forbidden" - with-body: {\n  "message": '
    '"You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach out to '
    'GitHub Support for help, please include the request ID."\n}'
)
AZURE_LOCKED = (
    "The operation is disallowed on this registry, repository or image. View troubleshooting steps at "
    "https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation"
)
AZURE_FIREWALL = (
    "client with IP '172.214.169.102' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
)
GOOGLE_DENIED = (
    'Permission "artifactregistry.repositories.uploadArtifacts" denied on resource '
    '"projects/acme/locations/us-central1/repositories/tools" (or it may not exist)'
)
GOOGLE_UNKNOWN = (
    'Unauthenticated request. Unauthenticated requests do not have permission "artifactregistry.repositories'
    '.uploadArtifacts" on resource "projects/acme/locations/us-central1/repositories/tools" (or it may not exist)'
)
GOOGLE_IMMUTABLE = "cannot update tag 1. The repository has enabled tag immutability"
HARBOR_POLICY = (
    "current image with 4 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with "
    'vulnerability severity of "Critical" or higher from running.\' To continue with pull, please contact your project '
    "administrator to exempt matched vulnerabilities through configuring the CVE allowlist."
)
HARBOR_QUOTA = (
    "adding 151.7 MiB of storage resource, which when updated to current usage of 100.0 GiB will exceed the configured "
    "upper limit of 100.0 GiB."
)
HARBOR_DENIED = "unauthorized to access repository: acme/app, action: push: unauthorized to access repository: acme/app"
NGINX = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body></body>\r\n</html>\r\n"
ECR_DENIED = (
    "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:InitiateLayerUpload on resource: "
    "arn:aws:ecr:eu-west-1:123456789012:repository/acme/tools/app"
)
ECR_IMMUTABLE = (
    "The image tag '1' already exists in the 'acme/tools/app' repository and cannot be overwritten because the tag is "
    "immutable."
)


def plain(step: str, status: int, body: str, kind: str, *hint: str, signed_in: bool = True) -> Refusal:
    """A registry that nothing is known of."""
    return Refusal("plain", "", step, status, body, kind, hint, signed_in=signed_in)


def ghcr(step: str, status: int, body: str, kind: str, *hint: str) -> Refusal:
    return Refusal("ghcr", "ghcr.io", step, status, body, kind, hint, "acme/app")


def hub(step: str, status: int, body: str, kind: str, *hint: str) -> Refusal:
    return Refusal("docker-hub", "docker.io", step, status, body, kind, hint, "acme/app")


def google(step: str, status: int, code: str, message: str, kind: str, *hint: str) -> Refusal:
    return Refusal("google", GAR, step, status, errors(code, message), kind, hint)


def gcr(step: str, status: int, code: str, message: str, kind: str, *hint: str) -> Refusal:
    return Refusal("google-gcr", "eu.gcr.io", step, status, errors(code, message), kind, hint, "acme/app")


def azure(step: str, status: int, code: str, message: str, kind: str, *hint: str, signed_in: bool = True) -> Refusal:
    body = errors(code, message)
    return Refusal("azure", "acme.azurecr.io", step, status, body, kind, hint, "tools/app", signed_in=signed_in)


def ecr(step: str, status: int, code: str, message: str, kind: str, *hint: str, host: str = ECR) -> Refusal:
    return Refusal(profile_of(host).name, host, step, status, errors(code, message), kind, hint)


REFUSALS = (
    ghcr("token", 403, errors("DENIED", "denied"), "credentials", "docker login ghcr.io", "write:packages"),
    ghcr("upload", 403, errors("DENIED", "permission_denied: write_package"), "permission", "Manage Actions access"),
    ghcr(
        "upload",
        403,
        errors("DENIED", "installation not allowed to Write organization package"),
        "permission",
        "permissions: packages: write",
    ),
    ghcr("upload", 403, errors("DENIED", GHCR_SECONDARY), "rate-limit", "fewer --jobs"),
    ghcr("token", 403, errors("DENIED", GHCR_SECONDARY), "rate-limit", "fewer --jobs"),
    ghcr("tag", 403, json.dumps({"message": "You have exceeded a secondary rate limit."}), "rate-limit", "minutes"),
    ghcr("read", 403, "<html>You have exceeded a secondary rate limit</html>", "rate-limit", "minutes"),
    ghcr(
        "upload",
        429,
        errors("TOOMANYREQUESTS", "retry-after: 10.305464ms, allowed: 2000/minute"),
        "rate-limit",
        "minutes",
    ),
    ghcr("upload", 404, errors("NAME_UNKNOWN", "repository name not known to registry"), "not-found", "OWNER/NAME"),
    ghcr("upload", 413, "", "too-large", "10 GB"),
    hub("token", 401, '{"details":"incorrect username or password"}', "credentials", "docker login (an access token"),
    hub("token", 401, '{"details":"access token has insufficient scopes"}', "permission", "its token may write"),
    hub("upload", 401, errors("UNAUTHORIZED", "authentication required"), "permission", "(not GitHub's)"),
    hub("upload", 403, errors("DENIED", "requested access to the resource is denied"), "permission", "acme/app"),
    hub("upload", 429, errors("TOOMANYREQUESTS", "You have reached your pull rate limit."), "rate-limit", "sign in"),
    hub("upload", 429, "Too Many Requests", "rate-limit", "by address"),
    hub("tag", 400, errors("DENIED", "tag 1 is immutable"), "immutable", "settings make this tag immutable"),
    gitlab(
        "token",
        401,
        "UNAUTHORIZED",
        "HTTP Basic: Access denied. The provided password or token is incorrect",
        "credentials",
        "CI_REGISTRY_USER with CI_REGISTRY_PASSWORD or CI_JOB_TOKEN",
        "write_registry",
    ),
    gitlab("token", 403, "DENIED", "access forbidden", "permission", "role Developer", "acme/app must begin with"),
    gitlab("token", 403, "DENIED", "access forbidden", "permission", "write_registry", host="registry.gitlab.com"),
    gitlab("token", 403, "DENIED", "access forbidden", "credentials", "docker login 127", signed_in=False),
    gitlab("upload", 404, "NAME_UNKNOWN", "repository name not known to registry", "not-found", "GROUP/PROJECT"),
    gitlab("tag", 400, "DENIED", "tag is immutable", "immutable", "a rule of the project"),
    harbor("token", 401, "UNAUTHORIZED", "unauthorized", "credentials", "robot account", "CLI secret"),
    harbor("upload", 401, "UNAUTHORIZED", HARBOR_DENIED, "permission", "role Developer in project acme"),
    harbor(
        "upload", 401, "UNAUTHORIZED", "project acme not found: project acme not found", "not-found", "make acme in"
    ),
    harbor(
        "tag",
        412,
        "PRECONDITION",
        "Failed to process request due to 'app:1' configured as immutable.",
        "immutable",
        "a rule of project acme",
    ),
    harbor(
        "read", 412, "PROJECTPOLICYVIOLATION", HARBOR_POLICY, "policy", "project acme lets nobody pull", "exempt it"
    ),
    harbor("upload", 403, "DENIED", HARBOR_QUOTA, "quota", "project acme is at its storage quota"),
    harbor(
        "upload",
        403,
        "DENIED",
        "The system is in read only mode. Any modification is prohibited.",
        "read-only",
        "collect garbage",
    ),
    google("token", 403, "DENIED", GOOGLE_UNKNOWN, "credentials", "gcloud auth configure-docker us-central1-docker"),
    google("upload", 403, "DENIED", GOOGLE_UNKNOWN, "credentials", "oauth2accesstoken", "_json_key"),
    google("upload", 403, "DENIED", GOOGLE_DENIED, "permission", "artifactregistry.writer on repository tools"),
    google("token", 403, "DENIED", GOOGLE_DENIED, "permission", "of project acme"),
    google(
        "upload",
        404,
        "NAME_UNKNOWN",
        'Repository "tools" not found',
        "not-found",
        "create tools --repository-format=docker --location=us-central1 --project=acme",
    ),
    google(
        "upload",
        400,
        "NAME_INVALID",
        "Missing image name. Pushes should be of the form docker push HOST-NAME/PROJECT-ID/REPOSITORY/IMAGE",
        "name",
        f"{GAR}/PROJECT/REPOSITORY/IMAGE",
    ),
    google("tag", 400, "MANIFEST_INVALID", GOOGLE_IMMUTABLE, "immutable", "this one holds another image"),
    google("upload", 429, "TOOMANYREQUESTS", "Quota exceeded for quota metric", "rate-limit", "ask for a higher one"),
    gcr("upload", 403, "DENIED", GOOGLE_UNKNOWN, "credentials", "gcloud auth configure-docker;", "https://eu.gcr.io"),
    gcr("upload", 403, "DENIED", GOOGLE_DENIED, "permission", "repository eu.gcr.io of project acme"),
    gcr("upload", 404, "NAME_UNKNOWN", 'Repository "eu.gcr.io" not found', "not-found", "must exist in project acme"),
    gcr("tag", 400, "MANIFEST_INVALID", GOOGLE_IMMUTABLE, "immutable", "push a new tag"),
    gcr("upload", 429, "TOOMANYREQUESTS", "Quota exceeded for quota metric", "rate-limit", "wait a minute"),
    azure("token", 401, "UNAUTHORIZED", "authentication required", "credentials", "az acr login --name acme (it"),
    azure("upload", 403, "DENIED", "requested access to the resource is denied", "permission", "role AcrPush"),
    azure("read", 403, "DENIED", AZURE_FIREWALL, "firewall", "az acr network-rule add --name acme"),
    azure("token", 403, "DENIED", AZURE_FIREWALL, "firewall", "--ip-address", signed_in=False),
    azure(
        "tag", 405, "REGISTRY_DISALLOWED_OPERATION", AZURE_LOCKED, "immutable", "--repository tools/app", "unlock it"
    ),
    azure("upload", 429, "TOOMANYREQUESTS", "Too many requests", "rate-limit", "the registry's tier"),
    azure("upload", 413, "", "", "too-large", "200 GiB"),
    quay("token", 401, "UNAUTHORIZED", "Could not find robot with specified username", "credentials", "NAMESPACE+NAME"),
    quay(
        "upload",
        401,
        "UNAUTHORIZED",
        "access to the requested resource is not authorized",
        "permission",
        "write on acme/app",
        "create repositories in acme",
    ),
    quay("upload", 401, "UNAUTHORIZED", "access to the requested resource", "permission", "robot needs write", host=""),
    quay("upload", 404, "NAME_UNKNOWN", "repository name not known to registry", "not-found", "check that acme exists"),
    quay("tag", 409, "TAG_ALREADY_EXISTS", "tag was already pushed", "immutable", "push a new tag"),
    quay("tag", 409, "UNKNOWN", "tag is immutable and cannot be overwritten", "immutable", "push a new tag", host=""),
    quay("upload", 403, "DENIED", "Quota has been exceed on namespace", "quota", "acme is at its quota"),
    quay(
        "upload",
        405,
        "DENIED",
        "System is currently read-only. Pulls will succeed but all write operations are currently suspended.",
        "read-only",
        "push again later",
    ),
    ecr("upload", 403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", "credentials"),
    ecr("upload", 403, "DENIED", ECR_DENIED, "permission", "ecr:PutImage on acme/tools/app"),
    ecr("upload", 404, "NAME_UNKNOWN", "The repository with name 'x' does not exist", "not-found", "push --create"),
    ecr("tag", 400, "TAG_INVALID", ECR_IMMUTABLE, "immutable", "push a new tag"),
    ecr("upload", 403, "DENIED", "Your Authorization Token has expired.", "credentials", host="public.ecr.aws"),
    ecr("upload", 403, "DENIED", ECR_DENIED, "permission", "ecr-public:PutImage", host="public.ecr.aws"),
    ecr("upload", 404, "NAME_UNKNOWN", "does not exist", "not-found", "push --create", host="public.ecr.aws"),
    plain("token", 401, errors("UNAUTHORIZED", "no"), "credentials", "docker login 127.0.0.1"),
    plain("upload", 401, errors("UNAUTHORIZED", "authentication required"), "permission", "may push to acme/tools/app"),
    plain("upload", 403, "", "credentials", "docker login", signed_in=False),
    plain("upload", 403, errors("DENIED", "requested access to the resource is denied"), "permission", "account may"),
    plain("upload", 403, errors("DENIED", AZURE_FIREWALL), "firewall", "this machine's address"),
    plain("upload", 404, errors("NAME_UNKNOWN", "repository name not known to registry"), "not-found", "made first"),
    plain("upload", 400, errors("NAME_INVALID", "invalid repository name"), "name", "REGISTRY/PROJECT/NAME"),
    plain("upload", 429, "", "rate-limit", "wait a while"),
    plain("tag", 409, errors("DENIED", "tag is immutable and cannot be overwritten"), "immutable", "another tag"),
    plain("tag", 412, "", "policy", "make an exception"),
    plain("upload", 403, errors("DENIED", HARBOR_QUOTA), "quota", "have the quota raised"),
    plain("upload", 405, errors("DENIED", "System is currently read-only."), "read-only", "who runs the registry"),
    plain("upload", 413, NGINX, "too-large", "its proxy's limit"),
    plain("put", 400, errors("DIGEST_INVALID", "provided digest did not match uploaded content"), "digest", "proxy"),
    plain("upload", 500, errors("UNKNOWN", "unknown error"), "server", "what was sent stays there"),
    plain("tag", 400, errors("MANIFEST_INVALID", "manifest invalid"), "refused", "--verbose"),
)


class Replay:
    """A registry with tokens that answers one step as it is told."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal

    def __call__(self, handler: Handler) -> bool:
        path = handler.path.partition("?")[0]
        if path == self.refusal.realm:
            return self._refuse(handler) if self._step("token") else handler.answer(200, b'{"token":"abc"}')
        if not handler.headers.get("Authorization"):
            service = self.refusal.service.replace("{host}", handler.scripted.host)
            realm = f'Bearer realm="{handler.scripted.url}{self.refusal.realm}",service="{service}"'
            return handler.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=realm)
        steps = {("POST", "uploads"): "upload", ("PUT", "digest="): "put", ("PUT", "/1"): "tag", ("GET", "/1"): "read"}
        for (method, part), step in steps.items():
            if handler.command == method and part in handler.path and self._step(step):
                return self._refuse(handler)
        return False

    def _step(self, name: str) -> bool:
        return self.refusal.step == name

    def _refuse(self, handler: Handler) -> bool:
        handler.body()
        # Harbor's challenge to who has a token already.
        harbor = {"WWW_Authenticate": 'Basic realm="harbor"'} if self.refusal.profile == "harbor" else {}
        return handler.answer(self.refusal.status, self.refusal.body.encode(), **harbor)


@pytest.fixture(scope="module")
def registry() -> Iterator[Scripted]:
    with scripted_registry() as scripted:
        yield scripted


def replayed(refusal: Refusal, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> RegistryError:
    """The error that a refusal ends as."""
    scripted.fault = Replay(refusal)
    monkeypatch.setattr(client, "endpoint", lambda name: scripted.host)
    keychain = Known() if refusal.signed_in else Keychain()
    one = Registry(refusal.host or scripted.host, keychain, Transport(Trust(folders=())))
    with pytest.raises(RegistryError) as caught:
        if refusal.step == "read":
            one.manifest(refusal.repository, "1")
        elif refusal.step == "tag":
            one.put_manifest(refusal.repository, "1", b'{"manifests":[]}', OCI_INDEX)
        else:
            one.upload(refusal.repository, Digest.of(b"blob"), 4, b"blob")
    return caught.value


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_refusal_is_told_as_what_it_is_and_says_what_to_do(
    refusal: Refusal, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = replayed(refusal, registry, monkeypatch)
    assert error.kind == refusal.kind
    for part in refusal.hint:
        assert part in error.hint
    (profile,) = [profile for profile in PROFILES if profile.name == refusal.profile]
    name, repository = refusal.host or registry.host, refusal.repository
    assert error.hint == profile.hint(refusal.kind, name, repository, signed_in=refusal.signed_in)
    assert error.transient == (refusal.kind in ("rate-limit", "server"))
    assert SECRET not in error.message + error.hint + repr(error)
    assert "{" not in error.hint


def test_every_hint_is_what_some_answer_leads_to() -> None:
    told = {(refusal.profile, refusal.kind) for refusal in REFUSALS}
    written = {(profile.name, kind) for profile in PROFILES for kind in profile.hints if kind not in BY_AWS}
    assert written - told == set()
    kinds = {kind for name, kind in told if name == "plain"}
    assert {kind for _, kind in told} <= kinds, "a kind without a plain hint"


def test_hints_need_nothing_but_what_they_are_given() -> None:
    known = {"registry", "repository", "region", "account", "first", "second"}
    for profile in PROFILES:
        for text in profile.hints.values():
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known
        for kind in profile.hints:
            assert profile.hint(kind, "some.example", ""), "no repository is known at the first question"


@pytest.mark.parametrize(
    ("registry_name", "name"),
    [
        ("registry.gitlab.com", "gitlab"),
        ("europe-docker.pkg.dev", "google"),
        ("us-central1-docker.pkg.dev", "google"),
        ("gcr.io", "google-gcr"),
        ("asia.gcr.io", "google-gcr"),
        ("acme.azurecr.io", "azure"),
        ("acme.azurecr.cn", "azure"),
        ("acme.azurecr.us", "azure"),
        ("quay.io", "quay"),
        ("docker.io", "docker-hub"),
        ("ghcr.io", "ghcr"),
        ("gitlab.com", "plain"),
        ("ghcr.io.example", "plain"),
        ("evil-gcr.io", "plain"),
        ("acme.azurecr.io.example", "plain"),
        ("localhost:5000", "plain"),
        ("", "plain"),
    ],
)
def test_a_profile_is_found_by_name(registry_name: str, name: str) -> None:
    assert profile_of(registry_name).name == name


@pytest.mark.parametrize(
    ("registry_name", "realm", "service", "name"),
    [
        ("registry.example", "https://git.example/jwt/auth", "container_registry", "gitlab"),
        ("git.example:5050", "https://git.example/jwt/auth", "container_registry", "gitlab"),
        ("git.example", "https://git.example/v2/token", "container_registry", "plain"),  # Gitea
        ("registry.example", "https://registry.example/service/token", "harbor-registry", "harbor"),
        ("registry.example", "https://registry.example/service/token", "token-service", "plain"),
        ("quay.example:8443", "https://quay.example:8443/v2/auth", "quay.example:8443", "quay"),
        ("proxy.example", "https://proxy.example/v2/auth", "cloudflare-docker-proxy", "plain"),
        ("ghcr.io", "https://ghcr.io/service/token", "harbor-registry", "ghcr"),
        ("docker.io", "https://auth.docker.io/token", "registry.docker.io", "docker-hub"),
        ("registry.example", "https://[", "harbor-registry", "plain"),
        ("registry.example", "", "", "plain"),
    ],
)
def test_a_profile_is_found_by_the_challenge_where_the_name_says_nothing(
    registry_name: str, realm: str, service: str, name: str
) -> None:
    assert recognised(registry_name, realm, service).name == name


@given(st.text(), st.text(), st.text())
def test_a_challenge_of_any_kind_is_survived(registry_name: str, realm: str, service: str) -> None:
    assert recognised(registry_name, realm, service) in PROFILES


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("retry-after: 10.305464ms, allowed: 2000/minute", 0.010305464),
        ("retry-after: 880.092µs, allowed: 44000/minute", 0.000880092),
        ("retry-after: 5ns", 5e-9),
        ("retry-after: 333.939671ms", 0.333939671),
        ("Retry-After: 1m2.5s", 62.5),
        ("retry-after: 1h0m5s", 3605.0),
        ("retry-after: 3s", 3.0),
        ("retry-after: soon", None),
        ("retry-after: 3 apples", None),
        ("no word of it", None),
        ("You have exceeded a secondary rate limit.", 60.0),
        ("a secondary rate limit; retry-after: 2s", 2.0),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_wait_in_the_body_is_read_however_it_is_written(said: str, seconds: float | None, escaped: bool) -> None:
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": said}]}, ensure_ascii=escaped).encode()
    found = Answer(429, {}, body).retry_after()
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_a_403_that_says_when_to_come_back_is_a_limit() -> None:
    error = refused(Answer(403, {"retry-after": "7"}, b""), "ghcr.io", "the upload")
    assert (error.kind, error.transient, error.retry_after) == ("rate-limit", True, 7.0)


def test_a_header_goes_before_the_body() -> None:
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert Answer(403, {"retry-after": "7"}, b"a secondary rate limit").retry_after(now) == 7


# What follows from it


@pytest.mark.parametrize("manifest", [False, True])
@pytest.mark.parametrize(
    "refusal",
    [
        ghcr("why", 403, errors("DENIED", GHCR_SECONDARY), "rate-limit"),
        ghcr("why", 403, errors("DENIED", "permission_denied: read_package"), "permission"),
        harbor("why", 401, "UNAUTHORIZED", "project acme not found: project acme not found", "not-found"),
        harbor("why", 401, "UNAUTHORIZED", HARBOR_DENIED, "permission"),
        azure("why", 403, "DENIED", AZURE_FIREWALL, "firewall"),
        google("why", 403, "DENIED", GOOGLE_DENIED, "permission"),
        plain("why", 200, '{"tags":[]}', "permission"),
        plain("why", 500, "", "permission"),
    ],
    ids=str,
)
def test_a_refusal_without_words_is_asked_for_them(
    refusal: Refusal, manifest: bool, registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = Replay(refusal)
    status = refusal.status if refusal.status in (401, 403) else 403

    def silent(handler: Handler) -> bool:
        if not handler.headers.get("Authorization") or "/v2/" not in handler.path or handler.path == "/v2/":
            return replay(handler)
        if handler.command == "HEAD":
            return handler.answer(status)
        assert handler.path.partition("?")[0] == f"/v2/{refusal.repository}/tags/list"
        return replay._refuse(handler)

    registry.fault = silent
    monkeypatch.setattr(client, "endpoint", lambda name: registry.host)
    one = Registry(refusal.host or registry.host, Known(), Transport(Trust(folders=())))
    with pytest.raises(RegistryError) as caught:
        if manifest:
            one.has_manifest(refusal.repository, "1")
        else:
            one.has_blob(refusal.repository, Digest.of(b"blob"))
    assert caught.value.kind == refusal.kind
    assert caught.value.transient == (refusal.kind == "rate-limit")


def pushed(layout: Path, place: str) -> tuple[PushReport, list[Event]]:
    source = open_artifact(layout)
    events: list[Event] = []
    plan = PushPlan(source, resolve(source), (Target(Reference.parse(place)),))
    return push(plan, Known(), Trust(folders=()), events.append), events


@pytest.mark.parametrize("part", ["uploads/", "/manifests/1", "/blobs/sha256"])
def test_githubs_secondary_limit_is_waited_for_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(failure, "SECONDARY_SECONDS", 0.03125)
    artifacts.make_layout(tmp_path / "layout")
    with scripted_registry() as scripted:
        monkeypatch.setattr(client, "endpoint", lambda name: scripted.host)
        left = [2]

        def limited(handler: Handler) -> bool:
            if handler.command == "GET" and "tags/list" in handler.path:
                return handler.error(403, "DENIED", GHCR_SECONDARY)
            if handler.command not in ("HEAD", "POST", "PUT") or part not in handler.path:
                return False
            with scripted.lock:
                left[0] -= 1
                number = left[0]
            return number >= 0 and handler.error(403, "DENIED", GHCR_SECONDARY)

        scripted.fault = limited
        report, events = pushed(tmp_path / "layout", "ghcr.io/acme/app:1")
        assert report.ok
        waits = [event for event in events if isinstance(event, Again)]
        assert [event.seconds for event in waits] == [0.03125] * 2
        assert {"ghcr.io limits the rate of requests"} == {event.message.partition(":")[0] for event in waits}
        left[0] = 1000
        scripted.blobs.clear()
        scripted.manifests.clear()
        problem = pushed(tmp_path / "layout", "ghcr.io/acme/app:1")[0].outcomes[0].problem
        assert problem is not None
        assert problem.kind == "rate-limit"
        assert "wait some minutes" in problem.hint


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (412, "PRECONDITION", "Failed to process request due to 'app:1' configured as immutable."),
        (400, "TAG_INVALID", ECR_IMMUTABLE),
        (400, "MANIFEST_INVALID", GOOGLE_IMMUTABLE),
        (409, "TAG_ALREADY_EXISTS", "tag was already pushed"),
        (405, "REGISTRY_DISALLOWED_OPERATION", AZURE_LOCKED),
    ],
)
def test_an_immutable_tag_that_somebody_else_writes_meanwhile_is_fine_if_it_is_the_same_image(
    tmp_path: Path, same: bool, status: int, code: str, said: str
) -> None:
    artifacts.make_layout(tmp_path / "layout")
    image = resolve(open_artifact(tmp_path / "layout"))
    with scripted_registry() as scripted:

        def first(handler: Handler) -> bool:
            if handler.command != "PUT" or not handler.path.endswith("/manifests/1"):
                return False
            data = image.document.data if same else image.document.data + b" "
            scripted.manifests["acme/app", "1"] = (data, image.descriptor.media_type)
            return handler.error(status, code, said)

        scripted.fault = first
        problem = pushed(tmp_path / "layout", f"{scripted.host}/acme/app:1")[0].outcomes[0].problem
        assert (problem.kind if problem is not None else "") == ("" if same else "immutable")
        assert scripted.count("PUT", "/manifests/1$") == 1


@pytest.mark.parametrize("told", [True, False])
def test_what_a_policy_lets_nobody_pull_is_pushed_all_the_same(tmp_path: Path, told: bool) -> None:
    for number in (1, 2):
        artifacts.make_layout(tmp_path / f"layout{number}", seed=bytes([number]))
    with scripted_registry() as scripted:

        def policy(handler: Handler) -> bool:
            """Harbor's: what is there cannot be pulled before it was scanned; that is said to a HEAD as well."""
            repository, _, name = handler.path.removeprefix("/v2/").partition("/manifests/")
            if not name:
                return False
            if handler.command in ("GET", "HEAD"):
                there = (repository, name) in scripted.manifests
                return there and handler.error(412, "PROJECTPOLICYVIOLATION", HARBOR_POLICY)
            if told:
                return False
            data = handler.body()
            for known in (name, str(Digest.of(data))):
                scripted.manifests[repository, known] = (data, handler.headers["Content-Type"])
            return handler.answer(201)

        scripted.fault = policy
        for number in (1, 1, 2):
            report, events = pushed(tmp_path / f"layout{number}", f"{scripted.host}/acme/app:1")
            image = resolve(open_artifact(tmp_path / f"layout{number}"))
            assert scripted.manifests["acme/app", "1"][0] == image.document.data
            problem = report.outcomes[0].problem
            assert (problem.kind if problem is not None else "") == ("" if told else "policy")
            notes = [event.message for event in events if isinstance(event, Noted)]
            assert len(notes) == (1 if told else 0)
            assert all("1 was taken, and cannot be read back" in note for note in notes)


@given(st.binary(max_size=200), st.integers(100, 599), st.booleans())
def test_any_answer_becomes_an_error_of_one_line(body: bytes, status: int, signed_in: bool) -> None:
    error = refused(Answer(status, {}, body), "some.example", "the upload", signed_in=signed_in)
    assert error.kind
    assert error.hint
    assert error.message.isprintable()
    assert not re.search(r"[{}]", error.hint)
