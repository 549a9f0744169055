"""Amazon's registries through the API of AWS: a password where Docker's configuration has none, and new repositories.

Who one is, boto3's own chain decides: environment, profiles, web identity (such as a workflow's role), the role of the
machine. boto3 is an extra; without it nothing here fails before it is needed.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from buildopt.registry.credentials import Credentials, Issued
from buildopt.registry.failure import NO_IDENTITY, RegistryError, one_line
from buildopt.registry.profiles import profile_of
from buildopt.settings import Creation

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
ATTEMPTS = 3
"""How often boto3 asks until it gives up."""
TOKEN_SECONDS = 12 * 3600.0
"""How long a password of ECR holds."""
_SHORTEST = 300.0

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_UNKNOWN_USER = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidIdentityTokenException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_TOO_MANY = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_EXISTS = "RepositoryAlreadyExistsException"
_NOT_THERE = frozenset({"RepositoryNotFoundException", "NotFoundException"})


def belongs_to_aws(registry: str) -> bool:
    """Whether a registry has an API of AWS."""
    return bool(profile_of(registry).service)


def issuer(registry: str) -> Callable[[], Issued] | None:
    """What gets a new user and password for a registry from AWS; None for the registries of others.

    Called, it raises RegistryError, with the code NO_IDENTITY where boto3 is missing or knows no identity.
    """
    return (lambda: Api(registry).password()) if belongs_to_aws(registry) else None


def described(registry: str, creation: Creation) -> str:
    """In words, how a repository is made."""
    if profile_of(registry).region:  # ECR Public: neither of both can be set there
        return "public"
    return f"tags {'immutable' if creation.immutable else 'mutable'}, {'scan' if creation.scan else 'no scan'} on push"


@dataclass(frozen=True, slots=True)
class Api:
    """The API of AWS for one registry.

    Every method raises RegistryError, never a transient one: boto3 has tried it again by itself.
    """

    registry: str

    def password(self) -> Issued:
        """A new user and password for this registry, and the seconds that they hold."""
        answer = self._call("GetAuthorizationToken", {})
        try:
            data = answer["authorizationData"]
            entry = data[0] if isinstance(data, list) else data
            user, _, password = base64.b64decode(entry["authorizationToken"]).decode().partition(":")
            ends = entry.get("expiresAt")
            if not password:
                raise ValueError
        except (LookupError, ValueError) as error:
            message = f"AWS gave no valid password for {self.registry}"
            raise RegistryError("protocol", message, hint="check AWS_ENDPOINT_URL") from error
        seconds = (ends - datetime.now(timezone.utc)).total_seconds() if isinstance(ends, datetime) else TOKEN_SECONDS
        # An end in the past is a clock that goes wrong; the registry itself will say if it is not.
        return Issued(Credentials(user, password), min(max(seconds, _SHORTEST), TOKEN_SECONDS))

    def exists(self, repository: str) -> bool:
        """Whether there is such a repository."""
        values = {**self._account(), "repositoryNames": [self._name(repository)]}
        self._check_alias(repository)
        return self._call("DescribeRepositories", values, repository, unless=_NOT_THERE) is not None

    def immutable(self, repository: str, tag: str) -> bool:
        """Whether a tag that a repository has cannot be moved to another image."""
        if profile_of(self.registry).region:  # ECR Public knows no such tags
            return False
        values = {**self._account(), "repositoryNames": [self._name(repository)]}
        found = self._call("DescribeRepositories", values, repository)["repositories"][0]
        ways = str(found.get("imageTagMutability", ""))
        filters = [str(entry.get("filter", "")) for entry in found.get("imageTagMutabilityExclusionFilters") or ()]
        excluded = any(fnmatchcase(tag, pattern) for pattern in filters)
        return ways.startswith("IMMUTABLE") != (excluded and ways.endswith("_WITH_EXCLUSION"))

    def create(self, repository: str, creation: Creation) -> bool:
        """Make a repository; False where it exists, and stays as it is."""
        values: dict[str, Any] = {**self._account(), "repositoryName": self._name(repository)}
        self._check_alias(repository)
        if not profile_of(self.registry).region:
            values["imageTagMutability"] = "IMMUTABLE" if creation.immutable else "MUTABLE"
            values["imageScanningConfiguration"] = {"scanOnPush": creation.scan}
        return self._call("CreateRepository", values, repository, unless=frozenset({_EXISTS})) is not None

    def _account(self) -> dict[str, str]:
        """The account of a private registry: nothing is made, or found, in the one that happens to be signed in."""
        account = profile_of(self.registry).parts(self.registry).get("account")
        return {"registryId": account} if account else {}

    def _name(self, repository: str) -> str:
        """A repository's name for AWS: at ECR Public it is behind the registry's alias."""
        if not profile_of(self.registry).region:
            return repository
        _, _, name = repository.partition("/")
        if not name:
            raise RegistryError(
                "refused",
                f"{self.registry}/{repository} is no repository of ECR Public",
                hint=f"the name is {self.registry}/ALIAS/NAME",
            )
        return name

    def _check_alias(self, repository: str) -> None:
        """That a repository of ECR Public is one of the account that is signed in, and not of its namesake's."""
        if not profile_of(self.registry).region:
            return
        wanted = repository.partition("/")[0]
        registries = self._call("DescribeRegistries", {}, repository)["registries"]
        known = [alias["name"] for entry in registries for alias in entry.get("aliases", [])]
        if wanted not in known:
            raise RegistryError(
                "permission",
                f"{self.registry}/{wanted} is not the public registry of this AWS account",
                hint=f"its aliases are: {', '.join(known) or 'none yet'}",
            )

    def _call(
        self, operation: str, values: Mapping[str, Any], repository: str = "", unless: frozenset[str] = frozenset()
    ) -> Any:
        """The answer of an operation; None where its error code is one of ``unless``."""
        try:
            import botocore.config
            import botocore.exceptions
            import botocore.session
            from boto3.session import Session
        except ImportError as error:
            raise self._unknown("boto3, which speaks to AWS, is not installed", operation, repository) from error
        try:
            session = self._session(Session, botocore.session.Session(), botocore.config.Config)
            if session.get_credentials() is None:
                raise self._unknown("boto3 found no identity of AWS", operation, repository)
            # As an option of this client only: what the chain itself asks need not have such an address.
            own = botocore.config.Config(use_fips_endpoint=True) if self._fips() else None
            client = session.client(profile_of(self.registry).service, config=own)
            return getattr(client, _snake(operation))(**values)
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in unless:
                return None
            raise self._refused(error, operation, repository) from error
        except (botocore.exceptions.BotoCoreError, OSError, EOFError, ValueError) as error:
            raise self._failed(error) from error

    def _session(self, session_type: Any, session: Any, config_type: Any) -> Any:
        """boto3's session for the region of this registry, with limits."""
        profile = profile_of(self.registry)
        region = profile.parts(self.registry).get("region", profile.region)
        config = config_type(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        # For what the chain itself asks too, such as a role for a web identity. The metadata service of machines
        # has botocore's own limits: one attempt, one second.
        session.set_default_client_config(config)
        authorities = os.environ.get("SSL_CERT_FILE")
        if authorities and not session.get_config_variable("ca_bundle"):
            session.set_config_variable("ca_bundle", authorities)
        return session_type(botocore_session=session, region_name=region)

    def _fips(self) -> bool:
        """Whether the API is to be asked at its FIPS address: not where it is said to be at another one."""
        profile = profile_of(self.registry)
        names = ("AWS_ENDPOINT_URL", f"AWS_ENDPOINT_URL_{profile.service.upper().replace('-', '_')}")
        return "fips" in profile.parts(self.registry) and not any(os.environ.get(name) for name in names)

    def _unknown(self, message: str, operation: str, repository: str) -> RegistryError:
        about = "credentials" if operation == "GetAuthorizationToken" else "identity"
        hint = profile_of(self.registry).hint(about, self.registry, repository)
        return RegistryError("credentials", message, hint=hint, code=NO_IDENTITY)

    def _refused(self, error: ClientError, operation: str, repository: str) -> RegistryError:
        """The error for an answer of AWS. Of one about a signature nothing is repeated: it may hold what was sent."""
        profile = profile_of(self.registry)
        inner = error.response.get("Error", {})
        code, said = str(inner.get("Code", "")), one_line(str(inner.get("Message", "")))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        asked = error.operation_name or operation
        action = f"{profile.service if asked == operation else 'sts'}:{asked}"
        if code in _DENIED:
            hint = profile.hint(asked, self.registry, repository) or f"allow {action}; check the role's trust policy"
            return RegistryError("permission", f"AWS does not allow {action}: {said}", hint=hint, status=status)
        if code in _UNKNOWN_USER:
            return RegistryError(
                "credentials",
                f"AWS refused its credentials at {action} ({code})",
                hint="sign in to AWS again: new keys, aws sso login, or the job's step that takes the role",
                status=status,
            )
        if code in _TOO_MANY or status >= 500:
            kind, hint = ("rate-limit" if code in _TOO_MANY else "server"), "AWS may answer later: push again"
            return RegistryError(kind, f"AWS failed at {action} ({code})", hint=hint, status=status)
        if code.isdigit():  # botocore could not read it
            hint = "a proxy may answer in AWS's place: check HTTPS_PROXY and AWS_ENDPOINT_URL"
            message = f"{action} was answered with status {code}, and not in AWS's form"
            return RegistryError("protocol", message, hint=hint, status=status)
        hint = "check the name of the repository, its registry and the limits of the account"
        return RegistryError("refused", f"AWS refused {action} ({code}): {said}", hint=hint, code=code, status=status)

    def _failed(self, error: BotoCoreError | OSError | EOFError | ValueError) -> RegistryError:
        """The error for a call that got no answer. Only messages that are known to hold no secret are repeated."""
        from botocore import exceptions

        where = f"AWS's API for {self.registry}"
        if isinstance(error, exceptions.SSLError):
            hint = "name the CA's bundle in AWS_CA_BUNDLE or SSL_CERT_FILE"
            return RegistryError("certificate", f"the certificate of {where} is not trusted", hint=hint)
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            hint = "check the network, the region of the registry's name, and HTTPS_PROXY"
            return RegistryError("unreachable", f"{where} cannot be reached", hint=hint)
        shown = (
            exceptions.ProfileNotFound,
            exceptions.PartialCredentialsError,
            exceptions.ConfigNotFound,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        )
        if isinstance(error, shown):
            said = one_line(str(error))
        elif isinstance(error, OSError) and error.strerror:
            said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        else:
            said = type(error).__name__
        hint = "check AWS_PROFILE and ~/.aws (aws sts get-caller-identity tells whether AWS knows you)"
        return RegistryError("credentials", f"boto3 got no identity of AWS: {said}", hint=hint)


def _snake(operation: str) -> str:
    """An operation as boto3 spells it: ``create_repository``."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in operation).lstrip("_")
