"""How a registry asks who one is, and what it is answered: Basic, and Bearer tokens from its token server.

Credentials go to two places only: the registry's own origin, and the token server that a challenge from that very
origin names. That server must be reached by https (this machine excepted), its answers are never redirects that are
followed, and a registry on the internet cannot point to an address of a private network.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from buildopt.registry.addresses import link_local, private
from buildopt.registry.credentials import Credentials, Issued, Keychain
from buildopt.registry.failure import NO_IDENTITY, Answer, RegistryError, refused
from buildopt.registry.profiles import Profile, profile_of, recognised
from buildopt.registry.transport import Origin, Transport

TOKEN_SECONDS = 60.0
"""How long a token holds where the server does not say."""
TOKEN_TIMEOUT = 60.0
REISSUE_SECONDS = 60.0
"""Credentials that were issued are not replaced before: what is refused at once is refused for another reason."""
_MARGIN = 900.0
_TOKEN_CAP = 1 << 20
_TOLD = re.compile(r"permission|access forbidden|insufficient scope", re.IGNORECASE)
"""A token server that knows the user, but gives no token for this; "access forbidden" is GitLab's."""
_CLIENT = "buildopt"

# The gap is matched by itself: as a part of the others, a long one would take as long as its square.
_GAP = re.compile(r"[\s,]*")
_SCHEME = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?=\s|,|$)")
_PARAMETER = re.compile(
    r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([A-Za-z0-9!#$%&'*+.^_`|~:/?=@-]+))"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in which a registry lets itself be asked: ``bearer`` or ``basic`` and its parameters."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """A parameter, empty where it is absent."""
        return dict(self.parameters).get(name, "")


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read a WWW-Authenticate header: several challenges, quoted commas and escapes; what is no challenge ends it."""
    found: list[Challenge] = []
    position = _gap(header, 0)
    while scheme := _SCHEME.match(header, position):
        position = _gap(header, scheme.end())
        parameters: dict[str, str] = {}
        while match := _PARAMETER.match(header, position):
            name, quoted, plain = match.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            position = _gap(header, match.end())
        found.append(Challenge(scheme[1].lower(), tuple(parameters.items())))
    return tuple(found)


def _gap(header: str, position: int) -> int:
    """Where the next word begins."""
    found = _GAP.match(header, position)
    return found.end() if found is not None else position


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    ends: float


class Authenticator:
    """The Authorization header for requests to one registry; safe to be used by many threads.

    ``origin`` is the registry's own; ``registry`` is its name in references and configuration files. ``issuer`` gets
    credentials where the keychain has none, or has what is refused. Its RegistryError is final; with the code
    NO_IDENTITY it means that there is nobody to sign in as. ``profile`` is the registry's, by its name or its
    challenge.
    """

    def __init__(
        self,
        registry: str,
        origin: Origin,
        keychain: Keychain,
        transport: Transport,
        clock: Callable[[], float] = time.monotonic,
        issuer: Callable[[], Issued] | None = None,
    ) -> None:
        self.registry = registry
        self._issuer = issuer
        self._issued_at: float | None = None
        self._ends = math.inf
        self._unissued: RegistryError | None = None
        self.origin = origin
        self.profile: Profile = profile_of(registry)
        self._keychain = keychain
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._issued: Credentials | None = None
        self._found: dict[str, Credentials | None] = {}
        self._unfound: dict[str, RegistryError] = {}
        self._failed: dict[str, tuple[float, RegistryError]] = {}
        self._tokens: dict[str, _Token] = {}
        self._accepted = False
        self._welcome: set[str] = set()

    @property
    def signed_in(self) -> bool:
        """Whether there are credentials for this registry."""
        return bool(self._known())

    @property
    def has_token(self) -> bool:
        """Whether these credentials got a token at the token server."""
        return self.signed_in and self._accepted

    @property
    def issues(self) -> bool:
        """Whether credentials can be had elsewhere, should those that there are be refused."""
        return self._issuer is not None

    def explained(self, error: RegistryError) -> RegistryError:
        """The error for refused credentials, with the reason why no others were had."""
        reason = self._unissued
        if reason is None or error.kind != "credentials":
            return error
        return error.retold(f"{error.message}; {reason.message}", reason.hint)

    def cleaned(self, answer: Answer) -> Answer:
        """An answer without the secrets that were sent."""
        return Answer(answer.status, answer.headers, self._transport.secrets.hide_in(answer.data))

    def hidden(self, text: str) -> str:
        """Words of others without the secrets that were sent."""
        return self._transport.secrets.hide(text)

    def _known(self) -> tuple[Credentials, ...]:
        """The credentials in use."""
        found = (self._issued,) if self._issued is not None else tuple(self._found.values())
        return tuple(entry for entry in found if entry is not None)

    def header(self, scope: str, repository: str) -> str:
        """The Authorization header for a request within ``scope``, empty before the registry asked for one.

        Raises RegistryError where a token cannot be had.
        """
        began = self._clock()
        with self._lock:
            if self._challenge is None:
                return ""
            ended, failure = self._failed.get(scope, (-math.inf, None))
            if failure is not None and ended >= began:
                raise failure  # who waited for the same question heard its answer
            credentials = self._look(repository)
            if credentials is not None and credentials.registry_token:
                return f"Bearer {credentials.registry_token}"
            if self._challenge.scheme == "basic":
                return credentials.basic() if credentials is not None else ""
            token = self._tokens.get(scope)
            if token is None or token.ends <= self._clock():
                try:
                    token = self._fetched(self._challenge, scope, repository, credentials)
                except RegistryError as error:
                    self._failed[scope] = (self._clock(), error)
                    raise
                self._tokens[scope] = token
            return f"Bearer {token.value}"

    def welcomed(self, used: str) -> None:
        """Take note of a header that the registry took."""
        self._welcome.add(used)

    def did(self, used: str) -> bool:
        """Whether the registry ever took this header: then a refusal means that it has ended."""
        return used in self._welcome

    def challenged(self, answer: Answer, scope: str, used: str) -> bool:
        """Take note of a 401 from the registry's own origin; whether asking again with a new header makes sense.

        ``used`` is the header that was refused.
        """
        challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
        choice = next((entry for entry in challenges if entry.scheme == "bearer" and entry.get("realm")), None)
        choice = choice or next((entry for entry in challenges if entry.scheme == "basic"), None)
        if choice is None:
            return False
        with self._lock:
            fresh = self._challenge is None or self._challenge.scheme != choice.scheme
            self._challenge = choice
            if choice.scheme == "bearer":
                self.profile = recognised(self.registry, choice.get("realm"), choice.get("service"))
            token = self._tokens.get(scope)
            if choice.scheme == "bearer" and token is not None:
                if used != f"Bearer {token.value}":
                    return True  # another thread renewed it meanwhile
                del self._tokens[scope]
            return fresh or choice.scheme == "bearer"

    def replaced(self, scope: str, used: str) -> bool:
        """Have other credentials than those in the header ``used``, which the registry refused; whether there are.

        Raises RegistryError where whoever issues them fails.
        """
        with self._lock:
            if self._challenge is None:
                return False
            token = self._tokens.pop(scope, None) if self._challenge.scheme == "bearer" else None
            if token is not None:  # the token server is asked anew, and says whether the credentials are good
                if used != f"Bearer {token.value}":
                    self._tokens[scope] = token  # another thread was first
                return True
            known = self._known()
            if known and not any(used in (entry.basic(), f"Bearer {entry.registry_token}") for entry in known):
                return True  # likewise
            return self._issue()

    def _look(self, repository: str) -> Credentials | None:
        # Containers' files may have other credentials for other repositories of one registry.
        place = self._keychain.place(self.registry, repository)
        if self._issued is None and place not in self._found:
            found: Credentials | None = None
            if place in self._unfound:
                raise self._unfound[place]
            try:
                found = self._keychain.get(self.registry, repository)
            except RegistryError as error:
                if not self._issue():
                    self._unfound[place] = error  # a helper that hangs is not asked by each thread in turn
                    raise
            if found is None and self._issued is None:
                self._issue()
            self._found[place] = found
            self._transport.secrets.add(found.secrets() if found is not None else ())
        elif self._ends <= self._clock():
            # Where that fails those that there are do until their end, and then the registry says so.
            with contextlib.suppress(RegistryError):
                self._issue()
        return self._issued or self._found.get(place)

    def _issue(self) -> bool:
        """Whether new credentials were issued; those before are forgotten then."""
        now = self._clock()
        if self._issuer is None or (self._issued_at is not None and now - self._issued_at < REISSUE_SECONDS):
            return False
        if self._unissued is None:
            try:
                issued = self._issuer()
            except RegistryError as error:
                self._unissued = error
            else:
                self._issued, self._issued_at = issued.credentials, now
                self._transport.secrets.add(issued.credentials.secrets())
                # Renewed before their end, so that no upload starts with what is about to expire.
                self._ends = now + issued.seconds - min(_MARGIN, issued.seconds / 4)
                self._tokens.clear()
                return True
        if self._unissued.code != NO_IDENTITY:
            raise self._unissued
        return False

    def _fetched(self, challenge: Challenge, scope: str, repository: str, credentials: Credentials | None) -> _Token:
        """A token, asked for a second time with issued credentials where the first ones are refused."""
        try:
            token = self._fetch(challenge, scope, repository, credentials)
        except RegistryError as error:
            if error.kind != "credentials":
                raise
            if not self._issue():
                raise self.explained(error) from error
            token = self._fetch(challenge, scope, repository, self._issued)
        self._accepted = True
        return token

    def _fetch(self, challenge: Challenge, scope: str, repository: str, credentials: Credentials | None) -> _Token:
        realm = challenge.get("realm")
        try:
            return self._fetch_from(realm, challenge, scope, repository, credentials)
        except RegistryError as error:
            if error.status:
                raise
            # Its address may be what was sent before.
            raise error.retold(self.hidden(error.message), self.hidden(error.hint)) from error

    def _fetch_from(
        self, realm: str, challenge: Challenge, scope: str, repository: str, credentials: Credentials | None
    ) -> _Token:
        self._check_realm(realm)
        self._transport.trust_as(realm, self.origin.authority)
        fields = [("service", challenge.get("service"))] if challenge.get("service") else []
        fields += [("scope", part) for part in scope.split()]
        if credentials is not None and credentials.identity_token:
            answer = self._exchange(realm, fields, scope, credentials.identity_token)
        else:
            headers = {"Authorization": credentials.basic()} if credentials is not None else {}
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
            answer = self._transport.send("GET", url, headers, cap=_TOKEN_CAP, seconds=TOKEN_TIMEOUT)
        if answer.status != 200:
            raise self._refused(self.cleaned(answer), repository)
        return self._read(answer)

    def _exchange(self, realm: str, fields: list[tuple[str, str]], scope: str, token: str) -> Answer:
        """The OAuth2 form, for identity tokens."""
        form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", _CLIENT)]
        form += [entry for entry in fields if entry[0] != "scope"] + [("scope", scope)]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        return self._transport.send("POST", realm, headers, body, cap=_TOKEN_CAP, seconds=TOKEN_TIMEOUT)

    def _refused(self, answer: Answer, repository: str) -> RegistryError:
        error = refused(
            answer, self.registry, "a token", repository=repository, signed_in=self.signed_in, profile=self.profile
        )
        said = answer.problem()[1]
        told = error.kind not in ("credentials", "permission", "refused") or _TOLD.search(said)
        if answer.status not in (400, 401, 403) or told:
            return error
        words = "refused the credentials" if self.signed_in else "gives no token without credentials"
        hint = self.profile.hint("credentials", self.registry, repository)
        return RegistryError("credentials", f"{self.registry} {words}{': ' + said if said else ''}", hint=hint)

    def _read(self, answer: Answer) -> _Token:
        try:
            document = json.loads(answer.data)
            value = document.get("token") or document.get("access_token")
            seconds = document.get("expires_in") or TOKEN_SECONDS
            if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
                raise ValueError
            seconds = min(max(float(seconds), 1.0), 24 * 3600.0)
            if math.isnan(seconds):  # it would never end
                raise ValueError
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise RegistryError("protocol", f"the token server of {self.registry} gave no valid token") from error
        self._transport.secrets.add([value])
        # Renewed before its end, so that no upload starts with a token that is about to expire.
        return _Token(value, self._clock() + seconds * 0.75)

    def _check_realm(self, realm: str) -> None:
        origin = Origin.of(realm)
        where = f"{self.registry} sends credentials to {origin}"
        if origin.scheme != "https" and not (origin.loopback and self.origin.loopback):
            raise RegistryError("protocol", f"{where}, which is not encrypted", hint="do not trust this registry")
        if urlsplit(realm).fragment:
            raise RegistryError("protocol", f"{where} in a form that is no plain address")
        inside = private(origin.host) and not private(self.origin.host)
        if origin.host != self.origin.host and (inside or link_local(origin.host)):
            raise RegistryError("protocol", f"{where}, inside the private network", hint="do not trust this registry")
