"""Clients that find a registry under its real name, such as ghcr.io, on loopback.

The client runs in a mount namespace of its own, where a private file lies over /etc/hosts; the machine's file is not
touched. Programs in Go and in Python read it alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError

SCRIPT = 'mount --bind "$0" /etc/hosts && exec "$@"'


def in_names(argv: Sequence[str], hosts: Mapping[str, str], folder: Path) -> list[str]:
    """``argv`` as a command that sees ``hosts`` (name to IP address) before the machine's own; needs root.

    The private hosts file is written to ``folder``. Raises ToolError where unshare (util-linux) is missing.
    """
    if process.which("unshare") is None:
        raise ToolError("unshare was not found", hint="install util-linux")
    try:
        machine = Path("/etc/hosts").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ToolError("/etc/hosts was not found", hint="create it, even empty: names are laid over it") from error
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "hosts"
    lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
    file.write_text(lines + machine, encoding="utf-8")
    return ["unshare", "--mount", "--", "sh", "-c", SCRIPT, str(file), *argv]
