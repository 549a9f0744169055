"""What the registries that people use do differently, as a table.

Names, roles and commands are those of each registry's documentation. What a refusal means is taken from the sources
of Harbor and Quay; of the others it is what their users report, as they document no answers. Where a name says nothing
(anybody may run a GitLab, Harbor or Quay), the challenge of the registry does: it is asked for one anyway. Nothing but
hints depends on that, so that a registry gains nothing by posing as another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PLAIN: Mapping[str, str] = {
    "credentials": "sign in with: docker login {registry}",
    "permission": "check that the account may push to {repository}",
    "firewall": "let this machine's address in at the registry, or push from within its network",
    "not-found": "check the name of the repository; some registries want it made first",
    "name": "check which form of names the registry wants, such as REGISTRY/PROJECT/NAME",
    "rate-limit": "wait a while, or sign in with an account of a higher limit",
    "immutable": "push under another tag, or allow tags to be overwritten",
    "policy": "push under another tag, or have the registry's policy make an exception",
    "quota": "delete what is no longer needed there, or have the quota raised",
    "read-only": "push again later, or ask who runs the registry",
    "too-large": "split the layer, or raise the registry's or its proxy's limit",
    "digest": "a proxy on the way may change what passes; push again",
    "server": "push again later; what was sent stays there",
    "refused": "push again with --verbose, and check what the registry accepts",
}

_GOOGLE = (
    "gcloud auth print-access-token | docker login --username oauth2accesstoken --password-stdin https://{registry} "
    "(the user of a service account's key is _json_key, the password its JSON)"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One registry's ways. ``hints`` replace the plain ones by kind of failure, and are by operation for AWS's API.

    ``service`` is AWS's name of the API that signs one in and makes repositories, empty elsewhere; ``region`` is where
    that is, unless the registry's name says it. ``first_push`` makes the repository there (within a project or
    namespace that exists). ``challenge`` are patterns of the realm and the service that it signs in at.
    """

    name: str
    pattern: str
    hints: Mapping[str, str] = field(default_factory=dict)
    service: str = ""
    region: str = ""
    first_push: bool = False
    challenge: tuple[str, str] = ("", "")

    def hint(self, kind: str, registry: str, repository: str, *, signed_in: bool = True) -> str:
        """What to do about a failure of ``kind``."""
        text = self.hints.get(kind, _PLAIN.get(kind, ""))
        if kind == "permission" and not signed_in:
            text = self.hints.get("credentials", _PLAIN["credentials"])
        parts = self.parts(registry)
        first, _, rest = repository.partition("/")
        return text.format(
            registry=registry,
            repository=repository or "the repository",
            region=parts.get("region", self.region),
            account=parts.get("account", ""),
            first=first or "PROJECT",
            second=rest.partition("/")[0] or "REPOSITORY",
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
            "permission": "the token needs write:packages (in a job: permissions: packages: write), and a package that "
            "is there already must let the job's repository in (Package settings, Manage Actions access, role Write); "
            "a 403 without words may also be GitHub's secondary rate limit: try again in some minutes",
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
            "ecr:BatchCheckLayerAvailability, ecr:BatchGetImage and ecr:PutImage on {repository}",
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
            "permission": "the name begins with the Hub's name of an account (not GitHub's) that owns {repository} or "
            "is its collaborator, and its token may write",
            "rate-limit": "Docker Hub limits pulls by account and all requests by address: sign in, or wait some "
            "minutes",
            "immutable": "the repository's settings make this tag immutable: push a new tag",
        },
        first_push=True,
    ),
    Profile(
        "gitlab",
        r"registry\.gitlab\.com",
        {
            "credentials": "docker login {registry} with a token that has read_registry and write_registry (a "
            "personal, project, group or deploy token); in a job: CI_REGISTRY_USER with CI_REGISTRY_PASSWORD or "
            "CI_JOB_TOKEN",
            "permission": "{repository} must begin with the path of a project that exists, with its container registry "
            "switched on; the account needs the role Developer in it and a token with write_registry (a job's token is "
            "good for its own project); rules of the project may protect repositories and tags further",
            "not-found": "the name is {registry}/GROUP/PROJECT, or below it, of a project that exists",
            "immutable": "a rule of the project makes this tag immutable: push a new tag",
        },
        first_push=True,
        challenge=(r"/jwt/auth", r"container_registry"),
    ),
    Profile(
        "harbor",
        r"(?!)",  # no name says that it is one
        {
            "credentials": "docker login {registry} with a robot account (its whole name, the prefix included) and its "
            "secret; with an account of OIDC the password is the CLI secret of its profile",
            "permission": "the account needs the role Developer in project {first}, a robot account push on the "
            "repositories of that project",
            "not-found": "projects must exist first: make {first} in Harbor and push to {registry}/{first}/NAME",
            "immutable": "a rule of project {first} makes this tag immutable: push a new tag",
            "policy": "project {first} lets nobody pull this as it is (not scanned yet, vulnerabilities, or no "
            "signature): have the project's admin exempt it, or push elsewhere",
            "quota": "project {first} is at its storage quota: delete artifacts there, or have the quota raised",
            "read-only": "Harbor was set to read-only (older ones do so while they collect garbage): push again later",
        },
        first_push=True,
        challenge=(r"/service/token", r"harbor-registry"),
    ),
    Profile(
        "google",
        r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev",
        {
            "credentials": f"gcloud auth configure-docker {{registry}}; or: {_GOOGLE}",
            "permission": "the account needs roles/artifactregistry.writer on repository {second} of project {first} "
            "(which may also not exist), and to be signed in at {registry} itself",
            "not-found": "repositories must exist first: gcloud artifacts repositories create {second} "
            "--repository-format=docker --location={region} --project={first}",
            "name": "the name is {registry}/PROJECT/REPOSITORY/IMAGE",
            "immutable": "the repository's tags are immutable and this one holds another image: push a new tag",
            "rate-limit": "the project's quota of Artifact Registry is used up: wait a minute, or ask for a higher one",
        },
    ),
    Profile(
        "google-gcr",
        r"(?:(?:us|eu|asia)\.)?gcr\.io",
        {
            "credentials": f"gcloud auth configure-docker; or: {_GOOGLE}",
            "permission": "the account needs roles/artifactregistry.writer on repository {registry} of project {first} "
            "(which may also not exist)",
            "not-found": "Artifact Registry answers for {registry}: its repository {registry} must exist in project "
            "{first} first",
            "immutable": "the repository's tags are immutable and this one holds another image: push a new tag",
            "rate-limit": "the project's quota of Artifact Registry is used up: wait a minute, or ask for a higher one",
        },
    ),
    Profile(
        "azure",
        r"(?P<account>[a-z0-9]+)(?:-[a-z0-9]+)?\.azurecr\.(?:io|cn|us)",
        {
            "credentials": "az acr login --name {account} (it holds for 3 hours); or: az acr login --name {account} "
            "--expose-token --output tsv --query accessToken | docker login {registry} --username "
            "00000000-0000-0000-0000-000000000000 --password-stdin; or docker login with a service principal",
            "permission": "the account needs the role AcrPush on the registry {account}",
            "firewall": "az acr network-rule add --name {account} --ip-address ADDRESS; or push from its network",
            "immutable": "the tag or its repository is locked (az acr repository show --name {account} --repository "
            "{repository}): push a new tag, or unlock it with az acr repository update --write-enabled true",
            "rate-limit": "the registry's tier limits its requests: wait a minute; fewer --jobs help",
            "too-large": "ACR takes layers up to 200 GiB and manifests up to 4 MiB",
        },
        first_push=True,
    ),
    Profile(
        "quay",
        r"quay\.io",
        {
            "credentials": "docker login {registry} with a robot account (NAMESPACE+NAME and its token)",
            "permission": "the account or robot needs write on {repository}; where that does not exist yet, it needs "
            "the right to create repositories in {first} (what a push makes is private)",
            "not-found": "the name is {registry}/NAMESPACE/NAME; check that {first} exists",
            "immutable": "the tag is immutable: push a new tag",
            "quota": "{first} is at its quota: delete tags there, or have the quota raised",
            "read-only": "Quay is read-only at this time: push again later",
        },
        first_push=True,
        challenge=(r"/v2/auth", r"{host}"),
    ),
    Profile("plain", r".*"),
)


def profile_of(registry: str) -> Profile:
    """The profile of a registry (``host`` or ``host:port``)."""
    return next(profile for profile in PROFILES if re.fullmatch(profile.pattern, registry))


def recognised(registry: str, realm: str, service: str) -> Profile:
    """The profile of a registry by its name, or else by the realm (a URL) and service of its challenge."""
    known = profile_of(registry)
    if known is not PROFILES[-1]:
        return known
    try:
        parts = urlsplit(realm)
    except ValueError:
        return known
    for profile in PROFILES[:-1]:
        path, name = profile.challenge
        expected = name.replace("{host}", re.escape(parts.netloc))
        if path and re.fullmatch(path, parts.path) and re.fullmatch(expected, service):
            return profile
    return known


def endpoint(registry: str) -> str:
    """The host that serves a registry's API: another one for Docker Hub."""
    return "registry-1.docker.io" if registry == "docker.io" else registry
