"""The ports of EXPOSE: what BuildKit makes of its words, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Port:
    """``[[address:]host:]container[/protocol]``. ``start`` and ``end`` are None where they are no numbers.

    ``mapped``: it names an address or a port of the host, which EXPOSE cannot map.
    """

    text: str
    mapped: bool
    start: int | None
    end: int | None
    protocol: str

    @property
    def valid(self) -> bool:
        """Whether BuildKit takes container port and protocol."""
        if self.start is None or self.end is None:
            return False
        return self.start <= self.end <= HIGHEST and (self.protocol.lower() in PROTOCOLS or not self.protocol)


def parse_port(text: str) -> Port:
    """Read one word of EXPOSE with its variables resolved."""
    head, _, tail = text.rpartition(":")
    number, _, protocol = tail.partition("/")
    first, dash, last = number.partition("-")
    start = int(first) if _NUMBER.fullmatch(first) else None
    end = (int(last) if _NUMBER.fullmatch(last) else None) if dash else start
    return Port(text, bool(head.strip(":")), start, end, protocol)
