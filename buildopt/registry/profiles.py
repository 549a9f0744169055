"""What the registries that people use do differently, as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_PLAIN: Mapping[str, str] = {
    "credentials": "sign in with: docker login {registry}",
    "permission": "check that the account may push to {repository}",
    "not-found": "check the name of the repository; some registries want it made first",
    "rate-limit": "wait a while, or sign in with an account of a higher limit",
    "immutable": "push under another tag, or allow tags to be overwritten",
    "too-large": "split the layer, or raise the registry's or its proxy's limit",
    "digest": "a proxy on the way may change what passes; push again",
    "server": "push again later; what was sent stays there",
    "refused": "push again with --verbose, and check what the registry accepts",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """One registry's ways. ``hints`` replace the plain ones by kind of failure, and are by operation for AWS's API.

    ``service`` is AWS's name of the API that signs one in and makes repositories, empty elsewhere; ``region`` is where
    that is, unless the registry's name says it. ``first_push`` makes the repository there.
    """

    name: str
    pattern: str
    hints: Mapping[str, str] = field(default_factory=dict)
    service: str = ""
    region: str = ""
    first_push: bool = False

    def hint(self, kind: str, registry: str, repository: str, *, signed_in: bool = True) -> str:
        """What to do about a failure of ``kind``."""
        text = self.hints.get(kind, _PLAIN.get(kind, ""))
        if kind == "permission" and not signed_in:
            text = self.hints.get("credentials", _PLAIN["credentials"])
        parts = self.parts(registry)
        return text.format(
            registry=registry,
            repository=repository or "the repository",
            region=parts.get("region", self.region),
            account=parts.get("account", ""),
        )

    def parts(self, registry: str) -> Mapping[str, str]:
        """What the registry's name says by itself: its account, region, and whether it is a FIPS one."""
        match = re.fullmatch(self.pattern, registry)
        return {name: value for name, value in match.groupdict().items() if value} if match is not None else {}


PROFILES = (
    Profile(
        "ghcr",
        r"ghcr\.io",
        {
            "credentials": "docker login ghcr.io with a classic token that has write:packages (in a job: GITHUB_TOKEN)",
            "permission": "the token needs write:packages (in a job: permissions: packages: write) and access to the "
            "package; a 403 may also be GitHub's secondary rate limit: try again in some minutes",
            "not-found": "the name is ghcr.io/OWNER/NAME; check that OWNER exists and the token may write there",
            "rate-limit": "wait some minutes: GitHub limits bursts of uploads; fewer --jobs help",
            "too-large": "GHCR takes layers up to 10 GB; split the layer",
        },
        first_push=True,
    ),
    Profile(
        "ecr",
        r"(?P<account>\d{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.(?:com(?:\.cn)?|eu)"
        r"|on\.(?:aws|amazonwebservices\.com\.cn)|s?c2s\.(?:sgov|ic)\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
        {
            "credentials": "aws ecr get-login-password --region {region} | docker login --username AWS "
            "--password-stdin {registry} (it holds for 12 hours); or pip install 'buildopt[aws]' and have an identity "
            "of AWS (AWS_PROFILE, a role)",
            "permission": "the role needs ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, "
            "ecr:BatchCheckLayerAvailability and ecr:PutImage on {repository}",
            "not-found": "ECR repositories must exist first: push --create, or aws ecr create-repository "
            "--region {region} --repository-name {repository}",
            "immutable": "the repository's tags are immutable and this one holds another digest: push a new tag",
            "identity": "making repositories takes pip install 'buildopt[aws]' and an identity of AWS (AWS_PROFILE, a "
            "role); or: aws ecr create-repository --region {region} --repository-name {repository}",
            "GetAuthorizationToken": "allow the role ecr:GetAuthorizationToken on *",
            "CreateRepository": "allow the role ecr:CreateRepository on {repository} in account {account}, or make the "
            "repository first",
            "DescribeRepositories": "allow the role ecr:DescribeRepositories on {repository}",
        },
        service="ecr",
    ),
    Profile(
        "ecr-public",
        r"public\.ecr\.aws",
        {
            "credentials": "aws ecr-public get-login-password --region {region} | docker login --username AWS "
            "--password-stdin {registry} (it holds for 12 hours); or pip install 'buildopt[aws]' and have an identity "
            "of AWS (AWS_PROFILE, a role)",
            "permission": "the role needs ecr-public:InitiateLayerUpload, ecr-public:UploadLayerPart, "
            "ecr-public:CompleteLayerUpload, ecr-public:BatchCheckLayerAvailability and ecr-public:PutImage",
            "not-found": "repositories of ECR Public must exist first: push --create, or aws ecr-public "
            "create-repository --region {region} --repository-name NAME",
            "identity": "making repositories takes pip install 'buildopt[aws]' and an identity of AWS (AWS_PROFILE, a "
            "role); or: aws ecr-public create-repository --region {region} --repository-name NAME",
            "GetAuthorizationToken": "allow the role ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
            "CreateRepository": "allow the role ecr-public:CreateRepository, or make the repository first",
            "DescribeRepositories": "allow the role ecr-public:DescribeRepositories",
            "DescribeRegistries": "allow the role ecr-public:DescribeRegistries",
        },
        service="ecr-public",
        region="us-east-1",
    ),
    Profile(
        "docker-hub",
        r"docker\.io",
        {
            "credentials": "sign in with: docker login (an access token with Read & Write works as the password)",
            "permission": "the account must own {repository} or be its collaborator, with a token that may write",
            "rate-limit": "Docker Hub limits requests: sign in, or wait",
        },
        first_push=True,
    ),
    Profile("plain", r".*"),
)


def profile_of(registry: str) -> Profile:
    """The profile of a registry (``host`` or ``host:port``)."""
    return next(profile for profile in PROFILES if re.fullmatch(profile.pattern, registry))


def endpoint(registry: str) -> str:
    """The host that serves a registry's API: another one for Docker Hub."""
    return "registry-1.docker.io" if registry == "docker.io" else registry
