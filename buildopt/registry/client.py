"""The distribution protocol for one registry: look, upload, mount, read and write manifests.

An upload is one POST and one PUT of the whole blob: the only form that GHCR and ECR both take well. Its address is
used as it was given, query and all. Where a request leads to another origin the credentials stay behind, and from
https nothing ever leads to http.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from urllib.parse import quote, urldefrag, urljoin

from buildopt.oci.descriptor import DOCUMENT_TYPES, OCI_INDEX, Digest
from buildopt.oci.reference import is_loopback
from buildopt.registry.addresses import numeric_private, private
from buildopt.registry.auth import Authenticator
from buildopt.registry.credentials import Issued, Keychain
from buildopt.registry.failure import NO_TLS, UNTRUSTED, Answer, RegistryError, refused
from buildopt.registry.grants import may_push
from buildopt.registry.profiles import endpoint
from buildopt.registry.transport import Body, Origin, Transport

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
MAX_RENEWALS = 8
"""Tokens that one request may use up: many that share one which does for few find its successor at its end too."""
PROBE_SECONDS = 5.0
ACCEPT = ", ".join(sorted(DOCUMENT_TYPES))


class Registry:
    """One registry, spoken to by any number of threads. Every method raises RegistryError.

    ``name`` is ``host`` or ``host:port`` as in references; ``issuer`` gets credentials where the keychain's do not do.
    """

    def __init__(
        self, name: str, keychain: Keychain, transport: Transport, issuer: Callable[[], Issued] | None = None
    ) -> None:
        self.name = name
        self._issuer = issuer
        self._keychain = keychain
        self._transport = transport
        self._lock = threading.Lock()
        self._auth: Authenticator | None = None
        transport.trust_as(f"https://{endpoint(name)}", name)  # certs.d has a port where the reference has one

    @property
    def signed_in(self) -> bool:
        """Whether there are credentials for this registry (known once it asked for them)."""
        return self._auth is not None and self._auth.signed_in

    def ping(self) -> None:
        """Find out how the registry is reached and how it wants to be asked; done once, before anything else."""
        self._connected()

    def prepare(self) -> None:
        """Connect ahead of the first question, to a registry that is surely spoken to by TLS."""
        url = f"https://{endpoint(self.name)}/v2/"
        if not Origin.of(url).loopback:
            self._transport.prepare(url)

    def has_blob(self, repository: str, digest: Digest, size: int | None = None) -> bool:
        """Whether a repository holds a blob. What has another size than is expected, where it is told, is another."""
        what = f"the question for {digest}"
        answer = self._ask("HEAD", repository, f"/v2/{repository}/blobs/{digest}", what)
        if answer.status not in (200, 404):
            raise self._refused(self._worded(answer, repository), repository, what)
        return answer.status == 200 and _speaks_of(answer, str(digest), size)

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Take over a blob of the repository ``source`` without sending it; False where the registry will not."""
        path = f"/v2/{repository}/blobs/uploads/?mount={quote(str(digest))}&from={quote(source, safe='')}"
        try:
            answer = self._ask("POST", repository, path, f"the mount of {digest}", {"Content-Length": "0"}, also=source)
        except RegistryError as error:
            if error.transient:
                raise
            return False  # such as no token for both repositories
        if answer.status == 202:  # an upload was begun instead; it is not used, so that there is one way to upload
            self._cancel(repository, answer)
        return answer.status == 201 and (_named(answer, digest) or self.has_blob(repository, digest))

    def upload(
        self, repository: str, digest: Digest, size: int, body: Body | bytes, turn: Callable[[], None] = lambda: None
    ) -> None:
        """Send a whole blob. A failed upload cannot be continued: call again, with the body at its start.

        ``turn`` is called once the registry is ready for the body; it may wait.
        """
        what = f"the upload of {digest}"
        answer = self._ask("POST", repository, f"/v2/{repository}/blobs/uploads/", what, {"Content-Length": "0"})
        location = answer.headers.get("location", "")
        if answer.status != 202 or not location:
            raise self._refused(answer, repository, what)
        place, _ = urldefrag(joined(answer_url(answer), location))
        place += f"{'&' if '?' in place else '?'}digest={quote(str(digest))}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        turn()  # not with the request under way: what waits there for its first byte, proxies give up
        answer = self._ask("PUT", repository, place, what, headers, body)
        if answer.status in (404, 416):
            # It got bytes already, such as with a request whose answer was lost: only a new session will do.
            words = f"{self.name} ended {what} with status {answer.status}: the session is gone"
            hint = "push again; what was sent stays there"
            raise RegistryError("server", words, hint=hint, transient=True, status=answer.status)
        if answer.status not in (201, 204):
            raise self._refused(answer, repository, what)
        if not (_named(answer, digest) or self.has_blob(repository, digest, size)):
            raise self._lost(what)

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        """Exact bytes and media type of a manifest by tag or digest, None where there is none."""
        what = f"the manifest {reference}"
        answer = self._ask("GET", repository, f"/v2/{repository}/manifests/{reference}", what, {"Accept": ACCEPT})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(answer, repository, what)
        return answer.data, answer.headers.get("content-type", "").partition(";")[0].strip()

    def has_manifest(self, repository: str, reference: str, size: int | None = None) -> bool:
        """Whether a repository holds a manifest of this tag or digest, and of this size where that is told."""
        what = f"the question for {reference}"
        answer = self._ask("HEAD", repository, f"/v2/{repository}/manifests/{reference}", what, {"Accept": ACCEPT})
        if answer.status == 412 and ":" in reference:
            return True  # Harbor: it is there, and a policy lets nobody pull it
        if answer.status not in (200, 404):
            raise self._refused(self._worded(answer, repository), repository, what)
        return answer.status == 200 and _speaks_of(answer, reference, size)

    def digest_of(self, repository: str, reference: str) -> str | None:
        """The digest of what a tag names, as the registry tells it to who does not pull: None where there is no such
        tag, empty where it does not tell.
        """
        what = f"the question for {reference}"
        answer = self._ask("HEAD", repository, f"/v2/{repository}/manifests/{reference}", what, {"Accept": ACCEPT})
        if answer.status not in (200, 404):
            raise self._refused(self._worded(answer, repository), repository, what)
        return answer.headers.get("docker-content-digest", "") if answer.status == 200 else None

    def knows(self, repository: str) -> bool | None:
        """Whether there is such a repository; None where the registry does not tell."""
        answer = self._ask("GET", repository, f"/v2/{repository}/tags/list?n=1", f"the question for {repository}")
        if answer.status == 404 and answer.problem()[0] == "NAME_UNKNOWN":
            return False
        return True if answer.status == 200 else None

    def lists_referrers(self, repository: str, subject: Digest) -> bool:
        """Whether the registry lists by itself what speaks about a digest (the referrers API)."""
        what = f"the question for what speaks about {subject}"
        answer = self._ask("GET", repository, f"/v2/{repository}/referrers/{subject}", what, {"Accept": OCI_INDEX})
        return answer.status == 200 and answer.headers.get("content-type", "").startswith(OCI_INDEX)

    def may_push(self, repository: str) -> bool | None:
        """Whether the token for a repository allows to push; None where it does not tell."""
        return may_push(self._connected().header(f"repository:{repository}:pull,push", repository), repository)

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Mapping[str, str]:
        """Write a manifest's exact bytes under a tag or its digest; returns the answer's headers."""
        what = f"the manifest {reference}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        answer = self._ask("PUT", repository, f"/v2/{repository}/manifests/{reference}", what, headers, data)
        if answer.status not in (200, 201, 202):
            raise self._refused(answer, repository, what)
        digest = answer.headers.get("docker-content-digest", "")
        if digest.startswith("sha256:") and digest != str(Digest.of(data)):
            # Whether that is true shows when it is asked again.
            told = digest if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else "something else"
            words = f"{self.name} stored {what} as {told}"
            raise RegistryError("digest", words, hint="a proxy may change manifests", transient=True)
        # A tag is read back; of what it leads to, only this tells whether somebody else answered for the registry.
        if not digest and ":" in reference and not self.has_manifest(repository, reference, len(data)):
            raise self._lost(what)
        return answer.headers

    def _lost(self, what: str) -> RegistryError:
        words, hint = f"{self.name} took {what} and does not have it", "push again; a proxy may answer in its place"
        return RegistryError("server", words, hint=hint, transient=True)

    def _worded(self, answer: Answer, repository: str) -> Answer:
        """A HEAD is refused without a word, and GitHub's limit of bursts looks like a permission that is missing: a
        small GET that is refused alike says why.
        """
        if answer.status not in (401, 403):
            return answer
        try:
            other = self._ask("GET", repository, f"/v2/{repository}/tags/list?n=1", f"the question for {repository}")
        except RegistryError:
            return answer
        return other if other.status == answer.status else answer

    def _refused(self, answer: Answer, repository: str, what: str) -> RegistryError:
        answer = self._auth.cleaned(answer) if self._auth is not None else answer
        if answer.status == 401 and self._auth is not None and self._auth.has_token:
            # The token server knew the user and gave a token, but not one for this: 403 in other words.
            answer = Answer(403, answer.headers, answer.data)
        profile = self._auth.profile if self._auth is not None else None
        error = refused(answer, self.name, what, repository=repository, signed_in=self.signed_in, profile=profile)
        return self._auth.explained(error) if self._auth is not None else error

    def _cancel(self, repository: str, answer: Answer) -> None:
        location = answer.headers.get("location", "")
        if location:
            try:
                self._ask("DELETE", repository, joined(answer_url(answer), location), "the end of an upload")
            except RegistryError:
                return  # the registry clears it away by itself, later

    def _connected(self) -> Authenticator:
        with self._lock:
            if self._auth is None:
                self._auth = self._connect()
            return self._auth

    def _connect(self) -> Authenticator:
        host = endpoint(self.name)
        secure, plain = f"https://{host}", f"http://{host}"
        if not is_loopback(Origin.of(secure).host):
            return self._greet(secure)
        try:
            return self._greet(secure, PROBE_SECONDS)
        except RegistryError as error:
            if error.kind not in ("certificate", "unreachable", "timeout") or error.code == UNTRUSTED:
                raise
            try:
                return self._greet(plain, PROBE_SECONDS)
            except RegistryError as second:
                # A server that does answer plain HTTP has the better story, unless it says that it wants TLS.
                answered = second.kind not in ("unreachable", "timeout") and second.status != 400
                raise (second if answered or error.code == NO_TLS else error) from second

    def _greet(self, base: str, seconds: float | None = None) -> Authenticator:
        answer = self._transport.send("GET", f"{base}/v2/", {}, cap=1 << 20, seconds=seconds)
        auth = Authenticator(self.name, Origin.of(base), self._keychain, self._transport, issuer=self._issuer)
        if answer.status == 401:
            auth.challenged(answer, "", "")
        elif answer.status == 404 or answer.status in REDIRECTS:
            raise RegistryError(
                "protocol", f"{self.name} is not a registry: /v2/ answers {answer.status}", hint="check its name"
            )
        elif answer.status not in (200, 403):
            raise refused(answer, self.name, "the first question", signed_in=False)
        return auth

    def _ask(
        self,
        method: str,
        repository: str,
        path: str,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        *,
        also: str = "",
    ) -> Answer:
        """Send a request, with credentials where they belong, and follow where it leads."""
        auth = self._connected()
        scope = f"repository:{repository}:pull,push" + (f" repository:{also}:pull" if also else "")
        url = urljoin(f"{auth.origin}/", path)
        renewed, replaced, left = 0, False, False
        for _ in range(MAX_REDIRECTS + MAX_RENEWALS + 2):
            self._check_way(auth.origin, url, what)
            own = not left and Origin.of(url) == auth.origin
            left = not own  # who was led elsewhere is not led back with credentials
            authorization = auth.header(scope, repository) if own else ""
            sent = dict(headers or {}) | ({"Authorization": authorization} if authorization else {})
            try:
                answer = self._transport.send(method, url, sent, body)
            except RegistryError as error:
                if own:
                    raise
                raise error.retold(auth.hidden(error.message), auth.hidden(error.hint)) from error
            if own and answer.status not in (400, 401, 403):
                auth.welcomed(authorization)
            # A new token that never did is refused for good; one that did has ended, as its successor may at once.
            again = not renewed or (renewed < MAX_RENEWALS and auth.did(authorization))
            if answer.status == 401 and own and again and auth.challenged(answer, scope, authorization):
                renewed += 1
            elif own and not replaced and (unwelcome := self._unwelcome(auth, answer, authorization)) is not None:
                if not auth.replaced(scope, authorization):
                    return Answer(401, unwelcome.headers, unwelcome.data)
                replaced = True
                renewed = max(renewed, 1)
            elif answer.status in REDIRECTS and answer.headers.get("location"):
                url = joined(url, answer.headers["location"])
                if answer.status == 303:
                    body, headers = None, {"Accept": (headers or {}).get("Accept", "*/*")}
                    method = method if method == "HEAD" else "GET"
            else:
                return Answer(answer.status, {**answer.headers, _URL: url}, answer.data)
            _rewind(body)
        raise RegistryError("protocol", f"{self.name} sends {what} from one place to the next without an end")

    def _unwelcome(self, auth: Authenticator, answer: Answer, authorization: str) -> Answer | None:
        """What the registry's root says, where it is the credentials that were refused, and there may be others.

        It tells them from a permission that is missing: ECR says 400 or 403 for both, and nothing more to a HEAD.
        """
        if answer.status not in (400, 401, 403) or not authorization or not auth.issues:
            return None
        root = self._transport.send("GET", f"{auth.origin}/v2/", {"Authorization": authorization}, cap=1 << 20)
        return root if root.status in (400, 401, 403) else None

    def _check_way(self, own: Origin, url: str, what: str) -> None:
        target = Origin.of(url)
        if target.scheme != "https" and (own.scheme == "https" or not target.loopback):
            raise RegistryError(
                "protocol",
                f"{self.name} sends {what} to a place without encryption",
                hint="the registry's proxy must set X-Forwarded-Proto, or the registry use relative addresses",
            )
        if target.host != own.host and numeric_private(target.host) and not private(own.host):
            words = f"{self.name} sends {what} to {target}, inside the private network"
            raise RegistryError("protocol", words, hint="do not trust this registry")


_URL = ":url"


def answer_url(answer: Answer) -> str:
    """The address that an answer came from, after redirects."""
    return answer.headers.get(_URL, "")


def joined(base: str, location: str) -> str:
    """Where a Location header leads. Raises RegistryError where it cannot be read."""
    try:
        if not location.isascii() or not location.isprintable() or " " in location:
            raise ValueError  # what is left out of such an address is another thing for each reader
        return urljoin(base, location)
    except ValueError as error:
        raise RegistryError("protocol", "the registry pointed to something that is no web address") from error


def _named(answer: Answer, digest: Digest) -> bool:
    """Whether the answer names what was stored: then it was seen by the registry, and need not be asked for."""
    return answer.headers.get("docker-content-digest", "") == str(digest)


def _speaks_of(answer: Answer, reference: str, size: int | None) -> bool:
    """Whether an answer without a body is about that very thing, as far as it tells."""
    told, length = (answer.headers.get(name, "") for name in ("docker-content-digest", "content-length"))
    algorithm, colon, _ = reference.partition(":")
    if colon and told.startswith(f"{algorithm}:") and told != reference:
        return False
    return size is None or length in ("", "0", str(size))


def _rewind(body: Body | bytes | None) -> None:
    if body is not None and not isinstance(body, bytes):
        body.seek(0)
