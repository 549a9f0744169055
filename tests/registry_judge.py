"""What a registry holds, asked in HTTP with Python's own client and nothing of buildopt."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Judge:
    """Asks the registry at ``host:port`` itself, over TLS where a context is given."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None = None) -> None:
        self._connection = (
            http.client.HTTPConnection(upstream, timeout=30)
            if context is None
            else http.client.HTTPSConnection(upstream, timeout=30, context=context)
        )

    def ask(self, method: str, path: str) -> tuple[int, bytes, str]:
        """Status, body and content type of an answer."""
        status, data, headers = self.send(method, path)
        return status, data, headers.get("Content-Type", "")

    def send(self, method: str, path: str, data: bytes = b"", kind: str = "") -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the answer to a request with a body of a media type."""
        headers = {"Accept": ACCEPT} | ({"Content-Type": kind} if kind else {})
        self._connection.request(method, path, data if kind or method == "POST" else None, headers)
        response = self._connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def digest(self, repository: str, tag: str) -> str:
        """What a tag names, empty where there is none."""
        status, data, _ = self.ask("GET", f"/v2/{repository}/manifests/{tag}")
        return f"sha256:{hashlib.sha256(data).hexdigest()}" if status == 200 else ""

    def has(self, repository: str, digest: str, kind: str = "blobs") -> bool:
        """Whether a blob or manifest is there."""
        return self.ask("HEAD", f"/v2/{repository}/{kind}/{digest}")[0] == 200

    def broken(self, repository: str, reference: str) -> list[str]:
        """What keeps an image from being pulled whole, all platforms of it."""
        status, data, _ = self.ask("GET", f"/v2/{repository}/manifests/{reference}")
        if status != 200:
            return [f"{repository}: the manifest {reference} is not there ({status})"]
        if ":" in reference and f"sha256:{hashlib.sha256(data).hexdigest()}" != reference:
            return [f"{repository}: the manifest {reference} has other bytes"]
        document = json.loads(data)
        found = []
        for entry in document.get("manifests", []):
            found += self.broken(repository, entry["digest"])
        for entry in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]:
            status, blob, _ = self.ask("GET", f"/v2/{repository}/blobs/{entry['digest']}")
            if status != 200 or f"sha256:{hashlib.sha256(blob).hexdigest()}" != entry["digest"]:
                found.append(f"{repository}: the blob {entry['digest']} is not there or not whole ({status})")
        return found
