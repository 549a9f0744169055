"""What was sent to prove who one is, so that nothing of it is ever shown: some servers repeat what they do not like."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote, quote_plus

HIDDEN = "***"


class Secrets:
    """All passwords and tokens that were used, for any number of threads; none is forgotten when it is replaced."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, values: Iterable[str]) -> None:
        """Hide these from now on, also as they look in addresses."""
        forms = {form for value in values for form in (value, quote(value, safe=""), quote_plus(value)) if value}
        with self._lock:
            if not forms <= self._forms:
                self._forms |= forms
                self._pattern = None

    def hide(self, text: str) -> str:
        """A text without them, in whatever case: a host's name is told in small letters."""
        with self._lock:
            if self._pattern is None and self._forms:
                longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
                self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
            pattern = self._pattern
        return pattern.sub(HIDDEN, text) if pattern is not None else text

    def hide_in(self, data: bytes) -> bytes:
        """An answer's body without them. In JSON they may be written in many ways: it is written anew, in one."""
        with suppress(ValueError, RecursionError):
            return json.dumps(self._hide_below(json.loads(data))).encode()
        return self.hide(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def _hide_below(self, value: object) -> object:
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self._hide_below(item) for item in value]
        if isinstance(value, dict):
            return {self.hide(key): self._hide_below(item) for key, item in value.items()}
        return value
