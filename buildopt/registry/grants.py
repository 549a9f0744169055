"""What a token itself says that it allows: registries of the distribution project's kind list it in there."""

from __future__ import annotations

import base64
import json


def may_push(authorization: str, repository: str) -> bool | None:
    """Whether the token of an Authorization header allows to push to a repository; None where it does not tell.

    A token server grants what an account may do, not what was asked for. Nobody's signature is checked here: the
    registry does that, and decides.
    """
    scheme, _, token = authorization.partition(" ")
    parts = token.split(".")
    if scheme != "Bearer" or len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        entries = [{str(key).lower(): value for key, value in entry.items()} for entry in claims["access"]]
        granted = [
            entry["actions"] for entry in entries if (entry["type"], entry["name"]) == ("repository", repository)
        ]
        return any("push" in actions or "*" in actions for actions in granted) if granted or not entries else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
